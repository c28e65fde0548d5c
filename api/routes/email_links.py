"""`/e/...`: what the links of our emails do. The signed token is the permission; nobody logs in.

Opens and clicks count on GET. Unsubscribing and preferences show a page on GET and act on POST only, because mail
gateways follow every link of an email (RFC 8058 is a POST for that reason). Links never expire.
"""

from __future__ import annotations

import base64
from dataclasses import replace
from http import HTTPStatus
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from psycopg import AsyncConnection

from agents.acts.consent import change_consent
from agents.acts.events import tell
from agents.letters.links import Action, Click, Linked, is_web_address, link, sign, verify, verify_click
from agents.letters.words import CALL_PATH
from api.routes.linked import HTML, NO_SUCH_LINK, LinkRoute, count, form_of, gone, reader_of, show, themselves
from api.services import InServices, Services
from runtime.keys import Keys
from runtime.settings import STAND_IN
from scoring.decisions.consent import Consent, Wish
from scoring.decisions.limits import TooOftenError
from store.people import consent as store

router = APIRouter(prefix="/e", tags=["links in emails"], responses=NO_SUCH_LINK, route_class=LinkRoute)

PIXEL = base64.b64decode("R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7")
"""A transparent GIF of one pixel."""
NOT_KEPT = {"Cache-Control": "no-store, private, max-age=0", "Referrer-Policy": "no-referrer"}
CHOICES: dict[str, Wish] = {
    "emails_off": Wish(email_opt_out=True),
    "emails_on": Wish(email_opt_out=False),
    "pause": Wish(pause=True),
    "resume": Wish(pause=False),
    "all_off": Wish(email_opt_out=True, all_opt_out=True),
    "all_on": Wish(email_opt_out=False, all_opt_out=False, pause=False),
}
"""What the buttons of the preference centre wish for; the page then says what was done."""


@router.get(
    "/open/{token}.gif",
    response_class=Response,
    responses={
        HTTPStatus.OK: {"content": {"image/gif": {"schema": {"type": "string", "format": "binary"}}}},
        HTTPStatus.NOT_FOUND: {"description": "The link is none of ours, or is spoilt.", "content": {}},
    },
)
@router.head("/open/{token}.gif", include_in_schema=False)
async def opened(token: str, request: Request, services: InServices) -> Response:
    """Count an open; a pixel."""
    linked = verify("open", token, services.settings.keys("secret_key"))
    if linked is None:
        return Response(status_code=HTTPStatus.NOT_FOUND, headers=NOT_KEPT)
    await count(services, request, linked, "open", "")
    return Response(PIXEL, media_type="image/gif", headers=NOT_KEPT)


@router.get(
    "/click/{token}",
    status_code=HTTPStatus.FOUND,
    response_class=RedirectResponse,
    responses={HTTPStatus.FOUND: {"description": "Leads to the address that was signed."}},
)
@router.head("/click/{token}", include_in_schema=False)
async def clicked(token: str, request: Request, services: InServices) -> Response:
    """Count a click and lead to the address that was signed, and to no other."""
    click = verify_click(token, services.settings.keys("secret_key"))
    if click is None or not is_web_address(click.destination):
        return gone(services, request)
    await count(services, request, click.linked, "click", click.destination)
    where = _landing(services, click)
    return RedirectResponse(where, HTTPStatus.FOUND, headers=NOT_KEPT)


@router.get("/unsubscribe/{token}", response_class=HTMLResponse)
@router.head("/unsubscribe/{token}", include_in_schema=False)
async def ask_to_unsubscribe(token: str, request: Request, services: InServices) -> Response:
    """Show a button; change nothing."""
    return await _show(services, request, "unsubscribe", token)


@router.post("/unsubscribe/{token}", response_class=HTMLResponse)
async def unsubscribe(token: str, request: Request, services: InServices) -> Response:
    """Stop the emails before answering: RFC 8058's one click, or the page's button; whatever the body says."""
    linked = verify("unsubscribe", token, services.settings.keys("secret_key"))
    consent = linked and await _change(services, linked, Wish(email_opt_out=True))
    if not (linked and consent):
        return gone(services, request)
    return await _page_of("unsubscribe", services, linked, consent)


@router.get("/preferences/{token}", response_class=HTMLResponse)
@router.head("/preferences/{token}", include_in_schema=False)
async def show_preferences(token: str, request: Request, services: InServices) -> Response:
    """Show what they let us send."""
    return await _show(services, request, "preferences", token)


@router.post(
    "/preferences/{token}",
    response_class=HTMLResponse,
    openapi_extra={
        "requestBody": {
            "content": {
                "application/x-www-form-urlencoded": {
                    "schema": {
                        "type": "object",
                        "required": ["choice"],
                        "properties": {"choice": {"enum": list(CHOICES)}},
                    }
                }
            }
        }
    },
    responses={
        HTTPStatus.BAD_REQUEST: {"description": "The form's choice is not understood."} | HTML,
        HTTPStatus.TOO_MANY_REQUESTS: {"description": "Too many changes in a day."} | HTML,
    },
)
async def change_preferences(token: str, request: Request, services: InServices) -> Response:
    """Change what they let us send by the form's `choice`: one of `CHOICES`."""
    linked = verify("preferences", token, services.settings.keys("secret_key"))
    if linked is None:
        return gone(services, request)
    chosen = (await form_of(request)).get("choice", "")
    wish = CHOICES.get(chosen)
    reader = await reader_of(services, linked)
    if wish is None:
        return show(services, "not_understood", reader, HTTPStatus.BAD_REQUEST)
    try:
        consent = await _change(services, linked, wish)
    except TooOftenError:
        return show(services, "too_often", reader, HTTPStatus.TOO_MANY_REQUESTS)
    if consent is None:
        return gone(services, request)
    return await _page_of("preferences", services, linked, consent, chosen)


def _landing(services: Services, click: Click) -> str:
    """Where a click lands. Letters of before had the product's pages below this engine's own address."""
    settings = services.settings
    path = click.destination.removeprefix(settings.public_url)
    if path == click.destination or path.startswith(("/e/", STAND_IN)):
        return click.destination
    if path == CALL_PATH:
        token = sign("book", *click.linked, settings.secret("secret_key"))
        return link(settings.public_url, "book", token)
    return settings.product_url() + path


# what they have in common ----------------------------------------------------------------------------


async def _show(services: Services, request: Request, action: Action, token: str) -> Response:
    linked = verify(action, token, services.settings.keys("secret_key"))
    if linked is None:
        return gone(services, request)
    await count(services, request, linked, "view", action)
    async with services.transaction(themselves(linked)) as conn:
        consent = await store.read(conn, linked.supplier_id)
        if consent is not None:
            consent = await _with_address(conn, linked, consent, services.settings.keys("secret_key"))
    if consent is None:
        return gone(services, request)
    return await _page_of(action, services, linked, consent)


async def _change(services: Services, linked: Linked, wish: Wish) -> Consent | None:
    now = services.clock.now_ms()
    async with services.transaction(themselves(linked)) as conn:
        keys = services.settings.keys("secret_key")
        consent = await change_consent(
            conn, linked.supplier_id, wish, now, keys, message_id=linked.intervention_id, is_counted=True
        )
        if consent is not None and wish.email_opt_out:
            told = await store.mark_unsubscribed(conn, *linked, now)
            await tell(conn, [told] if told else [])
        if consent is not None:
            consent = await _with_address(conn, linked, consent, keys)
    services.wake_publisher()
    return consent


async def _with_address(conn: AsyncConnection, linked: Linked, consent: Consent, keys: Keys) -> Consent:
    """The consent as the page shows it: no emails either where somebody else opted this address out."""
    held = await store.is_held(conn, *linked, keys)
    return replace(consent, email_opt_out=consent.email_opt_out or held)


async def _page_of(
    action: Action, services: Services, linked: Linked, consent: Consent, done: str = ""
) -> Response:
    reader = await reader_of(services, linked)
    variables: dict[str, Any] = {"consent": consent}
    if action == "unsubscribe":
        settings = services.settings
        token = sign("preferences", *linked, settings.secret("secret_key"))
        variables["preferences_url"] = link(settings.public_url, "preferences", token)
    else:
        until = consent.paused_until if consent.is_paused(services.clock.now_ms()) else None
        variables |= {"done": done, "paused_until": until, "zone": reader and reader.timezone}
    return show(services, action, reader, **variables)
