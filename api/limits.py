"""How often one may ask: a limit for each caller, said on every answer, and 429 beyond it.

Counted in the process by the caller of the token (role and subject), so that a new token is no way round it.
"""

from __future__ import annotations

import asyncio
import time
from http import HTTPStatus
from math import ceil

from limits import parse
from limits.aio.storage import MemoryStorage
from limits.aio.strategies import SlidingWindowCounterRateLimiter
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.problems import Problem

SWEEP_EVERY_S = 10.0
_USAGE = "rate_limit_headers"


class Limits:
    """Counts requests against a rule such as `30000/minute`; `off` counts nothing."""

    def __init__(self, rule: str) -> None:
        self._rule = None if rule == "off" else parse(rule)
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

    def _sweep_seldom(self) -> None:
        """Let the storage look for what has expired every some seconds; by itself it does so at every request."""
        sweep = self._storage.timer
        if sweep is not None and sweep.done() and sweep is not self._pause:
            self._pause = self._storage.timer = asyncio.create_task(asyncio.sleep(SWEEP_EVERY_S))


class LimitHeaders:
    """Middleware: answers to counted requests say what is left."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Add the headers to the start of an answer."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        state = scope.setdefault("state", {})

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start" and _USAGE in state:
                MutableHeaders(scope=message).update(state[_USAGE])
            await send(message)

        await self._app(scope, receive, send_with_headers)
