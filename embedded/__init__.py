"""The embedded stack: Kafka, PostgreSQL and an SMTP sink on this machine, for commands, tests and benchmarks.

Knows nothing of the product: it imports none of our other packages.
"""

__distribution__ = "wedsync-success"
