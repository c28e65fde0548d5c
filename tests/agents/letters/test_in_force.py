"""What services decide and write by: what Postgres says is in force, everywhere or on some partitions."""

from __future__ import annotations

from pathlib import Path

import pytest
from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from agents.letters.in_force import InForce
from agents.letters.render import Letters
from runtime.configuration import load
from runtime.settings import Settings
from runtime.versions import version_of, with_partitions, words_of
from store import versions as store
from store.database import Role, open_pool
from tests.agents.health.records import PARTITIONS, suppliers_of

pytestmark = pytest.mark.stack
WELCOME = (
    '{% extends "_short.txt" %}{% block subject %}Hello again{% endblock %}{% block body %}Hi.{% endblock %}'
)


async def put(
    pool: AsyncConnectionPool[AsyncConnection],
    folder: Path,
    number: int,
    total: int,
    partitions: tuple[int, ...] | None = None,
    *,
    in_force: bool = True,
) -> None:
    """Store a version with this cap and other words, as an activation does."""
    texts = {"policy.toml": f"[caps]\ntotal = {total}\n", "templates/in_app/welcome.txt": WELCOME}
    for name, text in texts.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, "utf-8")
    found = load(folder)
    version = with_partitions(version_of(found, number, "2026-01-05T09:00:00.000Z"), partitions)
    async with pool.connection() as conn:
        await store.add(conn, store.Stored(version, words_of(found), f"s{number}", "Ada", "x"), 0)
        if in_force:
            await store.put_into_force(conn, [number], 0)


async def refreshed(pool: AsyncConnectionPool[AsyncConnection], in_force: InForce) -> bool:
    async with pool.connection() as conn:
        return await in_force.refresh(conn)


async def test_a_version_is_used_once_it_is_in_force(settings: Settings, tmp_path: Path) -> None:
    pool = await open_pool(settings.database_url, Role.WRITER, max_size=1)
    own = load()
    in_force = InForce(own.policy, Letters.of(own), PARTITIONS)
    here, elsewhere = (suppliers_of(partition, 1)[0] for partition in (0, 1))
    try:
        assert not await refreshed(pool, in_force)
        await put(pool, tmp_path / "a", 1, 2, in_force=False)
        assert not await refreshed(pool, in_force)
        assert in_force.current.number == 0
        await put(pool, tmp_path / "b", 2, 1)
        assert await refreshed(pool, in_force)
        assert not await refreshed(pool, in_force)
        held = in_force.of(here)
        assert (held.number, held.policy.caps.total) == (2, 1)
        assert held.letters.text("in_app/welcome", {}).subject == "Hello again"
        await put(pool, tmp_path / "c", 3, 0, (0,))
        assert await refreshed(pool, in_force)
        assert [in_force.of(each).number for each in (here, elsewhere)] == [3, 2]
        assert in_force.current.number == 2
    finally:
        await pool.close()
