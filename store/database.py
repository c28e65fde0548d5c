"""How services reach Postgres: a pool whose connections hold one of the store's roles, never the owner's.

Nothing waits for ever: each query has a deadline, at the server (`statement_timeout`), and here for a server that has
fallen silent.
"""

from __future__ import annotations

import asyncio
import os
import socket
from enum import StrEnum
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import WeakSet

import psycopg
from psycopg import AsyncConnection, errors, sql
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from store.schema import SchemaError, check_schema

if TYPE_CHECKING:
    from psycopg.abc import PQGen

T = TypeVar("T")


class Role(StrEnum):
    """The roles that `store/roles.sql` makes; services take the last three."""

    OWNER = "success_owner"
    WRITER = "success_writer"
    API = "success_api"
    READER = "success_reader"


IDLE_IN_TRANSACTION_S = 10
"""A process that is frozen in a transaction loses it, and with it the locks that others wait for."""
DEADLINES_S = {Role.WRITER: 30.0, Role.API: 10.0, Role.READER: 600.0}
"""How long one statement may take, waiting for locks included: a request is waited for, a report reads all there is."""
SILENCE_S = 2.0
"""Beyond its deadline: a server that has not answered by then has fallen silent, and its connection is dropped."""
CONNECT_S = 5.0
"""How long one attempt to connect may take."""
RECONNECT_S = 4.0
"""How long a pool tries again by itself, each time after twice as long. Then whoever wants a connection makes it try at
once: with the library's 300 s it would rest for minutes after a long outage, with Postgres long back."""


class DatabaseError(psycopg.OperationalError):
    """Postgres can't be used as things are; the message says what to do about it."""


class Connection(AsyncConnection):
    """Hangs up on a server that falls silent: then every wait ends by itself, also that of a cancelled query."""

    deadline_s: float = DEADLINES_S[Role.WRITER] + SILENCE_S

    async def wait(self, gen: PQGen[T], *given: Any, **options: Any) -> T:
        """Wait as psycopg does, at most `deadline_s`."""
        loop = asyncio.get_running_loop()
        hang_up = loop.call_later(self.deadline_s, _hang_up, self.pgconn.socket)
        try:
            return await super().wait(gen, *given, **options)
        finally:
            hang_up.cancel()


def _hang_up(descriptor: int) -> None:
    """Shut a socket down, whose reader then sees its end; the descriptor stays libpq's to close."""
    with socket.socket(fileno=os.dup(descriptor)) as same:
        try:
            same.shutdown(socket.SHUT_RDWR)
        except OSError:
            return  # it has ended already


class Pool(AsyncConnectionPool[AsyncConnection]):
    """A pool that tells whether Postgres is away or all of its own connections are at work."""

    async def getconn(self, timeout: float | None = None) -> AsyncConnection:  # noqa: ASYNC109 - psycopg's own
        """Take a connection: psycopg's PoolTimeout if ours are all at work, DatabaseError if there can be none."""
        try:
            return await super().getconn(timeout)
        except PoolTimeout:
            async with await connect(str(self.conninfo)) as probe:
                await check_usable(probe, str(self.name))
            raise


POOLS: WeakSet[Pool] = WeakSet()
"""The pools of this process, for monitoring."""


async def connect(database_url: str, deadline_s: float = CONNECT_S, **options: Any) -> Connection:
    """A connection of its own, for a lock or to listen, that gives up on silence; DatabaseError if there is none."""
    try:
        connection = await Connection.connect(database_url, connect_timeout=round(CONNECT_S), **options)
    except psycopg.OperationalError as error:
        raise DatabaseError(connection_problem(error)) from error
    connection.deadline_s = deadline_s
    return connection


async def open_pool(database_url: str, role: str, *, min_size: int = 1, max_size: int = 8) -> Pool:
    """Open a pool of at most `max_size` connections in UTC with `role`, autocommit off.

    Raises `DatabaseError` if Postgres doesn't answer, the role is missing or the schema is not the code's; close the
    pool when done. Statements are prepared at their second use. `SET ROLE` lasts as long as the connection, so a
    pooler in between must work by session.
    """
    # One connection first: its error says what is wrong, a pool's only that time ran out.
    async with await connect(database_url) as probe:
        await check_usable(probe, role)
    pool = new_pool(database_url, role, min_size=min_size, max_size=max_size)
    await pool.open(wait=True, timeout=10)
    return pool


async def check_usable(conn: AsyncConnection, role: str) -> None:
    """Raise `DatabaseError` unless `role` can be taken and the schema is what the code expects."""
    try:
        await conn.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(role)))
        await check_schema(conn)
    except SchemaError as error:
        raise DatabaseError(str(error)) from error
    except (errors.InvalidParameterValue, errors.UndefinedObject, errors.InsufficientPrivilege) as error:
        raise DatabaseError(
            f"can't take the role {role} ({error.diag.message_primary}): run `success migrate`"
        ) from error


def new_pool(database_url: str, role: str, *, min_size: int = 1, max_size: int = 8) -> Pool:
    """A pool as `open_pool` opens it, closed; it can be opened while Postgres is away, and connects when it is back."""
    deadline_s = next(
        (limit for name, limit in DEADLINES_S.items() if name == role), DEADLINES_S[Role.WRITER]
    )

    async def configure(conn: AsyncConnection) -> None:
        if isinstance(conn, Connection):
            conn.deadline_s = deadline_s + SILENCE_S
        settings = f"SET TIME ZONE 'UTC'; SET statement_timeout = {deadline_s * 1000:.0f}"
        if role != Role.READER:
            settings += f"; SET idle_in_transaction_session_timeout = '{IDLE_IN_TRANSACTION_S}s'"
        await check_usable(conn, role)
        await conn.execute(settings.encode())
        await conn.commit()

    pool = Pool(
        database_url,
        connection_class=Connection,
        kwargs={"autocommit": False, "prepare_threshold": 1, "connect_timeout": round(CONNECT_S)},
        min_size=min_size,
        max_size=max_size,
        timeout=min(deadline_s, 30.0),
        reconnect_timeout=RECONNECT_S,
        configure=configure,
        open=False,
        name=role,
    )
    POOLS.add(pool)
    return pool


OWNERS_URL = "SUCCESS_MIGRATE_DATABASE_URL (if it is not set, SUCCESS_DATABASE_URL)"


def connection_problem(error: psycopg.Error, named: str = "SUCCESS_DATABASE_URL") -> str:
    """One line for people about a connection that failed: libpq's own words, which name no password."""
    why = " ".join(str(error).split())
    return f"Postgres can't be reached ({why}): check {named} and that the server runs"
