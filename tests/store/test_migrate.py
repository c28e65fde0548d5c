from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

import store.migrate
from store.migrate import MigrationError, migrate

pytestmark = pytest.mark.stack


def rows(database_url: str, query: str) -> list[tuple]:
    with psycopg.connect(database_url) as conn:
        return conn.execute(query).fetchall()


def test_applies_every_file_once_in_order(empty_database):
    names = sorted(path.stem for path in store.migrate.MIGRATIONS.glob("*.sql"))
    assert migrate(empty_database) == names
    assert migrate(empty_database) == []


def test_several_at_once_apply_each_file_once(empty_database):
    with ThreadPoolExecutor(4) as threads:
        applied = list(threads.map(lambda _: migrate(empty_database), range(4)))
    assert sorted(map(len, applied))[:3] == [0, 0, 0]
    assert max(map(len, applied)) == len(list(store.migrate.MIGRATIONS.glob("*.sql")))


def test_a_failing_file_leaves_the_database_at_the_one_before_it(empty_database, tmp_path, monkeypatch):
    (tmp_path / "0001_good.sql").write_text("CREATE TABLE good ()")
    (tmp_path / "0002_bad.sql").write_text("CREATE TABLE half (); SELECT 1 / 0")
    monkeypatch.setattr(store.migrate, "MIGRATIONS", tmp_path)
    with pytest.raises(psycopg.errors.DivisionByZero):
        migrate(empty_database)
    (tmp_path / "0002_bad.sql").write_text("CREATE TABLE whole ()")
    assert migrate(empty_database) == ["0002_bad"]


def test_a_file_changed_after_it_was_applied_is_an_error_that_names_it(empty_database, tmp_path, monkeypatch):
    (tmp_path / "0001_first.sql").write_text("CREATE TABLE first ()")
    monkeypatch.setattr(store.migrate, "MIGRATIONS", tmp_path)
    migrate(empty_database)
    (tmp_path / "0001_first.sql").write_text("CREATE TABLE second ()")
    with pytest.raises(MigrationError, match=r"0001_first\.sql was changed"):
        migrate(empty_database)


def test_a_server_that_is_away_is_an_error_that_names_the_setting():
    with pytest.raises(MigrationError, match="SUCCESS_DATABASE_URL"):
        migrate("postgresql://postgres@127.0.0.1:1/success")


def test_a_login_user_who_may_not_make_roles_is_told_what_to_do(empty_database):
    with login_user(empty_database, "") as url, pytest.raises(MigrationError, match=r"store/roles\.sql"):
        migrate(url)


def test_an_ordinary_login_user_migrates_and_sees_every_row(empty_database):
    """As on a hosted Postgres: no superuser, but owner of the database and member of the store's roles."""
    migrate(empty_database)  # an administrator made the roles
    with login_user(empty_database, "success_owner, success_writer, success_api, success_reader") as url:
        assert migrate(url) == []
        with psycopg.connect(url) as conn:
            conn.execute("INSERT INTO suppliers (id) VALUES (gen_random_uuid())")
            assert conn.execute("SELECT count(*) FROM suppliers").fetchone() == (1,)


def test_the_services_own_nothing(database_url):
    owners = rows(
        database_url,
        "SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'public' "
        "UNION SELECT DISTINCT pg_get_userbyid(proowner) FROM pg_proc WHERE proname LIKE 'success%'",
    )
    assert owners == [("success_owner",)]


def test_every_table_has_row_level_security(database_url):
    open_tables = rows(
        database_url,
        "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' "
        "AND NOT relrowsecurity",
    )
    assert open_tables == [("schema_migrations",)]


class login_user:  # noqa: N801 - reads as a statement
    """A user who owns the database, is no superuser and is a member of `groups`; gives its address."""

    def __init__(self, database_url: str, groups: str) -> None:
        self.database_url, self.groups, self.name = database_url, groups, f"login_{uuid4().hex}"

    def __enter__(self) -> str:
        with psycopg.connect(self.database_url, autocommit=True) as conn:
            user = sql.Identifier(self.name)
            conn.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD 'test'").format(user))
            if self.groups:
                conn.execute(sql.SQL("GRANT {} TO {}").format(sql.SQL(self.groups), user))
            database = sql.Identifier(conn.info.dbname)
            conn.execute(sql.SQL("ALTER DATABASE {} OWNER TO {}").format(database, user))
        return make_conninfo(self.database_url, user=self.name, password="test")

    def __exit__(self, *_: object) -> None:
        with psycopg.connect(self.database_url, autocommit=True) as conn:
            user = sql.Identifier(self.name)
            conn.execute(sql.SQL("REASSIGN OWNED BY {} TO CURRENT_USER").format(user))
            conn.execute(sql.SQL("DROP OWNED BY {}").format(user))
            conn.execute(sql.SQL("DROP ROLE {}").format(user))


def test_migrations_are_numbered_without_gaps():
    numbers = [int(path.name[:4]) for path in sorted(Path(store.migrate.MIGRATIONS).glob("*.sql"))]
    assert numbers == list(range(1, len(numbers) + 1))
