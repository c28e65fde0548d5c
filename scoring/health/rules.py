"""The rules that the machine runs: a rules file, checked and compiled once to functions.

Conditions, milestones, features and ratios are data; what is compiled is Python source made from them, so that an event
costs what hand-written rules would. `SHIPPED` are the rules that ship with the product.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from functools import cache, cached_property
from typing import Any, cast

from pydantic import ValidationError

from scoring.health import rules_file
from scoring.health.churn import ChurnModel
from scoring.health.events import BUILT_IN, CLIENT_EVENTS, FACTS, GOALS, Handler, compose
from scoring.health.expressions import Expression, ExpressionError, parse
from scoring.health.metrics import (
    COMPONENTS,
    FORMS,
    JOURNEYS,
    LOGIN,
    Level,
    client_points,
    feature_points,
    login_points,
    next_level,
    ratio_points,
)
from scoring.health.numbers import ANY, OF_KNOWN_CLIENTS, Number, numbers
from scoring.health.rules_file import Band, Condition, Levels, RulesError, RulesFile, line_of
from scoring.health.state import State
from scoring.time import NEVER, instant_text

LAST_CLIENT_ACTIVITY = "last_client_activity"
SIGNED_UP = "signed_up"
REPORTED = "milestone.reported"
CLIENT_IMPORTED, FORM_CREATED = "client.imported", "form.created"
SHORT_NAMES = ("login", "features", "clients", "forms", "journeys")
"""What the components are called in `weights.<name>`."""
THRESHOLDS = ("at_risk", "healthy", "margin", "hysteresis")
"""What may be set as `levels.<name>`; `hysteresis` is `margin`'s former name."""

Due = Callable[[State], int]
UNSEEN, SHOWS, GOAL = range(3)
"""Whether others act on what an event of a type changes: its snapshot may wait; not; and they want its time as well."""
Step = tuple[Handler, bool, Callable[[State], int] | None, Callable[[State], tuple[int, ...]] | None, int]
"""What an event of a type does: its handler; whether it may earn a milestone; what is due, and reached, after it; who
else acts on it."""
Met = Callable[[State], tuple[int, ...]]


class Rules:
    """Compiled rules. Immutable; the same for a whole process while one version is in force."""

    def __init__(
        self,
        file: RulesFile,
        origin: str = "rules.toml",
        version: int = 0,
        churn: ChurnModel | None = None,
        text: str = "",
        advice: Mapping[str, Any] | None = None,
    ) -> None:
        self.file = file
        self.advice = advice or {}
        """The files of advice that go with them, name -> document; what is missing is as shipped."""
        self.derived: dict[str, Any] = {}
        """What others have worked out of these rules once, by whose it is."""
        self.churn = churn
        """The churn model that goes with them; None: ours."""
        self._text = text
        """The file as it was written, for the lines that errors name."""
        self.version = version
        """The number of the configuration version that they belong to; 0: as shipped."""
        self.levels = file.levels
        self.weights = tuple(float(file.components[name].points or 0) for name in COMPONENTS)
        login = file.components[COMPONENTS[LOGIN]]
        self.login_bands = tuple((band.below, band.points) for band in login.bands or ())
        self._check_bands(origin)
        self.features = tuple((one.name, 1 << one.number) for one in file.feature)
        self.feature_mask = sum(bit for _, bit in self.features)
        self.declared = {one.type: one for one in file.event}
        self.event_types = (*BUILT_IN, *self.declared)
        self.milestones = {one.name: 1 << one.number for one in file.milestone}
        self.every_milestone = sum(self.milestones.values())
        self.goals = frozenset((*GOALS, *self.declared))
        """The event types that a message may aim at."""
        self.conditions = file.condition
        self.condition_names = tuple(one.name for one in file.condition)
        self.client_events = CLIENT_EVENTS | {one.type for one in file.event if one.client_activity}
        self._check_events(origin)
        self.numbers: dict[str, Number] = numbers(
            self.event_types,
            {one.name: (1 << one.number, one.events) for one in file.feature},
            self.client_events,
            {name: plan.model_dump() for name, plan in file.plans.items()},
        )
        self._compile_milestones()
        self._compile_points()
        self._compile_conditions(origin)
        self.steps = self._steps()
        """Event type -> what `machine.apply` takes."""

    def __reduce__(self) -> tuple[Any, ...]:
        """Compiled anew where they are unpickled: replay scores in several processes."""
        return _rebuilt, (
            self.file.model_dump_json(by_alias=True),
            self.version,
            self.churn,
            json.dumps(self.advice),
        )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Rules) and (self.version, self.digest) == (other.version, other.digest)

    def __hash__(self) -> int:
        return hash((self.version, self.digest))

    def with_setting(self, name: str, value: float) -> Rules:
        """The same rules but for `weights.<name>` or `levels.<name>`, for a what-if.

        Points keep their shares: with a login weight of 15, 30 / 20 / 10 / 5 are halved. The sum isn't stretched to
        100. Raises `RulesError` where there is no such setting, or where it makes no score.
        """
        table, _, field = name.partition(".")
        components, levels = dict(self.file.components), self.file.levels
        if table == "weights" and field in {*SHORT_NAMES, *COMPONENTS}:
            if value < 0:
                raise RulesError("weights.<name> is a number from 0 on")
            full = COMPONENTS[SHORT_NAMES.index(field)] if field in SHORT_NAMES else field
            old = components[full]
            factor = value / old.points if old.points else 0.0
            bands = old.bands and tuple(Band(below=b.below, points=b.points * factor) for b in old.bands)
            components[full] = old.model_copy(update={"points": value, "bands": bands})
        elif table == "levels" and field in THRESHOLDS:
            update = {"margin" if field == "hysteresis" else field: value}
            try:
                levels = Levels.model_validate(levels.model_dump() | update)
            except ValidationError as error:
                raise RulesError(error.errors()[0]["msg"].removeprefix("Value error, ")) from None
        else:
            raise RulesError(
                f"{name} can't be set: there are {', '.join(f'weights.{each}' for each in SHORT_NAMES)} and "
                f"{', '.join(f'levels.{each}' for each in THRESHOLDS)}"
            )
        changed = self.file.model_copy(update={"components": components, "levels": levels})
        return Rules(changed, version=self.version, churn=self.churn, advice=self.advice)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the rules and their churn model; what a key of ours left out says nothing."""
        said = self.file.model_dump_json(exclude_defaults=True)
        model = "" if self.churn is None else f"{self.churn.intercept}{sorted(self.churn.weights.items())}"
        return hashlib.sha256(f"{said}{model}".encode()).hexdigest()

    def shown_by(self, kind: str) -> frozenset[str]:
        """The key features that an event of a type means."""
        return frozenset(one.name for one in self.file.feature if kind in one.events)

    def event_of_milestone(self, name: str) -> str | None:
        """The event that a milestone stands for; an import where it counts clients. None for one that there isn't."""
        found = next((one for one in self.file.milestone if one.name == name), None)
        return None if found is None else found.event or CLIENT_IMPORTED

    # --- checks

    def _line(self, *place: Any) -> str:
        """`, line 12`, of a place of the file; nothing where its text is not known."""
        return f", line {line_of(self._text, place)}" if self._text else ""

    def _check_bands(self, origin: str) -> None:
        below = [at for at, _ in self.login_bands]
        points = [worth for _, worth in self.login_bands]
        if below != sorted(set(below)) or points != sorted(points, reverse=True):
            raise RulesError(
                f"{origin}: components.{COMPONENTS[LOGIN]}: bands go from the youngest login, with most points, on"
            )
        if self.login_bands and points[0] != self.weights[LOGIN]:
            raise RulesError(
                f"{origin}: components.{COMPONENTS[LOGIN]}: the first band gives {points[0]:g} points, the component "
                f"{self.weights[LOGIN]:g}: they must be the same"
            )

    def _check_events(self, origin: str) -> None:
        used = [
            *(
                (f"feature {one.name}", ("feature", at, "events"), kind)
                for at, one in enumerate(self.file.feature)
                for kind in one.events
            ),
            *(
                (f"milestone {one.name}", ("milestone", at, "event"), one.event)
                for at, one in enumerate(self.file.milestone)
                if one.event
            ),
            *(
                (f"components.{name}", ("components", name, "count"), kind)
                for name, one in self.file.components.items()
                for kind in (*(one.count or ()), *(one.of or ()))
            ),
            *(
                (f"condition {one.name}", ("condition", at, "since"), since)
                for at, one in enumerate(self.file.condition)
                for since in one.since
                if since not in {SIGNED_UP, LAST_CLIENT_ACTIVITY}
            ),
        ]
        for where, place, kind in used:
            if kind not in self.event_types:
                raise RulesError(
                    f"{origin}{self._line(*place)}: {where}: there is no event type {kind!r}; "
                    f"declare it with [[event]], or use one of "
                    f"{', '.join(self.event_types)}"
                )
        twice = [kind for kind in self.declared if kind in BUILT_IN]
        if twice:
            raise RulesError(f"{origin}: event {twice[0]}: the product knows this type already; leave it out")
        if not self.file.feature:
            raise RulesError(f"{origin}: feature: at least one key feature is needed")

    # --- what is compiled

    def _handlers(self) -> dict[str, Handler]:
        file = self.file
        forms, journeys = file.components[COMPONENTS[FORMS]], file.components[COMPONENTS[JOURNEYS]]
        handlers: dict[str, Handler] = {}
        for kind in self.event_types:
            declared = self.declared.get(kind)
            handlers[kind] = compose(
                kind,
                features=sum(1 << one.number for one in file.feature if kind in one.events),
                form_count=kind in (forms.count or ()),
                form_of=kind in (forms.of or ()),
                journey_count=kind in (journeys.count or ()),
                journey_of=kind in (journeys.of or ()),
                client_activity=bool(declared and declared.client_activity),
                login_bands=self.login_bands,
            )
        return handlers

    def _compile_milestones(self) -> None:
        self.milestones_of: dict[str, tuple[tuple[int, int], ...]] = {}
        """Event type -> (n, bit) of the milestones that its n-th event earns."""
        for one in self.file.milestone:
            if one.event is not None:
                entry = (one.nth, 1 << one.number)
                self.milestones_of[one.event] = (*self.milestones_of.get(one.event, ()), entry)
        self.milestones_by_clients = tuple(
            (one.clients, 1 << one.number) for one in self.file.milestone if one.clients is not None
        )

    def _compile_points(self) -> None:
        _, features, clients, forms, journeys = self.weights
        bands, mask, count = self.login_bands, self.feature_mask, len(self.features)
        self.points: tuple[Callable[[State], float], ...] = (
            lambda state: login_points(state.last_login, state.clock, bands),
            lambda state: feature_points((state.features & mask).bit_count(), count, features),
            lambda state: client_points(state.active_clients, len(state.clients), clients),
            lambda state: ratio_points(state.forms_completed, state.forms_sent, forms),
            lambda state: ratio_points(state.journey_opened, state.journey_sent, journeys),
        )
        """How the points of each component follow from the state at its clock, in the order of `COMPONENTS`."""
        self.next_level = _leveller(self.levels)
        """(current level, sum) -> the level with hysteresis, by these thresholds."""

    def _steps(self) -> dict[str, Step]:
        handlers, shows = self._handlers(), self._showing()
        return {
            kind: (
                handlers[kind],
                self._may_earn(kind),
                self.due_after.get(kind),
                self.reached_after.get(kind),
                GOAL if kind in self.goals else SHOWS if kind in shows else UNSEEN,
            )
            for kind in self.event_types
        }

    def _showing(self) -> set[str]:
        """The types of which any event may change what others act on, beside clients and the score."""
        compared = self.compared - OF_KNOWN_CLIENTS
        moved = set().union(*(self.numbers[name].moved_by for name in compared))
        since = {SIGNED_UP: {"supplier.signed_up"}, LAST_CLIENT_ACTIVITY: self.client_events}
        return moved.union(FACTS, self.milestones_of, *(since.get(each, {each}) for each in self.since))

    def _may_earn(self, kind: str) -> bool:
        by_clients = bool(self.milestones_by_clients) and kind in self.client_events
        return kind == REPORTED or kind in self.milestones_of or by_clients

    def _expression(self, origin: str, condition: Condition, field: str) -> Expression | None:
        text = getattr(condition, field)
        if text is None:
            return None
        try:
            return parse(text, {name: number.kind for name, number in self.numbers.items()})
        except ExpressionError as error:
            where = self._line("condition", self.conditions.index(condition), field)
            raise RulesError(f"{origin}{where}: condition {condition.name}, {field}: {error}") from None

    def _compile_conditions(self, origin: str) -> None:
        fields = ("when", "reaches", "rearms")
        self.expressions = {
            one.name: {field: self._expression(origin, one, field) for field in fields}
            for one in self.conditions
        }
        self.compared = frozenset(
            name for each in self.expressions.values() for one in each.values() if one for name in one.names
        )
        """The names that any condition compares."""
        self.time_shows = "clients_active" in self.compared
        """Whether a client that is not active any more changes what others act on, wherever the score goes."""
        self.since = frozenset(since for one in self.conditions for since in one.since)
        """What any condition counts from."""
        everything = range(len(self.conditions))
        self.next_condition_due: Due = self._due_function(everything)
        """When the next condition is due, or NEVER; one that does not hold is not."""
        self.due_at: Callable[[State, int], list[int]] = self._steps_function()
        """The conditions, by index, of which a step lies at exactly this instant and which hold."""
        self.reached: Met = self._reach_function(everything)
        """The conditions, by index, that are reached now and were not before; notes that they are."""
        self.due_after: dict[str, Due] = {}
        self.reached_after: dict[str, Met] = {}
        """The same two for the conditions that an event of a type can move; types that move none are missing."""
        for kind in self.event_types:
            timed = [at for at in everything if self._moves(kind, at, in_time=True)]
            if timed:
                self.due_after[kind] = self._due_function(timed)
            reaching = [at for at in everything if self._moves(kind, at, in_time=False)]
            if reaching:
                self.reached_after[kind] = self._reach_function(reaching)

    def _moves(self, kind: str, at: int, *, in_time: bool) -> bool:
        condition = self.conditions[at]
        if bool(condition.since) != in_time:
            return False
        moved_by = set().union(
            *(
                self.numbers[name].moved_by
                for one in self.expressions[condition.name].values()
                if one
                for name in one.names
            )
        )
        for since in condition.since:
            if since == SIGNED_UP:
                moved_by.add("supplier.signed_up")
            elif since == LAST_CLIENT_ACTIVITY:
                moved_by |= self.client_events
            else:
                moved_by.add(since)
        return kind in moved_by or bool(ANY & moved_by)

    def _source(self, expression: Expression | None) -> str:
        if expression is None:
            return "True"
        source = expression.source({name: number.source for name, number in self.numbers.items()})
        return f"({source})"

    def _base(self, condition: Condition) -> list[str]:
        """Lines that set `base` to the first `since` that exists, None without one."""
        first, *others = (_since_source(since) for since in condition.since)
        lines = [f"    base = {first}"]
        for other in others:
            lines += ["    if base is None:", f"        base = {other}"]
        return lines

    def _due_function(self, indexes: Iterable[int]) -> Due:
        lines = ["def due(s):", "    clock, due = s.clock, NEVER"]
        for at in indexes:
            one = self.conditions[at]
            if not one.since:
                continue
            lines += [*self._base(one), "    if base is not None:", f"        at = base + {one.after}"]
            lines.append("        if at <= clock:")
            if one.repeat and one.times > 1:
                lines += [
                    f"            step = (clock - at) // {one.repeat} + 1",
                    f"            at = at + step * {one.repeat} if step < {one.times} else NEVER",
                ]
            else:
                lines.append("            at = NEVER")
            lines += [
                f"        if at < due and {self._source(self.expressions[one.name]['when'])}:",
                "            due = at",
            ]
        return cast("Due", _compiled([*lines, "    return due"], "due"))

    def _steps_function(self) -> Callable[[State, int], list[int]]:
        lines = ["def due_at(s, at):", "    met = []"]
        for index, one in enumerate(self.conditions):
            if not one.since:
                continue
            lines += [
                *self._base(one),
                "    if base is not None:",
                f"        after = at - base - {one.after}",
            ]
            a_step = (
                f"after % {one.repeat} == 0 and 0 <= after // {one.repeat} < {one.times}"
                if one.repeat
                else "after == 0"
            )
            lines += [
                f"        if {a_step} and {self._source(self.expressions[one.name]['when'])}:",
                f"            met.append({index})",
            ]
        return cast("Callable[[State, int], list[int]]", _compiled([*lines, "    return met"], "due_at"))

    def _reach_function(self, indexes: Iterable[int]) -> Met:
        lines = ["def reached(s):", "    met, noted = (), s.reached"]
        for index in indexes:
            one = self.conditions[index]
            if one.reaches is None:
                continue
            bit = 1 << one.number
            reaches = self._source(self.expressions[one.name]["reaches"])
            lines += [
                f"    if not noted & {bit}:",
                f"        if {reaches}:",
                f"            if not s.holding & {bit}:",
                f"                s.holding |= {bit}",
                f"                s.reached = noted = noted | {bit}",
                f"                met += ({index},)",
                f"        elif s.holding & {bit}:",
                f"            s.holding &= {~bit}",
            ]
            if one.rearms is not None:
                lines += [
                    f"    elif {self._source(self.expressions[one.name]['rearms'])}:",
                    f"        s.reached = noted = noted & {~bit}",
                    f"        s.holding = s.holding | {bit} if {reaches} else s.holding & {~bit}",
                ]
        return cast("Met", _compiled([*lines, "    return met"], "reached"))

    # --- for readers of a state, and of a snapshot

    @cached_property
    def _compared_source(self) -> Callable[[State], dict[str, Any]]:
        pairs = ", ".join(f"{name!r}: {self.numbers[name].source}" for name in sorted(self.compared))
        compiled = _compiled(["def compared(s):", f"    return {{{pairs}}}"], "compared")
        return cast("Callable[[State], dict[str, Any]]", compiled)

    def compared_numbers(self, state: State) -> dict[str, Any]:
        """Every number and text that the conditions compare, by name."""
        return self._compared_source(state)

    def times(self, state: State) -> dict[str, str]:
        """Every time that the conditions count from, as RFC 3339, by name; those that have not been are left out."""
        found = {since: _since_of(since, state) for since in sorted(self.since)}
        return {since: instant_text(at) for since, at in found.items() if at is not None}

    def holds(self, name: str, compared: Mapping[str, Any], times: Mapping[str, int], now_ms: int) -> bool:
        """Whether a condition still holds, from what a snapshot carries (times in ms).

        It does not where its `when` or `reaches` is false, or its `since` lies less than `after` back. What a snapshot
        of older rules does not say holds.
        """
        condition = next((one for one in self.conditions if one.name == name), None)
        if condition is None:
            return False
        expressions = self.expressions[name]
        for expression in (expressions["when"], expressions["reaches"]):
            if expression is None or not expression.names <= compared.keys():
                continue
            if not over_mapping(expression)(compared):
                return False
        base = next((times[since] for since in condition.since if since in times), None)
        return base is None or condition.after is None or now_ms - base >= condition.after


def _leveller(levels: Levels) -> Callable[[Level | None, float], Level]:
    at_risk, healthy, margin = levels.at_risk, levels.healthy, levels.margin
    return lambda current, score_sum: next_level(current, score_sum, at_risk, healthy, margin)


def _since_source(since: str) -> str:
    if since == SIGNED_UP:
        return "s.signed_up_at"
    if since == LAST_CLIENT_ACTIVITY:
        return "s.last_client_activity"
    return "s.last_login" if since == "supplier.logged_in" else f"s.last_goals.get({since!r})"


def _since_of(since: str, state: State) -> int | None:
    if since == SIGNED_UP:
        return state.signed_up_at
    if since == LAST_CLIENT_ACTIVITY:
        return state.last_client_activity
    return state.last_login if since == "supplier.logged_in" else state.last_goals.get(since)


def _compiled(lines: list[str], name: str) -> Any:
    space: dict[str, Any] = {"NEVER": NEVER}
    exec(compile("\n".join(lines), f"<rules: {name}>", "exec"), space)  # noqa: S102 - source made of checked parts
    return space[name]


@cache
def over_mapping(expression: Expression) -> Callable[[Mapping[str, Any]], bool]:
    """An expression as a function of what each of its names is."""
    source = expression.source({each: f"n[{each!r}]" for each in expression.names})
    space: dict[str, Any] = {}
    exec(compile(f"def holds(n):\n    return {source}", "<rules: holds>", "exec"), space)  # noqa: S102 - as above
    return space["holds"]  # type: ignore[no-any-return]


@cache
def _rebuilt(file: str, version: int, churn: ChurnModel | None, advice: str) -> Rules:
    return Rules(RulesFile.model_validate_json(file), version=version, churn=churn, advice=json.loads(advice))


SHIPPED = Rules(rules_file.read())
