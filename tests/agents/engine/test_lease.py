"""A worker that was frozen too long must not send another byte."""

from __future__ import annotations

import asyncio
from time import monotonic

import pytest

from agents.engine.lease import FRACTION_OF_SESSION, Lease
from agents.engine.producer import BatchProducer
from runtime.settings import Settings

SESSION_S = 10.0


class Frozen(Exception):  # noqa: N818 - what happened, not an error of ours
    """Stands in for the end of the process."""


class Time:
    """A monotonic clock that tests move."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def stop(reason: str, error: BaseException | None = None) -> None:
    raise Frozen(reason) from error


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def lease(time: Time) -> Lease:
    return Lease(SESSION_S, stop, time)


def test_a_lease_ends_before_the_broker_gives_the_partitions_away(lease: Lease) -> None:
    assert lease.duration_s == SESSION_S * FRACTION_OF_SESSION < SESSION_S


def test_before_its_first_renewal_a_lease_stops_nobody(lease: Lease, time: Time) -> None:
    time.now += 1_000
    lease.check()


def test_a_loop_that_runs_keeps_its_lease_for_good(lease: Lease, time: Time) -> None:
    for _ in range(1_000):
        lease.renew()
        time.now += lease.duration_s
        lease.check()


def test_after_a_longer_freeze_the_worker_is_stopped_and_told_for_how_long(lease: Lease, time: Time) -> None:
    lease.renew()
    time.now += lease.duration_s + 0.1
    with pytest.raises(Frozen, match=r"frozen for 6\.1 s, longer than its lease of 6\.0 s"):
        lease.check()


def test_an_error_is_put_down_to_the_freeze_that_led_to_it(lease: Lease, time: Time) -> None:
    lease.renew()
    with pytest.raises(Frozen, match=r"^the server closed the connection$"):
        lease.stop_worker("the server closed the connection")
    time.now += lease.duration_s + 0.1
    with pytest.raises(Frozen, match=r"frozen for 6\.1 s"):
        lease.stop_worker("the server closed the connection")


def test_a_thawed_worker_cannot_renew_what_has_run_out(lease: Lease, time: Time) -> None:
    lease.renew()
    time.now += lease.duration_s + 0.1
    lease.renew()
    with pytest.raises(Frozen):
        lease.check()


async def test_a_loop_that_is_busy_for_longer_than_the_lease_is_not_taken_for_frozen(lease: Lease) -> None:
    lease._monotonic = monotonic
    lease.duration_s = 0.3
    keeping = asyncio.create_task(lease.keep())
    await asyncio.sleep(0)
    busy_until = monotonic() + 3 * lease.duration_s
    while monotonic() < busy_until:  # nothing else of the loop runs
        pass
    lease.check()
    keeping.cancel()


async def test_it_is_renewed_well_before_it_ends(lease: Lease, time: Time) -> None:
    lease.duration_s = 0.1
    keeping = asyncio.create_task(lease.keep())
    await asyncio.sleep(0)
    time.now += 0.09
    renewed = lease._renewed_at
    async with asyncio.timeout(10):
        while lease._renewed_at == renewed:  # noqa: ASYNC110 - nothing tells of a renewal
            await asyncio.sleep(0.005)
    time.now += 0.09
    lease.check()
    keeping.cancel()


@pytest.mark.stack
async def test_nothing_is_sent_after_the_lease_has_run_out(
    settings: Settings, lease: Lease, time: Time
) -> None:
    producer = BatchProducer(settings, lease)
    await producer.start()
    lease.renew()
    time.now += lease.duration_s + 0.1
    topic = f"{settings.topic_prefix}success.health"
    with pytest.raises(Frozen):
        await producer.send(topic, 0, [(b"k", b"v", [])])
    await producer.stop()
    assert producer.last_offset == {}
