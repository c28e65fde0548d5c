"""After a restore: rows get the fate that `success.interventions` says they had, so that nothing is sent twice."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec
from aiokafka import TopicPartition

from agents.cluster.describing import ClusterError
from agents.engine.connection import reader_of
from agents.engine.parsing import unreadable
from store import audit, suppliers
from store.messages import mending
from topics.catalog import INTERVENTIONS, full_name
from topics.time import parse_time

if TYPE_CHECKING:
    from psycopg import AsyncConnection

    from runtime.keys import Keys
    from runtime.settings import Settings
    from store.audit import Actor

KIND = "success.intervention."
FATES = ("sent", "unknown", "failed", "suppressed")
"""What is kept of a row. One that was scheduled is scheduled again, and decided anew."""
CHUNK = 500


class DeliveryRunsError(Exception):
    """A delivery is at work; the message says what to do."""


class _Data(msgspec.Struct):
    intervention_id: str | None = None
    channel: str = ""
    reason: str | None = None
    signal_id: str | None = None


class _Told(msgspec.Struct):
    type: str
    subject: str
    time: str
    data: _Data


_decode = msgspec.json.Decoder(_Told).decode


@dataclass(frozen=True, slots=True)
class Fate:
    """What the topic says last of one row."""

    id: str
    supplier_id: str
    status: str
    reason: str | None
    at: int
    from_signal: bool
    """A worker that reads the signal again makes the row again."""


@dataclass(slots=True)
class Recovered:
    """What came of it: rows by status, and those that should be there and are not."""

    by_status: dict[str, int]
    missing: int


async def fates(settings: Settings, since_ms: int) -> dict[str, Fate]:
    """What the topic says became of each row since then, by its id.

    What stands in the coach or before an agent can be put there again: of those only what is suppressed is kept.
    """
    found: dict[str, Fate] = {}
    async for value in _told_since(settings, since_ms):
        try:
            told = _decode(value)
        except (msgspec.DecodeError, UnicodeDecodeError):
            continue  # a call's, the coach's, or of somebody who may not write here
        status, row_id = told.type.removeprefix(KIND), told.data.intervention_id
        status = "unknown" if status == "sending" else status  # unless what became of it comes after
        if row_id is None:
            continue
        if status == "scheduled":  # once more, by somebody's decision
            found.pop(row_id, None)
        if status in FATES and (told.data.channel == "email" or status == "suppressed"):
            at, reason = parse_time(told.time), told.data.reason if status == "suppressed" else None
            found[row_id] = Fate(row_id, told.subject, status, reason, at, told.data.signal_id is not None)
    return found


async def recover(
    conn: AsyncConnection,
    told: dict[str, Fate],
    actor: Actor,
    keys: Keys,
    since_ms: int,
    now_ms: int,
    *,
    dry_run: bool,
) -> Recovered:
    """Give rows that are still scheduled (or were being sent) their fate, audited. Raises DeliveryRunsError."""
    if await mending.deliveries(conn):
        raise DeliveryRunsError(
            "a delivery is at work and may send meanwhile: stop all `success deliver` first"
        )
    result = Recovered({}, 0)
    rows = sorted(told.values(), key=lambda fate: fate.id)
    for start in range(0, len(rows), CHUNK):
        chunk = rows[start : start + CHUNK]
        known = await mending.statuses(conn, [fate.id for fate in chunk])
        erased = await suppliers.erased_among(conn, {fate.supplier_id for fate in chunk}, keys)
        result.missing += sum(
            fate.from_signal and fate.id not in known and fate.supplier_id not in erased for fate in chunk
        )
        open_ones = [fate for fate in chunk if known.get(fate.id) in {"scheduled", "sending"}]
        for fate in open_ones:
            result.by_status[fate.status] = result.by_status.get(fate.status, 0) + 1
        if not dry_run:
            await mending.settle(conn, [(f.id, f.status, f.reason, f.at) for f in open_ones], now_ms)
    if not dry_run and result.by_status:
        await audit.log(
            conn, actor, "interventions.recovered", None, now_ms, since=since_ms, rows=result.by_status
        )
    return result


async def _told_since(settings: Settings, since_ms: int) -> AsyncIterator[bytes]:
    """The values of the topic from this time to its end, a partition in its own order."""
    topic = full_name(settings.topic_prefix, INTERVENTIONS)
    places = [TopicPartition(topic, number) for number in range(settings.partitions)]
    consumer = reader_of(settings, auto_offset_reset="none")
    await consumer.start()
    try:
        consumer.assign(places)
        ends = await consumer.end_offsets(places)
        firsts = await consumer.offsets_for_times(dict.fromkeys(places, since_ms))
        left = {place for place in places if (first := firsts.get(place)) and first.offset < ends[place]}
        for place in left:
            consumer.seek(place, firsts[place].offset)
        while left:
            batches = await consumer.getmany(*left, timeout_ms=1000)
            for place, why in unreadable(consumer).items():
                raise ClusterError(f"topic {topic} partition {place.partition} can't be read on: {why}")
            for place, records in batches.items():
                for record in records:
                    if record.offset < ends[place] and record.value:
                        yield record.value
            left = {place for place in left if await consumer.position(place) < ends[place]}
    finally:
        await consumer.stop()
