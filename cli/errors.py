"""Errors of the command line: one line on standard error that says what to do, and the exit code."""

from __future__ import annotations

import click

from cli.extras import missing_extra
from embedded.errors import StackUsageError
from runtime.errors import SettingsError


class CommandError(click.ClickException):
    """The command failed at run time: exit code 1."""

    exit_code = 1


class UsageError(click.UsageError):
    """The command was given something wrong, or the settings are: exit code 2."""

    exit_code = 2


OURS = {"topics", "scoring", "agents", "store", "runtime", "embedded", "api", "cli", "replay"}
# Errors of libraries that mean a server is away; by name, so that none of them is imported for this.
UNREACHABLE = {
    "aiokafka.errors": "Kafka",
    "kafka.errors": "Kafka",
    "psycopg": "Postgres",
    "psycopg.errors": "Postgres",
    "psycopg_pool": "Postgres",
    "aiosmtplib.errors": "the mail server",
}

RIGHTS = "docs/operating.md lists the rights of each service, by topic and group"


def explain(error: Exception) -> tuple[str, int]:
    """The line to print for `error`, and the exit code."""
    while isinstance(error, ExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    text = one_line(error.format_message() if isinstance(error, click.ClickException) else str(error))
    if isinstance(error, click.exceptions.NoArgsIsHelpError):  # whose text is the whole help
        path = error.ctx.command_path if error.ctx else "success"
        return f"error: give a command; `{path} --help` lists them", UsageError.exit_code
    if isinstance(error, click.UsageError):
        is_ours = isinstance(error, UsageError)  # which says itself what to do
        see = f"; see `{error.ctx.command_path} --help`" if error.ctx and not is_ours else ""
        return f"error: {text.rstrip('.')}{see}", UsageError.exit_code
    if lacks := missing_extra(error):
        return f"error: {lacks}", UsageError.exit_code
    if isinstance(error, (SettingsError, StackUsageError)):
        return f"error: {text}", UsageError.exit_code
    return f"error: {_run_time_line(error, text)}", CommandError.exit_code


def _run_time_line(error: Exception, text: str) -> str:
    """What to say of an error that is not about usage; messages of our own parts say what to do."""
    is_ours = type(error).__module__.partition(".")[0] in OURS
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return one_line(f"{error.filename}: {error.strerror}")
    if is_ours or isinstance(error, (click.ClickException, OSError)):
        return text
    server = _unreachable(error)
    if type(error).__name__ == "KafkaConnectionError":  # its text is a list of Python's
        return "Kafka can't be reached: check SUCCESS_KAFKA and that it runs; `success doctor` says what is wrong"
    if server == "Kafka" and "AuthorizationFailed" in type(error).__name__:
        return f"{type(error).__name__}: Kafka does not allow this login what it needs; {RIGHTS}"
    if server:
        return f"{server}: {text or type(error).__name__}; `success doctor` says what is wrong"
    return f"unexpected {type(error).__name__}: {text}; the same command with --debug shows where"


def _unreachable(error: Exception) -> str | None:
    """The server whose library raised `error`."""
    modules = (kind.__module__ for kind in type(error).__mro__)
    return next((UNREACHABLE[module] for module in modules if module in UNREACHABLE), None)


def one_line(text: str) -> str:
    """The text without line breaks."""
    return " ".join(text.split())
