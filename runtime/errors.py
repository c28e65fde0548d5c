"""Errors of the parts that know no command line; `cli.errors` turns them into a line and an exit code."""


class SettingsError(ValueError):
    """A setting is missing or wrong; the message names its variable and says what to do."""
