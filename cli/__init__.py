"""The command line: one module a command, and the embedded stack."""

__distribution__ = "wedsync-success"
