"""Whether a configuration can go into force: every template is there, every letter can be written in every branch."""

from __future__ import annotations

import secrets
from collections.abc import Collection, Iterator
from pathlib import Path

from agents.letters.render import Letters, TemplateMissingError
from agents.letters.trial import Trial
from runtime.configuration import (
    OUR_TEMPLATES,
    POLICY,
    Configuration,
    ConfigurationError,
    load,
    template_files,
)
from runtime.settings import Settings
from scoring.decisions.policy import Policy


def checked(folder: Path | None, policy: Path | None = None) -> Configuration:
    """A folder over what ships, all templates that its policy names there. Raises ConfigurationError."""
    found = load(folder, policy)
    try:
        Letters.of(found).check(found.policy)
    except TemplateMissingError as error:
        raise ConfigurationError(f"{found.files[POLICY]}: {error}") from error
    return found


def complaints(found: Configuration, settings: Settings, only: Collection[str] | None = None) -> list[str]:
    """What is wrong with the letters of a configuration of files, of the triggers `only` (None: all letters).

    Links are signed with a key that nobody knows.
    """
    safe = settings.model_copy(update={"secret_key": secrets.token_urlsafe()})
    return Trial(found, safe, only).complaints()


def warnings(found: Configuration, folder: Path) -> Iterator[str]:
    """What is allowed and yet can hardly be meant."""
    yield from _of_caps(found.policy)
    policy, rules = found.policy, found.rules
    heard = {on.partition("@")[0] for trigger in policy.triggers for on in trigger.on}
    for kind, names in (("condition", rules.condition_names), ("milestone", tuple(rules.milestones))):
        for name in names:
            if f"{kind}:{name}" not in heard:
                yield f"{kind} {name}: no trigger of the policy listens to it, so nothing is sent for it"
    ours = template_files([OUR_TEMPLATES])
    named = {one.template for one in policy.triggers}
    for name in template_files([folder / "templates"]) if (folder / "templates").is_dir() else ():
        stem = Path(name).name.partition(".")[0]
        if name not in ours and not stem.startswith("_") and stem not in named:
            yield f"templates/{name}: no trigger names it, and it replaces none of ours"


def _of_caps(policy: Policy) -> Iterator[str]:
    caps, spacing = policy.caps, policy.spacing
    if caps.positive > caps.total:
        yield f"[caps]: positive = {caps.positive} can't be reached, total = {caps.total} comes first"
    if caps.total > 1 and (caps.total - 1) * spacing.emails_ms > caps.window_ms:
        yield f"[caps] and [spacing]: total = {caps.total} emails don't fit into `window` with `emails` between them"
    for trigger in policy.triggers:
        most = caps.positive if trigger.kind == "positive" else caps.total
        if min(most, caps.total) == 0:
            yield f"trigger {trigger.name}: [caps] lets none of its messages out"
        elif trigger.most is not None and trigger.most > most and trigger.within_ms <= caps.window_ms:
            yield f"trigger {trigger.name}: max = {trigger.most} can't be reached, [caps] allow {most}"
