"""What the coach shows of a supplier, read in one look, and what it remembers of what they did with it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

from store.messages.feedback import Told, told
from store.queries import load
from store.times import to_ms, to_optional_ms, to_time

if TYPE_CHECKING:
    from psycopg import AsyncConnection

SQL = load("coach")

CHANNEL = "success_coach"
"""What to LISTEN on: the payload is the id of a supplier whose coach has something new to show."""
MESSAGES_LAST = timedelta(days=30)
"""How long the coach shows a message that they neither used nor put away."""
MOST_REMEMBERED = 500
"""Things remembered of one supplier."""
SHOWN_AGAIN = timedelta(days=1)
"""The same tip shown again within this time is not counted again."""

What = Literal["shown", "dismissed", "clicked", "celebrated", "shared"]


@dataclass(frozen=True, slots=True)
class Reached:
    """A milestone that they have reached; `at` in ms, as is `known_at`, when its row was written."""

    type: str
    at: int
    celebrated: bool
    known_at: int | None = None


@dataclass(frozen=True, slots=True)
class Message:
    """An intervention that the coach can show: an in-app notification, or the offer of a call."""

    id: str
    channel: str
    template: str | None


@dataclass(frozen=True, slots=True)
class Memory:
    """What became of an item: when last (ms), and how often."""

    at: int
    times: int


@dataclass(frozen=True, slots=True)
class Look:
    """All that the coach knows of a supplier; times in ms. `snapshot` is None before their first event."""

    first_name: str | None
    vendor_type: str | None
    zone: str | None
    all_opt_out: bool
    paused_until: int | None
    snapshot: dict[str, Any] | None
    milestones: tuple[Reached, ...]
    messages: tuple[Message, ...]
    call_id: str | None
    call_at: int | None
    waits_for_a_time: bool
    """They asked for a call that has no time yet."""
    memory: dict[tuple[str, str], Memory]
    """By item (`tip:…`, `milestone:…`, `message:…`) and what became of it."""
    locale: str | None = None

    @property
    def level(self) -> str | None:
        """Their risk level, which the coach acts on and never names."""
        return self.snapshot["level"] if self.snapshot else None

    def remembered(self, item: str, what: What) -> Memory | None:
        """What is remembered of an item."""
        return self.memory.get((item, what))


NOBODY_YET = Look(
    first_name=None,
    vendor_type=None,
    zone=None,
    all_opt_out=False,
    paused_until=None,
    snapshot=None,
    milestones=(),
    messages=(),
    call_id=None,
    call_at=None,
    waits_for_a_time=False,
    memory={},
)
"""A supplier of whom nothing has come through yet: they have only just signed up."""


async def look(conn: AsyncConnection, supplier_id: str, now_ms: int) -> Look | None:
    """Read all that the coach shows; None if there is no such supplier to be seen."""
    now = to_time(now_ms)
    parameters = {"supplier": supplier_id, "now": now, "messages_since": now - MESSAGES_LAST}
    found = await (await conn.execute(SQL["look"], parameters)).fetchone()
    if found is None:
        return None
    (
        first_name,
        vendor_type,
        zone,
        locale,
        all_opt_out,
        paused_until,
        score,
        level,
        breakdown,
        facts,
        *lists,
    ) = found
    milestones, messages, call, waiting, memory = lists
    snapshot = None if not facts else facts | {"score": score, "level": level, "breakdown": breakdown}
    return Look(
        first_name=first_name,
        vendor_type=vendor_type,
        zone=zone or None,
        locale=locale or None,
        all_opt_out=all_opt_out,
        paused_until=to_optional_ms(paused_until),
        snapshot=snapshot,
        milestones=tuple(
            Reached(each["type"], _ms(each["at"]), each["celebrated"], _ms(each["known_at"]))
            for each in milestones
        ),
        messages=tuple(Message(each["id"], each["channel"], each["template"]) for each in messages),
        call_id=call["id"] if call else None,
        call_at=_ms(call["at"]) if call else None,
        waits_for_a_time=waiting > 0,
        memory={(each["item"], each["what"]): Memory(_ms(each["at"]), each["times"]) for each in memory},
    )


async def remember(conn: AsyncConnection, supplier_id: str, item: str, what: What, now_ms: int) -> bool:
    """Note what became of an item; False if that is nothing new (shown within a day, celebrated before)."""
    again_after = {"shown": SHOWN_AGAIN, "celebrated": timedelta(days=365_000)}.get(what, timedelta())
    parameters = {
        "supplier": supplier_id,
        "item": item,
        "what": what,
        "at": to_time(now_ms),
        "again_after": again_after,
        "most": MOST_REMEMBERED,
    }
    found = await (await conn.execute(SQL["remember"], parameters)).fetchone()
    return bool(found and found[0])


async def celebrate(conn: AsyncConnection, supplier_id: str, milestone: str, now_ms: int) -> bool:
    """Note that the coach has shown a milestone; False if they have not reached it."""
    parameters = {"supplier": supplier_id, "milestone": milestone, "at": to_time(now_ms)}
    return await (await conn.execute(SQL["celebrate"], parameters)).fetchone() is not None


async def mark_message(
    conn: AsyncConnection, supplier_id: str, intervention_id: str, now_ms: int, *, clicked: bool
) -> list[Told] | None:
    """Note that they saw a message in the coach, or used its button; what is new, None if there is no such message."""
    parameters = {"supplier": supplier_id, "id": intervention_id, "at": to_time(now_ms), "clicked": clicked}
    found = await (await conn.execute(SQL["find_message"], parameters)).fetchone()
    if found is None:
        return None
    is_unopened, is_unclicked = found
    if not (is_unopened or (clicked and is_unclicked)):
        return []
    row = await (await conn.execute(SQL["mark_message"], parameters)).fetchone()
    if row is None:
        return None
    opened = [told(row, "opened")] if is_unopened else []
    return opened + ([told(row, "clicked")] if clicked and is_unclicked else [])


def _ms(text: str) -> int:
    return to_ms(datetime.fromisoformat(text))
