"""What another policy, or other weights, would have changed: two variants of one replay, compared.

Everything is asked of the tables (`tables.connect`), so that an analyst can ask on; the questions are in
`what_if.sql`.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from statistics import median
from typing import Any

from duckdb import DuckDBPyConnection

from replay.again.tables import rows_of
from replay.again.variant import BASE, WHAT_IF
from scoring.decisions.forecast import NOT_FORESEEN, Counts, Forecast, digest_of
from scoring.decisions.policy import Policy

Rows = list[dict[str, Any]]
VARIANTS = (BASE, WHAT_IF)
_SQL = Path(__file__).with_name("compare.sql")
_NAME = re.compile(r"^-- name: (\w+)\s*$", re.MULTILINE)
BAND = 10
"""Points a bar of the score's distribution."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Side:
    """One variant's own numbers."""

    suppliers: int
    mean_score: float | None
    median_score: float | None
    distribution: dict[int, int]
    """Lower end of a ten-point band -> suppliers at the end."""
    levels: dict[str, int]
    sent: int
    messages_a_supplier_a_week: float | None
    most_a_week: int
    """The most messages that anybody had in seven days."""
    unsent: dict[str, int]
    """Reason -> rows that were not sent."""
    cancellations: int
    warned: int
    """Cancellations during a spell that had given a warning."""
    lead_days: list[float]
    """How many days before the cancellation that warning came, one a warned cancellation, sorted."""
    median_lead_days: float | None
    precision: float | None
    """Of those not healthy on a looked-at day, the share that cancelled within 30 days."""
    recall: float | None
    """Of those who cancelled within 30 days of a looked-at day, the share that was not healthy on it."""
    base_rate: float | None
    """The share that cancelled within 30 days: what a warning at random would have for precision."""
    looked_at: int
    """Supplier-weeks behind precision and recall."""
    supplier_days: float
    """Days of all suppliers together, each from their first event on."""


@dataclass(frozen=True)
class Comparison:
    """Base and what-if side by side, over [since, until] (RFC 3339)."""

    since: str
    until: str
    changed: tuple[str, ...]
    base: Side
    what_if: Side
    moved: Rows
    """`base`, `what_if` (levels at the end), `suppliers`."""
    level_changes: Rows
    """`level`, `base`, `what_if`, `gained`, `lost`: entries into each level."""
    interventions: Rows
    """`trigger`, `base`, `what_if`, `added`, `removed`: messages sent."""
    never_sent: Rows = field(default_factory=list)
    """`trigger`, `reason`, `messages`: of triggers that are new and whose every message was held back, why."""

    @property
    def differs(self) -> bool:
        """Whether anything at all came out otherwise."""
        return (
            self.base != self.what_if
            or any(row["base"] != row["what_if"] for row in self.moved)
            or any(row["gained"] or row["lost"] for row in self.level_changes)
            or any(row["added"] or row["removed"] for row in self.interventions)
            or bool(self.never_sent)
        )

    def as_json(self) -> dict[str, Any]:
        """For `--json`."""
        return asdict(self) | {"differs": self.differs}

    def forecast(self, draft: Policy) -> Forecast:
        """What is expected of the what-if, which is this policy with its rules."""
        return Forecast(
            digest_of(draft), self.since, self.until, *(self._counts(variant) for variant in VARIANTS)
        )

    def _counts(self, variant: str) -> Counts:
        side: Side = getattr(self, variant)
        return Counts(
            side.suppliers,
            side.supplier_days,
            {row["trigger"]: row[variant] for row in self.interventions if row[variant]},
            {reason: number for reason, number in side.unsent.items() if reason not in NOT_FORESEEN},
            side.levels,
        )


def compare(
    connection: DuckDBPyConnection, since_ms: int | None, until_ms: int, changed: tuple[str, ...] = ()
) -> Comparison:
    """Compare the variants `base` and `what_if`, which must have whole histories in the tables.

    `since_ms` None: from the first event on.
    """
    since, until = _since(connection, since_ms), _EPOCH + timedelta(milliseconds=until_ms)
    sides = {variant: _side(connection, variant, since, until) for variant in VARIANTS}
    return Comparison(
        since=_text(since),
        until=_text(until),
        changed=changed,
        base=sides[BASE],
        what_if=sides[WHAT_IF],
        moved=ask(connection, "moved"),
        level_changes=ask(connection, "level_changes", since=since, until=until),
        interventions=ask(connection, "interventions", since=since, until=until),
        never_sent=ask(connection, "never_sent", since=since, until=until),
    )


def added_and_removed(connection: DuckDBPyConnection, comparison: Comparison) -> Rows:
    """Each message that only one of the two sends, by time."""
    since, until = (datetime.fromisoformat(text) for text in (comparison.since, comparison.until))
    return ask(connection, "added_and_removed", since=since, until=until)


def ask(connection: DuckDBPyConnection, question: str, variant: str = BASE, **parameters: Any) -> Rows:
    """The rows that a question of `what_if.sql` gives."""
    return rows_of(connection, _questions()[question].format(v=variant), parameters)


@cache
def _questions() -> dict[str, str]:
    _, *parts = _NAME.split(_SQL.read_text("utf-8"))
    return dict(zip(parts[::2], parts[1::2], strict=True))


def _side(connection: DuckDBPyConnection, variant: str, since: datetime, until: datetime) -> Side:
    window = {"since": since, "until": until}
    ask(connection, "spells", variant)
    scores = ask(connection, "scores", variant)[0]
    week = ask(connection, "a_week", variant, **window)[0]
    leads = ask(connection, "lead_time", variant, **window)
    lead_days = sorted(row["days"] for row in leads if row["days"] is not None)
    seen = ask(connection, "foresight", variant, **window)[0]
    return Side(
        suppliers=scores["suppliers"],
        mean_score=_rounded(scores["mean"], 3),
        median_score=_rounded(scores["median"], 1),
        distribution={row["band"]: row["suppliers"] for row in ask(connection, "distribution", variant)},
        levels={row["level"]: row["suppliers"] for row in ask(connection, "levels", variant)},
        sent=week["sent"],
        messages_a_supplier_a_week=_rounded(week["a_supplier_a_week"], 4),
        most_a_week=ask(connection, "most_a_week", variant, **window)[0]["messages"],
        unsent={row["reason"]: row["messages"] for row in ask(connection, "unsent", variant, **window)},
        cancellations=len(leads),
        warned=len(lead_days),
        lead_days=[round(days, 3) for days in lead_days],
        median_lead_days=_rounded(median(lead_days), 2) if lead_days else None,
        precision=_share(seen["warned_and_cancelled"], seen["warned"]),
        recall=_share(seen["warned_and_cancelled"], seen["cancelled"]),
        base_rate=_share(seen["cancelled"], seen["looked_at"]),
        looked_at=seen["looked_at"],
        supplier_days=round((week["supplier_weeks"] or 0) * 7, 3),
    )


def _since(connection: DuckDBPyConnection, since_ms: int | None) -> datetime:
    if since_ms is not None:
        return _EPOCH + timedelta(milliseconds=since_ms)
    first = rows_of(connection, "SELECT min(first_time) AS first FROM base.suppliers")[0]["first"]
    return first if isinstance(first, datetime) else _EPOCH


def _share(part: int, whole: int) -> float | None:
    return round(part / whole, 4) if whole else None


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(float(value), digits)


def _text(at: datetime) -> str:
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
