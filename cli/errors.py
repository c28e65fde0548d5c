"""Errors of the command line: one line on standard error that says what to do, and the exit code."""

from __future__ import annotations

import click

from runtime.errors import SettingsError


class CommandError(click.ClickException):
    """The command failed at run time: exit code 1."""

    exit_code = 1


class UsageError(click.UsageError):
    """The command was given something wrong, or the settings are: exit code 2."""

    exit_code = 2


# Errors of libraries that mean a server is away; by name, so that none of them is imported for this.
UNREACHABLE = {
    "aiokafka.errors": "Kafka",
    "kafka.errors": "Kafka",
    "psycopg": "Postgres",
    "psycopg.errors": "Postgres",
    "psycopg_pool": "Postgres",
    "aiosmtplib.errors": "the mail server",
}


def explain(error: Exception) -> tuple[str, int]:
    """The line to print for `error`, and the exit code."""
    text = one_line(error.format_message() if isinstance(error, click.ClickException) else str(error))
    if isinstance(error, click.UsageError):
        where = f"; see `{error.ctx.command_path} --help`" if error.ctx else ""
        return f"error: {text}{where}", 2
    if isinstance(error, click.ClickException):
        return f"error: {text}", error.exit_code
    if isinstance(error, SettingsError):
        return f"error: {text}", 2
    server = _unreachable(error)
    if server:
        return f"error: {server}: {text or type(error).__name__}; `success doctor` says what is wrong", 1
    if isinstance(error, OSError):
        return f"error: {text}", 1
    hint = "the same command with --debug shows where"
    return f"error: unexpected {type(error).__name__}: {text}; {hint}", 1


def _unreachable(error: Exception) -> str | None:
    """The server whose library raised `error`."""
    modules = (kind.__module__ for kind in type(error).__mro__)
    return next((UNREACHABLE[module] for module in modules if module in UNREACHABLE), None)


def one_line(text: str) -> str:
    """The text without line breaks."""
    return " ".join(text.split())
