"""What a what-if changes: the policy, and the rules, such as the score's weights and thresholds."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runtime.configuration import Configuration, load
from scoring.decisions.changing import SettingError, with_settings
from scoring.decisions.policy import Policy, PolicyError
from scoring.health.rules import SHIPPED, Rules

BASE, WHAT_IF = "base", "what_if"


@dataclass(frozen=True)
class Variant:
    """One way to score and to write: `policy` None simulates no messages."""

    name: str
    policy: Policy | None = None
    rules: Rules = SHIPPED
    changes: tuple[str, ...] = ()
    """What was set otherwise, as `name=value`."""
    follows: bool = False
    """It goes over to other versions where live scoring did; `policy` and `rules` count until the first."""


def base(configuration: Configuration | None = None) -> Variant:
    """What was in force, version by version; `configuration` (None: as shipped) where nothing was activated."""
    configuration = configuration or load()
    return Variant(BASE, configuration.policy, configuration.rules, follows=True)


def what_if(
    configuration: Configuration | None, settings: Sequence[str], policy_file: Path | None = None
) -> Variant:
    """A configuration, with another policy file and `name=value` settings on top; SettingError says what is wrong."""
    configuration = configuration or load()
    document, origin = configuration.policy.document(), "--set"
    if policy_file is not None:
        document = _document_of(policy_file, configuration.rules)
        origin = f"{policy_file} with --set" if settings else str(policy_file)
    policy = with_settings(document, configuration.rules, settings, origin=origin)
    return Variant(WHAT_IF, policy, policy.rules, tuple(settings))


def _document_of(path: Path, rules: Rules) -> dict[str, Any]:
    try:
        Policy.over_ours(path.read_text("utf-8"), str(path), rules)  # complains of the file itself first
        return Policy.merged(tomllib.loads(path.read_text("utf-8")))
    except PolicyError as error:
        raise SettingError(str(error)) from error
    except (OSError, UnicodeDecodeError) as error:
        raise SettingError(f"{path}: can't be read ({error})") from error
