"""Compare the machine's answers with the naive ones: equal, floats within 1e-9."""

from __future__ import annotations

import math
from typing import Any

TOLERANCE = 1.5e-9  # both round to 9 decimals; a tie may fall either way
UNCOMPARED = frozenset(
    {"churn_probability", "churn_signals", "cancelled_at", "config_version", "numbers", "times"}
)  # from data files, which the naive implementation does not read


def difference(machine: Any, naive: Any, where: str = "") -> str | None:
    """The first difference with its place, or None."""
    if isinstance(machine, dict) and isinstance(naive, dict):
        if machine.keys() - UNCOMPARED != naive.keys() - UNCOMPARED:
            return f"{where}: keys {sorted(machine)} and {sorted(naive)}"
        pairs = [(f"{where}.{key}", machine[key], naive[key]) for key in naive if key not in UNCOMPARED]
    elif isinstance(machine, list | tuple) and isinstance(naive, list | tuple):
        if len(machine) != len(naive):
            return f"{where}: {len(machine)} and {len(naive)} entries: {machine} and {naive}"
        pairs = [(f"{where}[{i}]", a, b) for i, (a, b) in enumerate(zip(machine, naive, strict=True))]
    elif isinstance(machine, float) and isinstance(naive, int | float):
        return (
            None
            if math.isclose(machine, naive, rel_tol=0, abs_tol=TOLERANCE)
            else f"{where}: {machine} and {naive}"
        )
    else:
        same = type(machine) is type(naive) and machine == naive
        return None if same else f"{where}: {machine!r} and {naive!r}"
    found = (difference(a, b, place) for place, a, b in pairs)
    return next((text for text in found if text is not None), None)


def plain(signals: list[Any]) -> list[dict[str, Any]]:
    """Signals of either implementation as dicts."""
    return [{"type": s.type, "id": s.id, "at": s.at, "data": s.data} for s in signals]
