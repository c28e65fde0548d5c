"""Consent: what a supplier lets us send, and how a word of theirs changes it. Pure; times are int ms (UTC)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from scoring.time import DAY

PAUSE_MS = 30 * DAY
"""How long a pause from the preference centre lasts."""
REPEAT_MS = 60_000
"""The same word again within this time is not told again: a mail provider may repeat its one-click request."""

Scope = Literal["email", "all"]
_SCOPES: tuple[Scope, ...] = ("email", "all")


@dataclass(frozen=True, slots=True)
class Consent:
    """What is stored; `*_at` is when they said so, None if they never did."""

    email_opt_out: bool = False
    email_at: int | None = None
    all_opt_out: bool = False
    all_at: int | None = None
    paused_until: int | None = None

    def is_paused(self, now: int) -> bool:
        """Whether they asked for silence that is not over yet."""
        return self.paused_until is not None and now < self.paused_until


@dataclass(frozen=True, slots=True)
class Wish:
    """What they say now; None leaves as it is. `pause`: True for 30 days from now, False to end one."""

    email_opt_out: bool | None = None
    all_opt_out: bool | None = None
    pause: bool | None = None


@dataclass(frozen=True, slots=True)
class Word:
    """What is told about a scope: opted out or in, and when."""

    scope: Scope
    opt_out: bool
    at: int


def apply(consent: Consent, wish: Wish, now: int) -> tuple[Consent, list[Word]]:
    """Give the consent after a wish, and what is new enough to be told.

    What they say now comes after everything that is stored, even if a producer's clock ran ahead: its time is
    at least a millisecond later, so that nothing older undoes it.
    """
    words: list[Word] = []
    for scope, wanted in (("email", wish.email_opt_out), ("all", wish.all_opt_out)):
        if wanted is None:
            continue
        before = consent.email_at if scope == "email" else consent.all_at
        was = consent.email_opt_out if scope == "email" else consent.all_opt_out
        at = now if before is None else max(now, before + 1)
        if scope == "email":
            consent = replace(consent, email_opt_out=wanted, email_at=at)
        else:
            consent = replace(consent, all_opt_out=wanted, all_at=at)
        if was != wanted or (before is not None and at - before > REPEAT_MS):
            words.append(Word(_SCOPES[scope == "all"], wanted, at))
    if wish.pause is not None:
        consent = replace(consent, paused_until=now + PAUSE_MS if wish.pause else None)
    return consent, words
