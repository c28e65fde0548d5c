"""`/e/milestone/...`: what they have reached, to be looked at once more and shared; shows only."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse

from agents.letters.names import first_name, readable
from api.routes.linked import NO_SUCH_LINK, LinkRoute, gone, held, show, themselves
from api.services import InServices
from scoring.advice.book import MILESTONES, book_of
from store import milestones as store

router = APIRouter(prefix="/e", tags=["links in emails"], responses=NO_SUCH_LINK, route_class=LinkRoute)


@router.get("/milestone/{token}", response_class=HTMLResponse)
@router.head("/milestone/{token}", include_in_schema=False)
async def show_milestone(token: str, request: Request, services: InServices) -> Response:
    """Show a milestone that they have reached, else the newest, and what to say of it to others."""
    link = await held(services, "milestone", token)
    if link is None:
        return gone(services, request)
    linked, reader = link
    there_are = book_of(services.policy.rules).milestones
    async with services.transaction(themselves(linked)) as conn:
        reached = [
            each for each in await store.of_supplier(conn, linked.supplier_id) if each.type in there_are
        ]
    if not reached:
        return gone(services, request)
    shown = next((each for each in reached if each.id == linked.intervention_id), reached[-1])
    voice = services.letters.voice("pages/milestone.html", reader.locale)
    words: dict[str, Any] = {
        name: getattr(there_are[shown.type], name)
        for name in ("title", "congratulations", "then", "then_text", "then_path", "share")
    }
    words |= services.letters.data(MILESTONES, voice.tag).get(shown.type, {})
    places = services.letters.places(services.settings.product_url())
    return show(
        services,
        "milestone",
        reader,
        said=words,
        firstName=first_name(reader.first_name),
        businessName=readable(reader.business_name),
        day=voice.day(shown.at, reader.timezone),
        next_url=places.address(words["then_path"], linked.supplier_id),
        whatsapp=f"https://wa.me/?text={quote(words['share'])}",
        mailto=f"mailto:?subject={quote(words['title'])}&body={quote(words['share'])}",
    )
