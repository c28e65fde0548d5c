"""The policy as data: which signal starts which message, and the limits every message keeps to.

`policy.toml` beside this file is the default; `SUCCESS_POLICY` names another. Times of day are minutes after
midnight, durations int milliseconds (written "72h" in the file).
"""

from __future__ import annotations

import re
import tomllib
from datetime import time
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from scoring import conditions
from scoring.activity import Goal
from scoring.metrics import is_worse
from scoring.signals import CONDITION_MET, MILESTONE_ACHIEVED, MILESTONES, RISK_CHANGED
from scoring.time import DAY, HOUR, MINUTE, SECOND

DEFAULT = Path(__file__).with_name("policy.toml")

_UNITS = {"ms": 1, "s": SECOND, "min": MINUTE, "h": HOUR, "d": DAY}

Channel = Literal["email", "in_app_notification", "support_call"]
Kind = Literal["positive", "rescue"]
Weekday = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
_CAUSES = {
    "condition": (
        conditions.SIGNED_UP,
        conditions.NO_LOGIN,
        conditions.ZERO_CLIENTS,
        conditions.STUCK,
        conditions.LOW_ADOPTION,
        conditions.HIGH_USAGE,
        conditions.ONBOARDING_ENDED,
    ),
    "milestone": MILESTONES,
    "risk": ("at_risk", "critical"),
}


class PolicyError(ValueError):
    """The policy file can't be used; the message says where it is wrong and what was expected."""


def _duration(value: object) -> int:
    match = re.fullmatch(r"(\d{1,9})\s*(ms|s|min|h|d)", value) if isinstance(value, str) else None
    if match is None:
        raise ValueError('expected a duration such as "72h" (a whole number and ms, s, min, h or d)')
    return int(match[1]) * _UNITS[match[2]]


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
    try:
        ZoneInfo(value)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"{value!r} is no IANA time zone (such as Europe/London)") from None
    return value


def _cause(value: str) -> str:
    kind, _, name = value.partition(":")
    if kind not in _CAUSES:
        raise ValueError(f"expected condition:<name>, milestone:<name> or risk:<level>, got {value!r}")
    if name not in _CAUSES[kind]:
        raise ValueError(f"no {kind} is called {name!r}; there are {', '.join(_CAUSES[kind])}")
    return value


Duration = Annotated[int, BeforeValidator(_duration)]
TimeOfDay = Annotated[int, BeforeValidator(_time_of_day)]
Zone = Annotated[str, AfterValidator(_zone)]
Cause = Annotated[str, AfterValidator(_cause)]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,62}$")]
BASE_VARIANT = "base"
"""The variant that is the template itself."""


class _Table(BaseModel):
    """A table of the file: frozen, and a key it does not know is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Trigger(_Table):
    """What starts one kind of message, and the limits of its own."""

    name: Name
    on: Cause
    """`condition:<name>`, `milestone:<name>` or `risk:<level>`."""
    channel: Channel
    template: Name
    kind: Kind
    delay_ms: Duration = Field(alias="delay")
    priority: int = Field(ge=0, le=100)
    max_a_week: int | None = Field(default=None, ge=1)
    """At most this many with signal times in (t - 7 x 24 h, t]; None for no limit of its own."""
    celebration: bool = False
    """A celebration email: no spacing, but one in `spacing.celebrations`."""
    yields_to_rescue: bool = False
    """Superseded for `spacing.after_rescue` after another rescue email."""
    goals: tuple[Goal, ...] = ()
    variants: dict[Name, Annotated[int, Field(ge=0, le=1_000_000)]] = Field(default_factory=dict)
    """Name -> weight: `base` is the template itself, any other is written in `<template>.<name>`."""

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
    """Event types that a supplier does herself: their celebrations need not wait for the morning."""


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

    @classmethod
    def load(cls, path: Path | None = None) -> Policy:
        """Read the TOML file `path`, or the default one; PolicyError says where it is wrong."""
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
        return cls.parse(raw, str(path))

    @classmethod
    def parse(cls, raw: dict[str, Any], origin: str) -> Policy:
        """Validate a parsed TOML document; `origin` is what errors call it."""
        try:
            policy = cls.model_validate(raw)
        except ValidationError as error:
            raise PolicyError("; ".join(_where(origin, raw, detail) for detail in error.errors())) from None
        _refuse_twins(policy, origin)
        return policy

    def trigger(self, name: str) -> Trigger | None:
        """Return the trigger of that name; None if the policy has none (any more)."""
        return next((trigger for trigger in self.triggers if trigger.name == name), None)

    def triggers_for(self, signal_type: str, data: dict[str, Any]) -> list[Trigger]:
        """Return the triggers that a signal sets off.

        `signal_type` is the CloudEvent type, `data` its data. A risk change counts only when the level
        gets worse from a known one; the end of onboarding counts as a change to the level it carries.
        """
        causes = _causes(signal_type, data)
        return [trigger for trigger in self.triggers if trigger.on in causes]

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


def _causes(signal_type: str, data: dict[str, Any]) -> set[str]:
    if signal_type == MILESTONE_ACHIEVED:
        return {f"milestone:{data['milestone']}"}
    if signal_type == CONDITION_MET:
        ended = {f"risk:{data.get('level')}"} if data["condition"] == conditions.ONBOARDING_ENDED else set()
        return {f"condition:{data['condition']}"} | ended
    if signal_type == RISK_CHANGED and _worsened(data):
        return {f"risk:{data['level']}"}
    return set()


def _worsened(data: dict[str, Any]) -> bool:
    return data["previous"] is not None and is_worse(data["level"], data["previous"])


def _where(origin: str, raw: dict[str, Any], detail: Any) -> str:
    """One validation error as a person would say it: file, table or trigger, field, what was expected."""
    loc = list(detail["loc"])
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
    return f"{origin}: {', '.join(part for part in (place, field) if part)}: {message}"


def _refuse_twins(policy: Policy, origin: str) -> None:
    seen: set[str] = set()
    for trigger in policy.triggers:
        if trigger.name in seen:
            raise PolicyError(
                f"{origin}: trigger {trigger.name!r}, field 'name': is taken by a trigger above it"
            )
        seen.add(trigger.name)
