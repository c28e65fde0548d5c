"""Kafka and PostgreSQL in containers, where a Docker engine answers."""

from __future__ import annotations

import asyncio
import time
import warnings
from typing import TYPE_CHECKING

import docker
import psycopg
from docker.errors import DockerException
from testcontainers.core.container import DockerContainer

from embedded.jars import KAFKA_VERSION
from embedded.kafka import MESSAGE_MAX_BYTES, has_broker
from embedded.process import free_port

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import ExitStack

KAFKA_IMAGE = f"apache/kafka:{KAFKA_VERSION}"
POSTGRES_IMAGE = "postgres:18"
KAFKA_OPTIONS = {
    "process.roles": "broker,controller",
    "node.id": 1,
    "controller.quorum.voters": "1@localhost:9093",
    "controller.listener.names": "CONTROLLER",
    "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
    "auto.create.topics.enable": "false",
    "offsets.topic.replication.factor": 1,
    "transaction.state.log.replication.factor": 1,
    "transaction.state.log.min.isr": 1,
    "group.initial.rebalance.delay.ms": 0,
    "group.min.session.timeout.ms": 1000,
    "message.max.bytes": MESSAGE_MAX_BYTES,
    "log.retention.ms": -1,
    "log.message.timestamp.after.max.ms": 2**63 - 1,
}


def servers_in_containers(cleanup: ExitStack) -> tuple[str, str] | None:
    """Bootstrap servers and database URL of two containers, removed by `cleanup`.

    None where no Docker engine answers, or where it can't get the images (no network): the embedded stack
    serves then.
    """
    if not docker_answers():
        return None
    try:
        return _start(cleanup)
    except DockerException as error:
        warnings.warn(f"Docker answers but can't serve, so the embedded stack does: {error}", stacklevel=2)
        return None


def docker_answers() -> bool:
    """Whether a Docker engine runs here and lets us in."""
    try:
        client = docker.from_env(timeout=5)
    except DockerException:
        return False
    try:
        return bool(client.ping())
    except (DockerException, OSError):
        return False
    finally:
        client.close()


def _start(cleanup: ExitStack) -> tuple[str, str]:
    port = free_port()
    kafka = DockerContainer(KAFKA_IMAGE).with_bind_ports(port, port)
    host = kafka.get_docker_client().host()
    listeners = {
        "listeners": f"PLAINTEXT://0.0.0.0:{port},CONTROLLER://localhost:9093",
        "advertised.listeners": f"PLAINTEXT://{host}:{port}",
    }
    for name, value in (KAFKA_OPTIONS | listeners).items():
        kafka.with_env("KAFKA_" + name.upper().replace(".", "_"), str(value))
    cleanup.enter_context(kafka)
    postgres = DockerContainer(POSTGRES_IMAGE).with_exposed_ports(5432)
    postgres.with_env("POSTGRES_HOST_AUTH_METHOD", "trust").with_env("POSTGRES_DB", "success")
    cleanup.enter_context(postgres)
    url = f"postgresql://postgres@{host}:{postgres.get_exposed_port(5432)}/success"
    _poll(lambda: asyncio.run(has_broker(f"{host}:{port}")), "Kafka's container")
    _poll(lambda: _answers(url), "PostgreSQL's container")
    return f"{host}:{port}", url


def _answers(url: str) -> bool:
    try:
        with psycopg.connect(url, connect_timeout=3):
            return True
    except psycopg.OperationalError:
        return False


def _poll(holds: Callable[[], bool], name: str) -> None:
    deadline = time.monotonic() + 120
    while not holds():
        if time.monotonic() > deadline:
            raise DockerException(f"{name} did not answer within 120 s")
        time.sleep(0.2)
