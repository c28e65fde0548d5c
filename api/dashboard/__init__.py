"""The dashboard for agents: server-rendered pages under `/dashboard`. docs/dashboard.md is its guide."""

from __future__ import annotations

from http import HTTPStatus

from fastapi import APIRouter, Request
from starlette.responses import RedirectResponse, Response

from api.dashboard import acts, assets, live, login, messages, oidc, population, supplier
from api.dashboard.lists import changes, selection, suppliers, tags, views
from api.dashboard.rendering import PageRoute
from api.dashboard.rules import draft as rules_draft
from api.dashboard.rules import letters as rules_letters
from api.dashboard.rules import page as rules
from api.dashboard.rules import rollback as rules_rollback
from api.dashboard.rules import texts as rules_texts
from api.dashboard.rules import trial as rules_trial
from api.dashboard.session import SignedIn
from api.dashboard.system import page as system
from api.dashboard.today import page as today
from api.dashboard.today import tasks
from api.dashboard.writing import page as writing
from api.problems import Problem

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
_OF_RULES = (rules, rules_draft, rules_texts, rules_trial, rules_rollback, rules_letters)
_LISTS = (suppliers, changes, selection, tags, views)
for _part in (
    assets,
    live,
    login,
    oidc,
    today,
    tasks,
    population,
    *_LISTS,
    supplier,
    acts,
    writing,
    messages,
    *_OF_RULES,
    system,
):
    router.include_router(_part.router)
router.include_router(_elsewhere)  # last: it takes what nobody else did
