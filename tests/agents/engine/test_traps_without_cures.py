"""Each trap of plain Faust bites when our cure is taken out: the tests of `test_traps.py` can fail.

A cure is undone to what vanilla does, and the trap's own test must then fail: by an assertion, by waiting in
vain, or by the worker that stops itself because another of its checks has noticed.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from faust.transport.drivers import aiokafka as driver

from agents.engine.engine import Engine
from agents.engine.failure import WorkerFailedError
from agents.engine.producer import BatchProducer
from agents.engine.table import PartitionStore
from agents.engine.transport import BatchConsumer
from agents.health.fold import PartitionFold
from agents.health.handler import WallClock
from agents.interventions.handler import InterventionHandler
from runtime.settings import Settings
from tests.agents.engine import test_traps as traps

seen = traps.seen

pytestmark = pytest.mark.stack

Undo = Callable[[pytest.MonkeyPatch], None]


def deliver_whatever_was_fetched(patch: pytest.MonkeyPatch) -> None:
    """Trap 1: nobody looks whether a seek came between fetch and delivery."""
    patch.setattr(BatchConsumer, "getmany", driver.Consumer.getmany)


def wait_for_every_message(patch: pytest.MonkeyPatch) -> None:
    """Trap 1: a rebalance waits for messages that were dropped as long as anything refers to them."""
    patch.setattr(BatchConsumer, "wait_empty", driver.Consumer.wait_empty)


def the_commit_decides(patch: pytest.MonkeyPatch) -> None:
    """Trap 3: the state does not know its offset; what lies between the commit and the changelog counts again."""
    recover = PartitionFold.recover

    def without_offsets(self: PartitionFold, encoded: dict[bytes, bytes]) -> None:
        recover(self, encoded)
        self.watermark = self._flushed_watermark = self._ahead_until = -1

    patch.setattr(PartitionFold, "recover", without_offsets)


def errors_are_acked(patch: pytest.MonkeyPatch) -> None:
    """Trap 4: an exception acks the message, and the agent goes on."""
    flush = InterventionHandler.flush

    async def flush_and_go_on(self: InterventionHandler) -> None:
        try:
            await flush(self)
        except RuntimeError:
            self._records.clear()

    patch.setattr(InterventionHandler, "flush", flush_and_go_on)


def nothing_is_dropped(patch: pytest.MonkeyPatch) -> None:
    """Trap 5: the store keeps the keys of partitions that were revoked."""

    async def keep(self: PartitionStore, *_: Any, **__: Any) -> None:
        await self._engine.close_lanes()

    async def complete(self: PartitionStore, active_tps: Any, _standby_tps: Any) -> None:
        self._engine.on_recovered({tp.partition for tp in active_tps})

    patch.setattr(PartitionStore, "on_rebalance", keep)
    patch.setattr(PartitionStore, "on_recovery_completed", complete)


def timers_go_on(patch: pytest.MonkeyPatch) -> None:
    """Trap 5: timers are not suspended in a rebalance."""
    patch.setattr(WallClock, "_may_fire", lambda *_: True)
    patch.setattr(WallClock, "is_at_the_end", _yes)
    patch.setattr(Engine, "on_sources_closed", lambda self: self.open.clear())


async def _yes(*_: Any) -> bool:
    return True


def another_partitioner(patch: pytest.MonkeyPatch) -> None:
    """Trap 5: what is sent is partitioned by a key in another encoding."""
    send = BatchProducer.send

    async def elsewhere(self: BatchProducer, topic: str, partition: int, *records: Any, **how: Any) -> None:
        await send(self, topic, (partition + 1) % 4, *records, **how)

    patch.setattr(BatchProducer, "send", elsewhere)


MISTAKES = (AttributeError, NameError, TypeError)
"""Causes that speak of the test and not of the trap: a stand-in without an argument that the product hands it."""
Trap = Callable[..., Awaitable[None]]


@pytest.mark.parametrize(
    ("undo", "trap"),
    [
        (
            deliver_whatever_was_fetched,
            traps.test_what_was_fetched_before_a_seek_is_not_delivered_after_it,
        ),
        (
            wait_for_every_message,
            traps.test_a_rebalance_does_not_wait_for_a_batch_that_was_dropped_unbegun,
        ),
        (the_commit_decides, traps.test_a_lost_commit_repeats_no_event),
        (errors_are_acked, traps.test_a_failed_write_stops_the_worker_and_the_batch_comes_again),
        (nothing_is_dropped, traps.test_two_workers_share_the_partitions_and_each_keeps_only_its_own_state),
        (timers_go_on, traps.test_timers_rest_from_the_start_of_a_rebalance_until_the_sources_are_open_again),
        (another_partitioner, traps.test_whatever_is_sent_lies_on_the_supplier_s_own_partition),
    ],
    ids=lambda value: value.__name__,
)
async def test_without_its_cure_the_trap_s_test_fails(
    settings: Settings, seen: traps.Seen, monkeypatch: pytest.MonkeyPatch, undo: Undo, trap: Trap
) -> None:
    undo(monkeypatch)
    monkeypatch.setattr("tests.agents.workers.DEADLINE_S", 8.0)
    monkeypatch.setattr(traps, "DEADLINE_S", 8.0)
    wanted = trap.__code__.co_varnames[: trap.__code__.co_argcount]
    arguments = {"settings": settings, "seen": seen, "monkeypatch": monkeypatch}
    with pytest.raises((AssertionError, TimeoutError, WorkerFailedError)) as failed:
        await trap(**{name: arguments[name] for name in wanted})
    assert not isinstance(failed.value.__cause__, MISTAKES), f"the undoing itself is wrong: {failed.value}"
