"""The policy file: the default is the contract's table, and a wrong one says where."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

from scoring.decisions.policy import DEFAULT, Policy, PolicyError
from scoring.health.signals import CONDITION_MET, MILESTONE_ACHIEVED, RISK_CHANGED
from scoring.time import DAY, HOUR

TABLE = [
    ("signed_up", "in_app_notification", "welcome", "positive", 1, 50),
    ("no_login_7_days", "email", "we_miss_you", "rescue", 1, 60),
    ("zero_clients_imported", "email", "import_clients_guide", "rescue", 2, 70),
    ("stuck_onboarding", "email", "finish_setup", "rescue", 1, 75),
    ("low_client_adoption", "email", "grow_client_list", "rescue", 1, 87),
    ("first_form_created", "email", "first_form_celebration", "positive", None, 80),
    ("ten_clients_reached", "email", "milestone_celebration", "positive", None, 80),
    ("first_automation_live", "email", "milestone_celebration", "positive", None, 80),
    ("first_payment_received", "email", "milestone_celebration", "positive", None, 80),
    ("high_usage_free_tier", "email", "unlock_more_features", "positive", 1, 30),
    ("became_at_risk", "email", "quick_win", "rescue", 1, 85),
    ("became_critical", "support_call", "call_offer", "rescue", 1, 95),
]


def names(signal_type: str, **data: Any) -> list[str]:
    return [trigger.name for trigger in Policy.load().triggers_for(signal_type, data)]


def raw() -> dict[str, Any]:
    return tomllib.loads(DEFAULT.read_text("utf-8"))


def test_the_default_policy_is_the_contracts_table() -> None:
    found = [
        (each.name, each.channel, each.template, each.kind, each.most, each.priority)
        for each in Policy.load().triggers
    ]
    assert found == TABLE
    assert {each.delay_ms for each in Policy.load().triggers} == {0}


def test_a_condition_and_a_milestone_set_off_their_triggers() -> None:
    assert names(CONDITION_MET, condition="no_login_7_days", level="healthy") == ["no_login_7_days"]
    assert names(MILESTONE_ACHIEVED, milestone="first_payment") == ["first_payment_received"]


@pytest.mark.parametrize(
    ("previous", "level", "expected"),
    [
        ("healthy", "at_risk", ["became_at_risk"]),
        ("healthy", "critical", ["became_critical"]),
        ("at_risk", "critical", ["became_critical"]),
        ("critical", "at_risk", []),
        ("at_risk", "healthy", []),
        (None, "critical", []),
    ],
)
def test_only_a_level_that_gets_worse_is_a_reason(
    previous: str | None, level: str, expected: list[str]
) -> None:
    assert names(RISK_CHANGED, previous=previous, level=level) == expected


@pytest.mark.parametrize(
    ("level", "expected"),
    [("healthy", []), ("at_risk", ["became_at_risk"]), ("critical", ["became_critical"])],
)
def test_the_end_of_onboarding_counts_as_a_change_to_its_level(level: str, expected: list[str]) -> None:
    assert names(CONDITION_MET, condition="onboarding_ended", level=level) == expected


@pytest.mark.parametrize(
    ("signal", "age_of_account", "age_of_signal", "expected"),
    [
        (RISK_CHANGED, 14 * DAY - 1, 0, "onboarding"),
        (RISK_CHANGED, 14 * DAY, 0, None),
        (RISK_CHANGED, None, 0, None),
        (CONDITION_MET, DAY, 0, None),
        (CONDITION_MET, DAY, 72 * HOUR, None),
        (CONDITION_MET, DAY, 72 * HOUR + 1, "stale"),
    ],
)
def test_what_is_suppressed_from_the_start(
    signal: str, age_of_account: int | None, age_of_signal: int, expected: str | None
) -> None:
    at = 1_000 * DAY
    signed_up_at = None if age_of_account is None else at - age_of_account
    assert Policy.load().reason_at_birth(signal, at, signed_up_at, at + age_of_signal) == expected


@pytest.mark.parametrize(
    ("table", "field", "value", "said"),
    [
        ("caps", "total", -1, "[caps], field 'total'"),
        ("caps", "window", "a week", "[caps], field 'window': expected a duration"),
        ("hours", "zone", "Mars/North", "'Mars/North' is no IANA time zone"),
        ("hours", "from", "21:00", "`from` must be before `until`"),
        ("hours", "until", "8 pm", "expected a time of day"),
        ("holdout", "share", 1.5, "[holdout], field 'share'"),
        ("caps", "totl", 3, "[caps], field 'totl'"),
    ],
)
def test_a_wrong_value_is_named_with_file_table_and_field(
    table: str, field: str, value: Any, said: str
) -> None:
    document = raw()
    document[table][field] = value
    with pytest.raises(PolicyError) as error:
        Policy.parse(document, "mine.toml")
    assert str(error.value).startswith("mine.toml: ")
    assert said in str(error.value)


@pytest.mark.parametrize(
    ("field", "value"),
    [("on", "condition:hungry"), ("channel", "fax"), ("kind", "nice"), ("priority", 101), ("goals", ["fun"])],
)
def test_a_wrong_trigger_is_named(field: str, value: Any) -> None:
    document = raw()
    document["trigger"][1][field] = value
    with pytest.raises(PolicyError, match=f"mine.toml: trigger 'no_login_7_days', field '{field}"):
        Policy.parse(document, "mine.toml")


def test_a_trigger_without_a_name_and_twins_are_found() -> None:
    nameless = raw()
    del nameless["trigger"][2]["name"]
    with pytest.raises(PolicyError, match="trigger number 3, field 'name'"):
        Policy.parse(nameless, "mine.toml")
    twins = raw()
    twins["trigger"].append(twins["trigger"][0])
    with pytest.raises(PolicyError, match="trigger 'signed_up', field 'name'"):
        Policy.parse(twins, "mine.toml")


def test_a_file_that_is_missing_or_no_toml_is_named(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match="SUCCESS_POLICY"):
        Policy.load(tmp_path / "none.toml")
    broken = tmp_path / "broken.toml"
    broken.write_text("[caps\n")
    with pytest.raises(PolicyError, match=r"broken\.toml: is not TOML"):
        Policy.load(broken)
