"""More partitions for a deployment: all topics at once; states and profiles go to where their keys are at home then.

A growth that was cut short goes on where it was, by the ledger's note of it. In order:

1. make the partitions, at which workers that run stop, and note where the old count ends on each (the ledger);
2. score what lies before those ends, by the old count, as a worker would;
3. copy the state of each supplier who moves to their new partition, and only when all are there
4. take them off their old one, whose meta record then speaks of the new count; the same with profiles;
5. note that it is done.

The same steps over the ends that were noted build a lost state again.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple, Self

from aiokafka import TopicPartition
from aiokafka.admin import NewPartitions

from agents.cluster import ledger as ledgers
from agents.cluster import rules_log
from agents.cluster.accepting import wait_until_nobody_reads
from agents.cluster.describing import NO_ID, ClusterError, Described, asking, describe, describe_all
from agents.cluster.identity import made_anew
from agents.cluster.ledger import Growth, Ledger
from agents.cluster.provisioning import STATE, wanted_topics
from agents.engine.connection import reader_of
from agents.engine.failure import end_process
from agents.engine.faust_app import SESSION_S
from agents.engine.lease import Lease
from agents.engine.parsing import Reading, unreadable
from agents.engine.producer import BatchProducer
from agents.health.fold import PartitionFold
from agents.health.handler import POLICY, ScoringHandler
from agents.health.state_codec import META_KEY, SCHEMA_VERSION, Meta, StateHeader, newest, pack, schema_of
from agents.health.stored_supplier import is_page, is_supplier, supplier_of_page
from agents.health.telling import tell
from agents.interventions.profiles import TIDIED
from runtime.clock import SystemClock
from scoring.health.rules import SHIPPED
from scoring.time import NEVER
from topics.catalog import ACTIVITY, PROFILES, full_name
from topics.outcome import unreadable_by_kafka
from topics.partitioner import Homes, partition_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from aiokafka.admin import AIOKafkaAdminClient

    from agents.cluster.rules_log import RulesLog
    from agents.engine.producer import Outgoing
    from agents.engine.record import Record
    from runtime.settings import Settings

POLL_MS = 200
VISIBLE_WITHIN_S = 30.0
RECORDS_A_FLUSH = 100_000

logger = logging.getLogger(__name__)


class Grown(NamedTuple):
    """What a growth did."""

    before: int
    now: int
    suppliers: int
    """States that moved to another partition."""
    profiles: int


async def grow(settings: Settings, to: int) -> Grown:
    """Take every topic to `to` partitions, and all states along; with the present number, build a lost state again.

    Raises ClusterError where it can't, and says what to do.
    """
    prefix = settings.topic_prefix
    async with asking(settings) as admin:
        found = await describe_all(admin, wanted_topics(prefix))
        ledger = await ledgers.read(settings)
        if changed := made_anew(ledger, found, prefix):
            raise ClusterError(f"{', '.join(changed)} was made anew: `success topics accept` first")
        async with _Mover(settings, ledger, await rules_log.read(settings)) as mover:
            before = await mover.count_before(found)
            growth = ledger.growing
            _check(found, before, to, growth)
            if before == to and growth is None and not await mover.is_lost() and _all_have(found, to):
                return Grown(before, to, 0, 0)
            await _make_partitions(admin, found, to)  # running workers stop when they see them
            await wait_until_nobody_reads(admin, settings)
            if growth is None and before < to:
                growth = ledger.growing = Growth(before, to, await mover.ends(before))
                await ledgers.write(settings, ledger)
            suppliers, profiles = await mover.move_all(growth)
            if growth is not None:
                ledger.grown.append(growth)
                ledger.growing = None
            ledger.ids[STATE] = found[full_name(prefix, STATE)].id
            await ledgers.write(settings, ledger)
    return Grown(before, to, suppliers, profiles)


def _check(found: Mapping[str, Described], before: int, to: int, growth: Growth | None) -> None:
    if growth is not None and growth.to != to:
        raise ClusterError(
            f"a growth to {growth.to} partitions was begun: `success topics grow {growth.to}` ends it"
        )
    most = max(topic.partitions for topic in found.values())
    if to < max(most, before):
        raise ClusterError(f"there are {most} partitions: Kafka can't take any away, give {most} or more")


def _all_have(found: Mapping[str, Described], count: int) -> bool:
    return all(topic.partitions == count for topic in found.values())


async def _make_partitions(admin: AIOKafkaAdminClient, found: Mapping[str, Described], to: int) -> None:
    """Have `to` partitions of every topic, each with a leader."""
    fewer = {name: NewPartitions(to) for name, topic in found.items() if topic.partitions < to}
    if not fewer:
        return
    await admin.create_partitions(fewer)
    loop = asyncio.get_running_loop()
    deadline = loop.time() + VISIBLE_WITHIN_S
    while True:
        now = await describe(admin, found)
        if all(name in now and now[name].ready and now[name].partitions == to for name in found):
            return
        if loop.time() > deadline:
            raise ClusterError(f"not all topics have {to} partitions with a leader yet: run this again")
        await asyncio.sleep(POLL_MS / 1000)


class _Mover:
    """Reads and writes partitions by hand, where no worker does."""

    def __init__(self, settings: Settings, ledger: Ledger, rules: RulesLog) -> None:
        self._settings = settings
        self._ledger = ledger
        self._rules = rules
        self._consumer = reader_of(
            settings,
            Reading(raw=True),
            auto_offset_reset="earliest",
            max_partition_fetch_bytes=8 * 1024 * 1024,
        )
        self._producer = BatchProducer(settings, Lease(SESSION_S, end_process))

    async def __aenter__(self) -> Self:
        await self._consumer.start()
        await asyncio.sleep(0)  # aiokafka's stop fails as cancelled before its first task has begun
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._producer.stop()
        await self._consumer.stop()

    async def count_before(self, found: Mapping[str, Described]) -> int:
        """The number of partitions that the deployment has been run with; only its own topics can tell."""
        if self._ledger.growing is not None:
            return self._ledger.growing.partitions
        if self._ledger.grown:
            return self._ledger.grown[-1].to
        state = found[self._name(STATE)].partitions
        for partition in range(state):
            if (meta := (await self._state(partition)).get(META_KEY)) is not None:
                return Meta.of(meta).partitions
        return state

    async def ends(self, count: int) -> dict[str, dict[int, int]]:
        """Where the topics end whose records have a home, by catalogue name."""
        found = {}
        for name in (ACTIVITY, PROFILES):
            places = [TopicPartition(self._name(name), number) for number in range(count)]
            ends = await self._consumer.end_offsets(places)
            found[name] = {place.partition: ends[place] for place in places}
        return found

    async def move_all(self, growth: Growth | None) -> tuple[int, int]:
        """Bring states and profiles home, through every growth there was; how many moved in the last."""
        grown = self._ledger.grown
        if growth is None and not grown:
            return 0, 0
        if not await self.is_lost():
            steps = [growth] if growth is not None else []
        else:
            steps = [*grown, *([growth] if growth is not None else [])]
        await self._producer.start()  # only now: it knows all partitions
        suppliers = profiles = 0
        for number, step in enumerate(steps):
            earlier = frozenset(each.partitions for each in [*grown, *steps[:number]])
            for partition in range(step.partitions):
                await self._score(partition, step, earlier | {step.to}, brings_home=step is growth)
            suppliers = await self._move_states(step)
            profiles = await self._move_profiles(step)
        return suppliers, profiles

    # --- 2: scoring by the old count

    async def _score(self, partition: int, step: Growth, other: frozenset[int], *, brings_home: bool) -> None:
        """Fold what lies before the end of the old count, as a worker would.

        What lies astray there has gone home long ago where a state is built again.
        """
        values = await self._state(partition)
        end = step.ends[ACTIVITY].get(partition, 0)
        if META_KEY in values and Meta.of(values[META_KEY]).partitions != step.partitions:
            return  # moved already
        fold = PartitionFold(
            partition,
            step.partitions,
            topic=self._name(ACTIVITY),
            epoch=self._ledger.epoch,
            homes=Homes(step.partitions, (), other - {step.partitions}),
            brings_home=brings_home,
            is_told=True,
        )
        fold.recover(values)
        tell(fold, self._rules, [SHIPPED])
        handler = ScoringHandler(
            fold,
            self._producer,
            self._settings.topic_prefix,
            self._name(STATE),
            POLICY,
            lambda *_: None,
            SystemClock().now_ms,
        )
        waiting = 0
        async for records in self._read(ACTIVITY, partition, fold.watermark + 1, end):
            await handler.add(records)
            waiting += len(records)
            if waiting >= RECORDS_A_FLUSH:
                await handler.flush()
                waiting = 0
        await handler.flush()
        for _ in fold.bringing_up():  # who moves takes no switch along that they have not seen
            await handler.flush()

    # --- 3 and 4: moving

    async def _move_states(self, step: Growth) -> int:
        """Copy who moves, then take them off; the number of suppliers."""
        leaving: dict[int, tuple[list[bytes], bytes | None]] = {}
        suppliers = 0
        for partition in range(step.partitions):
            values = await self._state(partition)
            meta = values.get(META_KEY)
            if meta is not None and Meta.of(meta).partitions != step.partitions:
                continue
            moving = _moving(values, partition, step.to)
            leaving[partition] = [key for keys in moving.values() for key in keys], meta
            suppliers += sum(map(is_supplier, leaving[partition][0]))
            for home, keys in moving.items():
                held = step.ends[ACTIVITY].get(home, 0) - 1
                records: list[Outgoing] = [(key, _as_held(values[key], held), []) for key in keys]
                await self._producer.send(self._name(STATE), home, records, joined=is_page)
        for partition, (keys, meta) in leaving.items():
            gone: list[Outgoing] = [(key, None, []) for key in keys]
            end = step.ends[ACTIVITY].get(partition, 0)
            gone.append((META_KEY, self._meta(meta, step.to, end), []))
            await self._producer.send(self._name(STATE), partition, gone)
        return suppliers

    def _meta(self, meta: bytes | None, to: int, end: int) -> bytes:
        header = StateHeader.of(meta) if meta is not None else StateHeader(self._ledger.epoch, -1, 0, NEVER)
        told = Meta.of(meta) if meta is not None else Meta(to)
        told.partitions = to
        offset = header.offset if header.epoch == self._ledger.epoch else -1
        header = header._replace(epoch=self._ledger.epoch, offset=max(offset, end - 1))
        return pack(header, told.encode(), SCHEMA_VERSION if meta is None else schema_of(meta))

    async def _move_profiles(self, step: Growth) -> int:
        """Copy the newest profile of each key to its new home, unless one lies there, and take it off the old one."""
        moved = 0
        there: dict[int, set[bytes]] = {}
        for partition in range(step.partitions):
            end = step.ends[PROFILES].get(partition, 0)
            kept: dict[bytes, Record] = {}
            async for records in self._read(PROFILES, partition, 0, end):
                kept |= {
                    record.key: record
                    for record in records
                    if record.key is not None and _says_something(record)
                }
            moving: dict[int, list[Outgoing]] = defaultdict(list)
            for key, record in kept.items():
                home = partition_of(key, step.to)
                if record.value and home != partition and partition_of(key, step.partitions) == partition:
                    moving[home].append((key, record.value, list(record.headers)))
            for home, profiles in moving.items():
                if home not in there:
                    there[home] = await self._keys(PROFILES, home)
                copies = [each for each in profiles if each[0] not in there[home]]
                await self._producer.send(self._name(PROFILES), home, copies)
                moved += len(copies)
            gone: list[Outgoing] = [
                (key, None, [(TIDIED, b"")]) for profiles in moving.values() for key, _, _ in profiles
            ]
            await self._producer.send(self._name(PROFILES), partition, gone)
        return moved

    # --- reading

    async def is_lost(self) -> bool:
        """Whether the state topic is another one than it was."""
        known = self._ledger.ids.get(STATE, NO_ID)
        async with asking(self._settings) as admin:
            found = (await describe(admin, [self._name(STATE)]))[self._name(STATE)].id
        return NO_ID not in (known, found) and known != found

    async def _state(self, partition: int) -> dict[bytes, bytes]:
        """The newest value of each key of the state topic's partition, as a worker recovers it."""
        values: dict[bytes, bytes] = {}
        async for records in self._read(STATE, partition):
            for record in records:
                key = record.key or b""
                if refusal := unreadable_by_kafka(record.headers):
                    raise ClusterError(
                        f"the state of partition {partition}, offset {record.offset}: {refusal.reason}"
                    )
                if record.value is None:
                    values.pop(key, None)
                else:
                    values[key] = newest(values.get(key), record.value)
        return values

    async def _keys(self, name: str, partition: int) -> set[bytes]:
        found: set[bytes] = set()
        async for records in self._read(name, partition):
            found |= {record.key for record in records if record.key is not None and _says_something(record)}
        return found

    async def _read(
        self, name: str, partition: int, start: int = 0, end: int | None = None
    ) -> AsyncIterator[list[Record]]:
        """A topic's records of the offsets [start, end) (None: all there are now), in batches."""
        place = TopicPartition(self._name(name), partition)
        begin = (await self._consumer.beginning_offsets([place]))[place]
        last = (await self._consumer.end_offsets([place]))[place]
        last = last if end is None else min(end, last)
        position = max(start, begin)
        if position >= last:
            return
        self._consumer.assign([place])
        self._consumer.seek(place, position)
        while position < last:
            fetched = (await self._consumer.getmany(place, timeout_ms=POLL_MS)).get(place, ())
            records: list[Record] = [record for record in fetched if record.offset < last]
            position = await self._consumer.position(place)
            if why := unreadable(self._consumer).get(place):
                raise ClusterError(f"topic {place.topic} partition {partition} can't be read on: {why}")
            if records:
                yield records

    def _name(self, name: str) -> str:
        return full_name(self._settings.topic_prefix, name)


def _says_something(record: Record) -> bool:
    """Whether a record says something of its key; what our client could not read as one says nothing."""
    return not unreadable_by_kafka(record.headers)


def _moving(values: Mapping[bytes, bytes], partition: int, to: int) -> dict[int, list[bytes]]:
    """New partition → keys that belong there by a count of `to`, a supplier's pages right before their own."""
    pages: dict[bytes, list[bytes]] = defaultdict(list)
    for key in values:
        if is_page(key):
            pages[supplier_of_page(key)].append(key)
    moving: dict[int, list[bytes]] = defaultdict(list)
    for key in filter(is_supplier, values):
        if (home := partition_of(key, to)) != partition:
            moving[home] += [*pages.get(key, ()), key]
    return moving


def _as_held(value: bytes, offset: int) -> bytes:
    """A record of the state for a partition that holds everything up to this offset of its own."""
    header = StateHeader.of(value)._replace(offset=offset)
    return pack(header, StateHeader.body(value), schema_of(value))
