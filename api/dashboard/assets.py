"""The dashboard's own files: style, script, and the libraries that it brings along (`api/static/dashboard`)."""

from __future__ import annotations

from functools import cache
from hashlib import sha256
from http import HTTPStatus
from pathlib import Path

from fastapi import APIRouter
from fastapi.responses import FileResponse, Response

from api.problems import Problem

FOLDER = Path(__file__).with_name("static")
TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
_FOR_EVER = "public, max-age=31536000, immutable"

router = APIRouter(include_in_schema=False)


@router.get("/dashboard/static/{digest}/{name}")
async def asset(digest: str, name: str) -> Response:
    """Give a file; its address holds its digest, so that browsers may keep it for ever."""
    known = _files().get(name)
    if known is None or known != digest:
        raise Problem(HTTPStatus.NOT_FOUND, "there is no such file")
    path = FOLDER / name
    headers = {"Cache-Control": _FOR_EVER, "X-Content-Type-Options": "nosniff"}
    return FileResponse(path, media_type=TYPES[path.suffix], headers=headers)


def asset_address(name: str) -> str:
    """Where a file of the dashboard is served."""
    return f"/dashboard/static/{_files()[name]}/{name}"


@cache
def _files() -> dict[str, str]:
    found = (path for path in FOLDER.iterdir() if path.suffix in TYPES)
    return {path.name: sha256(path.read_bytes()).hexdigest()[:16] for path in found}
