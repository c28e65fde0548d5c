"""What people read: Jinja2 templates, a folder a channel."""

__distribution__ = "wedsync-success"
