"""What can be true of a supplier, by name: the `requires` of the data files of advice.

Pure: each circumstance is read off their newest snapshot.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

Snapshot = Mapping[str, Any]
"""The `data` of `success.health.updated`; `features`, `clients`, `forms`, `journeys`, `plan` are looked at."""

_NEARLY_FULL = 20
"""Clients of the free plan's 25."""

CIRCUMSTANCES: dict[str, Callable[[Snapshot], bool]] = {
    "no_clients": lambda snapshot: snapshot["clients"]["known"] == 0,
    "clients": lambda snapshot: snapshot["clients"]["known"] > 0,
    "quiet_clients": lambda snapshot: snapshot["clients"]["active"] < snapshot["clients"]["known"],
    "under_ten_clients": lambda snapshot: 0 < snapshot["clients"]["known"] < 10,  # noqa: PLR2004
    "clients_not_imported": lambda snapshot: "clients_imported" not in snapshot["features"],
    "no_forms": lambda snapshot: "forms_created" not in snapshot["features"],
    "forms_created": lambda snapshot: "forms_created" in snapshot["features"],
    "no_forms_sent": lambda snapshot: snapshot["forms"]["sent"] == 0,
    "forms_completed": lambda snapshot: snapshot["forms"]["completed"] > 0,
    "outstanding_forms": lambda snapshot: snapshot["forms"]["sent"] > snapshot["forms"]["completed"],
    "no_journeys": lambda snapshot: "journeys_created" not in snapshot["features"],
    "journeys_created": lambda snapshot: "journeys_created" in snapshot["features"],
    "active_journey": lambda snapshot: snapshot["journeys"]["active"] > 0,
    "no_active_journey": lambda snapshot: snapshot["journeys"]["active"] == 0,
    "unopened_emails": lambda snapshot: snapshot["journeys"]["sent"] > snapshot["journeys"]["opened"],
    "no_templates": lambda snapshot: "templates_used" not in snapshot["features"],
    "nearly_full_free_plan": lambda snapshot: (
        snapshot.get("plan") == "free" and snapshot["clients"]["known"] >= _NEARLY_FULL
    ),
    "paid_before": lambda snapshot: "payment.received" in snapshot.get("last_goals", {}),
    "never_paid": lambda snapshot: "payment.received" not in snapshot.get("last_goals", {}),
}


def hold(requires: Iterable[str], snapshot: Snapshot) -> bool:
    """Whether all of these are true of them."""
    return all(CIRCUMSTANCES[name](snapshot) for name in requires)


def check_names(requires: Iterable[str], file: str) -> None:
    """Raise ValueError, which names the file, for a name that nobody knows."""
    if unknown := set(requires) - CIRCUMSTANCES.keys():
        raise ValueError(f"{file}: `requires` names what nobody knows: {', '.join(sorted(unknown))}")
