"""What goes wrong out there, each thing done to real processes and undone again."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass

import psutil
import psycopg

from tests.chaos.mail_tap import Mood
from tests.chaos.servers import Server
from tests.chaos.workers import ServiceProcess, WorkerProcess
from tests.chaos.world import World

Struck = Coroutine[None, None, None]
ROOT = os.name == "posix" and os.geteuid() == 0


@dataclass(frozen=True)
class Fault:
    """One thing that goes wrong, and ends."""

    name: str
    kind: str
    strike: Callable[[World, float], Struck]
    """With the seconds that it lasts; returns when it is over."""
    long_s: float = 0.0
    """How long it lasts in the long form."""


async def killed(process: ServiceProcess) -> None:
    """A service's own process dies; its supervisor starts another."""
    await process.kill_child()


async def frozen(process: ServiceProcess, seconds: float) -> None:
    """A service's processes stand still."""
    family = [process.supervisor, *process.supervisor.children(recursive=True)]
    for each in family:
        with suppress(psutil.NoSuchProcess):
            each.suspend()
    try:
        await asyncio.sleep(seconds)
    finally:
        for each in family:
            with suppress(psutil.NoSuchProcess):
                each.resume()


def worker_killed(world: World, _seconds: float) -> Struck:
    return killed(world.rng.choice(world.workers))


def worker_frozen(world: World, seconds: float) -> Struck:
    return frozen(world.rng.choice(world.workers), seconds)


def deliver_killed(world: World, _seconds: float) -> Struck:
    assert world.deliver is not None
    return killed(world.deliver)


def deliver_frozen(world: World, seconds: float) -> Struck:
    assert world.deliver is not None
    return frozen(world.deliver, seconds)


def api_frozen(world: World, seconds: float) -> Struck:
    assert world.api is not None
    return frozen(world.api, seconds)


async def api_killed(world: World, _seconds: float) -> None:
    """The platform starts it again."""
    assert world.api is not None
    world.api.kill_for_good()
    world.start_api()


async def worker_joins(world: World, _seconds: float) -> None:
    """Partitions move to a third worker, which stays."""
    world.workers.append(WorkerProcess(world.settings, world.log_of("worker")))
    await world.workers[-1].ready()


async def worker_leaves(world: World, _seconds: float) -> None:
    """The newest one, if there are more than two, else one that is started again elsewhere."""
    leaves = world.workers.pop()
    await leaves.child()  # before it has one, nobody there hears a wish to stop
    assert await leaves.stop() == 0, leaves.log()
    if len(world.workers) < 2:
        world.workers.append(WorkerProcess(world.settings, world.log_of("worker")))


async def server_killed(server: Server, seconds: float) -> None:
    """Kill -9; the platform starts it again."""
    await asyncio.to_thread(server.kill)
    await asyncio.sleep(seconds)
    await asyncio.to_thread(server.start)


async def server_frozen(server: Server, seconds: float) -> None:
    """It hangs."""
    server.freeze()
    try:
        await asyncio.sleep(seconds)
    finally:
        server.thaw()


def broker_killed(world: World, seconds: float) -> Struck:
    return server_killed(world.rng.choice(world.servers.kafkas), seconds)


def broker_frozen(world: World, seconds: float) -> Struck:
    return server_frozen(world.rng.choice(world.servers.kafkas), seconds)


def postgres_killed(world: World, seconds: float) -> Struck:
    return server_killed(world.servers.postgres, seconds)


def postgres_frozen(world: World, seconds: float) -> Struck:
    return server_frozen(world.servers.postgres, seconds)


async def postgres_read_only(world: World, seconds: float) -> None:
    """As after a failover to a standby."""
    await asyncio.to_thread(world.servers.set_read_only, True)
    try:
        await asyncio.sleep(seconds)
    finally:
        await asyncio.to_thread(world.servers.set_read_only, False)


async def disk_full(world: World, seconds: float) -> None:
    """Postgres can write nothing; where that ends it, the platform starts it again once there is room."""
    disk, server = world.servers.disk, world.servers.postgres
    assert disk is not None
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        await asyncio.to_thread(disk.fill)  # again: what it lets go of is filled as well
        await asyncio.to_thread(write_much, world.settings.database_url)
        await asyncio.sleep(0.5)
    disk.clear()
    if not server.is_alive():
        await asyncio.to_thread(server.start)


def write_much(database_url: str) -> None:
    """Use up what room Postgres had kept; it refuses or ends, or the disk was not full."""
    with suppress(psycopg.Error), psycopg.connect(database_url, connect_timeout=2, autocommit=True) as conn:
        conn.execute("SET statement_timeout = '5s'")
        conn.execute(
            "CREATE UNLOGGED TABLE chaos AS SELECT repeat('x', 1000) FROM generate_series(1, 100000)"
        )
        conn.execute("DROP TABLE chaos")
        raise AssertionError("the disk was not full")


def mail_server(mood: Mood) -> Callable[[World, float], Struck]:
    async def struck(world: World, seconds: float) -> None:
        world.tap.set_mood(mood)
        try:
            await asyncio.sleep(seconds)
        finally:
            world.tap.set_mood(Mood.WELL)

    return struck


def clock_wrong(by_s: float) -> Callable[[World, float], Struck]:
    async def struck(world: World, seconds: float) -> None:
        clock = world.rng.choice(world.clocks)
        clock.set(by_s)
        try:
            await asyncio.sleep(seconds)
        finally:
            clock.set(0.0)

    return struck


FAULTS = (
    Fault("worker killed", "kill -9", worker_killed),
    Fault("delivery killed", "kill -9", deliver_killed),
    Fault("API killed", "kill -9", api_killed),
    Fault("worker frozen", "freeze", worker_frozen, 25.0),
    Fault("delivery frozen", "freeze", deliver_frozen, 16.0),
    Fault("API frozen", "freeze", api_frozen, 16.0),
    Fault("worker joins", "rebalance", worker_joins),
    Fault("worker leaves", "rebalance", worker_leaves),
    Fault("worker leaves and another comes", "rebalance", worker_leaves),
    Fault("broker killed", "broker", broker_killed, 5.0),
    Fault("broker frozen", "broker", broker_frozen, 16.0),
    Fault("broker killed again", "broker", broker_killed, 1.0),
    Fault("Postgres killed", "Postgres", postgres_killed, 5.0),
    Fault("Postgres frozen", "Postgres", postgres_frozen, 16.0),
    Fault("Postgres read-only", "Postgres", postgres_read_only, 25.0),
    Fault("mail server refuses", "SMTP", mail_server(Mood.REFUSES), 10.0),
    Fault("mail server stalls", "SMTP", mail_server(Mood.STALLS), 10.0),
    Fault("mail server drops after DATA", "SMTP", mail_server(Mood.DROPS_AFTER_DATA), 5.0),
    Fault("disk full for a moment", "disk", disk_full, 2.0),
    Fault("disk full", "disk", disk_full, 5.0),
    Fault("disk full for long", "disk", disk_full, 10.0),
    Fault("clock 10 s fast", "clock", clock_wrong(10.0), 15.0),
    Fault("clock 10 s slow", "clock", clock_wrong(-10.0), 15.0),
    Fault("clock 1 h fast", "clock", clock_wrong(3600.0), 10.0),
)
"""Three of each kind; repeats and reorderings come all the time."""
