"""Whether a service can do its work: `/readyz` answers in time, whatever does not answer it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Coroutine, Mapping
    from typing import Any, Protocol

    class Check(Protocol):
        """Returns if a part is there, raises what is wrong with it."""

        def __call__(self) -> Coroutine[Any, Any, None]:
            """Look."""
            ...


ANSWER_WITHIN_S = 2.0
"""The rest of the 3 s that are promised is for the way there and back on a busy machine."""


class Readiness:
    """Looks at all parts at once. A look that takes longer than the answer goes on, and the next one asks after it."""

    def __init__(self, checks: Mapping[str, Check]) -> None:
        self._checks = dict(checks)
        self._looking: dict[str, asyncio.Task[None]] = {}

    async def missing(self) -> dict[str, str]:
        """The parts that are not there, and why, within `ANSWER_WITHIN_S`; empty if all is well."""
        for name, check in self._checks.items():
            if name not in self._looking:
                self._looking[name] = asyncio.create_task(check(), name=f"is {name} ready")
        looking = dict(self._looking)
        done, _ = await asyncio.wait(looking.values(), timeout=ANSWER_WITHIN_S)
        found = {}
        for name, task in looking.items():
            if task not in done:
                found[name] = f"no answer within {ANSWER_WITHIN_S} s"
                continue
            if self._looking.get(name) is task:
                del self._looking[name]
            if error := None if task.cancelled() else task.exception():
                found[name] = " ".join(str(error).split()) or type(error).__name__
        return found

    async def aclose(self) -> None:
        """Look no more."""
        looking, self._looking = list(self._looking.values()), {}
        for task in looking:
            task.cancel()
        if looking:
            await asyncio.wait(looking, timeout=1)
