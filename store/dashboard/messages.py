"""What the dashboard says of messages: tallies by day, and pages of rows. Times are aware datetimes, days UTC dates."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from store.dashboard.population import Moment, Row, rows
from store.queries import load
from store.rows import as_json

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date, datetime

    from psycopg import AsyncConnection

SQL = load("dashboard_messages")

COMPARED = 20_000
"""The holdout is compared on so many of the newest rows."""
LATEST = timedelta(days=4)
"""A message leaves at most this long after it was due (the policy's `expires_after` is three days)."""


@dataclass(frozen=True, slots=True)
class Period:
    """Days [since, until), UTC."""

    since: date
    until: date

    def parameters(self) -> dict[str, date]:
        """For the queries."""
        return {"since": self.since, "until": self.until}


@dataclass(frozen=True, slots=True)
class MessageFilter:
    """Which messages a list shows, sent (else due) in [since, until); `""` does not narrow it."""

    since: datetime
    until: datetime
    template: str = ""
    status: str = ""
    reason: str = ""
    outcome: str = ""
    variant: str = ""


async def funnel(conn: AsyncConnection, period: Period) -> list[Row]:
    """Counts by template and channel, most sent first."""
    return await rows(conn, SQL["funnel"], period.parameters())


async def reasons(conn: AsyncConnection, period: Period) -> list[Row]:
    """Why messages were not sent: `template, reason, messages`, most first."""
    return await rows(conn, SQL["reasons"], period.parameters())


async def variants(conn: AsyncConnection, period: Period) -> list[Row]:
    """Counts by experiment, variant and template."""
    return await rows(conn, SQL["variants"], period.parameters())


async def holdout(conn: AsyncConnection, period: Period, goals: Sequence[dict[str, str]]) -> list[Row]:
    """Per group (`treated`, `holdout`) how many of the newest rows reached a goal since: `variant, messages, reached`.

    `goals`: each `{"trigger", "goal"}` of the policy.
    """
    parameters: dict[str, Any] = period.parameters() | {"most": COMPARED, "goals": as_json(goals)}
    return await rows(conn, SQL["holdout"], parameters)


async def today(conn: AsyncConnection, day: date) -> list[Row]:
    """What became of what was due or sent on a day: `template, status, reason, messages`."""
    return await rows(conn, SQL["today"], {"day": day})


async def outgoing(conn: AsyncConnection, until: datetime, most: int) -> list[Row]:
    """What is to leave before then, soonest first."""
    return await rows(conn, SQL["outgoing"], {"until": until, "most": most})


async def messages(conn: AsyncConnection, wanted: MessageFilter, after: Moment, most: int) -> list[Row]:
    """A page of messages, due last first. A reason, a template or a status must be given: ValueError without."""
    parameters: dict[str, Any] = {
        "from": wanted.since,
        "since": wanted.since - LATEST,
        "until": wanted.until,
        "before": after.at,
        "id": after.id,
        "most": most,
        "template": wanted.template,
        "outcome": wanted.outcome,
    }
    if wanted.reason:
        return await rows(conn, SQL["messages_of_reason"], parameters | {"reason": wanted.reason})
    if wanted.template:
        narrower = {"status": wanted.status, "variant": wanted.variant}
        return await rows(conn, SQL["messages_of_template"], parameters | narrower)
    if wanted.status:
        return await rows(conn, SQL["messages_of_status"], parameters | {"status": wanted.status})
    raise ValueError("a list of messages needs a reason, a template or a status")
