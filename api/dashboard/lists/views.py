"""Lists that an agent keeps under a name, for themselves or for the team."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Literal
from uuid import UUID, uuid4

from fastapi import APIRouter, Form, Path
from starlette.responses import RedirectResponse, Response

from api.dashboard.forms import clean
from api.dashboard.lists.filters import of_text
from api.dashboard.rendering import PageRoute
from api.dashboard.session import CheckedCsrf, SignedIn
from api.problems import Problem
from api.services import InServices
from store.dashboard import lists
from store.times import to_time

router = APIRouter(route_class=PageRoute, include_in_schema=False, dependencies=[CheckedCsrf])

Query = Annotated[str, Form(max_length=2000)]


@router.post("/dashboard/views")
async def keep(
    agent: SignedIn,
    services: InServices,
    name: Annotated[str, Form(max_length=60)],
    query: Query = "",
    shared: Annotated[Literal["", "1"], Form()] = "",
) -> Response:
    """Keep filters, order and columns under a name; the agent's earlier view of that name is replaced."""
    said = " ".join(clean(name).split())
    if not said:
        raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "a view has a name")
    kept = of_text(query).kept()
    now = to_time(services.clock.now_ms())
    async with services.transaction(agent) as conn:
        await lists.keep_view(conn, str(uuid4()), agent.subject, said, kept.query(), now, shared=bool(shared))
    return RedirectResponse(f"/dashboard/suppliers?{kept.query(said='view_kept')}", HTTPStatus.SEE_OTHER)


@router.post("/dashboard/views/{viewId}/drop")
async def drop(
    view_id: Annotated[UUID, Path(alias="viewId")], agent: SignedIn, services: InServices
) -> Response:
    """Forget a view of one's own."""
    async with services.transaction(agent) as conn:
        await lists.drop_view(conn, str(view_id), agent.subject)
    return RedirectResponse("/dashboard/suppliers?said=view_dropped", HTTPStatus.SEE_OTHER)
