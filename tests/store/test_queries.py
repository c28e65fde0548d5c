"""Every named query is used, and Postgres understands it."""

from __future__ import annotations

import re
from pathlib import Path

import psycopg
import pytest

import store
from store.queries import SQL, load

ROOT = Path(store.__file__).parents[1]
SOURCES = [
    path.read_text()
    for package in ("store", "agents", "api", "cli", "replay")
    for path in ROOT.glob(f"{package}/**/*.py")
]
FILES = sorted(path.stem for path in SQL.glob("*.sql"))
QUERIES = [(file, name) for file in FILES for name in load(file)]


@pytest.mark.parametrize(("file", "name"), QUERIES)
def test_a_query_is_used(file, name):
    assert any(f'load("{file}")' in text and f'SQL["{name}"]' in text for text in SOURCES)


@pytest.mark.stack
@pytest.mark.parametrize("file", FILES)
def test_postgres_understands_every_query(database_url, file):
    with psycopg.connect(database_url) as conn:
        conn.execute("SET ROLE success_writer")
        for name, query in load(file).items():
            numbers: dict[str, str] = {}
            text = re.sub(
                r"%\((\w+)\)[sb]",
                lambda match, numbers=numbers: numbers.setdefault(match[1], f"${len(numbers) + 1}"),
                query.decode(),
            ).replace("%%", "%")
            conn.execute(f"PREPARE {name} AS {text}".encode())


def test_a_name_given_twice_is_an_error(tmp_path, monkeypatch):
    (tmp_path / "twice.sql").write_text("-- name: one\nSELECT 1\n-- name: one\nSELECT 2\n")
    monkeypatch.setattr("store.queries.SQL", tmp_path)
    with pytest.raises(ValueError, match="twice"):
        load("twice")
