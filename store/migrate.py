"""Brings a database to the newest schema: `success migrate`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
from psycopg import errors, sql

from runtime.away import BackOff
from store.database import OWNERS_URL, DatabaseError, Role, connection_problem
from store.schema import AFTER, MIGRATIONS, digest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROLES = Path(__file__).parent / "roles.sql"
LOCK = 0x5CC355  # any number, as long as every version of us takes the same one
TURN_S = 0.2
LOCK_TIMEOUT_S = 2.0
"""How long a migration waits for a lock: whoever needs the table waits behind it meanwhile."""
PAUSE_S, LONGEST_PAUSE_S = 0.5, 10.0
PATIENCE_S = 300.0
"""How long it comes again for."""
BY_STATEMENT = "-- statement by statement\n"
"""The first line of a file that is no transaction (for CONCURRENTLY); it can be repeated from its beginning."""


class MigrationError(DatabaseError):
    """The schema can't be brought up to date; the message says what to do."""


def migrate(database_url: str, *, after: bool = False) -> list[str]:
    """Apply what is missing, in order, and return the names of what was applied (empty when up to date).

    `after`: also what takes away what the version before needs (`store.schema.AFTER`), which may not run any more; a
    new database has all at once. Safe to run again and by several processes at once: a lock lets one in at a time. Each
    file is one transaction, so a failing one leaves the database at the file before it; it waits `LOCK_TIMEOUT_S` for a
    lock, gives up and comes again, so that nobody waits behind it for longer.
    """
    try:
        with psycopg.connect(database_url, autocommit=True, connect_timeout=10) as conn:
            _take_turn(conn)
            _make_roles(conn)
            applied = _applied(conn)
            missing = [path for path in _missing(applied) if after or not applied or not _is_after(path)]
            for path in missing:
                _apply_patiently(conn, path)
            _forgive_typing_errors(conn)
            return [path.stem for path in missing]
    except MigrationError:
        raise
    except psycopg.OperationalError as error:
        raise MigrationError(connection_problem(error, OWNERS_URL)) from error


def _take_turn(conn: psycopg.Connection) -> None:
    """Wait until no other migrates; the lock is freed when the connection ends."""
    # Asked again and again: a statement that waits has a snapshot, for which an index built CONCURRENTLY waits.
    while conn.execute("SELECT pg_try_advisory_lock(%s)", (LOCK,)).fetchone() != (True,):
        time.sleep(TURN_S)


def left_for_after(database_url: str) -> list[str]:
    """The migrations that wait until no service of the version before runs."""
    with psycopg.connect(database_url, autocommit=True, connect_timeout=10) as conn:
        return [path.stem for path in _missing(_applied(conn)) if _is_after(path)]


def _is_after(path: Path) -> bool:
    return path.stem.endswith(AFTER)


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
        elif applied[path.stem] != digest(path):
            raise MigrationError(
                f"{path.name} was changed after this database had it: "
                "put the file back as it was and write the change as a new migration"
            )


def _apply_patiently(conn: psycopg.Connection, path: Path) -> None:
    until, pauses = time.monotonic() + PATIENCE_S, BackOff(PAUSE_S, LONGEST_PAUSE_S, jitter=False)
    while True:
        try:
            return _apply(conn, path)
        except (errors.LockNotAvailable, errors.DeadlockDetected) as error:
            pause = pauses.next()
            if time.monotonic() + pause > until:
                raise MigrationError(
                    f"{path.name} found no moment for its lock within {PATIENCE_S:g} s{_oldest(conn)}: "
                    "end what holds the table, then migrate again"
                ) from error
            time.sleep(pause)


def _oldest(conn: psycopg.Connection) -> str:
    """Who has been in a transaction for longest, for people."""
    found = conn.execute(
        "SELECT pid, usename, extract(epoch FROM now() - xact_start)::int FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid() AND xact_start IS NOT NULL "
        "ORDER BY xact_start LIMIT 1"
    ).fetchone()
    return f" (process {found[0]} of {found[1]} has been in a transaction for {found[2]} s)" if found else ""


def _apply(conn: psycopg.Connection, path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    if text.startswith(BY_STATEMENT):
        _apply_by_statement(conn, text)
        text = ""
    with conn.transaction():
        _as_owner(conn)
        conn.execute(sql.SQL("SET LOCAL lock_timeout = {}").format(f"{LOCK_TIMEOUT_S:g}s"))
        conn.execute(text.encode())
        conn.execute(
            "INSERT INTO schema_migrations (name, digest) VALUES (%s, %s)", (path.stem, digest(path))
        )


def _apply_by_statement(conn: psycopg.Connection, text: str) -> None:
    """Each statement for itself; what they wait for, nobody waits for behind them."""
    try:
        conn.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(Role.OWNER)))
        conn.execute(sql.SQL("SET lock_timeout = {}").format(f"{PATIENCE_S:g}s"))
        for statement in filter(str.strip, text.split(";\n")):
            conn.execute(statement.encode())
    finally:
        conn.execute("RESET lock_timeout; RESET ROLE")


def _forgive_typing_errors(conn: psycopg.Connection) -> None:
    """Index what the search looks for by trigrams, where Postgres has `pg_trgm` and lets the database's owner add it.

    Without it the search finds what is spelt right. Added later by somebody who may, it is used from the next call on.
    """
    if conn.execute(_UNINDEXED).fetchone() != (True,):
        return
    try:
        with conn.transaction():
            conn.execute("CREATE EXTENSION IF NOT EXISTS pg_trgm SCHEMA public")
        _apply_by_statement(conn, _TRIGRAMS)
    except (
        errors.InsufficientPrivilege,
        errors.FeatureNotSupported,  # this Postgres came without it
        errors.UndefinedFile,
        errors.UndefinedObject,  # it is in some other schema
    ):
        return


_UNINDEXED = """
SELECT to_regprocedure('success_said_of(text, text, text)') IS NOT NULL AND NOT EXISTS (
    SELECT FROM pg_index WHERE indexrelid = to_regclass('idx_suppliers_likeness') AND indisvalid)"""
_TRIGRAMS = """
DROP INDEX CONCURRENTLY IF EXISTS idx_suppliers_likeness;
CREATE INDEX CONCURRENTLY idx_suppliers_likeness ON suppliers
    USING gin (success_said_of(business_name, first_name, email) gin_trgm_ops)"""


def _as_owner(conn: psycopg.Connection) -> None:
    conn.execute(sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(Role.OWNER)))
