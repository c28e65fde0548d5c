"""The dashboard's own files: style, script, and the libraries that it brings along (`api/dashboard/static`)."""

from __future__ import annotations

import gzip
from functools import cache
from hashlib import sha256
from http import HTTPStatus
from pathlib import Path

from fastapi import APIRouter, Request
from starlette.responses import Response

from api.answers import takes_gzip
from api.problems import Problem

FOLDER = Path(__file__).with_name("static")
TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
_FOR_EVER = "public, max-age=31536000, immutable"

router = APIRouter(include_in_schema=False)


@router.get("/dashboard/static/{digest}/{name}")
async def asset(request: Request, digest: str, name: str) -> Response:
    """Give a file; its address holds its digest, so that browsers may keep it for ever."""
    if _digests().get(name) != digest:
        raise Problem(HTTPStatus.NOT_FOUND, "there is no such file")
    headers = {"Cache-Control": _FOR_EVER, "Vary": "Accept-Encoding", "X-Content-Type-Options": "nosniff"}
    plain, packed = _content(name)
    if takes_gzip(request):
        headers["Content-Encoding"] = "gzip"
    return Response(
        packed if "Content-Encoding" in headers else plain,
        media_type=TYPES[Path(name).suffix],
        headers=headers,
    )


def asset_address(name: str) -> str:
    """Where a file of the dashboard is served."""
    return f"/dashboard/static/{_digests()[name]}/{name}"


@cache
def _digests() -> dict[str, str]:
    found = (path for path in FOLDER.iterdir() if path.suffix in TYPES)
    return {path.name: sha256(path.read_bytes()).hexdigest()[:16] for path in found}


@cache
def _content(name: str) -> tuple[bytes, bytes]:
    """A file as it is, and packed."""
    plain = (FOLDER / name).read_bytes()
    return plain, gzip.compress(plain, mtime=0)
