"""The scoring agent: `supplier.activity` in; snapshots, signals, dead letters and the state's changelog out.

May touch the pure rules and what the engine hands it; no Postgres, no mail.
"""
