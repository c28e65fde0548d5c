"""A version goes into force in running workers: in seconds, at one place a partition, and nothing is sent for it."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import psycopg
import pytest

from agents.cluster import rules_log
from agents.health.fold import GRACE_MS
from runtime.settings import Settings
from scoring.decisions.policy import Policy
from tests.agents.activating import STRICT, activate
from tests.agents.health.records import event_record
from tests.agents.workers import ANNA, BELLE, EVERYWHERE, SpyWriter, now_ms, running, send, until, values
from topics.catalog import HEALTH, MILESTONES, RISK_CHANGES

pytestmark = pytest.mark.stack


async def changes(settings: Settings, version: int) -> list[dict[str, Any]]:
    return [
        each
        for each in await values(settings, RISK_CHANGES)
        if each["data"].get("cause") == f"rules:{version}"
    ]


def rows(settings: Settings) -> list[tuple[str, str, str, dict[str, Any]]]:
    with psycopg.connect(settings.database_url) as conn:
        return conn.execute(
            "SELECT trigger_condition, status, reason, metadata FROM success_interventions ORDER BY 1"
        ).fetchall()


def lived(supplier: str) -> list[Any]:
    at = now_ms() - 20 * 24 * 3_600_000
    now = now_ms()
    return [
        event_record(supplier, "supplier.signed_up", at, appended=now, plan="free"),
        event_record(supplier, "supplier.logged_in", now, appended=now),
        event_record(supplier, "form.created", now, appended=now, form_id="f"),
        event_record(supplier, "template.used", now, appended=now, template_id="t"),
        event_record(supplier, "journey.created", now, appended=now, journey_id="j"),
        event_record(supplier, "form.sent", now, appended=now, form_id="f"),
    ]


async def test_running_workers_go_over_within_seconds_and_nothing_is_sent_for_it(
    settings: Settings, tmp_path: Path
) -> None:
    async with running(settings, grace_ms=GRACE_MS, policy=Policy.load()) as worker:
        await send(settings, worker, [record for supplier in EVERYWHERE for record in lived(supplier)])
        before = {one["id"] for one in await values(settings, RISK_CHANGES)}
        began = time.monotonic()
        number = await activate(settings, tmp_path / "strict", STRICT)

        async def everybody() -> bool:
            return len(await changes(settings, number)) == len(EVERYWHERE)

        await until(everybody)
        assert time.monotonic() - began < 10
        told = await changes(settings, number)
        assert {one["subject"] for one in told} == set(EVERYWHERE)
        assert {(one["data"]["previous"], one["data"]["level"]) for one in told} == {
            ("at_risk", "critical")
        } or {one["data"]["level"] for one in told} == {"critical"}
        assert before.isdisjoint(one["id"] for one in told)
        await worker.settled()
        of_a_switch = [row for row in rows(settings) if row[3].get("decided_version") == number]
        assert of_a_switch
        assert {(status, reason) for _, status, reason, _ in of_a_switch} == {("suppressed", "rules_changed")}
        with psycopg.connect(settings.database_url) as conn:
            born = conn.execute(
                "SELECT celebrated FROM success_milestones WHERE milestone_type = 'first_send'"
            ).fetchall()
        assert born == [(True,)] * len(EVERYWHERE)
        log = await rules_log.read(settings)
        assert [len(log.switches(partition)) for partition in range(settings.partitions)] == [
            1
        ] * settings.partitions
        # what comes from now on is of the new version, and is written again under none of the old ids
        await send(settings, worker, [event_record(ANNA, at=now_ms())])
        newest = (await values(settings, HEALTH))[-1]
        assert newest["data"]["config_version"] == number


async def test_a_worker_that_starts_later_goes_on_by_what_the_topic_says(
    settings: Settings, tmp_path: Path
) -> None:
    async with running(settings, grace_ms=GRACE_MS, new_writer=SpyWriter) as worker:
        await send(settings, worker, [record for supplier in (ANNA, BELLE) for record in lived(supplier)])
    number = await activate(settings, tmp_path / "strict", STRICT)
    for _ in range(2):  # the second finds everything done
        async with running(settings, grace_ms=GRACE_MS, new_writer=SpyWriter):

            async def both() -> bool:
                return len(await changes(settings, number)) == 2

            await until(both)
            await asyncio.sleep(1.5)
    assert sorted(one["subject"] for one in await changes(settings, number)) == sorted((ANNA, BELLE))
    milestones = [
        each for each in await values(settings, MILESTONES) if each["data"]["milestone"] == "first_send"
    ]
    assert sorted(one["subject"] for one in milestones) == sorted((ANNA, BELLE))


async def test_a_version_for_some_partitions_leaves_the_others_alone(
    settings: Settings, tmp_path: Path
) -> None:
    async with running(settings, grace_ms=GRACE_MS, new_writer=SpyWriter) as worker:
        await send(settings, worker, [record for supplier in EVERYWHERE for record in lived(supplier)])
        number = await activate(settings, tmp_path / "strict", STRICT, (0,))

        async def some() -> bool:
            return len(await changes(settings, number)) == 5

        await until(some)
        await asyncio.sleep(1.5)
        assert len(await changes(settings, number)) == 5
        log = await rules_log.read(settings)
        assert [len(log.switches(partition)) for partition in range(settings.partitions)] == [1, 0, 0, 0]
