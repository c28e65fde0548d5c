"""What the rules emit: risk changes, milestones and conditions met (contract section 6)."""

from __future__ import annotations

from typing import Any

import msgspec

RISK_CHANGED = "success.risk.changed"
MILESTONE_ACHIEVED = "success.milestone.achieved"
CONDITION_MET = "success.condition.met"
HEALTH_UPDATED = "success.health.updated"


class Signal(msgspec.Struct):
    """One event to publish. `at`: the instant it stands for, ms; `data` is ready for JSON."""

    type: str
    id: str
    at: int
    data: dict[str, Any]
