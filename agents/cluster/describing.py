"""Asking Kafka what topics there are without making any: many clusters make a topic that is asked for by name."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, Any, ClassVar

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import for_code
from aiokafka.protocol.abstract import AbstractType
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.metadata import MetadataRequest_v4, MetadataRequest_v5
from aiokafka.protocol.types import (
    Boolean,
    CompactArray,
    CompactString,
    Int16,
    Int32,
    Schema,
    TaggedFields,
)

from agents.engine.connection import client_options
from runtime.quiet import without_logs

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from runtime.settings import Settings

_NO_ERROR = 0
_UNKNOWN_TOPIC = 3
_LEADER_NOT_AVAILABLE = 5
_ID_BYTES = 16
NO_ID = ""


class ClusterError(Exception):
    """The cluster can't be used as it is; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Described:
    """A topic as the cluster has it."""

    id: str
    """Which of all topics that ever had its name this is (KIP-516), in hex; NO_ID on a broker before Kafka 2.8."""
    partitions: int
    replicas: int
    ready: bool
    """Every partition has a leader."""


class _Id(AbstractType[bytes]):  # type: ignore[misc]
    """Sixteen bytes."""

    @classmethod
    def encode(cls, value: bytes) -> bytes:
        return value

    @classmethod
    def decode(cls, data: BytesIO) -> bytes:
        return data.read(_ID_BYTES)


class _Answer(Response):  # type: ignore[misc]
    """Kafka's `MetadataResponse`, the first version with ids."""

    API_KEY = 3
    API_VERSION = 10
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "brokers",
            CompactArray(
                ("node_id", Int32),
                ("host", CompactString("utf-8")),
                ("port", Int32),
                ("rack", CompactString("utf-8")),
                ("tags", TaggedFields),
            ),
        ),
        ("cluster_id", CompactString("utf-8")),
        ("controller_id", Int32),
        (
            "topics",
            CompactArray(
                ("error_code", Int16),
                ("topic", CompactString("utf-8")),
                ("topic_id", _Id),
                ("is_internal", Boolean),
                (
                    "partitions",
                    CompactArray(
                        ("error_code", Int16),
                        ("partition", Int32),
                        ("leader", Int32),
                        ("leader_epoch", Int32),
                        ("replicas", CompactArray(Int32)),
                        ("isr", CompactArray(Int32)),
                        ("offline_replicas", CompactArray(Int32)),
                        ("tags", TaggedFields),
                    ),
                ),
                ("authorized_operations", Int32),
                ("tags", TaggedFields),
            ),
        ),
        ("authorized_operations", Int32),
        ("tags", TaggedFields),
    )


class _Question(RequestStruct):  # type: ignore[misc]
    """Kafka's `MetadataRequest`, the first version with ids."""

    API_KEY = 3
    API_VERSION = 10
    FLEXIBLE_VERSION = True
    RESPONSE_TYPE = _Answer
    SCHEMA = Schema(
        (
            "topics",
            CompactArray(("topic_id", _Id), ("topic", CompactString("utf-8")), ("tags", TaggedFields)),
        ),
        ("allow_auto_topic_creation", Boolean),
        ("include_cluster_authorized_operations", Boolean),
        ("include_topic_authorized_operations", Boolean),
        ("tags", TaggedFields),
    )


class Describe(Request[MetadataRequest_v4 | MetadataRequest_v5 | _Question]):  # type: ignore[misc]
    """Asks for these topics and makes none; aiokafka's own knows no ids."""

    API_KEY: ClassVar[int] = 3

    def __init__(self, names: Iterable[str]) -> None:
        self._names = list(names)

    def build(self, request_struct_class: type[RequestStruct]) -> Any:
        """The newest version that the broker knows too."""
        if request_struct_class is _Question:
            topics: list[Any] = [(bytes(_ID_BYTES), name, {}) for name in self._names]
            return _Question(topics, False, False, False, {})
        return request_struct_class(self._names, False)


@asynccontextmanager
async def asking(settings: Settings) -> AsyncIterator[AIOKafkaAdminClient]:
    """A client for questions about the cluster; a KafkaConnectionError says that nobody is there."""
    admin = AIOKafkaAdminClient(**client_options(settings))
    try:
        with without_logs("aiokafka"):  # what it logs when nobody is there, its error says
            await admin.start()
        yield admin
    finally:
        await admin.close()


async def describe(admin: AIOKafkaAdminClient, names: Iterable[str]) -> dict[str, Described]:
    """Those of the topics (full names) that exist; ClusterError where Kafka won't tell."""
    answer: Any = await admin._send_request(Describe(names))  # noqa: SLF001 - the client has no request with ids
    return described(answer.to_object()["topics"])


async def describe_all(admin: AIOKafkaAdminClient, names: Collection[str]) -> dict[str, Described]:
    """All of the topics (full names); ClusterError where one is missing or Kafka won't tell."""
    found = await describe(admin, names)
    if missing := sorted(set(names) - found.keys()):
        raise ClusterError(f"no topic {', '.join(missing)}: run `success migrate`")
    return found


def described(topics: Iterable[dict[str, Any]]) -> dict[str, Described]:
    """What an answer says of those topics that exist."""
    found = {}
    for topic in topics:
        partitions = topic["partitions"]
        if topic["error_code"] in {_UNKNOWN_TOPIC, _LEADER_NOT_AVAILABLE}:
            continue
        if topic["error_code"] != _NO_ERROR:
            raise _refused(f"describe topic {topic['topic']}", topic["error_code"])
        found[topic["topic"]] = Described(
            id=topic.get("topic_id", b"").hex() or NO_ID,
            partitions=len(partitions),
            replicas=max(len(partition["replicas"]) for partition in partitions),
            ready=all(partition["leader"] >= 0 for partition in partitions),
        )
    return found


def _refused(what: str, code: int, message: str | None = None) -> ClusterError:
    """Kafka's error as the cause of ours."""
    cause = for_code(code)()
    error = ClusterError(f"Kafka won't {what}: {message or type(cause).__name__}")
    error.__cause__ = cause
    return error


@dataclass(frozen=True, slots=True)
class Setting:
    """The value of a topic's setting in force, and whether it was made on the topic itself (else: the broker's)."""

    value: str
    on_topic: bool


_SET_ON_TOPIC = 1  # Kafka's config source DYNAMIC_TOPIC_CONFIG


async def settings_of(admin: AIOKafkaAdminClient, names: Iterable[str]) -> dict[str, dict[str, Setting]]:
    """All settings of existing topics (full names); ClusterError where Kafka won't tell."""
    found: dict[str, dict[str, Setting]] = {}
    resources = [ConfigResource(ConfigResourceType.TOPIC, name) for name in names]
    for response in await admin.describe_configs(resources) if resources else ():
        answer: Any = response
        for code, message, _kind, name, entries in answer.resources:
            if code != _NO_ERROR:
                raise _refused(f"tell the settings of topic {name}", code, message)
            found[name] = {entry[0]: Setting(entry[1], entry[3] == _SET_ON_TOPIC) for entry in entries}
    return found
