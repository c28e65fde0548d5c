"""Every page says as of when it is and what lags, and no page says that there is none where nobody knows."""

from __future__ import annotations

import asyncio
import re
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import templates
from api.dashboard.fresh import freshness
from api.dashboard.fresh.freshness import KNOWN_S, NEW_S, Freshness, amount
from api.dashboard.fresh.lag import Lag, TopicLag
from runtime.clock import ManualClock
from runtime.settings import Settings
from scoring.time import DAY
from store.times import to_time
from tests.agents.delivery.world import NOW, World
from tests.api.dashboard.conftest import Desk, serving
from topics.time import format_time

UNCERTAIN = "Nobody&#39;s level has changed"


def lagging(behind: int, workers: int = 1) -> Lag:
    return Lag((TopicLag("supplier.activity", 9, behind), TopicLag("success.dead-letters", 9, None)), workers)


@pytest.mark.parametrize(
    ("events", "words"),
    [
        (0, "0 events"),
        (1, "1 event"),
        (12_345, "12,345 events"),
        (949_999, "949,999 events"),
        (999_999, "1 million events"),
        (1_600_000, "1.6 million events"),
        (1_234_567_890, "1,234.6 million events"),
    ],
)
def test_events_are_counted_in_words(events: int, words: str) -> None:
    assert amount(events) == words


@pytest.mark.parametrize(
    ("lag", "words", "is_current"),
    [
        (lagging(0), "", True),
        (lagging(1), "the worker is 1 event behind", True),
        (lagging(1_600_000), "the worker is 1.6 million events behind", False),
        (lagging(2, workers=3), "the 3 workers are 2 events behind", True),
        (lagging(0, workers=0), "the worker is away", False),
        (lagging(1, workers=0), "the worker is away, and 1 event waits for it", False),
        (lagging(12, workers=0), "the worker is away, and 12 events wait for it", False),
        (Lag(), "how far the worker is behind can't be read", False),
    ],
)
def test_what_lags_is_said_as_it_is(lag: Lag, words: str, is_current: bool) -> None:
    found = Freshness(lag=lag)
    assert (found.lags, found.is_current) == (words, is_current)


def test_the_year_is_said_where_it_is_another() -> None:
    found = Freshness(datetime(2026, 11, 21, 14, 2, tzinfo=UTC))
    assert found.when(datetime(2026, 11, 30, tzinfo=UTC)) == "21 November 14:02 UTC"
    assert found.when(datetime(2027, 1, 2, tzinfo=UTC)) == "21 November 2026 14:02 UTC"


HOLDS_ANYWAY = (
    "Asking Kafka", "Every message was sent, or still waits", "Its value is", "No calls are booked for today",
    "No message was held back today", "No other policy is being tried", "No supplier has a score yet",
    "No template has variants", "Nobody can sign in yet", "Nobody would", "Nobody's name, address or id",
    "Nothing is otherwise here", "Nothing was activated yet", "Nothing was tried yet", "Nothing yet: it says",
    "Nothing.", "Nothing: it says", "There is no holdout", "There are none: every record that was read",
    "This letter is not published from here",
)  # fmt: skip
"""What is true of what is stored, whatever the worker does."""


def test_what_there_is_not_is_said_by_the_macro_that_knows_of_the_worker() -> None:
    """A new sentence goes through `ui.so_far`, or into the list of what holds without a worker."""
    found = [
        sentence.strip()
        for path in (Path(templates.__file__).parent / "dashboard").glob("*.html")
        if path.name != "_macros.html"
        for sentence in re.findall(r'class="empty"[^>]*>([^<{]*)', path.read_text("utf-8"))
    ]
    assert [sentence for sentence in found if not sentence.startswith(HOLDS_ANYWAY)] == []


# pages -----------------------------------------------------------------------------------------------


async def hangs(_settings: Settings) -> Lag:
    """A Kafka that does not answer."""
    await asyncio.Event().wait()
    raise AssertionError


def as_of(page: str) -> str:
    """The line, without its elements."""
    found = re.search(r'<p id="as-of".*?</p>', page)
    assert found
    return re.sub(r"<[^>]+>", "", found[0])


class Kafka:
    """What Kafka is said to answer, and how often it was asked."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, answer: Lag) -> None:
        self.answer, self.asked = answer, 0
        monkeypatch.setattr(freshness, "lag", self._lag)

    async def _lag(self, _settings: Settings) -> Lag:
        self.asked += 1
        return self.answer


@pytest.mark.stack
async def test_without_a_worker_nothing_is_said_of_which_nobody_knows(desk: Desk, world: World) -> None:
    await world.health(await world.supplier(), seq=11, calculated_at=format_time(NOW - DAY))
    deadline = time.monotonic() + 60
    while "can&#39;t be read" in as_of(page := await desk.page("/dashboard")):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)
    assert re.fullmatch(r"As of \d+ January \d\d:\d\d UTC; the worker is away.*\.", as_of(page))
    assert UNCERTAIN not in page
    assert "Not known after" in page
    for address in (
        "/dashboard/population",
        "/dashboard/suppliers?level=new",
        "/dashboard/system",
        "/dashboard/rules",
    ):
        assert "the worker is away" in as_of(await desk.page(address)), address


@pytest.mark.stack
async def test_with_a_worker_that_has_read_everything_it_is_as_of_now(
    stranger: Desk, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    Kafka(monkeypatch, lagging(0))
    await world.supplier()
    await stranger.sign_in()
    page = await stranger.page("/dashboard")
    assert as_of(page) == "As of 19 January 09:00 UTC."
    assert UNCERTAIN in page or "in the last 24 hours" in page
    assert "Not known" not in page


@pytest.mark.stack
async def test_a_kafka_that_does_not_answer_costs_the_line_only(
    settings: Settings, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(freshness, "lag", hangs)
    async with serving(settings, clock) as desk:
        await desk.sign_in()
        line = as_of(await desk.page("/dashboard"))
        assert line.endswith("; how far the worker is behind can't be read.".replace("'", "&#39;"))
        part = await desk.page("/dashboard/as-of")
        assert 'hx-get="/dashboard/as-of"' in part


@pytest.mark.stack
async def test_kafka_is_asked_once_in_some_seconds_whoever_asks(
    settings: Settings, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    kafka, now = Kafka(monkeypatch, lagging(3)), [1000.0]
    async with serving(settings, clock) as desk:
        app = desk.client._transport.app
        readings = app.state.readings = freshness.Readings(lambda: now[0])
        await asyncio.gather(*(readings.look(app.state.services) for _ in range(20)))
        assert (kafka.asked, readings.newest.lag) == (1, lagging(3))
        now[0] += NEW_S
        kafka.answer = lagging(9)
        await readings.look(app.state.services)
        assert readings.newest.lag == lagging(3)  # the new one is being made; nobody waits for it
        await readings.aclose()
        now[0] += KNOWN_S
        assert readings.newest.lag.workers is None
        monkeypatch.setattr(freshness, "lag", hangs)
        await readings.look(app.state.services)
        assert (readings.newest.is_known, readings.newest.lag.workers) == (True, None)
        await readings.aclose()


@pytest.mark.stack
async def test_as_of_is_the_newest_health_that_was_stored(desk: Desk, world: World) -> None:
    one, other = await world.supplier(), await world.supplier()
    await world.health(one, seq=11, calculated_at=format_time(NOW + 2 * DAY))
    await world.health(other, seq=11, calculated_at=format_time(NOW - 2 * DAY))
    found = await world.query("SELECT max(calculated_at) AS at FROM pipeline_progress")
    assert found[0]["at"] - to_time(NOW + 2 * DAY) == timedelta()
    assert desk
