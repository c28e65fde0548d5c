"""What commands that operators act with have in common: who acts, times they give, a connection that may write."""

from __future__ import annotations

import getpass
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import click

from agents.delivery.outbox import Sender, publish_all
from cli.errors import UsageError
from store.audit import Actor
from store.database import Role, open_pool
from topics.time import parse_time

if TYPE_CHECKING:
    from psycopg import AsyncConnection
    from psycopg_pool import AsyncConnectionPool

    from runtime.settings import Settings

by_option = click.option(
    "--by", metavar="WHO", help="Who decided it, for the audit log (default: your login name)."
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")


class Moment(click.ParamType):
    """A time as RFC 3339, or a date (its beginning in UTC); int ms since the epoch."""

    name = "TIME"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Milliseconds; a usage error that says what is wrong."""
        if isinstance(value, int):
            return value
        try:
            return parse_time(value if "T" in value.upper() else f"{value}T00:00:00Z")
        except ValueError as error:
            self.fail(str(error), param, ctx)


def span_options(what: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """`--since` and `--until`, [since, until) of what is said."""

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        since = click.option("--since", type=Moment(), help=f"{what} at TIME or later (RFC 3339, or a date).")
        until = click.option("--until", type=Moment(), help=f"{what} before TIME.")
        return since(until(command))

    return decorate


def actor(by: str | None) -> Actor:
    """Who acts on the command line; a usage error where a login without a name (in a container) gives none."""
    try:
        return Actor("cli", by or getpass.getuser())
    except (KeyError, OSError, ImportError) as error:
        raise UsageError("this login has no name: say who does it, --by WHO") from error


def now_ms() -> int:
    """The time, for the audit log and for what is judged by it."""
    return int(time.time() * 1000)


@asynccontextmanager
async def writing(settings: Settings) -> AsyncIterator[AsyncConnectionPool[AsyncConnection]]:
    """A pool of one connection in the role that services write with."""
    pool = await open_pool(settings.database_url, Role.WRITER, max_size=1)
    try:
        yield pool
    finally:
        await pool.close()


async def publish_outbox(settings: Settings, pool: AsyncConnectionPool[AsyncConnection]) -> None:
    """Publish what the outbox holds; what can't be now, the services do later."""
    send = Sender(settings)
    try:
        await send.connect()
        await publish_all(pool, send)
    finally:
        await send.aclose()
