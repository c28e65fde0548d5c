"""Databases that a test has to itself, copied from a migrated one, which is faster than migrating each."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from store.migrate import migrate

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def database(server_url: str, template: str | None = None) -> Iterator[str]:
    """The address of a new database, empty or like the one at `template`; dropped afterwards."""
    name = f"test_{uuid4().hex}"
    source = psycopg.conninfo.conninfo_to_dict(template)["dbname"] if template else "template0"
    with psycopg.connect(server_url, autocommit=True) as admin:
        admin.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(
                sql.Identifier(name), sql.Identifier(str(source))
            )
        )
        yield make_conninfo(server_url, dbname=name)
        admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture(scope="session")
def migrated_database(stack) -> Iterator[str]:
    """The address of a migrated database to copy from."""
    with database(stack.database_url) as url:
        migrate(url)
        yield url


@pytest.fixture
def database_url(stack, migrated_database) -> Iterator[str]:
    """The address of a migrated database that the test has to itself."""
    with database(stack.database_url, migrated_database) as url:
        yield url
