"""What travels: the public models of every event, their topics, and the code that reads and writes them."""

__distribution__ = "wedsync-success"
