"""Does it work? Treated against holdout, intention to treat: everybody counts in the group that chance put them into.

The same report for a live database (`store/messages/impact.py` brings the people) and for the simulated experiment.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from replay.impact.agents import Array
from replay.impact.effects import Effects
from replay.impact.stats import POWER, TARGET, Comparison, Share, compare, people_needed, smallest_reduction
from replay.impact.world import WINDOW_DAYS, Course, World
from scoring.decisions.experiments import HOLDOUT, share_of
from scoring.decisions.policy import Policy

SHARES = (0.1, 0.2, 0.5)
"""Holdouts for which the report says how many people they need."""
RESAMPLES = 1000
SEARCH_STEPS = 6
REACHED = 0.005
"""So close to the target the search for the effect stops."""


@dataclass(frozen=True)
class Person:
    """One supplier of a comparison. `first`: the trigger of their first message, sent or held out; "" for none."""

    held_out: bool
    left: bool
    first: str = ""


@dataclass(frozen=True)
class Need:
    """What a holdout of this share needs to see the target with power 0.8: people in all, and weeks."""

    holdout: float
    people: float
    weeks: float | None
    """Until so many have been there for 30 days, at the intake given; None where that is not known."""


@dataclass(frozen=True)
class Impact:
    """The whole comparison: of everybody, of those whom a message was meant for, and by the first message."""

    everybody: Comparison
    reached: Comparison
    by_first: dict[str, Comparison]
    base: float
    """The share that leaves without messages, as the holdout (else everybody) shows it."""
    needs: list[Need]
    smallest: float | None
    """The smallest reduction that so many people would show, at the present split."""

    def as_json(self) -> dict[str, Any]:
        """All of it as JSON."""
        return {
            "everybody": comparison_json(self.everybody),
            "reached": comparison_json(self.reached),
            "by_first_message": {name: comparison_json(each) for name, each in self.by_first.items()},
            "churn_without_messages": self.base,
            "target_reduction": TARGET,
            "power": POWER,
            "needed_to_see_target": [
                asdict(need) | {"people": None if need.people == float("inf") else need.people}
                for need in self.needs
            ],
            "smallest_reduction_visible": self.smallest,
        }


def comparison_json(comparison: Comparison) -> dict[str, Any]:
    """A comparison as JSON; a lift never stands without its interval."""
    return {
        "treated": asdict(comparison.treated) | {"share": comparison.treated.value},
        "holdout": asdict(comparison.holdout) | {"share": comparison.holdout.value},
        "difference": {"value": comparison.difference, "interval": comparison.interval},
        "reduction": (
            None
            if comparison.reduction is None
            else {"value": comparison.reduction, "interval": comparison.reduction_interval}
        ),
        "says": comparison.says,
    }


def impact_of(people: Iterable[Person], a_week: float | None = None) -> Impact:
    """Compare the groups; `a_week`: how many new suppliers come a week, for the weeks that a holdout needs."""
    everyone = list(people)
    everybody = _compared(everyone)
    reached = _compared([person for person in everyone if person.first])
    by_first = {
        trigger: _compared([person for person in everyone if person.first == trigger])
        for trigger in sorted({person.first for person in everyone} - {""})
    }
    base_group = everybody.holdout if everybody.holdout.n else everybody.treated
    base = base_group.value
    total = len(everyone)
    held_out = everybody.holdout.n / total if total else 0.0
    needs = []
    for share in SHARES:
        needed = people_needed(base, TARGET, share)
        needs.append(Need(share, needed, _weeks(needed, total, a_week)))
    smallest = smallest_reduction(base, total, held_out) if 0 < held_out < 1 else None
    return Impact(everybody, reached, by_first, base, needs, smallest)


def _compared(people: list[Person]) -> Comparison:
    groups = []
    for held_out in (False, True):
        group = [person for person in people if person.held_out is held_out]
        groups.append(Share(sum(person.left for person in group), len(group)))
    return compare(groups[0], groups[1])


def _weeks(needed: float, there: int, a_week: float | None) -> float | None:
    """Weeks until so many have been there for a window: the missing ones have to come first."""
    window = WINDOW_DAYS / 7
    if needed <= there:
        return round(window, 1)
    if needed == float("inf") or not a_week:
        return None
    return round((needed - there) / a_week + window, 1)


# the simulated experiment ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Reached:
    """What a policy does to the same people with and without its messages: nothing but the messages differs."""

    with_messages: float
    without: float
    reduction: float
    interval: tuple[float, float]
    """95 % of the reduction, over populations of this size (agents drawn again)."""
    messages: float
    """A supplier, in the 30 days."""


@dataclass(frozen=True)
class Wanted:
    """The effect a message would need for the target: `factor` times the assumed lifts; None: none reaches it."""

    factor: float | None
    lift: float | None
    reduction: float
    """What that factor reaches, or the most that any does."""


@dataclass(frozen=True)
class Simulation:
    """The simulated experiment and what lies behind it, which no real one can show."""

    people: int
    effects: Effects
    experiment: Impact
    holdout: float
    truth: Reached
    wanted: Wanted

    def as_json(self) -> dict[str, Any]:
        """All of it as JSON."""
        return {
            "simulation": True,
            "suppliers": self.people,
            "assumed_effects": asdict(self.effects),
            "experiment": {"holdout": self.holdout, **self.experiment.as_json()},
            "truth": asdict(self.truth),
            "needed_effect": asdict(self.wanted),
        }


def simulate_impact(
    policy: Policy,
    effects: Effects,
    count: int,
    seed: int,
    holdout: float,
    tell: Callable[[str], None] = lambda _what: None,
) -> Simulation:
    """Run the experiment on simulated suppliers; `tell` hears what is being done."""
    tell(f"{count:,} agents live {WINDOW_DAYS} days, before them 45 without messages")
    world = World(count, seed)
    treated = world.course(with_holdout(policy, 0.0), effects)
    control = world.course(with_holdout(policy, 1.0), effects)
    truth = reached(treated, control, seed)
    people = drawn_people(treated, control, holdout, f"{seed}")
    wanted = _wanted(world, policy, effects, control, truth.reduction, tell)
    there = int(world.there.sum())
    return Simulation(there, effects, impact_of(people), holdout, truth, wanted)


def with_holdout(policy: Policy, share: float) -> Policy:
    """The same policy with another holdout."""
    return policy.model_copy(update={"holdout": policy.holdout.model_copy(update={"share": share})})


def drawn_people(treated: Course, control: Course, holdout: float, salt: str) -> list[Person]:
    """What the experiment sees: of each agent the course of the group that the hash of their id puts them into."""
    people = []
    for agent in np.flatnonzero(treated.there).tolist():
        held_out = share_of(f"{salt}:{HOLDOUT}:{treated.ids[agent]}") < holdout
        course = control if held_out else treated
        people.append(Person(held_out, bool(course.left[agent]), course.first[agent]))
    return people


def reached(treated: Course, control: Course, seed: int) -> Reached:
    """What the messages did, on everybody who was there."""
    there = treated.there
    with_messages, without = treated.left[there], control.left[there]
    reduction, interval = _paired(with_messages, without, seed)
    messages = len(treated.sent) / max(1, int(there.sum()))
    return Reached(
        float(with_messages.mean()), float(without.mean()), reduction, interval, round(messages, 2)
    )


def _paired(with_messages: Array, without: Array, seed: int) -> tuple[float, tuple[float, float]]:
    """The reduction with its interval by resampling agents, each with both of their courses."""
    rng = np.random.default_rng(seed)
    kinds = with_messages.astype(int) * 2 + without.astype(int)
    counts = rng.multinomial(len(kinds), np.bincount(kinds, minlength=4) / len(kinds), RESAMPLES)
    left, left_without = counts[:, 2] + counts[:, 3], counts[:, 1] + counts[:, 3]
    drawn = 1 - left / np.maximum(left_without, 1)
    low, high = np.quantile(drawn, (0.025, 0.975))
    base = without.mean()
    return float(1 - with_messages.mean() / base) if base else 0.0, (float(low), float(high))


def _wanted(
    world: World,
    policy: Policy,
    effects: Effects,
    control: Course,
    now: float,
    tell: Callable[[str], None],
) -> Wanted:
    """Search the factor on all lifts with which the policy would reach the target on these people."""
    largest = max([effects.lift, *effects.lifts.values()])
    if not largest:
        return Wanted(None, None, now)
    factors, reductions = [0.0, 1.0], [0.0, now]
    if now < TARGET:
        factors = [1.0, 1 / largest]
        reductions = [now, _reduction(world, policy, effects.times(factors[1]), control)]
    if reductions[1] < TARGET:
        return Wanted(None, None, reductions[1])
    factor, reduction = factors[1], reductions[1]
    for step in range(SEARCH_STEPS):
        tell(f"which effect would reach {TARGET:.0%}: step {step + 1} of at most {SEARCH_STEPS}")
        part = (TARGET - reductions[0]) / max(reductions[1] - reductions[0], 1e-9)
        factor = factors[0] + min(max(part, 0.1), 0.9) * (factors[1] - factors[0])
        reduction = _reduction(world, policy, effects.times(factor), control)
        if abs(reduction - TARGET) < REACHED:
            break
        end = int(reduction >= TARGET)
        factors[end], reductions[end] = factor, reduction
    return Wanted(round(factor, 2), round(min(1.0, effects.lift * factor), 3), reduction)


def _reduction(world: World, policy: Policy, effects: Effects, control: Course) -> float:
    course = world.course(with_holdout(policy, 0.0), effects)
    base = control.left[world.there].mean()
    return float(1 - course.left[world.there].mean() / base) if base else 0.0
