"""The facts of one supplier: each a function of the complete list of their accepted events, and of a time.

Part of the naive second implementation (`naive.py`): contract sections 3 and 5, read on their own.
Slow on purpose. Times are milliseconds since the epoch, UTC; points and sums exact fractions.
"""

from __future__ import annotations

from fractions import Fraction
from operator import itemgetter
from typing import Any

HOUR = 3_600_000
DAY = 24 * HOUR
NEVER_LOGGED_IN = 999
COMPONENTS = ("loginFrequency", "featureAdoption", "clientActivity", "formCompletion", "journeyPerformance")
LOGIN_BANDS = ((3, 30), (7, 20), (14, 10), (30, 5))  # below so many days: so many points
FEATURES = {
    "client.imported": "clients_imported",
    "form.created": "forms_created",
    "journey.created": "journeys_created",
    "template.used": "templates_used",
}
CLIENT_ACTIVITY = ("client.active", "form.completed", "journey.email_opened")


def utc_date(ms: int) -> int:
    """Days since 1970-01-01 in UTC."""
    return ms // DAY


def newest(events: list[Any]) -> Any | None:
    """The fact that holds: the greatest event time; of equal ones the later arrival."""
    chosen = None
    for event in events:
        if chosen is None or event.at >= chosen.at:
            chosen = event
    return chosen


class History:
    """The complete list of accepted events, in the order of arrival, and what can be read from it."""

    def __init__(self) -> None:
        self.events: list[Any] = []
        self.numbered_by_type: dict[str, list[tuple[int, Any]]] = {}  # only so that `of` need not look at all

    def add(self, event: Any) -> None:
        self.numbered_by_type.setdefault(event.type, []).append((len(self.events), event))
        self.events.append(event)

    def knows(self, event: Any) -> bool:
        """Whether this (source, id) was accepted before."""
        return any(seen.id == event.id and seen.source == event.source for seen in self.events)

    def of(self, *types: str) -> list[Any]:
        """The events of these types, in the order of arrival."""
        numbered = [pair for event_type in types for pair in self.numbered_by_type.get(event_type, [])]
        return [event for _, event in sorted(numbered, key=itemgetter(0))]

    def last(self, event_type: str) -> int | None:
        return max((event.at for event in self.of(event_type)), default=None)

    # -- facts -----------------------------------------------------------------------------------------

    def signed_up_at(self) -> int | None:
        signups = self.of("supplier.signed_up")
        return signups[0].at if signups else None

    def plan_events(self) -> list[Any]:
        """An absent plan in a sign-up changes nothing."""
        named = self.of("supplier.signed_up", "plan.changed")
        return [event for event in named if event.data is not None and event.data.plan is not None]

    def plan(self) -> str | None:
        event = newest(self.plan_events())
        return event.data.plan if event else None

    def features(self) -> list[str]:
        return sorted(name for event_type, name in FEATURES.items() if self.of(event_type))

    def clients(self) -> dict[str, int | None]:
        """Known clients and when each was last active; by arrival, because removal forgets."""
        known: dict[str, int | None] = {}
        for event in self.of("client.imported", "client.removed", *CLIENT_ACTIVITY):
            if event.type == "client.imported":
                for client in event.data.client_ids:
                    known.setdefault(client, None)
            elif event.type == "client.removed":
                known.pop(event.data.client_id, None)
            elif event.data.client_id is not None:
                before = known.get(event.data.client_id)
                known[event.data.client_id] = event.at if before is None else max(before, event.at)
        return known

    def active_clients(self, t: int) -> int:
        return sum(last is not None and last >= t - 30 * DAY for last in self.clients().values())

    def journey_emails(self, event_type: str, t: int) -> int:
        """On the last 30 UTC dates, that of `t` included."""
        today = utc_date(t)
        return sum(today - 29 <= utc_date(event.at) <= today for event in self.of(event_type))

    def active_journeys(self) -> int:
        switches = self.of("journey.activated", "journey.deactivated")
        holds = [
            newest([event for event in switches if event.data.journey_id == journey])
            for journey in {event.data.journey_id for event in switches}
        ]
        return sum(event is not None and event.type == "journey.activated" for event in holds)

    def consent(self, scope: str) -> Any | None:
        """The opt-out or opt-in of this scope that holds."""
        switches = self.of("communication.opted_out", "communication.opted_in")
        return newest([event for event in switches if event.data.scope == scope])

    def cancelled(self) -> Any | None:
        """The cancellation that holds, if one does."""
        event = newest(self.of("supplier.cancelled", "supplier.reactivated"))
        return event if event is not None and event.type == "supplier.cancelled" else None

    # -- the score at a time ---------------------------------------------------------------------------

    def login_days(self, t: int) -> int:
        last = self.last("supplier.logged_in")
        return NEVER_LOGGED_IN if last is None else min((t - last) // DAY, NEVER_LOGGED_IN)

    def metrics(self, t: int) -> dict[str, Fraction]:
        known = len(self.clients())
        sent = self.journey_emails("journey.email_sent", t)
        opened = self.journey_emails("journey.email_opened", t)
        forms_sent, completed = len(self.of("form.sent")), len(self.of("form.completed"))
        return {
            "loginFrequency": Fraction(self.login_days(t)),
            "featureAdoption": Fraction(len(self.features()), 4),
            "clientActivity": share(self.active_clients(t), known),
            "formCompletion": share(completed, forms_sent),
            "journeyPerformance": share(opened, sent),
        }

    def points(self, t: int) -> dict[str, Fraction]:
        metrics = self.metrics(t)
        login = next((points for days, points in LOGIN_BANDS if metrics["loginFrequency"] < days), 0)
        return {
            "loginFrequency": Fraction(login),
            "featureAdoption": metrics["featureAdoption"] * 25,
            "clientActivity": metrics["clientActivity"] * 25,
            "formCompletion": metrics["formCompletion"] * 10,
            "journeyPerformance": metrics["journeyPerformance"] * 10,
        }

    def total(self, t: int) -> Fraction:
        """The sum of the points, to 9 decimals."""
        return round(sum(self.points(t).values(), Fraction(0)), 9)


def share(part: int, whole: int) -> Fraction:
    """At most 1, and 0 of nothing."""
    return min(Fraction(part, whole), Fraction(1)) if whole else Fraction(0)
