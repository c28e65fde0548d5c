"""Holdout and variants: the same group for ever, shares that are true, and rows that say what they were part of."""

from __future__ import annotations

import tomllib
from collections import Counter
from typing import Any
from uuid import UUID, uuid5

import pytest

from scoring.decisions.decide import Decision, Row, decide
from scoring.decisions.experiments import assign, share_of, template_file
from scoring.decisions.policy import DEFAULT, Policy, PolicyError
from tests.scoring.decisions.cases import DAY, HOUR, NINE, outcome, row, sent, supplier

PEOPLE = [str(uuid5(UUID(int=7), str(number))) for number in range(20_000)]
TWO = {"base": 1, "short": 1}


def policy(
    share: float = 0, salt: str = "1", variants: dict[str, int] | None = None, again: str = "1"
) -> Policy:
    """The default policy with a holdout, and with variants of `low_client_adoption`."""
    raw = tomllib.loads(DEFAULT.read_text("utf-8"))
    raw["holdout"] = {"share": share, "salt": salt}
    raw["experiments"] = {"salt": again}
    for trigger in raw["trigger"]:
        if trigger["name"] == "low_client_adoption" and variants is not None:
            trigger["variants"] = variants
    return Policy.parse(raw, "test.toml")


def groups(which: Policy, name: str = "low_client_adoption") -> list[dict[str, str]]:
    trigger = which.trigger(name)
    assert trigger is not None
    return [assign(person, trigger, which).groups() for person in PEOPLE]


def chi_square(counts: Counter[str], expected: dict[str, float]) -> float:
    """How far counts are from the expected numbers."""
    return sum((counts[name] - number) ** 2 / number for name, number in expected.items())


def decide_on(due: Row, which: Policy, *history: Row, now: int = NINE, **facts: Any) -> Decision:
    [decision] = decide(supplier(**facts), [due], history, now, which)
    return decision


def test_without_experiments_nobody_is_part_of_one() -> None:
    assert Policy.load().holdout.share == 0
    assert groups(Policy.load()) == [{}] * len(PEOPLE)
    decision = decide_on(row("low_client_adoption"), Policy.load())
    assert (decision.action, decision.experiment, decision.variant) == ("send", None, None)
    assert "experiments" not in decision.inputs


def test_groups_are_the_same_in_every_process_and_every_year() -> None:
    """Numbers written down once: a change of the hash would deal everybody out anew in the middle of a test."""
    assert share_of("1:holdout:00000000-0000-0000-0000-000000000001") == pytest.approx(0.7488, abs=1e-4)
    first = [assign(person, policy(0.5).triggers[0], policy(0.5)).held_out for person in PEOPLE[:8]]
    assert first == [True, True, True, False, False, True, False, True]


@pytest.mark.parametrize("share", [0.05, 0.1, 0.5])
def test_the_holdout_has_its_share(share: float) -> None:
    counts = Counter(each["holdout"] for each in groups(policy(share)))
    expected = {"holdout": share * len(PEOPLE), "treated": (1 - share) * len(PEOPLE)}
    assert chi_square(counts, expected) < 10.8  # p = 0.001 with one degree of freedom


def test_a_supplier_is_held_out_of_all_triggers_or_of_none() -> None:
    which = policy(0.5)
    for person in PEOPLE[:200]:
        assert len({assign(person, trigger, which).held_out for trigger in which.triggers}) == 1


def test_a_greater_share_keeps_those_who_were_in() -> None:
    small, large = (
        {
            person
            for person, mine in zip(PEOPLE, groups(policy(share)), strict=True)
            if mine["holdout"] == "holdout"
        }
        for share in (0.05, 0.1)
    )
    assert small < large


def test_another_salt_makes_another_group() -> None:
    first, second = groups(policy(0.5)), groups(policy(0.5, salt="2"))
    same = sum(one == other for one, other in zip(first, second, strict=True))
    assert 0.47 < same / len(PEOPLE) < 0.53


def test_variants_have_their_weights() -> None:
    counts = Counter(
        each["low_client_adoption"] for each in groups(policy(variants={"base": 2, "short": 1, "list": 1}))
    )
    expected = {name: len(PEOPLE) * share for name, share in (("base", 0.5), ("short", 0.25), ("list", 0.25))}
    assert chi_square(counts, expected) < 13.8  # p = 0.001 with two degrees of freedom


def test_a_variant_without_weight_goes_to_nobody() -> None:
    counts = Counter(each["low_client_adoption"] for each in groups(policy(variants={"base": 1, "short": 0})))
    assert counts == {"base": len(PEOPLE)}


def test_variants_do_not_follow_the_holdout_or_each_other() -> None:
    which = policy(0.5, variants=TWO)
    pairs = Counter((each["holdout"], each["low_client_adoption"]) for each in groups(which))
    assert all(abs(count / len(PEOPLE) - 0.25) < 0.02 for count in pairs.values())
    assert len(pairs) == 4


def test_the_order_of_the_variants_in_the_file_does_not_matter() -> None:
    assert groups(policy(variants={"base": 2, "short": 1})) == groups(
        policy(variants={"short": 1, "base": 2})
    )


def test_a_held_out_row_says_so() -> None:
    decision = decide_on(row("low_client_adoption"), policy(1, variants=TWO))
    assert (decision.action, decision.reason) == ("suppress", "holdout")
    assert (decision.experiment, decision.variant) == ("holdout", "holdout")
    assert decision.inputs["experiments"]["holdout"] == "holdout"


def test_a_row_that_leaves_while_a_holdout_runs_says_which_side_it_is_on() -> None:
    decision = decide_on(row("low_client_adoption"), policy(1e-9))
    assert (decision.action, decision.experiment, decision.variant) == ("send", "holdout", "treated")


def test_a_row_of_a_variant_names_the_trigger_and_the_variant() -> None:
    decision = decide_on(row("low_client_adoption"), policy(1e-9, variants={"base": 0, "short": 1}))
    assert (decision.experiment, decision.variant) == ("low_client_adoption", "short")
    assert decision.inputs["experiments"] == {"holdout": "treated", "low_client_adoption": "short"}


def test_holdout_is_asked_last_so_that_only_what_would_leave_is_compared() -> None:
    apart = policy(1)
    night = NINE + 14 * HOUR
    assert outcome(decide_on(row("low_client_adoption", night), apart, now=night)) == "wait:hours"
    capped = [sent("signed_up", NINE - day * DAY) for day in (1, 2, 3)]
    assert outcome(decide_on(row("low_client_adoption"), apart, *capped)) == "weekly_cap"
    assert outcome(decide_on(row("low_client_adoption"), apart, email_opt_out=True)) == "opted_out"
    assert outcome(decide_on(row("low_client_adoption"), apart, email=None)) == "wait:address"
    for trigger in ("low_client_adoption", "signed_up", "first_form_created"):
        assert outcome(decide_on(row(trigger), apart)) == "holdout"


def test_what_is_not_decided_for_good_is_part_of_nothing_yet() -> None:
    night = NINE + 14 * HOUR
    waiting = decide_on(row("low_client_adoption", night), policy(0.5, variants=TWO), now=night)
    assert (waiting.experiment, waiting.variant) == (None, None)


def test_the_base_variant_is_the_template_itself() -> None:
    assert template_file("we_miss_you", None) == "we_miss_you"
    assert template_file("we_miss_you", "base") == "we_miss_you"
    assert template_file("we_miss_you", "short") == "we_miss_you.short"


@pytest.mark.parametrize("variants", [{"base": 0}, {"Short": 1}, {"short": -1}, {"short": "much"}])
def test_wrong_variants_are_named(variants: dict[str, Any]) -> None:
    with pytest.raises(PolicyError, match=r"test\.toml: trigger 'low_client_adoption', field 'variants"):
        policy(variants=variants)
