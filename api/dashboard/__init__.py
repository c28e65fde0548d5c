"""The dashboard for agents: server-rendered pages under `/dashboard`. docs/dashboard.md is its guide."""

from __future__ import annotations

from http import HTTPStatus

from fastapi import APIRouter, Request
from starlette.responses import RedirectResponse, Response

from api.dashboard import acts, assets, login, messages, population, supplier, system, today
from api.dashboard.rendering import PageRoute
from api.problems import Problem
from api.session import SignedIn

_elsewhere = APIRouter(route_class=PageRoute, include_in_schema=False)


@_elsewhere.get("/dashboard/{rest:path}")
async def nothing_here(request: Request, rest: str, agent: SignedIn) -> Response:
    """A page that says so; an address with a slash too many is led to the one without."""
    del agent
    if rest.endswith("/") or not rest:
        # Without scheme and host: behind a proxy that ends TLS ours are not the browser's.
        query = f"?{request.url.query}" if request.url.query else ""
        return RedirectResponse(request.url.path.rstrip("/") + query)
    raise Problem(HTTPStatus.NOT_FOUND, "there is no such page")


router = APIRouter(tags=["dashboard"])
for _part in (assets, login, today, population, supplier, acts, messages, system):
    router.include_router(_part.router)
router.include_router(_elsewhere)  # last: it takes what nobody else did
