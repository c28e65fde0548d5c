"""The logins of docs/postgres.md, made by its own statements: enough for each service, and no way to more."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import psycopg
import pytest
from psycopg import errors, sql

import store
from store import audit
from store.database import Role, open_pool
from store.migrate import migrate

pytestmark = pytest.mark.stack

ROOT = Path(store.__file__).parents[1]
SERVICES = {
    "worker": [Role.WRITER],
    "deliver": [Role.WRITER],
    "api": [Role.API, Role.WRITER],
    "shadow": [Role.READER],
}


@pytest.fixture(scope="module")
def logins(stack) -> Iterator[dict[str, str]]:
    """The address of the new database by login, `owner` among them; names are the test's own."""
    own = f"t{uuid4().hex[:8]}"
    page = (ROOT / "docs/postgres.md").read_text()
    [block] = re.findall(r"```sql\n(.*?)```", page, re.DOTALL)
    block = re.sub(r"\bsuccess_(\w+)_login\b", rf"{own}_\1", block)
    block = re.sub(r"DATABASE success\b", f"DATABASE {own}", block)
    names = re.findall(rf"CREATE ROLE ({own}_\w+)", block)
    with ExitStack() as cleanup:
        admin = cleanup.enter_context(psycopg.connect(stack.database_url, autocommit=True))
        admin.execute((ROOT / "store/roles.sql").read_bytes())
        for statement in filter(str.strip, block.split(";")):
            admin.execute(statement.encode())
        at = urlsplit(stack.database_url)
        host = f"{at.hostname}:{at.port}"
        urls = {
            name.removeprefix(f"{own}_"): f"postgresql://{name}:change%20me@{host}/{own}" for name in names
        }
        migrate(urls["owner"])
        yield urls
        admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(own)))
        for name in names:
            admin.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(name)))


def test_the_owners_login_migrates_and_every_service_has_a_login(logins: dict[str, str]) -> None:
    assert logins.keys() == {"owner", *SERVICES}
    assert migrate(logins["owner"]) == []
    with psycopg.connect(logins["owner"]) as conn:  # pg_trgm needs no more than that
        assert conn.execute("SELECT to_regclass('idx_suppliers_likeness') IS NOT NULL").fetchone() == (True,)


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_takes_its_roles_and_no_other(logins: dict[str, str], service: str) -> None:
    with psycopg.connect(logins[service], autocommit=True) as conn:
        for role in Role:
            statement = sql.SQL("SET ROLE {}").format(sql.Identifier(role))
            if role in SERVICES[service]:
                conn.execute(statement)
                conn.execute("SELECT count(*) FROM suppliers")
            else:
                with pytest.raises(errors.InsufficientPrivilege):
                    conn.execute(statement)
            # Back where the login is: it may do nothing by itself, and owns nothing.
            conn.execute("RESET ROLE")
            for forbidden in (
                "SELECT FROM suppliers",
                "CREATE TABLE mine (id int)",
                "ALTER TABLE audit_log DISABLE TRIGGER ALL",
                "DROP TABLE audit_log",
            ):
                with pytest.raises(errors.InsufficientPrivilege):
                    conn.execute(forbidden)
        owned = conn.execute(
            "SELECT count(*) FROM pg_class WHERE pg_get_userbyid(relowner) = session_user"
        ).fetchone()
        assert owned == (0,)


@pytest.mark.parametrize("service", SERVICES)
async def test_a_services_pool_opens_with_its_login(logins: dict[str, str], service: str) -> None:
    for role in SERVICES[service]:
        pool = await open_pool(logins[service], role, max_size=1)
        await pool.close()


@pytest.mark.parametrize("role", [Role.WRITER, Role.API, Role.READER])
@pytest.mark.parametrize(
    "change",
    ["UPDATE audit_log SET actor = 'x'", "DELETE FROM audit_log", "TRUNCATE audit_log"],
)
def test_no_role_of_a_service_changes_the_audit_log(logins: dict[str, str], role: str, change: str) -> None:
    with psycopg.connect(logins["owner"], autocommit=True) as conn:
        conn.execute("SET ROLE success_owner")
        conn.execute("INSERT INTO audit_log (actor, actor_role, action) VALUES ('a', 'cli', 'x')")
        conn.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(role)))
        with pytest.raises(errors.InsufficientPrivilege):
            conn.execute(change.encode())


def test_not_even_the_owner_rewrites_the_audit_log(logins: dict[str, str]) -> None:
    with psycopg.connect(logins["owner"], autocommit=True) as conn:
        conn.execute("SET ROLE success_owner")
        conn.execute("INSERT INTO audit_log (actor, actor_role, action) VALUES ('a', 'cli', 'x')")
        for change in ("UPDATE audit_log SET actor = 'x'", "TRUNCATE audit_log"):
            with pytest.raises(errors.InsufficientPrivilege, match="only be added to"):
                conn.execute(change.encode())


SARAH, EMMA = "11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222"


@pytest.mark.parametrize(
    ("claims", "actor", "about", "may"),
    [
        (("supplier", SARAH), ("supplier", SARAH), SARAH, True),
        (("supplier", SARAH), ("agent", "Kim"), SARAH, False),
        (("supplier", SARAH), ("supplier", EMMA), SARAH, False),
        (("supplier", SARAH), ("supplier", SARAH), EMMA, False),
        (("supplier", SARAH), ("supplier", SARAH), None, False),
        (("agent", "Kim"), ("agent", "Kim"), EMMA, True),
        (("agent", "Kim"), ("agent", "Lee"), EMMA, False),
        (None, ("agent", "Kim"), None, False),
    ],
)
async def test_under_a_callers_claims_a_row_names_that_caller(
    logins: dict[str, str],
    claims: tuple[str, str] | None,
    actor: tuple[str, str],
    about: str | None,
    may: bool,
) -> None:
    pool = await open_pool(logins["api"], Role.API, max_size=1)
    try:
        async with pool.connection() as conn:
            if claims:
                said = psycopg.types.json.Jsonb({"role": claims[0], "sub": claims[1]})
                await conn.execute("SELECT set_config('request.jwt.claims', %s::text, true)", (said,))
            if may:
                await audit.log(conn, audit.Actor(*actor), "x", about, 0)
            else:
                with pytest.raises(errors.InsufficientPrivilege):
                    await audit.log(conn, audit.Actor(*actor), "x", about, 0)
            await conn.rollback()
    finally:
        await pool.close()
