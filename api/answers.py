"""How answers are given: as JSON in camelCase, with an ETag so that what is unchanged is not sent again; and packed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import Request
from starlette.responses import Response
from xxhash import xxh3_64_hexdigest

from api.models import Answer

CACHE_CONTROL = "private, no-store"
"""No cache keeps an answer; a caller who remembers its ETag may ask whether it still holds."""

_UNPACKS = re.compile(r"\bgzip\b(?!\s*;\s*q=0(\.0*)?\b)")
NOT_MODIFIED: dict[int | str, dict[str, Any]] = {
    HTTPStatus.NOT_MODIFIED: {"description": "What `If-None-Match` names still holds."}
}
"""For the `responses` of a route whose answer is `revalidated`."""


def revalidated(request: Request, answer: Answer, more: Mapping[str, str] | None = None) -> Response:
    """The answer with its ETag and `more` headers; 304 without a body for a caller who has it already."""
    body = answer.model_dump_json(by_alias=True).encode()
    etag = f'"{xxh3_64_hexdigest(body)}"'
    headers = {"ETag": etag, "Cache-Control": CACHE_CONTROL, "Vary": "Authorization", **(more or {})}
    if _has(request.headers.get("if-none-match"), etag):
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    return Response(body, media_type="application/json", headers=headers)


def takes_gzip(request: Request) -> bool:
    """Whether whoever asks unpacks gzip."""
    return _UNPACKS.search(request.headers.get("accept-encoding", "")) is not None


def _has(if_none_match: str | None, etag: str) -> bool:
    if if_none_match is None:
        return False
    named = {each.strip().removeprefix("W/") for each in if_none_match.split(",")}
    return etag in named or "*" in named
