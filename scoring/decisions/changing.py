"""`NAME=VALUE`: one number of the rules or the policy said otherwise, as `--set` and the dashboard's draft take it.

A name is `weights.<component>`, `levels.<threshold>`, a field of the policy such as `caps.total` or
`trigger.became_at_risk.delay`, or a trigger itself, which can be `off`.
"""

from __future__ import annotations

import math
import tomllib
from copy import deepcopy
from typing import TYPE_CHECKING, Any

from scoring.decisions.policy import Policy, PolicyError
from scoring.health.rules_file import RulesError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from scoring.health.rules import Rules

OF_THE_SCORE = {"weights", "levels"}
OFF = "off"
OPTIONAL = {"max", "least_points"}
"""Fields of a trigger that can be `off`: it goes without."""

SHORT = {"max_a_week": ("max", "within")}
"""What a short form says, which a document has written out."""


class SettingError(ValueError):
    """A setting or policy that can't be used; the message says why."""


def split(settings: Iterable[str], said_as: str = "--set") -> list[tuple[str, str]]:
    """(name, value as text) of each; `said_as` is what complaints call them."""
    found = []
    for setting in settings:
        name, equals, text = setting.partition("=")
        if not equals:
            raise SettingError(f"{said_as} {setting}: write name=value, such as weights.login=20")
        found.append((name, text))
    return found


def with_settings(
    document: dict[str, Any],
    rules: Rules,
    settings: Sequence[str],
    said_as: str = "--set",
    origin: str | None = None,
) -> Policy:
    """A policy's document and rules with these said otherwise; SettingError says what is wrong.

    `origin` (None: `said_as`) is what complaints call the whole document.
    """
    of_policy = []
    for name, text in split(settings, said_as):
        if name.partition(".")[0] in OF_THE_SCORE:
            rules = _with_number(rules, name, text, said_as)
        else:
            of_policy.append((name, _value(text)))
    for name, value in of_policy:
        document = _set(document, name, value, said_as)
    try:
        return Policy.parse(document, origin or said_as, rules)
    except PolicyError as error:
        raise SettingError(str(error)) from error


def _with_number(rules: Rules, name: str, text: str, said_as: str) -> Rules:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise SettingError(f"{said_as} {name}={text}: a number is needed")
    try:
        return rules.with_setting(name, number)
    except RulesError as error:
        raise SettingError(f"{said_as} {name}={text}: {error}") from error


def _set(raw: dict[str, Any], name: str, value: Any, said_as: str) -> dict[str, Any]:
    """The document with one field set, or without a trigger that is switched off."""
    document = deepcopy(raw)
    table, _, rest = name.partition(".")
    if table == "trigger":
        _set_trigger(document["trigger"], rest, value, f"{said_as} {name}")
    elif table in document and isinstance(document[table], dict) and rest:
        document[table][rest] = value
    else:
        tables = ", ".join(sorted(key for key in document if isinstance(document[key], dict)))
        raise SettingError(
            f"{said_as} {name}: there are weights, levels, trigger.<name>, {tables} (docs/replay.md)"
        )
    return document


def _set_trigger(triggers: list[dict[str, Any]], rest: str, value: Any, origin: str) -> None:
    trigger_name, _, field = rest.partition(".")
    trigger = next((each for each in triggers if each["name"] == trigger_name), None)
    if trigger is None:
        names = ", ".join(each["name"] for each in triggers)
        raise SettingError(f"{origin}: there is no such trigger; there are {names}")
    if not field and value == OFF:
        triggers.remove(trigger)
    elif field in OPTIONAL and value == OFF:
        trigger.pop(field, None)
    elif field:
        for said_by_it in SHORT.get(field, ()):
            trigger.pop(said_by_it, None)
        trigger[field] = value
    else:
        raise SettingError(f"{origin}: a trigger can be set to off, or a field of it to a value")


def _value(text: str) -> Any:
    """A TOML value; what is none (24h, off) is text."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text
