"""How services reach Postgres: a pool whose connections hold one of the store's roles, never the owner's."""

from __future__ import annotations

from enum import StrEnum

import psycopg
from psycopg import AsyncConnection, errors, sql
from psycopg_pool import AsyncConnectionPool


class Role(StrEnum):
    """The roles that `store/roles.sql` makes; services take the last three."""

    OWNER = "success_owner"
    WRITER = "success_writer"
    API = "success_api"
    READER = "success_reader"


IDLE_IN_TRANSACTION_S = 10
"""A process that is frozen in a transaction loses it, and with it the locks that others wait for."""


class DatabaseError(psycopg.OperationalError):
    """Postgres can't be used as things are; the message says what to do about it."""


async def open_pool(
    database_url: str, role: str, *, min_size: int = 1, max_size: int = 8
) -> AsyncConnectionPool[AsyncConnection]:
    """Open a pool of at most `max_size` connections in UTC with `role`, autocommit off.

    Raises `DatabaseError` if Postgres doesn't answer or the role is missing; close the pool when done.
    Statements are prepared at their second use. `SET ROLE` lasts as long as the connection, so a pooler
    in between must work by session.
    """

    async def configure(conn: AsyncConnection) -> None:
        await conn.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(role)))
        await conn.execute("SET TIME ZONE 'UTC'")
        if role != Role.READER:
            await conn.execute(f"SET idle_in_transaction_session_timeout = '{IDLE_IN_TRANSACTION_S}s'")
        await conn.commit()

    # One connection first: its error says what is wrong, a pool's only that time ran out.
    try:
        async with await AsyncConnection.connect(database_url, connect_timeout=10) as probe:
            await configure(probe)
    except psycopg.OperationalError as error:
        raise DatabaseError(connection_problem(error)) from error
    except (errors.InvalidParameterValue, errors.UndefinedObject, errors.InsufficientPrivilege) as error:
        raise DatabaseError(
            f"can't take the role {role} ({error.diag.message_primary}): run `success migrate`"
        ) from error
    pool: AsyncConnectionPool[AsyncConnection] = AsyncConnectionPool(
        database_url,
        kwargs={"autocommit": False, "prepare_threshold": 1},
        min_size=min_size,
        max_size=max_size,
        configure=configure,
        open=False,
        name=role,
    )
    await pool.open(wait=True, timeout=10)
    return pool


def connection_problem(error: psycopg.Error) -> str:
    """One line for people about a connection that failed: libpq's own words, which name no password."""
    why = " ".join(str(error).split())
    return f"Postgres can't be reached ({why}): check SUCCESS_DATABASE_URL and that the server runs"
