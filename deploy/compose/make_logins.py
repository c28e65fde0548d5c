"""Makes the database and the logins that the secrets name: the owner's, and one for each service that owns nothing.

The statements are those of docs/postgres.md. Safe to run again: it then brings passwords and rights up to date.
"""

from __future__ import annotations

import sys
from pathlib import Path
from urllib.parse import unquote, urlsplit

import psycopg
from psycopg import sql

import store

ROLES = {
    "migrate": ("success_owner", "success_writer", "success_api", "success_reader"),
    "worker": ("success_writer",),
    "deliver": ("success_writer",),
    "api": ("success_api", "success_writer"),
}


def make(root: Path) -> None:
    """As whom postgres/database_url names, make what <service>/database_url name."""
    with psycopg.connect(_url(root, "postgres"), autocommit=True) as conn:
        conn.execute((Path(store.__file__).parent / "roles.sql").read_bytes())
        for service, roles in ROLES.items():
            _login(conn, _url(root, service), roles, inherit=service == "migrate")
        _database(conn, [_url(root, service) for service in ROLES])


def _url(root: Path, service: str) -> str:
    return (root / service / "database_url").read_text(encoding="utf-8")


def _login(conn: psycopg.Connection, url: str, roles: tuple[str, ...], *, inherit: bool) -> None:
    parts = urlsplit(url)
    name = parts.username or ""
    login, password = sql.Identifier(name), sql.Literal(unquote(parts.password or ""))
    if not conn.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (name,)).fetchone():
        conn.execute(sql.SQL("CREATE ROLE {}").format(login))
    kind = sql.SQL("INHERIT" if inherit else "NOINHERIT")
    conn.execute(sql.SQL("ALTER ROLE {} LOGIN {} PASSWORD {}").format(login, kind, password))
    for role in roles:
        conn.execute(sql.SQL("GRANT {} TO {}").format(sql.Identifier(role), login))


def _database(conn: psycopg.Connection, urls: list[str]) -> None:
    name = urlsplit(urls[0]).path.removeprefix("/")
    database = sql.Identifier(name)
    logins = [sql.Identifier(urlsplit(url).username or "") for url in urls]
    if not conn.execute("SELECT 1 FROM pg_database WHERE datname = %s", (name,)).fetchone():
        conn.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(database, logins[0]))
    conn.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(database))
    granted = sql.SQL(", ").join(logins)
    conn.execute(sql.SQL("GRANT CONNECT ON DATABASE {} TO {}").format(database, granted))


if __name__ == "__main__":
    make(Path(sys.argv[1]))
