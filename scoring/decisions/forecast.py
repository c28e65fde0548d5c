"""What a replay expects of a version before it goes into force: kept with it, and compared with what came of it."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from scoring.decisions.policy import Policy

NOT_FORESEEN = frozenset(
    {"scheduled", "rules_changed", "held", "paused", "bounced", "complained", "erased", "opted_out"}
)
"""Why messages are not sent that a replay can't know of, or that a switch itself brings about."""


class ForecastError(ValueError):
    """There is no forecast in it; the message says what to do."""


class Counts(msgspec.Struct, frozen=True):
    """What came of some suppliers in some time."""

    suppliers: int
    supplier_days: float
    """Days together, each from their first event on."""
    sent: dict[str, int]
    """Trigger -> messages that were decided to go."""
    held: dict[str, int]
    """Reason -> messages that were held back."""
    levels: dict[str, int]
    """Level -> suppliers at the end; they may be a part of the suppliers, chosen by chance."""


class Forecast(msgspec.Struct, frozen=True):
    """A what-if over [since, until] (RFC 3339): `base` is what was in force, `draft` what it would have been."""

    digest: str
    """Of what decides in the draft (`digest_of`)."""
    since: str
    until: str
    base: Counts
    draft: Counts

    def as_json(self) -> dict[str, Any]:
        """As it is stored, and as reports carry it."""
        said: dict[str, Any] = msgspec.to_builtins(self)
        return said


def digest_of(policy: Policy) -> str:
    """Digest of all that scores and decides; words make no difference to a forecast."""
    return sha256(f"{policy.rules.digest}{policy.model_dump_json()}".encode()).hexdigest()


def forecast_of(said: Any) -> Forecast:
    """The forecast in a report (`forecast` of `success replay --config DIR --json`), or as stored; ForecastError."""
    found = said.get("forecast", said) if isinstance(said, dict) else said
    try:
        return msgspec.convert(found, Forecast)
    except msgspec.ValidationError as error:
        raise ForecastError(
            f"there is no forecast in it ({error}): write one with `success replay --config DIR --json`"
        ) from error
