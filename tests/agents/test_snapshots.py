"""Recovery from a local snapshot on real Kafka: the same state as from the whole changelog, or no snapshot at all."""

from __future__ import annotations

import logging
import os
import shutil
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from agents import snapshot_file
from agents.inprocess import InProcessWorker, snapshot_folder
from agents.partition_store import PartitionStore
from agents.provisioning import STATE, create_topics
from agents.snapshot_file import Snapshot, SnapshotHeader
from agents.snapshots import LEFTOVER_S, STALE_MS, Mark, Snapshots
from agents.state_record import META_KEY, StateHeader, pack
from agents.transport import Batch
from runtime.settings import Settings
from scoring.time import DAY
from tests.agents.records import event_record, suppliers_of
from tests.agents.worker import (
    ANNA,
    EVERYWHERE,
    Seen,
    all_read,
    noting_offsets,
    now_ms,
    running,
    send,
    until,
    values,
)
from tests.chaos.log import differences, merged, published, read, sequential
from topics.catalog import CONDITIONS, HEALTH, full_name

pytestmark = pytest.mark.stack


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Seen:
    """Partition → the offsets of the changelog that recoveries have read."""

    def noted(_: PartitionStore, number: int, records: Batch, _last_offset: int) -> tuple[int, Batch]:
        return number, records

    return noting_offsets(monkeypatch, PartitionStore, "_take", noted)


def forms(round_: int) -> list[Any]:
    return [event_record(s, "form.created", now_ms(), form_id=f"f{round_}") for s in EVERYWHERE]


def store_of(worker: InProcessWorker) -> PartitionStore:
    store = worker.app.tables["activity-state"].data
    assert isinstance(store, PartitionStore)
    return store


def snapshots_of(worker: InProcessWorker) -> Snapshots:
    assert worker.app.snapshots is not None
    return worker.app.snapshots


def folder_of(settings: Settings) -> Path:
    folder = snapshot_folder(settings)
    assert folder is not None
    return folder / full_name(settings.topic_prefix, STATE)


async def assert_state_is_that_of_the_changelog(settings: Settings, worker: InProcessWorker) -> None:
    for number, records in enumerate(await read(settings, STATE)):
        assert store_of(worker).partition(number) == merged(records)


async def assert_as_sequential(settings: Settings) -> None:
    expected, actual = await sequential(settings), await published(settings)
    assert not differences(expected, actual), "\n".join(differences(expected, actual))


# --- recovery


async def test_a_restart_from_a_snapshot_reads_nothing_again_and_has_the_state_of_the_changelog(
    settings: Settings, seen: Seen
) -> None:
    async with running(settings, snapshots=True) as worker:
        await send(settings, worker, forms(1))
        await send(settings, worker, forms(2))
    seen.clear()
    async with running(settings, snapshots=True) as worker:
        assert not any(seen.values())
        await assert_state_is_that_of_the_changelog(settings, worker)
        await send(settings, worker, forms(3))
    newest = {snapshot["subject"]: snapshot["data"] for snapshot in await values(settings, HEALTH)}
    assert {s: data["forms"]["created"] for s, data in newest.items()} == dict.fromkeys(EVERYWHERE, 3)
    await assert_as_sequential(settings)


async def test_after_a_crash_only_what_came_after_the_last_snapshot_is_read(
    settings: Settings, seen: Seen, tmp_path: Path
) -> None:
    async with running(settings, snapshots=True) as worker:
        await send(settings, worker, forms(1))
        await worker._save(snapshots_of(worker))
        marks = store_of(worker).marked()
        shutil.copytree(folder_of(settings), tmp_path / "kept")
        await send(settings, worker, forms(2))
    put_back(settings, tmp_path / "kept")
    seen.clear()
    async with running(settings, snapshots=True) as worker:
        await assert_state_is_that_of_the_changelog(settings, worker)
        for number, records in enumerate(await read(settings, STATE)):
            new = {record.offset for record in records if record.offset > marks[number].offset}
            assert new
            assert set(seen[number]) - {marks[number].offset} == new
        await send(settings, worker, forms(3))
    await assert_as_sequential(settings)


def put_back(settings: Settings, kept: Path) -> None:
    shutil.rmtree(folder_of(settings))
    shutil.copytree(kept, folder_of(settings))


async def test_timers_of_a_restored_state_fire(settings: Settings) -> None:
    started = now_ms() - 10 * DAY
    async with running(settings, grace_ms=None, snapshots=True) as worker:
        await send(settings, worker, [event_record(s, at=started) for s in EVERYWHERE])
    async with running(settings, grace_ms=None, snapshots=True) as worker:
        assert worker.next_due_ms() == started + 3 * DAY
        await worker.fire_due(started + 7 * DAY)
    assert {signal["subject"] for signal in await values(settings, CONDITIONS)} == set(EVERYWHERE)


async def test_of_a_snapshot_and_a_late_record_in_the_changelog_the_one_that_holds_more_wins(
    settings: Settings,
) -> None:
    async with running(settings, snapshots=True) as worker:
        await send(settings, worker, forms(1))
        await send(settings, worker, forms(2))
        mine = store_of(worker).partition(0)[ANNA.encode()]
    header = StateHeader.of(mine)
    await write_state(settings, 0, ANNA.encode(), pack(header._replace(offset=header.offset - 1), b"zombie"))
    async with running(settings, snapshots=True) as worker:
        assert store_of(worker).partition(0)[ANNA.encode()] == mine
        assert store_of(worker).outdated == 1


async def test_a_record_that_another_worker_wrote_in_between_is_read_at_the_next_recovery(
    settings: Settings, seen: Seen
) -> None:
    """It lies below what the worker itself wrote last: a snapshot may not claim to hold it."""
    [stranger] = suppliers_of(0, 7)[6:]
    async with running(settings, snapshots=True) as worker:
        await send(settings, worker, forms(1))
        before = store_of(worker).marked()[0]
        ahead = pack(StateHeader(0, 10**6, now_ms(), 0), b"ahead")
        await write_state(settings, 0, stranger.encode(), ahead)
        await send(settings, worker, forms(2))
        assert store_of(worker).marked()[0] == before
        assert store_of(worker).marked()[1].offset > before.offset
    seen.clear()
    worker = InProcessWorker(settings, worker._clock, snapshots=True)
    await snapshots_of(worker).open()
    [(mark, records)] = (await snapshots_of(worker).load([0])).values()
    await snapshots_of(worker).close()
    assert mark == before
    assert stranger.encode() not in records


async def test_a_tombstone_after_the_snapshot_is_heeded(settings: Settings) -> None:
    async with running(settings, snapshots=True) as worker:
        await send(settings, worker, forms(1))
    await write_state(settings, 0, ANNA.encode(), None)
    async with running(settings, snapshots=True) as worker:
        assert ANNA.encode() not in store_of(worker).partition(0)
        assert META_KEY in store_of(worker).partition(0)


async def write_state(settings: Settings, partition: int, key: bytes, value: bytes | None) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=settings.kafka)
    await producer.start()
    topic = full_name(settings.topic_prefix, STATE)
    await producer.send_and_wait(topic, value, key=key, partition=partition)
    await producer.stop()


async def test_workers_that_share_a_folder_hand_partitions_to_and_fro_and_lose_nothing(
    settings: Settings,
) -> None:
    often = settings.model_copy(update={"snapshot_seconds": 0.1})
    async with running(often, snapshots=True) as first:
        await send(settings, first, forms(1))
        async with running(often, snapshots=True):
            await send(settings, None, forms(2))
        await send(settings, None, forms(3))
        await until(lambda: all_read(settings, first))
    async with running(often, snapshots=True) as worker:
        await until(lambda: all_read(settings, worker))
        await assert_state_is_that_of_the_changelog(settings, worker)
    await assert_as_sequential(settings)


# --- what speaks against a snapshot


@pytest.fixture
async def snapshots(settings: Settings) -> AsyncIterator[Snapshots]:
    """The snapshots of a worker that has scored everybody and stopped."""
    async with running(settings, snapshots=True) as worker:
        await send(settings, worker, forms(1))
    folder = snapshot_folder(settings)
    assert folder is not None
    opened = Snapshots(settings, full_name(settings.topic_prefix, STATE), folder, now_ms)
    await opened.open()
    yield opened
    await opened.close()


async def assert_refused(snapshots: Snapshots, caplog: pytest.LogCaptureFixture, said: str) -> None:
    """Partition 0 is refused in one line, which says why; the others are not."""
    caplog.clear()
    with caplog.at_level(logging.WARNING, "agents.snapshots"):
        restored = await snapshots.load(range(4))
    assert restored.keys() == {1, 2, 3}
    [line] = [record.getMessage() for record in caplog.records if record.name == "agents.snapshots"]
    assert line.startswith(f"in {snapshots.path(0).parent} the snapshot of partition 0 is not used: ")
    assert said in line
    assert line.endswith("; the whole changelog is read")


SOMETHING_ELSE: list[tuple[dict[str, Any], str]] = [
    ({"cluster": "elsewhere"}, "of another cluster (elsewhere, here "),
    ({"topic": "other.success.activity-state"}, "of another topic"),
    ({"partition": 1}, "of another partition (1, here 0)"),
    ({"partitions": 8}, "of another number of partitions (8, here 4)"),
    ({"schema": 99}, "schema version 99, this program reads 2"),
    ({"format": 99}, "has format 99"),
    ({"offset": 10**6}, "it reaches to 1000000, the log ends at "),
    ({"append_ms": now_ms()}, "the log has another record at "),
]


async def test_a_snapshot_of_something_else_is_refused(
    settings: Settings, snapshots: Snapshots, caplog: pytest.LogCaptureFixture
) -> None:
    await write_state(settings, 0, META_KEY, None)  # the log goes on behind the snapshot
    path = snapshots.path(0)
    with Snapshot(path) as snapshot:
        header, records = snapshot.header, snapshot.read()
    for changes, said in SOMETHING_ELSE:
        changed = msgspec.structs.replace(header, **changes)
        snapshot_file.write(path, changed, list(records), list(records.values()))
        await assert_refused(snapshots, caplog, said)


async def test_one_reason_for_many_partitions_is_one_line(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    topic = full_name(settings.topic_prefix, STATE)
    snapshots = Snapshots(settings, topic, settings.state_dir, now_ms)
    await snapshots.open()
    snapshots.path(0).parent.mkdir(parents=True)
    for number in range(4):
        snapshots.path(number).write_text("something else")
    with caplog.at_level(logging.WARNING, "agents.snapshots"):
        assert await snapshots.load(range(4)) == {}
    await snapshots.close()
    [line] = [record.getMessage() for record in caplog.records if record.name == "agents.snapshots"]
    assert "the snapshot of partition 0, 1, 2, 3 is not used: it is no snapshot" in line


async def test_a_torn_snapshot_is_refused(snapshots: Snapshots, caplog: pytest.LogCaptureFixture) -> None:
    path = snapshots.path(0)
    path.write_bytes(path.read_bytes()[:-1])
    await assert_refused(snapshots, caplog, "it ends too early")


async def test_a_snapshot_that_may_not_be_read_is_refused(
    snapshots: Snapshots, caplog: pytest.LogCaptureFixture
) -> None:
    snapshots.path(0).unlink()
    snapshots.path(0).mkdir()
    await assert_refused(snapshots, caplog, "Is a directory")


async def test_a_snapshot_whose_log_was_cut_is_refused(
    settings: Settings, snapshots: Snapshots, caplog: pytest.LogCaptureFixture
) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka)
    await admin.start()
    tp = TopicPartition(snapshots.topic, 0)
    await write_state(settings, 0, META_KEY, None)
    await admin.alter_configs([deletion(snapshots.topic)])
    await admin.delete_records({tp: RecordsToDelete(before_offset=-1)})
    await admin.close()
    await assert_refused(snapshots, caplog, "the log begins at ")


def deletion(topic: str) -> Any:
    """Kafka deletes records of topics only whose policy says so."""
    return ConfigResource(ConfigResourceType.TOPIC, topic, {"cleanup.policy": "delete"})


async def test_a_snapshot_whose_last_record_was_compacted_away_is_refused(
    settings: Settings, snapshots: Snapshots, caplog: pytest.LogCaptureFixture
) -> None:
    """The mark at the end of a transaction stands for it: an offset without a record."""
    producer = AIOKafkaProducer(bootstrap_servers=settings.kafka, transactional_id=settings.topic_prefix)
    await producer.start()
    async with producer.transaction():
        await producer.send_and_wait(snapshots.topic, b"x", key=META_KEY, partition=0)
    await producer.stop()
    missing: set[int] = set()

    async def something_lies_behind_the_mark() -> bool:
        await write_state(settings, 0, META_KEY, b"y")
        offsets = {record.offset for record in (await read(settings, STATE))[0]}
        missing.update(set(range(max(offsets))) - offsets)
        return bool(missing)

    await until(something_lies_behind_the_mark)
    header = msgspec.structs.replace(header_of(snapshots.path(0)), offset=missing.pop(), records=0)
    snapshot_file.write(snapshots.path(0), header, [], [])
    await assert_refused(
        snapshots, caplog, f"the record it ends with ({header.offset}) is no longer in the log"
    )


async def test_an_old_snapshot_is_used_only_if_nothing_came_after_it(
    settings: Settings, snapshots: Snapshots, caplog: pytest.LogCaptureFixture
) -> None:
    snapshots._now_ms = lambda: now_ms() + STALE_MS
    assert (await snapshots.load(range(4))).keys() == {0, 1, 2, 3}
    await write_state(settings, 0, META_KEY, None)
    await assert_refused(snapshots, caplog, "it is 12 h old, and the log has gone on")


async def test_after_the_state_topic_was_made_anew_no_snapshot_is_used_and_the_state_is_rebuilt(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    """The new topic is as long as the old one: only the append time tells them apart."""
    async with running(settings, snapshots=True) as worker:
        await send(settings, worker, forms(1))
        before = {number: mark.offset for number, mark in store_of(worker).marked().items()}
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka)
    await admin.start()
    await admin.delete_topics([full_name(settings.topic_prefix, STATE)])
    await admin.close()

    async def made() -> bool:
        return bool(await create_topics(settings))

    await until(made)
    async with running(settings) as worker:
        await until(lambda: all_read(settings, worker))
        await send(settings, worker, forms(2))
        assert all(mark.offset >= before[number] for number, mark in store_of(worker).marked().items())
    with caplog.at_level(logging.WARNING, "agents.snapshots"):
        async with running(settings, snapshots=True) as worker:
            await assert_state_is_that_of_the_changelog(settings, worker)
            await send(settings, worker, forms(3))
    lines = [record.getMessage() for record in caplog.records if record.name == "agents.snapshots"]
    assert sum(line.count("the topic was made anew") for line in lines) == len(lines) >= 1
    await assert_as_sequential(settings)


# --- files


def header_of(path: Path) -> SnapshotHeader:
    with Snapshot(path) as snapshot:
        return snapshot.header


async def test_an_older_snapshot_of_the_same_log_does_not_replace_a_newer_one(snapshots: Snapshots) -> None:
    """A worker that stops late writes after whoever has its partitions now."""
    header = header_of(snapshots.path(0))
    await snapshots.save(0, Mark(header.offset - 1, header.append_ms - 1), {})
    assert header_of(snapshots.path(0)) == header
    await snapshots.save(0, Mark(header.offset + 1, header.append_ms + 1), {})
    assert header_of(snapshots.path(0)).records == 0


async def test_a_snapshot_that_cannot_be_written_is_logged_and_harms_nothing(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    settings.state_dir.mkdir(parents=True)
    (settings.state_dir / "activity-state").write_text("a file where a folder should be")
    with caplog.at_level(logging.WARNING, "agents.snapshots"):
        async with running(settings, snapshots=True) as worker:
            await send(settings, worker, forms(1))
    lines = [record.getMessage() for record in caplog.records if record.name == "agents.snapshots"]
    [said] = [line for line in lines if "is not used" not in line]
    assert said == (
        f"no snapshots can be written to {folder_of(settings)}: Not a directory; "
        "a restart will read more of the changelog"
    )
    async with running(settings) as worker:
        await assert_state_is_that_of_the_changelog(settings, worker)


async def test_what_a_killed_worker_left_half_written_is_cleared_away_an_hour_later(
    snapshots: Snapshots,
) -> None:
    old, new = (snapshots.path(0).with_name(f"0.snapshot.{name}.tmp") for name in ("old", "new"))
    for path in (old, new):
        path.write_bytes(b"half")
    os.utime(old, (time.time() - LEFTOVER_S - 1,) * 2)
    await snapshots.open()
    assert not old.exists()
    assert new.exists()
    assert snapshots.path(0).exists()


async def test_without_snapshots_nothing_is_written(settings: Settings) -> None:
    off = settings.model_copy(update={"snapshot_seconds": 0.0})
    async with running(off, snapshots=True) as worker:
        await send(settings, worker, forms(1))
    assert snapshot_folder(off) is None
    assert not settings.state_dir.exists()


async def test_a_hole_in_the_changelog_stops_the_worker(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(settings) as worker:
        await send(settings, worker, forms(1))
    take = PartitionStore._take

    def skip(self: PartitionStore, number: int, records: Batch, last_offset: int) -> None:
        records.follows += 1
        take(self, number, records, last_offset)

    monkeypatch.setattr(PartitionStore, "_take", skip)
    worker = InProcessWorker(settings, worker._clock)
    with pytest.raises(Exception, match="are missing"):
        await worker.start()
    await worker.stop()
