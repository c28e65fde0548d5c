"""What ran live, on real Kafka and Postgres: replayed from the topics and from the archive it is the same."""

from __future__ import annotations

import asyncio
import json
import os
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import orjson
import psycopg
import pytest
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.records_to_delete import RecordsToDelete

from agents.health.fold import GRACE_MS
from agents.worker import InProcessWorker
from cli.admin.publish import Publisher
from cli.dev.live_worker import LiveWorker
from cli.dev.recording import read_recording
from cli.dev.run import _run
from replay.again import tables
from replay.again.engine import Job, run
from replay.again.explain import explain
from replay.again.variant import Variant, base
from replay.log import archive
from replay.log.kafka_log import KafkaLog, LogError
from replay.log.offsets import Offsets
from replay.log.source import ArchiveSource, KafkaSource
from replay.simulator.simulate import population
from runtime.clock import ManualClock, SystemClock
from runtime.configuration import load
from runtime.settings import Settings
from scoring.decisions.policy import Policy
from scoring.time import DAY, HOUR, instant_text
from tests.replay.logs import MONDAY
from topics.catalog import ACTIVITY, CONDITIONS, MILESTONES, PROFILES, RISK_CHANGES, full_name
from topics.lines import read_line
from topics.time import parse_time

pytestmark = [pytest.mark.stack, pytest.mark.timeout(600)]

SIGNALS = (RISK_CHANGES, MILESTONES, CONDITIONS)


def lines_of(suppliers: int, days: int, seed: int, start: int = MONDAY) -> list[bytes]:
    return [orjson.dumps(line) for line in population(suppliers, days, seed, start)]


def play(settings: Settings, lines: Iterable[bytes]) -> None:
    """What `success run` does with a file, on the test's stack."""
    asyncio.run(_run(settings, load(), read_recording(lines), None, alone=False))


def publish(settings: Settings, lines: Iterable[bytes]) -> None:
    """Put lines onto the topics."""

    async def work() -> None:
        async with Publisher(settings) as publisher:
            for line in lines:
                await publisher.add(line)

    asyncio.run(work())


def score(settings: Settings, lines: Sequence[bytes], until: int) -> None:
    """Let the live worker score all lines at once, and then silence up to `until`."""

    async def work() -> None:
        worker = InProcessWorker(
            settings, ManualClock(until), append_time=lambda _record: until, policy=Policy.load(None)
        )
        async with LiveWorker(settings, worker) as live:
            await live.publish([read_line(line) for line in lines])
            await live.fire_due(until)

    asyncio.run(work())


def sent(settings: Settings, topics: Iterable[str] = SIGNALS) -> dict[str, bytes]:
    """What the topics hold, by the events' ids."""
    found = {}
    with KafkaLog(settings) as log:
        for topic in topics:
            for partition, held in log.bounds(topic).items():
                for records, _ in log.read(topic, partition, held.begin, held.end):
                    found |= {orjson.loads(record.value or b"")["id"]: record.value for record in records}
    return found


def replayed(source, out, **options: Any):
    variants = options.pop("variants", (Variant("base"),))
    outcome = run(Job(source, variants, out, **options), 1)
    return outcome, tables.connect(out)


def signals(connection, where: str = "true") -> dict[str, bytes]:
    return dict(connection.table("base.signals").filter(where).project("id, value").fetchall())


def success(settings: Settings, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from cli.main import main; main()", *arguments]
    environment = os.environ | settings.as_env()
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_topics_and_archive_give_the_signals_and_messages_of_the_run(settings, tmp_path):
    play(settings, lines_of(12, 25, 21))
    live = sent(settings)
    assert len(live) > 80
    done = success(settings, "export", "--out", str(tmp_path / "archive"), "--json")
    assert done.returncode == 0, done.stderr
    assert not archive.stretches(tmp_path / "archive", PROFILES)  # personal data only on request
    done = success(settings, "export", "--out", str(tmp_path / "archive"), "--with-profiles", "--json")
    assert json.loads(done.stdout)["total"] == json.loads(done.stdout)["records"][PROFILES] >= 12
    for name, source in (("kafka", KafkaSource(settings)), ("archive", ArchiveSource(tmp_path / "archive"))):
        # `--played`: decided at the ends of the hours in which `run` steps
        _, found = replayed(source, tmp_path / name, variants=(base(None),), played=True, step_ms=HOUR)
        assert signals(found) == live
        rows = found.table("base.messages").project(
            "id, status, reason, CASE WHEN status = 'sent' THEN time END"
        )
        with psycopg.connect(settings.database_url) as conn:
            stored = conn.execute(
                "SELECT id::text, status, reason, date_trunc('milliseconds', sent_at) FROM success_interventions"
            ).fetchall()
        assert len(stored) > 50
        assert sorted(rows.fetchall()) == sorted(stored)


def test_what_the_worker_fired_in_the_stream_is_replayed_too(settings, tmp_path):
    """With the live grace and append times: late lines and all."""
    start = SystemClock().now_ms() // DAY * DAY - 45 * DAY
    lines = lines_of(20, 40, 22, start)
    for place in range(0, len(lines) - 300, 97):
        lines.insert(place + 250, lines.pop(place))

    async def work() -> None:
        worker = InProcessWorker(settings, SystemClock(), grace_ms=GRACE_MS, policy=Policy.load(None))
        async with LiveWorker(settings, worker) as live:
            for first in range(0, len(lines), 700):
                await live.publish([read_line(line) for line in lines[first : first + 700]])

    asyncio.run(work())
    live = sent(settings)
    assert len(live) > 150
    # Every partition's stream has come as far as its own last event: compare up to where all of them have.
    reached = start + 39 * DAY
    outcome, found = replayed(KafkaSource(settings), tmp_path / "out", until=reached)
    until = {
        key: value for key, value in live.items() if orjson.loads(value)["time"] <= instant_text(reached)
    }
    assert len(until) > 100
    assert signals(found) == until
    assert outcome.late


def test_offsets_give_the_signals_of_a_worker_that_stopped_there_and_of_the_one_that_went_on(
    settings, tmp_path
):
    lines = lines_of(16, 30, 25, SystemClock().now_ms() // DAY * DAY - 45 * DAY)
    half = len(lines) // 2

    async def work(some: Sequence[bytes]) -> None:
        worker = InProcessWorker(settings, SystemClock(), grace_ms=GRACE_MS, policy=Policy.load(None))
        async with LiveWorker(settings, worker) as live:
            await live.publish([read_line(line) for line in some])

    asyncio.run(work(lines[:half]))
    before = sent(settings)
    with KafkaLog(settings) as log:
        last = {partition: held.end - 1 for partition, held in log.bounds(ACTIVITY).items() if held.end}
    asyncio.run(work(lines[half:]))
    after = {key: value for key, value in sent(settings).items() if key not in before}
    assert len(before) > 40
    assert len(after) > 40
    assert success(settings, "export", "--out", str(tmp_path / "archive")).returncode == 0
    for name, source in (("kafka", KafkaSource(settings)), ("archive", ArchiveSource(tmp_path / "archive"))):
        _, found = replayed(source, tmp_path / name / "before", offsets=Offsets(last=last))
        assert signals(found) == before
        with source.opened() as opened:
            ends = {partition: held.end - 1 for partition, held in opened.bounds().items()}
        first = {partition: offset + 1 for partition, offset in last.items() if offset < ends[partition]}
        until = {partition: ends[partition] for partition in first}
        _, found = replayed(source, tmp_path / name / "after", offsets=Offsets(first, until))
        assert signals(found) == after
        # without a last offset, the silence up to the last event of all follows, which no worker lived through
        _, found = replayed(source, tmp_path / name / "on", offsets=Offsets(first))
        assert signals(found).items() >= after.items()


def test_an_export_that_is_killed_again_and_again_has_each_offset_once(settings, tmp_path):
    publish(settings, lines_of(12, 25, 23))
    folder = tmp_path / "archive"
    script = (  # small files, so that there is something to be killed in
        "import replay.log.export as e, replay.log.kafka_log as k; e.ROWS_A_FILE = 60; k.RECORDS_A_POLL = 60;"
        "from cli.main import main; main()"
    )
    topics = (ACTIVITY, PROFILES)
    wanted = [word for topic in topics for word in ("--topic", topic)]
    command = [sys.executable, "-c", script, "export", "--out", str(folder), *wanted]
    environment = os.environ | settings.as_env()
    rng, kills = random.Random(7), 0  # noqa: S311 - a test, not a secret
    while True:
        before = len(list(folder.glob("topic=*/*/*.parquet")))
        process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
        deadline, enough = time.monotonic() + 120, before + rng.randrange(1, 9)
        while kills < 4 and process.poll() is None and time.monotonic() < deadline:
            if len(list(folder.glob("topic=*/*/*.parquet*"))) >= enough:
                process.kill()
                kills += 1
                break
            time.sleep(0.005)
        if process.wait(120) == 0:
            break
    assert kills >= 2
    with KafkaLog(settings) as log:
        for topic in topics:
            for partition, held in log.bounds(topic).items():
                expected = [
                    (record.offset, record.key, record.value, record.timestamp, tuple(record.headers))
                    for records, _ in log.read(topic, partition, held.begin, held.end)
                    for record in records
                ]
                archived = [
                    (record.offset, record.key, record.value, record.timestamp, tuple(record.headers))
                    for records in archive.read(folder, topic, partition)
                    for record in records
                ]
                assert archived == expected
                assert max(Counter(each[0] for each in archived).values(), default=1) == 1


def test_a_cut_log_starts_from_an_exported_state_or_is_refused(settings, tmp_path):
    lines = lines_of(12, 40, 24)
    half = next(number for number, line in enumerate(lines) if time_of(line) > MONDAY + 20 * DAY)
    score(settings, lines[:half], MONDAY + 20 * DAY)
    before = sent(settings)
    folder = tmp_path / "archive"
    done = success(settings, "export", "--out", str(folder), "--state", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["state_suppliers"] > 5
    positions = archive.positions(folder, ACTIVITY)
    score(settings, lines[half:], MONDAY + 41 * DAY)
    later = {key: value for key, value in sent(settings).items() if key not in before}
    assert len(later) > 20

    # Cut a little before the state was exported: what lies between can be read, but not be told from the state.
    partition, known = max(positions.items(), key=lambda item: item[1])
    asyncio.run(cut(settings, {partition: known - 3}))
    for offsets in (Offsets({partition: known - 1}), Offsets(last={partition: known - 2})):
        with pytest.raises(LogError, match=f"can only be continued from offset {known}"):
            replayed(KafkaSource(settings, folder), tmp_path / "between", offsets=offsets)

    asyncio.run(cut(settings, positions))
    with pytest.raises(LogError, match=r"only from offset .* --state DIR"):
        replayed(KafkaSource(settings), tmp_path / "refused")
    outcome, found = replayed(
        KafkaSource(settings, folder), tmp_path / "out", played=True, until=MONDAY + 41 * DAY
    )
    assert outcome.from_state == positions
    assert signals(found) == later
    asyncio.run(cut(settings, {partition: offset + 1 for partition, offset in positions.items()}))
    with pytest.raises(LogError, match="ends before that"):
        replayed(KafkaSource(settings, folder), tmp_path / "too_late")

    owner = found.table("base.suppliers").project("supplier_id").limit(1).fetchall()[0][0]
    # What was cut away before it was exported is missed, by name.
    done = success(settings, "export", "--out", str(folder), "--json")
    assert json.loads(done.stdout)["lost"] != []
    with pytest.raises(LogError, match="lacks the offsets"):
        explain(ArchiveSource(folder), owner)


def time_of(line: bytes) -> int:
    """The event time of a line (ms); 0 of a profile."""
    text = orjson.loads(line).get("time")
    return parse_time(text) if text else 0


async def cut(settings: Settings, positions: dict[int, int]) -> None:
    """Take away what lies before these offsets, as retention does."""
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka)
    await admin.start()
    try:
        topic = full_name(settings.topic_prefix, ACTIVITY)
        ends = {partition: RecordsToDelete(before_offset=offset) for partition, offset in positions.items()}
        await admin.delete_records({TopicPartition(topic, partition): end for partition, end in ends.items()})
    finally:
        await admin.close()


def test_a_replay_has_nothing_to_send_with():
    """Nothing that could send a mail or produce a record for the live topics is even loaded."""
    script = (
        "import sys, cli.analysis.replay, cli.analysis.export, replay.what_if.report_page, replay.again.spark;"
        "print([name for name in sys.modules if name.split('.')[0] in {'aiosmtplib', 'smtplib', 'psycopg', 'faust'}"
        " or name.startswith('agents.delivery.') or name in {'agents.letters.smtp', 'agents.engine.producer'}])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
