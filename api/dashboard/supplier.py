"""One supplier: score over time with its causes, what silence will do, the timeline, and the best next action."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Any, Literal
from uuid import UUID, uuid4, uuid5

from fastapi import APIRouter, Path, Query, Request
from starlette.responses import Response

from api.dashboard import words
from api.dashboard.rendering import PageRoute, csv_of, each, page, points
from api.dashboard.session import SignedIn
from api.dashboard.timeline import timeline
from api.dashboard.today.calling import churn_reasons, snapshot_of
from api.dashboard.today.priority import local_time, priority
from api.problems import Problem
from api.services import InServices, Services
from scoring.advice.recommend import recommend, way_up
from scoring.decisions.calls import propose
from scoring.decisions.decide import Decision, Row, decide
from scoring.decisions.policy import Trigger
from scoring.time import DAY
from scoring.zones import zone_words
from store.dashboard import population as lists
from store.dashboard import supplier as store
from store.people import calls as call_store
from store.times import to_ms, to_time

if TYPE_CHECKING:
    from psycopg import AsyncConnection

router = APIRouter(route_class=PageRoute, include_in_schema=False)

SupplierId = Annotated[UUID, Path(alias="supplierId")]
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
    now = to_time(now_ms)
    async with services.transaction(agent) as conn:
        found = await store.supplier(conn, str(supplier_id))
        if found is None:
            raise Problem(HTTPStatus.NOT_FOUND, "there is no such supplier; they may have been erased")
        history = await store.history(conn, found["id"], now - timedelta(days=int(days)))
        entries, older = timeline(
            await store.happened(conn, found["id"], lists.END_OF_TIME, ENTRIES + 20), ENTRIES
        )
        calls = await store.open_calls(conn, found["id"])
        facts = await lists.call_facts(conn, [found["id"]])
        options = await message_options(conn, services, found, now_ms) if found["seq"] else []
        taken = await call_store.taken(conn, now_ms)
    policy = services.policy
    times = propose(now_ms, taken, policy.calls, found["timezone"], policy.hours, TIMES)
    snapshot = snapshot_of(found)
    zone = policy.hours.zone
    return page(
        request,
        "supplier",
        supplier=found,
        name=name_of(found),
        history=history,
        chart=_chart(history, found, now),
        days=int(days),
        entries=entries,
        older=older,
        calls=calls,
        urgency=priority(facts[0], now, policy.hours) if facts else None,
        advice=recommend(snapshot)[:ADVICE] if snapshot else [],
        way=way_up(snapshot) if snapshot else None,
        signals=churn_reasons(found["facts"])[:SIGNALS],
        options=options,
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
    until = lists.END_OF_TIME if before is None else before.replace(tzinfo=before.tzinfo or UTC)
    most = CSV_ENTRIES if format == "csv" else ENTRIES
    async with services.transaction(agent) as conn:
        happened = await store.happened(conn, str(supplier_id), until, most + 20)
    entries, more = timeline(happened, most)
    if format == "csv":
        lines = [
            {name: getattr(entry, name) for name in _TIMELINE_COLUMNS} | {"details": "; ".join(entry.details)}
            for entry in entries
        ]
        return csv_of(f"timeline-{supplier_id}", _TIMELINE_COLUMNS, each(lines))
    return page(request, "_entries", entries=entries, older=more, supplier_id=str(supplier_id))


@router.get("/dashboard/suppliers/{supplierId}/history.csv")
async def history_csv(supplier_id: SupplierId, agent: SignedIn, services: InServices) -> Response:
    """Every stored change of the score (the newest 1,500) as a table."""
    async with services.transaction(agent) as conn:
        history = await store.history(conn, str(supplier_id), to_time(0))
    lines = [change | {"why": _why(change)} for change in history]
    return csv_of(f"score-{supplier_id}", _HISTORY_COLUMNS, each(lines))


def name_of(row: dict[str, Any]) -> str:
    """What a supplier is called on the dashboard."""
    return row.get("business_name") or row.get("first_name") or f"Supplier {row['id'][:8]}"


# messages --------------------------------------------------------------------------------------------


def offered(trigger: Trigger) -> bool:
    """Whether an agent may ask for a trigger's message: not for what celebrates something that happened."""
    return not trigger.cause.startswith("milestone:") and trigger.cause != "condition:signed_up"


def requested_row(trigger: Trigger, signal_id: UUID, seq: int, now_ms: int) -> Row:
    """The row that an agent's request makes: due now, to be decided like every other."""
    return Row(
        id=str(uuid5(signal_id, trigger.name)),
        trigger=trigger.name,
        channel=trigger.channel,
        kind=trigger.kind,
        priority=trigger.priority,
        signal_at=now_ms,
        due_at=now_ms,
        seq=seq,
    )


async def message_options(
    conn: AsyncConnection, services: Services, found: dict[str, Any], now_ms: int
) -> list[tuple[Trigger, Decision]]:
    """What could be sent, each with what delivery would decide of it now: the agent knows before they ask."""
    policy = services.policy
    span = max(policy.caps.window_ms, policy.spacing.after_rescue_ms) + DAY
    facts, counted = await store.known_for_decision(
        conn, found["id"], found["email"], now_ms, span, services.settings.keys("secret_key")
    )
    options = []
    for trigger in filter(offered, policy.triggers):
        row = requested_row(trigger, UUID(int=0), found["seq"], now_ms)
        options.append((trigger, decide(facts, [row], counted, now_ms, policy)[0]))
    return sorted(options, key=lambda one: ({"send": 0, "wait": 1}.get(one[1].action, 2), -one[0].priority))


# the chart -------------------------------------------------------------------------------------------


def _chart(history: list[dict[str, Any]], found: dict[str, Any], now: datetime) -> dict[str, Any]:
    """What the script draws: a step a change, with its causes in words, to now; then what silence will do."""
    forecast = _forecast(found)
    return {
        "points": [
            {
                "at": to_ms(change["at"]),
                "score": change["score"],
                "level": change["level"],
                "why": _why(change),
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


def _why(change: dict[str, Any]) -> str:
    return ", ".join(f"{component} {points(delta)}" for component, delta, _ in words.causes(change["causes"]))
