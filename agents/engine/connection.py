"""How every Kafka client of ours connects."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaConsumer, client
from aiokafka.admin import client as admin_client
from aiokafka.helpers import create_ssl_context
from aiokafka.protocol.metadata import MetadataRequest

from agents.engine.oauth import ClientCredentials
from agents.engine.parsing import Reading, read_everything, watched
from runtime.settings import Settings

CLIENT_ID = "success-worker-2"
"""What a worker calls itself in its group; one whose name begins otherwise knows no versions of the configuration."""

FETCH_WAIT_MS = 20


def client_options(settings: Settings) -> dict[str, Any]:
    """Keyword arguments for aiokafka's clients, which from now on make no topic by asking for it."""
    ask_only()
    options: dict[str, Any] = {
        "bootstrap_servers": settings.kafka,
        "security_protocol": settings.kafka_security_protocol,
    }
    if settings.kafka_security_protocol in {"SSL", "SASL_SSL"}:
        options["ssl_context"] = create_ssl_context(
            cafile=_path(settings.kafka_ssl_cafile),
            certfile=_path(settings.kafka_ssl_certfile),
            keyfile=_path(settings.kafka_ssl_keyfile),
        )
    if settings.kafka_security_protocol.startswith("SASL"):
        options["sasl_mechanism"] = settings.kafka_sasl_mechanism or "PLAIN"
        if settings.kafka_sasl_mechanism == "OAUTHBEARER":
            return options | {"sasl_oauth_token_provider": ClientCredentials(settings)}
        options["sasl_plain_username"] = settings.kafka_sasl_username
        options["sasl_plain_password"] = settings.kafka_sasl_password
    return options


def _path(file: Path | None) -> str | None:
    return str(file) if file else None


def consumer_of(settings: Settings, reading: Reading | None = None, **options: Any) -> AIOKafkaConsumer:
    """A consumer, not yet started, that no record stops and that sees committed transactions only.

    `reading` is told which partitions can't be read, and says whether records come raw. `options` are aiokafka's.
    """
    read_everything()
    options.setdefault("isolation_level", "read_committed")
    options.setdefault("enable_auto_commit", False)
    return watched(AIOKafkaConsumer(**client_options(settings), **options), reading or Reading())


def reader_of(settings: Settings, reading: Reading | None = None, **options: Any) -> AIOKafkaConsumer:
    """A consumer, not yet started, for reading to an end; otherwise as `consumer_of`.

    A broker answers a connection's requests one after another: with Kafka's own 500 ms for a fetch that finds nothing,
    whatever is asked after the last record, where the next partition ends say, waits so long.
    """
    return consumer_of(settings, reading, fetch_max_wait_ms=FETCH_WAIT_MS, **options)


def ask_only() -> None:
    """Have aiokafka's clients ask for topics without making them.

    With Kafka's own default, `auto.create.topics.enable=true`, a topic comes into being, with one partition, when any
    client asks for it by name; aiokafka has no setting against that.
    """
    for module in (client, admin_client):
        module.MetadataRequest = partial(MetadataRequest, allow_auto_topic_creation=False)
