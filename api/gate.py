"""The gate before all routes: what is no text is refused here, once, and every answer carries its headers.

A NUL, half a surrogate or bytes that are no UTF-8 reach neither Postgres nor JSON, wherever they stand: in the path,
the query, a header or a body. What is refused is a problem, without a stack trace.
"""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, unquote_to_bytes, urlsplit

from starlette.datastructures import Headers, MutableHeaders

from api.problems import Problem, problem_response

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

MOST_HEADER_BYTES = 64 * 1024
LONGEST_ADDRESS = 16 * 1024
_HOST = re.compile(rb"(\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9._-]{1,253})(:[0-9]{1,5})?")
_NO_TEXT = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_PERSONAL = ("/api/", "/e/", "/dashboard", "/webhooks/")
DEFAULTS = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
}
"""For answers that are no pages; pages say their own."""
HSTS = "max-age=31536000; includeSubDomains"


def split(address: str) -> SplitResult | None:
    """The parts of an address; None for what is none, which a browser or anybody else may send."""
    try:
        parts = urlsplit(address)
        _ = parts.port
    except ValueError:
        return None
    return parts


class Gate:
    """Middleware: refuses (400, 431) a request that can't be meant, before anybody looks at it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or say what is wrong with it."""
        problem = _wrong(scope) if scope["type"] == "http" else None
        if problem is not None:
            await problem_response(problem)(scope, receive, send)
            return
        await self._app(scope, receive, send)


def _wrong(scope: Scope) -> Problem | None:
    headers: list[tuple[bytes, bytes]] = scope["headers"]
    if sum(len(name) + len(value) for name, value in headers) > MOST_HEADER_BYTES:
        return Problem(
            HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
            f"the headers have more than {MOST_HEADER_BYTES:,} bytes",
        )
    query: bytes = scope.get("query_string", b"")
    if len(query) + len(scope["path"]) > LONGEST_ADDRESS:
        return _bad(f"the address has more than {LONGEST_ADDRESS:,} bytes")
    if not is_text(unquote_to_bytes(query.replace(b"+", b" "))) or not _is_path(scope["path"]):
        return _bad("the address holds bytes that are no text in UTF-8, or a NUL")
    hosts = [value for name, value in headers if name == b"host"]
    if len(hosts) > 1 or any(host and not _HOST.fullmatch(host) for host in hosts):
        return _bad("the header Host is no host")
    for name, value in headers:
        if _NO_TEXT.search(value):
            return _bad(f"the header {name.decode('latin-1')} holds control characters")
    return None


def _bad(detail: str) -> Problem:
    return Problem(HTTPStatus.BAD_REQUEST, detail)


def is_text(raw: bytes) -> bool:
    """Whether bytes are text that may be kept: UTF-8 without a NUL."""
    if b"\0" in raw:
        return False
    try:
        raw.decode()
    except UnicodeDecodeError:
        return False
    return True


def _is_path(path: str) -> bool:
    # The server has decoded it already, and put U+FFFD where that was not possible.
    return "\0" not in path and "\ufffd" not in path and _encodes(path)


def _encodes(text: str) -> bool:
    """Whether text is more than a row of code units: half a surrogate is in no UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def is_kept(text: str) -> bool:
    """Whether a text can be kept in Postgres and said in JSON: no NUL, no half surrogate."""
    return "\0" not in text and _encodes(text)


class AnswerHeaders:
    """Middleware: no answer is sniffed, none with personal data is kept, and HTTPS stays HTTPS."""

    def __init__(self, app: ASGIApp, *, is_https: bool) -> None:
        self._app = app
        self._is_https = is_https

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Add what the route has not said itself."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path: str = scope["path"]

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in DEFAULTS.items():
                    headers.setdefault(name, value)
                if path.startswith(_PERSONAL):
                    headers.setdefault("Cache-Control", "no-store")
                if self._is_https:
                    headers.setdefault("Strict-Transport-Security", HSTS)
            await send(message)

        await self._app(scope, receive, send_with_headers)


def said_length(headers: Headers) -> int:
    """The length that a request says its body has; 0 if it says none."""
    said = headers.get("content-length", "")
    return int(said) if said.isascii() and said.isdecimal() and len(said) < 20 else 0  # noqa: PLR2004
