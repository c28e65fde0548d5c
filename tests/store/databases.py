"""Databases that a test has to itself, copied from a migrated one, which is faster than migrating each."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql

from store.migrate import migrate

if TYPE_CHECKING:
    from collections.abc import Iterator


_templates: dict[str, str] = {}
"""Server → name of a migrated database there."""


@contextmanager
def database(server_url: str, template: str | None = None, name: str | None = None) -> Iterator[str]:
    """The address of a new database, empty or like the one that is called `template`; dropped afterwards."""
    name = name or f"test_{uuid4().hex}"
    with psycopg.connect(server_url, autocommit=True) as admin:
        _create(admin, name, template)
    yield _beside(server_url, name)
    with psycopg.connect(server_url, autocommit=True) as admin:
        _drop(admin, name)


def template_on(server_url: str) -> str:
    """The name of a migrated database on a server, to copy from: migrated once, kept until `drop_templates`."""
    if server_url not in _templates:
        name = f"template_{uuid4().hex}"
        with psycopg.connect(server_url, autocommit=True) as admin:
            _create(admin, name, None)
        migrate(_beside(server_url, name))
        _templates[server_url] = name
    return _templates[server_url]


def drop_templates() -> None:
    """Leave none behind on a server that goes on."""
    while _templates:
        server_url, name = _templates.popitem()
        with psycopg.connect(server_url, autocommit=True) as admin:
            _drop(admin, name)


def _create(admin: psycopg.Connection, name: str, template: str | None) -> None:
    names = sql.Identifier(name), sql.Identifier(template or "template0")
    admin.execute(sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY FILE_COPY").format(*names))


def _drop(admin: psycopg.Connection, name: str) -> None:
    admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def _beside(server_url: str, name: str) -> str:
    return f"{server_url.rpartition('/')[0]}/{name}"


@pytest.fixture(scope="session")
def migrated_database(stack) -> str:
    """The name of a migrated database to copy from."""
    return template_on(stack.database_url)


@pytest.fixture
def database_url(stack, migrated_database) -> Iterator[str]:
    """The address of a migrated database that the test has to itself."""
    with database(stack.database_url, migrated_database) as url:
        yield url
