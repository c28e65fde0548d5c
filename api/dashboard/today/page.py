"""Today: who changed and why, whom to call now, what goes out, what was held back."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from api.dashboard import words
from api.dashboard.newness import up_to_date
from api.dashboard.rendering import PageRoute, csv_of, each, page
from api.dashboard.session import SignedIn
from api.dashboard.today.calling import call_list, churn_reasons, next_step
from api.services import InServices, Services
from store.dashboard import messages
from store.dashboard import population as store
from store.times import to_time

if TYPE_CHECKING:
    from psycopg import AsyncConnection

    from agents.letters.render import Letters

router = APIRouter(route_class=PageRoute, include_in_schema=False, dependencies=[up_to_date])

TO_CALL, CHANGED, GOING_OUT, CALLS = 10, 12, 8, 12
TO_CALL_CSV = 100
_DAY = timedelta(days=1)
_WANTED_SINCE = timedelta(days=14)
CALL_COLUMNS = (
    "id", "business_name", "first_name", "phone", "level", "score", "risk", "value", "reach", "urgency", "why",
    "next_step",
)  # fmt: skip


@router.get("/dashboard")
async def today(request: Request, agent: SignedIn, services: InServices) -> Response:
    """What an agent looks at first in the morning."""
    now = to_time(services.clock.now_ms())
    midnight = datetime.combine(now.astimezone(UTC).date(), time(), UTC)
    async with services.transaction(agent) as conn:
        found: dict[str, Any] = {
            "levels": _levels(await store.population_moves(conn), midnight),
            "calls": await _calls(conn, services, now, TO_CALL),
            "changes": await _changes(conn, now, services.letters),
            "booked": await store.calls_booked(conn, midnight, midnight + _DAY, CALLS),
            "wanted": await store.calls_wanted(conn, now - _WANTED_SINCE, CALLS),
            "outgoing": await messages.outgoing(conn, midnight + _DAY, GOING_OUT),
            "tallies": _tallies(await messages.today(conn, midnight.date())),
        }
        ids = [row["supplier_id"] for key in ("booked", "wanted", "outgoing") for row in found[key]]
        known = await store.describe(conn, ids)
    return page(request, "today", known=known, today=midnight.date(), **found)


@router.get("/dashboard/calls.csv")
async def calls_csv(agent: SignedIn, services: InServices) -> Response:
    """The call list as a table."""
    now = to_time(services.clock.now_ms())
    async with services.transaction(agent) as conn:
        found = await _calls(conn, services, now, TO_CALL_CSV)
    lines = [
        call["facts"]
        | {
            "risk": call["priority"].risk,
            "value": call["priority"].value,
            "reach": round(call["priority"].reach, 2),
            "urgency": round(call["priority"].score, 2),
            "why": "; ".join([*call["reasons"], *call["priority"].why]),
            "next_step": call["step"].title if call["step"] else None,
        }
        for call in found
    ]
    return csv_of("calls", CALL_COLUMNS, each(lines))


async def _calls(conn: AsyncConnection, services: Services, now: datetime, most: int) -> list[dict[str, Any]]:
    return [
        {
            "facts": facts,
            "priority": urgency,
            "reasons": [
                name for name, _ in churn_reasons(facts["facts"], words.Names.of(services.letters))[:2]
            ],
            "step": next_step(facts, services.policy.rules),
        }
        for facts, urgency in await call_list(conn, now, services.policy, most)
    ]


async def _changes(conn: AsyncConnection, now: datetime, letters: Letters) -> list[dict[str, Any]]:
    """The newest moves to a worse level of the last 24 hours, or failing those, to any other."""
    for worse_only in (True, False):
        wanted = store.ChangeFilter(since=now - _DAY, worse_only=worse_only)
        changes = await store.level_changes(conn, wanted, store.Moment(), CHANGED)
        if changes:
            return await explained(conn, changes, letters)
    return []


async def explained(
    conn: AsyncConnection, changes: list[dict[str, Any]], letters: Letters
) -> list[dict[str, Any]]:
    """Changes of level with whose they are (`supplier`) and why: their `causes`, or being new no longer (`ended`)."""
    why, names = await store.causes(conn, changes), words.Names.of(letters)
    known = await store.describe(conn, [change["id"] for change in changes])
    return [
        change
        | {
            "supplier": known.get(change["id"]),
            "causes": words.causes(why.get((change["id"], change["seq"])), names),
            "ended": change["previous"] == "new" and change["level"] != "healthy",
        }
        for change in changes
    ]


def _levels(moves: list[dict[str, Any]], midnight: datetime) -> list[dict[str, Any]]:
    """Each level's number of suppliers, and how it changed since midnight."""
    count = dict.fromkeys(store.LEVELS, 0)
    since_midnight = dict.fromkeys(store.LEVELS, 0)
    for move in moves:
        for level, sign in ((move["level"], 1), (move["previous"], -1)):
            if level in count:
                count[level] += sign * move["suppliers"]
                if move["day"] >= midnight.date():
                    since_midnight[level] += sign * move["suppliers"]
    total = sum(count.values())
    return [
        {
            "level": level,
            "suppliers": count[level],
            "change": since_midnight[level],
            "share": count[level] / total if total else 0.0,
        }
        for level in store.LEVELS
    ]


def _tallies(found: list[dict[str, Any]]) -> dict[str, Any]:
    """Today's messages: how many of each status, the reasons of those held back, templates of those that wait."""
    status: dict[str, int] = {}
    reasons: dict[str, int] = {}
    waiting: dict[str, int] = {}
    for row in found:
        status[row["status"]] = status.get(row["status"], 0) + row["messages"]
        if row["status"] == "suppressed":
            reasons[row["reason"]] = reasons.get(row["reason"], 0) + row["messages"]
        if row["status"] == "scheduled":
            waiting[row["template"]] = waiting.get(row["template"], 0) + row["messages"]
    return {
        "status": status,
        "reasons": _most_first(reasons),
        "waiting": _most_first(waiting),
    }


def _most_first(counts: dict[str, int]) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda one: -one[1])
