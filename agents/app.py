"""The map of a worker: which topic goes to which agent, and what its partitions are handled by. Nothing connects here.

| topics read | agent | handler | what comes of it |
|---|---|---|---|
| `supplier.activity` | `score` | `agents.health.handler.ScoringHandler` | health, risk changes, milestones, conditions, dead letters; state in `success.activity-state` |
| `supplier.profiles`, `success.health`, `success.risk-changes`, `success.milestones`, `success.conditions` | `intervene` | `agents.interventions.handler.InterventionHandler` | rows in Postgres, dead letters |
"""  # noqa: E501 - a table

from __future__ import annotations

from collections.abc import Callable

from faust.types import TP

from agents.cluster.ledger import Ledger
from agents.cluster.provisioning import STATE
from agents.engine.engine import Engine
from agents.engine.failure import FailStop, end_process
from agents.engine.faust_app import SESSION_S, BatchApp
from agents.engine.lane import FlushPolicy, PartitionHandler
from agents.engine.lease import Lease
from agents.engine.producer import BatchProducer
from agents.engine.record import Record, log_append_time
from agents.engine.skew import ClockSkew
from agents.health.fold import GRACE_MS, PartitionFold
from agents.health.handler import POLICY as SCORING_POLICY
from agents.health.handler import RulesOf, ScoringHandler
from agents.health.state_codec import newest
from agents.health.traced import TracedFold
from agents.interventions.handler import InterventionHandler, Writer
from runtime import tracing
from runtime.clock import Clock, SystemClock
from runtime.settings import Settings
from scoring.health.rules import SHIPPED, Rules
from topics.catalog import (
    ACTIVITY,
    CONDITIONS,
    HEALTH,
    MILESTONES,
    PROFILES,
    RISK_CHANGES,
    TOPICS,
    full_name,
)

SCORE, INTERVENE = "score", "intervene"
AGENT_OF: dict[str, str] = {
    ACTIVITY: SCORE,
    PROFILES: INTERVENE,
    HEALTH: INTERVENE,
    RISK_CHANGES: INTERVENE,
    MILESTONES: INTERVENE,
    CONDITIONS: INTERVENE,
}
"""Topic (catalogue name) → the agent that reads it."""

DECODED = 40_000
FEWEST_DECODED = 1_000
"""Suppliers whose state a worker holds decoded between flushes, in all its partitions; at least so many in each. One
takes some 10 KB with what is to be sent of them."""


def topics_of(agent: str) -> list[str]:
    """What an agent reads; catalogue names."""
    return [topic for topic, reader in AGENT_OF.items() if reader == agent]


def build_app(
    settings: Settings,
    clock: Clock,
    *,
    grace_ms: int | None = GRACE_MS,
    append_time: Callable[[Record], int] = log_append_time,
    new_writer: Callable[[], Writer] | None = None,
    instance_id: str | None = None,
    scoring_policy: FlushPolicy = SCORING_POLICY,
    fail_stop: FailStop = end_process,
    ledger: Callable[[], Ledger] = Ledger,
    rules: Rules = SHIPPED,
    versions: RulesOf | None = None,
) -> BatchApp:
    """Wire a worker: the scoring agent and, with `new_writer`, the intervention agent.

    `instance_id` is `BatchApp`'s, `grace_ms` and `append_time` are `PartitionFold`'s. `ledger`: the
    deployment's, known before anything is read. `rules`: in force where nothing was activated; `versions` tells what
    was.
    """
    prefix = settings.topic_prefix
    state_topic = full_name(prefix, STATE)
    names = {full_name(prefix, name): name for name in AGENT_OF}
    app = BatchApp(f"{prefix}success-worker", settings, instance_id)
    app.lease = lease = Lease(SESSION_S, fail_stop)
    # A clock that is not the machine's (a played file's) is not to be compared with the brokers'.
    skew = ClockSkew(clock.now_ms) if isinstance(clock, SystemClock) else None
    app.batch_producer = producer = BatchProducer(settings, lease, skew)
    now_ms = skew.broker_now_ms if skew else clock.now_ms

    def scoring(partition: int, topic: str) -> PartitionHandler:
        capacity = max(FEWEST_DECODED, DECODED // max(1, len(app.states.marked())))
        fold = (TracedFold if tracing.is_on() else PartitionFold)(
            partition,
            settings.partitions,
            append_time,
            grace_ms,
            topic=topic,
            capacity=capacity,
            rules=rules,
            is_told=versions is not None,
            epoch=ledger().epoch,
            homes=ledger().homes(settings.partitions, ACTIVITY),
        )
        fold.recover(app.states.partition(partition))
        return ScoringHandler(
            fold, producer, prefix, state_topic, scoring_policy, app.states.wrote, now_ms, versions
        )

    def intervening(partition: int, topic: str) -> PartitionHandler:
        if new_writer is None:
            raise RuntimeError(f"nobody writes {topic} here")
        return InterventionHandler(names[topic], partition, new_writer(), producer, prefix)

    handlers = {SCORE: scoring, INTERVENE: intervening}

    def open_lane(tp: TP) -> PartitionHandler:
        return handlers[AGENT_OF[names[tp.topic]]](tp.partition, tp.topic)

    app.engine = Engine(
        open_lane,
        stateful_topic=full_name(prefix, ACTIVITY),
        compacted_topics=[
            full_name(prefix, n) for n, t in TOPICS.items() if "compact" in t.config["cleanup.policy"]
        ],
        newest=newest,
        fail_stop=lease.stop_worker,
        now_ms=now_ms,
    )
    app.engine.skew = skew
    app.add_state("activity-state", state_topic)
    app.add_agent(SCORE, [full_name(prefix, name) for name in topics_of(SCORE)])
    if new_writer is not None:
        app.add_agent(INTERVENE, [full_name(prefix, name) for name in topics_of(INTERVENE)])
    return app
