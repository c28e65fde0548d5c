"""The demo's own addresses on its own API: short, good as long as the demo runs, and nowhere else.

`/demo` leads to both of the others; `/demo/dashboard` signs an agent in; `/demo/coach` opens the protagonist's page.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from html import escape
from http import HTTPStatus
from urllib.parse import urlencode

from fastapi import FastAPI, Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response

from api.auth import Caller, sign
from api.dashboard.session import HOME, sign_in
from api.services import services
from replay.simulator.people import Person
from runtime.settings import Settings

AGENT = "demo"
TOKEN_LASTS_S = 12 * 3600
PAGE = """<!doctype html>
<html lang="en-GB">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>The demo · WedSync</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="/demo/host.css">
<header><p class="brand">WedSync success: the demo</p></header>
<main>
<h1>Sixty days in three minutes</h1>
<p>Two hundred suppliers live through the engine while you look. Follow {name} of {business}: five clients and one
form in two weeks, then silence; the letter that comes; the call; and what becomes of it.</p>
<ol>
<li><a href="/demo/dashboard">The agents' dashboard</a>: whom to call today and why, how levels move, and each
supplier's whole story. <a href="/demo/dashboard?supplier">{name}'s page</a> explains every change of the score.</li>
<li><a href="/demo/coach">What {name} sees</a>: the product's page with the coach in its corner. What you do there
counts once the story has reached today.</li>
</ol>
</main>
</html>
"""


def add(app: FastAPI, settings: Settings, protagonist: Person) -> None:
    """Add the pages to the demo's API."""

    @app.get("/demo", include_in_schema=False)
    async def begin() -> Response:
        text = PAGE.format(name=escape(protagonist.first_name), business=escape(protagonist.business_name))
        return HTMLResponse(text)

    @app.get("/demo/dashboard", include_in_schema=False)
    async def dashboard(request: Request) -> Response:
        to = f"{HOME}/suppliers/{protagonist.id}" if "supplier" in request.query_params else HOME
        response = RedirectResponse(to, HTTPStatus.SEE_OTHER)
        await sign_in(request, response, Caller("agent", AGENT))
        return response

    @app.get("/demo/coach", include_in_schema=False)
    async def coach() -> Response:
        now = int(time.time())
        tokens = {
            "token": sign(settings, "supplier", protagonist.id, TOKEN_LASTS_S, now),
            "service": sign(settings, "service", AGENT, TOKEN_LASTS_S, now),
            "clock": "/demo/now",
        }
        return RedirectResponse(f"/demo/host#{urlencode(tokens)}", HTTPStatus.SEE_OTHER)

    @app.get("/demo/now", include_in_schema=False)
    async def now(request: Request) -> Response:
        at = datetime.fromtimestamp(services(request).clock.now_ms() / 1000, UTC)
        return JSONResponse({"now": at.isoformat()})
