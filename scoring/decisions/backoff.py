"""When to try again after the mail server could not take an email: twice as long each time, spread by jitter."""

from __future__ import annotations

from hashlib import sha256

from scoring.backoff import doubled
from scoring.decisions.policy import Retries


def retry_at(now_ms: int, row_id: str, attempt: int, retries: Retries) -> int:
    """Pick the next moment to try after failed attempt number `attempt` (1, 2, …), in ms.

    Doubling from `first_ms` up to `longest_ms`; between half and all of that is waited, always the same for the
    same row and attempt, so that many rows that failed together don't come back together.
    """
    longest = doubled(retries.first_ms, retries.longest_ms, attempt)
    digest = sha256(f"{row_id}:{attempt}".encode()).digest()
    share = int.from_bytes(digest[:4]) / 2**32
    return now_ms + max(1, round(longest * (0.5 + 0.5 * share)))
