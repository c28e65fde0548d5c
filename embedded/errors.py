"""What can go wrong with the embedded stack; each message is a sentence that says what to do."""


class StackError(Exception):
    """A server could not be fetched, started or stopped."""


class StackUsageError(StackError):
    """The stack was asked for something that can't be: a folder that is no use, two kinds of stack in one place."""
