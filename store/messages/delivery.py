"""What delivery reads and writes: claims under a supplier's lock, decisions, outcomes, claims a crash left."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple
from zlib import crc32

from psycopg import errors
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from scoring.advice.recommend import worth_saying
from scoring.decisions.decide import Row, SupplierFacts
from scoring.decisions.resolved import Health
from store.messages.feedback import suppressions
from store.queries import load
from store.rows import as_json
from store.times import to_ms, to_optional_ms, to_optional_time, to_time

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from psycopg import AsyncConnection

    from runtime.keys import Keys

SQL = load("delivery")

OWNER_NAMESPACE = crc32(b"success_delivery") & 0x7FFFFFFF
"""First key of the advisory locks by which processes see which of them live."""


class Intervention(NamedTuple):
    """A row of `success_interventions`: what a decision needs (`row`), and what sending and telling need."""

    row: Row
    template: str | None
    attempts: int
    """How often it has been given to the mail server."""
    signal_id: str | None
    occurrence: int
    """Of a condition: how often it has been met, this time included."""
    requested: bool = False
    """An agent asked for it, no signal."""
    traceparent: str | None = None
    """The context in which the row was written, where that was traced."""
    opening: str | None = None
    """First lines that the agent who asked for it wrote themselves."""


@dataclass(frozen=True, slots=True)
class Supplier:
    """A supplier for a decision (`facts`) and for a letter; times are int ms, `counts` from their snapshot."""

    facts: SupplierFacts
    first_name: str | None
    business_name: str | None
    vendor_type: str | None
    locale: str | None
    calculated_at: int | None
    snapshot: dict[str, Any]
    """`features`, `clients`, `forms`, `journeys`, `metrics`, `plan` …, as in `success.health.updated`; empty
    before the first snapshot."""


class Due(NamedTuple):
    """What is ready of one supplier, and what it is decided on."""

    supplier: Supplier
    rows: list[Intervention]
    history: list[Row]
    """Their rows that count towards caps."""


@dataclass(frozen=True, slots=True)
class Change:
    """What was decided of one scheduled row; times in ms."""

    id: str
    status: str
    metadata: dict[str, Any]
    reason: str | None = None
    not_before: int | None = None
    claimed_at: int | None = None
    sent_at: int | None = None
    last_error: str | None = None
    experiment: str | None = None
    variant: str | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a claimed email; times in ms."""

    status: str
    sent_at: int | None = None
    not_before: int | None = None
    error: str | None = None
    reason: str | None = None
    """Of one that is suppressed after all."""
    refused: bool = False
    """The mail server refused it for good, in the words of `error`."""


class Noted(NamedTuple):
    """That an outcome has been noted."""

    went_on: bool
    """They have done something since it was sent: it may be what the email was for."""


async def lock_supplier(
    conn: AsyncConnection, now_ms: int, *, newest: bool = False
) -> tuple[str, str | None] | None:
    """Lock the next supplier with something ready, until the transaction ends; None if there is none.

    Returns their id and address. `newest`: begin with what became due last.
    """
    query = SQL["lock_newest"] if newest else SQL["lock_oldest"]
    found = await (await conn.execute(query, {"now": to_time(now_ms)})).fetchone()
    return (found[0], found[1]) if found else None


async def read_due(
    conn: AsyncConnection, supplier_id: str, email: str | None, now_ms: int, span_ms: int, keys: Keys
) -> Due:
    """Read what a decision about a locked supplier needs, in one round trip if `conn` is in pipeline mode.

    `email`: theirs. `span_ms`: how long before now, and before what is due, a message still counts. `keys`: the setting
    `secret_key`, under which suppressed addresses are remembered.
    """
    parameters = {"supplier": supplier_id, "now": to_time(now_ms), "span": span_ms}
    async with (
        conn.cursor(row_factory=dict_row) as who,
        conn.cursor(row_factory=dict_row) as ready,
        conn.cursor(row_factory=dict_row) as counted,
    ):
        await who.execute(SQL["supplier"], parameters)
        await ready.execute(SQL["ready_rows"], parameters)
        await counted.execute(SQL["counted_rows"], parameters)
        listed = await suppressions(conn, email, keys) if email else {}
        found = await who.fetchone()
        if found is None:
            raise LookupError(f"supplier {supplier_id} is gone, although locked")
        return Due(
            supplier_of(found, now_ms, listed),
            [intervention_of(row) for row in await ready.fetchall()],
            [counted_row(row) for row in await counted.fetchall()],
        )


async def apply_decisions(conn: AsyncConnection, changes: Sequence[Change]) -> None:
    """Write decisions to rows that are still scheduled."""
    if changes:
        rows = [
            {
                "id": change.id,
                "status": change.status,
                "reason": change.reason,
                "not_before": to_optional_time(change.not_before),
                "claimed_at": to_optional_time(change.claimed_at),
                "sent_at": to_optional_time(change.sent_at),
                "last_error": change.last_error,
                "experiment": change.experiment,
                "variant": change.variant,
                "metadata": change.metadata,
            }
            for change in changes
        ]
        await conn.execute(SQL["apply_decisions"], {"rows": as_json(rows)})


async def open_call(conn: AsyncConnection, row_id: str, supplier_id: str, notes: str, now_ms: int) -> None:
    """Put the task of a support call before the agents, once a row."""
    parameters = {"id": row_id, "supplier": supplier_id, "notes": notes, "now": to_time(now_ms)}
    await conn.execute(SQL["open_call"], parameters)


async def note_outcome(
    conn: AsyncConnection, row_id: str, claim: int, outcome: Outcome, metadata: dict[str, Any]
) -> Noted | None:
    """Note what became of an email that this process claimed; None if the row has gone."""
    parameters = {
        "id": row_id,
        "claim": claim,
        "status": outcome.status,
        "sent_at": to_optional_time(outcome.sent_at),
        "not_before": to_optional_time(outcome.not_before),
        "last_error": outcome.error,
        "reason": outcome.reason,
        "metadata": Jsonb(metadata),
    }
    found = await (await conn.execute(SQL["note_outcome"], parameters)).fetchone()
    return Noted(found[0]) if found else None


async def keep_words(conn: AsyncConnection, row_id: str, subject: str, body: str, now_ms: int) -> None:
    """Keep what an email said as it was handed over; nothing if its row has gone."""
    parameters = {"id": row_id, "at": to_time(now_ms), "subject": subject, "body": body}
    await conn.execute(SQL["keep_words"], parameters)


async def take_back(conn: AsyncConnection, row_id: str, supplier_id: str, by: str) -> Intervention | None:
    """Suppress, as `held`, what agent `by` asked for; None if it has left, was decided, or nobody asked for it.

    The supplier must be locked.
    """
    async with conn.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(SQL["take_back"], {"id": row_id, "supplier": supplier_id, "by": by})
        found = await cursor.fetchone()
    return intervention_of(found) if found else None


async def celebrate(conn: AsyncConnection, supplier_id: str, milestone: str, now_ms: int) -> None:
    """Note that a milestone's email has been sent."""
    parameters = {"supplier": supplier_id, "milestone": milestone, "now": to_time(now_ms)}
    await conn.execute(SQL["celebrate"], parameters)


async def abandoned(conn: AsyncConnection, owner: int, in_flight: Collection[str]) -> list[tuple[str, str]]:
    """Find claims that nobody works on any more: (row id, supplier id). `in_flight`: those of this process."""
    parameters = {"owner": owner, "in_flight": list(in_flight), "namespace": OWNER_NAMESPACE}
    return [(row[0], row[1]) for row in await (await conn.execute(SQL["abandoned"], parameters)).fetchall()]


async def give_up(conn: AsyncConnection, row_id: str, error: str) -> Intervention | None:
    """Make an abandoned claim `unknown`; None if it is no longer being sent."""
    async with conn.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(SQL["give_up"], {"id": row_id, "last_error": error})
        found = await cursor.fetchone()
    return intervention_of(found) if found else None


async def fail_due(conn: AsyncConnection, supplier_id: str, now_ms: int, error: str) -> list[Intervention]:
    """Fail whatever is due of a supplier, without a look at what it is."""
    parameters = {"supplier": supplier_id, "now": to_time(now_ms), "last_error": error}
    async with conn.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(SQL["fail_due"], parameters)
        return [intervention_of(row) for row in await cursor.fetchall()]


async def hold_owner_lock(conn: AsyncConnection, owner: int) -> bool:
    """Take the lock that says process `owner` lives, for as long as the connection does; False if it is taken."""
    found = await conn.execute(SQL["hold_owner_lock"], {"namespace": OWNER_NAMESPACE, "owner": owner})
    row = await found.fetchone()
    return bool(row and row[0])


NOTES_LINE = -1
"""Of notes to agents, for `publish_alone`."""


async def publish_alone(conn: AsyncConnection, line: int = 0) -> bool:
    """Keep other processes from publishing as long as `conn` (in autocommit) lives; False if one is at it for long.

    `line`: 0, what goes to Kafka; each line has a publisher of its own.
    """
    await conn.execute(SQL["publish_alone_limits"])
    try:
        await conn.execute(SQL["publish_alone"], {"namespace": OWNER_NAMESPACE, "line": line})
    except errors.LockNotAvailable:
        return False
    return True


async def next_due_ms(conn: AsyncConnection) -> int | None:
    """When the next scheduled row wants to be looked at."""
    row = await (await conn.execute(SQL["next_due"])).fetchone()
    return to_optional_ms(row[0]) if row else None


def counted_row(found: dict[str, Any]) -> Row:
    """A row of `counted_rows`: what caps and spacing count."""
    row = intervention_of(found).row
    return replace(row, status=found["status"], claimed_at=to_optional_ms(found["claimed_at"]))


def intervention_of(found: dict[str, Any]) -> Intervention:
    """A row as `ready_rows` reads it."""
    signal = found["metadata"].get("signal") or {}
    due_at = to_ms(found["due_at"])
    row = Row(
        id=found["id"],
        trigger=found["trigger_condition"],
        channel=found["intervention_type"],
        kind=found["kind"],
        priority=found["priority"],
        signal_at=due_at if found["signal_at"] is None else to_ms(found["signal_at"]),
        due_at=due_at,
        seq=found["seq"],
        milestone=signal.get("milestone"),
        cause_type=signal.get("cause_type"),
    )
    occurrence = signal.get("occurrence") or 1
    is_requested = "by" in signal
    return Intervention(
        row,
        found["template_used"],
        found["attempts"],
        found["signal_id"],
        occurrence,
        is_requested,
        found["metadata"].get("traceparent"),
        found["metadata"].get("opening"),
    )


async def read_supplier(conn: AsyncConnection, supplier_id: str, now_ms: int, keys: Keys) -> Supplier | None:
    """What is known of a supplier, as a letter to them would use it; None if nobody is known by that id."""
    async with conn.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(SQL["supplier"], {"supplier": supplier_id})
        found = await cursor.fetchone()
    if found is None:
        return None
    listed = await suppressions(conn, found["email"], keys) if found["email"] else {}
    return supplier_of(found, now_ms, listed)


def supplier_of(found: dict[str, Any], now_ms: int, listed: dict[str, int]) -> Supplier:
    """A row of `supplier` as of `now_ms`; `listed`: why and since when (ms) their address is suppressed."""
    snapshot = found["facts"] or {}
    paused_until, held_until = to_optional_ms(found["paused_until"]), to_optional_ms(found["held_until"])
    facts = SupplierFacts(
        supplier_id=found["id"],
        email=found["email"],
        zone=found["timezone"],
        email_opt_out=found["email_opt_out"] or "opted_out" in listed,
        all_opt_out=found["all_opt_out"],
        bounced="bounced" in listed,
        complained="complained" in listed,
        held=held_until is not None and now_ms < held_until,
        paused=paused_until is not None and now_ms < paused_until,
        health=None if found["seq"] is None else _health(found, snapshot | {"breakdown": found["breakdown"]}),
    )
    return Supplier(
        facts=facts,
        first_name=found["first_name"],
        business_name=found["business_name"],
        vendor_type=found["vendor_type"],
        locale=found["locale"],
        calculated_at=to_optional_ms(found["calculated_at"]),
        snapshot=snapshot and snapshot | {"breakdown": found["breakdown"]},
    )


def _health(found: dict[str, Any], snapshot: dict[str, Any]) -> Health:
    signed_up_at = snapshot.get("signed_up_at")
    return Health(
        seq=found["seq"],
        level=found["risk_level"],
        score=found["health_score"],
        cancelled=bool(snapshot.get("cancelled")),
        features=frozenset(snapshot.get("features", ())),
        known_clients=snapshot.get("clients", {}).get("known", 0),
        forms_created=snapshot.get("forms", {}).get("created", 0),
        last_login=to_optional_ms(found["last_login"]),
        signed_up_at=to_ms(datetime.fromisoformat(signed_up_at)) if signed_up_at else None,
        plan=snapshot.get("plan"),
        numbers=snapshot.get("numbers", {}),
        times={name: to_ms(datetime.fromisoformat(at)) for name, at in snapshot.get("times", {}).items()},
        worth=partial(worth_saying, snapshot) if "clients" in snapshot else None,
    )
