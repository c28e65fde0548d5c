"""Feedback on messages: hits on their links, bounces and complaints, conversions, and addresses not to write to."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from psycopg.rows import dict_row

from scoring.decisions.feedback import (
    LONGEST_CODE,
    Hit,
    Meaning,
    Rules,
    bounce_meaning,
    is_burst,
    judge,
    without_addresses,
)
from store.queries import load
from store.rows import as_json
from store.times import to_ms, to_optional_ms, to_time
from topics.address import canonical

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from psycopg import AsyncConnection

    from runtime.keys import Keys
    from scoring.decisions.feedback import Judgement
    from scoring.decisions.policy import Feedback, Policy

SQL = load("feedback")

MOST_HITS = 500
"""Hits kept of one message."""
LONGEST_TEXT = 500
"""Characters kept of a User-Agent or of a mail server's words."""

Kind = Literal["opened", "clicked", "converted", "unsubscribed", "bounced", "complained"]
Suppression = Literal["bounced", "complained"]


class Told(NamedTuple):
    """Feedback on a message, as `success.interventions` tells it."""

    supplier_id: str
    intervention_id: str
    trigger: str
    channel: str
    template: str | None
    status: str
    signal_id: str | None
    at: int
    kind: Kind


@dataclass(frozen=True, slots=True)
class Report:
    """What a mail server or provider said of a message: `id` makes it count once, `at` in ms.

    `row_id` or `address` says which message; with both, the address is the one it went to.
    """

    id: str
    kind: Literal["bounced", "complained", "delivered"]
    at: int
    row_id: str | None = None
    """What our Message-ID is made of: the id of an intervention or of an email about a call."""
    address: str | None = None
    meaning: Meaning | None = None
    """Of `bounced` only."""
    code: str | None = None
    diagnostic: str | None = None


@dataclass(frozen=True, slots=True)
class Recorded:
    """What a report led to."""

    supplier_id: str | None
    addresses: list[bytes]
    """Hashes of the address that it is about (`address_hashes`); none if that is not known."""
    told: Told | None
    suppressed: Suppression | None


def told(found: Sequence[Any], kind: Kind) -> Told:
    """Read the columns that the queries return of a message with feedback."""
    supplier_id, intervention_id, trigger, channel, template, status, signal_id, at = found
    return Told(supplier_id, intervention_id, trigger, channel, template, status, signal_id, to_ms(at), kind)


# addresses -------------------------------------------------------------------------------------------


def address_hash(address: str, keys: Keys) -> bytes:
    """HMAC-SHA-256 of an email address: without the key nobody can tell whose it was."""
    return keys.digest(_canonical(address))


def address_hashes(address: str, keys: Keys) -> list[bytes]:
    """The same under every key in force, the current one's first."""
    return keys.digests(_canonical(address))


def _canonical(address: str) -> bytes:
    return b"address\0" + canonical(address).encode()


async def suppressions(conn: AsyncConnection, address: str, keys: Keys) -> dict[str, int]:
    """Why an address must not be written to: `bounced`, `complained`, `opted_out`, and since when in ms."""
    found = await conn.execute(SQL["suppressions"], {"address_hashes": address_hashes(address, keys)})
    return {reason: to_ms(since) for reason, since in await found.fetchall()}


# hits ------------------------------------------------------------------------------------------------


async def note_hit(
    conn: AsyncConnection,
    supplier_id: str,
    intervention_id: str,
    hit: Hit,
    network_hash: bytes | None,
    rules: Rules,
) -> Judgement | None:
    """Keep a hit, judge it, and count people's first open and click; None if the message has gone."""
    parameters: dict[str, Any] = {"id": intervention_id, "supplier": supplier_id}
    found = await (await conn.execute(SQL["lock_message"], parameters)).fetchone()
    if found is None:
        return None
    since = to_time(hit.at - rules.burst.window_ms)
    rows = await (await conn.execute(SQL["recent_hits"], {**parameters, "since": since})).fetchall()
    recent = {
        row_id: Hit(kind, to_ms(at), agent, method, link) for row_id, kind, at, agent, method, link in rows
    }
    judgement = judge(hit, to_optional_ms(found[0]), list(recent.values()), rules)
    await conn.execute(
        SQL["add_hit"],
        {
            **parameters,
            "kind": hit.kind,
            "link": hit.link,
            "at": to_time(hit.at),
            "method": hit.method,
            "user_agent": hit.user_agent.replace("\x00", "")[:LONGEST_TEXT],
            "address_hash": network_hash,
            "classification": judgement.classification,
            "why": judgement.why,
            "most": MOST_HITS,
        },
    )
    if is_burst([hit, *recent.values()], rules.burst):
        await conn.execute(SQL["make_burst"], {"hits": list(recent)})
    await _count_people(conn, intervention_id, hit.at)
    return judgement


async def _count_people(conn: AsyncConnection, intervention_id: str, at_ms: int) -> None:
    """Set the first human open and click from the hits, and queue what is new to be told."""
    changed = await (await conn.execute(SQL["count_people"], {"id": intervention_id})).fetchone()
    if changed is None:
        return
    now_known = [kind for kind, at in zip(("opened", "clicked"), changed, strict=True) if at is not None]
    parameters = {"id": intervention_id, "kinds": now_known, "new": now_known, "at": to_time(at_ms)}
    await conn.execute(SQL["await_telling"], parameters)


async def settle(conn: AsyncConnection, until_ms: int) -> list[Told]:
    """Take the opens and clicks from the queue that were counted at or before `until_ms`: they stand."""
    rows = await (await conn.execute(SQL["settle"], {"until": to_time(until_ms)})).fetchall()
    return [told(columns, kind) for *columns, kind in rows]


# conversions -----------------------------------------------------------------------------------------


async def convert(conn: AsyncConnection, supplier_ids: Collection[str], policy: Policy) -> list[Told]:
    """Note which messages to these suppliers have reached a goal, by the stored snapshots; each once."""
    return await _convert(conn, dict.fromkeys(supplier_ids, ("-infinity", "infinity")), policy)


async def convert_new(
    conn: AsyncConnection, newest: Mapping[str, Mapping[str, str]], policy: Policy
) -> list[Told]:
    """The same after their snapshots were stored, whose `last_goals` (event type: time) `newest` has by supplier id."""
    counted = {goal for trigger in policy.triggers for goal in trigger.goals}
    spans = {}
    for supplier_id, goals in newest.items():
        # All are of one format: their order is that of their texts.
        if times := [at for kind, at in goals.items() if kind in counted]:
            spans[supplier_id] = min(times), max(times)
    return await _convert(conn, spans, policy) if spans else []


async def _convert(conn: AsyncConnection, spans: Mapping[str, tuple[str, str]], policy: Policy) -> list[Told]:
    goals = [{"trigger": trigger.name, "goal": goal} for trigger in policy.triggers for goal in trigger.goals]
    parameters = {
        "suppliers": list(spans),
        "since": [since for since, _ in spans.values()],
        "until": [until for _, until in spans.values()],
        "goals": as_json(goals),
        "attribution": timedelta(milliseconds=policy.feedback.attribution_ms),
    }
    rows = await (await conn.execute(SQL["convert"], parameters)).fetchall()
    return [told(row, "converted") for row in rows]


# bounces and complaints ------------------------------------------------------------------------------


async def record_report(
    conn: AsyncConnection, report: Report, keys: Keys, policy: Feedback
) -> Recorded | None:
    """Store a report and suppress the address where it says so; None if it was stored before.

    A hard bounce suppresses at once, soft ones after `policy.soft_bounces`, a complaint at once. `keys` is the
    setting `secret_key`. The caller tells `told`, and opts out whoever complained.
    """
    intervention_id, call_mail_id, supplier_id, hashes = await _message_of(conn, report, keys)
    known = supplier_id is not None
    parameters = {
        "id": report.id,
        "at": to_time(report.at),
        "kind": report.kind,
        "bounce": report.meaning and ("hard" if report.meaning == "hard" else "soft"),
        "supplier": supplier_id,
        "intervention": intervention_id,
        "call_mail": call_mail_id,
        "address_hash": hashes[0] if hashes else None,
        "code": report.code,
        # The server's words often repeat the address: it must go with its supplier, and is in no log.
        "diagnostic": without_addresses(report.diagnostic or "")[:LONGEST_TEXT] if known else None,
        "about_us": report.meaning == "about_us",
    }
    if await (await conn.execute(SQL["add_report"], parameters)).fetchone() is None:
        return None
    suppressed = await _suppress(conn, report, hashes, supplier_id, policy) if hashes else None
    return Recorded(supplier_id, hashes, await _mark(conn, report, intervention_id), suppressed)


async def record_bounce(
    conn: AsyncConnection,
    *,
    report_id: str,
    at_ms: int,
    row_id: str,
    address: str,
    said: str,
    keys: Keys,
    policy: Feedback,
) -> Recorded | None:
    """Store that a mail server refused a message for good in the words `said` ("550 5.1.1 …"), as a bounce."""
    report = Report(
        id=report_id,
        kind="bounced",
        at=at_ms,
        row_id=row_id,
        address=address,
        meaning=bounce_meaning(None, None, said, Rules.load()),
        code=said.partition(" ")[0][:LONGEST_CODE],
        diagnostic=said,
    )
    return await record_report(conn, report, keys, policy)


async def _message_of(
    conn: AsyncConnection, report: Report, keys: Keys
) -> tuple[str | None, str | None, str | None, list[bytes]]:
    """Which message, whose, and the hashes of the address it went to, as far as they are known.

    The message is an intervention, by the first id, or an email about a call, by the second.
    """
    given = address_hashes(report.address, keys) if report.address else []
    found = None
    if report.row_id:
        found = await (await conn.execute(SQL["message_of_id"], {"id": report.row_id})).fetchone()
    if found is None and report.address:
        parameters = {"addresses": _spellings(report.address)}
        found = await (await conn.execute(SQL["last_message_to"], parameters)).fetchone()
    if found is None:
        return None, None, None, given
    intervention_id, call_mail_id, supplier_id, sent_to, email = found
    return intervention_id, call_mail_id, supplier_id, given or hashes_of(sent_to, email, keys)


def _spellings(address: str) -> list[str]:
    """How a profile may spell an address: as it was given, and with the domain as DNS knows it."""
    return sorted({address.strip().lower(), canonical(address).lower()})


def hashes_of(sent_to: str | None, email: str | None, keys: Keys) -> list[bytes]:
    """The hashes of the address that a message went to, which is noted as `sent_to` (hex), maybe under an earlier key.

    `email`: the supplier's address now; where it is the same one, it is known under every key.
    """
    now = address_hashes(email, keys) if email else []
    then = bytes.fromhex(sent_to) if sent_to else None
    return now if then is None or then in now else [then]


async def _suppress(
    conn: AsyncConnection, report: Report, hashes: list[bytes], supplier_id: str | None, policy: Feedback
) -> Suppression | None:
    if report.kind == "delivered":
        return None
    if report.meaning in {"soft", "about_us"}:
        parameters = {
            "address_hashes": hashes,
            "address_hexes": [each.hex() for each in hashes],
            "supplier": supplier_id,
            "since": to_time(report.at - policy.soft_window_ms),
            "arrived": to_time(report.at - policy.arrived_after_ms),
        }
        found = await (await conn.execute(SQL["soft_bounces"], parameters)).fetchone()
        if found is None or found[0] < policy.soft_bounces:
            return None
    await conn.execute(
        SQL["suppress_address"],
        {"address_hash": hashes[0], "reason": report.kind, "since": to_time(report.at)},
    )
    return report.kind


async def _mark(conn: AsyncConnection, report: Report, intervention_id: str | None) -> Told | None:
    if intervention_id is None or report.kind == "delivered":
        return None
    query = SQL["mark_bounced"] if report.kind == "bounced" else SQL["mark_complained"]
    found = await (await conn.execute(query, {"id": intervention_id, "at": to_time(report.at)})).fetchone()
    return told(found, report.kind) if found else None


# summary ---------------------------------------------------------------------------------------------


async def by_template(conn: AsyncConnection) -> list[dict[str, Any]]:
    """What became of each template's messages, most sent first: counts by the names of the query's columns."""
    async with conn.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(SQL["by_template"])
        return await cursor.fetchall()
