"""A version is taken back by itself once its messages pass the limits given with it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from agents.acts import versions as acts
from agents.cluster import rules_log
from agents.delivery.brake import Brake
from cli.admin.shared import writing
from embedded.registry import Addresses
from runtime.clock import SystemClock
from runtime.configuration import Configuration, load
from runtime.settings import Settings
from scoring.health import rules_file
from store import versions as store
from store.audit import Actor
from tests.agents.activating import STRICT
from tests.agents.workers import ANNA, now_ms
from tests.conftest import own_settings

pytestmark = pytest.mark.stack

GONE_WRONG = {
    "complaints": "complained_at = now()",
    "bounces": "bounced_at = now()",
    "unsubscribes": "unsubscribed_at = now()",
    "failures": "status = 'failed', sent_at = NULL",
}


@pytest.fixture
def settings(stack: Addresses, tmp_path: Path) -> Iterator[Settings]:
    """With topics of their own, unlike what else is tested here."""
    with own_settings(stack, tmp_path / "state") as own:
        yield own


def rules(folder: Path, text: str) -> Configuration:
    folder.mkdir()
    (folder / "rules.toml").write_text(text, "utf-8")
    return load(folder)


async def activate(
    settings: Settings, found: Configuration, limits: dict[str, int] | None, *partitions: int
) -> int:
    act = acts.Act(Actor("cli", "ada"), "Ada", "to see", now_ms())
    async with writing(settings) as pool:
        stored = await acts.activate(settings, pool, found, load(), act, partitions or None, limits)
    return stored.version.number


async def look(settings: Settings, before: Configuration | None = None) -> None:
    async with writing(settings) as pool:
        await Brake(settings, pool, SystemClock(), before or load()).look()


async def history(settings: Settings) -> list[store.Entry]:
    async with writing(settings) as pool, pool.connection() as conn:
        return await store.history(conn)


def goes_wrong(settings: Settings, version: int, what: str) -> None:
    """One more message that this version decided."""
    with psycopg.connect(settings.database_url) as conn:
        conn.execute("INSERT INTO suppliers (id) VALUES (%s) ON CONFLICT DO NOTHING", (ANNA,))
        row = conn.execute(
            "INSERT INTO success_interventions (id, supplier_id, trigger_condition, intervention_type, status, "
            "sent_at, metadata) VALUES (gen_random_uuid(), %s, 't', 'email', 'sent', now(), "
            "jsonb_build_object('decided_version', %s::int)) RETURNING id",
            (ANNA, version),
        ).fetchone()
        assert row is not None
        conn.execute(f"UPDATE success_interventions SET {GONE_WRONG[what]} WHERE id = %s", row)  # noqa: S608


@pytest.mark.parametrize("what", store.LIMITED)
async def test_past_a_limit_what_was_before_is_in_force_again_everywhere(
    settings: Settings, tmp_path: Path, what: str
) -> None:
    first = await activate(settings, rules(tmp_path / "first", STRICT), None)
    second = await activate(settings, load(), {what: 1}, 0, 3)
    goes_wrong(settings, first, what)  # another's
    goes_wrong(settings, second, what)
    await look(settings)
    assert [each.number for each in await history(settings)] == [second, first]

    goes_wrong(settings, second, what)
    await look(settings)
    newest = (await history(settings))[0]
    assert (newest.number, newest.copy_of, newest.partitions, newest.limits) == (3, first, None, None)
    assert newest.note == f"version {second} is taken back: 2 {what}, limit 1"
    log = await rules_log.read(settings)
    assert {log.wanted(number).number for number in range(settings.partitions)} == {3}  # type: ignore[union-attr]
    assert log.policy(3).rules.digest == log.policy(first).rules.digest
    with psycopg.connect(settings.database_url) as conn:
        said: list[Any] = conn.execute(
            "SELECT actor, action, details ->> 'copy_of' FROM audit_log ORDER BY id DESC LIMIT 1"
        ).fetchall()
    assert said == [("success deliver", acts.ROLLED_BACK, str(first))]

    goes_wrong(settings, 3, what)
    await look(settings)  # nothing was limited with what was put back
    assert len(await history(settings)) == 3


async def test_the_first_version_is_taken_back_to_what_services_ran_by(
    settings: Settings, tmp_path: Path
) -> None:
    own = rules(
        tmp_path / "own", rules_file.DEFAULT.read_text("utf-8").replace("at_risk = 40 ", "at_risk = 41 ")
    )
    first = await activate(settings, rules(tmp_path / "first", STRICT), {"complaints": 0})
    goes_wrong(settings, first, "complaints")
    await look(settings, own)
    newest = (await history(settings))[0]
    assert (newest.number, newest.digest) == (2, own.digest)


async def test_who_lost_against_a_newer_version_is_watched_no_more(
    settings: Settings, tmp_path: Path
) -> None:
    first = await activate(settings, rules(tmp_path / "first", STRICT), {"bounces": 0})
    second = await activate(settings, load(), None)
    goes_wrong(settings, first, "bounces")
    await look(settings)
    assert [each.number for each in await history(settings)] == [second, first]
