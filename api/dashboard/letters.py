"""Dead letters: read from their topic, judged anew after an agent has mended them, and published again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import orjson
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from agents.kafka import client_options
from agents.received import MODELS, read_signal
from store.times import to_time
from topics.catalog import ACTIVITY, DEAD_LETTERS, PROFILES, TOPICS, full_name
from topics.decoding import decode
from topics.outcome import Refusal, Unknown
from topics.profile import Erasure, decode_profile

if TYPE_CHECKING:
    from runtime.settings import Settings

NEWEST = 200
"""So many of the newest letters are listed."""
READ_TIMEOUT_S = 10.0
OURS = ("error", "topic", "partition", "offset")
LONGEST_SHOWN = 200_000
"""Characters of a value that can be looked at and mended here; a longer one is for `success publish`."""


class LettersAwayError(Exception):
    """The topic can't be read now; the message says why."""


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter. `topic` is the catalogue's name of where it came from (None: nobody knows)."""

    partition: int
    offset: int
    at: datetime
    key: str | None
    value: bytes | None
    headers: Mapping[str, bytes]
    error: str
    topic: str | None
    origin: str

    @property
    def code(self) -> str:
        """The stable beginning of the reason."""
        return self.error.partition(":")[0]

    @property
    def is_text(self) -> bool:
        """Whether its value can be shown."""
        try:
            (self.value or b"").decode()
        except UnicodeDecodeError:
            return False
        return len(self.value or b"") <= LONGEST_SHOWN

    @property
    def size(self) -> int:
        """Bytes of its value."""
        return len(self.value or b"")

    def editable(self) -> str:
        """Its value as JSON to mend: indented, a binary-mode event written as a structured one."""
        text = (self.value or b"").decode(errors="replace")
        try:
            parsed = orjson.loads(self.value or b"")
        except orjson.JSONDecodeError:
            parsed = None
        attributes = {
            name.lower()[3:]: value.decode(errors="replace")
            for name, value in self.headers.items()
            if name.lower().startswith("ce_")
        }
        if attributes:
            event: dict[str, Any] = {**attributes}
            if parsed is not None or not text:
                parsed = event | ({"data": parsed} if parsed is not None else {})
        if parsed is None:
            return text
        return orjson.dumps(parsed, option=orjson.OPT_INDENT_2).decode()


@dataclass(frozen=True, slots=True)
class Mended:
    """What is to be published: `topic` from the catalogue, the supplier's id as key."""

    topic: str
    key: str
    value: bytes


async def newest(settings: Settings, most: int = NEWEST) -> list[Letter]:
    """The newest dead letters of all partitions, newest first. Raises LettersAwayError."""
    async with _consumer(settings) as (consumer, partitions):
        begins = await consumer.beginning_offsets(partitions)
        ends = await consumer.end_offsets(partitions)
        wanted = {tp: (max(begins[tp], ends[tp] - most), ends[tp]) for tp in partitions}
        letters = await _read(consumer, settings, wanted)
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
        letters = await _read(consumer, settings, {tp: (offset, offset + 1)})
    return letters[0] if letters else None


def judge(topic: str, text: str, now_ms: int) -> Mended | Refusal:
    """Say whether a mended value may go to its topic again, by the same rules as those that refused it.

    The key is the supplier's id in the value, as every topic has it.
    """
    value = text.strip().encode()
    try:
        parsed = orjson.loads(value)
    except orjson.JSONDecodeError as error:
        return Refusal(f"not_json: {error}")
    if not isinstance(parsed, dict):
        return Refusal("not_json: an object is expected")
    value = orjson.dumps(parsed)
    key = parsed.get("id" if topic == PROFILES else "subject")
    if not isinstance(key, str):
        return Refusal("missing_field: the supplier's id is missing")
    refusal = _refusal(topic, key, value, now_ms)
    return refusal or Mended(topic, key, value)


def _refusal(topic: str, key: str, value: bytes, now_ms: int) -> Refusal | None:
    if topic == ACTIVITY:
        verdict = decode(key.encode(), value, (), now_ms)
        if isinstance(verdict, Unknown):
            return Refusal("wrong_field: type: nobody knows this type, so it would only be ignored")
        return verdict if isinstance(verdict, Refusal) else None
    if topic == PROFILES:
        profile = decode_profile(key.encode(), value)
        if isinstance(profile, Erasure):
            return Refusal("missing_field: an erasure is not published from here")
        return profile if isinstance(profile, Refusal) else None
    if topic in MODELS:
        record = SimpleNamespace(key=key.encode(), value=value)
        signal = read_signal(topic, record)  # it looks at key and value only
        return signal if isinstance(signal, Refusal) else None
    return Refusal(f"wrong_field: nothing is published to {topic} from here")


@asynccontextmanager
async def _consumer(settings: Settings) -> AsyncIterator[tuple[AIOKafkaConsumer, list[TopicPartition]]]:
    topic = full_name(settings.topic_prefix, DEAD_LETTERS)
    consumer = AIOKafkaConsumer(
        **client_options(settings), enable_auto_commit=False, auto_offset_reset="none"
    )
    try:
        async with asyncio.timeout(READ_TIMEOUT_S):
            await consumer.start()
            metadata = await consumer._client.fetch_all_metadata()  # noqa: SLF001 - as in cli/topic_ends.py
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
) -> list[Letter]:
    """Read [from, until) of each partition."""
    open_ends = {tp: until for tp, (since, until) in wanted.items() if since < until}
    consumer.assign(list(open_ends))
    for tp in open_ends:
        consumer.seek(tp, wanted[tp][0])
    letters = []
    while open_ends:
        batches = await consumer.getmany(*open_ends, timeout_ms=1000)
        for tp, records in batches.items():
            letters += [_letter(record, settings) for record in records if record.offset < wanted[tp][1]]
        for tp in [tp for tp, until in open_ends.items() if await consumer.position(tp) >= until]:
            del open_ends[tp]
    return letters


def _letter(record: Any, settings: Settings) -> Letter:
    headers = dict(record.headers)  # a header's last value counts
    said = {name: headers.pop(name, b"").decode(errors="replace") for name in OURS}
    topic = said["topic"].removeprefix(settings.topic_prefix)
    return Letter(
        partition=record.partition,
        offset=record.offset,
        at=to_time(max(0, record.timestamp)),
        key=None if record.key is None else record.key.decode(errors="replace"),
        value=record.value,
        headers=headers,
        error=said["error"] or "no reason was given",
        topic=topic if topic in TOPICS else None,
        origin=f"{said['topic']}[{said['partition']}]@{said['offset']}",
    )


def reasons(letters: Sequence[Letter]) -> list[tuple[str, int]]:
    """How many there are of each code, most first."""
    found: dict[str, int] = {}
    for letter in letters:
        found[letter.code] = found.get(letter.code, 0) + 1
    return sorted(found.items(), key=lambda one: -one[1])
