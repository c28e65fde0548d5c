"""Health: the newest snapshot of each supplier in columns, and the history of their changes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from store.queries import load
from store.rows import as_json

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from psycopg import AsyncConnection

SQL = load("health")

# What a snapshot says in columns of its own; the rest of it is kept as `facts`.
_IN_COLUMNS = {
    "seq", "calculated_at", "score", "level", "breakdown", "last_login",
    "churn_probability", "next_change_at", "changes",
}  # fmt: skip


async def save_snapshots(conn: AsyncConnection, newest: Mapping[str, dict[str, Any]]) -> None:
    """Store snapshots (`data` of `success.health.updated`) by supplier id; a newer stored `seq` stays.

    Messages that waited for them become due.
    """
    if not newest:
        return
    rows = [_columns(supplier_id, data) for supplier_id, data in newest.items()]
    reached = max(data["calculated_at"] for data in newest.values())
    await conn.execute(SQL["save_snapshots"], {"rows": as_json(rows), "newest": reached})
    await conn.execute(SQL["wake"], {"ids": list(newest)})


async def save_changes(conn: AsyncConnection, changes: Sequence[dict[str, Any]]) -> None:
    """Store changes (a snapshot's `changes`, each with its `supplier_id`) by their id, none of them twice."""
    if changes:
        await conn.execute(SQL["save_changes"], {"rows": as_json(changes)})


def _columns(supplier_id: str, data: dict[str, Any]) -> dict[str, Any]:
    metrics = data["metrics"]
    return {
        "supplier_id": supplier_id,
        "seq": data["seq"],
        "calculated_at": data["calculated_at"],
        "score": data["score"],
        "level": data["level"],
        "breakdown": data["breakdown"],
        "last_login": data["last_login"],
        "login_frequency": metrics["loginFrequency"],
        "feature_adoption": metrics["featureAdoption"],
        "client_activity": metrics["clientActivity"],
        "form_completion": metrics["formCompletion"],
        "journey_performance": metrics["journeyPerformance"],
        "churn_probability": data["churn_probability"],
        "next_change_at": data["next_change_at"],
        "facts": {key: value for key, value in data.items() if key not in _IN_COLUMNS},
    }
