"""Faust's recovery, told by the store how far it reaches already, and watched: one that takes long or hangs is seen."""

from __future__ import annotations

import logging
import time
from collections import Counter
from typing import TYPE_CHECKING, Any, cast

from faust.tables.manager import TableManager
from faust.tables.recovery import Recovery, ServiceStopped
from faust.types import TP
from mode import Service

from agents.engine.engine import Engine, EngineApp

if TYPE_CHECKING:
    from agents.engine.table import PartitionStore

LOOK_S = 1.0
SAID_EVERY_S = 30.0
ANSWER_S = 90.0
"""How long one answer of Kafka's is waited for."""
STALLED_S = 120.0
"""A recovery in which nothing happened for so long ends the worker; longer than any wait for one answer of Kafka's."""

logger = logging.getLogger("success.recovery")


class PartitionRecovery(Recovery):
    """Reads of the changelog what the store does not hold yet; `Engine.recovering` says what is left."""

    async def _build_offsets(self, consumer: Any, tps: set[TP], destination: Counter[TP], title: str) -> None:
        """Set where reading begins: the offset of the last record that need not be read, or -1."""
        places = cast("dict[TP, int | None]", destination)
        for table, mine in self.actives_for_table.items():
            store = cast("PartitionStore", cast("Any", table).data)
            for tp in mine & tps:
                places[tp] = store.persisted_offset(tp)  # a Counter's update would add
        await super()._build_offsets(consumer, tps, destination, title)
        for table, mine in self.actives_for_table.items():
            cast("Any", table).data.begin({tp.partition: destination[tp] for tp in mine & tps})

    async def _wait(self, coro: Any, timeout: Any = None) -> None:  # noqa: ASYNC109 - Faust's signature
        """Wait for an answer of Kafka's. Faust takes one that does not come for a stop, and reads nothing any more."""
        try:
            await super()._wait(coro, timeout and ANSWER_S)
        except ServiceStopped:
            if not self.should_stop:
                self._engine.fail_stop(
                    f"the state cannot be recovered: no answer of Kafka for {ANSWER_S:.0f} s"
                )
            raise

    # --- the watch

    @Service.task
    async def _watch(self) -> None:
        """Tell what is left, and stop the worker when nothing happens any more."""
        watch = Watch(self._engine)
        while not self.should_stop:
            await self.sleep(LOOK_S)
            left = {tp.partition: left for tp, left in self.active_remaining().items() if left > 0}
            if not watch.look(left if self.in_recovery else None, time.monotonic()):
                await self._skip_what_no_record_fills()

    async def _skip_what_no_record_fills(self) -> None:
        """Take a partition for read whose last offsets hold no record: markers of transactions, or compacted away."""
        if not self.tables.changelog_queue.empty():
            return
        assigned = self.app.consumer.assignment()
        for tp, left in self.active_remaining().items():
            if left <= 0 or tp not in assigned:
                continue
            position = await self.app.consumer.position(tp)
            if position is not None and position > self.active_highwaters[tp]:
                self.active_offsets[tp] = self.active_highwaters[tp]

    @property
    def _engine(self) -> Engine:
        return cast("EngineApp", self.app).engine


class Watch:
    """Notices whether a recovery gets on: says so each 30 s, and stops the worker when it does not."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._last: dict[int, int] | None = None
        self._changed_at = 0.0
        self._said_at = 0.0

    def look(self, left: dict[int, int] | None, now: float) -> bool:
        """Whether something has changed since the last look; `left` is None while nothing is being recovered."""
        began = left is not None and self._last is None
        changed = left != self._last
        self._engine.recovering = self._last = left
        if changed:
            self._changed_at = now
        if left is None:
            return True
        if began:
            self._said_at = now
        elif now - self._said_at >= SAID_EVERY_S:
            self._said_at = now
            logger.info(
                "recovering: %s records of %d partitions left to read", f"{sum(left.values()):,}", len(left)
            )
        if now - self._changed_at >= STALLED_S:
            self._engine.fail_stop(
                f"the state cannot be recovered: nothing happened for {STALLED_S:.0f} s, {sum(left.values())} records "
                f"of partitions {', '.join(map(str, sorted(left))) or 'none'} left"
            )
        return changed


class PartitionTables(TableManager):
    """Faust's tables with `PartitionRecovery`."""

    @property
    def recovery(self) -> Recovery:
        """The recovery service."""
        if self._recovery is None:
            self._recovery = PartitionRecovery(self.app, self, beacon=self.beacon, loop=self.loop)
        return self._recovery
