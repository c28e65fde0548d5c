"""Kafka and PostgreSQL in containers, where a Docker engine answers."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import docker
from docker.errors import DockerException
from testcontainers.core.container import DockerContainer
from testcontainers.core.waiting_utils import wait_for_logs
from testcontainers.postgres import PostgresContainer

from cli.stack_jars import KAFKA_VERSION
from cli.stack_kafka import MESSAGE_MAX_BYTES
from cli.stack_process import free_port

if TYPE_CHECKING:
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
    postgres = PostgresContainer(POSTGRES_IMAGE, username="postgres", dbname="success", driver=None)
    cleanup.enter_context(postgres)
    wait_for_logs(kafka, "Kafka Server started", timeout=120)
    return f"{host}:{port}", postgres.get_connection_url()
