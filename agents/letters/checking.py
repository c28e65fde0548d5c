"""Whether a configuration can go into force: every template is there, every letter can be written in every branch."""

from __future__ import annotations

import secrets
from collections.abc import Collection, Iterator
from pathlib import Path

from agents.letters.render import READER, Letters, TemplateMissingError
from runtime.configuration import (
    BRAND,
    OUR_TEMPLATES,
    OURS,
    POLICY,
    TEMPLATES,
    Configuration,
    ConfigurationError,
    load,
    read_toml,
    template_files,
)
from runtime.settings import Settings
from scoring.advice.book import COACH, COACHING, MILESTONES, RECOMMENDATIONS, book_of
from scoring.decisions.policy import Policy
from scoring.health.rules_file import line_of

_FIELDS = {
    RECOMMENDATIONS: ("title", "description", "action_text"),
    COACHING: ("tip", "by_vendor"),
    MILESTONES: ("title", "congratulations", "step", "step_text", "then", "then_text", "share"),
    COACH: ("offer", "offer_detail", "steps"),
}
"""What another language says of an entry of the files of advice, by its id; the rest stays as it is."""
_OF_ALL = {path.name for path in OUR_TEMPLATES.glob("*.toml")} - {BRAND}
_OF_A_LANGUAGE = {*_OF_ALL, *_FIELDS, BRAND} - {READER}


def checked(folder: Path | None, policy: Path | None = None) -> Configuration:
    """A folder over what ships, all templates that its policy names there. Raises ConfigurationError."""
    found = load(folder, policy)
    if folder is not None:
        _check_words(folder / TEMPLATES)
    try:
        Letters.of(found).check(found.policy)
    except TemplateMissingError as error:
        raise ConfigurationError(f"{found.files[POLICY]}: {error}") from error
    return found


def _check_words(folder: Path) -> None:
    """That words as data are ones that somebody reads: their files, and the fields of those in another language."""
    for path in sorted(folder.rglob("*.toml")):
        room = path.parent.relative_to(folder).as_posix()
        here = _OF_A_LANGUAGE if room != "." else _OF_ALL
        if path.name not in here:
            beside = (
                f"it belongs beside {POLICY}" if path.name in OURS else f"there are {', '.join(sorted(here))}"
            )
            raise ConfigurationError(f"{path}: nobody reads this; {beside}")
        said = read_toml(path)
        fields = _FIELDS.get(path.name)
        if fields is None or room == ".":
            continue
        for name, words in said.items() if path.name != COACH else [("", said)]:
            odd = [field for field in words if field not in fields] if isinstance(words, dict) else [name]
            if odd:
                place = tuple(filter(None, (name, odd[0]))) if isinstance(words, dict) else (name,)
                line = line_of(path.read_text("utf-8"), place)
                known = ", ".join(fields) if isinstance(words, dict) else "tables, one an id"
                raise ConfigurationError(f"{path}, line {line}: {'.'.join(place)}: there are {known}")


def complaints(found: Configuration, settings: Settings, only: Collection[str] | None = None) -> list[str]:
    """What is wrong with the letters of a configuration of files, of the triggers `only` (None: all letters).

    Links are signed with a key that nobody knows.
    """
    from agents.letters.trial import Trial  # noqa: PLC0415 - slow to import, and most commands try no letter

    # Settled: each letter has links, and asks of them which machine this is.
    safe = settings.settled().model_copy(update={"secret_key": secrets.token_urlsafe()})
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
    for name in rules.milestones:
        if name not in book_of(rules).milestones:
            yield f"milestone {name}: {MILESTONES} says nothing of it, so the coach and its page don't show it"
    left_out = dict.fromkeys(each.file for each in book_of(rules).problems)
    for file in left_out:
        yield f"{file}: what ships speaks of what these rules don't have, and is left out; write your own"
    ours = template_files([OUR_TEMPLATES])
    named = {one.template for one in policy.triggers}
    for name in template_files([folder / "templates"]) if (folder / "templates").is_dir() else ():
        stem = Path(name).name.partition(".")[0]
        is_letter = not name.endswith(".toml") and not stem.startswith("_")
        replaces = name in ours or name.partition("/")[2] in ours  # which it may say in another language
        if not replaces and is_letter and stem not in named:
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
