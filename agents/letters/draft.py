"""A draft: what is in force with some of it said otherwise, checked so that it could go into force."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from agents.letters.render import Letters, TemplateMissingError
from runtime.configuration import ConfigurationError
from scoring.decisions.changing import SettingError, with_settings
from scoring.decisions.policy import Policy
from scoring.health.rules import Rules
from scoring.health.rules_file import TOTAL

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runtime.configuration import Configuration
    from scoring.health.churn import ChurnModel


def drafted(
    found: Configuration, settings: Sequence[str], churn: ChurnModel | None = None, said_as: str = "--set"
) -> Configuration:
    """A configuration with `name=value` settings, or another churn model, on top. Raises ConfigurationError.

    `said_as` is what complaints call the settings.
    """
    try:
        policy = with_settings(found.policy.document(), found.rules, settings, said_as)
    except SettingError as error:
        raise ConfigurationError(str(error)) from error
    points = sum(component.points or 0 for component in policy.rules.file.components.values())
    if round(points, 9) != TOTAL:
        raise ConfigurationError(
            f"{said_as}: the components' points add up to {points:g}; in force they must add up to {TOTAL}: set "
            "other weights too"
        )
    if churn is not None:
        policy = Policy.parse(policy.document(), "what is in force", Rules(policy.rules.file, churn=churn))
    draft = replace(found, policy=policy, number=0, stored_digest="")
    try:
        Letters.of(draft).check(policy)
    except TemplateMissingError as error:
        raise ConfigurationError(f"{said_as}: {error}") from error
    return draft
