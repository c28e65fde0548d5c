"""What a what-if changes: the policy, and the score's weights and thresholds."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scoring.policy import DEFAULT, Policy, PolicyError
from scoring.scale import Scale, ScaleError

OF_THE_SCORE = {"weights", "levels"}
BASE, WHAT_IF = "base", "what_if"


class VariantError(ValueError):
    """A setting or policy that can't be tried; the message says why."""


@dataclass(frozen=True)
class Variant:
    """One way to score and to write: `scale` None is the contract's, `policy` None simulates no messages."""

    name: str
    policy: Policy | None = None
    scale: Scale | None = None
    changes: tuple[str, ...] = ()
    """What was set otherwise, as `name=value`."""


def base(policy_file: Path | None) -> Variant:
    """The policy and the score in force; VariantError where the policy is none."""
    return Variant(BASE, _load(policy_file or DEFAULT, []))


def what_if(policy_file: Path | None, settings: Sequence[str]) -> Variant:
    """Another policy file, if given, with `name=value` settings on top; VariantError says what is wrong.

    A name is `weights.<component>`, `levels.<threshold>`, a field of the policy such as `caps.total` or
    `trigger.became_at_risk.delay`, or a trigger itself, which can be `off`.
    """
    scale, of_policy = Scale(), []
    for setting in settings:
        name, equals, text = setting.partition("=")
        if not equals:
            raise VariantError(f"--set {setting}: write name=value, such as weights.login=20")
        if name.partition(".")[0] in OF_THE_SCORE:
            scale = _with_number(scale, name, text)
        else:
            of_policy.append((name, _value(text)))
    policy = _load(policy_file or DEFAULT, of_policy)
    return Variant(WHAT_IF, policy, None if scale == Scale() else scale, tuple(settings))


def _with_number(scale: Scale, name: str, text: str) -> Scale:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise VariantError(f"--set {name}={text}: a number is needed")
    try:
        return scale.with_setting(name, number)
    except ScaleError as error:
        raise VariantError(f"--set {name}={text}: {error}") from error


def _load(path: Path, settings: Sequence[tuple[str, Any]]) -> Policy:
    try:
        Policy.load(path)  # complains of the file itself first
        raw = tomllib.loads(path.read_text("utf-8"))
        for name, value in settings:
            raw = _set(raw, name, value)
        return Policy.parse(raw, f"{path} with --set" if settings else str(path))
    except PolicyError as error:
        raise VariantError(str(error)) from error


def _set(raw: dict[str, Any], name: str, value: Any) -> dict[str, Any]:
    """The document with one field set, or without a trigger that is switched off."""
    document = deepcopy(raw)
    table, _, rest = name.partition(".")
    if table == "trigger":
        trigger_name, _, field = rest.partition(".")
        trigger = next((each for each in document["trigger"] if each["name"] == trigger_name), None)
        if trigger is None:
            names = ", ".join(each["name"] for each in document["trigger"])
            raise VariantError(f"--set {name}: there is no such trigger; there are {names}")
        if not field and value == "off":
            document["trigger"].remove(trigger)
        elif field:
            trigger[field] = value
        else:
            raise VariantError(f"--set {name}: a trigger can be set to off, or a field of it to a value")
    elif table in document and isinstance(document[table], dict) and rest:
        document[table][rest] = value
    else:
        tables = ", ".join(sorted(key for key in document if isinstance(document[key], dict)))
        raise VariantError(
            f"--set {name}: there are weights, levels, trigger.<name>, {tables} (docs/replay.md)"
        )
    return document


def _value(text: str) -> Any:
    """A TOML value; what is none (24h, off) is text."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text
