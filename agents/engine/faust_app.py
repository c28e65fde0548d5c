"""Faust's app as the engine sets it: our transport, store and recovery, and agents that consume whole batches."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

import faust
from faust.auth import Credentials, OAuthCredentials, SASLCredentials, SSLCredentials
from faust.types import StreamT

from agents.engine import table as partition_store
from agents.engine import transport
from agents.engine.connection import CLIENT_ID, client_options
from agents.engine.engine import Engine
from agents.engine.lease import Lease
from agents.engine.producer import BatchProducer
from agents.engine.record import Batch
from agents.engine.recovery import PartitionTables
from agents.engine.table import PartitionStore, RawSchema
from runtime.settings import Settings

SESSION_S = 10.0
QUEUED_BATCHES = 16
RECOVERY_BATCHES = 8


class BatchApp(faust.App):
    """Faust's app with the engine that its transport, store and agents meet at.

    `instance_id` makes it a static member of the group, which rejoins without a rebalance; no two workers alive may
    share one. Nothing connects before it is started. Set `engine`, `batch_producer` and `lease` before that.
    """

    engine: Engine
    batch_producer: BatchProducer
    lease: Lease

    def __init__(self, group: str, settings: Settings, instance_id: str | None) -> None:
        transport.register()
        partition_store.register()
        self._partitions = settings.partitions
        self._state: Any = None
        super().__init__(group, **_faust_settings(settings, instance_id))

    def add_agent(self, name: str, topics: Iterable[str]) -> None:
        """Have the batches of these topics (full names) consumed by the engine."""

        async def consume(stream: StreamT[Batch]) -> None:
            await self.engine.consume(stream)

        channel = self.topic(*topics, schema=RawSchema(), allow_empty=True, maxsize=QUEUED_BATCHES)
        self.agent(channel, name=name)(consume)

    def add_state(self, name: str, topic: str) -> None:
        """Keep the state of each partition in a table whose changelog is this topic (full name)."""
        changelog = self.topic(
            topic,
            schema=RawSchema(),
            partitions=self._partitions,
            acks=False,
            internal=True,
            allow_empty=True,
        )
        self._state = self.Table(
            name,
            partitions=self._partitions,
            key_type=bytes,
            value_type=bytes,
            schema=RawSchema(),
            changelog_topic=changelog,
            recovery_buffer_size=RECOVERY_BATCHES,
        )

    @property
    def states(self) -> PartitionStore:
        """The store of the table that `add_state` made."""
        return cast("PartitionStore", self._state.data)

    def _create_directories(self) -> None:
        """Faust keeps nothing on disk."""


def _faust_settings(settings: Settings, instance_id: str | None) -> dict[str, Any]:
    return {
        "broker": [f"{transport.SCHEME}://{server}" for server in settings.kafka.split(",")],
        "broker_client_id": CLIENT_ID,
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
    if provider := options.get("sasl_oauth_token_provider"):
        return OAuthCredentials(oauth_cb=provider, ssl_context=context)
    if settings.kafka_security_protocol.startswith("SASL"):
        return SASLCredentials(
            username=settings.kafka_sasl_username,
            password=settings.kafka_sasl_password,
            mechanism=options["sasl_mechanism"],
            ssl_context=context,
        )
    return SSLCredentials(context=context) if context is not None else None
