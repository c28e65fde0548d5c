"""The simulated experiment as proof of the report: what the caller puts in comes out, with honest intervals."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter

import numpy as np
import pytest

from replay.impact.agents import Agents
from replay.impact.effects import NO_EFFECT, Effects
from replay.impact.report import Person, drawn_people, impact_of, reached, simulate_impact, with_holdout
from replay.impact.stats import Share, compare
from replay.impact.world import WINDOW_DAYS, World
from scoring.decisions.policy import Policy

STRONG = Effects(read=0.9, lift=0.6)
SETTLED = 1.0


def lived(count: int, seed: int, lift: float, held_out: np.ndarray | None = None) -> np.ndarray:
    """Who left within 30 days, where a message goes to whoever has been silent for four days, at most one a week.

    A stand-in for the product, so that hundreds of experiments are cheap; `held_out` get none.
    """
    agents = Agents(count, seed, settled=SETTLED)
    agents.interest *= 0.6
    held_out = np.zeros(count, dtype=bool) if held_out is None else held_out
    silent, told = np.zeros(count), np.full(count, -7)
    left, lifts = np.zeros(count, dtype=bool), np.zeros(count)
    for day in range(WINDOW_DAYS):
        does = agents.live(lifts)
        left |= does.left
        silent = np.where(does.login, 0, silent + 1)
        due = agents.here & (silent >= 4) & (day - told >= 7) & ~held_out
        told = np.where(due, day, told)
        lifts = np.where(due, lift, 0.0)
    return left


@pytest.mark.parametrize("lift", [0.0, pytest.param(0.15, marks=pytest.mark.long), 0.5])
def test_the_interval_covers_the_true_effect_at_its_nominal_rate(lift):
    """Hundreds of experiments, each with people and a draw of its own; the truth is that of a very large population."""
    truth = lived(60_000, 1, lift).mean() - lived(60_000, 1, 0.0).mean()
    covered, told, times = 0, 0, 250
    for seed in range(times):
        held_out = np.random.default_rng([seed, 3]).random(600) < 0.4
        left = lived(600, seed + 10, lift, held_out)
        treated = Share(int(left[~held_out].sum()), int((~held_out).sum()))
        found = compare(treated, Share(int(left[held_out].sum()), int(held_out.sum())))
        covered += found.interval[0] <= truth <= found.interval[1]
        told += found.interval[1] < 0 or found.interval[0] > 0
    assert 0.915 <= covered / times <= 0.985  # 0.95, within three standard errors
    if lift == 0:
        assert truth == 0
        assert told / times <= 0.085  # an effect is seen in one of twenty where there is none
    else:
        assert truth < -0.005


@pytest.fixture(scope="module")
def world() -> World:
    return World(200, 3)


@pytest.fixture(scope="module")
def policy() -> Policy:
    return Policy.load()


def test_messages_without_effect_change_nobodys_life(world, policy):
    treated = world.course(with_holdout(policy, 0.0), NO_EFFECT)
    control = world.course(with_holdout(policy, 1.0), NO_EFFECT)
    assert len(treated.sent) > 100
    assert not control.sent
    assert np.array_equal(treated.left, control.left)
    found = reached(treated, control, 1)
    assert (found.reduction, found.interval) == (0.0, (0.0, 0.0))


def test_messages_with_an_effect_keep_people_and_harm_nobody(world, policy):
    treated = world.course(with_holdout(policy, 0.0), STRONG)
    control = world.course(with_holdout(policy, 1.0), STRONG)
    found = reached(treated, control, 1)
    assert found.interval[0] > 0.1
    assert not (treated.left & ~control.left).sum() > (control.left & ~treated.left).sum()
    assert treated.first == control.first or set(treated.first) == set(control.first)


def test_the_first_message_due_is_the_same_whichever_group_they_are_in(world, policy):
    """So that comparing by the first message compares like with like."""
    treated = world.course(with_holdout(policy, 0.0), STRONG)
    control = world.course(with_holdout(policy, 1.0), STRONG)
    both = [pair for pair in zip(treated.first, control.first, strict=True) if pair[0] and pair[1]]
    assert len(both) > 100
    assert all(mine == theirs for mine, theirs in both)


def test_the_real_policy_decides_with_its_caps(world, policy):
    course = world.course(with_holdout(policy, 0.0), NO_EFFECT)
    by_agent: dict[int, list[int]] = {}
    for sent in course.sent:
        by_agent.setdefault(sent.agent, []).append(sent.day)
    for days in by_agent.values():
        assert all(sum(day <= other < day + 7 for other in days) <= 3 + 1 for day in days)
    kinds = Counter(sent.trigger for sent in course.sent)
    assert {"signed_up", "no_login_7_days", "first_form_created"} <= set(kinds)


def test_redrawn_groups_of_one_population_cover_what_the_messages_did_to_it(world, policy):
    """Through the real scoring and policy: one population with both of its lives, four hundred draws of the groups."""
    treated = world.course(with_holdout(policy, 0.0), STRONG)
    control = world.course(with_holdout(policy, 1.0), STRONG)
    truth = treated.left[world.there].mean() - control.left[world.there].mean()
    covered = 0
    for draw in range(400):
        low, high = impact_of(drawn_people(treated, control, 0.5, f"draw {draw}")).everybody.interval
        covered += low <= truth <= high
    assert covered / 400 >= 0.93  # drawing groups of one population varies less than drawing people


def test_the_population_shares_nothing_with_what_it_tests():
    code = (
        "import replay.impact.agents, sys; print([name for name in sys.modules "
        "if name.split('.')[0] in ('scoring', 'topics', 'agents', 'store')])"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "[]"


def test_an_effect_that_reaches_the_target_is_found(policy):
    found = simulate_impact(policy, Effects(read=0.9, lift=0.02), 200, 3, 0.5)
    assert found.wanted.factor is not None
    assert found.wanted.reduction == pytest.approx(0.25, abs=0.1)  # a few people make the steps
    assert found.as_json()["simulation"] is True


def test_what_no_effect_can_reach_is_said(policy):
    found = simulate_impact(policy, Effects(read=0.02, lift=0.05), 150, 3, 0.5)
    assert found.wanted.factor is None
    assert found.wanted.reduction < 0.25


def test_weeks_until_enough_people_have_been_watched():
    people = [Person(number % 2 == 0, number % 10 == 0) for number in range(1000)]
    found = impact_of(people, a_week=100)
    by_share = {need.holdout: need for need in found.needs}
    assert by_share[0.5].people < by_share[0.2].people < by_share[0.1].people
    assert by_share[0.5].weeks == pytest.approx((by_share[0.5].people - 1000) / 100 + 30 / 7, abs=0.1)
    assert impact_of(people).needs[0].weeks is None
    assert impact_of([]).everybody.says.startswith("nothing to compare")
