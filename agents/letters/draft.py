"""A draft: what is in force with some of it said otherwise, checked so that it could go into force."""

from __future__ import annotations

import re
import tempfile
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Literal, NamedTuple

from agents.letters.checking import checked, complaints, warnings
from agents.letters.render import FOLDERS, Letters, TemplateMissingError
from runtime.configuration import BRAND, OURS, POLICY, RULES, TEMPLATES, ConfigurationError
from runtime.versions import whole, words_of
from runtime.written_out import as_toml
from scoring.decisions.changing import SettingError, with_settings
from scoring.decisions.experiments import template_file
from scoring.decisions.policy import Policy
from scoring.health.rules import Rules
from scoring.health.rules_file import TOTAL, document_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from runtime.configuration import Configuration
    from runtime.settings import Settings
    from scoring.decisions.policy import Trigger
    from scoring.health.churn import ChurnModel


_SHARED = re.compile("_|call_")
"""How the names of files begin that more than one letter is made of, or that no trigger names."""
Tried = Literal["none", "changed", "all"]


class Judged(NamedTuple):
    """A draft that could go into force, stored complete, and what can hardly be meant in it."""

    configuration: Configuration
    warnings: list[str]


def texts_of(found: Configuration) -> dict[str, str]:
    """A configuration as the files of a folder: name -> text; rules and policy as they ship keep their comments."""
    rules = document_of(found.rules.file)
    documents = {
        RULES: {name: said for name, said in rules.items() if said or name != "event"},
        POLICY: found.policy.document(),
        BRAND: found.brand,
    }
    own = {name for name in documents if found.words or found.files[name] != OURS[name]}
    texts = {
        name: as_toml(said) if name in own else OURS[name].read_text("utf-8")
        for name, said in documents.items()
    }
    words = words_of(found).templates
    return texts | {name if name in OURS else f"{TEMPLATES}/{name}": text for name, text in words.items()}


def judged(
    now: Configuration,
    files: Mapping[str, str],
    settings: Sequence[str],
    own: Settings,
    tried: Tried = "all",
) -> Judged:
    """What is in force with these files and then `settings` in its place, as `success config check` judges a folder.

    Letters are written in every branch where they, or what sends them, are otherwise than `now`. Where that may be any
    (of parts that letters share), `tried` says whether `all` are, which takes some seconds, or the first (`changed`);
    with `none` no letter is. Raises ConfigurationError, with file and line.
    """
    with tempfile.TemporaryDirectory(prefix="success-draft-") as name:
        folder = Path(name)
        for file, text in (texts_of(now) | dict(files)).items():
            path = folder / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, "utf-8")
        try:
            found = drafted(checked(folder), settings, now.rules.churn, "the draft")
            concerned = set() if tried == "none" else _concerned(now, found)
            if concerned is None and tried == "changed":
                concerned = {found.policy.triggers[0].name}
            wrong = "; ".join(complaints(found, own, concerned))
        except ConfigurationError as error:
            wrong = str(error)
        if wrong:
            raise ConfigurationError(wrong.replace(f"{folder}/", ""))
        return Judged(whole(found), list(warnings(found, folder)))


def _concerned(now: Configuration, found: Configuration) -> set[str] | None:
    """The triggers whose letters may be otherwise; None: any."""
    before, after = words_of(now).templates, words_of(found).templates
    changed = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
    shared = {name for name in changed if name.endswith(".toml") or _SHARED.match(PurePosixPath(name).name)}
    if shared or dict(now.brand) != dict(found.brand) or now.rules.features != found.rules.features:
        return None
    return {
        trigger.name
        for trigger in found.policy.triggers
        if now.policy.trigger(trigger.name) != trigger
        or any(name.endswith(file) for name in changed for file in _files(trigger))
    }


def _files(trigger: Trigger) -> Iterator[str]:
    for variant in (None, *trigger.variants):
        path = f"{FOLDERS[trigger.channel]}/{template_file(trigger.template, variant)}"
        yield from (f"{path}.txt", f"{path}.html")


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
        policy = Policy.parse(
            policy.document(),
            "what is in force",
            Rules(policy.rules.file, churn=churn, advice=policy.rules.advice),
        )
    draft = replace(found, policy=policy, number=0, stored_digest="")
    try:
        Letters.of(draft).check(policy)
    except TemplateMissingError as error:
        raise ConfigurationError(f"{said_as}: {error}") from error
    return draft
