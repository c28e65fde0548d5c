"""Booking, moving and cancelling a call on the pages that emails lead to: GET shows, POST acts."""

from __future__ import annotations

import re
import uuid
from typing import TYPE_CHECKING, Any

import pytest

from agents.letters.links import sign
from scoring.time import DAY, HOUR
from tests.agents.delivery.world import NOW, World
from topics.time import format_time

if TYPE_CHECKING:
    from httpx import AsyncClient, Response

    from runtime.clock import ManualClock
    from runtime.settings import Settings

pytestmark = pytest.mark.stack


class Reader:
    """A supplier with a link to book, who presses what the pages show."""

    def __init__(self, api: AsyncClient, world: World, settings: Settings, supplier: str) -> None:
        self.api, self.world, self.supplier = api, world, supplier
        self._key = settings.secret("secret_key")
        self.book = "/e/book/" + sign("book", supplier, str(uuid.uuid4()), self._key)

    def call_page(self, call_id: str) -> str:
        return "/e/call/" + sign("call", self.supplier, call_id, self._key)

    async def press(self, page: str, **form: str) -> Response:
        return await self.api.post(page, data=form)

    async def calls(self) -> list[dict[str, Any]]:
        return await self.world.query(
            "SELECT * FROM support_interactions WHERE supplier_id = %s ORDER BY created_at", self.supplier
        )


@pytest.fixture
async def reader(api: AsyncClient, world: World, settings: Settings) -> Reader:
    return Reader(api, world, settings, await world.supplier())


def times(page: str) -> list[str]:
    return re.findall(r'name="time" value="([^"]+)"', page)


def beside(page: str, where: str) -> str:
    """The address that a page of ours names relative to itself."""
    assert where.startswith("../")
    return page.rsplit("/", 2)[0] + where[2:]


async def book(reader: Reader, place: int = 0) -> tuple[str, str]:
    """Book the time at this place; the page of the call, and its time."""
    shown = times((await reader.api.get(reader.book)).text)
    answer = await reader.press(reader.book, time=shown[place])
    assert answer.status_code == 303, answer.text
    return beside(reader.book, answer.headers["location"]), shown[place]


async def test_looking_books_nothing_and_one_press_does(reader: Reader) -> None:
    shown = await reader.api.get(reader.book)
    assert shown.status_code == 200
    assert len(times(shown.text)) == 9
    assert "Times are London time" in shown.text
    assert await reader.calls() == []

    page, at = await book(reader)
    [call] = await reader.calls()
    assert (call["interaction_type"], call["status"]) == ("onboarding_call", "scheduled")
    assert format_time(round(call["scheduled_at"].timestamp() * 1000)) == at
    said = (await reader.api.get(page)).text
    assert "Your setup call" in said
    assert "Move the call" in said
    [mail] = await reader.world.query(
        "SELECT method FROM transactional_mails WHERE supplier_id = %s", reader.supplier
    )
    assert mail["method"] == "REQUEST"


async def test_pressing_twice_books_once(reader: Reader) -> None:
    shown = times((await reader.api.get(reader.book)).text)
    first, second = [await reader.press(reader.book, time=shown[0]) for _ in range(2)]
    assert (first.status_code, second.status_code) == (303, 303)
    assert first.headers["location"] == second.headers["location"]
    assert len(await reader.calls()) == 1


async def test_a_call_is_moved_and_cancelled_on_its_own_page(reader: Reader) -> None:
    page, at = await book(reader)
    free = times((await reader.api.get(page, params={"move": "1"})).text)
    assert free
    assert at not in free
    assert (await reader.press(page, time=free[-1])).status_code == 303
    [call] = await reader.calls()
    assert format_time(round(call["scheduled_at"].timestamp() * 1000)) == free[-1]

    assert (await reader.press(page, choice="cancel")).status_code == 303
    [call] = await reader.calls()
    assert call["status"] == "cancelled"
    said = (await reader.api.get(page)).text
    assert "This call is cancelled" in said
    again = re.search(r'class="button" href="(\.\./book/[^"]+)"', said)
    assert again
    assert times((await reader.api.get(beside(page, again[1]))).text)


async def test_a_time_that_somebody_else_took_is_not_booked_and_others_are_shown(
    reader: Reader, world: World, settings: Settings
) -> None:
    wanted = times((await reader.api.get(reader.book)).text)[0]
    other = Reader(reader.api, world, settings, await world.supplier())
    await book(other)
    answer = await reader.press(reader.book, time=wanted)
    assert answer.status_code == 409
    assert "be had any more" in answer.text
    assert wanted not in times(answer.text)
    assert await reader.calls() == []


async def test_two_open_calls_are_the_most(reader: Reader) -> None:
    await book(reader)
    await book(reader, 1)
    shown = await reader.api.get(reader.book)
    assert "You have 2\N{NO-BREAK SPACE}calls ahead" in shown.text
    assert not times(shown.text)
    answer = await reader.press(reader.book, time=format_time(NOW + 3 * DAY + 2 * HOUR))
    assert answer.status_code == 409
    assert len(await reader.calls()) == 2


async def test_five_changes_a_day_are_the_most_and_cancelling_is_always_taken(reader: Reader) -> None:
    page, _ = await book(reader)
    answers = []
    for place in range(6):
        free = times((await reader.api.get(page, params={"move": "1"})).text)
        answers.append((await reader.press(page, time=free[place])).status_code)
    assert answers[-1] == 429
    assert (await reader.press(page, choice="cancel")).status_code == 303


async def test_a_call_that_is_over_offers_another(reader: Reader, clock: ManualClock) -> None:
    page, _ = await book(reader)
    clock.advance_to(NOW + 30 * DAY)
    said = (await reader.api.get(page)).text
    assert "This call is over" in said
    assert "Pick another time" in said


@pytest.mark.parametrize("form", [{}, {"time": "soon"}, {"choice": "dance"}])
async def test_a_form_that_is_not_understood_changes_nothing(reader: Reader, form: dict[str, str]) -> None:
    page, _ = await book(reader)
    for where in (page, reader.book):
        assert (await reader.press(where, **form)).status_code == 400
    assert [call["status"] for call in await reader.calls()] == ["scheduled"]


async def test_a_link_opens_nobody_elses_call(reader: Reader, world: World, settings: Settings) -> None:
    page, _ = await book(reader)
    [call] = await reader.calls()
    other = Reader(reader.api, world, settings, await world.supplier())
    assert (await reader.api.get(other.call_page(str(call["id"])))).status_code == 404
    assert (await reader.press(other.call_page(str(call["id"])), choice="cancel")).status_code == 404
    assert (await reader.api.get(page.replace("/call/", "/book/"))).status_code == 404
    assert (await reader.calls())[0]["status"] == "scheduled"


async def test_what_they_write_goes_to_the_agents(reader: Reader) -> None:
    shown = times((await reader.api.get(reader.book)).text)
    await reader.press(reader.book, time=shown[0], notes=" my list, +44 20 7946 0958 ")
    assert [call["notes"] for call in await reader.calls()] == ["my list, +44 20 7946 0958"]


async def test_a_milestone_is_shown_with_words_to_share(reader: Reader, settings: Settings) -> None:
    page = "/e/milestone/" + sign(
        "milestone", reader.supplier, str(uuid.uuid4()), settings.secret("secret_key")
    )
    assert (await reader.api.get(page)).status_code == 404
    await reader.world.query(
        "INSERT INTO success_milestones (id, supplier_id, milestone_type, achieved_at) "
        "VALUES (gen_random_uuid(), %s, 'first_form', '2026-01-07T12:00Z') RETURNING id", reader.supplier
    )  # fmt: skip
    said = (await reader.api.get(page)).text
    assert "Congratulations on creating your first form!" in said
    assert "on Wednesday 7\N{NO-BREAK SPACE}January" in said
    assert "https://wa.me/?text=My%20couples" in said
