"""`NAME=VALUE` settings on top of a policy: what each does, and that what a field says now comes to the same policy."""

from __future__ import annotations

import pytest

from scoring.decisions.changing import SettingError, with_settings
from scoring.decisions.policy import Policy
from scoring.health.rules import SHIPPED
from scoring.time import DAY

SHIPS = Policy.load()


def changed(*settings: str) -> Policy:
    return with_settings(SHIPS.document(), SHIPPED, settings)


def test_a_limit_of_a_trigger_can_be_off_and_be_said_in_short() -> None:
    trigger = changed("trigger.no_login_7_days.max=off").trigger("no_login_7_days")
    assert trigger is not None
    assert trigger.most is None
    trigger = changed("trigger.no_login_7_days.within=30d", "trigger.no_login_7_days.max_a_week=2").trigger(
        "no_login_7_days"
    )
    assert trigger is not None
    assert (trigger.most, trigger.within_ms) == (2, 7 * DAY)


def test_what_must_be_there_can_not_be_off() -> None:
    with pytest.raises(SettingError, match="trigger 'no_login_7_days', field 'delay'"):
        changed("trigger.no_login_7_days.delay=off")


def test_weights_and_policy_are_set_together() -> None:
    policy = changed("weights.login=20", "caps.total=2")
    assert policy.caps.total == 2
    assert policy.rules.file.components["loginFrequency"].points == 20


def test_complaints_call_the_settings_what_they_are_told_to() -> None:
    with pytest.raises(SettingError, match=r"^the draft: \[caps\], field 'total'"):
        with_settings(SHIPS.document(), SHIPPED, ["caps.total=few"], "the draft")
