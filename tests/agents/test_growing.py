"""More partitions on real Kafka: every event counts once, states, ids and order stay, whatever is in between."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import count
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions
from click.testing import CliRunner

from agents.cluster.describing import ClusterError
from agents.cluster.provisioning import STATE, create_topics
from agents.engine.failure import RefusedError
from agents.engine.producer import BatchProducer
from agents.growing import grow
from agents.health.fold import PartitionFold
from agents.worker import InProcessWorker
from cli.admin.topics import topics
from runtime.clock import SystemClock
from runtime.settings import Settings
from tests.agents.health.records import PARTITIONS, FakeRecord, event_record, numbered, suppliers_of
from tests.agents.workers import (
    DEADLINE_S,
    EVERYWHERE,
    SpyWriter,
    all_read,
    no_lag,
    now_ms,
    running,
    until,
    values,
)
from tests.chaos.workers import WorkerProcess
from tests.reference.logs import read
from topics.catalog import (
    ACTIVITY,
    CONDITIONS,
    DEAD_LETTERS,
    HEALTH,
    MILESTONES,
    PROFILES,
    RISK_CHANGES,
    full_name,
)
from topics.partitioner import partition_of

pytestmark = pytest.mark.stack

MORE = 6
SIGNALS = (RISK_CHANGES, MILESTONES, CONDITIONS)
VENUE = suppliers_of(1, 9)[-1]
"""With so many clients that they are kept in pages."""
_ticks = count()


def forms(number: int) -> list[FakeRecord]:
    """So many new forms of everybody, each a millisecond after the one before."""
    began = now_ms() - 60_000
    return [
        event_record(supplier, "form.created", began + (tick := next(_ticks)), form_id=f"f{tick}")
        for _ in range(number)
        for supplier in EVERYWHERE
    ]


def venue() -> list[FakeRecord]:
    clients = [f"c{number}" for number in range(400)]
    return [event_record(VENUE, "client.imported", now_ms() - 70_000, client_ids=clients)]


async def publish_by(
    settings: Settings, records: Sequence[FakeRecord], partitions: int
) -> Sequence[FakeRecord]:
    """Publish as a producer does that knows of so many partitions."""
    async with AIOKafkaProducer(bootstrap_servers=settings.kafka, enable_idempotence=True) as producer:
        topic = full_name(settings.topic_prefix, ACTIVITY)
        while (
            len(await producer.partitions_for(topic)) < partitions
        ):  # just added: not every broker says so at once
            await producer.client.force_metadata_update()
        for record in records:
            home = partition_of(record.key or b"", partitions)
            await producer.send(topic, record.value, key=record.key, partition=home)
        await producer.flush()
    return records


async def score_all(settings: Settings) -> None:
    """Let a worker read everything, what it sends home included."""
    async with running(settings) as worker:

        async def everything() -> bool:
            return await all_read(settings, worker)

        await until(everything)
        await until(everything)


async def add_partitions(settings: Settings, names: Sequence[str], number: int) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka)
    await admin.start()
    await admin.create_partitions(
        {full_name(settings.topic_prefix, name): NewPartitions(number) for name in names}
    )
    await admin.close()


def in_one_go(records: Sequence[FakeRecord]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Signals by id, and each supplier's newest snapshot, of one fold that reads all in order."""
    fold = PartitionFold(0, 1)
    fold.process(numbered([FakeRecord(r.key, r.value, 0, now_ms()) for r in records]))
    flush = fold.take_flush()
    signals = [orjson.loads(value) for _, _, value in flush.signals]
    snapshots = [orjson.loads(value) for _, value in flush.health]
    return {each["id"]: each for each in signals}, {each["subject"]: facts(each) for each in snapshots}


def facts(snapshot: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in snapshot["data"].items() if name not in {"changes", "goals"}}


async def live(settings: Settings) -> tuple[dict[str, Any], dict[str, Any]]:
    """The same of what workers have published."""
    signals = {each["id"]: each for name in SIGNALS for each in await values(settings, name)}
    newest: dict[str, dict[str, Any]] = {}
    for each in await values(settings, HEALTH):
        old = newest.get(each["subject"])
        if old is None or each["data"]["seq"] >= old["data"]["seq"]:
            newest[each["subject"]] = each
    return signals, {supplier: facts(each) for supplier, each in newest.items()}


async def dead_letters(settings: Settings) -> list[bytes]:
    return [dict(r.headers)["error"] for records in await read(settings, DEAD_LETTERS) for r in records]


def wider(settings: Settings, partitions: int = MORE) -> Settings:
    return settings.model_copy(update={"partitions": partitions})


async def grown_with_everything_in_between(settings: Settings) -> list[FakeRecord]:
    """A deployment that has grown, with a backlog, with producers that knew of it late; all of its events."""
    published = [*await publish_by(settings, [*venue(), *forms(2)], PARTITIONS)]
    await score_all(settings)
    published += await publish_by(settings, forms(2), PARTITIONS)  # nobody has read these
    done = await grow(settings, MORE)
    assert (done.before, done.now) == (PARTITIONS, MORE)
    assert done.suppliers == sum(
        partition_of(s.encode(), PARTITIONS) != partition_of(s.encode(), MORE) for s in [*EVERYWHERE, VENUE]
    )
    published += await publish_by(settings, forms(2), PARTITIONS)  # by producers that don't know yet
    await score_all(wider(settings))
    published += await publish_by(settings, forms(2), MORE)
    await score_all(wider(settings))
    return published


async def test_states_ids_and_order_are_kept_and_every_event_counts_once(settings: Settings) -> None:
    published = await grown_with_everything_in_between(settings)
    assert await live(wider(settings)) == in_one_go(published)
    assert await dead_letters(wider(settings)) == []


async def test_a_state_lost_after_a_growth_is_built_again_by_the_count_in_force_where_each_event_lies(
    settings: Settings,
) -> None:
    published = await grown_with_everything_in_between(settings)
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka)
    await admin.start()
    await admin.delete_topics([full_name(settings.topic_prefix, STATE)])
    await admin.close()

    async def made() -> bool:
        try:
            return bool(await create_topics(wider(settings)))
        except ClusterError:  # the brokers are still deleting it
            return False

    await until(made)
    with pytest.raises(RefusedError, match="`success topics grow 6` builds the state again"):
        await InProcessWorker(wider(settings), SystemClock()).start()
    await grow(wider(settings), MORE)
    published += await publish_by(settings, forms(1), MORE)
    await score_all(wider(settings))
    assert await live(wider(settings)) == in_one_go(published)
    assert await dead_letters(wider(settings)) == []


async def test_partitions_added_under_a_running_worker_stop_it_before_any_verdict_and_growing_mends_it(
    settings: Settings,
) -> None:
    async with running(settings, new_writer=SpyWriter) as worker:
        published = [*await publish_by(settings, forms(2), PARTITIONS)]

        async def everything() -> bool:
            return await all_read(settings, worker)

        await until(everything)
        await add_partitions(settings, [ACTIVITY], MORE)
        mixed = forms(2)
        published += await publish_by(settings, mixed, MORE)
        failure = await asyncio.wait_for(worker.failed(), DEADLINE_S)
        assert isinstance(failure, RefusedError)
        assert "`success topics grow 6`" in str(failure)
    assert await dead_letters(settings) == [], "no verdict by either count"
    for partitions in (PARTITIONS, MORE):
        with pytest.raises(RefusedError, match="`success topics grow 6`"):
            await InProcessWorker(wider(settings, partitions), SystemClock()).start()
    await grow(settings, MORE)
    await score_all(wider(settings))
    assert await live(wider(settings)) == in_one_go(published)
    assert await dead_letters(wider(settings)) == []


async def test_workers_that_run_stop_by_themselves_and_start_again_with_the_new_number(
    settings: Settings, tmp_path: Path
) -> None:
    published = [*await publish_by(settings, forms(2), PARTITIONS)]
    with WorkerProcess(settings, tmp_path / "before.log") as worker:
        await worker.ready()
        growing = asyncio.create_task(grow(settings, MORE))
        published += await publish_by(settings, forms(3), PARTITIONS)
        await growing
        assert await asyncio.to_thread(worker.supervisor.wait, DEADLINE_S) == 1
        assert "`success topics grow 6`" in worker.log()
    with WorkerProcess(wider(settings), tmp_path / "after.log") as worker:
        await worker.ready()

        async def nothing_left() -> bool:
            return await no_lag(wider(settings))

        await until(nothing_left)
        published += await publish_by(settings, forms(2), MORE)
        await until(nothing_left)
        assert await worker.stop() == 0
    assert await live(wider(settings)) == in_one_go(published)
    assert await dead_letters(wider(settings)) == []


@pytest.mark.parametrize("sends", [1, *(pytest.param(number, marks=pytest.mark.long) for number in (3, 9))])
async def test_a_growth_that_was_cut_short_goes_on_where_it_was(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, sends: int
) -> None:
    published = [*await publish_by(settings, [*venue(), *forms(2)], PARTITIONS)]
    await score_all(settings)
    published += await publish_by(settings, forms(1), PARTITIONS)
    left, send = [sends], BatchProducer.send

    async def cut_short(self: BatchProducer, *arguments: Any, **options: Any) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise ConnectionError("cut short")
        await send(self, *arguments, **options)

    monkeypatch.setattr(BatchProducer, "send", cut_short)
    with pytest.raises(ConnectionError):
        await grow(settings, MORE)
    monkeypatch.undo()
    with pytest.raises(RefusedError, match="`success topics grow 6` to its end"):
        await InProcessWorker(wider(settings), SystemClock()).start()
    with pytest.raises(ClusterError, match="a growth to 6 partitions was begun"):
        await grow(settings, MORE + 1)
    published += await publish_by(settings, forms(1), MORE)
    await grow(settings, MORE)
    await score_all(wider(settings))
    assert await live(wider(settings)) == in_one_go(published)
    assert await dead_letters(wider(settings)) == []


@pytest.mark.long
async def test_a_second_growth_goes_on_from_the_first(settings: Settings) -> None:
    published = await grown_with_everything_in_between(settings)
    await grow(wider(settings), 9)
    published += await publish_by(settings, forms(1), MORE)
    published += await publish_by(settings, forms(1), 9)
    await score_all(wider(settings, 9))
    signals, snapshots = await live(wider(settings, 9))
    expected = in_one_go(published)
    assert {s: each["forms"] for s, each in snapshots.items()} == {
        s: each["forms"] for s, each in expected[1].items()
    }
    assert signals.keys() == expected[0].keys()
    assert await dead_letters(wider(settings)) == []


async def test_profiles_move_to_their_new_homes_and_are_no_erasures_where_they_were(
    settings: Settings,
) -> None:
    topic = full_name(settings.topic_prefix, PROFILES)
    async with AIOKafkaProducer(bootstrap_servers=settings.kafka) as producer:
        for supplier in EVERYWHERE:
            home = partition_of(supplier.encode(), PARTITIONS)
            value = orjson.dumps({"id": supplier, "first_name": "Anna"})
            await producer.send_and_wait(topic, value, key=supplier.encode(), partition=home)
    moving = [s for s in EVERYWHERE if partition_of(s.encode(), MORE) != partition_of(s.encode(), PARTITIONS)]
    assert (await grow(settings, MORE)).profiles == len(moving)
    left = {
        (partition, key)
        for partition, records in enumerate(await read(wider(settings), PROFILES))
        for key, value in {record.key: record.value for record in records}.items()
        if value
    }
    assert left == {(partition_of(s.encode(), MORE), s.encode()) for s in EVERYWHERE}


async def test_the_command_says_what_it_did_and_what_to_do_next(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in settings.as_env().items():
        monkeypatch.setenv(name, value)

    async def said(*arguments: str) -> tuple[int, str]:
        result = await asyncio.to_thread(CliRunner().invoke, topics, ["grow", *arguments])
        return result.exit_code, result.output

    assert (await said("4"))[1] == "all topics have 4 partitions: nothing to grow\n"
    code, output = await said("6")
    assert code == 0
    assert "now set SUCCESS_PARTITIONS=6 for every service" in output
    code, output = await said("5")
    assert (code, "Kafka can't take any away" in output) == (1, True)
    with pytest.raises(RefusedError, match="were taken to 6, set SUCCESS_PARTITIONS=6"):
        await InProcessWorker(settings, SystemClock()).start()
