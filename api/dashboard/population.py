"""The population: levels over time, movement, distribution, cohorts; and the lists that every mark opens."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, time, timedelta
from http import HTTPStatus
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from api.dashboard.newness import up_to_date
from api.dashboard.paging import moment_of, next_moment, next_place, place_of
from api.dashboard.rendering import PageRoute, csv_of, each, page
from api.dashboard.session import SignedIn
from api.dashboard.today.page import explained
from api.problems import Problem
from api.services import InServices, Services
from store import audit
from store.dashboard import population as store
from store.times import to_time

router = APIRouter(route_class=PageRoute, include_in_schema=False, dependencies=[up_to_date])

PAGE, CSV_PAGE = 50, 1000
COHORTS = 26
"""Weeks of sign-up that the table shows."""
Level = Literal["critical", "at_risk", "new", "healthy"]
Band = Annotated[int | None, Query(ge=0, le=19)]
SUPPLIER_COLUMNS = (
    "id", "business_name", "first_name", "email", "phone", "vendor_type", "plan", "level", "since", "score",
    "churn_probability", "last_login", "next_level", "next_level_at", "timezone", "cohort", "held_until",
    "email_opt_out", "all_opt_out", "cancelled",
)  # fmt: skip
CHANGE_COLUMNS = ("at", "id", "business_name", "previous", "level", "score", "why")


@router.get("/dashboard/population")
async def population(
    request: Request, agent: SignedIn, services: InServices, days: Literal["30", "90", "365"] = "90"
) -> Response:
    """How the whole population does."""
    now = to_time(services.clock.now_ms())
    today = now.astimezone(UTC).date()
    async with services.writer_pool.connection() as conn:
        await store.fold_tallies(conn)
    async with services.transaction(agent) as conn:
        moves = await store.population_moves(conn)
        standing = await store.population_now(conn)
    span = int(days)
    since = today - timedelta(days=span)
    series = over_time(moves, since, today)
    return page(
        request,
        "population",
        days=span,
        since=since,
        series=[day for day in series if any(day[level] for level in store.LEVELS)],
        movement=movement(moves, since),
        bands=distribution(standing),
        cohorts=cohorts(standing),
        total=sum(row["suppliers"] for row in standing),
    )


@router.get("/dashboard/population/movement.csv")
async def movement_csv(
    agent: SignedIn, services: InServices, days: Literal["30", "90", "365"] = "90"
) -> Response:
    """Every day's moves between levels as a table; empty is no score yet, or erased."""
    since = to_time(services.clock.now_ms()).astimezone(UTC).date() - timedelta(days=int(days))
    async with services.transaction(agent) as conn:
        moves = await store.population_moves(conn)
    lines = [move for move in moves if move["day"] >= since]
    return csv_of("movement", ("day", "previous", "level", "suppliers"), each(lines))


@router.get("/dashboard/population/levels.csv")
async def levels_csv(
    agent: SignedIn, services: InServices, days: Literal["30", "90", "365"] = "90"
) -> Response:
    """Suppliers of each level at the end of each day as a table."""
    today = to_time(services.clock.now_ms()).astimezone(UTC).date()
    async with services.transaction(agent) as conn:
        moves = await store.population_moves(conn)
    series = over_time(moves, today - timedelta(days=int(days)), today)
    return csv_of("levels", ("day", *store.LEVELS), each(series))


@router.get("/dashboard/population/scores.csv")
async def scores_csv(agent: SignedIn, services: InServices) -> Response:
    """Suppliers by band of five points and level as a table."""
    async with services.transaction(agent) as conn:
        standing = await store.population_now(conn)
    lines = [row | {"score_from": row["band"] * 5} for row in distribution(standing)]
    return csv_of("scores", ("score_from", *store.LEVELS), each(lines))


@router.get("/dashboard/population/cohorts.csv")
async def cohorts_csv(agent: SignedIn, services: InServices) -> Response:
    """Suppliers by week of sign-up and level as a table."""
    async with services.transaction(agent) as conn:
        standing = await store.population_now(conn)
    return csv_of("weeks", ("week", "total", *store.LEVELS), each(cohorts(standing)))


def over_time(moves: list[dict[str, Any]], since: date, today: date) -> list[dict[str, Any]]:
    """The number of suppliers of each level at the end of each day from `since` to `today`."""
    count = dict.fromkeys(store.LEVELS, 0)
    by_day: dict[date, list[dict[str, Any]]] = {}
    for move in moves:
        by_day.setdefault(max(move["day"], since), []).append(move)
    series = []
    for offset in range((today - since).days + 1):
        day = since + timedelta(days=offset)
        for move in by_day.get(day, ()):
            for level, sign in ((move["level"], 1), (move["previous"], -1)):
                if level in count:
                    count[level] += sign * move["suppliers"]
        series.append({"day": day, **count})
    return series


def movement(moves: list[dict[str, Any]], since: date) -> dict[tuple[str, str], int]:
    """How many moved from one level to another since then; `""` is no score yet, or erased."""
    found: dict[tuple[str, str], int] = {}
    for move in moves:
        if move["day"] >= since:
            key = (move["previous"], move["level"])
            found[key] = found.get(key, 0) + move["suppliers"]
    return found


def distribution(standing: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Each band of five points: how many suppliers of each level."""
    bands = [{"band": band, **dict.fromkeys(store.LEVELS, 0)} for band in store.BANDS]
    for row in standing:
        bands[row["band"]][row["level"]] += row["suppliers"]
    return bands


def cohorts(standing: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The newest weeks of sign-up, newest first, and at the end who signed up nobody knows when (`week` None)."""
    found: dict[date | None, dict[str, int]] = {}
    for row in standing:
        levels = found.setdefault(row["cohort"], dict.fromkeys(store.LEVELS, 0))
        levels[row["level"]] += row["suppliers"]
    weeks = sorted((week for week in found if week), reverse=True)[:COHORTS]
    order: list[date | None] = [*weeks, *([None] if None in found else [])]
    return [{"week": week, "total": sum(found[week].values()), **found[week]} for week in order]


# lists -----------------------------------------------------------------------------------------------


@router.get("/dashboard/suppliers")
async def suppliers(
    request: Request,
    agent: SignedIn,
    services: InServices,
    q: Annotated[str, Query(max_length=200)] = "",
    level: Level | Literal[""] = "",
    band: str = "",
    week: str = "",
    after: str = "",
    format: Literal["", "csv"] = "",  # noqa: A002 - the address's word
) -> Response:
    """A list of suppliers: what a search found, or whom the filters leave."""
    wanted = _supplier_filter(level, band, week)
    if format == "csv":
        lines = _searched(services, agent, q) if q.strip() else _all_suppliers(services, agent, wanted)
        await _log_export(services, agent, "suppliers", request)
        return csv_of("suppliers", SUPPLIER_COLUMNS, lines)
    async with services.transaction(agent) as conn:
        if q.strip():
            ids, more = await store.find(conn, q, PAGE), None
        else:
            found = await store.suppliers(conn, wanted, place_of(after), PAGE + 1)
            ids = [row["id"] for row in found[:PAGE]]
            more = next_place(found, PAGE)
        known = await store.describe(conn, ids)
    rows = [known[supplier_id] for supplier_id in ids if supplier_id in known]
    name = "_supplier_rows" if after else "suppliers"
    return page(request, name, rows=rows, more=more, q=q, level=level, band=band, week=week)


@router.get("/dashboard/search")
async def search(
    request: Request, agent: SignedIn, services: InServices, q: Annotated[str, Query(max_length=200)] = ""
) -> Response:
    """What the search box shows while somebody types."""
    async with services.transaction(agent) as conn:
        ids = await store.find(conn, q, 8)
        known = await store.describe(conn, ids)
    return page(request, "_found", rows=[known[one] for one in ids if one in known], q=q)


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
        await _log_export(services, agent, "changes", request)
        return csv_of("changes", CHANGE_COLUMNS, _all_changes(services, agent, wanted, start))
    async with services.transaction(agent) as conn:
        found = await store.level_changes(conn, wanted, start, PAGE + 1)
        rows = await explained(conn, found[:PAGE], services.letters)
    more = next_moment(found, PAGE, "at")
    name = "_change_rows" if after else "changes"
    return page(
        request, name, rows=rows, more=more, previous=previous, level=level, worse=worse, days=days, day=day
    )


async def _all_suppliers(
    services: Services, agent: SignedIn, wanted: store.SupplierFilter
) -> AsyncIterator[dict[str, Any]]:
    """Page by page, each in a transaction of its own: a long download holds nothing."""
    after = store.Place()
    while True:
        async with services.transaction(agent) as conn:
            found = await store.suppliers(conn, wanted, after, CSV_PAGE)
            known = await store.describe(conn, [row["id"] for row in found])
        for row in found:
            if row["id"] in known:
                yield known[row["id"]]
        if len(found) < CSV_PAGE:
            return
        after = store.Place(found[-1]["weight"], found[-1]["id"])


async def _searched(services: Services, agent: SignedIn, term: str) -> AsyncIterator[dict[str, Any]]:
    async with services.transaction(agent) as conn:
        ids = await store.find(conn, term, CSV_PAGE)
        known = await store.describe(conn, ids)
    for supplier_id in ids:
        if supplier_id in known:
            yield known[supplier_id]


async def _all_changes(
    services: Services, agent: SignedIn, wanted: store.ChangeFilter, after: store.Moment
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


async def _log_export(services: Services, agent: SignedIn, table: str, request: Request) -> None:
    """A download of many suppliers' data is noted."""
    filters = {name: value for name, value in request.query_params.items() if name != "q"}
    async with services.transaction(agent) as conn:
        actor = audit.Actor(agent.role, agent.subject)
        await audit.log(
            conn, actor, "dashboard.export", None, services.clock.now_ms(), table=table, filters=filters
        )


def _supplier_filter(level: str, band: str, week: str) -> store.SupplierFilter:
    try:
        number = int(band) if band else None
        cohort = date.fromisoformat(week) if week and week != "unknown" else None
    except ValueError:
        raise Problem(
            HTTPStatus.UNPROCESSABLE_ENTITY, "this address has a filter that nobody knows"
        ) from None
    if number is not None and number not in store.BANDS:
        raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "a score lies between 0 and 100")
    return store.SupplierFilter(level or None, number, cohort, unknown_cohort=week == "unknown")
