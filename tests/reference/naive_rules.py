"""Conditions of any rules file, naively: every step of every condition is listed, every expression evaluated anew."""

from __future__ import annotations

from typing import Any

from scoring.health.rules_file import Condition, RulesFile
from tests.reference.naive import NaiveSupplier, rfc3339

SHOWS_ACTIVITY = ("client.active", "form.completed", "journey.email_opened")


class RuledSupplier(NaiveSupplier):
    """A naive supplier whose conditions are those of a rules file; points, levels and milestones are as shipped."""

    def __init__(self, supplier_id: str, file: RulesFile) -> None:
        super().__init__(supplier_id)
        self.file = file
        self.reached: set[str] = set()
        self.was: dict[str, bool] = {}

    def numbers(self) -> dict[str, Any]:
        """Every name that an expression of the tests compares, at the clock."""
        assert self.clock is not None
        history, plan = self.history, self.history.plan()
        counts = {
            kind: len(history.of(kind)) for kind in ("form.created", "client.imported", "journey.created")
        }
        counts["template.used"] = len(history.of("template.used"))
        limits = self.file.plans.get(plan) if plan else None
        clients = len(history.clients())
        return {
            "plan": plan or "",
            "signed_up": history.signed_up_at() is not None,
            "cancelled": history.cancelled() is not None,
            "clients_known": clients,
            "clients_active": history.active_clients(self.clock),
            "features_used": len(history.features()),
            "forms_created": counts["form.created"],
            "clients_imported": counts["client.imported"],
            "journeys_created": counts["journey.created"],
            "templates_used": counts["template.used"],
            "form_sent": len(history.of("form.sent")),
            "payment_received": len(history.of("payment.received")),
            "supplier_logged_in": len(history.of("supplier.logged_in")),
            "journeys_active": history.active_journeys(),
            "score": self.evaluations[-1].score if self.evaluations else 0,
            "level": self.evaluations[-1].level if self.evaluations else None,
            "plan_clients_percent": 100 * clients / limits.clients if limits and limits.clients else 0,
            "plan_forms_percent": (
                100 * counts["form.created"] / limits.forms if limits and limits.forms else 0
            ),
        }

    def true(self, expression: str | None) -> bool:
        """What an expression says now; one that is not there is true."""
        return expression is None or bool(eval(expression, {}, self.numbers()))  # noqa: S307 - of the tests' own making

    def base(self, condition: Condition) -> int | None:
        """The first `since` that has been."""
        for since in condition.since:
            if since == "signed_up":
                at = self.history.signed_up_at()
            elif since == "last_client_activity":
                times = [
                    event.at
                    for kind in SHOWS_ACTIVITY
                    for event in self.history.of(kind)
                    if event.data.client_id is not None
                ]
                at = max(times, default=None)
            else:
                at = self.history.last(since)
            if at is not None:
                return at
        return None

    def steps(self) -> list[tuple[int, Condition]]:
        """Every step of every condition in time that lies ahead of the clock."""
        found = []
        for condition in self.file.condition:
            base = self.base(condition) if condition.since else None
            if base is None or condition.after is None:
                continue
            first = base + condition.after
            found += [(first + k * (condition.repeat or 0), condition) for k in range(condition.times)]
        return [(at, condition) for at, condition in found if self.clock is not None and at > self.clock]

    def _next_due(self) -> int | None:
        ahead = [at for at, condition in self.steps() if self.true(condition.when)]
        return min([*self.metric_instants(), *ahead], default=None)

    def _fire(self, due: int) -> None:
        here = [condition for at, condition in self.steps() if at == due]
        key = f"time:{rfc3339(due)}"
        self.clock = due
        changed = bool(self.evaluations) and self.history.total(due) != self.evaluations[-1].total
        self._evaluate(due, "time", key, seq=self._seq() + changed)
        self._emit_risk_change(due, key)
        self._meet([one.name for one in here if self.true(one.when)], due, key)

    def _after_event(self, event: Any) -> None:
        key = f"{event.source}|{event.id}"
        assert self.clock is not None
        self._evaluate(self.clock, event.id, key, seq=self._seq() + 1)
        self._emit_risk_change(event.at, key)
        self._meet([], event.at, key)

    def _meet(self, in_time: list[str], at: int, key: str) -> None:
        for condition in self.file.condition:
            if condition.name in in_time or (condition.reaches and self._newly_reached(condition)):
                self._emit_condition(condition.name, at, key)

    def _newly_reached(self, condition: Condition) -> bool:
        """It becomes true; after it was met, only when it becomes true after `rearms` has held."""
        name, now = condition.name, self.true(condition.reaches)
        if name in self.reached:
            if condition.rearms is not None and self.true(condition.rearms):
                self.reached.discard(name)
                self.was[name] = now
            return False
        becomes_true = now and not self.was.get(name, False)
        self.was[name] = now
        if becomes_true:
            self.reached.add(name)
        return becomes_true
