"""`/e/...`: what the links of our emails do. The signed token is the permission; nobody logs in.

Opens and clicks count on GET. Unsubscribing and preferences show a page on GET and act on POST only, because mail
gateways follow every link of an email (RFC 8058 is a POST for that reason). Links never expire.
"""

from __future__ import annotations

import base64
import hmac
import ipaddress
import logging
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs

from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from psycopg import InterfaceError, OperationalError
from psycopg_pool import PoolTimeout

from agents.feedback import change_consent, tell
from agents.letter import day_text
from agents.links import Action, Linked, is_web_address, link, sign, verify, verify_click
from api.auth import Caller
from api.pages import page
from api.services import InServices, Services
from scoring.consent import Consent, Wish
from scoring.feedback import Hit, HitKind, Rules
from store import consent as store
from store import feedback

logger = logging.getLogger(__name__)
_HTML: dict[str, Any] = {"content": {"text/html": {"schema": {"type": "string"}}}}
router = APIRouter(
    prefix="/e",
    tags=["links in emails"],
    responses={HTTPStatus.NOT_FOUND: {"description": "The link is none of ours, or is spoilt."} | _HTML},
)

PIXEL = base64.b64decode("R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7")
"""A transparent GIF of one pixel."""
NOT_KEPT = {"Cache-Control": "no-store, private, max-age=0", "Referrer-Policy": "no-referrer"}
LONGEST_FORM = 64 * 1024
CHOICES: dict[str, tuple[Wish, str]] = {
    "emails_off": (Wish(email_opt_out=True), "We send you no more emails of this kind."),
    "emails_on": (Wish(email_opt_out=False), "We may send you emails again."),
    "pause": (Wish(pause=True), "You hear nothing from us for 30 days."),
    "resume": (Wish(pause=False), "The break is over."),
    "all_off": (Wish(email_opt_out=True, all_opt_out=True), "Everything is switched off."),
    "all_on": (
        Wish(email_opt_out=False, all_opt_out=False, pause=False),
        "Everything is switched on again.",
    ),
}
"""What the buttons of the preference centre wish for, and what the page then says."""


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
    linked = verify("open", token, services.settings.secret("secret_key"))
    if linked is None:
        return Response(status_code=HTTPStatus.NOT_FOUND, headers=NOT_KEPT)
    await _count(services, request, linked, "open", "")
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
    click = verify_click(token, services.settings.secret("secret_key"))
    if click is None or not is_web_address(click.destination):
        return page("gone", HTTPStatus.NOT_FOUND)
    await _count(services, request, click.linked, "click", click.destination)
    return RedirectResponse(click.destination, HTTPStatus.FOUND, headers=NOT_KEPT)


@router.get("/unsubscribe/{token}", response_class=HTMLResponse)
@router.head("/unsubscribe/{token}", include_in_schema=False)
async def ask_to_unsubscribe(token: str, request: Request, services: InServices) -> Response:
    """Show a button; change nothing."""
    return await _show(services, request, "unsubscribe", token)


@router.post("/unsubscribe/{token}", response_class=HTMLResponse)
async def unsubscribe(token: str, services: InServices) -> Response:
    """Stop the emails before answering: RFC 8058's one click, or the page's button; whatever the body says."""
    linked = verify("unsubscribe", token, services.settings.secret("secret_key"))
    consent = linked and await _change(services, linked, Wish(email_opt_out=True))
    if not (linked and consent):
        return page("gone", HTTPStatus.NOT_FOUND)
    return _page_of("unsubscribe", services, linked, consent)


@router.get("/preferences/{token}", response_class=HTMLResponse)
@router.head("/preferences/{token}", include_in_schema=False)
async def show_preferences(token: str, request: Request, services: InServices) -> Response:
    """Show what she lets us send."""
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
    responses={HTTPStatus.BAD_REQUEST: {"description": "The form's choice is not understood."} | _HTML},
)
async def change_preferences(token: str, request: Request, services: InServices) -> Response:
    """Change what she lets us send by the form's `choice`: one of `CHOICES`."""
    linked = verify("preferences", token, services.settings.secret("secret_key"))
    if linked is None:
        return page("gone", HTTPStatus.NOT_FOUND)
    choice = CHOICES.get(await _chosen(request))
    if choice is None:
        return page("not_understood", HTTPStatus.BAD_REQUEST)
    wish, said = choice
    consent = await _change(services, linked, wish)
    if consent is None:
        return page("gone", HTTPStatus.NOT_FOUND)
    return _page_of("preferences", services, linked, consent, said)


# what they have in common ----------------------------------------------------------------------------


def _herself(linked: Linked) -> Caller:
    """Whoever holds a link of hers acts as the supplier herself, under the same row-level security."""
    return Caller("supplier", linked.supplier_id)


async def _show(services: Services, request: Request, action: Action, token: str) -> Response:
    linked = verify(action, token, services.settings.secret("secret_key"))
    if linked is None:
        return page("gone", HTTPStatus.NOT_FOUND)
    await _count(services, request, linked, "view", action)
    async with services.transaction(_herself(linked)) as conn:
        consent = await store.read(conn, linked.supplier_id)
    if consent is None:
        return page("gone", HTTPStatus.NOT_FOUND)
    return _page_of(action, services, linked, consent)


async def _change(services: Services, linked: Linked, wish: Wish) -> Consent | None:
    now = services.clock.now_ms()
    async with services.transaction(_herself(linked)) as conn:
        consent = await change_consent(conn, linked.supplier_id, wish, now)
        if consent is not None and wish.email_opt_out:
            told = await store.mark_unsubscribed(conn, *linked, now)
            await tell(conn, [told] if told else [])
    services.wake_publisher()
    return consent


async def _count(services: Services, request: Request, linked: Linked, kind: HitKind, where: str) -> None:
    """Keep a hit. She gets her picture or page all the same while Postgres is away."""
    settings = services.settings
    hit = Hit(
        kind,
        services.clock.now_ms(),
        request.headers.get("user-agent", ""),
        request.method,
        _short(where),
    )
    network = _network_hash(request.client.host if request.client else "", settings.secret("secret_key"))
    try:
        async with services.transaction(_herself(linked)) as conn:
            await feedback.note_hit(conn, *linked, hit, network, Rules.load())
    except (OperationalError, InterfaceError, PoolTimeout) as error:
        logger.warning("a hit on intervention %s is lost: %s", linked.intervention_id, error)


def _page_of(
    action: Action, services: Services, linked: Linked, consent: Consent, said: str = ""
) -> Response:
    variables: dict[str, Any] = {"consent": consent}
    if action == "unsubscribe":
        settings = services.settings
        token = sign("preferences", *linked, settings.secret("secret_key"))
        variables["preferences_url"] = link(settings.public_url, "preferences", token)
    else:
        until = consent.paused_until if consent.is_paused(services.clock.now_ms()) else None
        variables |= {"said": said, "paused_until": until and day_text(until, None)}
    return page(action, **variables)


async def _chosen(request: Request) -> str:
    """The form's `choice`; empty for a form without one, or one far too long."""
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > LONGEST_FORM:
            return ""
    fields = parse_qs(body.decode("utf-8", "replace"))
    return fields.get("choice", [""])[0]


def _short(where: str) -> str:
    """Tell links of a message apart without repeating what a long one says."""
    return where if len(where) <= feedback.LONGEST_TEXT else where[: feedback.LONGEST_TEXT]


def _network_hash(address: str, key: str) -> bytes | None:
    """A keyed hash of the caller's network (/24 or /48); no address of anybody is kept."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return None
    network = ipaddress.ip_network((address, 24 if parsed.version == 4 else 48), strict=False)  # noqa: PLR2004
    return hmac.digest(key.encode(), b"network\0" + str(network).encode(), "sha256")[:16]
