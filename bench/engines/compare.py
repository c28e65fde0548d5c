"""All engines on one log, one after the other and again, each held against a sequential fold."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import islice
from statistics import median

from agents.cluster.provisioning import create_topics
from agents.health.handler import POLICY
from bench.engines.engines import FULL, PEERS, Engine
from bench.logs.events import activity
from bench.logs.log import Topics, publish
from bench.peers.folds import sequential
from bench.peers.job import Job
from bench.process import complain, empty_folder, measured
from bench.product import ID as PRODUCT_ID
from bench.product import Product
from runtime.settings import Settings
from scoring.time import DAY
from topics.catalog import ACTIVITY, full_name

SEED = 7
PRODUCT_KEEPS = "changelog topic, in batches"
PRODUCT_LIMIT = "the scoring function, then snapshots and state records (layers below)"

Say = Callable[[str], None]


@dataclass(frozen=True)
class Plan:
    """What is measured."""

    events: int = 400_000
    slow_events: int = 20_000
    """Of the short log, for engines that would take all day."""
    suppliers: int = 20_000
    days: int = 7
    partitions: int = 8
    repeats: int = 3
    only: tuple[str, ...] = ()
    """Parts of engines' ids; all engines if empty."""

    def chosen(self, engine_id: str) -> bool:
        """Whether an engine is to run."""
        return not self.only or any(part.lower() in engine_id.lower() for part in self.only)


@dataclass(slots=True)
class Measured:
    """One engine's runs."""

    engine: str
    fold: str
    events: int
    keeps: str
    limit: str
    runs: list[dict[str, float]] = field(default_factory=list)

    @property
    def id(self) -> str:
        """As `Engine.id`."""
        return f"{self.engine} / {self.fold}"

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


class Comparison:
    """The engines of a plan on one Kafka; `run` gives what was measured."""

    def __init__(self, kafka: str, plan: Plan, say: Say) -> None:
        self._plan = plan
        self._say = say
        self._prefix = f"bench{uuid.uuid4().hex[:8]}."
        self._settings = Settings(kafka=kafka, topic_prefix=self._prefix, partitions=plan.partitions)
        self._topics = Topics(kafka)
        self._topic = full_name(self._prefix, ACTIVITY)
        self._short_topic = f"{self._prefix}short"
        self._references: dict[tuple[str, bool], dict[bytes, bytes]] = {}
        self._product = Product(self._settings)
        self._rows = {engine.id: self._row(engine) for engine in PEERS if plan.chosen(engine.id)}
        if plan.chosen(PRODUCT_ID):
            ours = Measured(PRODUCT_ID.partition(" / ")[0], FULL, plan.events, PRODUCT_KEEPS, PRODUCT_LIMIT)
            self._rows = {PRODUCT_ID: ours} | self._rows

    def run(self) -> list[Measured]:
        """Load the log, run everything, take away the topics again."""
        try:
            self._load()
            for number in range(self._plan.repeats):
                ids = list(self._rows)
                shift = number % len(ids)
                for engine_id in ids[shift:] + ids[:shift]:
                    self._run(engine_id)
        finally:
            self._topics.delete(lambda name: self._prefix in name)
        return list(self._rows.values())

    def _row(self, engine: Engine) -> Measured:
        events = min(self._plan.slow_events, self._plan.events) if engine.slow else self._plan.events
        return Measured(engine.name, engine.fold, events, engine.keeps, engine.limit)

    def _load(self) -> None:
        """Publish the log and fold it in order, once for each fold that an engine runs."""
        plan = self._plan
        start = time.time_ns() // 1_000_000 - (plan.days + 1) * DAY
        log = list(activity(plan.events, plan.suppliers, SEED, start, plan.days * DAY))
        asyncio.run(create_topics(self._settings))
        self._topics.create(self._short_topic, plan.partitions)
        asyncio.run(publish(self._settings, self._topic, log))
        asyncio.run(publish(self._settings, self._short_topic, islice(log, plan.slow_events)))
        self._say(f"{plan.events:,} events of {plan.suppliers:,} suppliers are in the log")
        now = time.time_ns() // 1_000_000
        for engine in PEERS:
            wanted = (engine.fold, engine.slow)
            if engine.id in self._rows and wanted not in self._references:
                taken = log[: plan.slow_events] if engine.slow else log
                self._references[wanted] = sequential(
                    engine.fold, ((key, value, now) for key, value in taken)
                )
        if PRODUCT_ID in self._rows:
            self._product.fold_in_order()

    def _run(self, engine_id: str) -> None:
        row = self._rows[engine_id]
        if engine_id == PRODUCT_ID:
            took = self._product.run(row.events)
        else:
            took = self._run_peer(next(engine for engine in PEERS if engine.id == engine_id))
        row.runs.append(took)
        self._say(
            f"{row.events / took['seconds']:>10,.0f} events/s  {took['cpu_seconds'] / row.events * 1e6:6.1f} µs CPU"
            f"  {took['memory_mb']:6.0f} MB  {engine_id}: the state of a sequential fold"
        )

    def _run_peer(self, engine: Engine) -> dict[str, float]:
        run = f"{self._prefix}{uuid.uuid4().hex[:8]}"
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
            )
            if engine.own_changelog:
                config = {"cleanup.policy": "compact"}
                self._topics.create(f"{run}-changelog", job.partitions, **config)
            took = measured(engine.command(job), {})
            states, wanted = engine.final(job), self._references[engine.fold, engine.slow]
        wrong = [key for key in wanted if states.get(key) != wanted[key]]
        complain(engine.id, wrong, states.keys() - wanted.keys(), len(wanted))
        self._topics.delete(lambda name: run in name)
        return took
