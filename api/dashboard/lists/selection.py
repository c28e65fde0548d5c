"""What agents do with a selection: first what it would change and what not, then all of it in one transaction."""

from __future__ import annotations

from datetime import datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple
from uuid import UUID

from fastapi import APIRouter, Form, Request
from starlette.responses import RedirectResponse, Response

from api.auth import Caller
from api.dashboard.forms import Day, clean, end_of_hold, hold_choices
from api.dashboard.lists.filters import Filters, of_text
from api.dashboard.lists.suppliers import SUPPLIER_COLUMNS, as_lines, described, page_of
from api.dashboard.lists.tags import Tag, normal
from api.dashboard.rendering import PageRoute, csv_of, each, page
from api.dashboard.session import CheckedCsrf, SignedIn
from api.problems import Problem
from api.services import InServices
from store import audit
from store.dashboard import lists, population, tasks
from store.people import holds
from store.times import to_time

if TYPE_CHECKING:
    from collections.abc import Sequence

    from psycopg import AsyncConnection

router = APIRouter(route_class=PageRoute, include_in_schema=False, dependencies=[CheckedCsrf])

MOST = 1000
"""So many suppliers at once: one transaction holds their locks."""
Act = Literal["tag", "untag", "take", "hold"]
GONE = "not known any more"


class Outlook(NamedTuple):
    """Whom an act would change, and why not the others (id → words)."""

    changed: list[str]
    left: dict[str, str]


Back = Annotated[str, Form(max_length=2000)]


@router.post("/dashboard/selection")
async def look(
    request: Request,
    agent: SignedIn,
    services: InServices,
    act: Annotated[Act | Literal["csv"], Form()],
    id: Annotated[list[UUID] | None, Form(max_length=MOST)] = None,  # noqa: A002 - the checkbox's name
    every: Annotated[Literal["", "1"], Form()] = "",
    back: Back = "",
    tag: Tag = "",
) -> Response:
    """Say what an act would change, before it does; or give the selection as CSV."""
    filters = of_text(back)
    word = normal(tag) if act in {"tag", "untag"} else ""
    async with services.transaction(agent) as conn:
        ids = await _everybody(conn, filters) if every else [str(one) for one in id or ()]
        if not ids:
            raise Problem(
                HTTPStatus.UNPROCESSABLE_ENTITY, "nobody is selected: tick some rows, or all that fit"
            )
        rows = await described(conn, ids)
        if act == "csv":
            now_ms = services.clock.now_ms()
            await audit.log(
                conn, agent.actor, "dashboard.export", None, now_ms, table="selection", rows=len(rows)
            )
            return csv_of("suppliers", SUPPLIER_COLUMNS, each(as_lines(rows)))
        outlook = await look_at(conn, act, ids, word, agent, to_time(services.clock.now_ms()))
    names = {row["id"]: row for row in rows}
    return page(
        request,
        "selection",
        act=act,
        word=word,
        outlook=outlook,
        names=names,
        cut=bool(every) and len(ids) == MOST,
        holds=hold_choices(to_time(services.clock.now_ms())),
        back=filters.query(),
    )


@router.post("/dashboard/selection/done")
async def do(
    agent: SignedIn,
    services: InServices,
    act: Annotated[Act, Form()],
    ids: Annotated[str, Form(max_length=37 * MOST)],
    back: Back = "",
    word: Annotated[str, Form(max_length=holds.LONGEST_NOTE)] = "",
    until: Day = None,
    day: Day = None,
) -> Response:
    """Do it, in one transaction, for whom it changes now; each is in the audit log."""
    filters = of_text(back)
    word = normal(word) if act in {"tag", "untag"} else clean(word)
    try:
        chosen = sorted({str(UUID(one)) for one in ids.split(",")})
    except ValueError:
        raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "this selection can't be read; begin again") from None
    now_ms = services.clock.now_ms()
    async with services.transaction(agent) as conn:
        known = await lists.lock(conn, chosen)
        changed, _ = await look_at(
            conn, act, [one for one in chosen if one in known], word, agent, to_time(now_ms)
        )
        if act == "hold":
            await _hold(conn, changed, word, end_of_hold(until, day), agent, now_ms)
        else:
            await _change(conn, act, changed, word, agent, now_ms)
    return RedirectResponse(f"/dashboard/suppliers?{filters.query(said='selection')}", HTTPStatus.SEE_OTHER)


async def look_at(
    conn: AsyncConnection, act: Act, ids: Sequence[str], word: str, agent: Caller, now: datetime
) -> Outlook:
    """Whom an act would change as they are now, and why not the others."""
    there = {row["id"]: row for row in await described(conn, ids)}
    left = {
        one: why
        for one in ids
        if (why := _why_not(act, there[one], word, agent, now) if one in there else GONE)
    }
    return Outlook([one for one in ids if one not in left], left)


def _why_not(act: Act, row: dict[str, Any], word: str, agent: Caller, now: datetime) -> str | None:
    match act:
        case "tag":
            return "tagged so already" if word in row["tags"] else None
        case "untag":
            return None if word in row["tags"] else "not tagged so"
        case "take":
            return "in your book already" if row["owner"] == agent.subject else None
        case "hold":
            return "held already" if row["held_until"] and row["held_until"] > now else None


async def _hold(
    conn: AsyncConnection, ids: Sequence[str], why: str, end: datetime, agent: Caller, now_ms: int
) -> None:
    for one in ids:
        try:
            await holds.hold(conn, agent.actor, one, now_ms, why, end)  # which audits, as do all here
        except holds.RefusedHoldError as error:
            raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, str(error)) from None


async def _change(
    conn: AsyncConnection, act: Act, ids: Sequence[str], word: str, agent: Caller, now_ms: int
) -> None:
    if act == "take":
        for one in ids:
            await tasks.take(conn, agent.actor, one, now_ms)
    elif act == "tag":
        await lists.tag(conn, agent.actor, ids, word, now_ms)
    else:
        await lists.untag(conn, agent.actor, ids, word, now_ms)


async def _everybody(conn: AsyncConnection, filters: Filters) -> list[str]:
    """All that fit, or the first of them."""
    if filters.q:
        return (await population.find(conn, filters.q, MOST)).ids
    return (await page_of(conn, filters, "", MOST))[0]
