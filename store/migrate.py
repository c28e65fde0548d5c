"""Brings a database to the newest schema: `success migrate`."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
from psycopg import errors, sql

from store.database import DatabaseError, Role, connection_problem

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).parent
MIGRATIONS = HERE / "migrations"
ROLES = HERE / "roles.sql"
LOCK = 0x5CC355  # any number, as long as every version of us takes the same one


class MigrationError(DatabaseError):
    """The schema can't be brought up to date; the message says what to do."""


def migrate(database_url: str) -> list[str]:
    """Apply what is missing, in order, and return the names of what was applied (empty when up to date).

    Safe to run again and by several processes at once: a lock lets one in at a time. Each file is one
    transaction, so a failing one leaves the database at the file before it.
    """
    try:
        with psycopg.connect(database_url, autocommit=True, connect_timeout=10) as conn:
            conn.execute("SELECT pg_advisory_lock(%s)", (LOCK,))  # freed when the connection ends
            _make_roles(conn)
            applied = _applied(conn)
            return [path.stem for path in _missing(applied) if _apply(conn, path)]
    except MigrationError:
        raise
    except psycopg.OperationalError as error:
        raise MigrationError(connection_problem(error)) from error


def _make_roles(conn: psycopg.Connection) -> None:
    try:
        with conn.transaction():
            conn.execute(ROLES.read_bytes())
    except errors.InsufficientPrivilege as error:
        raise MigrationError(
            f"user {conn.info.user} may not make the roles of the store ({error.diag.message_primary}): "
            "run store/roles.sql as an administrator and grant the four roles to this user, "
            "then migrate again"
        ) from error


def _applied(conn: psycopg.Connection) -> dict[str, str]:
    """The digest of each migration that this database has had, by name."""
    with conn.transaction():
        _as_owner(conn)
        conn.execute(
            "CREATE TABLE IF NOT EXISTS schema_migrations "
            "(name TEXT PRIMARY KEY, digest TEXT NOT NULL, applied_at TIMESTAMPTZ NOT NULL DEFAULT now())"
        )
        return dict(conn.execute("SELECT name, digest FROM schema_migrations").fetchall())


def _missing(applied: dict[str, str]) -> Iterator[Path]:
    for path in sorted(MIGRATIONS.glob("*.sql")):
        if path.stem not in applied:
            yield path
        elif applied[path.stem] != _digest(path):
            raise MigrationError(
                f"{path.name} was changed after this database had it: "
                "put the file back as it was and write the change as a new migration"
            )


def _apply(conn: psycopg.Connection, path: Path) -> bool:
    with conn.transaction():
        _as_owner(conn)
        conn.execute(path.read_bytes())
        conn.execute(
            "INSERT INTO schema_migrations (name, digest) VALUES (%s, %s)", (path.stem, _digest(path))
        )
    return True


def _as_owner(conn: psycopg.Connection) -> None:
    conn.execute(sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(Role.OWNER)))


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
