"""What is in force: rules and everything that goes with them, as every service loads it."""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cache, cached_property, lru_cache
from pathlib import Path
from typing import Any

import templates
from runtime.errors import SettingsError
from runtime.written_out import as_toml
from scoring.advice import book
from scoring.decisions.policy import DEFAULT as DEFAULT_POLICY
from scoring.decisions.policy import Policy, PolicyError
from scoring.health import rules_file
from scoring.health.churn import ModelError, parse_model
from scoring.health.events import Event
from scoring.health.rules import REPORTED, SHIPPED, Rules
from scoring.health.rules_file import RulesError
from topics.activity_types import Vocabulary

RULES, POLICY, CHURN, BRAND = "rules.toml", "policy.toml", "churn.toml", "brand.toml"
TEMPLATES = "templates"
_SCORING = DEFAULT_POLICY.parent
OUR_TEMPLATES = Path(templates.__file__).parent
OURS: dict[str, Path] = {
    RULES: rules_file.DEFAULT,
    POLICY: DEFAULT_POLICY,
    CHURN: _SCORING / CHURN,
    BRAND: OUR_TEMPLATES / BRAND,
    **book.FILES,
}
"""Every file that a folder may have, and ours, which stands in for one that it leaves out."""


class ConfigurationError(SettingsError):
    """A configuration can't be used; the message says file, line and what to write instead."""


@dataclass(frozen=True)
class Configuration:
    """Everything that a product manager may want otherwise, checked.

    `policy` brings the rules whose conditions it names. `templates`: folders in which a template is looked for, ours
    the last; before them `words` counts, template name -> text. `brand`: what templates call the product. `files`:
    where each file comes from. `number`: that of the version which it is, 0 if it is none; `stored_digest`: what the
    version was stored with.
    """

    policy: Policy
    templates: tuple[Path, ...] = (OUR_TEMPLATES,)
    brand: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, Path] = field(default_factory=lambda: dict(OURS))
    words: Mapping[str, str] = field(default_factory=dict)
    number: int = 0
    stored_digest: str = ""

    @property
    def rules(self) -> Rules:
        """What scoring is made of."""
        return self.policy.rules

    @cached_property
    def digest(self) -> str:
        """SHA-256 of all of it, defaults written out."""
        if self.stored_digest:
            return self.stored_digest
        said = hashlib.sha256(f"{self.rules.digest}{self.policy.model_dump_json()}".encode())
        said.update(repr(sorted(self.brand.items())).encode())
        advice = {name: each for name, each in self.rules.advice.items() if each != book.shipped(name)}
        if advice:
            said.update(json.dumps(advice, sort_keys=True).encode())
        for name, path in sorted(template_files(self.templates).items()):
            said.update(f"{name}\0".encode() + path.read_bytes())
        for name, text in sorted(self.words.items()):
            said.update(f"{name}\0{text}".encode())
        return said.hexdigest()

    @cached_property
    def source_digest(self) -> str:
        """SHA-256 of what was given, without what ships: the same after a release of ours."""
        if self.words:  # of a version, and not of files
            return self.digest
        said = hashlib.sha256()
        given = {name: path for name, path in self.files.items() if path != OURS[name]}
        own = [folder for folder in self.templates if folder != OUR_TEMPLATES]
        given |= {f"{TEMPLATES}/{name}": path for name, path in template_files(own).items()}
        for name, path in sorted(given.items()):
            said.update(f"{name}\0{path.stat().st_size}\0".encode() + path.read_bytes())
        return said.hexdigest()


def template_files(folders: Iterable[Path]) -> dict[str, Path]:
    """Name below its folder -> file, of everything that a message can be written with; the first folder's counts."""
    found: dict[str, Path] = {}
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            name = path.relative_to(folder).as_posix()
            if path.suffix in {".txt", ".html", ".toml"} and name != BRAND:
                found.setdefault(name, path)
    return found


def texts_of(configuration: Configuration) -> dict[str, str]:
    """The words that a configuration speaks with, by the names of their files: templates, and words as data.

    Of data what the tables of a folder leave out is as in the next.
    """
    folders = configuration.templates
    found = {name: path.read_text("utf-8") for name, path in template_files(folders).items()}
    for name in found:
        said = [folder / name for folder in folders if (folder / name).is_file()]
        if name.endswith(".toml") and len(said) > 1:
            merged: dict[str, Any] = {}
            for path in reversed(said):
                merged = over(merged, read_toml(path))
            if merged != read_toml(said[0]):  # else its own words, with their comments, are all of it
                found[name] = as_toml(merged)
    advice = configuration.rules.advice
    for name, path in book.FILES.items():
        own = name in advice and advice[name] != book.shipped(name)
        found[name] = as_toml(advice[name]) if own else path.read_text("utf-8")
    return found | dict(configuration.words)


def over(document: Mapping[str, Any], said: Mapping[str, Any]) -> dict[str, Any]:
    """A document with what another says in its place; what a table of that leaves out stays."""
    return {
        **document,
        **{
            name: over(document[name], value)
            if isinstance(value, dict) and isinstance(document.get(name), dict)
            else value
            for name, value in said.items()
        },
    }


def read_toml(path: Path) -> dict[str, Any]:
    """A file as a document. Raises ConfigurationError."""
    try:
        return tomllib.loads(_text(path))
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{path}: is not TOML: {error}") from error


def load(folder: Path | None = None, policy: Path | None = None) -> Configuration:
    """What a folder has over what ships; `policy` is a policy file of its own, read whole.

    Raises ConfigurationError.
    """
    own = {} if folder is None else _files_of(folder)
    if policy is not None and POLICY in own:
        raise ConfigurationError(
            f"{own[POLICY]} and SUCCESS_POLICY={policy} are two policies: leave out one of them"
        )
    try:
        rules = _rules(own)
        if POLICY in own:
            read = Policy.over_ours(_text(own[POLICY]), str(own[POLICY]), rules)
        else:
            read = Policy.load(policy, rules)
    except (RulesError, PolicyError, ModelError) as error:
        raise ConfigurationError(str(error)) from error
    folders = (
        (folder / TEMPLATES, OUR_TEMPLATES) if folder and (folder / TEMPLATES).is_dir() else (OUR_TEMPLATES,)
    )
    files = OURS | own | ({POLICY: policy} if policy is not None else {})
    return Configuration(read, folders, _brand(own), files)


def _files_of(folder: Path) -> dict[str, Path]:
    """The files of a folder by name; a name that nobody reads is an error, lest a slip of the pen goes unnoticed."""
    if not folder.is_dir():
        raise ConfigurationError(f"{folder}: there is no such folder; name one with {', '.join(OURS)}")
    found = {}
    for path in sorted(folder.iterdir()):
        if path.name in OURS:
            found[path.name] = path
        elif (
            path.name != TEMPLATES and path.suffix not in {".md", ".jsonl"} and not path.name.startswith(".")
        ):
            near = get_close_matches(path.name, [*OURS, TEMPLATES], 1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(OURS)} and {TEMPLATES}/"
            raise ConfigurationError(f"{path}: nobody reads this; {hint}")
    return found


def _rules(own: Mapping[str, Path]) -> Rules:
    churn = parse_model(_text(own[CHURN]), str(own[CHURN])) if CHURN in own else None
    advice = {name: _advice(own[name]) for name in book.FILES if name in own}
    if RULES in own:
        text, origin = _text(own[RULES]), str(own[RULES])
        rules = Rules(rules_file.parse(text, origin), origin, churn=churn, text=text, advice=advice)
    elif churn is None and not advice:
        return SHIPPED
    else:
        rules = Rules(SHIPPED.file, churn=churn, advice=advice)
    wrong = [one for one in book.book_of(rules).problems if one.file in advice]
    if wrong:
        file, place, said = wrong[0]
        where = f"line {rules_file.line_of(_text(own[file]), place)}"
        raise ConfigurationError(f"{own[file]}, {where}: {' '.join(map(str, place))}: {said}")
    return rules


def _advice(path: Path) -> dict[str, Any]:
    """A file of advice over the one that ships: what it leaves out is ours, a list that is there replaces ours."""
    ours, said = book.shipped(path.name), read_toml(path)
    for name in said:
        if name not in ours:
            line = rules_file.line_of(_text(path), (name,))
            raise ConfigurationError(f"{path}, line {line}: {name}: there are {', '.join(ours)}")
    return ours | said


@cache
def our_brand() -> Mapping[str, str]:
    """What templates call the product as it ships."""
    return tomllib.loads(OURS[BRAND].read_text("utf-8"))


def _brand(own: Mapping[str, Path]) -> dict[str, str]:
    ours = dict(our_brand())
    if BRAND not in own:
        return ours
    path = own[BRAND]
    said = read_toml(path)
    for name, value in said.items():
        if name not in ours or not isinstance(value, str):
            line = rules_file.line_of(_text(path), (name,))
            raise ConfigurationError(f"{path}, line {line}: {name}: there are the texts {', '.join(ours)}")
    return ours | said


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path}: can't be read ({error})") from error


_OF_A_PLAN = frozenset({"supplier.signed_up", "plan.changed"})


@lru_cache(maxsize=8)
def vocabulary_of(rules: Rules) -> Vocabulary:
    """What events may say under these rules: the types they declare, the names of their plans and milestones."""
    return Vocabulary(
        {kind: one.fields for kind, one in rules.declared.items()}, rules.file.plans, rules.milestones
    )


def vocabulary_of_all(several: Iterable[Rules]) -> Vocabulary:
    """What events may say under any of several rules, to read a log once for all; `knows` tells them apart.

    A field is optional where any of them can do without it.
    """
    distinct = dict.fromkeys(several)
    if len(distinct) == 1:
        return vocabulary_of(next(iter(distinct)))
    declared: dict[str, tuple[str, ...]] = {}
    for kind in dict.fromkeys(kind for rules in distinct for kind in rules.declared):
        shapes = [rules.declared[kind].fields for rules in distinct if kind in rules.declared]
        names = dict.fromkeys(field.removesuffix("?") for shape in shapes for field in shape)
        declared[kind] = tuple(
            name if all(name in shape for shape in shapes) else f"{name}?" for name in names
        )
    plans = dict.fromkeys(name for rules in distinct for name in rules.file.plans)
    return Vocabulary(declared, plans, dict.fromkeys(name for rules in distinct for name in rules.milestones))


def knows(rules: Rules, event: Event) -> bool:
    """Whether these rules take an event that was read for several: its type, and the name it speaks of."""
    kind = event.type
    if kind not in rules.steps:
        return False
    if kind in _OF_A_PLAN:
        return event.data is None or event.data.plan is None or event.data.plan in rules.file.plans
    return kind != REPORTED or event.data.milestone in rules.milestones
