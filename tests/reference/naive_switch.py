"""Rules that change, naively: the whole history is looked at again by whatever rules are in force."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Any

from scoring.health.rules_file import RulesFile
from tests.reference.history import COMPONENTS, DAY, History, share, utc_date
from tests.reference.naive import WORST_FIRST, Evaluation
from tests.reference.naive_rules import RuledSupplier


class RuledHistory(History):
    """Points by a rules file."""

    file: RulesFile

    def features(self) -> list[str]:
        """A feature once used stays used."""
        return sorted(one.name for one in self.file.feature if self.of(*one.events))

    def points(self, t: int) -> dict[str, Fraction]:
        weights = {name: Fraction(self.file.components[name].points or 0) for name in COMPONENTS}
        last = self.last("supplier.logged_in")
        bands = self.file.components["loginFrequency"].bands or ()
        login = next((band.points for band in bands if last is not None and t - last < band.below), 0)
        forms = self.file.components["formCompletion"]
        sent, opened = (
            self.journey_emails(name, t) for name in ("journey.email_sent", "journey.email_opened")
        )
        return {
            "loginFrequency": Fraction(login),
            "featureAdoption": weights["featureAdoption"]
            * Fraction(len(self.features()), len(self.file.feature)),
            "clientActivity": weights["clientActivity"] * share(self.active_clients(t), len(self.clients())),
            "formCompletion": weights["formCompletion"]
            * share(len(self.of(*forms.count or ())), len(self.of(*forms.of or ()))),
            "journeyPerformance": weights["journeyPerformance"] * share(opened, sent),
        }


class SwitchedSupplier(RuledSupplier):
    """A naive supplier whose points, levels, milestones and conditions are those of a file, which may be replaced."""

    def __init__(self, supplier_id: str, file: RulesFile) -> None:
        super().__init__(supplier_id, file)
        self.history: RuledHistory = RuledHistory()
        self.history.file = file
        self.awarded: set[str] = set()

    def switch(self, file: RulesFile, through: int, version: int) -> list[Any]:
        """Fire by the old rules what is due by then; look at everything again by the new ones."""
        before = len(self.signals)
        self.advance(through)
        assert self.clock is not None
        self.clock = max(self.clock, through)
        self.file = self.history.file = file
        key = f"rules:{version}"
        was = self.evaluations[-1]
        self._evaluate(self.clock, key, key, seq=was.seq, plain=True)
        now = self.evaluations[-1]
        if (now.total, now.level) != (was.total, was.level):
            self.evaluations[-1] = replace(now, seq=now.seq + 1)
        self._emit_risk_change(self.clock, key)
        if self.signals[before:] and self.signals[-1].data.get("causes") is not None:
            last = self.signals[-1]
            if last.data["seq"] == self._seq() and last.id == self._id(last.type, last.data["level"], key):
                last.data["cause"] = key
        self._award(None, key, self.clock)
        for condition in file.condition:
            if condition.reaches:
                self._newly_reached(condition)
        return self.signals[before:]

    def metric_instants(self) -> list[int]:
        """As those of the shipped rules, with other bands."""
        instants = set()
        login = self.history.last("supplier.logged_in")
        if login is not None:
            instants |= {login + band.below for band in self.file.components["loginFrequency"].bands or ()}
        instants |= {last + 30 * DAY + 1 for last in self.history.clients().values() if last is not None}
        emails = self.history.of("journey.email_sent") + self.history.of("journey.email_opened")
        instants |= {(utc_date(event.at) + 30) * DAY for event in emails}
        return sorted(instant for instant in instants if self.clock is not None and instant > self.clock)

    def _evaluate(self, at: int, cause: str, key: str, seq: int, *, plain: bool = False) -> None:
        total = self.history.total(at)
        previous = self.evaluations[-1].level if self.evaluations and not plain else None
        points = {name: round(worth, 9) for name, worth in self.history.points(at).items()}
        score, level = (total + Fraction(1, 2)).__floor__(), self._level_after(previous, total)
        self.evaluations.append(Evaluation(at, seq, cause, key, points, total, score, level))

    def _level_after(self, previous: str | None, total: Fraction) -> str:
        levels = self.file.levels
        thresholds = (("healthy", levels.healthy), ("at_risk", levels.at_risk), ("critical", float("-inf")))
        plain = next(level for level, threshold in thresholds if total >= threshold)
        rank = WORST_FIRST.index
        if previous is None or rank(plain) <= rank(previous):
            return plain
        better = [
            level
            for level, threshold in thresholds
            if total >= threshold + levels.margin and rank(level) > rank(previous)
        ]
        return better[0] if better else previous

    def _after_event(self, event: Any) -> None:
        key = f"{event.source}|{event.id}"
        assert self.clock is not None
        self._evaluate(self.clock, event.id, key, seq=self._seq() + 1)
        self._award(event, event.type, event.at)
        self._emit_risk_change(event.at, key)
        self._meet([], event.at, key)

    def _award(self, event: Any, cause_type: str, at: int) -> None:
        for one in self.file.milestone:
            reported = (
                event is not None and event.type == "milestone.reported" and event.data.milestone == one.name
            )
            by_count = one.event is not None and len(self.history.of(one.event)) >= one.nth
            by_clients = one.clients is not None and len(self.history.clients()) >= one.clients
            if event is not None and not reported:
                by_count = by_count and event.type == one.event
            if (reported or by_count or by_clients) and one.name not in self.awarded:
                self.awarded.add(one.name)
                data = {"milestone": one.name, "seq": self._seq(), "cause_type": cause_type}
                self._emit("success.milestone.achieved", one.name, "", at, data)
