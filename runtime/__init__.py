"""What every service shares: settings from the environment and the clock it lives by."""

__distribution__ = "wedsync-success"
