"""One supplier: score over time with its causes, what silence will do, the timeline, and the best next action."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, Literal
from uuid import uuid4

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from api.dashboard import words
from api.dashboard.forms import SupplierId, gone, hold_choices
from api.dashboard.rendering import PageRoute, csv_of, each, page, points
from api.dashboard.session import SignedIn
from api.dashboard.timeline import messages_of, timeline
from api.dashboard.today.calling import churn_reasons, snapshot_of
from api.dashboard.today.listing import line_of, to_do
from api.dashboard.today.priority import local_time, priority
from api.dashboard.writing.page import message_options, waiting
from api.dashboard.writing.written import words_of
from api.services import InServices
from scoring.advice.recommend import recommend, way_up
from scoring.decisions.calls import propose
from scoring.health.metrics import COMPONENTS
from scoring.zones import zone_words
from store.dashboard import lists, population
from store.dashboard import supplier as store
from store.people import calls as call_store
from store.times import to_ms, to_time

if TYPE_CHECKING:
    from scoring.health.rules import Rules

router = APIRouter(route_class=PageRoute, include_in_schema=False)

ENTRIES, CSV_ENTRIES = 40, 1000
TIMES = 6
ADVICE = 3
SIGNALS = 5
_TIMELINE_COLUMNS = ("at", "kind", "title", "details", "level", "score", "by")
_HISTORY_COLUMNS = ("at", "score", "level", "why")


@router.get("/dashboard/suppliers/{supplierId}")
async def supplier(
    request: Request,
    supplier_id: SupplierId,
    agent: SignedIn,
    services: InServices,
    days: Literal["30", "90", "365"] = "90",
) -> Response:
    """Everything that an agent needs before they call, write or leave it."""
    now_ms = services.clock.now_ms()
    now, names = to_time(now_ms), words.Names.of(services.letters)
    async with services.transaction(agent) as conn:
        found = await store.supplier(conn, str(supplier_id))
        if found is None:
            raise gone()
        history = await store.history(conn, found["id"], now - timedelta(days=int(days)))
        happened = await store.happened(conn, found["id"], population.END_OF_TIME, ENTRIES + 20)
        entries, older = timeline(happened, ENTRIES, names)
        texts = await words_of(conn, services, found["id"], messages_of(entries), now_ms)
        calls = await store.open_calls(conn, found["id"])
        facts = await population.call_facts(conn, [found["id"]])
        options = await message_options(conn, services, found, now_ms) if found["seq"] else []
        taken = await call_store.taken(conn, now_ms)
        tasks = await to_do(conn, found["id"], now, services)
        labels, choices = await lists.labels(conn, [found["id"]]), await lists.choices(conn)
    policy = services.policy
    times = propose(now_ms, taken, policy.calls, found["timezone"], policy.hours, TIMES)
    snapshot = snapshot_of(found)
    zone = policy.hours.zone
    urgency = priority(facts[0], now, policy.hours) if facts else None
    return page(
        request,
        "supplier",
        supplier=found,
        name=name_of(found),
        history=history,
        chart=_chart(history, found, now, names),
        components=_components(found, names, policy.rules),
        days=int(days),
        entries=entries,
        older=older,
        texts=texts,
        calls=calls,
        tasks=tasks,
        urgency=urgency,
        suggestion=line_of(facts[0], urgency, now, services) if urgency and not tasks.lines else None,
        advice=recommend(snapshot, policy.rules)[:ADVICE] if snapshot else [],
        way=way_up(snapshot, policy.rules) if snapshot else None,
        signals=churn_reasons(found["facts"], names)[:SIGNALS],
        options=options,
        waiting=waiting(happened.messages, options),
        tags=labels[found["id"]]["tags"],
        known_tags=choices["tag"],
        holds=hold_choices(now),
        times=[to_time(at) for at in times],
        zone=found["timezone"] and zone_words(found["timezone"]),
        local=local_time(now, found["timezone"], zone),
        to_local=lambda at: local_time(at, found["timezone"], zone),
        forecast=_forecast(found),
        request_id=uuid4(),
    )


@router.get("/dashboard/suppliers/{supplierId}/timeline")
async def older(
    request: Request,
    supplier_id: SupplierId,
    agent: SignedIn,
    services: InServices,
    before: Annotated[datetime | None, Query()] = None,
    format: Literal["", "csv"] = "",  # noqa: A002 - the address's word
) -> Response:
    """The timeline from before a moment on; or all of it as a table."""
    until = population.END_OF_TIME if before is None else before.replace(tzinfo=before.tzinfo or UTC)
    most = CSV_ENTRIES if format == "csv" else ENTRIES
    async with services.transaction(agent) as conn:
        happened = await store.happened(conn, str(supplier_id), until, most + 20)
        entries, more = timeline(happened, most, words.Names.of(services.letters))
        shown = [] if format == "csv" else messages_of(entries)
        texts = await words_of(conn, services, str(supplier_id), shown, services.clock.now_ms())
    if format == "csv":
        lines = [
            {name: getattr(entry, name) for name in _TIMELINE_COLUMNS} | {"details": "; ".join(entry.details)}
            for entry in entries
        ]
        return csv_of(f"timeline-{supplier_id}", _TIMELINE_COLUMNS, each(lines))
    return page(request, "_entries", entries=entries, older=more, texts=texts, supplier_id=str(supplier_id))


@router.get("/dashboard/suppliers/{supplierId}/history.csv")
async def history_csv(supplier_id: SupplierId, agent: SignedIn, services: InServices) -> Response:
    """Every stored change of the score (the newest 1,500) as a table."""
    async with services.transaction(agent) as conn:
        history = await store.history(conn, str(supplier_id), to_time(0))
    names = words.Names.of(services.letters)
    lines = [change | {"why": _why(change, names)} for change in history]
    return csv_of(f"score-{supplier_id}", _HISTORY_COLUMNS, each(lines))


def name_of(row: dict[str, Any]) -> str:
    """What a supplier is called on the dashboard."""
    return row.get("business_name") or row.get("first_name") or f"Supplier {row['id'][:8]}"


# the chart -------------------------------------------------------------------------------------------


def _chart(
    history: list[dict[str, Any]], found: dict[str, Any], now: datetime, names: words.Names
) -> dict[str, Any]:
    """What the script draws: a step a change, with its causes in words, to now; then what silence will do."""
    forecast = _forecast(found)
    return {
        "points": [
            {
                "at": to_ms(change["at"]),
                "score": change["score"],
                "level": change["level"],
                "why": _why(change, names),
            }
            for change in history
        ],
        "now": to_ms(now),
        "score": found["score"],
        "forecast": None if forecast is None else {"at": to_ms(forecast["at"]), "level": forecast["level"]},
    }


def _forecast(found: dict[str, Any]) -> dict[str, Any] | None:
    facts = found["facts"] or {}
    at, level = facts.get("next_level_at"), facts.get("next_level_if_silent")
    return {"at": datetime.fromisoformat(at), "level": level} if at and level else None


def _components(found: dict[str, Any], names: words.Names, rules: Rules) -> list[tuple[str, float, float]]:
    """Each component: what it is called, the points they have, and the most there are."""
    breakdown = found["breakdown"] or {}
    return [
        (names.components.get(name, name), breakdown.get(name, 0), most)
        for name, most in zip(COMPONENTS, rules.weights, strict=True)
    ]


def _why(change: dict[str, Any], names: words.Names) -> str:
    found = words.causes(change["causes"], names)
    return ", ".join(f"{component} {points(delta)}" for component, delta, _ in found)
