"""The list of whom to call now, from the heaviest suppliers of the index."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from api.dashboard import words
from api.dashboard.today.priority import Priority, priority
from scoring.health.churn import explain
from store.dashboard import population as store
from store.dashboard import tasks

if TYPE_CHECKING:
    from datetime import datetime

    from psycopg import AsyncConnection

    from scoring.decisions.policy import Policy

PAGE = 100
MOST_PAGES = 5
"""How far down the index is read at most."""

Called = tuple[dict[str, Any], Priority]


async def call_list(
    conn: AsyncConnection, now: datetime, policy: Policy, wanted: int, owner: str | None = None
) -> list[Called]:
    """The `wanted` most urgent calls that are nobody's task yet, most urgent first; of `owner`'s suppliers only.

    The index orders by risk x value as last noted; reach only takes from that (it is at most 1). So once the last of
    the wanted is at least as urgent as the next supplier of the index could be, nobody further down can be more so.
    """
    found: list[Called] = []
    after = store.Place()
    for _ in range(MOST_PAGES):
        page = await (
            store.call_candidates(conn, after, PAGE)
            if owner is None
            else tasks.candidates_of_owner(conn, owner, after, PAGE)
        )
        for facts in await store.call_facts(conn, [row["id"] for row in page]):
            urgency = priority(facts, now, policy.hours)
            if urgency.against is None and not facts["tasks"]:
                found.append((facts, urgency))
        found.sort(key=lambda one: (-one[1].score, one[0]["id"]))
        if len(page) < PAGE:
            break
        after = store.Place(page[-1]["weight"], page[-1]["id"])
        if len(found) >= wanted and found[wanted - 1][1].score >= after.weight:
            break
    return found[:wanted]


def churn_reasons(snapshot: Mapping[str, Any] | None, names: words.Names) -> list[tuple[str, float]]:
    """What raises their churn probability, most first: each signal in words, and what it adds to the logit."""
    found = explain((snapshot or {}).get("churn_signals") or {})
    raising = [
        (names.signals.get(one.signal, words.phrase(one.signal)), one.value * one.weight) for one in found
    ]
    return [one for one in raising if one[1] > 0]


def snapshot_of(row: dict[str, Any]) -> dict[str, Any]:
    """The `data` of the newest health snapshot, as far as recommendations look at it; empty without one."""
    if not row.get("facts"):
        return {}
    facts: dict[str, Any] = row["facts"]
    return facts | {"level": row["level"], "score": row["score"], "breakdown": row["breakdown"]}
