"""A draft's form: what is typed becomes settings, settings fill it in, and differences are told."""

from __future__ import annotations

from copy import deepcopy

from api.dashboard.rules import form
from api.dashboard.rules.told import Line, told
from scoring.decisions.changing import split, with_settings
from scoring.decisions.policy import Policy
from scoring.health.rules import SHIPPED

DOCUMENT = Policy.load().document()
TRIGGERS = [trigger["name"] for trigger in DOCUMENT["trigger"]]


def sent(**changes: str | None) -> list[tuple[str, str]]:
    """The form as a browser sends it, with these fields otherwise; None: the box is not ticked."""
    empty = form.of_sent(DOCUMENT, [])
    fields = [one for group in empty.groups for one in group.fields]
    fields += [one for row in empty.triggers for one in row.fields]
    values: dict[str, str | None] = {one.name: one.value for one in fields}
    values |= {f"trigger.{name}": "on" for name in TRIGGERS}
    values |= {name.replace("__", "."): text for name, text in changes.items()}
    return [("listed", name) for name in TRIGGERS] + [
        (name, text) for name, text in values.items() if text is not None
    ]


def test_what_is_in_force_is_no_setting() -> None:
    assert form.of_sent(DOCUMENT, sent()).settings() == []


def test_what_is_typed_is_a_setting_that_the_policy_takes() -> None:
    typed = sent(caps__total=" 2 ", hours__from="09:00", holdout__share="0.1", trigger__signed_up__delay="1h")
    settings = form.of_sent(DOCUMENT, typed).settings()
    assert settings == ["caps.total=2", "hours.from=09:00", "holdout.share=0.1", "trigger.signed_up.delay=1h"]
    policy = with_settings(DOCUMENT, SHIPPED, settings)
    assert (policy.caps.total, policy.hours.from_minute, policy.holdout.share) == (2, 9 * 60, 0.1)


def test_a_trigger_that_is_off_is_one_setting_whatever_its_fields_say() -> None:
    typed = sent(trigger__signed_up=None, trigger__signed_up__priority="99")
    settings = form.of_sent(DOCUMENT, typed).settings()
    assert settings == ["trigger.signed_up=off"]
    assert with_settings(DOCUMENT, SHIPPED, settings).trigger("signed_up") is None


def test_an_empty_max_is_no_limit() -> None:
    settings = form.of_sent(DOCUMENT, sent(trigger__signed_up__max="")).settings()
    trigger = with_settings(DOCUMENT, SHIPPED, settings).trigger("signed_up")
    assert trigger is not None
    assert trigger.most is None


def test_an_empty_field_that_must_be_there_is_a_setting_and_not_overlooked() -> None:
    assert form.of_sent(DOCUMENT, sent(caps__total="")).settings() == ["caps.total="]


def test_settings_of_an_address_fill_the_form_in() -> None:
    settings = ["caps.total=2", "trigger.signed_up.max=off", "trigger.became_at_risk=off"]
    filled = form.of_settings(DOCUMENT, split(settings))
    assert filled.unknown == ()
    assert set(filled.settings()) == set(settings)


def test_settings_that_no_field_is_for_are_named() -> None:
    settings = ["weights.login=20", "trigger.nobody=off", "pace.a_second=3"]
    assert form.of_settings(DOCUMENT, split(settings)).unknown == (
        "weights.login", "trigger.nobody", "pace.a_second",
    )  # fmt: skip


def test_a_command_line_is_safe_in_a_shell() -> None:
    assert form.command("success replay", ["hours.zone=Europe/Rome; rm -r /"]) == (
        "success replay --set 'hours.zone=Europe/Rome; rm -r /'"
    )


def test_a_trigger_that_is_gone_or_new_is_told_in_one_line() -> None:
    now = deepcopy(DOCUMENT)
    now["caps"]["total"] = 2
    now["trigger"] = [one for one in now["trigger"] if one["name"] != "signed_up"]
    said = "on: welcome by in_app_notification, at condition:signed_up"
    gone, back = told({"policy": DOCUMENT}, {"policy": now}), told({"policy": now}, {"policy": DOCUMENT})
    assert gone.lines == [Line("caps.total", "3", "2"), Line("trigger signed_up", said, "off")]
    assert back.lines == [Line("caps.total", "2", "3"), Line("trigger signed_up", "off", said)]


def test_words_are_told_line_by_line_and_long_texts_are_shortened() -> None:
    was = {"policy": {}, "brand": {"name": "a" * 500}, "templates": {"email/x.txt": "one\ntwo\nthree"}}
    now = {"policy": {}, "brand": {"name": "b"}, "templates": {"email/x.txt": "one\n2\nthree"}}
    found = told(was, now)
    assert found.lines[0].place == "brand.name"
    assert len(found.lines[0].was or "") < 130
    [words] = found.words
    assert (words.name, words.added, words.taken) == ("email/x.txt", 1, 1)
    assert ("-", "two") in words.lines
    assert ("+", "2") in words.lines
