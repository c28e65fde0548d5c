"""Health: the newest snapshot of each supplier in columns, and the history of their changes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from store.queries import load
from store.rows import in_columns, json_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from psycopg import AsyncConnection

SQL = load("health")

# What a snapshot says in columns of its own; the rest of it is kept as `facts`.
_IN_COLUMNS = {
    "seq", "calculated_at", "score", "level", "breakdown", "last_login",
    "churn_probability", "next_change_at", "changes",
}  # fmt: skip
_AS_THEY_ARE = ("seq", "calculated_at", "score", "level", "last_login", "churn_probability", "next_change_at")
_METRICS = {
    "login_frequency": "loginFrequency",
    "feature_adoption": "featureAdoption",
    "client_activity": "clientActivity",
    "form_completion": "formCompletion",
    "journey_performance": "journeyPerformance",
}


async def save_snapshots(conn: AsyncConnection, newest: Mapping[str, dict[str, Any]]) -> None:
    """Store snapshots (`data` of `success.health.updated`) by supplier id; a newer stored `seq` stays.

    The suppliers must be locked. Messages that waited for them become due.
    """
    if not newest:
        return
    snapshots = list(newest.values())
    metrics = [data["metrics"] for data in snapshots]
    parameters = {
        "newest": max(data["calculated_at"] for data in snapshots),
        "supplier_id": list(newest),
        **in_columns(snapshots, _AS_THEY_ARE),
        # Numbers are of one type, which an array in binary asks for.
        **{column: [float(each[name]) for each in metrics] for column, name in _METRICS.items()},
        "breakdown": [json_text(data["breakdown"]) for data in snapshots],
        "facts": [
            json_text({key: value for key, value in data.items() if key not in _IN_COLUMNS})
            for data in snapshots
        ],
    }
    await conn.execute(SQL["save_snapshots"], parameters)
    await conn.execute(SQL["wake"], {"ids": list(newest)})


async def save_changes(conn: AsyncConnection, changes: Sequence[dict[str, Any]]) -> None:
    """Store changes (a snapshot's `changes`, each with its `supplier_id`) by supplier and seq, none of them twice."""
    if not changes:
        return
    parameters = {
        **in_columns(changes, ("id", "supplier_id", "seq", "at", "score", "level")),
        "causes": [json_text(change["causes"]) for change in changes],
    }
    await conn.execute(SQL["save_changes"], parameters)
