"""Messages by template: the funnel, reasons for not sending, variants and holdout side by side; lists of them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, time, timedelta
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from api.dashboard.paging import moment_of, next_moment
from api.dashboard.rendering import PageRoute, csv_of, each, page
from api.dashboard.session import SignedIn
from api.dashboard.words import template_name
from api.services import InServices, Services
from replay.impact.intervals import difference, share, verdict
from scoring.decisions.experiments import HOLDOUT, TREATED
from scoring.decisions.policy import BASE_VARIANT, Policy
from store.dashboard import messages as store
from store.dashboard import population as lists
from store.times import to_time

router = APIRouter(route_class=PageRoute, include_in_schema=False)

PAGE, CSV_PAGE = 50, 1000
_AHEAD = timedelta(days=4)
"""Rows may be due in the future: a period ends this far ahead."""
FUNNEL_COLUMNS = (
    "template", "channel", "sent", "opened", "clicked", "converted", "unsubscribed", "bounced", "complained", "waiting",
    "suppressed", "failed", "unknown",
)  # fmt: skip
MESSAGE_COLUMNS = (
    "id", "supplier_id", "business_name", "trigger_condition", "intervention_type", "template_used", "status", "reason",
    "why", "due_at", "sent_at", "opened_at", "clicked_at", "converted_at", "unsubscribed_at", "experiment", "variant",
)  # fmt: skip
VARIANT_COLUMNS = (
    "experiment",
    "variant",
    "template",
    "sent",
    "opened",
    "clicked",
    "converted",
    "unsubscribed",
)
Days = Literal["1", "7", "28", "90"]
Short = Annotated[str, Query(max_length=80, pattern=r"^[^\x00]*$")]


@router.get("/dashboard/messages")
async def messages(
    request: Request,
    agent: SignedIn,
    services: InServices,
    days: Days = "28",
    format: Literal["", "csv"] = "",  # noqa: A002 - the address's word
) -> Response:
    """What became of messages, template by template."""
    period = _period(services, days)
    async with services.transaction(agent) as conn:
        funnel = await store.funnel(conn, period)
        if format == "csv":
            return csv_of("messages", FUNNEL_COLUMNS, each(funnel))
        reasons = await store.reasons(conn, period)
        variants = await store.variants(conn, period)
        held_out = await store.holdout(conn, period, _goals(services.policy))
    return page(
        request,
        "messages",
        days=int(days),
        since=period.since,
        funnel=funnel,
        reasons=by_reason(reasons),
        experiments=experiments(variants),
        holdout=compared_with_none(held_out),
        share=share,
    )


@router.get("/dashboard/messages/reasons.csv")
async def reasons_csv(agent: SignedIn, services: InServices, days: Days = "28") -> Response:
    """Why messages were not sent, by template, as a table."""
    async with services.transaction(agent) as conn:
        found = await store.reasons(conn, _period(services, days))
    return csv_of("reasons", ("template", "reason", "messages"), each(found))


@router.get("/dashboard/messages/variants.csv")
async def variants_csv(agent: SignedIn, services: InServices, days: Days = "28") -> Response:
    """What became of each variant, as a table."""
    async with services.transaction(agent) as conn:
        found = await store.variants(conn, _period(services, days))
    return csv_of("variants", VARIANT_COLUMNS, each(found))


@router.get("/dashboard/messages/holdout.csv")
async def holdout_csv(agent: SignedIn, services: InServices, days: Days = "28") -> Response:
    """How many of each group of the holdout reached the goal, as a table."""
    async with services.transaction(agent) as conn:
        found = await store.holdout(conn, _period(services, days), _goals(services.policy))
    return csv_of("holdout", ("variant", "messages", "reached"), each(found))


@router.get("/dashboard/messages/list")
async def message_list(
    request: Request,
    agent: SignedIn,
    services: InServices,
    template: Short = "",
    status: Short = "",
    reason: Short = "",
    outcome: Literal["", "opened", "clicked", "converted", "unsubscribed"] = "",
    variant: Short = "",
    days: Days = "28",
    after: str = "",
    format: Literal["", "csv"] = "",  # noqa: A002 - the address's word
) -> Response:
    """Single messages, due last first."""
    if not (template or status or reason):
        status = "sent"
    variant = variant if template else ""  # a variant is one of a template
    now = to_time(services.clock.now_ms())
    today = datetime.combine(now.astimezone(UTC).date(), time(), UTC)
    since = today - timedelta(days=int(days) - 1)
    wanted = store.MessageFilter(since, today + _AHEAD, template, status, reason, outcome, variant)
    if format == "csv":
        return csv_of("message-list", MESSAGE_COLUMNS, _all_messages(services, agent, wanted))
    async with services.transaction(agent) as conn:
        found = await store.messages(conn, wanted, moment_of(after), PAGE + 1)
        known = await lists.describe(conn, [row["supplier_id"] for row in found[:PAGE]])
    return page(
        request,
        "_message_rows" if after else "message_list",
        rows=found[:PAGE],
        known=known,
        more=next_moment(found, PAGE, "due_at"),
        template=template,
        status=status,
        reason=reason,
        outcome=outcome,
        variant=variant,
        days=int(days),
        templates=[
            (name, template_name(name)) for name in sorted({one.template for one in services.policy.triggers})
        ],
    )


def _period(services: Services, days: str) -> store.Period:
    """The last so many days, today and what is due soon included."""
    today = to_time(services.clock.now_ms()).astimezone(UTC).date()
    return store.Period(today - timedelta(days=int(days) - 1), today + _AHEAD)


def by_reason(found: list[dict[str, Any]]) -> dict[str, Any]:
    """Reasons as columns and templates as rows, both most first."""
    reasons: dict[str, int] = {}
    templates: dict[str, dict[str, int]] = {}
    for row in found:
        reasons[row["reason"]] = reasons.get(row["reason"], 0) + row["messages"]
        templates.setdefault(row["template"], {})[row["reason"]] = row["messages"]
    order = sorted(templates, key=lambda name: -sum(templates[name].values()))
    return {
        "reasons": sorted(reasons, key=lambda name: -reasons[name]),
        "rows": [(name, templates[name], sum(templates[name].values())) for name in order],
    }


def experiments(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Each experiment's variants with their shares; the others are compared with the base by conversion."""
    by_name: dict[str, list[dict[str, Any]]] = {}
    for row in found:
        by_name.setdefault(row["experiment"], []).append(row)
    return [{"name": name, "variants": _compared(rows)} for name, rows in by_name.items()]


def _compared(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    rows = sorted(rows, key=lambda row: (row["variant"] != BASE_VARIANT, row["variant"]))
    shares = [share(row["converted"], row["sent"]) for row in rows]
    base = shares[0] if rows[0]["variant"] == BASE_VARIANT else None
    compared = []
    for row, converted in zip(rows, shares, strict=True):
        lift = None
        if base and converted and row["variant"] != BASE_VARIANT:
            lift = difference(converted, base)
        compared.append(
            row
            | {
                "converted_share": converted,
                "opened_share": share(row["opened"], row["sent"]),
                "clicked_share": share(row["clicked"], row["sent"]),
                "lift": lift,
                "verdict": verdict(lift) if lift else None,
            }
        )
    return compared


def compared_with_none(found: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The treated and the holdout with their shares and the difference; None while there is no holdout."""
    groups = {row["variant"]: row for row in found}
    if HOLDOUT not in groups:
        return None
    shares = {name: share(row["reached"], row["messages"]) for name, row in groups.items()}
    treated, held_out = shares.get(TREATED), shares[HOLDOUT]
    lift = difference(treated, held_out) if treated and held_out else None
    return {
        "groups": [groups[name] | {"share": shares[name]} for name in (TREATED, HOLDOUT) if name in groups],
        "lift": lift,
        "verdict": verdict(lift) if lift else None,
        "most": store.COMPARED,
    }


def _goals(policy: Policy) -> list[dict[str, str]]:
    return [{"trigger": trigger.name, "goal": goal} for trigger in policy.triggers for goal in trigger.goals]


async def _all_messages(
    services: Services, agent: SignedIn, wanted: store.MessageFilter
) -> AsyncIterator[dict[str, Any]]:
    after = lists.Moment()
    while True:
        async with services.transaction(agent) as conn:
            found = await store.messages(conn, wanted, after, CSV_PAGE)
            known = await lists.describe(conn, [row["supplier_id"] for row in found])
        for row in found:
            yield row | {"business_name": known.get(row["supplier_id"], {}).get("business_name")}
        if len(found) < CSV_PAGE:
            return
        after = lists.Moment(found[-1]["due_at"], found[-1]["id"])
