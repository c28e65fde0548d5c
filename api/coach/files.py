"""`/coach.js` and what it loads, and a page that plays the host: plain files, no build.

`/coach.js` names the version of the files behind it, which are therefore kept for good by whoever fetched them; it
itself is asked for again after some minutes, and answered with 304 if nothing is new.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import re
from dataclasses import dataclass
from functools import cache
from http import HTTPStatus
from pathlib import Path

from fastapi import APIRouter, Request, Response

from api.answers import takes_gzip
from api.problems import Problem

router = APIRouter(include_in_schema=False)
demo = APIRouter(include_in_schema=False)
"""The page that plays the host; served on development machines only."""

STATIC = Path(__file__).with_name("static")
TYPES = {
    ".js": "text/javascript",
    ".ts": "text/typescript",
    ".mjs": "text/javascript",
    ".html": "text/html",
    ".css": "text/css",
}
_IMPORTED = re.compile(r'^import .* from "\./([a-z-]+\.js)";$', re.MULTILINE)
MINUTES = "public, max-age=300, stale-while-revalidate=86400"
FOR_GOOD = "public, max-age=31536000, immutable"
ALWAYS_ASK = "no-cache"
ANYWHERE = {
    # Any site may embed the coach; what it may read is decided by the token.
    "Access-Control-Allow-Origin": "*",
    "Cross-Origin-Resource-Policy": "cross-origin",
    "X-Content-Type-Options": "nosniff",
}
HOST_PAGE = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
        "frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
    ),
    "X-Robots-Tag": "noindex, nofollow",
    "Referrer-Policy": "no-referrer",
}


@dataclass(frozen=True, slots=True)
class File:
    """A static file as it is sent."""

    content: bytes
    packed: bytes
    """The same by gzip."""
    media_type: str
    etag: str


@router.api_route("/coach.js", methods=["GET", "HEAD"])
async def coach_js(request: Request) -> Response:
    """Give the script that a host page loads."""
    return _answer(request, _loader(), MINUTES)


@router.api_route("/coach/{wanted}/{name}", methods=["GET", "HEAD"])
async def coach_file(wanted: str, name: str, request: Request) -> Response:
    """Give a module of the coach; under another version than the present one it is not kept."""
    found = _files("coach").get(name)
    if found is None:
        raise Problem(HTTPStatus.NOT_FOUND, f"there is nothing at {request.url.path}")
    return _answer(request, found, FOR_GOOD if wanted == version() else ALWAYS_ASK)


@demo.api_route("/demo/{name}.js", methods=["GET", "HEAD"])
@demo.api_route("/demo/{name}.css", methods=["GET", "HEAD"])
async def demo_file(request: Request) -> Response:
    """Give what the demo host page is made of."""
    found = _files("demo").get(request.url.path.rpartition("/")[2])
    if found is None:
        raise Problem(HTTPStatus.NOT_FOUND, f"there is nothing at {request.url.path}")
    return _answer(request, found, ALWAYS_ASK)


@demo.api_route("/demo/host", methods=["GET", "HEAD"])
@demo.api_route("/demo/host/{page:path}", methods=["GET", "HEAD"])
async def demo_host(request: Request) -> Response:
    """Give a page that plays the product: every address below is the same page, as in an app of one page."""
    answer = _answer(request, _files("demo")["host.html"], ALWAYS_ASK)
    answer.headers.update(HOST_PAGE)
    return answer


@cache
def version() -> str:
    """Name the coach's files as they are now."""
    digest = hashlib.sha256()
    for name, file in sorted(_files("coach").items()):
        digest.update(name.encode() + b"\0" + file.content)
    return digest.hexdigest()[:12]


@cache
def _loader() -> File:
    text = (STATIC / "coach.js").read_bytes().replace(b"__VERSION__", version().encode())
    return _file(Path("coach.js"), text.replace(b"__MODULES__", json.dumps(modules()).encode()))


@cache
def modules() -> list[str]:
    """All modules that are loaded before the coach shows, so that a browser can ask for them at once."""
    found = ["main.js"]
    for name in found:
        found += [
            each for each in _IMPORTED.findall(_files("coach")[name].content.decode()) if each not in found
        ]
    return found


@cache
def _files(folder: str) -> dict[str, File]:
    paths = [path for path in (STATIC / folder).iterdir() if path.suffix in TYPES]
    return {path.name: _file(path, path.read_bytes()) for path in paths}


def _file(path: Path, content: bytes) -> File:
    packed = gzip.compress(content, mtime=0)
    return File(content, packed, TYPES[path.suffix], f'W/"{hashlib.sha256(content).hexdigest()[:16]}"')


def _answer(request: Request, file: File, caching: str) -> Response:
    headers = {"ETag": file.etag, "Cache-Control": caching, "Vary": "Accept-Encoding", **ANYWHERE}
    if request.headers.get("if-none-match") == file.etag:
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    if takes_gzip(request):
        headers["Content-Encoding"] = "gzip"
        return Response(file.packed, media_type=file.media_type, headers=headers)
    return Response(file.content, media_type=file.media_type, headers=headers)
