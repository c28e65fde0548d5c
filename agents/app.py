"""The Faust app, wired: which topic goes to which agent, and with what settings. Nothing connects here."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import faust
from faust.auth import Credentials, SASLCredentials, SSLCredentials
from faust.types import TP, StreamT

from agents import partition_store, transport
from agents.activity import POLICY as SCORING_POLICY
from agents.activity import ScoringHandler
from agents.batch_agent import Engine, FlushPolicy, PartitionHandler
from agents.failure import FailStop, end_process
from agents.fold import GRACE_MS, PartitionFold
from agents.intervention_agent import InterventionHandler, Writer
from agents.kafka import client_options
from agents.lease import Lease
from agents.partition_store import PartitionStore, RawSchema
from agents.producer import BatchProducer
from agents.provisioning import STATE
from agents.record import Record, log_append_time
from agents.recovery import PartitionTables
from agents.snapshots import Snapshots
from agents.transport import Batch
from runtime.clock import Clock
from runtime.settings import Settings
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

INTERVENTION_TOPICS = (PROFILES, HEALTH, RISK_CHANGES, MILESTONES, CONDITIONS)
"""What the intervention agent reads; catalogue names."""

SESSION_S = 10.0
QUEUED_BATCHES = 16
RECOVERY_BATCHES = 8
DECODED = 40_000
FEWEST_DECODED = 1_000
"""Suppliers whose state a worker holds decoded between flushes, in all its partitions; at least so many in each. One
takes some 10 KB with what is to be sent of her."""


class SuccessApp(faust.App):
    """Faust's app with the engine that its transport, store and agents meet at."""

    engine: Engine
    batch_producer: BatchProducer
    lease: Lease
    snapshots: Snapshots | None
    """None: recovery reads the whole changelog."""

    def _create_directories(self) -> None:
        """Faust keeps nothing on disk."""


def build_app(
    settings: Settings,
    clock: Clock,
    *,
    grace_ms: int | None = GRACE_MS,
    append_time: Callable[[Record], int] = log_append_time,
    new_writer: Callable[[], Writer] | None = None,
    instance_id: str | None = None,
    scoring_policy: FlushPolicy = SCORING_POLICY,
    snapshot_folder: Path | None = None,
    fail_stop: FailStop = end_process,
) -> SuccessApp:
    """Wire a worker: the scoring agent and, with `new_writer`, the intervention agent.

    `instance_id` makes it a static member of the group, which rejoins without a rebalance; no two workers
    alive may share one. `grace_ms` and `append_time` are `PartitionFold`'s. With `snapshot_folder` recovery begins
    with the snapshots there.
    """
    transport.register()
    partition_store.register()
    prefix = settings.topic_prefix
    app = SuccessApp(f"{prefix}success-worker", **_faust_settings(settings, instance_id))
    lease = Lease(SESSION_S, fail_stop)
    producer = BatchProducer(settings, lease)
    names = {full_name(prefix, name): name for name in (ACTIVITY, *INTERVENTION_TOPICS)}
    state_topic = full_name(prefix, STATE)

    table = app.Table(
        "activity-state",
        partitions=settings.partitions,
        key_type=bytes,
        value_type=bytes,
        schema=RawSchema(),
        changelog_topic=app.topic(
            state_topic,
            schema=RawSchema(),
            partitions=settings.partitions,
            acks=False,
            internal=True,
            allow_empty=True,
        ),
        recovery_buffer_size=RECOVERY_BATCHES,
    )

    def open_lane(tp: TP) -> PartitionHandler:
        name = names[tp.topic]
        if name != ACTIVITY:
            if new_writer is None:
                raise RuntimeError(f"nobody writes {tp.topic} here")
            return InterventionHandler(name, tp.partition, new_writer(), producer, prefix)
        store = cast("PartitionStore", table.data)
        capacity = max(FEWEST_DECODED, DECODED // max(1, len(store.marked())))
        fold = PartitionFold(
            tp.partition, settings.partitions, append_time, grace_ms, topic=tp.topic, capacity=capacity
        )
        fold.recover(store.partition(tp.partition))
        return ScoringHandler(fold, producer, prefix, state_topic, scoring_policy, store.wrote)

    app.lease, app.batch_producer = lease, producer
    app.snapshots = (
        Snapshots(settings, state_topic, snapshot_folder, clock.now_ms) if snapshot_folder else None
    )
    app.engine = Engine(
        open_lane,
        stateful_topic=full_name(prefix, ACTIVITY),
        compacted_topics=[
            full_name(prefix, n) for n, t in TOPICS.items() if "compact" in t.config["cleanup.policy"]
        ],
        fail_stop=lease.stop_worker,
        now_ms=clock.now_ms,
    )
    _add_agent(app, "score", [full_name(prefix, ACTIVITY)])
    if new_writer is not None:
        _add_agent(app, "intervene", [full_name(prefix, name) for name in INTERVENTION_TOPICS])
    return app


def _add_agent(app: SuccessApp, name: str, topics: list[str]) -> None:
    async def consume(stream: StreamT[Batch]) -> None:
        await app.engine.consume(stream)

    channel = app.topic(*topics, schema=RawSchema(), allow_empty=True, maxsize=QUEUED_BATCHES)
    app.agent(channel, name=name)(consume)


def _faust_settings(settings: Settings, instance_id: str | None) -> dict[str, Any]:
    return {
        "broker": [f"{transport.SCHEME}://{server}" for server in settings.kafka.split(",")],
        "broker_credentials": _credentials(settings),
        "store": f"{partition_store.SCHEME}://",
        "TableManager": PartitionTables,
        "version": 1,
        "autodiscover": False,
        "web_enabled": False,
        "topic_partitions": settings.partitions,
        "topic_allow_declare": False,
        "topic_disable_leader": True,
        "table_standby_replicas": 0,
        "processing_guarantee": "at_least_once",
        "consumer_auto_offset_reset": "earliest",
        "consumer_group_instance_id": instance_id,
        "broker_session_timeout": SESSION_S,
        "broker_heartbeat_interval": 3.0,
        "broker_rebalance_timeout": 30.0,
        "broker_commit_interval": 1.0,
        "broker_max_poll_records": 30_000,
        "consumer_max_fetch_size": 8 * 1024 * 1024,
    }


def _credentials(settings: Settings) -> Credentials | None:
    options = client_options(settings)
    context = options.get("ssl_context")
    if settings.kafka_security_protocol.startswith("SASL"):
        return SASLCredentials(
            username=settings.kafka_sasl_username,
            password=settings.kafka_sasl_password,
            mechanism=options["sasl_mechanism"],
            ssl_context=context,
        )
    return SSLCredentials(context=context) if context is not None else None
