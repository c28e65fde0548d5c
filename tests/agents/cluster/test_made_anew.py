"""Topics that were deleted and made anew, on real Kafka: noticed whatever their length, and refused until accepted."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from click.testing import CliRunner

from agents.cluster import ledger
from agents.cluster.accepting import accept
from agents.cluster.describing import ClusterError
from agents.cluster.identity import READ, check_topics
from agents.cluster.provisioning import create_topics
from agents.engine.failure import RefusedError
from agents.worker import InProcessWorker
from cli.admin.topics import topics
from runtime.clock import SystemClock
from runtime.settings import Settings
from tests.agents.health.records import event_record
from tests.agents.workers import (
    ANNA,
    DEADLINE_S,
    EVERYWHERE,
    SpyWriter,
    all_read,
    now_ms,
    running,
    send,
    until,
    values,
)
from tests.chaos.workers import WorkerProcess
from tests.reference.logs import publish, read
from topics.catalog import ACTIVITY, HEALTH, PROFILES, full_name

pytestmark = pytest.mark.stack

FORMS = 40


async def make_anew(settings: Settings, name: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka)
    await admin.start()
    await admin.delete_topics([full_name(settings.topic_prefix, name)])
    await admin.close()

    async def made() -> bool:
        try:
            return bool(await create_topics(settings))
        except ClusterError:  # the brokers are still deleting it
            return False

    await until(made)


async def forms(settings: Settings) -> int:
    """How many of Anna's count."""
    theirs = [each for each in await values(settings, HEALTH) if each["subject"] == ANNA]
    return int(theirs[-1]["data"]["forms"]["created"])


def forms_of_anna(number: int) -> list[tuple[bytes, bytes]]:
    records = [event_record(ANNA, "form.created", now_ms(), form_id=f"f{n}") for n in range(number)]
    return [(record.key or b"", record.value or b"") for record in records]


async def refuses(settings: Settings) -> str:
    with pytest.raises(RefusedError) as refused:
        await InProcessWorker(settings, SystemClock()).start()
    return str(refused.value)


async def test_a_log_made_anew_under_a_running_worker_is_refused_until_it_is_accepted(
    settings: Settings,
) -> None:
    async with running(settings, new_writer=SpyWriter) as worker:
        await send(settings, worker, [event_record(ANNA, "form.created", now_ms(), form_id="old")])
        await make_anew(settings, ACTIVITY)
        await publish(settings, forms_of_anna(FORMS))  # longer than the old log was, from the first moment
        failure = await asyncio.wait_for(worker.failed(), DEADLINE_S)
        assert isinstance(failure, RefusedError)
        assert f"{ACTIVITY} was deleted and made anew" in str(failure)
    assert await forms(settings) == 1, "nothing of the new log counts yet"
    assert "success topics accept" in await refuses(settings)
    assert "every score, timer and signal stays" in (await accept(settings))[ACTIVITY]
    async with running(settings) as worker:

        async def everything() -> bool:
            return await all_read(settings, worker)

        await until(everything)
    assert await forms(settings) == 1 + FORMS
    async with running(settings) as worker:  # and a restart repeats nothing
        await send(settings, worker, [event_record(ANNA, "form.created", now_ms(), form_id="last")])
    assert await forms(settings) == 2 + FORMS


async def test_the_process_of_a_worker_ends_for_good_with_one_line_and_refuses_to_start(
    settings: Settings, tmp_path: Path
) -> None:
    with WorkerProcess(settings, tmp_path / "worker.log") as worker:
        await worker.ready()
        await publish(settings, forms_of_anna(3))
        await make_anew(settings, ACTIVITY)
        assert await asyncio.to_thread(worker.supervisor.wait, DEADLINE_S) == 1
        lines = [line for line in worker.log().splitlines() if "worker stops" in line]
        assert len(lines) == 1, worker.log()
        assert "was deleted and made anew" in lines[0]
    with WorkerProcess(settings, tmp_path / "again.log") as worker:
        assert await asyncio.to_thread(worker.supervisor.wait, DEADLINE_S) == 1


@pytest.mark.parametrize("name", READ)
async def test_any_topic_that_workers_read_is_known_by_its_id_between_runs(
    settings: Settings, name: str
) -> None:
    await check_topics(settings)
    await make_anew(settings, name)
    with pytest.raises(RefusedError, match=f"{name} was deleted and made anew"):
        await check_topics(settings)
    assert list(await accept(settings)) == [name]
    await check_topics(settings)


async def test_what_the_group_had_noted_for_a_log_made_anew_skips_nothing_of_it(settings: Settings) -> None:
    async with running(settings, new_writer=SpyWriter) as worker:
        await send(settings, worker, [event_record(ANNA, at=now_ms() + n) for n in range(20)])
        await worker.settled()
    await make_anew(settings, HEALTH)
    await accept(settings)
    writer = SpyWriter()
    async with running(settings, new_writer=lambda: writer) as worker:
        await send(settings, worker, [event_record(ANNA, at=now_ms() + 100)])
        await worker.settled()
    assert len([key for topic, key in writer.written if topic == HEALTH]) == sum(
        map(len, await read(settings, HEALTH))
    )


async def test_a_watermark_below_the_logs_start_is_retention_where_the_id_is_the_same(
    settings: Settings,
) -> None:
    async with running(settings) as worker:
        await send(settings, worker, [event_record(supplier, at=now_ms()) for supplier in EVERYWHERE])
    await publish(settings, forms_of_anna(3))
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka)
    await admin.start()
    end = len((await read(settings, ACTIVITY))[0])
    place = TopicPartition(full_name(settings.topic_prefix, ACTIVITY), 0)
    await admin.delete_records({place: RecordsToDelete(end - 1)})
    await admin.close()
    async with running(settings) as worker:
        await worker.processed(ACTIVITY, 0, end - 1)
    assert await forms(settings) == 1, "what retention took is gone, what is left counts"


async def test_accepting_waits_for_no_worker_and_has_nothing_to_say_where_nothing_happened(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in settings.as_env().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("agents.cluster.accepting.LEFT_WITHIN_S", 0.0)
    async with running(settings) as worker:
        await make_anew(settings, PROFILES)
        await asyncio.wait_for(worker.failed(), DEADLINE_S)
        with pytest.raises(ClusterError, match="1 worker is running: stop all"):
            await accept(settings)
    said = await asyncio.to_thread(CliRunner().invoke, topics, ["accept"], catch_exceptions=False)
    assert "supplier.profiles: accepted as it is now" in said.output
    said = await asyncio.to_thread(CliRunner().invoke, topics, ["accept"], catch_exceptions=False)
    assert (said.exit_code, said.output) == (0, "no topic was made anew: nothing to accept\n")


async def test_a_ledger_of_a_newer_program_is_not_read_on(settings: Settings) -> None:
    await ledger.write(settings, ledger.Ledger(version=99))
    with pytest.raises(ClusterError, match="format 99"):
        await check_topics(settings)
