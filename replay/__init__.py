"""The scoring rules over history, and the simulated population that makes one."""

__distribution__ = "wedsync-success"
