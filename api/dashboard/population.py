"""The population: levels over time, movement, distribution, cohorts. Every mark opens a list (api/dashboard/lists)."""

from __future__ import annotations

from datetime import UTC, date, timedelta
from typing import Any, Literal

from fastapi import APIRouter, Request
from starlette.responses import Response

from api.dashboard.newness import up_to_date
from api.dashboard.rendering import PageRoute, csv_of, each, page
from api.dashboard.session import SignedIn
from api.services import InServices
from store.dashboard import population as store
from store.times import to_time

router = APIRouter(route_class=PageRoute, include_in_schema=False, dependencies=[up_to_date])

COHORTS = 26
"""Weeks of sign-up that the table shows."""


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
