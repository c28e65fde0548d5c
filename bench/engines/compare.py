"""All engines on one log, one after the other and again, each held against a sequential fold."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import islice
from statistics import median

from agents.cluster.provisioning import create_topics
from agents.health.handler import POLICY
from bench.engines.engines import FULL, PEERS, Engine, fold_changelog, plain_changelog
from bench.logs.kinds import DENSE, KNOWN_UNTIL_AGO, Events, Kind, now_ms
from bench.logs.log import Topics, load, publish
from bench.peers.folds import FOLDS, packed
from bench.peers.job import Job
from bench.process import complain, empty_folder, measured, version_of
from bench.product import ID as PRODUCT_ID
from bench.product import Product
from bench.scale.suppliers import EVENTS_EACH, SAMPLE, ids, past
from runtime.settings import Settings
from topics.catalog import ACTIVITY, full_name
from topics.partitioner import partition_of

PRODUCT_KEEPS = "changelog topic, in batches"
PRODUCT_LIMIT = "the scoring function, then snapshots and state records"

Say = Callable[[str], None]


@dataclass(frozen=True)
class Plan:
    """What is measured."""

    dense_events: int = 500_000
    sparse_events: int = 300_000
    slow_events: int = 20_000
    """Of the dense log's beginning, for engines that would take all day."""
    partitions: int = 8
    repeats: int = 3
    only: tuple[str, ...] = ()
    """Parts of engines' ids; all engines if empty."""
    pythons: tuple[str, ...] = ()
    """Our worker runs under each of these interpreters too."""
    layers: bool = False
    """Our worker runs once more, with clocks around its layers."""

    def chosen(self, engine_id: str) -> bool:
        """Whether an engine is to run."""
        return not self.only or any(part.lower() in engine_id.lower() for part in self.only)

    def events(self, kind: Kind) -> int:
        """How many a log has."""
        return self.sparse_events if kind.sparse else self.dense_events


@dataclass(slots=True)
class Measured:
    """One engine's runs on one log."""

    engine: str
    fold: str
    events: int
    keeps: str
    limit: str
    log: str = DENSE.name
    runs: list[dict[str, float]] = field(default_factory=list)

    @property
    def id(self) -> str:
        """As `Engine.id`."""
        return f"{self.engine} / {self.fold}"

    @property
    def is_ours(self) -> bool:
        """Whether it is our worker, under whichever Python."""
        return self.engine.startswith(PRODUCT_ID.partition(" / ")[0])

    @property
    def rates(self) -> list[float]:
        """Events/s of each run."""
        return [self.events / run["seconds"] for run in self.runs]

    @property
    def rate(self) -> float:
        """Events/s: the median."""
        return median(self.rates)

    def middle(self, name: str) -> float:
        """The median of something that each run reports."""
        return median(run[name] for run in self.runs)

    def cpu_us(self, name: str = "cpu_seconds") -> float:
        """CPU µs an event in the engine's process; the broker's is not in it."""
        return self.middle(name) / self.events * 1e6


class Comparison:
    """The engines of a plan on one log and one Kafka; `run` gives what was measured."""

    def __init__(self, kafka: str, plan: Plan, kind: Kind, say: Say) -> None:
        self._plan = plan
        self._kind = kind
        self._events = plan.events(kind)
        self._say = say
        self._prefix = f"bench{uuid.uuid4().hex[:8]}."
        self._settings = Settings(kafka=kafka, topic_prefix=self._prefix, partitions=plan.partitions)
        self._topics = Topics(kafka)
        self._topic = full_name(self._prefix, ACTIVITY)
        self._short_topic = f"{self._prefix}short"
        self._known: dict[str, list[bytes]] = {}
        """Fold → packed states that the known suppliers' are copies of."""
        self._references: dict[tuple[str, bool], dict[bytes, bytes]] = {}
        self._product = Product(self._settings)
        peers = [each for each in PEERS if plan.chosen(each.id) and (each.sparse or not kind.sparse)]
        self._engines = {engine.id: engine for engine in peers}
        self._pythons: dict[str, str] = {}
        """Row of our worker → its interpreter; empty for this one's."""
        if plan.chosen(PRODUCT_ID):
            name = PRODUCT_ID.partition(" / ")[0]
            self._pythons = {
                f"{name}, Python {version_of(python)} / {FULL}": python for python in plan.pythons
            } or {PRODUCT_ID: ""}
        ours = {
            each: Measured(
                each.partition(" / ")[0], FULL, self._events, PRODUCT_KEEPS, PRODUCT_LIMIT, kind.name
            )
            for each in self._pythons
        }
        self._rows = ours | {engine.id: self._row(engine) for engine in peers}
        self.layers: dict[str, float] = {}
        """What our worker said of its layers, if that was asked for."""

    def run(self) -> list[Measured]:
        """Load the log, run everything, take away the topics again."""
        try:
            self._load()
            for number in range(self._plan.repeats):
                row_ids = list(self._rows)
                shift = number % len(row_ids)
                for row_id in row_ids[shift:] + row_ids[:shift]:
                    self._run(row_id)
            if self._plan.layers and self._pythons:
                self.layers = self._product.run(self._events, options=("--layers",))
        finally:
            self._topics.delete(lambda name: self._prefix in name)
        return list(self._rows.values())

    def _row(self, engine: Engine) -> Measured:
        events = min(self._plan.slow_events, self._events) if engine.slow else self._events
        return Measured(engine.name, engine.fold, events, engine.keeps, engine.limit, self._kind.name)

    def _load(self) -> None:
        """Publish the log and fold it in order, once for each fold that an engine runs."""
        now = now_ms()
        log = self._kind.events(self._events, now)
        known_until = now - KNOWN_UNTIL_AGO if self._kind.known else None
        asyncio.run(create_topics(self._settings))
        asyncio.run(publish(self._settings, self._topic, log))
        suppliers = self._kind.suppliers(self._events)
        self._say(f"{self._events:,} events of {suppliers:,} suppliers are in the {self._kind.name} log")
        if any(engine.slow for engine in self._engines.values()):
            self._topics.create(self._short_topic, self._plan.partitions)
            asyncio.run(publish(self._settings, self._short_topic, islice(log, self._plan.slow_events)))
        for engine in self._engines.values():
            if known_until is not None and engine.fold not in self._known:
                self._make_known(engine.fold, known_until)
            if (wanted := (engine.fold, engine.slow)) not in self._references:
                taken = log[: self._plan.slow_events] if engine.slow else log
                self._references[wanted] = self._fold(engine.fold, taken, now)
        if self._pythons:
            self._product.fold_in_order(suppliers if self._kind.known else 0, known_until)

    def _make_known(self, fold: str, until_ms: int) -> None:
        """Have a topic of what is known of each supplier, as this fold packs it."""
        events = ((key, value, until_ms) for key, value in past(SAMPLE, EVENTS_EACH, until_ms))
        self._known[fold] = list(packed(fold, events).values())
        topic = self._known_topic(fold)
        self._topics.create(topic, self._plan.partitions)
        self._write_known(fold, topic)

    def _write_known(self, fold: str, topic: str) -> None:
        partitions = self._plan.partitions
        records = ((partition_of(key, partitions), key, value) for key, value in self._states(fold).items())
        asyncio.run(load(self._settings, topic, records))

    def _states(self, fold: str) -> dict[bytes, bytes]:
        """What is known of each supplier before the first event."""
        if fold not in self._known:
            return {}
        bodies = self._known[fold]
        suppliers = self._kind.suppliers(self._events)
        return {key.encode(): bodies[number % len(bodies)] for number, key in enumerate(ids(suppliers))}

    def _known_topic(self, fold: str) -> str:
        return f"{self._prefix}known-{fold}"

    def _fold(self, fold: str, log: Events, now: int) -> dict[bytes, bytes]:
        known, unpack = self._states(fold), FOLDS[fold].unpack
        events = ((key, value, now) for key, value in log)
        return packed(fold, events, lambda key: unpack(known[key]) if known else None)

    def _run(self, row_id: str) -> None:
        row = self._rows[row_id]
        if row_id in self._pythons:
            took = self._product.run(row.events, python=self._pythons[row_id])
        else:
            took = self._run_peer(self._engines[row_id])
        row.runs.append(took)
        self._say(
            f"{row.events / took['seconds']:>10,.0f} events/s  {took['cpu_seconds'] / row.events * 1e6:6.1f} µs CPU"
            f"  {took['memory_mb']:6.0f} MB  {row_id}: the state of a sequential fold"
        )

    def _run_peer(self, engine: Engine) -> dict[str, float]:
        run = f"{self._prefix}{uuid.uuid4().hex[:8]}"
        is_known = engine.fold in self._known
        with empty_folder() as folder:
            job = Job(
                kafka=self._settings.kafka,
                topic=self._short_topic if engine.slow else self._topic,
                partitions=self._plan.partitions,
                events=self._rows[engine.id].events,
                fold=engine.fold,
                run=run,
                folder=str(folder),
                interval_s=POLICY.seconds,
                known=self._known_topic(engine.fold) if is_known else "",
            )
            if engine.own_changelog:
                self._topics.create(plain_changelog(job), job.partitions, **COMPACTED)
            if engine.restores and is_known:
                self._topics.create(fold_changelog(job), job.partitions, **COMPACTED)
                self._write_known(engine.fold, fold_changelog(job))
            took = measured(engine.command(job), {})
            states, wanted = engine.final(job), self._references[engine.fold, engine.slow]
        wrong = [key for key in wanted if states.get(key) != wanted[key]]
        complain(engine.id, wrong, states.keys() - wanted.keys(), len(wanted))
        self._topics.delete(lambda name: run in name)
        return took


COMPACTED = {"cleanup.policy": "compact"}
