"""The policy in force, as every service loads it."""

from __future__ import annotations

from cli.errors import UsageError
from runtime.settings import Settings
from scoring.policy import Policy, PolicyError


def load_policy(settings: Settings) -> Policy:
    """The policy in force; a wrong one is a usage error that says where."""
    try:
        return Policy.load(settings.policy)
    except PolicyError as error:
        raise UsageError(str(error)) from error
