"""The engines that `python -m bench` compares: how each is started, and where it leaves its final state."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass

from bench.logs.log import newest_values
from bench.peers import java_tools
from bench.peers.job import Job

FULL, SMALL = "full", "small"
STREAM_THREADS = 1
EXACTLY_ONCE_INTERVAL_MS = 100
"""Kafka Streams' default with exactly_once_v2."""


@dataclass(frozen=True, slots=True)
class Engine:
    """One row of the table."""

    name: str
    fold: str
    command: Callable[[Job], list[str]]
    final: Callable[[Job], dict[bytes, bytes]]
    """The packed states by key that a finished run left."""
    keeps: str
    """Where its state survives a crash."""
    limit: str
    """What limits it, for people."""
    slow: bool = False
    """Takes the short log."""
    sparse: bool = True
    """Runs on the sparse logs too."""
    own_changelog: bool = False
    """Its changelog topic is made for it."""
    restores: bool = False
    """What it knows before the first event it restores from its changelog topic; others read `Job.known`."""

    @property
    def id(self) -> str:
        """Names it on the command line and in the results."""
        return f"{self.name} / {self.fold}"


def _python(module: str) -> Callable[[Job], list[str]]:
    return lambda job: [sys.executable, "-m", f"bench.peers.{module}", job.encode()]


def _streams(guarantee: str, interval_ms: int | None) -> Callable[[Job], list[str]]:
    def command(job: Job) -> list[str]:
        interval = round(job.interval_s * 1000) if interval_ms is None else interval_ms
        arguments = [job.kafka, job.topic, job.run, job.events, guarantee, interval]
        return [*java_tools.command(), *map(str, [*arguments, job.path("state"), STREAM_THREADS])]

    return command


def _changelog(name: Callable[[Job], str]) -> Callable[[Job], dict[bytes, bytes]]:
    return lambda job: newest_values(job.kafka, name(job), job.partitions)


def fold_changelog(job: Job) -> str:
    """The changelog topic of a Kafka Streams or Faust table."""
    return f"{job.run}-fold-changelog"


def _final_file(job: Job) -> dict[bytes, bytes]:
    states = json.loads(job.path("final.json").read_text(encoding="utf-8"))
    return {key.encode(): bytes.fromhex(packed) for key, packed in states.items()}


def _quix_final(job: Job) -> dict[bytes, bytes]:
    """Its changelog's keys are `<key>|<name of the value>`."""
    kept = newest_values(job.kafka, f"changelog__{job.run}--{job.topic}--default", job.partitions)
    return {key.partition(b"|")[0]: packed for key, packed in kept.items()}


def plain_changelog(job: Job) -> str:
    """The changelog topic of a plain loop."""
    return f"{job.run}-changelog"


def _plain(fold: str, limit: str) -> Engine:
    return Engine(
        "plain loop",
        fold,
        _python("plain_loop"),
        _changelog(plain_changelog),
        "changelog topic, in batches",
        limit,
        own_changelog=True,
    )


def _bytewax(fold: str, limit: str) -> Engine:
    return Engine("Bytewax", fold, _python("bytewax_flow"), _final_file, "SQLite, each epoch", limit)


def _kafka_streams(
    guarantee: str, limit: str, *, interval_ms: int | None = None, name: str = "", sparse: bool = False
) -> Engine:
    return Engine(
        f"Kafka Streams {guarantee}{name}",
        SMALL,
        _streams(guarantee, interval_ms),
        _changelog(fold_changelog),
        "RocksDB and changelog topic",
        limit,
        sparse=sparse,
        restores=sparse,
    )


PEERS = (
    _plain(FULL, "the scoring function; a record object and a decode an event"),
    _bytewax(FULL, "the scoring function; a call into Python a supplier and batch; pickled snapshots"),
    Engine(
        "Quix Streams",
        FULL,
        _python("quix_streams"),
        _quix_final,
        "RocksDB and changelog topic",
        "its state API: a supplier's whole state is read and written at every event",
        slow=True,
        sparse=False,
    ),
    Engine(
        "naive Faust",
        FULL,
        _python("naive_faust"),
        _changelog(fold_changelog),
        "changelog topic, each event",
        "some 340 Python calls an event before the agent is reached, and a changelog record each",
        slow=True,
        sparse=False,
    ),
    _plain(SMALL, "aiokafka's record objects and JSON decoding in one thread"),
    _bytewax(SMALL, "a call into Python a supplier and batch, JSON decoding, the GIL"),
    _kafka_streams("at_least_once", "one stream thread: JSON, serdes and RocksDB behind its cache"),
    _kafka_streams(
        "exactly_once_v2",
        "as above, and a transaction every 100 ms (its default)",
        interval_ms=EXACTLY_ONCE_INTERVAL_MS,
        sparse=True,
    ),
    _kafka_streams(
        "exactly_once_v2", "as above, with transactions as rare as our flushes", name=", rare commits"
    ),
)
