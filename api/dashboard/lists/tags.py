"""Tags: how they are written, and those of one supplier, put on and taken off on their page."""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import Annotated, Literal
from unicodedata import normalize

from fastapi import APIRouter, Form
from starlette.responses import Response

from api.dashboard.forms import SupplierId, back, clean, gone
from api.dashboard.rendering import PageRoute
from api.dashboard.session import CheckedCsrf, SignedIn
from api.problems import Problem
from api.services import InServices
from store.dashboard import lists

router = APIRouter(route_class=PageRoute, include_in_schema=False, dependencies=[CheckedCsrf])

Tag = Annotated[str, Form(max_length=200)]
_TAG = re.compile(r"\w[\w.+&#-]{0,29}")


def normal(tag: str) -> str:
    """A tag as it is kept: small letters, `-` for spaces; 422 for what is none."""
    word = "-".join(normalize("NFKC", clean(tag)).lower().split())
    if not _TAG.fullmatch(word):
        detail = "a tag is a word of at most 30 letters, digits and dashes"
        raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, detail)
    return word


@router.post("/dashboard/suppliers/{supplierId}/tags")
async def change(
    supplier_id: SupplierId,
    agent: SignedIn,
    services: InServices,
    tag: Tag,
    act: Annotated[Literal["tag", "untag"], Form()] = "tag",
) -> Response:
    """Put a tag on a supplier, or take it off."""
    word, one = normal(tag), [str(supplier_id)]
    async with services.transaction(agent) as conn:
        if not await lists.lock(conn, one):
            raise gone()
        put = lists.tag if act == "tag" else lists.untag
        await put(conn, agent.actor, one, word, services.clock.now_ms())
    return back(supplier_id, "tagged" if act == "tag" else "untagged")
