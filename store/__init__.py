"""Postgres: migrations, named queries, and one module a kind of row whose functions take a connection."""

__distribution__ = "wedsync-success"
