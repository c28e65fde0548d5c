"""Sending batches: however large the records are, all of them arrive in order."""

from __future__ import annotations

from collections.abc import AsyncIterator
from itertools import accumulate

import pytest

from agents.cluster.provisioning import STATE
from agents.engine.failure import end_process
from agents.engine.lease import Lease
from agents.engine.producer import MAX_BATCH_BYTES, BatchProducer, Outgoing
from runtime.clock import SystemClock
from runtime.settings import Settings
from scoring.health.state import State
from tests.agents.health.records import event_record
from tests.agents.workers import ANNA, now_ms, running, send
from tests.reference.logs import read
from topics.catalog import full_name

pytestmark = pytest.mark.stack


@pytest.fixture
async def producer(settings: Settings) -> AsyncIterator[BatchProducer]:
    batch_producer = BatchProducer(settings, Lease(10.0, end_process))
    await batch_producer.start()
    yield batch_producer
    await batch_producer.stop()


async def sent(settings: Settings, producer: BatchProducer, records: list[Outgoing]) -> list[Outgoing]:
    """What a partition of the state topic holds after these records were sent to it."""
    await producer.send(full_name(settings.topic_prefix, STATE), 1, records)
    found = (await read(settings, STATE))[1]
    return [(record.key, record.value, list(record.headers)) for record in found]


async def test_more_records_than_fit_into_a_batch_arrive_in_order(
    settings: Settings, producer: BatchProducer
) -> None:
    records: list[Outgoing] = [(b"%d" % n, b"x" * 100_000, [("n", b"%d" % n)]) for n in range(40)]
    assert await sent(settings, producer, records) == records
    assert producer.last_offset == {(full_name(settings.topic_prefix, STATE), 1): 39}


async def test_a_record_larger_than_a_batch_goes_alone_between_its_neighbours(
    settings: Settings, producer: BatchProducer
) -> None:
    large = b"y" * (5 * MAX_BATCH_BYTES)
    records: list[Outgoing] = [(b"1", b"small", []), (b"2", large, []), (b"3", large, []), (b"4", None, [])]
    assert await sent(settings, producer, records) == records


async def test_no_records_send_nothing(settings: Settings, producer: BatchProducer) -> None:
    assert await sent(settings, producer, []) == []


async def test_a_supplier_whose_state_is_larger_than_a_batch_survives_a_restart(settings: Settings) -> None:
    def imported(batch: int) -> list[str]:
        return [f"client-{batch:02d}-{number:05d}-of-a-very-large-venue" for number in range(10_000)]

    imports = [event_record(ANNA, "client.imported", now_ms(), client_ids=imported(b)) for b in range(5)]
    async with running(settings) as worker:
        await send(settings, worker, imports)
    kept = {record.key: record.value for record in (await read(settings, STATE))[0]}
    assert sum(map(len, kept.values())) > MAX_BATCH_BYTES * 3 // 2
    async with running(settings, clock=SystemClock()) as worker:
        [handler] = [h for h in worker._scoring_handlers() if h.fold.partition == 0]
        state = handler.fold.state_of(ANNA)
        assert isinstance(state, State)
        assert len(state.clients) == 50_000


async def test_what_is_joined_lies_in_one_batch_however_large(
    settings: Settings, producer: BatchProducer
) -> None:
    def group(name: bytes, pages: int, size: int) -> list[Outgoing]:
        pages_of_it: list[Outgoing] = [(b"page", b"%b%b" % (name, b"p" * size), []) for _ in range(pages)]
        return [*pages_of_it, (name, b"its record", [])]

    groups = [
        group(b"a", 0, 0),
        group(b"b", 9, MAX_BATCH_BYTES // 10),
        group(b"c", 3, MAX_BATCH_BYTES // 3 - 100),
        group(b"d", 40, MAX_BATCH_BYTES // 10),
        group(b"e", 2, 10),
    ]
    records = [record for records in groups for record in records]
    topic = full_name(settings.topic_prefix, STATE)
    pending = await producer.queue(topic, 1, records, joined=lambda key: key == b"page")
    await producer.acked(pending)
    found = [(record.key, record.value, list(record.headers)) for record in (await read(settings, STATE))[1]]
    assert found == records
    batch_ends = set(accumulate(sent.records for sent in pending))
    assert batch_ends <= set(accumulate(map(len, groups)))
    assert len(pending) < len(groups)


async def test_nothing_joined_to_nothing_is_sent(settings: Settings, producer: BatchProducer) -> None:
    with pytest.raises(ValueError, match="joined with one that is not there"):
        await producer.queue(full_name(settings.topic_prefix, STATE), 1, [(b"page", b"", [])], lambda _: True)
