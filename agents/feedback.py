"""What is said on the topics about feedback and consent: ids only, nothing personal."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID, uuid5

from agents.status_events import About, intervention_event
from scoring import consent
from store import consent as store
from store import outbox
from store.outbox import Event
from topics.catalog import ACTIVITY
from topics.encoding import SOURCE, encode_event

if TYPE_CHECKING:
    from collections.abc import Iterable

    from psycopg import AsyncConnection

    from scoring.consent import Consent, Wish, Word
    from store.feedback import Told


def feedback_event(told: Told) -> Event:
    """Build the event of feedback on a message; there is one of each kind a message, so its id follows from both."""
    about = About(
        supplier_id=told.supplier_id,
        intervention_id=told.intervention_id,
        trigger=told.trigger,
        channel=told.channel,
        template=told.template,
        signal_id=told.signal_id,
        status=told.status,
    )
    return intervention_event(about, told.kind, told.kind, told.at)


def consent_event(supplier_id: str, word: Word) -> Event:
    """Build the activity event of an opt-out or opt-in, so that scoring and every reader of the log know it too."""
    kind = "communication.opted_out" if word.opt_out else "communication.opted_in"
    event_id = str(uuid5(UUID(supplier_id), f"{kind}:{word.scope}:{word.at}"))
    value = encode_event(kind, event_id, SOURCE, supplier_id, word.at, {"scope": word.scope})
    return Event(ACTIVITY, supplier_id, value)


async def tell(conn: AsyncConnection, feedback: Iterable[Told]) -> None:
    """Put feedback into the outbox."""
    await outbox.add(conn, [feedback_event(each) for each in feedback])


async def change_consent(conn: AsyncConnection, supplier_id: str, wish: Wish, now_ms: int) -> Consent | None:
    """Change what a supplier lets us send, and put what is to be told into the outbox; None if there is no such.

    Nothing is sent on old consent once the transaction has committed: delivery decides under the same lock.
    """
    stored = await store.lock(conn, supplier_id)
    if stored is None:
        return None
    changed, words = consent.apply(stored, wish, now_ms)
    await store.save(conn, supplier_id, changed)
    await outbox.add(conn, [consent_event(supplier_id, word) for word in words])
    return changed
