"""`success demo`: sixty days of some two hundred suppliers in three minutes, through the live code, and then today.

The worker, delivery and the API are those of production, in one process, on a clock that the demo moves: hours pass in
moments until it has caught up with the wall clock, and from then on it is the wall clock. The people react to what
reaches them, so that each message has a before and an after.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import click
import httpx2

from agents.cluster.provisioning import create_topics
from agents.delivery.round import Delivery
from agents.health.handler import POLICY as SCORING_POLICY
from agents.letters.render import Letters
from agents.worker import InProcessWorker
from api.app import build_app
from cli.dev import demo_pages
from cli.dev.demo_people import BROWSER, People, Readers, begins_at
from cli.dev.demo_screen import Screen
from cli.dev.demo_story import SARAH, Sarah
from cli.dev.live_worker import LiveWorker
from cli.dev.playback import Playback
from cli.dev.up import default_data_dir
from cli.interrupt import end_as_by_ctrl_c
from cli.policy import load_configuration
from cli.services.api import Server, listening
from embedded.process import free_port, is_free
from embedded.registry import Addresses
from embedded.stack import Stack
from replay.simulator.simulate import life
from runtime.clock import Clock, ManualClock
from runtime.configuration import Configuration
from runtime.logs import to_file
from runtime.settings import Settings
from scoring.time import DAY, HOUR
from store.database import Role, open_pool
from store.migrate import migrate

SUPPLIERS, DAYS = 200, 60
LAPSE_MINUTES = 3.0
GOES_ON_DAYS = 90
STEP_S = 1.0
"""Between two steps once the clock is the wall's."""
REFRESH_S = 0.5


@click.command()
@click.option("--suppliers", default=SUPPLIERS, show_default=True, help="How many beside the protagonist.")
@click.option(
    "--days", default=DAYS, show_default=True, type=click.IntRange(1), help="Days of the time-lapse."
)
@click.option("--minutes", default=LAPSE_MINUTES, show_default=True, help="How long the time-lapse takes.")
@click.option("--seed", default=1, show_default=True, help="Another seed, another population.")
@click.option(
    "--for", "seconds", type=float, help="Stop by itself after so many seconds (default: at Ctrl-C)."
)
def demo(suppliers: int, days: int, minutes: float, seed: int, seconds: float | None) -> None:
    """Play a population through the live code as a time-lapse, then go on in real time, until Ctrl-C."""
    end_as_by_ctrl_c()
    stack = Stack(default_data_dir() / "demo", ephemeral=True, notify=click.echo)
    click.echo("starting Kafka, Postgres and an SMTP sink …")
    addresses = stack.start()
    try:
        settings = _settings(addresses)
        to_file(stack.data_dir / "logs" / "demo.log", "demo", settings)
        migrate(settings.database_url)
        for name, address in (("page", f"{settings.public_url}/demo"), *addresses.as_json().items()):
            click.echo(f"  {name:<13} {address}")
        click.echo("")
        plan = Plan(suppliers, days, minutes * 60, seed)
        with contextlib.suppress(KeyboardInterrupt):
            asyncio.run(_play(settings, Path(addresses.mail_dir), plan, seconds))
    finally:
        click.echo("stopping …")
        stack.stop()
    click.echo(f"stopped. What was sent: {addresses.mail_dir}")


@dataclass(frozen=True)
class Plan:
    """How many suppliers, over how many days, in how many seconds."""

    suppliers: int
    days: int
    seconds: float
    seed: int


class LapseClock:
    """Simulated time: `days` pass in `seconds`, until it has caught up with the wall clock; then it is that.

    `wall`: milliseconds since the epoch, as `now_ms` gives them.
    """

    def __init__(self, begins: int, days: int, seconds: float, started: int) -> None:
        self._begins = begins
        self._rate = max(1.0, days * DAY / (seconds * 1000)) if seconds * 1000 >= 1 else None
        """None: in less than a millisecond it is the wall clock from the start."""
        self._started = started

    def at(self, wall: int) -> int:
        """What it shows when the wall clock shows `wall`."""
        if self._rate is None:
            return wall
        return min(wall, self._begins + int((wall - self._started) * self._rate))


class Show:
    """The demo at work: `play` steps until it is cancelled, or for so many seconds."""

    def __init__(
        self, playback: Playback, people: People, readers: Readers, sarah: Sarah, screen: Screen, begins: int
    ) -> None:
        self._playback, self._people, self._readers, self._sarah = playback, people, readers, sarah
        self._screen = screen
        self._now = begins
        self._refreshed = 0.0

    async def play(self, lapse: LapseClock, client: httpx2.AsyncClient, seconds: float | None) -> None:
        """Follow the clock in steps of at most an hour."""
        until = time.monotonic() + seconds if seconds is not None else None
        while until is None or time.monotonic() < until:
            wall = _wall_ms()
            shown = lapse.at(wall)
            if shown == wall:
                await self._step(client, min(wall, self._now + HOUR))
                await self._refresh(is_live=self._now == wall)
                if self._now == wall:
                    await asyncio.sleep(STEP_S)
            elif shown >= self._now + HOUR:
                await self._step(client, self._now + HOUR)
                await self._refresh(is_live=False)
            else:
                await asyncio.sleep(0.01)

    async def _step(self, client: httpx2.AsyncClient, end: int) -> None:
        entries = self._people.entries_until(end)
        await self._playback.step_if_needed(entries, end)
        self._now = end
        self._screen.events += sum(not entry.is_profile for entry in entries)
        self._readers.look(end)
        await self._readers.act(client, end)

    async def _refresh(self, *, is_live: bool) -> None:
        if time.monotonic() - self._refreshed < REFRESH_S:
            return
        told = sorted(self._sarah.told + self._readers.told, key=lambda each: each[0])
        await self._screen.refresh(self._now, told, is_live=is_live)
        self._refreshed = time.monotonic()


async def _play(settings: Settings, mail_dir: Path, plan: Plan, seconds: float | None) -> None:
    await create_topics(settings)
    begins = begins_at(_wall_ms(), plan.days)
    clock, delivery_clock = ManualClock(begins), ManualClock(begins)
    sarah = Sarah(begins)
    others = (
        life(number, plan.days, plan.seed, begins, GOES_ON_DAYS) for number in range(1, plan.suppliers + 1)
    )
    people = People([sarah, *others])
    readers = Readers(settings, mail_dir, people, SARAH.id)
    configuration = load_configuration(settings)
    async with AsyncExitStack() as stack:
        playback = await _engine(stack, settings, configuration, clock, delivery_clock)
        await stack.enter_async_context(_serving(settings, configuration, delivery_clock))
        client = await stack.enter_async_context(
            httpx2.AsyncClient(base_url=settings.public_url, headers={"User-Agent": BROWSER}, timeout=30)
        )
        pool = await open_pool(settings.database_url, Role.READER, max_size=2)
        stack.push_async_callback(pool.close)
        screen = stack.enter_context(Screen(pool, begins, plan.days, SARAH))
        show = Show(playback, people, readers, sarah, screen, begins)
        lapse = LapseClock(begins, plan.days, plan.seconds, _wall_ms())
        await show.play(lapse, client, seconds)


async def _engine(
    stack: AsyncExitStack,
    settings: Settings,
    configuration: Configuration,
    clock: ManualClock,
    delivery_clock: ManualClock,
) -> Playback:
    """The worker and delivery, started, as playback drives them."""
    pool = await open_pool(settings.database_url, Role.WRITER, max_size=6)
    stack.push_async_callback(pool.close)
    delivery = Delivery(
        settings, pool, delivery_clock, configuration.policy, letters=Letters.of(configuration)
    )
    stack.push_async_callback(delivery.aclose)
    worker = InProcessWorker(
        settings,
        clock,
        append_time=lambda _record: clock.now_ms(),
        policy=configuration.policy,
        scoring_policy=replace(SCORING_POLICY, rest=0.0, owes=False),
    )
    live = await stack.enter_async_context(LiveWorker(settings, worker))
    return Playback(live, delivery, clock, delivery_clock)


@asynccontextmanager
async def _serving(settings: Settings, configuration: Configuration, clock: Clock) -> AsyncIterator[None]:
    """The API, with the demo's own pages."""
    app = build_app(settings, clock, configuration)
    demo_pages.add(app, settings, SARAH)
    server = Server(listening(app, settings.api_host, settings.api_port))
    async with app.router.lifespan_context(app):
        serving = asyncio.create_task(server.serve())
        try:
            while not server.started:
                if serving.done():
                    await serving
                await asyncio.sleep(0.02)
            yield
        finally:
            server.should_exit = True
            await serving


def _settings(addresses: Addresses) -> Settings:
    default: int = Settings.model_fields["api_port"].default
    port = default if is_free(default) else free_port()
    return Settings(
        kafka=addresses.kafka,
        database_url=addresses.database_url,
        smtp_url=addresses.smtp,
        api_port=port,
        public_url=f"http://127.0.0.1:{port}",
    )


def _wall_ms() -> int:
    return time.time_ns() // 1_000_000
