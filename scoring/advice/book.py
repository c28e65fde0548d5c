"""The files of advice that go with rules, read and compiled once: recommendations, tips, milestones, the coach's own.

What ships is about the features and events that ship. Under other rules an entry that names what these do not have says
nothing to anybody and is left out; of a file of one's own that is a mistake, which `problems` tells.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import msgspec

from scoring.advice.circumstances import Facts, Holds, Snapshot, compiled, facts, known_names
from scoring.health.expressions import ExpressionError
from scoring.health.rules import Rules

RECOMMENDATIONS, COACHING, MILESTONES, COACH = (
    "recommendations.toml",
    "coaching.toml",
    "milestones.toml",
    "coach.toml",
)
FILES = {name: Path(__file__).parents[1] / name for name in (RECOMMENDATIONS, COACHING, MILESTONES, COACH)}
"""Those that ship."""
Stage = Literal["onboarding", "engagement", "growth"]


class Problem(NamedTuple):
    """What is wrong with an entry: in which file, where in it (`("tip", 3, "requires")`), and what."""

    file: str
    place: tuple[str | int, ...]
    said: str


class Counts(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What an action adds to forms or journey emails, or to clients."""

    created: int = 0
    sent: int = 0
    completed: int = 0
    opened: int = 0
    activated: int = 0
    imported: int = 0


_NONE = Counts()
_WORDS = ("title", "description", "action_text", "action_path")


class Action(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """An entry of `recommendations.toml`: words for them, and the events that it stands for."""

    id: str
    minutes: Annotated[int, msgspec.Meta(ge=1)]
    type: Literal["feature_tip", "best_practice", "integration", "upgrade"] = "best_practice"
    title: str = ""
    description: str = ""
    action_text: str = ""
    action_path: str = ""
    requires: tuple[str, ...] = ()
    uses: str | None = None
    login: bool = False
    basic: bool = False
    clients: Counts = _NONE
    form: Counts = _NONE
    journey: Counts = _NONE


class TipEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An entry of `coaching.toml`."""

    id: str
    category: Stage
    tip: str | None = None
    pages: tuple[str, ...] = ()
    requires: tuple[str, ...] = ()
    action: str | None = None
    by_vendor: dict[str, str] = {}
    video: str | None = None


class Words(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An entry of `milestones.toml`, which says what each field is for."""

    type: str
    title: str
    congratulations: str
    step: str
    step_text: str
    step_path: str
    then: str
    then_text: str
    then_path: str
    share: str
    steps: tuple[str, ...] = ()


class Step(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A step of the setup, of `coach.toml`."""

    id: str
    title: str
    open_while: str | None = None
    action: str | None = None


class _Coach(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    offer: str
    offer_detail: str
    step: tuple[Step, ...] = ()


class Book:
    """The advice under rules. `problems`: of entries that are left out, in the order of the files."""

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self.problems: list[Problem] = []
        self._names = known_names(rules)
        self._holds: dict[str, Holds] = {}
        said = {name: {**shipped(name), **rules.advice.get(name, {})} for name in FILES}
        self.actions = tuple(self._usable(RECOMMENDATIONS, "recommendation", said, Action))
        """In the order of the file."""
        self.action_ids = frozenset(action.id for action in self.actions)
        self.offer_after = self._offer_after(said[COACHING].get("offer_call_after", ()))
        """The conditions that open the offer of a call in the first 14 days."""
        self.tips = tuple(self._usable(COACHING, "tip", said, TipEntry))
        found = self._usable(MILESTONES, "milestone", said, Words)
        self.milestones = {each.type: each for each in found}
        """What is said of each milestone, by its type, in the order of the file."""
        coach = {name: each for name, each in said[COACH].items() if name != "step"}
        steps = tuple(self._usable(COACH, "step", said, Step))
        self.coach = _Coach(**(msgspec.structs.asdict(_read(coach, _Coach, COACH)) | {"step": steps}))

    def facts(self, snapshot: Snapshot) -> dict[str, Any]:
        """What each name of an expression is for somebody."""
        return facts(snapshot, self.rules)

    def hold(self, expressions: Iterable[str], known: Facts) -> bool:
        """Whether all of these hold, which are expressions of its entries."""
        return all(self._holds[each](known) for each in expressions)

    def _usable(self, file: str, table: str, said: Mapping[str, Any], kind: type[Any]) -> Iterator[Any]:
        for number, raw in enumerate(said[file].get(table, ())):
            place = (table, number)
            try:
                entry = msgspec.convert(raw, kind)
            except msgspec.ValidationError as error:
                self.problems.append(Problem(file, place, str(error)))
                continue
            wrong = [Problem(file, (*place, field), text) for field, text in self._wrong(entry)]
            self.problems += wrong
            if not wrong:
                yield entry

    def _wrong(self, entry: Any) -> Iterator[tuple[str, str]]:
        """(field, what is wrong with it)."""
        match entry:
            case Action():
                yield from self._unreadable("requires", entry.requires)
                features = [name for name, _ in self.rules.features]
                if entry.uses is not None and entry.uses not in features:
                    yield "uses", f"there is no key feature {entry.uses!r}; there are {', '.join(features)}"
            case TipEntry():
                yield from self._unreadable("requires", entry.requires)
                yield from self._unknown_action(entry.action)
                if entry.tip is None and not entry.by_vendor:
                    yield "tip", "it says nothing"
            case Words():
                yield from self._unreadable("steps", entry.steps)
                if entry.type not in self.rules.milestones:
                    there_are = ", ".join(self.rules.milestones)
                    yield "type", f"there is no milestone {entry.type!r}; there are {there_are}"
            case Step():
                yield from self._unreadable("open_while", (entry.open_while,) if entry.open_while else ())
                yield from self._unknown_action(entry.action)

    def _unreadable(self, field: str, expressions: Iterable[str]) -> Iterator[tuple[str, str]]:
        for text in expressions:
            try:
                self._holds[text] = compiled(text, self._names)
            except ExpressionError as error:
                yield field, str(error)

    def _unknown_action(self, action: str | None) -> Iterator[tuple[str, str]]:
        if action is not None and action not in self.action_ids:
            yield "action", f"there is no recommendation {action!r}"

    def _offer_after(self, names: Iterable[str]) -> tuple[str, ...]:
        there_are = self.rules.condition_names
        unknown = [name for name in names if name not in there_are]
        for name in unknown:
            said = f"there is no condition {name!r}; there are {', '.join(there_are)}"
            self.problems.append(Problem(COACHING, ("offer_call_after",), said))
        return tuple(name for name in names if name in there_are)


def book_of(rules: Rules) -> Book:
    """The advice that goes with rules."""
    found: Book | None = rules.derived.get(__name__)
    if found is None:
        found = rules.derived[__name__] = Book(rules)
    return found


def decides(advice: Mapping[str, Any]) -> dict[str, Any]:
    """What of files of advice a decision goes by, as `Rules.advice` takes it: no words."""
    actions = {**shipped(RECOMMENDATIONS), **advice.get(RECOMMENDATIONS, {})}["recommendation"]
    kept = [{name: value for name, value in each.items() if name not in _WORDS} for each in actions]
    return {RECOMMENDATIONS: {"recommendation": kept}}


@cache
def shipped(name: str) -> dict[str, Any]:
    """The file of this name that ships."""
    return tomllib.loads(FILES[name].read_text("utf-8"))


def _read(document: Mapping[str, Any], kind: type[Any], file: str) -> Any:
    try:
        return msgspec.convert(document, kind)
    except msgspec.ValidationError as error:
        raise ValueError(f"{file}: {error}") from None
