from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

import store.migrate
import store.schema
from store.migrate import MigrationError, left_for_after, migrate
from store.schema import SchemaError, check_schema, difference, digests

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


@pytest.fixture
def files(tmp_path, monkeypatch):
    """Write a folder of migrations that stands for ours."""
    monkeypatch.setattr(store.migrate, "MIGRATIONS", tmp_path)
    monkeypatch.setattr(store.schema, "MIGRATIONS", tmp_path)
    digests.cache_clear()

    def write(**files: str) -> None:
        for name, text in files.items():
            (tmp_path / f"{name.removeprefix('m').replace('__after', '.after')}.sql").write_text(text)
        digests.cache_clear()

    yield write
    digests.cache_clear()


def test_what_takes_something_away_waits_until_it_is_asked_for(empty_database, files):
    files(m0001_one="CREATE TABLE one (old int, new int)")
    migrate(empty_database)
    files(
        m0002_less__after="ALTER TABLE one DROP COLUMN old", m0003_more="ALTER TABLE one ADD COLUMN more int"
    )
    assert migrate(empty_database) == ["0003_more"]
    assert left_for_after(empty_database) == ["0002_less.after"]
    assert migrate(empty_database, after=True) == ["0002_less.after"]
    assert left_for_after(empty_database) == []


def test_a_new_database_has_no_version_before(empty_database, files):
    files(m0001_one="CREATE TABLE one (old int)", m0002_less__after="ALTER TABLE one DROP COLUMN old")
    assert migrate(empty_database) == ["0001_one", "0002_less.after"]


def test_a_service_needs_what_is_added_and_refuses_where_something_was_taken_from_it(files):
    files(m0001_one="", m0002_less__after="")
    ours = digests()
    assert difference(ours) is None
    assert difference({"0001_one": ours["0001_one"]}) is None
    assert difference(ours | {"0003_more": "x"}) is None
    problem = difference(ours | {"0004_gone.after": "x"})
    assert problem is not None
    assert "too new for this version (0004_gone.after took away what it needs)" in problem


def test_a_lock_that_is_taken_is_tried_for_again_and_nobody_waits_behind_it_for_longer(
    empty_database, files, monkeypatch
):
    files(m0001_one="CREATE TABLE one (id int)")
    migrate(empty_database)
    files(m0002_more="ALTER TABLE one ADD COLUMN more int")
    monkeypatch.setattr(store.migrate, "LOCK_TIMEOUT_S", 0.2)
    tries = []
    monkeypatch.setattr(store.migrate.time, "sleep", tries.append)

    with psycopg.connect(empty_database) as reader, ThreadPoolExecutor(1) as thread:
        reader.execute("SELECT * FROM one")
        migrating = thread.submit(migrate, empty_database)
        while len(tries) < 2:  # it came again while the reader was in its transaction
            assert not migrating.done()
        reader.rollback()
        assert migrating.result() == ["0002_more"]
    assert tries[:2] == [0.5, 1.0]


def test_a_lock_that_is_never_free_is_an_error_that_says_who_has_it(empty_database, files, monkeypatch):
    files(m0001_one="CREATE TABLE one (id int)")
    migrate(empty_database)
    files(m0002_more="ALTER TABLE one ADD COLUMN more int")
    monkeypatch.setattr(store.migrate, "LOCK_TIMEOUT_S", 0.1)
    monkeypatch.setattr(store.migrate, "PATIENCE_S", 0.1)
    with psycopg.connect(empty_database) as reader:
        reader.execute("SELECT * FROM one")
        who = f"process {reader.info.backend_pid} of "
        with pytest.raises(MigrationError, match=rf"0002_more\.sql found no moment for its lock .*{who}"):
            migrate(empty_database)


def test_statement_by_statement_builds_beside_writers_and_can_be_repeated(empty_database, files):
    files(m0001_one="CREATE TABLE one (id int); INSERT INTO one VALUES (1), (1)")
    migrate(empty_database)
    index = "CREATE {}INDEX CONCURRENTLY i ON one(id);\n"
    build = "-- statement by statement\nDROP INDEX CONCURRENTLY IF EXISTS i;\n" + index
    files(m0002_index=build.format("UNIQUE "))
    with pytest.raises(psycopg.errors.UniqueViolation):
        migrate(empty_database)  # and leaves an index behind that is not valid
    files(m0002_index=build.format(""))
    assert migrate(empty_database) == ["0002_index"]
    assert rows(
        empty_database, "SELECT indisvalid, indisunique FROM pg_index WHERE indrelid = 'one'::regclass"
    ) == [(True, False)]
    assert rows(empty_database, "SELECT pg_get_userbyid(relowner) FROM pg_class WHERE relname = 'i'") == [
        ("success_owner",)
    ]


TAKES_AWAY = re.compile(
    r"\bDROP\s+(TABLE|COLUMN|FUNCTION|VIEW|TYPE|SCHEMA)\b|\bRENAME\b|\bALTER\s+COLUMN\s+\w+\s+TYPE\b"
)


def test_a_migration_that_may_run_beside_the_version_before_takes_nothing_away():
    ours = [path for path in store.migrate.MIGRATIONS.glob("*.sql") if path.stem not in RELEASED]
    taking = {path.name for path in ours if TAKES_AWAY.search(path.read_text())}
    assert {name for name in taking if not name.endswith(".after.sql")} == set()


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


def test_no_two_migrations_have_one_number():
    numbers = [path.name[:4] for path in Path(store.migrate.MIGRATIONS).glob("*.sql")]
    assert sorted(set(numbers)) == sorted(numbers)


RELEASED = {
    "0001_customer_success": "b6e3aafbf7182457334efd33fb0730828be76a25b95ce38ac7de2178aab0b018",
    "0002_pipeline": "739b8c4d0812ce99e9e6c6a016a90fab3970e41ce9c15494f468e41fca0d6b87",
    "0003_row_level_security": "4e42b2055465963d6f54646c385b7ae9ee892a82493b037f9b14b62c30801337",
    "0004_waiting": "0cbee073f87c8decb4b9c7a668911df6a4554ff47ffa1178dc4b5cd63547b8e4",
    "0005_calls": "b8e33e91e738d9f49b630d576ceb174a39fe69c5ac4416d93823536db993eed6",
    "0006_feedback": "7d0ce9ecaae549f5db2363ee6e7622b3bb74734ba151b24ff25369dac9a8ca93",
    "0007_experiments": "e9667cba4ad1cf2080f96c33100646fb58c6f9abec8b26953653e166904dd7cc",
    "0008_dashboard": "e01ebaa534dac108f1aefec06f6204bb8ce9f66ea2cf310654873d9bd91bbea1",
    "0009_shadow": "813f9326a178018f9558179fa3b8a72fd2db01be93cb26784d52625f0cc67b4d",
    "0010_delivery": "b33c41b74805fd5b99713250cf13137d159c066a7d544b30a1dd82f281bdd003",
    "0011_coach": "b9649262846254934ddef2f6f04f503ee8afba696ea283b74b3bb02bfe1b53a0",
    "0012_call_mail_reports": "1df31afa05e60c978636a8b6cd4d7fddf462969d0c55989a30bf64e601e7a895",
}
"""SHA-256 of the migrations that databases out there have had: a change is a new migration."""


def test_a_released_migration_is_never_edited():
    assert {name: digests()[name] for name in RELEASED} == RELEASED


async def test_a_database_behind_the_code_is_told_from_one_ahead_of_it(empty_database):
    async def problem():
        async with await psycopg.AsyncConnection.connect(empty_database) as conn:
            try:
                await check_schema(conn)
            except SchemaError as error:
                return str(error)
            return None

    assert "run `success migrate`" in await problem()
    migrate(empty_database)
    assert await problem() is None
    with psycopg.connect(empty_database) as conn:
        conn.execute("INSERT INTO schema_migrations (name, digest) VALUES ('9999_newer', 'x')")
    assert await problem() is None
    newest = max(name for name in digests() if not name.endswith(".after"))
    with psycopg.connect(empty_database) as conn:
        conn.execute("DELETE FROM schema_migrations WHERE name = %s", [newest])
    assert await problem() == f"the database lacks {newest}: run `success migrate`"
    with psycopg.connect(empty_database) as conn:
        conn.execute("INSERT INTO schema_migrations (name, digest) VALUES (%s, 'other')", [newest])
    assert f"{newest} was changed after the database had it" in await problem()
