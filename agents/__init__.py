"""Reading and sending: Kafka, Postgres and mail on one side, the pure rules of `scoring/` on the other."""

__distribution__ = "wedsync-success"
