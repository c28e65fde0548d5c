"""Who moved from one level to another, and why."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from api.auth import Caller
from api.dashboard.lists.filters import CSV_PAGE, PAGE, Level, log_export
from api.dashboard.newness import up_to_date
from api.dashboard.paging import moment_of, next_moment
from api.dashboard.rendering import PageRoute, csv_of, page
from api.dashboard.session import SignedIn
from api.dashboard.today.page import explained
from api.services import InServices, Services
from store.dashboard import population as store
from store.times import to_time

router = APIRouter(route_class=PageRoute, include_in_schema=False, dependencies=[up_to_date])

CHANGE_COLUMNS = ("at", "id", "business_name", "previous", "level", "score", "why")


@router.get("/dashboard/changes")
async def changes(
    request: Request,
    agent: SignedIn,
    services: InServices,
    previous: Annotated[Level | Literal["", "first"], Query(alias="from")] = "",
    level: Annotated[Level | Literal[""], Query(alias="to")] = "",
    worse: Literal["", "1"] = "",
    days: Annotated[int, Query(ge=1, le=3660)] = 1,
    day: date | None = None,
    after: str = "",
    format: Literal["", "csv"] = "",  # noqa: A002 - the address's word
) -> Response:
    """Who moved from one level to another, and why."""
    since = to_time(services.clock.now_ms()) - timedelta(days=days)
    start = moment_of(after)
    if day is not None:
        since = datetime.combine(day, time(), UTC)
        start = start if after else store.Moment(since + timedelta(days=1), str(UUID(int=0)))
    elif days > 1:  # whole days, as the chart and the matrix count them
        since = datetime.combine(since.astimezone(UTC).date(), time(), UTC)
    wanted = store.ChangeFilter(
        since=since,
        previous={"": None, "first": ""}.get(previous, previous),
        level=level or None,
        worse_only=bool(worse),
    )
    if format == "csv":
        await log_export(services, agent, "changes", request)
        return csv_of("changes", CHANGE_COLUMNS, _all_changes(services, agent, wanted, start))
    async with services.transaction(agent) as conn:
        found = await store.level_changes(conn, wanted, start, PAGE + 1)
        rows = await explained(conn, found[:PAGE], services.letters)
    more = next_moment(found, PAGE, "at")
    name = "_change_rows" if after else "changes"
    return page(
        request, name, rows=rows, more=more, previous=previous, level=level, worse=worse, days=days, day=day
    )


async def _all_changes(
    services: Services, agent: Caller, wanted: store.ChangeFilter, after: store.Moment
) -> AsyncIterator[dict[str, Any]]:
    while True:
        async with services.transaction(agent) as conn:
            found = await store.level_changes(conn, wanted, after, CSV_PAGE)
            rows = await explained(conn, found, services.letters)
        for row in rows:
            why = "; ".join(f"{component} {delta:+.1f}" for component, delta, _ in row["causes"])
            why = "their first 14 days are over" if row["ended"] else why
            yield row | {"why": why, "business_name": (row["supplier"] or {}).get("business_name")}
        if len(found) < CSV_PAGE:
            return
        after = store.Moment(found[-1]["at"], found[-1]["id"])
