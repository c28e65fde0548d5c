"""What a supplier could do next, and the exact points it would add to her score.

Pure but for reading its own data file once. The points come from applying an action to the newest snapshot with
the score's own formula; logging in, which every action begins with, is left out of all of them alike.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from scoring.metrics import client_points, feature_points, ratio_points, total

DATA = Path(__file__).with_name("recommendations.toml")

Snapshot = Mapping[str, Any]
"""The `data` of `success.health.updated`; `features`, `clients`, `forms`, `journeys` are used."""


class Recommendation(msgspec.Struct, frozen=True):
    """One piece of advice with its worth. `points`: what it adds to the sum; `minutes`: what it takes."""

    id: str
    type: str
    title: str
    description: str
    action_text: str
    action_path: str
    points: float
    minutes: int


class _Counts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    sent: int = 0
    completed: int = 0
    opened: int = 0


class _Action(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An entry of the data file."""

    id: str
    type: Literal["feature_tip", "best_practice", "integration", "upgrade"]
    title: str
    description: str
    action_text: str
    action_path: str
    minutes: Annotated[int, msgspec.Meta(ge=1)]
    requires: tuple[str, ...] = ()
    uses: str | None = None
    form: _Counts = _Counts()
    journey: _Counts = _Counts()


def recommend(snapshot: Snapshot) -> list[Recommendation]:
    """Everything that would add points for this supplier, most points a minute first."""
    found = [
        Recommendation(
            id=action.id,
            type=action.type,
            title=action.title,
            description=action.description,
            action_text=action.action_text,
            action_path=action.action_path,
            points=gain,
            minutes=action.minutes,
        )
        for action in _actions()
        if all(_REQUIREMENTS[name](snapshot) for name in action.requires)
        and (gain := _gain(snapshot, action)) > 0
    ]
    return sorted(found, key=lambda one: (-one.points / one.minutes, one.id))


def best(snapshot: Snapshot) -> Recommendation | None:
    """Pick the one worth most points (of equal ones the quickest); None if nothing would add any."""
    return max(recommend(snapshot), key=lambda one: (one.points, -one.minutes), default=None)


def _gain(snapshot: Snapshot, action: _Action) -> float:
    return round(_points_after(snapshot, action) - _points_after(snapshot, None), 9)


def _points_after(snapshot: Snapshot, action: _Action | None) -> float:
    """The points of all but the login, after one action (None: as they are)."""
    features = set(snapshot["features"])
    known, active = snapshot["clients"]["known"], snapshot["clients"]["active"]
    form, journey = (action.form, action.journey) if action else (_Counts(), _Counts())
    if action and action.uses:
        features.add(action.uses)
    if form.completed or journey.opened:
        known, active = (1, 1) if known == 0 else (known, min(known, active + 1))
    return total(
        (
            0.0,
            feature_points(len(features)),
            client_points(active, known),
            ratio_points(
                snapshot["forms"]["completed"] + form.completed, snapshot["forms"]["sent"] + form.sent
            ),
            ratio_points(
                snapshot["journeys"]["opened"] + journey.opened, snapshot["journeys"]["sent"] + journey.sent
            ),
        )
    )


_REQUIREMENTS: dict[str, Callable[[Snapshot], bool]] = {
    "no_clients": lambda snapshot: snapshot["clients"]["known"] == 0,
    "forms_created": lambda snapshot: "forms_created" in snapshot["features"],
    "outstanding_forms": lambda snapshot: snapshot["forms"]["sent"] > snapshot["forms"]["completed"],
    "journeys_created": lambda snapshot: "journeys_created" in snapshot["features"],
    "active_journey": lambda snapshot: snapshot["journeys"]["active"] > 0,
    "no_active_journey": lambda snapshot: snapshot["journeys"]["active"] == 0,
    "unopened_emails": lambda snapshot: snapshot["journeys"]["sent"] > snapshot["journeys"]["opened"],
}


@cache
def _actions() -> tuple[_Action, ...]:
    raw = tomllib.loads(DATA.read_text("utf-8"))
    actions = msgspec.convert(raw["recommendation"], tuple[_Action, ...])
    unknown = {name for action in actions for name in action.requires} - _REQUIREMENTS.keys()
    if unknown:
        raise ValueError(f"{DATA.name}: `requires` names what nobody knows: {', '.join(sorted(unknown))}")
    return actions
