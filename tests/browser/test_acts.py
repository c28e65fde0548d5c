"""What agents do all day takes at most three keystrokes or clicks each, and as many as docs/dashboard.md says."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

import pytest
from playwright.async_api import Locator, Page, expect

from tests.agents.delivery.world import World
from tests.browser.hand import Hand
from tests.browser.signing_in import let_in
from tests.browser.test_dashboard import someone_at_risk
from tests.browser.test_lists_page import in_a_trade
from tests.browser.test_today import called_off, to_call

pytestmark = pytest.mark.usefixtures("no_console_errors")

MOST = 3
ACTS = {
    "open a supplier by name": (3, 3),
    "see why they stand where they do": (2, 1),
    "call a task done, with its outcome": (3, 2),
    "put a task off": (2, 1),
    "take somebody over": (2, 1),
    "write, and take it back": (3, 3),
    "hold, with a reason and an end": (3, 3),
    "book a call": (3, 1),
    "narrow *Today* to my book": (1, 1),
    "take a selection away as CSV": (3, 2),
}
"""Keystrokes, and clicks, of each act from the page that it begins on."""
DOCS = Path(__file__).parents[2] / "docs" / "dashboard.md"


@dataclass
class Desk:
    """An agent who is signed in and has one supplier to call in their book, and their hand."""

    page: Page
    world: World
    url: str
    agent: str
    hand: Hand
    by_keys: bool
    called: list[str] = field(default_factory=list)

    async def at(self, address: str = "") -> None:
        """Begin on a page; what came before does not count."""
        await self.page.goto(f"{self.url}/dashboard{address}")
        self.hand.steps = 0

    def row(self, name: str) -> Locator:
        """The row of a supplier on *Today*."""
        return self.page.locator("[data-row]", has_text=name)

    def part(self, name: str) -> Locator:
        """A part of a page."""
        return self.page.get_by_role("region", name=name, exact=True)

    async def said(self, words: str) -> None:
        """The page says what was done."""
        await expect(self.page.get_by_role("status").first).to_contain_text(words)

    async def does(self, *keys: str, clicks: Callable[[], list[Locator]]) -> None:
        """Press `keys`, or click on each of `clicks` in turn."""
        if self.by_keys:
            await self.hand.press(*keys)
            return
        for place in clicks():
            await self.hand.click(place)

    async def to_call(self, name: str) -> str:
        """A supplier whom somebody is to call, until this test ends."""
        self.called.append(await to_call(self.world, name))
        return self.called[-1]

    async def own(self, name: str) -> None:
        """The same, in the agent's book."""
        await self.world.query(
            "INSERT INTO supplier_owners (supplier_id, owner, since, by) VALUES (%s, %s, now(), 'x')",
            await self.to_call(name),
            self.agent,
        )


async def open_by_name(desk: Desk) -> None:
    name = f"Øresund Strings {uuid4().hex[:4]}"
    await in_a_trade(desk.world, "harpist", name)
    await desk.at()
    if desk.by_keys:
        await desk.hand.press("Control+k")
        await desk.hand.type(name.replace("Øresund", "oresnud").lower())  # and with a typing error
        await expect(desk.page.locator("#palette [aria-selected=true]")).to_contain_text(name)
        await desk.hand.press("Enter")
    else:
        await desk.hand.click(desk.page.get_by_label("Search suppliers"))
        await desk.hand.type(name.replace("Øresund", "oresund"))
        await desk.hand.click(desk.page.locator("#found a", has_text=name))
    await expect(desk.page.get_by_role("heading", name=name)).to_be_visible()


async def see_why(desk: Desk) -> None:
    await desk.own("Why Not Weddings")
    await desk.at("?book=mine")
    # the facts are on the row already; their page has the score's parts and causes
    await expect(desk.row("Why Not Weddings")).to_contain_text("5 clients, none imported since")
    await desk.does("j", "Enter", clicks=lambda: [desk.row("Why Not Weddings").locator("[data-open]")])
    await expect(desk.part("What the score is made of")).to_be_visible()
    await expect(desk.part("Timeline")).to_be_visible()


async def done(desk: Desk) -> None:
    await desk.own("Done & Dusted")
    await desk.at("?book=mine")
    row = desk.row("Done & Dusted")
    await desk.does("j", "d", "1", clicks=lambda: [row.locator(f"[data-key='{key}']") for key in "d1"])
    await desk.said("Done, and noted")
    await expect(row).to_have_count(0)


async def put_off(desk: Desk) -> None:
    await desk.own("Another Day")
    await desk.at("?book=mine")
    await desk.does("j", "s", clicks=lambda: [desk.row("Another Day").locator("[data-key=s]")])
    await desk.said("Put off")


async def take_over(desk: Desk) -> None:
    await desk.to_call("Taken Over")
    await desk.at()
    first = desk.page.locator("[data-row]").first
    name = await first.locator(".who").text_content()
    await desk.does("j", "t", clicks=lambda: [first.locator("[data-key=t]")])
    await desk.said("in your book now")
    await desk.page.goto(f"{desk.url}/dashboard?book=mine")
    await expect(desk.row(name or "")).to_have_count(1)


async def write_and_undo(desk: Desk) -> None:
    await desk.at(f"/suppliers/{await someone_at_risk(desk.world, 'Second Thoughts')}")
    page = desk.page
    await desk.does("w", clicks=lambda: [desk.part("Write").get_by_role("link").first])
    await expect(page.get_by_role("button", name="Send it")).to_be_visible()
    await desk.does("s", clicks=lambda: [page.get_by_role("button", name="Send it")])
    await desk.said("can be taken back until it leaves")
    await desk.does("u", clicks=lambda: [page.get_by_role("button", name="Undo")])
    await desk.said("nothing was sent")


async def hold(desk: Desk) -> None:
    await desk.at(f"/suppliers/{await someone_at_risk(desk.world, 'Quiet Week')}")
    part = desk.part("Messages to them")
    await desk.does("h", clicks=lambda: [part.get_by_label("Hold because")])
    await desk.hand.type("on leave")
    await desk.does("Enter", clicks=lambda: [part.get_by_role("button", name="Hold all messages")])
    await expect(part).to_contain_text(re.compile(r"on leave.*until \w{3} \d", re.DOTALL))


async def book(desk: Desk) -> None:
    await desk.at(f"/suppliers/{await someone_at_risk(desk.world, 'Talk Soon')}")
    if desk.by_keys:
        await desk.hand.press("Control+k")
        await desk.hand.type("book")
        await expect(desk.page.locator("#palette [aria-selected=true]")).to_contain_text("Book a call")
        await desk.hand.press("Enter")
    else:
        await desk.hand.click(desk.page.get_by_role("button", name="Book a call"))
    await desk.said("The call is booked")


async def my_book(desk: Desk) -> None:
    await desk.own("Mine Alone")
    await desk.to_call("Not Mine")
    await desk.at()
    await desk.does("m", clicks=lambda: [desk.page.get_by_role("link", name="My book")])
    await desk.page.wait_for_url("**/dashboard?book=mine")
    await expect(desk.row("Mine Alone")).to_have_count(1)
    await expect(desk.row("Not Mine")).to_have_count(0)


async def export(desk: Desk) -> None:
    trade = f"calligrapher {uuid4().hex[:4]}"
    made = await in_a_trade(desk.world, trade, "Ink A", "Ink B", "Ink C")
    await desk.at(f"/suppliers?trade={trade}&sort=name")
    page = desk.page
    async with page.expect_download() as downloading:
        await desk.does(
            "j",
            "x",
            "e",
            clicks=lambda: [
                page.get_by_label("all that fit"),
                page.get_by_role("button", name="CSV of the selection"),
            ],
        )
    text = (await (await downloading.value).path()).read_text("utf-8")
    assert [one in text for one in made] == [True, *([not desk.by_keys] * 2)]


DOING: dict[str, Callable[[Desk], Awaitable[None]]] = dict(
    zip(
        ACTS,
        (open_by_name, see_why, done, put_off, take_over, write_and_undo, hold, book, my_book, export),
        strict=True,
    )
)


@pytest.mark.parametrize("by", ["keys", "mouse"])
@pytest.mark.parametrize("act", ACTS)
async def test_an_act_takes_no_more_than_it_is_said_to(
    page: Page, api_url: str, world: World, token: Callable[..., str], act: str, by: str
) -> None:
    agent = f"agent {uuid4().hex[:6]}"
    await let_in(page.context, api_url, token("agent", agent))
    desk = Desk(page, world, api_url, agent, Hand(page), by == "keys")
    await DOING[act](desk)
    await called_off(world, *desk.called)
    assert desk.hand.steps == ACTS[act][0 if by == "keys" else 1]
    assert desk.hand.steps <= MOST


async def test_the_guide_counts_the_same() -> None:
    lines = re.findall(r"^\| (.+?) \| (\d) \| (\d) \|$", DOCS.read_text("utf-8"), re.MULTILINE)
    assert {act: (int(keys), int(clicks)) for act, keys, clicks in lines} == ACTS
