"""Lists of suppliers, the search, and both as CSV."""

from __future__ import annotations

from collections.abc import AsyncIterator
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from api.auth import Caller
from api.dashboard.lists import filters as shown
from api.dashboard.lists.filters import CSV_PAGE, LONGEST, PAGE, Filters, InAddress, log_export
from api.dashboard.newness import up_to_date
from api.dashboard.rendering import PageRoute, csv_of, page
from api.dashboard.session import SignedIn
from api.problems import Problem
from api.services import InServices, Services
from store.dashboard import lists, population

if TYPE_CHECKING:
    from collections.abc import Sequence

    from psycopg import AsyncConnection

router = APIRouter(route_class=PageRoute, include_in_schema=False, dependencies=[up_to_date])

SUPPLIER_COLUMNS = (
    "id", "business_name", "first_name", "email", "phone", "vendor_type", "plan", "level", "since", "score",
    "churn_probability", "last_login", "next_level", "next_level_at", "timezone", "cohort", "owner", "tags",
    "held_until", "email_opt_out", "all_opt_out", "cancelled",
)  # fmt: skip


@router.get("/dashboard/suppliers")
async def suppliers(
    request: Request,
    agent: SignedIn,
    services: InServices,
    filters: InAddress,
    after: str = "",
    format: Literal["", "csv"] = "",  # noqa: A002 - the address's word
) -> Response:
    """A list of suppliers: what a search found, or whom the filters leave."""
    if format == "csv":
        await log_export(services, agent, "suppliers", request)
        return csv_of("suppliers", SUPPLIER_COLUMNS, _all(services, agent, filters))
    near, more = False, None
    async with services.transaction(agent) as conn:
        if filters.q:
            ids, near = await population.find(conn, filters.q, PAGE)
        else:
            ids, more = await page_of(conn, filters, after, PAGE)
        rows = await described(conn, ids)
        choices = {} if after else await lists.choices(conn)
        views = [] if after else await lists.views(conn, agent.subject)
    name = "_supplier_rows" if after else "suppliers"
    return page(
        request,
        name,
        rows=rows,
        more=more,
        near=near,
        list=filters,
        shown=shown,
        choices=choices,
        views=views,
    )


@router.get("/dashboard/search")
async def search(
    request: Request,
    agent: SignedIn,
    services: InServices,
    q: Annotated[str, Query(max_length=LONGEST)] = "",
) -> Response:
    """What the search box shows while somebody types."""
    async with services.transaction(agent) as conn:
        ids, near = await population.find(conn, q, 8)
        known = await population.describe(conn, ids)
    return page(request, "_found", rows=[known[one] for one in ids if one in known], q=q, near=near)


async def page_of(
    conn: AsyncConnection, filters: Filters, after: str, most: int
) -> tuple[list[str], str | None]:
    """The ids of a page and where the next one begins; 422 if a list can't go on at `after`."""
    try:
        return await lists.suppliers(conn, filters.wanted(), filters.order, after, most)
    except lists.LostPlaceError:
        raise Problem(
            HTTPStatus.UNPROCESSABLE_ENTITY, "this list can't be gone on with; begin again"
        ) from None


async def described(conn: AsyncConnection, ids: Sequence[str]) -> list[dict[str, Any]]:
    """What a list shows of these suppliers, in their order; of who is gone meanwhile nothing."""
    known = await population.describe(conn, ids)
    labels = await lists.labels(conn, ids)
    return [known[one] | labels[one] for one in ids if one in known]


def as_lines(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The same for a file: tags as one text."""
    return [row | {"tags": " ".join(row["tags"])} for row in rows]


async def _all(services: Services, agent: Caller, filters: Filters) -> AsyncIterator[dict[str, Any]]:
    """Page by page, each in a transaction of its own: a long download holds nothing."""
    after: str | None = ""
    while after is not None:
        async with services.transaction(agent) as conn:
            if filters.q:
                ids, after = (await population.find(conn, filters.q, CSV_PAGE)).ids, None
            else:
                ids, after = await page_of(conn, filters, after, CSV_PAGE)
            rows = await described(conn, ids)
        for line in as_lines(rows):
            yield line
