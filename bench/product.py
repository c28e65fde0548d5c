"""The product's own worker on a log: its process without the intervention agent, and the state that it leaves."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import uuid
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from agents.cluster.provisioning import STATE, create_topics, wanted_topics
from agents.health import stored_supplier as supplier_records
from agents.health.fold import PartitionFold
from agents.health.state_codec import StateHeader, newest
from bench.logs.log import Topics, by_partition, load, newest_values
from bench.process import ProcessFailedError, complain
from bench.scale.suppliers import EVENTS_EACH, SAMPLE, changelog, realistic
from embedded.process import free_port
from runtime.settings import Settings
from scoring.health.state import TRANSIENT, State, decode, encode, forget_told
from topics.catalog import ACTIVITY, full_name

ID = "wedsync-success / full"
STOP_S = 60.0
QUIET = {"SUCCESS_LOG_LEVEL": "warning"}


class ScoringProcess:
    """A `bench.scoring_process`, imported and waiting for `go`."""

    def __init__(self, settings: Settings, *options: str, python: str = "") -> None:
        self._process = subprocess.Popen(  # noqa: S603 - our own command
            [python or sys.executable, "-m", "bench.scoring_process", *options],
            env={**os.environ, **settings.as_env(), **QUIET, "SUCCESS_METRICS_PORT": str(free_port())},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.report()

    def go(self) -> None:
        """Have it join the group."""
        assert self._process.stdin is not None  # noqa: S101 - PIPE above
        self._process.stdin.write("go\n")
        self._process.stdin.flush()

    def report(self) -> Any:
        """Wait for what it says next: see there."""
        assert self._process.stdout is not None  # noqa: S101 - PIPE above
        line = self._process.stdout.readline()
        if not line:
            raise ProcessFailedError(f"a scoring process ended with {self._process.wait()}")
        return json.loads(line)

    def stop(self) -> None:
        """Have it leave; raises if it ended otherwise."""
        self._process.communicate(timeout=STOP_S)
        if self._process.returncode:
            raise ProcessFailedError(f"a scoring process ended with {self._process.returncode}")

    def kill(self) -> None:
        """Leave nothing behind."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.communicate()


@contextmanager
def scoring(settings: Settings, *options: str, python: str = "") -> Iterator[ScoringProcess]:
    """One that has joined on the way; at the end it is stopped, or killed after an error."""
    process = ScoringProcess(settings, *options, python=python)
    try:
        process.go()
        yield process
        process.stop()
    finally:
        process.kill()


def new_settings(kafka: str, partitions: int = 8, **more: Any) -> Settings:
    """Settings with topics of their own."""
    prefix = f"scale{uuid.uuid4().hex[:8]}."
    settings = Settings(kafka=kafka, topic_prefix=prefix, partitions=partitions, **more)
    asyncio.run(create_topics(settings))
    return settings


class Product:
    """One worker process over `supplier.activity` under the settings' prefix."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._activity = full_name(settings.topic_prefix, ACTIVITY)
        self._state = full_name(settings.topic_prefix, STATE)
        self._known: list[State] = []
        self._suppliers = 0
        self._reference: dict[bytes, bytes] = {}

    def fold_in_order(self, known: int = 0, until_ms: int | None = None) -> None:
        """Fold the log partition by partition in this process: what every run is compared with.

        `known`: suppliers of whom there is a state before the first event, as of `until_ms`.
        """
        self._known = realistic(SAMPLE, EVENTS_EACH, until_ms) if known else []
        self._suppliers = known
        partitions = self._settings.partitions
        states: defaultdict[int, dict[bytes, bytes]] = defaultdict(dict)
        for number, key, value in self._before():
            states[number][key] = value
        for number, records in by_partition(self._settings.kafka, self._activity, partitions).items():
            fold = PartitionFold(number, partitions)
            fold.recover(states.pop(number, {}))
            fold.process(records)
            for supplier in fold.supplier_ids():
                state = fold.state_of(supplier)
                if state is not None:
                    forget_told(state)
                    self._reference[supplier.encode()] = encode(state)

    def _before(self) -> Iterator[tuple[int, bytes, bytes]]:
        """(partition, key, value) of the state topic before the first event."""
        if self._known:
            yield from changelog(self._known, self._suppliers, self._settings.partitions, 0)

    def run(self, events: int, *, options: tuple[str, ...] = (), python: str = "") -> dict[str, float]:
        """Score the whole log; raises `WrongStateError` if the state it leaves is not that of the fold in order."""
        asyncio.run(create_topics(self._settings))
        asyncio.run(load(self._settings, self._state, self._before()))
        with scoring(self._settings, "--events", str(events), *options, python=python) as process:
            process.report()  # it reads its partitions
            took: dict[str, float] = process.report()
        self.check()
        self.forget()
        return took

    def check(self) -> None:
        """Raise `WrongStateError` if the state topic does not hold what the fold in order gave."""
        kept = newest_values(self._settings.kafka, self._state, self._settings.partitions, newest)
        wanted, found = self._reference, {key for key in kept if supplier_records.is_supplier(key)}
        wrong = [key for key, body in wanted.items() if key not in found or not _same(kept, key, body)]
        complain(ID, wrong, found - wanted.keys(), len(wanted))

    def forget(self) -> None:
        """All that it made but the log, so that the next run begins anew."""
        prefix, topics = self._settings.topic_prefix, Topics(self._settings.kafka)
        topics.delete(lambda name: name in wanted_topics(prefix) and name != self._activity)
        topics.forget_group(f"{prefix}success-worker")


def _same(kept: dict[bytes, bytes], key: bytes, wanted: bytes) -> bool:
    """Whether the state topic has this state of a supplier, whenever it was flushed."""
    if StateHeader.body(kept[key]) == wanted:
        return True
    state = supplier_records.read(kept, key)
    return state is not None and settled(state) == settled(decode(wanted))


def settled(state: State) -> list[object]:
    """The fields of a state without what depends on when it was last flushed."""
    return [getattr(state, name) for name in state.__struct_fields__ if name not in TRANSIENT]
