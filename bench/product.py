"""The product's own worker on the log: a real worker process that scores, without Postgres."""

from __future__ import annotations

import asyncio
import sys

from agents.cluster.provisioning import STATE, create_topics, wanted_topics
from agents.health import stored_supplier as supplier_records
from agents.health.fold import PartitionFold
from agents.health.state_codec import newest
from bench.logs.log import Topics, by_partition, newest_values
from bench.process import complain, measured
from runtime.settings import Settings
from scoring.health.state import TRANSIENT, State
from topics.catalog import ACTIVITY, full_name

ID = "wedsync-success / full"


class Product:
    """One worker process over `supplier.activity` under the settings' prefix."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._activity = full_name(settings.topic_prefix, ACTIVITY)
        self._reference: dict[bytes, State] = {}

    def fold_in_order(self) -> None:
        """Fold the log partition by partition in this process: what every run is compared with."""
        partitions = self._settings.partitions
        for number, records in by_partition(self._settings.kafka, self._activity, partitions).items():
            fold = PartitionFold(number, partitions)
            fold.process(records)
            for supplier in fold.supplier_ids():
                state = fold.state_of(supplier)
                if state is not None:
                    self._reference[supplier.encode()] = state

    def run(self, events: int, *, options: tuple[str, ...] = ()) -> dict[str, float]:
        """Score the whole log; raises `WrongStateError` if the state it leaves is not that of the fold in order."""
        asyncio.run(create_topics(self._settings))
        command = [sys.executable, "-m", "bench.engines.scoring_worker", str(events), *options]
        report = measured(command, self._settings.as_env())
        self.check()
        self.forget()
        return {**report, "cpu_seconds": report["cpu total"]}

    def check(self) -> None:
        """Raise `WrongStateError` if the state topic does not hold what the fold in order gave."""
        topic = full_name(self._settings.topic_prefix, STATE)
        kept = newest_values(self._settings.kafka, topic, self._settings.partitions, newest)
        states = dict(supplier_records.states(kept))
        wanted = self._reference
        wrong = [key for key in wanted if key not in states or settled(states[key]) != settled(wanted[key])]
        complain(ID, wrong, states.keys() - wanted.keys(), len(wanted))

    def forget(self) -> None:
        """All that it made but the log, so that the next run begins anew."""
        prefix, topics = self._settings.topic_prefix, Topics(self._settings.kafka)
        topics.delete(lambda name: name in wanted_topics(prefix) and name != self._activity)
        topics.forget_group(f"{prefix}success-worker")


def settled(state: State) -> list[object]:
    """The fields of a state without what depends on when it was last flushed."""
    return [getattr(state, name) for name in state.__struct_fields__ if name not in TRANSIENT]
