"""The intervention agent: profiles, snapshots and signals in; rows in Postgres out.

May touch Postgres, one transaction a batch; sends nothing.
"""
