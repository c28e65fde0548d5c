"""Conversions: the trigger's goal within seven days of sending, however snapshots and sending overtake each other."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from agents.interventions.writer import InterventionWriter
from cli.analysis.report import _table
from runtime.clock import ManualClock
from scoring.time import DAY, HOUR
from store.messages.feedback import by_template
from tests.agents.delivery.world import ERASURE_KEY, NOW, World
from tests.agents.interventions.factory import snapshot
from topics.catalog import HEALTH
from topics.time import format_time

pytestmark = pytest.mark.stack


async def goals(world: World, supplier: str, at: int, **last: int) -> None:
    """A snapshot arrives that carries these goals (`logged_in=...`)."""
    named = {f"supplier.{name}" if name == "logged_in" else name: time for name, time in last.items()}
    writer = InterventionWriter(world.pool, ManualClock(at), world.policy, ERASURE_KEY)
    times = {name: format_time(time) for name, time in named.items()}
    await writer.write(HEALTH, [snapshot(supplier, seq=at, at=at, last_goals=times)])


async def sent(world: World, trigger: str = "no_login_7_days") -> tuple[str, str]:
    supplier = await world.supplier()
    row = await world.row(supplier, trigger)
    assert (await world.delivery().deliver_due()).sent == 1
    return supplier, row


async def conversions(world: World) -> list[dict[str, Any]]:
    return [event for event in await world.events() if event["type"].endswith(".converted")]


@pytest.mark.parametrize(("after", "counts"), [(0, False), (1, True), (7 * DAY, True), (7 * DAY + 1, False)])
async def test_a_goal_counts_within_seven_days_of_sending(world: World, after: int, counts: bool) -> None:
    supplier, row = await sent(world)
    await goals(world, supplier, NOW + 8 * DAY, logged_in=NOW + after)
    found = await world.find(row)
    at = datetime.fromtimestamp((NOW + after) / 1000, UTC)
    assert (found["converted"], found["converted_at"]) == ((True, at) if counts else (False, None))


async def test_another_triggers_goal_does_not_count(world: World) -> None:
    supplier, row = await sent(world)
    await goals(world, supplier, NOW + DAY, **{"form.created": NOW + HOUR})
    assert not (await world.find(row))["converted"]


async def test_the_first_goal_is_told_once(world: World) -> None:
    supplier, row = await sent(world)
    for day in (1, 2, 3):
        await goals(world, supplier, NOW + day * DAY, logged_in=NOW + day * DAY)
    [event] = await conversions(world)
    assert (event["time"], event["data"]["intervention_id"]) == (format_time(NOW + DAY), row)


async def test_a_goal_that_came_before_our_note_of_the_sending_counts(world: World) -> None:
    """In `success run` the snapshot of a step is stored before the step's messages are sent."""
    supplier = await world.supplier()
    await world.health(supplier, last_goals={"supplier.logged_in": format_time(NOW + HOUR)})
    row = await world.row(supplier, "no_login_7_days")
    await world.delivery().deliver_due()
    assert (await world.find(row))["converted"]
    assert len(await conversions(world)) == 1


async def test_the_report_counts_by_template_and_keeps_machines_apart(world: World) -> None:
    supplier, row = await sent(world)
    await goals(world, supplier, NOW + DAY, logged_in=NOW + DAY)
    for who in ("machine", "bot", "bot"):
        await world.query(
            "INSERT INTO message_hits (intervention_id, supplier_id, kind, at, classification, why) "
            "VALUES (%s, %s, 'open', now(), %s, 'test')",
            row,
            supplier,
            who,
        )
    await world.row(supplier, "became_at_risk")
    async with world.pool.connection() as conn:
        counts = {each["template"]: each for each in await by_template(conn)}
    told = counts["we_miss_you"]
    assert (told["sent"], told["converted"], told["opened"]) == (1, 1, 0)
    assert (told["opened_by_machines"], told["bot_hits"]) == (1, 2)
    assert counts["quick_win"]["sent"] == 0
    assert _table([told]).row_count == 1
