"""The policy in force, as every service loads it."""

from __future__ import annotations

from agents.render import TemplateMissingError, check_templates
from cli.errors import UsageError
from runtime.settings import Settings
from scoring.policy import Policy, PolicyError


def load_policy(settings: Settings) -> Policy:
    """The policy in force; a wrong one is a usage error that says where."""
    try:
        policy = Policy.load(settings.policy)
        check_templates(policy)
    except PolicyError as error:
        raise UsageError(str(error)) from error
    except TemplateMissingError as error:
        raise UsageError(f"{settings.policy or 'the default policy'}: {error}") from error
    return policy
