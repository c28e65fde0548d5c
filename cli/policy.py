"""What is in force, as every service loads it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from agents.letters.checking import checked, complaints
from runtime.configuration import Configuration, ConfigurationError
from runtime.settings import Settings
from scoring.decisions.policy import Policy
from scoring.health.churn import ModelError, load_model


def load_configuration(settings: Settings) -> Configuration:
    """SUCCESS_CONFIG_DIR over what ships; a wrong one is an error of the settings that says where."""
    return checked(settings.config_dir, settings.policy)


def wholly_checked(folder: Path) -> Configuration:
    """What a folder says, every letter of it written in every branch; ConfigurationError where something is wrong."""
    found = checked(folder)
    if wrong := complaints(found, Settings()):
        for complaint in wrong[:-1]:
            click.echo(f"error: {complaint}", err=True)
        raise ConfigurationError(wrong[-1])
    return found


def changed(found: Configuration, settings: Sequence[str], churn: Path | None) -> Configuration:
    """A configuration with what a what-if set (`--set`), or another churn model, on top. Raises ConfigurationError."""
    from agents.letters.draft import drafted  # noqa: PLC0415 - for a what-if only

    try:
        model = None if churn is None else load_model(churn)
    except ModelError as error:
        raise ConfigurationError(str(error)) from error
    return drafted(found, settings, model)


def load_policy(settings: Settings) -> Policy:
    """The policy in force, with its rules."""
    return load_configuration(settings).policy
