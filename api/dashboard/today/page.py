"""Today: what is to be done, whom else to call, who changed and why, what goes out, what was held back."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from typing import TYPE_CHECKING, Any, Literal
from uuid import uuid4

from fastapi import APIRouter, Request
from starlette.responses import Response

from api.dashboard import words
from api.dashboard.newness import up_to_date
from api.dashboard.rendering import PageRoute, address, csv_of, each, page
from api.dashboard.session import SignedIn
from api.dashboard.today.listing import Line, own_lines, put_off_choices, suggested_lines, team_lines
from api.services import InServices
from store.dashboard import messages
from store.dashboard import population as store
from store.times import to_time

if TYPE_CHECKING:
    from psycopg import AsyncConnection

    from agents.letters.render import Letters

router = APIRouter(route_class=PageRoute, include_in_schema=False, dependencies=[up_to_date])

TASKS, TO_CALL, CHANGED, GOING_OUT, CALLS = 25, 10, 12, 8, 12
TO_CALL_CSV = 100
_DAY = timedelta(days=1)
CALL_COLUMNS = (
    "id", "business_name", "first_name", "phone", "channel", "kind", "owner", "due", "level", "score", "risk", "value",
    "reach", "urgency", "reachable", "why", "would_help",
)  # fmt: skip
Book = Literal["", "mine"]


@router.get("/dashboard")
async def today(request: Request, agent: SignedIn, services: InServices, book: Book = "") -> Response:
    """What an agent looks at first in the morning; `book`: their own suppliers, or everybody's."""
    now = to_time(services.clock.now_ms())
    midnight = datetime.combine(now.astimezone(UTC).date(), time(), UTC)
    owner = agent.subject if book else None
    async with services.transaction(agent) as conn:
        if owner:
            lines, more = await own_lines(conn, now, services, owner), False
        else:
            lines, more = await team_lines(conn, now, services, TASKS)
        found: dict[str, Any] = {
            "lines": lines,
            "more_lines": more,
            "suggested": await suggested_lines(conn, now, services, TO_CALL, owner),
            "levels": _levels(await store.population_moves(conn), midnight),
            "changes": await _changes(conn, now, services.letters),
            "booked": await store.calls_booked(conn, midnight, midnight + _DAY, CALLS),
            "outgoing": await messages.outgoing(conn, midnight + _DAY, GOING_OUT),
            "tallies": _tallies(await messages.today(conn, midnight.date())),
        }
        ids = [row["supplier_id"] for key in ("booked", "outgoing") for row in found[key]]
        known = await store.describe(conn, ids)
    return page(
        request,
        "today",
        known=known,
        today=midnight.date(),
        book=book,
        here=address("/dashboard", book=book),
        put_off=put_off_choices(now, services.policy),
        new_id=uuid4,
        **found,
    )


@router.get("/dashboard/calls.csv")
async def calls_csv(agent: SignedIn, services: InServices, book: Book = "") -> Response:
    """Calls to make, then those suggested, as a table."""
    now = to_time(services.clock.now_ms())
    owner = agent.subject if book else None
    async with services.transaction(agent) as conn:
        if owner:
            found = await own_lines(conn, now, services, owner)
        else:
            found, _ = await team_lines(conn, now, services, TO_CALL_CSV)
        found += await suggested_lines(conn, now, services, TO_CALL_CSV, owner)
    return csv_of("calls", CALL_COLUMNS, each(_as_row(line) for line in found))


def _as_row(line: Line) -> dict[str, Any]:
    urgency = line.priority
    return line.facts | {
        "channel": line.channel,
        "kind": line.kind,
        "due": line.due and line.due.isoformat(),
        "risk": urgency.risk,
        "value": urgency.value,
        "reach": round(urgency.reach, 2),
        "urgency": round(urgency.score, 2),
        "reachable": line.reach.words,
        "why": line.why,
        "would_help": line.help,
    }


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
