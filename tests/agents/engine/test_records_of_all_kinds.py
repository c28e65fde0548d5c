"""What other clients write to a real Kafka is read or set aside, on every topic we read, and nothing stops for it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import orjson
import pytest
from aiokafka import TopicPartition
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import for_code
from aiokafka.protocol.produce import ProduceRequest
from confluent_kafka import Producer
from faust.types import TP

from agents.acts import dead_letter_log
from agents.engine import parsing
from agents.engine.parsing import Fetched
from agents.interventions.received import MODELS
from agents.monitoring import look_at_worker, worker_parts
from api.dashboard.fresh import lag as dashboard
from replay.log import archive, export
from replay.log.kafka_log import KafkaLog, LogError
from runtime import metrics
from runtime.settings import Settings
from scoring.decisions.policy import Policy
from tests.agents.engine.test_parsing import BAD_NAME, batch, sealed
from tests.agents.health.records import event_record
from tests.agents.workers import ANNA, SpyWriter, all_read, no_lag, now_ms, running, until
from tests.reference.logs import lag, read
from topics.catalog import ACTIVITY, DEAD_LETTERS, HEALTH, PROFILES, full_name
from topics.partitioner import partition_of

pytestmark = pytest.mark.stack

CODECS = ("none", "gzip", "snappy", "lz4", "zstd")
READ = (ACTIVITY, PROFILES, *MODELS)
PARTITION = 0
"""Anna's."""
PADDED = {"padding": "x" * 4000}


def place(settings: Settings, topic: str) -> TopicPartition:
    return TopicPartition(full_name(settings.topic_prefix, topic), PARTITION)


def an_event(number: int = 0) -> bytes:
    del number  # each has an id of its own
    return event_record(ANNA, "form.created", at=now_ms() - 1000, form_id="f").value or b""


def compressible(topic: str) -> bytes:
    event = orjson.loads(an_event())
    return orjson.dumps(event | PADDED if topic == ACTIVITY else PADDED)


def produce(settings: Settings, codec: str, topic: str) -> None:
    """As librdkafka does, with murmur2."""
    producer = Producer(
        {"bootstrap.servers": settings.kafka, "compression.type": codec, "partitioner": "murmur2_random"}
    )
    producer.produce(full_name(settings.topic_prefix, topic), compressible(topic), key=ANNA)
    assert producer.flush(30) == 0


async def produce_raw(settings: Settings, topic: str, data: bytes) -> None:
    """Have the broker take a batch as it is."""
    client = AIOKafkaClient(bootstrap_servers=settings.kafka)
    await client.bootstrap()
    try:
        tp = place(settings, topic)
        await client.set_topics([tp.topic])
        error = for_code(-1)
        for _ in range(100):  # a topic that was just made has no leader yet
            node = client.cluster.leader_for_partition(tp)
            request = ProduceRequest(None, -1, 30_000, [(tp.topic, [(tp.partition, data)])])
            response = await client.send(node, request)
            ((_, ((_, code, *_),)),) = response.topics
            error = for_code(code)
            if not error.retriable:
                break
            await asyncio.sleep(0.1)
            await client.force_metadata_update()
        assert error.errno == 0, error
    finally:
        await client.close()


def keyed(*values: bytes, **more: Any) -> bytes:
    return sealed(batch(*values, **more, key=ANNA.encode()))


async def letters(settings: Settings) -> list[Any]:
    return [record for partition in await read(settings, DEAD_LETTERS) for record in partition]


async def some_letters(settings: Settings, number: int = 1) -> bool:
    return len(await letters(settings)) >= number


async def nothing_behind(settings: Settings) -> bool:
    return await lag(settings, READ) == 0


async def test_every_codec_is_read_from_every_topic(settings: Settings) -> None:
    for codec in CODECS:
        for topic in READ:
            produce(settings, codec, topic)
    writer = SpyWriter()
    async with running(settings, new_writer=lambda: writer) as worker:
        await until(lambda: all_read(settings, worker))
        await until(lambda: nothing_behind(settings))
        (fold,) = [each.fold for each in worker._scoring_handlers() if each.fold.partition == PARTITION]
        assert fold.counters.events == len(CODECS)
    ours = {topic: [key for name, key in writer.written if name == topic] for topic in READ[1:]}
    own_signals = {topic: len(keys) - len(CODECS) for topic, keys in ours.items()}
    assert min(own_signals.values()) >= 0  # what follows from the five events comes on top
    with KafkaLog(settings) as log:
        for topic in READ:
            found = [r for records, _ in log.read(topic, PARTITION, 0, len(CODECS)) for r in records]
            assert len(found) == len(CODECS)


@pytest.mark.parametrize("topic", READ)
async def test_a_header_whose_name_is_no_text_is_one_dead_letter(settings: Settings, topic: str) -> None:
    values = [an_event(), an_event()] if topic == ACTIVITY else [b'{"id": 1}', b"{}"]
    spoilt = keyed(*values, headers=[("xyz", b"1")]).replace(b"xyz", BAD_NAME, 1)
    await produce_raw(settings, topic, sealed(spoilt))
    async with running(settings, policy=Policy.load(settings.policy)) as worker:
        await until(lambda: nothing_behind(settings))
        await until(lambda: some_letters(settings, 1 if topic == ACTIVITY else 2))
        if topic == ACTIVITY:
            (fold,) = [each.fold for each in worker._scoring_handlers() if each.fold.partition == PARTITION]
            assert (fold.counters.events, fold.counters.refused) == (1, 1)
    letter = (await letters(settings))[0]
    said = dict(letter.headers)
    assert said["error"] == b"unreadable: the name of a header is not UTF-8 text (ff fe 78)"
    tp = place(settings, topic)
    assert (said["topic"], said["partition"], said["offset"]) == (tp.topic.encode(), b"0", b"0")
    assert (letter.key, letter.value) == (ANNA.encode(), None if topic == PROFILES else values[0])


class Disk:
    """Damages what the broker sends, as a disk would that returns other bytes than were written."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, damage: Any) -> None:
        begun = Fetched.__init__
        monkeypatch.setattr(Fetched, "__init__", lambda fetched, data: begun(fetched, damage(data or b"")))


async def test_a_batch_whose_checksum_fails_costs_itself_only(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    for value in (an_event(), compressible(ACTIVITY).replace(b"xxxx", b"MARK", 1), an_event()):
        await produce_raw(settings, ACTIVITY, keyed(value))
    Disk(monkeypatch, lambda data: data.replace(b"MARK", b"KRAM"))
    async with running(settings) as worker:
        await until(lambda: no_lag(settings))
        (fold,) = [each.fold for each in worker._scoring_handlers() if each.fold.partition == PARTITION]
        assert (fold.counters.events, fold.counters.refused) == (2, 1)
    (letter,) = await letters(settings)
    assert b"the batch of the offsets 1 to 1 fails its checksum" in dict(letter.headers)["error"]
    assert b"KRAM" in letter.value
    (shown,) = await dead_letter_log.newest(settings)
    assert (shown.code, shown.origin) == ("unreadable", f"{place(settings, ACTIVITY).topic}[0]@1")
    with KafkaLog(settings) as log, archive.locked(tmp_path):
        tasks, _ = export.plan(log, tmp_path, [ACTIVITY])
        export.export(log, tmp_path, tasks, lambda *_: None)
        live = [r for records, _ in log.read(ACTIVITY, PARTITION, 0, 3) for r in records]
    kept = [record for records in archive.read(tmp_path, ACTIVITY, PARTITION) for record in records]
    assert [(r.offset, r.value, list(r.headers)) for r in kept] == [
        (r.offset, r.value, list(r.headers)) for r in live
    ]
    assert len(kept) == 3


async def test_a_partition_of_which_nothing_can_be_read_stands_still_alone_and_goes_on_by_itself(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(parsing, "RETRY_S", 0.3)
    broken = True
    Disk(monkeypatch, lambda data: bytes(len(data)) if broken and b"MARK" in data else data)
    await produce_raw(settings, ACTIVITY, keyed(compressible(ACTIVITY).replace(b"xxxx", b"MARK", 1)))
    await produce_raw(settings, HEALTH, keyed(b"{}"))
    writer = SpyWriter()
    source = TP(*place(settings, ACTIVITY))
    async with running(settings, new_writer=lambda: writer) as worker:

        async def stands_still() -> bool:
            return source in worker.app.consumer.unreadable and bool(writer.written)

        await until(stands_still)
        await asyncio.sleep(1)
        assert "there is no batch of records" in worker.app.consumer.unreadable[source]
        with pytest.raises(
            RuntimeError, match=rf"{ACTIVITY} partition {PARTITION} stands still: .*there is no batch"
        ):
            await worker_parts(worker)["fetches"]()
        look_at_worker(worker)
        gauge = metrics.UNREADABLE.labels(source.topic, source.partition)
        assert gauge._value.get() == 1
        assert worker.app.engine.lanes[source].handler.position() == 0
        said = [each for each in caplog.records if "stands still" in each.getMessage()]
        assert len(said) == 1
        with KafkaLog(settings) as log, pytest.raises(LogError, match="can't be read on"):
            list(log.read(ACTIVITY, PARTITION, 0, 1))
        broken = False
        await until(lambda: no_lag(settings))
        assert worker.app.consumer.unreadable == {}
        await worker_parts(worker)["fetches"]()


@asynccontextmanager
async def transactions(settings: Settings) -> AsyncIterator[Any]:
    producer = Producer(
        {
            "bootstrap.servers": settings.kafka,
            "transactional.id": settings.topic_prefix,
            "partitioner": "murmur2_random",
        }
    )
    await asyncio.to_thread(producer.init_transactions, 30)
    yield producer
    producer.flush(30)


def put(producer: Any, settings: Settings, number: int = 1) -> None:
    for _ in range(number):
        producer.produce(full_name(settings.topic_prefix, ACTIVITY), an_event(), key=ANNA)
    producer.flush(30)


async def test_of_transactions_nothing_is_left_behind_nothing_given_up_counts_and_nothing_waits(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    source = TP(*place(settings, ACTIVITY))
    assert partition_of(ANNA.encode(), settings.partitions) == PARTITION

    async with running(settings) as worker, transactions(settings) as producer:
        engine = worker.app.engine

        async def nothing_left() -> bool:
            lane = engine.lanes[source]
            return lane.idle and engine.consumer.caught_up(source, lane.next_offset or 0)

        def counted() -> int:
            (fold,) = [each.fold for each in worker._scoring_handlers() if each.fold.partition == PARTITION]
            return int(fold.counters.events)

        async def dashboard_lag() -> int | None:
            found = await dashboard.lag(settings)
            return next(each.behind for each in found.topics if each.topic == ACTIVITY)

        producer.begin_transaction()
        put(producer, settings, 3)
        await asyncio.to_thread(producer.commit_transaction, 30)
        await until(lambda: no_lag(settings))  # the log ends with a marker, and so does what is committed
        await until(nothing_left)
        assert (counted(), await dashboard_lag()) == (3, 0)

        producer.begin_transaction()
        put(producer, settings, 5)
        await until(nothing_left)
        assert await dashboard_lag() == 0  # what is not decided yet can't be read
        await asyncio.to_thread(producer.abort_transaction, 30)
        await until(lambda: no_lag(settings))
        await until(nothing_left)
        assert (counted(), await dashboard_lag()) == (3, 0)

        await produce_raw(settings, ACTIVITY, keyed(an_event()))  # behind markers and what was given up
        await until(lambda: no_lag(settings))
        assert counted() == 4
    async with running(settings) as worker:
        await until(lambda: no_lag(settings))
        assert [each.fold.counters.events for each in worker._scoring_handlers()][PARTITION] == 4
    assert await letters(settings) == []
    assert [each.getMessage() for each in caplog.records if "no longer in the log" in each.getMessage()] == []
