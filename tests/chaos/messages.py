"""What messages must look like after faults: each once, no cap broken, nothing left in between."""

from __future__ import annotations

import asyncio
import time
from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import Any

import orjson
import psycopg
from psycopg.rows import dict_row

from runtime.settings import Settings
from scoring.decisions.policy import Policy
from tests.chaos.world import World
from tests.reference.logs import read
from topics.catalog import INTERVENTIONS

Row = dict[str, Any]
AT_ONCE = 4
"""So many messages of one delivery are on their way to the mail server at most."""
DAY_S = 86_400.0
LEFT_WITHIN_S = 120.0
ROWS = """
    SELECT id::text, supplier_id::text AS supplier, trigger_condition, intervention_type, kind, status, reason,
        last_error, attempts, extract(epoch FROM claimed_at)::float AS claimed
    FROM success_interventions
"""
HURRY = "UPDATE success_interventions SET not_before = now() WHERE status = 'scheduled' AND attempts > 0"
"""Retries wait for minutes: nobody here does."""


def query(settings: Settings, statement: str) -> list[Row]:
    """The rows of a statement."""
    with psycopg.connect(settings.database_url, row_factory=dict_row, autocommit=True) as conn:
        found = conn.execute(statement.encode())
        return found.fetchall() if found.description else []


async def all_left(world: World) -> None:
    """Return when every message to those who live there is decided and noted, and every event is published."""
    deadline = time.monotonic() + LEFT_WITHIN_S
    while open_things := await asyncio.to_thread(what_is_open, world):
        assert time.monotonic() < deadline, f"{open_things}\n{world.logs()}"
        await asyncio.sleep(0.3)


def what_is_open(world: World) -> str | None:
    """What is still to be done, in words."""
    query(world.settings, HURRY)
    query(world.settings, "NOTIFY success_delivery")
    rows = [row for row in query(world.settings, ROWS) if row["status"] in {"scheduled", "sending"}]
    mine = [row for row in rows if row["supplier"] in world.live or row["status"] == "sending"]
    if mine:
        return f"{len(mine)} rows, such as {mine[0]}"
    [waiting] = query(world.settings, "SELECT count(*) AS number FROM outbox WHERE published_at IS NULL")
    return f"{waiting['number']} events of the outbox" if waiting["number"] else None


async def assert_each_message_once(world: World, most_unknown: int) -> Counter[str]:
    """Rows, emails and events agree, and every supplier got what they may get; how many came to what."""
    rows = {row["id"]: row for row in await asyncio.to_thread(query, world.settings, ROWS)}
    letters = Counter(row for row, _ in world.letters())
    twice = [row for row, number in letters.items() if number > 1]
    assert not twice, f"{len(twice)} emails came twice, such as {rows.get(twice[0])}"
    strange = [
        rows.get(row) for row in letters if row not in rows or rows[row]["status"] not in {"sent", "unknown"}
    ]
    assert not strange, f"{len(strange)} emails that no row knows of, such as {strange[0]}"
    lost = [
        row
        for row in rows.values()
        if row["status"] == "sent" and row["intervention_type"] == "email" and row["id"] not in letters
    ]
    assert not lost, f"{len(lost)} emails are sent and never came, such as {lost[0]}"
    status = Counter(row["status"] for row in rows.values())
    assert not status["sending"]
    failed = [row for row in rows.values() if row["status"] == "failed"]
    assert not failed, f"{len(failed)} failed, such as {failed[0]}"
    assert status["unknown"] <= most_unknown, f"of {status['unknown']} emails nobody knows whether they came"
    assert_caps(rows)
    assert_one_celebration(world, rows)
    await assert_outbox_published(world, rows)
    return status


def assert_caps(rows: Mapping[str, Row]) -> None:
    """No supplier got more in a week, or two emails sooner after each other, than the policy allows."""
    policy = Policy.load()
    triggers = {trigger.name: trigger for trigger in policy.triggers}
    of_supplier: dict[str, list[Row]] = defaultdict(list)
    for row in rows.values():
        if row["status"] in {"sent", "unknown"}:
            of_supplier[row["supplier"]].append(row)
    for supplier, got in of_supplier.items():
        positive = [row for row in got if row["kind"] == "positive"]
        assert len(got) <= policy.caps.total, (supplier, got)
        assert len(positive) <= policy.caps.positive, (supplier, positive)
        emails = [row for row in got if row["intervention_type"] == "email"]
        celebrations = [row for row in emails if triggers[row["trigger_condition"]].celebration]
        assert len(celebrations) <= 1, (supplier, celebrations)
        assert len(emails) - len(celebrations) <= 1, (supplier, emails)


def assert_one_celebration(world: World, rows: Mapping[str, Row]) -> None:
    """Each of those who live there has been welcomed, and one of their firsts was celebrated by email."""
    got: dict[str, Counter[str]] = defaultdict(Counter)
    for row in rows.values():
        if row["status"] in {"sent", "unknown"}:
            got[row["supplier"]][row["intervention_type"]] += 1
    wrong = {
        supplier: dict(got[supplier])
        for supplier in world.live
        if got[supplier] != Counter(email=1, in_app_notification=1)
    }
    if wrong:
        supplier = next(iter(wrong))
        theirs = [row for row in rows.values() if row["supplier"] == supplier]
        raise AssertionError(
            f"{len(wrong)} of {len(world.live)} got something else: {wrong[supplier]} {theirs}"
        )


async def assert_outbox_published(world: World, rows: Mapping[str, Row]) -> None:
    """Each event of the outbox is on its topic, with its content, and every message that was sent has told of it."""
    kept = await asyncio.to_thread(query, world.settings, "SELECT topic, key, value FROM outbox")
    wanted = {
        orjson.loads(row["value"])["id"]: bytes(row["value"]) for row in kept if row["topic"] == INTERVENTIONS
    }
    found: dict[str, bytes] = {}
    for partition in await read(world.settings, INTERVENTIONS):
        for record in partition:
            event = orjson.loads(record.value)
            assert found.setdefault(event["id"], record.value) == record.value, "one id with two contents"
    assert wanted.keys() <= found.keys(), (
        f"{len(wanted.keys() - found.keys())} events are marked and not there"
    )
    assert all(orjson.loads(found[name]) == orjson.loads(value) for name, value in wanted.items())
    told = Counter(
        event["data"]["intervention_id"]
        for event in map(orjson.loads, found.values())
        if event["type"] == "success.intervention.sent"
    )
    sent = {row["id"] for row in rows.values() if row["status"] == "sent"}
    assert set(told) == sent, f"{len(sent ^ set(told))} messages told of nothing, or of what was not"
    assert max(told.values()) == 1, "a message told twice, under two ids, that it was sent"
