"""Rows that wait for health or an address: due the moment it comes, and free of cost until then."""

from __future__ import annotations

from typing import Any

import pytest

from store.messages import delivery as store
from store.queries import load
from store.times import to_time
from tests.agents.delivery.world import NOW, World

pytestmark = pytest.mark.stack

WAITING = """
    INSERT INTO success_interventions (id, supplier_id, trigger_condition, intervention_type, status, due_at,
        not_before, signal_id, signal_at, seq, metadata, template_used, kind, priority)
    SELECT gen_random_uuid(), s.id, 'low_client_adoption', 'email', 'scheduled', now() - interval '1 day',
        now() + interval '3 days', gen_random_uuid(), now(), 99, jsonb_build_object('waiting', waits),
        'grow_client_list', 'rescue', 87
    FROM suppliers s, unnest(ARRAY['health', 'address']) AS waits, generate_series(1, %s)
"""


def nodes(plan: dict[str, Any]) -> list[dict[str, Any]]:
    """A plan and all that is below it."""
    return [plan, *(node for child in plan.get("Plans", []) for node in nodes(child))]


async def test_health_that_comes_makes_due_what_waited_for_it_and_nothing_else(world: World) -> None:
    supplier = await world.supplier()
    behind = await world.row(supplier, "low_client_adoption", signal={"seq": 11})
    further = await world.row(supplier, "stuck_onboarding", signal={"seq": 12})
    await world.delivery().deliver_due()
    assert (await world.find(behind))["metadata"]["waiting"] == "health"
    assert (await world.find(further))["metadata"]["waiting"] == "health"

    await world.health(supplier, seq=11)

    assert (await world.find(behind))["not_before"] == to_time(NOW)
    assert (await world.find(further))["not_before"] > to_time(NOW)
    async with world.pool.connection() as conn:
        assert await store.next_due_ms(conn) == NOW
    await world.delivery().deliver_due()
    assert (await world.status(behind))[0] == "sent"


async def test_an_empty_address_makes_nothing_due(world: World) -> None:
    supplier = await world.supplier(email=None)
    row = await world.row(supplier, "low_client_adoption")
    await world.delivery().deliver_due()
    await world.profile(supplier, email=None, first_name="Other")
    assert (await world.find(row))["not_before"] > to_time(NOW)


@pytest.mark.parametrize("query", ["lock_oldest", "lock_newest"])
async def test_a_claim_reads_due_rows_only_however_many_wait(world: World, query: str) -> None:
    await world.supplier()
    due = await world.supplier()
    await world.query(WAITING, 2_000)
    await world.row(due, "first_form_created")
    world_settings = "SET LOCAL enable_seqscan = off"
    async with world.pool.connection() as conn:
        await conn.execute("SET ROLE success_owner")
        await conn.execute("ANALYZE success_interventions")
        await conn.execute("SET ROLE success_writer")
        await conn.execute(world_settings)
        text = load("delivery")[query]
        cursor = await conn.execute(b"EXPLAIN (ANALYZE, FORMAT JSON) " + text, {"now": to_time(NOW)})
        found = await cursor.fetchone()
    assert found is not None
    plan = nodes(found[0][0]["Plan"])
    scans = [node for node in plan if node.get("Relation Name") == "success_interventions"]
    assert any(node.get("Index Name") == "idx_interventions_due" for node in scans)
    # What it reads of the rows of others is nothing; of the one that is due and its supplier's, all.
    read = [node for node in scans if node.get("Index Name") == "idx_interventions_due"]
    assert [node["Actual Rows"] + node.get("Rows Removed by Filter", 0) for node in read] == [1]
