"""What is in force, as every service loads it."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from pathlib import Path

import click

from agents.letters.draft import drafted
from agents.letters.render import Letters, TemplateMissingError
from runtime.configuration import POLICY, Configuration, ConfigurationError, load
from runtime.settings import Settings
from scoring.decisions.policy import Policy
from scoring.health.churn import ModelError, load_model


def load_configuration(settings: Settings) -> Configuration:
    """SUCCESS_CONFIG_DIR over what ships; a wrong one is an error of the settings that says where."""
    return checked(settings.config_dir, settings.policy)


def checked(folder: Path | None, policy: Path | None = None) -> Configuration:
    """A folder over what ships, all templates that its policy names there. Raises ConfigurationError."""
    found = load(folder, policy)
    try:
        Letters.of(found).check(found.policy)
    except TemplateMissingError as error:
        raise ConfigurationError(f"{found.files[POLICY]}: {error}") from error
    return found


def wholly_checked(folder: Path) -> Configuration:
    """What a folder says, every letter of it written in every branch; ConfigurationError where something is wrong."""
    from agents.letters.trial import Trial  # noqa: PLC0415 - only who checks

    found = checked(folder)
    settings = Settings().model_copy(update={"secret_key": secrets.token_urlsafe()})
    if complaints := Trial(found, settings).complaints():
        for complaint in complaints[:-1]:
            click.echo(f"error: {complaint}", err=True)
        raise ConfigurationError(complaints[-1])
    return found


def changed(found: Configuration, settings: Sequence[str], churn: Path | None) -> Configuration:
    """A configuration with what a what-if set (`--set`), or another churn model, on top. Raises ConfigurationError."""
    try:
        model = None if churn is None else load_model(churn)
    except ModelError as error:
        raise ConfigurationError(str(error)) from error
    return drafted(found, settings, model)


def load_policy(settings: Settings) -> Policy:
    """The policy in force, with its rules."""
    return load_configuration(settings).policy
