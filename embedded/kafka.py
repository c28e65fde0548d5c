"""The embedded Apache Kafka: one node, broker and controller in one (KRaft)."""

from __future__ import annotations

import asyncio
import base64
import logging
import shutil
import subprocess
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

from embedded.errors import StackError, StackUsageError
from embedded.jars import KAFKA_VERSION, cache_dir, java, kafka_classpath
from embedded.process import Command, answers, free_port, last_words, set_aside
from embedded.registry import DEFAULT_KAFKA_PORT, write_atomically
from embedded.training import aot_options, train_once

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

FEATURES = "bootstrap.checkpoint"
COMPILED_ONCE = "-XX:TieredStopAtLevel=1"
"""Optimizing the code of a broker that lives for minutes would cost more than it gives."""
MESSAGE_MAX_BYTES = 16 * 1024 * 1024
YEAR_MINUTES = 365 * 24 * 60

PROPERTIES = """\
# Written by `success up` at each start.
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller_port}
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
inter.broker.listener.name=PLAINTEXT
log.dirs={log_dir}
auto.create.topics.enable=false
num.partitions=1
# One node: every internal topic has one copy, and few partitions, so that it is up soon.
default.replication.factor=1
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
share.coordinator.state.topic.num.partitions=1
# A group starts at once; tests may ask for short sessions.
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
# After a kill -9 the node may come back only when its old session has ended: 9 s by default.
broker.heartbeat.interval.ms=500
broker.session.timeout.ms=5000
message.max.bytes={message_max_bytes}
replica.fetch.max.bytes={message_max_bytes}
# Recorded files carry times long past, or ahead: time alone deletes and refuses nothing unless a topic says so.
log.retention.ms=-1
log.message.timestamp.after.max.ms=9223372036854775807
# A stack that was off for weeks still knows how far its groups had read.
offsets.retention.minutes={offsets_retention_minutes}
log.cleaner.dedupe.buffer.size=33554432
"""


class Kafka:
    """The Kafka of the stack in `data_dir`; `properties` override ours, None leaves one at Kafka's own default.

    `cluster`: the id that several of them share; by default each is a cluster of its own. `short_lived`: it runs for
    minutes, and its code is compiled once only.
    """

    name = "kafka"
    title = "Kafka"
    default_port = DEFAULT_KAFKA_PORT

    def __init__(
        self,
        data_dir: Path,
        notify: Callable[[str], None],
        properties: Mapping[str, str | None] | None = None,
        cluster: str | None = None,
        *,
        short_lived: bool = False,
    ) -> None:
        self._cluster = cluster
        self._short_lived = short_lived
        self._properties = dict(properties or {})
        self.folder = data_dir / "kafka"
        self.log_dir = self.folder / "data"
        self.log = data_dir / "logs" / "kafka.log"
        self._notify = notify
        self._marker = f"-Dsuccess.stack={data_dir}"

    def prepare(self) -> None:
        """Bring the log folder in order, and learn once how to start fast."""
        self.format_if_needed()
        train_once(lambda folder: Kafka(folder, self._notify))

    def format_if_needed(self) -> None:
        """Format the log folder unless it is; one that was half-formatted is set aside."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if self.log_dir.exists() and not self._is_formatted():
            kept = set_aside(self.log_dir)
            if kept:
                self._notify(f"Kafka's data folder was half-written: moved to {kept}; Kafka begins empty")
        if not self.log_dir.exists():
            self._format()

    def command(self, port: int, jvm_options: Sequence[str] | None = None) -> Command:
        """The broker listening on `port`; its properties are written for it."""
        properties = self.folder / "server.properties"
        self._write_properties(properties, port, self.log_dir)
        jvm = ["-Xms128m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:-UsePerfData", "-Djava.awt.headless=true"]
        if self._short_lived:
            jvm.append(COMPILED_ONCE)
        jvm += aot_options() if jvm_options is None else jvm_options
        return Command(
            arguments=[java(), *jvm, self._marker, *self._java_arguments(), "kafka.Kafka", properties],
            log=self.log,
            marker=self._marker,
        )

    def is_ready(self, port: int) -> bool:
        """Whether a metadata request names a live broker."""
        return answers(port) and asyncio.run(has_broker(f"127.0.0.1:{port}"))

    def _is_formatted(self) -> bool:
        try:
            text = (self.log_dir / "meta.properties").read_text(encoding="utf-8")
        except OSError:
            return False
        keys = {line.partition("=")[0] for line in text.splitlines() if line.partition("=")[2]}
        begun = (self.log_dir / FEATURES).exists() or any(self.log_dir.glob("__cluster_metadata-0/*.log"))
        return begun and {"cluster.id", "node.id", "version", "directory.id"} <= keys

    def _format(self) -> None:
        """Format beside the final place and rename, so that an interruption leaves nothing half-done."""
        draft = self.folder / "data.new"
        if draft.exists():
            shutil.rmtree(draft)
        if not self._format_like_the_last(draft):
            self._format_anew(draft)
        draft.rename(self.log_dir)

    def _format_like_the_last(self, draft: Path) -> bool:
        """Write what the tool would, which takes a JVM a second; False if it never ran on this machine.

        A format is two files: one with ids, and the features of this version of Kafka, the same in every folder.
        """
        try:
            features = features_cache().read_bytes()
        except OSError:
            return False
        draft.mkdir()
        (draft / FEATURES).write_bytes(features)
        ids = {"cluster.id": self._cluster or new_id(), "directory.id": new_id()}
        ids |= {"node.id": self._properties.get("node.id") or "1", "version": "1"}
        text = "".join(f"{name}={value}\n" for name, value in ids.items())
        (draft / "meta.properties").write_text(text, encoding="utf-8")
        return True

    def _format_anew(self, draft: Path) -> None:
        properties = self.folder / "format.properties"
        self._write_properties(properties, DEFAULT_KAFKA_PORT, draft)
        cluster_id = self._cluster or new_id()
        tool: list[str | Path] = ["kafka.tools.StorageTool", "format", "-t", cluster_id, "-c", properties]
        # It lives for a second: less compiling, and what was noted of an earlier start, halve that.
        jvm = ["-Xmx128m", "-XX:+UseSerialGC", COMPILED_ONCE, *aot_options()]
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("wb") as log:
            done = subprocess.run(  # noqa: S603 - our own pinned program
                [java(), *jvm, *self._java_arguments(), *tool],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                check=False,
            )
        if done.returncode != 0:
            raise StackError(f"Kafka could not format {draft}: {last_words(self.log)}")
        write_atomically(features_cache(), (draft / FEATURES).read_bytes())
        properties.unlink()

    def _java_arguments(self) -> list[str]:
        return ["-cp", kafka_classpath(), "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"]

    def _write_properties(self, path: Path, port: int, log_dir: Path) -> None:
        ours = PROPERTIES.format(
            port=port,
            controller_port=free_port(),
            log_dir=as_property(log_dir),
            message_max_bytes=MESSAGE_MAX_BYTES,
            offsets_retention_minutes=YEAR_MINUTES,
        )
        kept = [line for line in ours.splitlines() if line.partition("=")[0] not in self._properties]
        others = [f"{name}={value}" for name, value in self._properties.items() if value is not None]
        path.write_text("\n".join([*kept, *others, ""]), encoding="utf-8")


def features_cache() -> Path:
    """Where the features of this version of Kafka are kept, as its own tool wrote them."""
    return cache_dir() / f"kafka-{KAFKA_VERSION}-{FEATURES}"


def new_id() -> str:
    """An id as Kafka writes them; one that begins with a dash would read as an option."""
    random = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
    return f"A{random[1:]}" if random.startswith("-") else random


def as_property(path: Path) -> str:
    """A path as Java reads it in a properties file: ASCII, backslashes and others escaped."""
    if "," in str(path):
        raise StackUsageError(f"Kafka can't use a folder with a comma in its name ({path}): give another one")
    return "".join(c if c.isascii() and c != "\\" else _escaped(c) for c in str(path))


def _escaped(char: str) -> str:
    units = char.encode("utf-16-be")
    return "".join(f"\\u{units[i : i + 2].hex()}" for i in range(0, len(units), 2))


async def has_broker(bootstrap: str) -> bool:
    """Whether the plain-text Kafka at `bootstrap` (host:port) answers a metadata request with a broker."""
    from aiokafka.client import AIOKafkaClient  # noqa: PLC0415 - slow to import, needed here only
    from aiokafka.errors import KafkaError  # noqa: PLC0415

    client = AIOKafkaClient(bootstrap_servers=bootstrap, request_timeout_ms=5000)
    its_log = logging.getLogger("aiokafka")
    level = its_log.level
    its_log.setLevel(logging.CRITICAL)  # "unable to connect" is what we are here to find out
    try:
        await client.bootstrap()
        return bool(client.cluster.brokers())
    except (KafkaError, OSError):
        return False
    finally:
        await client.close()
        its_log.setLevel(level)
