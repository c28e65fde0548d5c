"""How often a supplier may do what costs others something: agents' hours, mail, rows. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from scoring.time import DAY, HOUR


@dataclass(frozen=True, slots=True)
class Limit:
    """At most `most` acts of a kind within any `window_ms`; `what` they are, in words."""

    kind: str
    most: int
    window_ms: int
    what: str


OPEN_CALLS = 2
"""Calls that a supplier may have ahead or waiting for a time."""
CALL_CHANGES = Limit("call_change", 5, DAY, "changes of calls in 24 hours")
PREFERENCES = Limit("preference_change", 20, DAY, "changes of preferences in 24 hours")
"""An opt-out is always taken, and counts."""
COACH_FEEDBACK = Limit("coach_feedback", 600, HOUR, "notes from the coach in an hour")
CALL_MAILS_AN_HOUR = 6
"""Emails about calls to one supplier; the next wait."""


class TooOftenError(Exception):
    """A limit is reached; `free_at` (ms) says from when on there may be another."""

    def __init__(self, limit: Limit, free_at: int) -> None:
        super().__init__(f"that is more than {limit.most} {limit.what}")
        self.free_at = free_at
