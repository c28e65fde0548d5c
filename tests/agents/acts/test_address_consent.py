"""An opt-out of emails belongs to the address, too: held against a plain model over many orders of events."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import pairwise
from uuid import UUID, uuid4

import psycopg
import pytest

from agents.acts.consent import change_consent
from runtime.keys import Keys
from runtime.settings import Settings
from scoring.decisions.consent import Wish
from scoring.time import HOUR, MINUTE
from store import suppliers
from store.database import Role, open_pool
from store.messages.feedback import address_hash, suppressions
from store.people import consent
from tests.agents.delivery.world import NOW
from tests.forms import LONG
from topics.time import format_time

pytestmark = pytest.mark.stack

KEYS = Keys("the key of the day")
ADDRESSES = ("anna@example.com", "Ben@example.com")


@dataclass
class Model:
    """What was said, as sentences; what holds is read off them, without any of the product's rules."""

    noes: list[tuple[str, str, int]] = field(default_factory=list)
    """Who said no to emails at which address, and when."""
    yeses: list[tuple[str, int]] = field(default_factory=list)
    """Which supplier took it back."""
    page_yeses: list[tuple[str, int]] = field(default_factory=list)
    """Which address said yes on its own page."""
    address: dict[str, str | None] = field(default_factory=dict)
    word: dict[str, tuple[bool, int]] = field(default_factory=dict)
    """A supplier's last word (no is True) and its time."""
    waits: set[str] = field(default_factory=set)
    """Who said no and has had no address since."""

    def holds(self, address: str) -> bool:
        return any(
            where == address
            and not any(speaker == who and at > said for speaker, at in self.yeses)
            and not any(page == address and at > said for page, at in self.page_yeses)
            for who, where, said in self.noes
        )

    def profile(self, who: str, address: str | None) -> None:
        self.address[who] = address
        if address and who in self.waits:
            self.noes.append((who, address, self.word[who][1]))
            self.waits.discard(who)

    def no(self, who: str, at: int, *pages: str) -> None:
        self.word[who] = (True, at)
        where = {each for each in (self.address[who], *pages) if each}
        self.noes += [(who, each, at) for each in where]
        self.waits.discard(who)
        if not where:
            self.waits.add(who)

    def yes(self, who: str, at: int, *pages: str) -> None:
        self.word[who] = (False, at)
        self.yeses.append((who, at))
        self.page_yeses += [(each, at) for each in pages]
        self.waits.discard(who)


class Told:
    """The product and the model side by side: each event goes to both."""

    def __init__(self, conn: psycopg.AsyncConnection) -> None:
        self.conn, self.model, self.now = conn, Model(), NOW
        self.people: list[str] = []
        self.letters: dict[tuple[str, str], str] = {}

    def later(self) -> int:
        self.now += HOUR
        return self.now

    async def sign_up(self, address: str | None) -> str:
        """A supplier, who at some time was written to at each of the addresses."""
        who = str(uuid4())
        await suppliers.lock(self.conn, [who], KEYS)
        for each in ADDRESSES:
            self.letters[who, each] = str(uuid4())
            await self.conn.execute(
                "INSERT INTO success_interventions (id, supplier_id, trigger_condition, intervention_type, status,"
                " kind, due_at, not_before, sent_at, signal_at, metadata)"
                " VALUES (%s, %s, 'x', 'email', 'sent', 'rescue', now(), now(), now(), now(),"
                " jsonb_build_object('address_hash', %s::text))",
                (self.letters[who, each], who, address_hash(each, KEYS).hex()),
            )
        self.people.append(who)
        await self.profile(who, address)
        return who

    async def profile(self, who: str, address: str | None) -> None:
        self.later()
        nothing = dict.fromkeys(("first_name", "business_name", "vendor_type", "timezone", "locale", "plan"))
        row = {"id": who, "email": address, "signed_up_at": None, "offset": self.now, "stamp": None} | nothing
        await suppliers.save_profiles(self.conn, [row])
        await consent.hold_addresses(self.conn, [who], KEYS)
        self.model.profile(who, address)

    async def says(self, who: str, no: bool) -> None:
        await change_consent(self.conn, who, Wish(email_opt_out=no), self.later(), KEYS)
        (self.model.no if no else self.model.yes)(who, self.now)

    async def logged(self, who: str, no: bool, ago: int = 0) -> None:
        """By an event on the log, which may come late."""
        at = self.later() - ago
        time = format_time(at)
        said = {"email_opt_out": no, "email_at": time, "all_opt_out": False, "all_at": None}
        await suppliers.save_consent(self.conn, [{"supplier_id": who, **said}])
        await consent.hold_addresses(self.conn, [who], KEYS)
        if at > self.model.word.get(who, (False, 0))[1]:
            (self.model.no if no else self.model.yes)(who, at)

    async def on_page(self, who: str, address: str, no: bool) -> None:
        """On the page that a message to this address leads to."""
        wish, letter = Wish(email_opt_out=no), self.letters[who, address]
        await change_consent(self.conn, who, wish, self.later(), KEYS, message_id=letter)
        (self.model.no if no else self.model.yes)(who, self.now, address)

    async def erased(self, who: str) -> None:
        await consent.hold_addresses(self.conn, [who], KEYS)
        await suppliers.erase(self.conn, [who], KEYS, datetime.fromtimestamp(self.later() / 1000, UTC))
        self.people.remove(who)

    async def check(self) -> None:
        for each in ADDRESSES:
            listed = await suppressions(self.conn, each.upper(), KEYS)
            assert ("opted_out" in listed) == self.model.holds(each), each


@pytest.fixture
async def told(settings: Settings) -> AsyncIterator[Told]:
    pool = await open_pool(settings.database_url, Role.WRITER, max_size=1)
    async with pool.connection() as conn:
        yield Told(conn)
    await pool.close()


async def test_any_order_of_events_leaves_each_address_what_was_said_of_it(told: Told) -> None:
    for seed in range(60 if LONG else 20):
        chance = random.Random(seed)  # noqa: S311 - the same on every run
        told.model, told.people, told.now = Model(), [], told.now + 24 * HOUR
        await told.conn.execute("DELETE FROM address_consent")
        for _ in range(14):
            if len(told.people) < 2 or (len(told.people) < 4 and chance.random() < 0.15):
                await told.sign_up(chance.choice((*ADDRESSES, None)))
                continue
            who, address, no = chance.choice(told.people), chance.choice(ADDRESSES), chance.random() < 0.6
            match chance.choice(("profile", "says", "says", "logged", "late", "page", "erased")):
                case "profile":
                    await told.profile(who, chance.choice((*ADDRESSES, None)))
                case "says":
                    await told.says(who, no)
                case "logged":
                    await told.logged(who, no)
                case "late":
                    await told.logged(who, no, ago=2 * HOUR + MINUTE)
                case "page":
                    await told.on_page(who, address, no)
                case "erased":
                    await told.erased(who)
            await told.check()


async def test_who_opted_out_and_signs_up_again_is_not_written_to_until_that_address_opts_in(
    told: Told,
) -> None:
    anna, _ = ADDRESSES
    first = await told.sign_up(anna)
    await told.says(first, no=True)
    await told.erased(first)
    again, somebody = await told.sign_up(anna), await told.sign_up(anna)
    await told.says(somebody, no=False)
    assert "opted_out" in await suppressions(told.conn, anna, KEYS)
    await told.on_page(again, anna, no=False)
    assert await suppressions(told.conn, anna, KEYS) == {}


async def test_an_opt_out_without_an_address_holds_for_the_first_one_only(told: Told) -> None:
    anna, ben = ADDRESSES
    who = await told.sign_up(None)
    await told.logged(who, no=True)
    await told.profile(who, anna)
    await told.profile(who, ben)
    held = [each for each in ADDRESSES if await suppressions(told.conn, each, KEYS)]
    assert held == [anna]


async def test_an_older_page_does_not_free_a_newer_address(told: Told) -> None:
    anna, ben = ADDRESSES
    who, other = await told.sign_up(anna), await told.sign_up(ben)
    await told.profile(who, ben)
    await told.says(other, no=True)
    await told.on_page(who, anna, no=False)
    assert "opted_out" in await suppressions(told.conn, ben, KEYS)


async def test_what_was_said_holds_under_each_key_that_is_in_force(told: Told) -> None:
    anna, ben = ADDRESSES
    first, second = await told.sign_up(anna), await told.sign_up(ben)
    await told.says(first, no=True)
    await told.erased(second)
    rotated = Keys("the key of tomorrow", (KEYS.current,))
    assert "opted_out" in await suppressions(told.conn, anna, rotated)
    assert await suppressions(told.conn, anna, Keys("the key of tomorrow")) == {}
    assert await suppliers.is_erased(told.conn, second, rotated)
    assert await suppliers.lock(told.conn, [second], rotated) == set()
    await change_consent(told.conn, first, Wish(email_opt_out=False), told.later(), rotated)
    for before, after in pairwise((KEYS, rotated, KEYS)):
        assert await suppressions(told.conn, anna, before) == await suppressions(told.conn, anna, after) == {}


async def test_nothing_that_is_kept_names_anybody(told: Told) -> None:
    anna, _ = ADDRESSES
    who = await told.sign_up(anna)
    await told.says(who, no=True)
    [[row]] = await (await told.conn.execute("SELECT address_consent::text FROM address_consent")).fetchall()
    assert "anna" not in row
    assert UUID(who).hex not in row


async def test_the_page_of_an_invitation_opts_its_address_in_again(told: Told) -> None:
    anna, _ = ADDRESSES
    first = await told.sign_up(anna)
    await told.says(first, no=True)
    await told.erased(first)
    again, call, mail = await told.sign_up(anna), str(uuid4()), str(uuid4())
    await told.conn.execute(
        "INSERT INTO support_interactions (id, supplier_id, interaction_type, status)"
        " VALUES (%s, %s, 'onboarding_call', 'scheduled')",
        (call, again),
    )
    await told.conn.execute(
        "INSERT INTO transactional_mails (id, supplier_id, call_id, method, sequence, starts_at, ends_at,"
        " not_before, expires_at, created_at, address_hash)"
        " VALUES (%s, %s, %s, 'REQUEST', 0, now(), now(), now(), now(), now(), %s)",
        (mail, again, call, address_hash(anna, KEYS)),
    )
    await change_consent(told.conn, again, Wish(email_opt_out=False), told.later(), KEYS, message_id=mail)
    assert await suppressions(told.conn, anna, KEYS) == {}
