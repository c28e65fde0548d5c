"""The policy as data: which signal starts which message, and the limits every message keeps to.

`policy.toml` beside this file is the default; `SUCCESS_POLICY` names another. Times of day are minutes after
midnight, durations int milliseconds (written "72h" in the file).
"""

from __future__ import annotations

import tomllib
from datetime import time
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from scoring.health.events import GOALS
from scoring.health.metrics import LEVELS, is_worse
from scoring.health.rules import SHIPPED, Rules
from scoring.health.rules_file import line_of
from scoring.health.signals import CONDITION_MET, MILESTONE_ACHIEVED, RISK_CHANGED
from scoring.time import DAY, duration, duration_text
from scoring.zones import zone_named

DEFAULT = Path(__file__).parents[1] / "policy.toml"

Channel = Literal["email", "in_app_notification", "support_call"]
Kind = Literal["positive", "rescue"]
WORSE_LEVELS = ("at_risk", "critical")
"""Levels that a supplier can get worse to."""
Weekday = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]


class PolicyError(ValueError):
    """The policy file can't be used; the message says where it is wrong and what was expected."""


def _time_of_day(value: object) -> int:
    if value == "24:00":
        return 24 * 60
    try:
        at = time.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        at = None
    if at is None or at.second or at.microsecond or at.tzinfo:
        raise ValueError('expected a time of day such as "08:00"')
    return at.hour * 60 + at.minute


def _zone(value: str) -> str:
    return zone_named(value).key


def _cause(value: str, info: ValidationInfo) -> str:
    kind, _, name = value.partition(":")
    name, at, level = name.partition("@")
    rules: Rules = (info.context or {}).get("rules", SHIPPED)
    names = {"condition": rules.condition_names, "milestone": tuple(rules.milestones), "risk": WORSE_LEVELS}
    if kind not in names:
        raise ValueError(f"expected condition:<name>, milestone:<name> or risk:<level>, got {value!r}")
    if name not in names[kind]:
        lost = name in (*SHIPPED.condition_names, *SHIPPED.milestones)
        why = " (a list in a rules.toml replaces the shipped one: copy what it is to keep)" if lost else ""
        raise ValueError(f"no {kind} is called {name!r}; there are {', '.join(names[kind])}{why}")
    if at and (kind != "condition" or level not in LEVELS):
        raise ValueError(f"{value!r}: only a condition can be asked for at a level ({', '.join(LEVELS)})")
    return value


def _goal(value: str, info: ValidationInfo) -> str:
    rules: Rules = (info.context or {}).get("rules", SHIPPED)
    known = (*GOALS, *rules.declared)
    if value not in known:
        raise ValueError(
            f"no event that a message can aim at is called {value!r}; there are {', '.join(known)}"
        )
    return value


Duration = Annotated[int, BeforeValidator(duration)]
TimeOfDay = Annotated[int, BeforeValidator(_time_of_day)]
Zone = Annotated[str, AfterValidator(_zone)]
Cause = Annotated[str, AfterValidator(_cause)]
Goal = Annotated[str, AfterValidator(_goal)]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,62}$")]
BASE_VARIANT = "base"
"""The variant that is the template itself."""


class _Table(BaseModel):
    """A table of the file: frozen, and a key it does not know is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Trigger(_Table):
    """What starts one kind of message, and the limits of its own."""

    name: Name
    on: tuple[Cause, ...] = Field(min_length=1)
    """Each `condition:<name>`, `condition:<name>@<level>`, `milestone:<name>` or `risk:<level>` (got worse to it)."""
    channel: Channel
    template: Name
    kind: Kind
    delay_ms: Duration = Field(alias="delay")
    priority: int = Field(ge=0, le=100)
    most: int | None = Field(default=None, ge=1, alias="max")
    """At most this many with signal times in (t - `within_ms`, t]; None for no limit of its own."""
    within_ms: Duration = Field(default=7 * DAY, alias="within", gt=0)
    celebration: bool = False
    """A celebration email: no spacing, but one in `spacing.celebrations`."""
    yields_to_rescue: bool = False
    """Superseded for `spacing.after_rescue` after another rescue email."""
    least_points: float | None = Field(default=None, ge=0, le=100)
    """A message of advice: `nothing_to_say` where the best there is adds fewer points."""
    goals: tuple[Goal, ...] = ()
    variants: dict[Name, Annotated[int, Field(ge=0, le=1_000_000)]] = Field(default_factory=dict)
    """Name -> weight: `base` is the template itself, any other is written in `<template>.<name>`."""

    @model_validator(mode="before")
    @classmethod
    def _short_forms(cls, value: Any) -> Any:
        """One cause may be written alone; `max_a_week` is `max` within 7 days."""
        if not isinstance(value, dict):
            return value
        value = dict(value)
        if isinstance(value.get("on"), str):
            value["on"] = [value["on"]]
        if "max_a_week" in value:
            if "max" in value or "within" in value:
                raise ValueError("`max_a_week` is short for `max` within 7 days: write one of the two")
            value["max"] = value.pop("max_a_week")
        return value

    @property
    def cause(self) -> str:
        """The first of what sets it off."""
        return self.on[0]

    @field_validator("variants")
    @classmethod
    def _comparable(cls, value: dict[str, int]) -> dict[str, int]:
        if value and not any(value.values()):
            raise ValueError("at least one variant needs a weight above 0")
        return value


class Caps(_Table):
    """At most `total` messages, of which `positive` positive ones, in any rolling `window_ms`."""

    window_ms: Duration = Field(alias="window")
    total: int = Field(ge=0)
    positive: int = Field(ge=0)


class Spacing(_Table):
    """Milliseconds that must lie between emails to one supplier."""

    emails_ms: Duration = Field(alias="emails")
    celebrations_ms: Duration = Field(alias="celebrations")
    after_rescue_ms: Duration = Field(alias="after_rescue")


class _Opening(_Table):
    """A stretch of the day, [from, until)."""

    from_minute: TimeOfDay = Field(alias="from")
    until_minute: TimeOfDay = Field(alias="until")
    zone: Zone

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.from_minute >= self.until_minute:
            raise ValueError("`from` must be before `until` on the same day")
        return self


class Hours(_Opening):
    """When emails may leave, in minutes after midnight of the supplier's zone (`zone` where unknown)."""

    celebrate_at_once_ms: Duration = Field(alias="celebrate_at_once")
    own_acts: tuple[str, ...]
    """Event types that a supplier does themselves: their celebrations need not wait for the morning."""


class Lifetime(_Table):
    """How long signals and rows stay worth acting on."""

    stale_after_ms: Duration = Field(alias="stale_after")
    expires_after_ms: Duration = Field(alias="expires_after")
    address_wait_ms: Duration = Field(alias="address_wait")
    onboarding_ms: Duration = Field(alias="onboarding")


class Retries(_Table):
    """Back-off between attempts at one email; they go on until its row expires."""

    first_ms: Duration = Field(alias="first")
    longest_ms: Duration = Field(alias="longest")


class Calls(_Opening):
    """When support agents can be called, and for how long a call is offered."""

    days: tuple[Weekday, ...] = Field(min_length=1)
    minutes: int = Field(ge=5, le=120)


class Feedback(_Table):
    """How long after sending a goal event counts as a conversion, and how many soft bounces end the emails."""

    attribution_ms: Duration = Field(alias="attribution")
    soft_bounces: int = Field(default=3, ge=1)
    """So many messages that bounced softly within `soft_window_ms`, none arriving in between, and we stop."""
    soft_window_ms: Duration = Field(default=7 * DAY, alias="soft_window")
    arrived_after_ms: Duration = Field(default=DAY, alias="arrived_after")
    """A message that has not bounced for this long has arrived."""


class Holdout(_Table):
    """The share of suppliers who get nothing, for comparison."""

    share: float = Field(ge=0, le=1)
    salt: str = ""
    """Another salt makes another group."""


class Experiments(_Table):
    """What template variants have in common."""

    salt: str = ""
    """Another salt deals the suppliers out anew."""


class Pace(_Table):
    """How many emails a second one delivery process hands to a mail server that is not on this machine."""

    a_second: float = Field(gt=0)
    a_second_to_one_domain: float = Field(gt=0)


class Policy(_Table):
    """The whole policy, validated."""

    version: Literal[1]
    caps: Caps
    spacing: Spacing
    hours: Hours
    lifetime: Lifetime
    retries: Retries
    calls: Calls
    feedback: Feedback
    holdout: Holdout
    experiments: Experiments = Experiments()
    pace: Pace = Pace(a_second=50, a_second_to_one_domain=10)
    triggers: tuple[Trigger, ...] = Field(alias="trigger", min_length=1)
    _rules: Rules = PrivateAttr(default=SHIPPED)

    @property
    def counts_back_ms(self) -> int:
        """How long ago a message may have been sent that still counts for a cap or for spacing."""
        within = max(one.within_ms for one in self.triggers)
        spacing = max(self.spacing.emails_ms, self.spacing.celebrations_ms, self.spacing.after_rescue_ms)
        return max(self.caps.window_ms, spacing, within)

    @property
    def rules(self) -> Rules:
        """The rules whose conditions and milestones it names: a policy is read against them."""
        return self._rules

    @classmethod
    def load(cls, path: Path | None = None, rules: Rules = SHIPPED) -> Policy:
        """Read the TOML file `path`, or the default one; PolicyError says where it is wrong.

        `rules`: those whose conditions and milestones it names.
        """
        path = path or DEFAULT
        try:
            raw = tomllib.loads(path.read_text("utf-8"))
        except OSError as error:
            raise PolicyError(
                f"{path}: can't be read ({error.strerror}); name a policy file (SUCCESS_POLICY, or --policy where "
                "there is one)"
            ) from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise PolicyError(f"{path}: is not TOML: {error}") from error
        return cls.parse(raw, str(path), rules)

    @classmethod
    def over_ours(cls, text: str, origin: str, rules: Rules) -> Policy:
        """A policy of one's own: what its tables leave out is as shipped; a list of triggers replaces ours.

        Raises PolicyError, with the line.
        """
        try:
            raw = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise PolicyError(f"{origin}: is not TOML: {error}") from error
        return cls.parse(cls.merged(raw), origin, rules, text)

    @classmethod
    def merged(cls, raw: dict[str, Any]) -> dict[str, Any]:
        """A document with what its tables leave out."""
        ours: dict[str, Any] = tomllib.loads(DEFAULT.read_text("utf-8"))
        return ours | {
            name: ours[name] | table
            if isinstance(table, dict) and isinstance(ours.get(name), dict)
            else table
            for name, table in raw.items()
        }

    @classmethod
    def parse(cls, raw: dict[str, Any], origin: str, rules: Rules = SHIPPED, text: str = "") -> Policy:
        """Validate a parsed TOML document; `origin` is what errors call it, `text` what it was written as."""
        try:
            policy = cls.model_validate(raw, context={"rules": rules})
        except ValidationError as error:
            raise PolicyError(
                "; ".join(_where(origin, raw, detail, text) for detail in error.errors())
            ) from None
        _refuse_twins(policy, origin)
        policy._rules = rules  # noqa: SLF001 - its own class
        return policy

    def document(self) -> dict[str, Any]:
        """All of it as a file would say it, defaults written out: `parse` reads it again."""
        return _as_written_in_a_file(self)

    def trigger(self, name: str) -> Trigger | None:
        """Return the trigger of that name; None if the policy has none (any more)."""
        return next((trigger for trigger in self.triggers if trigger.name == name), None)

    def triggers_for(self, signal_type: str, data: dict[str, Any]) -> list[Trigger]:
        """Return the triggers that a signal sets off.

        `signal_type` is the CloudEvent type, `data` its data. A risk change counts only when the level
        gets worse from a known one.
        """
        causes = _causes(signal_type, data)
        return [trigger for trigger in self.triggers if causes.intersection(trigger.on)]

    def reason_at_birth(
        self, signal_type: str, signal_at_ms: int, signed_up_at_ms: int | None, now_ms: int
    ) -> Literal["stale", "onboarding"] | None:
        """Say why a row must be written as suppressed from the start, or None.

        `stale`: the signal is over 72 h old by now. `onboarding`: a risk change within 14 days of
        sign-up (where that is not known, onboarding is over).
        """
        young = signed_up_at_ms is not None and signal_at_ms - signed_up_at_ms < self.lifetime.onboarding_ms
        if signal_type == RISK_CHANGED and young:
            return "onboarding"  # said first: it is so whenever the row is written, in a backlog too
        return "stale" if now_ms - signal_at_ms > self.lifetime.stale_after_ms else None


def _as_written_in_a_file(table: BaseModel) -> dict[str, Any]:
    said: dict[str, Any] = {}
    for name, info in type(table).model_fields.items():
        value = getattr(table, name)
        key = info.alias or name
        if isinstance(value, BaseModel):
            said[key] = _as_written_in_a_file(value)
        elif isinstance(value, tuple):
            said[key] = [_as_written_in_a_file(one) if isinstance(one, BaseModel) else one for one in value]
        elif name.endswith("_ms"):
            said[key] = duration_text(value)
        elif name.endswith("_minute"):
            said[key] = f"{value // 60:02d}:{value % 60:02d}"
        elif value is not None:
            said[key] = value
    return said


def _causes(signal_type: str, data: dict[str, Any]) -> set[str]:
    if signal_type == MILESTONE_ACHIEVED:
        return {f"milestone:{data['milestone']}"}
    if signal_type == CONDITION_MET:
        condition = f"condition:{data['condition']}"
        return {condition, f"{condition}@{data.get('level')}"}
    if signal_type == RISK_CHANGED and _worsened(data):
        return {f"risk:{data['level']}"}
    return set()


def _worsened(data: dict[str, Any]) -> bool:
    return data["previous"] is not None and is_worse(data["level"], data["previous"])


def _where(origin: str, raw: dict[str, Any], detail: Any, text: str) -> str:
    """One validation error as a person would say it: file, table or trigger, field, what was expected."""
    loc = list(detail["loc"])
    line = f", line {line_of(text, _as_written(loc))}" if text and loc else ""
    place = ""
    if loc[:1] == ["trigger"] and len(loc) > 1:
        entry = raw["trigger"][loc[1]]
        name = entry.get("name") if isinstance(entry, dict) else None
        place = f"trigger {name!r}" if name else f"trigger number {loc[1] + 1}"
        loc = loc[2:]
    elif len(loc) > 1:
        place = f"[{loc[0]}]"
        loc = loc[1:]
    field = f"field {'.'.join(map(str, loc))!r}" if loc else ""
    message = detail["msg"].removeprefix("Value error, ")
    return f"{origin}{line}: {', '.join(part for part in (place, field) if part)}: {message}"


def _as_written(loc: list[Any]) -> tuple[Any, ...]:
    """The place of a complaint without what only our models know: the index in `on`."""
    return tuple(loc[:3]) if loc[0] == "trigger" else tuple(loc[:2])


def _refuse_twins(policy: Policy, origin: str) -> None:
    seen: set[str] = set()
    for trigger in policy.triggers:
        if trigger.name in seen:
            raise PolicyError(
                f"{origin}: trigger {trigger.name!r}, field 'name': is taken by a trigger above it"
            )
        seen.add(trigger.name)
