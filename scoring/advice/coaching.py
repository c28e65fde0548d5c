"""What the coach says on a page: tips by page, stage and vendor type, those worth most points first.

Pure but for reading its own data file once (`coaching.toml`).
"""

from __future__ import annotations

import tomllib
from functools import cache
from pathlib import Path
from typing import Any, Literal

import msgspec

from scoring.advice.circumstances import Snapshot, check_names, hold
from scoring.advice.recommend import Recommendation, action_ids, recommend
from scoring.health.rules import SHIPPED
from scoring.time import DAY

DATA = Path(__file__).parents[1] / "coaching.toml"

NEW_FOR_MS = 14 * DAY
"""So long after sign-up setup comes first (`success_new_for()` in SQL: who is counted as new)."""

Stage = Literal["onboarding", "engagement", "growth"]
FEATURES_OF_A_SETUP = len(SHIPPED.features) - 1


class Tip(msgspec.Struct, frozen=True):
    """One tip. `recommendation`: what it leads to, with its button and its points, if that would add any."""

    id: str
    tip: str
    category: Stage
    video_url: str | None = None
    recommendation: Recommendation | None = None

    @property
    def points(self) -> float:
        """What doing it adds to the score; 0 for a tip that leads to no action."""
        return self.recommendation.points if self.recommendation else 0.0


class _Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An entry of the data file."""

    id: str
    category: Stage
    tip: str | None = None
    pages: tuple[str, ...] = ()
    requires: tuple[str, ...] = ()
    action: str | None = None
    by_vendor: dict[str, str] = {}
    video: str | None = None


def stage(snapshot: Snapshot) -> Stage:
    """How far they are: still setting up, set up but quiet, or doing well."""
    if len(snapshot["features"]) < FEATURES_OF_A_SETUP or snapshot["clients"]["known"] == 0:
        return "onboarding"
    return "growth" if snapshot["level"] == "healthy" else "engagement"


def is_setting_up(snapshot: Snapshot, age_ms: int) -> bool:
    """Whether they are in their first 14 days (`age_ms` after sign-up) and nothing yet says that they are stuck."""
    return age_ms < NEW_FOR_MS and not any(
        snapshot.get("conditions", {}).get(name) for name in _offer_after()
    )


def tips(snapshot: Snapshot, page: str | None = None, vendor_type: str | None = None) -> list[Tip]:
    """The tips that make sense for them: this page's before those for everywhere, their stage's, most points first.

    `page` is the host's address or name of its page ("/forms/new", "forms"); None for all pages. On a page its
    own tips come whatever their stage; else only those of their stage.
    """
    where, who, now = page_name(page), vendor_key(vendor_type), stage(snapshot)
    worth = {each.id: each for each in recommend(snapshot)}
    found = []
    for place, entry in enumerate(_entries()):
        text = entry.by_vendor.get(who, entry.tip)
        here = where is not None and where in entry.pages
        elsewhere = where is not None and entry.pages and not here
        if text is None or elsewhere or not (here or entry.category == now):
            continue
        advice = worth.get(entry.action) if entry.action else None
        if not hold(entry.requires, snapshot) or (entry.action and advice is None):
            continue
        tip = Tip(entry.id, text, entry.category, entry.video, advice)
        found.append(((not here, entry.category != now, -tip.points, place), tip))
    return [tip for _, tip in sorted(found, key=lambda each: each[0])]


def known_tips() -> frozenset[str]:
    """The ids of all tips that there are."""
    return frozenset(entry.id for entry in _entries())


def page_name(page: str | None) -> str | None:
    """The name under which a page has tips: the first part of its path in lower case, `dashboard` for the root."""
    if page is None:
        return None
    path = page.partition("://")[2].partition("/")[2] if "://" in page else page
    first = path.split("?")[0].split("#")[0].strip("/ ").partition("/")[0].lower()
    return first or "dashboard"


def vendor_key(vendor_type: str | None) -> str:
    """A vendor type as the data files write it; empty if it is not known."""
    return (vendor_type or "").strip().lower().replace(" ", "_").replace("-", "_")


def _data() -> dict[str, Any]:
    return tomllib.loads(DATA.read_text("utf-8"))


@cache
def _offer_after() -> tuple[str, ...]:
    return msgspec.convert(_data()["offer_call_after"], tuple[str, ...])


@cache
def _entries() -> tuple[_Entry, ...]:
    entries = msgspec.convert(_data()["tip"], tuple[_Entry, ...])
    for entry in entries:
        check_names(entry.requires, f"{DATA.name}, tip {entry.id}")
        if entry.action is not None and entry.action not in action_ids():
            raise ValueError(f"{DATA.name}, tip {entry.id}: there is no recommendation {entry.action}")
        if entry.tip is None and not entry.by_vendor:
            raise ValueError(f"{DATA.name}, tip {entry.id}: it says nothing")
    return entries
