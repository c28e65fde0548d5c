"""The topic of dead letters, read: the newest ones, one by its place, or all that are wanted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from agents.acts.dead_letters import Letter
from agents.engine.connection import reader_of
from agents.engine.parsing import unreadable
from store.times import to_ms, to_time
from topics.catalog import DEAD_LETTERS, TOPICS, full_name
from topics.outcome import UNREADABLE_HEADER, unreadable_by_kafka

if TYPE_CHECKING:
    from runtime.settings import Settings

NEWEST = 200
"""So many of the newest letters are listed."""
READ_TIMEOUT_S = 10.0
OURS = ("error", "topic", "partition", "offset")


class LettersAwayError(Exception):
    """The topic can't be read now; the message says why."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which letters are looked for: by reason code, topic (its name in the catalogue), [since, until) in ms."""

    reason: str | None = None
    topic: str | None = None
    since: int | None = None
    until: int | None = None

    def has(self, letter: Letter) -> bool:
        """Whether a letter is one of them."""
        at = to_ms(letter.at)
        return (
            self.reason in {None, letter.code}
            and self.topic in {None, letter.topic}
            and (self.since is None or self.since <= at)
            and (self.until is None or at < self.until)
        )


async def newest(settings: Settings, most: int = NEWEST) -> list[Letter]:
    """The newest dead letters of all partitions, newest first. Raises LettersAwayError."""
    async with _consumer(settings) as (consumer, partitions):
        begins = await consumer.beginning_offsets(partitions)
        ends = await consumer.end_offsets(partitions)
        wanted = {tp: (max(begins[tp], ends[tp] - most), ends[tp]) for tp in partitions}
        letters = [letter async for letter in _read(consumer, settings, wanted)]
    return sorted(letters, key=lambda letter: (letter.at, letter.offset), reverse=True)[:most]


async def one(settings: Settings, partition: int, offset: int) -> Letter | None:
    """One dead letter; None if it has gone, or never was. Raises LettersAwayError."""
    async with _consumer(settings) as (consumer, partitions):
        tp = next((tp for tp in partitions if tp.partition == partition), None)
        if tp is None:
            return None
        begins, ends = await consumer.beginning_offsets([tp]), await consumer.end_offsets([tp])
        if not begins[tp] <= offset < ends[tp]:
            return None
        letters = [letter async for letter in _read(consumer, settings, {tp: (offset, offset + 1)})]
    return letters[0] if letters else None


async def matching(settings: Settings, wanted: Wanted) -> AsyncIterator[Letter]:
    """All letters that are wanted and there now, a partition in its own order. Raises LettersAwayError."""
    async with _consumer(settings, timeout_s=None) as (consumer, partitions):
        begins, ends = await consumer.beginning_offsets(partitions), await consumer.end_offsets(partitions)
        if wanted.since is not None and partitions:
            found = await consumer.offsets_for_times(dict.fromkeys(partitions, wanted.since))
            begins = {tp: place.offset if (place := found.get(tp)) else ends[tp] for tp in partitions}
        async for letter in _read(consumer, settings, {tp: (begins[tp], ends[tp]) for tp in partitions}):
            if wanted.has(letter):
                yield letter


@asynccontextmanager
async def _consumer(
    settings: Settings, timeout_s: float | None = READ_TIMEOUT_S
) -> AsyncIterator[tuple[AIOKafkaConsumer, list[TopicPartition]]]:
    topic = full_name(settings.topic_prefix, DEAD_LETTERS)
    consumer = reader_of(settings, auto_offset_reset="none")
    try:
        async with asyncio.timeout(timeout_s):
            await consumer.start()
            metadata = await consumer._client.fetch_all_metadata()  # noqa: SLF001 - as in cli/dev/topic_ends.py
            numbers = metadata.partitions_for_topic(topic) or set()
            yield consumer, [TopicPartition(topic, number) for number in sorted(numbers)]
    except (KafkaError, TimeoutError, OSError) as error:
        raise LettersAwayError(
            "Kafka does not answer, so dead letters can't be read now; try again in some seconds"
        ) from error
    finally:
        await consumer.stop()


async def _read(
    consumer: AIOKafkaConsumer, settings: Settings, wanted: Mapping[TopicPartition, tuple[int, int]]
) -> AsyncIterator[Letter]:
    """Read [from, until) of each partition. Raises LettersAwayError where one can't be read."""
    open_ends = {tp: until for tp, (since, until) in wanted.items() if since < until}
    consumer.assign(list(open_ends))
    for tp in open_ends:
        consumer.seek(tp, wanted[tp][0])
    while open_ends:
        batches = await consumer.getmany(*open_ends, timeout_ms=1000)
        for tp, records in batches.items():
            for record in records:
                if record.offset < wanted[tp][1]:
                    yield _letter(record, settings)
        for tp, why in unreadable(consumer).items():
            raise LettersAwayError(f"partition {tp.partition} of {tp.topic} can't be read: {why}")
        for tp in [tp for tp, until in open_ends.items() if await consumer.position(tp) >= until]:
            del open_ends[tp]


def _letter(record: Any, settings: Settings) -> Letter:
    headers = dict(record.headers)  # a header's last value counts
    unread = unreadable_by_kafka(record.headers)
    headers.pop(UNREADABLE_HEADER, None)
    said = {name: (headers.pop(name, None) or b"").decode(errors="replace") for name in OURS}
    topic = said["topic"].removeprefix(settings.topic_prefix)
    return Letter(
        partition=record.partition,
        offset=record.offset,
        at=to_time(max(0, record.timestamp)),
        key=None if record.key is None else record.key.decode(errors="replace"),
        value=record.value,
        headers=headers,
        error=said["error"] or (unread.reason if unread else "no reason was given"),
        topic=topic if topic in TOPICS else None,
        origin=f"{said['topic']}[{said['partition']}]@{said['offset']}",
    )
