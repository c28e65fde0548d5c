"""`rules.toml` as it is written: its tables, checked; an error names file and line, and what to write instead."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from scoring.health.metrics import COMPONENTS
from scoring.time import NEVER, duration, duration_text

DEFAULT = Path(__file__).parents[1] / "rules.toml"


def _duration(value: object) -> int:
    """Milliseconds: as a text such as `"7d"`, or as the whole number that a stored file holds."""
    return value if type(value) is int else duration(value)


Duration = Annotated[int, BeforeValidator(_duration), Field(gt=0)]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,62}$")]
EventType = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+$", max_length=100)]
_DURATIONS = frozenset({"after", "repeat", "below"})
MOST_NUMBERS = 64
Number = Annotated[int, Field(ge=0, lt=MOST_NUMBERS)]
TOTAL = 100


class RulesError(ValueError):
    """A rules file can't be used; the message says where, and what to write instead."""


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Levels(_Table):
    """The sums from which a level is reached, and the margin by which it has to be passed to get better."""

    at_risk: float = Field(default=40, gt=0, lt=100)
    healthy: float = Field(default=70, gt=0, lt=100)
    margin: float = Field(default=3, ge=0, le=50)

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.at_risk >= self.healthy:
            raise ValueError("`at_risk` must be below `healthy`")
        return self


class Band(_Table):
    """Points of a last login that is younger than this (ms)."""

    below: Duration
    points: float = Field(ge=0)


class Component(_Table):
    """One component of the score: its most points, and what it counts."""

    points: float | None = Field(default=None, ge=0, le=TOTAL)
    bands: tuple[Band, ...] | None = None
    count: tuple[EventType, ...] | None = None
    of: tuple[EventType, ...] | None = None


class EventRule(_Table):
    """An event type beyond those that the product knows: its data fields (texts; `?` behind one that may be absent)."""

    type: EventType
    fields: tuple[Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*\??$")], ...] = ()
    client_activity: bool = False

    @model_validator(mode="after")
    def _names_a_client(self) -> Self:
        if self.client_activity and not {"client_id", "client_id?"} & set(self.fields):
            raise ValueError(
                "`client_activity` needs `client_id` among the fields: it says which client was active"
            )
        return self


class Feature(_Table):
    """A key feature: used for good with the first of its events."""

    name: Name
    number: Number
    events: tuple[EventType, ...] = Field(min_length=1)


class Milestone(_Table):
    """The n-th event of a type, or so many known clients; once for ever."""

    name: Name
    number: Number
    event: EventType | None = None
    nth: int = Field(default=1, ge=1)
    clients: int | None = Field(default=None, ge=1)

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.event is None) == (self.clients is None):
            raise ValueError("a milestone has either `event` (and `nth`) or `clients`")
        return self


class Condition(_Table):
    """A condition in time (`since`, `after`, …) or by reaching (`reaches`, `rearms`)."""

    name: Name
    number: Number
    since: tuple[str, ...] = ()
    after: Duration | None = None
    repeat: Duration | None = None
    times: int = Field(default=1, ge=1)
    when: str | None = None
    reaches: str | None = None
    rearms: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _one_or_many(cls, value: Any) -> Any:
        if isinstance(value, dict) and isinstance(value.get("since"), str):
            return value | {"since": (value["since"],)}
        return value

    @model_validator(mode="after")
    def _one_form(self) -> Self:
        in_time = bool(self.since) and self.after is not None
        if in_time == (self.reaches is not None) or (not in_time and (self.since or self.after is not None)):
            raise ValueError("a condition has either `since` and `after`, or `reaches`")
        if in_time and self.rearms is not None:
            raise ValueError(
                "`rearms` belongs to `reaches`; a condition in time begins again with a newer `since`"
            )
        if not in_time and (self.repeat is not None or self.times != 1 or self.when is not None):
            raise ValueError("`repeat`, `times` and `when` belong to `since` and `after`")
        if self.times > 1 and self.repeat is None:
            raise ValueError('`times` needs `repeat`, the time between them (such as "7d")')
        if in_time and (self.after or 0) + (self.repeat or 0) * self.times >= NEVER:
            raise ValueError("is due later than any time that can be written")
        return self


class Plan(_Table):
    """What a plan holds; None where it has no limit."""

    clients: int | None = Field(default=None, ge=1)
    forms: int | None = Field(default=None, ge=1)


class RulesFile(_Table):
    """The whole file."""

    levels: Levels = Levels()
    components: dict[Literal[COMPONENTS], Component] = Field(default_factory=dict)  # type: ignore[valid-type]
    event: tuple[EventRule, ...] = ()
    feature: tuple[Feature, ...] = ()
    milestone: tuple[Milestone, ...] = ()
    condition: tuple[Condition, ...] = ()
    plans: dict[Name, Plan] = Field(default_factory=dict)


def read(path: Path | None = None) -> RulesFile:
    """Read a rules file, `rules.toml` as it ships if no path is given. What it leaves out is as shipped.

    Raises `RulesError`.
    """
    path = path or DEFAULT
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RulesError(f"{path}: can't be read ({error})") from error
    return parse(text, str(path))


def parse(text: str, origin: str = "rules.toml") -> RulesFile:
    """The rules that a TOML text holds; `origin` is what errors call it. Raises `RulesError`."""
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise RulesError(f"{origin}: is not TOML: {error}") from None
    whole = _with_defaults(raw)
    try:
        found = RulesFile.model_validate(whole)
    except ValidationError as error:
        raise RulesError("; ".join(_where(origin, text, detail) for detail in error.errors())) from None
    for kind in ("feature", "milestone", "condition"):
        _refuse_twins(origin, text, kind, getattr(found, kind))
    points = sum(component.points or 0 for component in found.components.values())
    if round(points, 9) != TOTAL:
        raise RulesError(
            f"{origin}, line {line_of(text, ('components',))}: the components' points add up to {points:g}; "
            f"they must add up to {TOTAL}"
        )
    return found


def document_of(file: RulesFile) -> dict[str, Any]:
    """All of it as a file would say it, defaults written out: `RulesFile.model_validate` reads it again."""
    return {name: _said(value) for name, value in file.model_dump(by_alias=True).items()}


def _said(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            name: duration_text(each) if name in _DURATIONS else _said(each)
            for name, each in value.items()
            if each is not None and each != ()
        }
    return [_said(each) for each in value] if isinstance(value, list | tuple) else value


def _with_defaults(raw: dict[str, Any]) -> dict[str, Any]:
    """A file's tables over the shipped ones: a table, or a list of tables, that it leaves out is as shipped."""
    shipped = tomllib.loads(DEFAULT.read_text("utf-8"))
    merged = shipped | raw
    levels = raw.get("levels", {})
    if isinstance(levels, dict):
        merged["levels"] = shipped["levels"] | levels
    components = raw.get("components", {})
    if isinstance(components, dict):
        merged["components"] = shipped["components"] | {
            name: shipped["components"].get(name, {}) | given if isinstance(given, dict) else given
            for name, given in components.items()
        }
    return merged


def _refuse_twins(origin: str, text: str, kind: str, entries: tuple[Any, ...]) -> None:
    free = next(number for number in range(MOST_NUMBERS + 1) if number not in {one.number for one in entries})
    for field in ("name", "number"):
        seen: dict[Any, int] = {}
        for index, entry in enumerate(entries):
            value = getattr(entry, field)
            if value in seen:
                hint = f"; the next free number is {free}" if field == "number" else ""
                raise RulesError(
                    f"{origin}, line {line_of(text, (kind, index, field))}: {kind} {entry.name!r}: the {field} "
                    f"{value!r} is taken by {entries[seen[value]].name!r}{hint}"
                )
            seen[value] = index


def _where(origin: str, text: str, detail: Any) -> str:
    place = detail["loc"]
    message = detail["msg"].removeprefix("Value error, ")
    if detail["type"] == "missing" and place[-1] == "number":
        taken = {
            one.get("number") for one in (tomllib.loads(text).get(place[0]) or ()) if isinstance(one, dict)
        }
        free = next(number for number in range(MOST_NUMBERS + 1) if number not in taken)
        message = f"needs a number that was never given to another; the next free one is {free}"
    if detail["type"] == "extra_forbidden":
        message = "is not known here"
    name = ".".join(str(part) for part in place)
    return f"{origin}, line {line_of(text, place)}: {name}: {message}"


def line_of(text: str, place: tuple[Any, ...]) -> int:
    """The line (from 1) on which something stands in a TOML text: `("condition", 2, "after")`; 1 if it doesn't.

    The nearest that is there: the table of a key that is missing.
    """
    header, key = 1, str(place[-1])
    index = next((part for part in place if isinstance(part, int)), None)
    tables = [str(part) for part in place if not isinstance(part, int)]
    seen, inside = -1, False
    for number, line in enumerate(text.splitlines(), 1):
        stripped = line.strip()
        if stripped.startswith("["):
            name = stripped.strip("[]").split("]")[0].strip()
            if index is not None:
                inside = stripped.startswith(f"[[{tables[0]}]]") and (seen := seen + 1) == index
            else:
                inside = ".".join(tables).startswith(name)
            if inside:
                header = number
        elif inside and stripped.split("=")[0].strip().strip('"') == key:
            return number
    return header
