"""What is in force, for commands: the version that was activated last, or what the settings name."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg

from cli.policy import load_configuration
from runtime.versions import configuration_of, whole
from store import versions as store
from store.database import Role, open_pool

if TYPE_CHECKING:
    from runtime.configuration import Configuration
    from runtime.settings import Settings


async def newest_version(settings: Settings) -> store.Stored | None:
    """The version that went into force last; None if nothing was activated, or no database answers."""
    try:
        pool = await open_pool(settings.database_url, Role.WRITER, max_size=1)
    except psycopg.OperationalError:
        return None  # no database is needed to look at files
    try:
        async with pool.connection() as conn:
            numbers = await store.in_force(conn)
            return await store.one(conn, numbers[-1]) if numbers else None
    finally:
        await pool.close()


async def in_force(settings: Settings) -> Configuration:
    """The version that went into force last, words and all, or what the settings name if nothing was activated."""
    stored = await newest_version(settings)
    if stored is not None:
        return configuration_of(stored.version, stored.words)
    return whole(load_configuration(settings))
