"""Trying a message again that failed, or of which nobody knows: somebody decided it, and everybody is told."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agents.acts.events import About, intervention_event
from store import outbox
from store.messages import interventions, mending

if TYPE_CHECKING:
    from psycopg import AsyncConnection

    from store.audit import Actor


async def retry(
    conn: AsyncConnection, actor: Actor, intervention_id: str, now_ms: int
) -> mending.Again | None:
    """Schedule a failed or unknown message again, audited and told; None if it is neither (any more).

    Nothing is promised: caps, consent, hours and whether it has expired are decided anew at sending.
    """
    again = await mending.schedule_again(conn, actor, intervention_id, now_ms)
    if again is None:
        return None
    about = About(
        supplier_id=again.supplier_id,
        intervention_id=again.id,
        trigger=again.trigger,
        channel=again.channel,
        template=again.template,
        signal_id=again.signal_id,
        status="scheduled",
    )
    await outbox.add(conn, [intervention_event(about, "scheduled", f"retried:{now_ms}", now_ms)])
    await interventions.wake_delivery(conn)
    return again
