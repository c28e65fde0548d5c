"""What the coach says on a page: tips by page, stage and vendor type, those worth most points first.

Pure; the tips are data (`coaching.toml`).
"""

from __future__ import annotations

import msgspec

from scoring.advice.book import Stage, book_of
from scoring.advice.circumstances import Snapshot
from scoring.advice.recommend import Recommendation, recommend
from scoring.health.rules import SHIPPED, Rules
from scoring.time import DAY

NEW_FOR_MS = 14 * DAY
"""So long after sign-up setup comes first (`success_new_for()` in SQL: who is counted as new)."""


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


def stage(snapshot: Snapshot, rules: Rules = SHIPPED) -> Stage:
    """How far they are: still setting up (more than one key feature unused, or no client), quiet, or doing well."""
    if len(snapshot["features"]) < len(rules.features) - 1 or snapshot["clients"]["known"] == 0:
        return "onboarding"
    return "growth" if snapshot["level"] == "healthy" else "engagement"


def is_setting_up(snapshot: Snapshot, age_ms: int, rules: Rules = SHIPPED) -> bool:
    """Whether they are in their first 14 days (`age_ms` after sign-up) and nothing yet says that they are stuck."""
    return age_ms < NEW_FOR_MS and not any(
        snapshot.get("conditions", {}).get(name) for name in book_of(rules).offer_after
    )


def tips(
    snapshot: Snapshot, page: str | None = None, vendor_type: str | None = None, rules: Rules = SHIPPED
) -> list[Tip]:
    """The tips that make sense for them: this page's before those for everywhere, their stage's, most points first.

    `page` is the host's address or name of its page ("/forms/new", "forms"); None for all pages. On a page its
    own tips come whatever their stage; else only those of their stage.
    """
    where, who, now = page_name(page), vendor_key(vendor_type), stage(snapshot, rules)
    worth = {each.id: each for each in recommend(snapshot, rules)}
    book = book_of(rules)
    known = book.facts(snapshot)
    found = []
    for place, entry in enumerate(book.tips):
        text = entry.by_vendor.get(who, entry.tip)
        here = where is not None and where in entry.pages
        elsewhere = where is not None and entry.pages and not here
        if text is None or elsewhere or not (here or entry.category == now):
            continue
        advice = worth.get(entry.action) if entry.action else None
        if not book.hold(entry.requires, known) or (entry.action and advice is None):
            continue
        tip = Tip(entry.id, text, entry.category, entry.video, advice)
        found.append(((not here, entry.category != now, -tip.points, place), tip))
    return [tip for _, tip in sorted(found, key=lambda each: each[0])]


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
