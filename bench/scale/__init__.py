"""What grows and how: memory, recovery, timers, clients, workers, rebalances, latency, Postgres."""
