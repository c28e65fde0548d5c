"""Whether a database has the schema that this code was written for."""

from __future__ import annotations

import hashlib
import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from psycopg import errors

if TYPE_CHECKING:
    from psycopg import AsyncConnection

MIGRATIONS = Path(__file__).parent / "migrations"
_MADE_OR_DROPPED = re.compile(
    r"^(CREATE|DROP) TABLE (?:IF (?:NOT )?EXISTS )?(\w+)\b(?! PARTITION OF)", re.MULTILINE
)
AFTER = ".after"
"""How the name of a migration ends that takes away what the version before needs: `0031_old_column.after.sql`.

All others only add, so that services of the version before go on beside them.
"""


class SchemaError(Exception):
    """The database has another schema than the code; the message says what to do."""


async def check_schema(conn: AsyncConnection) -> None:
    """Raise `SchemaError` unless every migration of this code has been applied to `conn`'s database, as it is here.

    The tables that they made must be there too: a restore that went wrong, or a person, may have taken one. What a
    newer version of us has added since is none of ours, an older process goes on beside it; what it took away is.
    """
    try:
        rows = await conn.execute("SELECT name, digest FROM schema_migrations")
        applied: dict[str, str] = dict(await rows.fetchall())
    except (errors.UndefinedTable, errors.InsufficientPrivilege):
        applied = {}  # before 0014 the services could not read it
    if problem := difference(applied):
        raise SchemaError(problem)
    gone = await conn.execute(
        "SELECT name FROM unnest(%s::text[]) AS name WHERE to_regclass(name) IS NULL ORDER BY name",
        (tables(),),
    )
    if names := [name for (name,) in await gone.fetchall()]:
        raise SchemaError(
            f"the database lacks the table {', '.join(names)}, which `success migrate` once made: restore it from a "
            "backup"
        )


def difference(applied: dict[str, str]) -> str | None:
    """What a database lacks that has had these migrations (name → digest), for people; None if nothing."""
    ours = digests()
    gone = sorted(name for name in applied.keys() - ours.keys() if name.endswith(AFTER))
    if gone:
        return (
            f"the database is too new for this version ({', '.join(gone)} took away what it needs): start the version "
            "that the database was migrated with"
        )
    needed = {name for name in ours if not name.endswith(AFTER)}
    missing = sorted(needed - applied.keys())
    if applied.keys().isdisjoint(ours):
        return "the database lacks our tables, or has those of an older version: run `success migrate`"
    if missing:
        return f"the database lacks {', '.join(missing)}: run `success migrate`"
    changed = sorted(name for name, digest in ours.items() if applied.get(name, digest) != digest)
    if changed:
        return (
            f"{', '.join(changed)} was changed after the database had it: put the file back as it was, and write the "
            "change as a new migration"
        )
    return None


@cache
def tables() -> list[str]:
    """The tables that all migrations of this code together leave."""
    there: dict[str, None] = {}
    for path in sorted(MIGRATIONS.glob("*.sql")):
        for done, name in _MADE_OR_DROPPED.findall(path.read_text(encoding="utf-8")):
            if done == "CREATE":
                there[name] = None
            else:
                there.pop(name, None)
    return list(there)


@cache
def digests() -> dict[str, str]:
    """The digest of each migration of this code, by name."""
    return {path.stem: digest(path) for path in sorted(MIGRATIONS.glob("*.sql"))}


def digest(path: Path) -> str:
    """SHA-256 of a migration's text, in hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
