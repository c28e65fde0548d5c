"""How often one may ask: a limit for each caller, said on every answer, and 429 beyond it.

Counted in the process by the caller of the token (role and subject), so that a new token is no way round it; who shows
none, or a bad one, by their address.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from math import ceil

from limits import parse
from limits.aio.storage import MemoryStorage
from limits.aio.strategies import SlidingWindowCounterRateLimiter
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.problems import Problem, problem_response
from scoring.decisions.limits import TooOftenError
from topics.time import format_time

logger = logging.getLogger(__name__)

SWEEP_EVERY_S = 10.0
STRANGERS = {
    # By address (of IPv6 the /64), before it is known who asks.
    "refused": "600/minute",  # answers 401; good tokens go on being taken
    "logged": "60/minute",  # lines of the log about refusals
    "sign_in": "60/minute",
    "link": "6000/minute",  # `/e/...`: a mail provider's proxy fetches for many people
    "same_link": "120/minute",  # of one link, whoever follows it
}
MOST_STREAMS = {"supplier": 20, "agent": 200, "service": 2000, "page": 30}
"""Event streams that one caller may have open, by role; `page`: an agent's pages of the dashboard."""
_REFUSALS = {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.TOO_MANY_REQUESTS}
_USAGE = "rate_limit_headers"


class Limits:
    """Counts requests against a rule such as `30000/minute`; `off` counts nothing."""

    def __init__(self, rule: str) -> None:
        self._rule = None if rule == "off" else parse(rule)
        self._strangers = {} if rule == "off" else {kind: parse(each) for kind, each in STRANGERS.items()}
        self._streams: Counter[tuple[str, str]] = Counter()
        self._storage = MemoryStorage()
        self._limiter = SlidingWindowCounterRateLimiter(self._storage)
        self._pause: asyncio.Task[None] | None = None

    async def count(self, scope: Scope, who: str) -> None:
        """Count a request of this caller; Problem 429 beyond the limit."""
        rule = self._rule
        if rule is None:
            return
        self._sweep_seldom()
        allowed = await self._limiter.hit(rule, who)
        stats = await self._limiter.get_window_stats(rule, who)
        reset_s = max(1, ceil(stats.reset_time - time.time()))
        remaining = max(0, stats.remaining) if allowed else 0
        scope.setdefault("state", {})[_USAGE] = {
            "RateLimit-Limit": str(rule.amount),
            "RateLimit-Remaining": str(remaining),
            "RateLimit-Reset": str(reset_s),
            "RateLimit-Policy": f"{rule.amount};w={rule.get_expiry()}",
        }
        if not allowed:
            raise Problem(
                HTTPStatus.TOO_MANY_REQUESTS,
                f"more than {rule.amount} requests in {rule.get_expiry()} s: wait {reset_s} s",
                headers={"Retry-After": str(reset_s)},
            )

    async def count_strangers(self, scope: Scope, kind: str, who: str | None = None) -> None:
        """Count what somebody does of whom nothing is known but the address; Problem 429 beyond the limit."""
        rule = self._strangers.get(kind)
        if rule is None:
            return
        self._sweep_seldom()
        if not await self._limiter.hit(rule, kind, who or network_of(scope)):
            raise Problem(
                HTTPStatus.TOO_MANY_REQUESTS,
                f"that was too often: wait {rule.get_expiry()} s",
                headers={"Retry-After": str(rule.get_expiry())},
            )

    async def may(self, scope: Scope, kind: str) -> bool:
        """The same, as a question."""
        try:
            await self.count_strangers(scope, kind)
        except Problem:
            return False
        return True

    def check_streams(self, role: str, subject: str) -> None:
        """Problem 429 for a caller who has as many event streams open as one may."""
        if self._streams[role, subject] >= MOST_STREAMS[role]:
            raise Problem(
                HTTPStatus.TOO_MANY_REQUESTS,
                f"{MOST_STREAMS[role]} event streams are open already: close one",
                headers={"Retry-After": "60"},
            )

    @contextmanager
    def stream(self, role: str, subject: str) -> Iterator[None]:
        """While an event stream of this caller is open."""
        self._streams[role, subject] += 1
        try:
            yield
        finally:
            self._streams[role, subject] -= 1
            if not self._streams[role, subject]:
                del self._streams[role, subject]

    def _sweep_seldom(self) -> None:
        """Let the storage look for what has expired every some seconds; by itself it does so at every request."""
        sweep = self._storage.timer
        if sweep is not None and sweep.done() and sweep is not self._pause:
            self._pause = self._storage.timer = asyncio.create_task(asyncio.sleep(SWEEP_EVERY_S))


def too_often(error: TooOftenError, now_ms: int) -> Problem:
    """429 that says what is too often, and when to come again."""
    wait_s = max(1, ceil((error.free_at - now_ms) / 1000))
    return Problem(
        HTTPStatus.TOO_MANY_REQUESTS,
        f"{error}: come again after {format_time(error.free_at)}",
        headers={"Retry-After": str(wait_s)},
    )


class LimitHeaders:
    """Middleware: answers to counted requests say what is left; refusals are logged, and themselves limited."""

    def __init__(self, app: ASGIApp, limits: Limits) -> None:
        self._app = app
        self._limits = limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Add the headers to the start of an answer."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        state = scope.setdefault("state", {})
        too_many = False

        async def send_with_headers(message: Message) -> None:
            nonlocal too_many
            if too_many:
                return
            if message["type"] == "http.response.start":
                status = message["status"]
                if status in _REFUSALS:
                    await self._log(scope, status)
                if status == HTTPStatus.UNAUTHORIZED and not await self._limits.may(scope, "refused"):
                    too_many = True
                    await problem_response(_TOO_MANY_REFUSED)(scope, receive, send)
                    return
                MutableHeaders(scope=message).update(state.get(_USAGE, {}))
            await send(message)

        try:
            if scope["path"].startswith("/e/"):
                await self._limits.count_strangers(scope, "link")
                await self._limits.count_strangers(scope, "same_link", scope["path"])
        except Problem as problem:
            await problem_response(problem)(scope, receive, send_with_headers)
            return
        await self._app(scope, receive, send_with_headers)

    async def _log(self, scope: Scope, status: int) -> None:
        if await self._limits.may(scope, "logged"):
            route = getattr(scope.get("route"), "path", "none")
            logger.warning("refused with %d: %s %s", status, scope["method"], route)


_TOO_MANY_REFUSED = Problem(
    HTTPStatus.TOO_MANY_REQUESTS,
    "too many requests without a good token: wait a minute",
    headers={"Retry-After": "60"},
)


def network_of(scope: Scope) -> str:
    """Where a request comes from: an IPv4 address, or the /64 of an IPv6 one."""
    client = scope.get("client")
    try:
        address = ipaddress.ip_address(client[0]) if client else None
    except ValueError:
        address = None
    if isinstance(address, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((int(address), 64), strict=False))
    return str(address)
