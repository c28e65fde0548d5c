"""Taking a worker's partitions over to the version that is in force, one after the other, while they go on.

A partition switches between two batches: what was folded is flushed, the place is written to `success.rules` and acked,
and only then is anything folded by the new rules. Suppliers follow as they are touched; the others are brought up in
slices, between which the stream goes on.

What the partition's last worker may have folded, and told of, before it died is folded by the old rules first.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from aiokafka import TopicPartition

from agents.cluster.rules_log import PARTITION, RULES, Switch
from agents.health.handler import ScoringHandler
from agents.health.telling import tell
from runtime.away import set_within
from topics.catalog import ACTIVITY, full_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agents.cluster.rules_follower import RulesFollower
    from agents.engine.engine import Engine
    from agents.engine.lane import Lane
    from agents.engine.producer import BatchProducer
    from agents.health.fold import PartitionFold
    from agents.health.handler import WallClock
    from scoring.health.rules import Rules

LOOK_S = 1.0
SLICES_A_TURN = 10
"""Slices of suppliers that are brought up, and flushed, before the stream has its turn."""

logger = logging.getLogger("success.rules")


class RulesInForce:
    """What `success.rules` says, as folds take it.

    `candidates`: what a partition may have begun with, before anything was activated: what ships, and what settings
    name.
    """

    def __init__(self, follower: RulesFollower, candidates: Sequence[Rules], prefix: str) -> None:
        self._follower = follower
        self._topic = full_name(prefix, ACTIVITY)
        self._candidates = tuple(candidates)

    async def tell(self, fold: PartitionFold) -> int:
        """Tell a fold where its partition goes over to which rules, all there is by now; how far that was read.

        The first time it is told too how far others may have read before it.
        """
        if fold.is_told:
            fold.read_by_others = await self._follower.end_of(TopicPartition(self._topic, fold.partition))
        log = await self._follower.caught_up()
        tell(fold, log, self._candidates)
        return log.position


class Switcher:
    """Watches what is to be in force, and switches the lanes of a worker."""

    def __init__(
        self,
        engine: Engine,
        follower: RulesFollower,
        rules: RulesInForce,
        producer: BatchProducer,
        wall_clock: WallClock,
        prefix: str,
        name: str,
    ) -> None:
        self._engine = engine
        self._follower = follower
        self._rules = rules
        self._producer = producer
        self._wall_clock = wall_clock
        self._topic = full_name(prefix, RULES)
        self._name = name

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            try:
                more = [await self._look(lane) for lane in list(self._engine.lanes.values())]
                if any(more):
                    continue
            except Exception as error:  # noqa: BLE001 - a switch that was lost would go unnoticed
                self._engine.fail_stop("the switch of rules", error)
                return
            self._follower.news.clear()
            await set_within(self._follower.news, LOOK_S)

    async def _look(self, lane: Lane) -> bool:
        """Do one turn of what a lane needs; whether it needs more."""
        handler = lane.handler
        if not isinstance(handler, ScoringHandler) or lane.closed or self._engine.closing:
            return False
        if handler.fold.is_told or self._wanted(handler.fold) is not None:
            await lane.to_the_end(self._switch(lane, handler))
        if handler.fold.is_behind:
            await lane.to_the_end(self._bring_up(lane, handler))
        return handler.fold.is_behind and not lane.closed and not self._engine.closing

    def _wanted(self, fold: PartitionFold) -> int | None:
        """The version to which a partition is to go over now."""
        wanted = self._follower.log.wanted(fold.partition)
        return wanted.number if wanted is not None and wanted.number > fold.version else None

    async def _switch(self, lane: Lane, handler: ScoringHandler) -> None:
        async with lane.lock:
            if lane.closed or self._engine.closing:
                return
            await handler.ready()
            fold = handler.fold
            number = self._wanted(fold)
            if number is None:
                return
            await lane.flush()
            if self._engine.closing or (fold.repeats and not await self._wall_clock.is_at_the_end(lane)):
                return
            switch = await self._place_of(lane, handler, number)
            await self._producer.send(self._topic, PARTITION, [(switch.key, switch.record(), [])])
            await self._rules.tell(fold)
            logger.info(
                "partition %d goes over to version %d at offset %d", fold.partition, number, switch.offset
            )

    async def _place_of(self, lane: Lane, handler: ScoringHandler, number: int) -> Switch:
        fold = handler.fold
        through = fold.fired_to
        if (passed := await self._wall_clock.time_passed(lane)) is not None:
            through = max(through, passed)
        return Switch(
            number,
            fold.partition,
            fold.watermark + 1,
            max(0, through),
            fold.rules.digest,
            self._name,
            handler.read_to,
        )

    async def _bring_up(self, lane: Lane, handler: ScoringHandler) -> None:
        async with lane.lock:
            if lane.closed:
                return
            for number, _ in enumerate(handler.fold.bringing_up(), 1):
                if number == SLICES_A_TURN or self._engine.closing:
                    break
                await asyncio.sleep(0)
            await lane.flush()
