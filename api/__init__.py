"""The HTTP API: one router a resource; nothing connects on import."""

__distribution__ = "wedsync-success"
