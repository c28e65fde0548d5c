"""The rules of contract section 7 once more, slowly and by other means: what `decide` is compared with.

One row against the full list of what was sent before; sets of minutes and plain loops instead of the checks' order.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from scoring.decisions.decide import Row, SupplierFacts
from scoring.zones import zone_named

H = 3_600_000
CELEBRATIONS = {
    "first_form_created",
    "ten_clients_reached",
    "first_automation_live",
    "first_payment_received",
}
POSITIVE = CELEBRATIONS | {"signed_up", "high_usage_free_tier"}
A_WEEK = {
    "signed_up": 1,
    "no_login_7_days": 1,
    "zero_clients_imported": 2,
    "stuck_onboarding": 1,
    "low_client_adoption": 1,
    "high_usage_free_tier": 1,
    "became_at_risk": 1,
    "became_critical": 1,
}
OWN = {
    "first_form_created": {"form.created", "milestone.reported"},
    "ten_clients_reached": {"client.imported", "milestone.reported"},
    "first_automation_live": {"journey.activated", "milestone.reported"},
    "first_payment_received": set[str](),
}


def daytime(now: int, zone: str | None) -> bool:
    """Whether it is between eight and twenty where they live."""
    local = datetime.fromtimestamp(now / 1000, UTC).astimezone(zone_named(zone or "UTC"))
    return local.hour in range(8, 20)


def first_daytime(now: int, zone: str | None) -> int:
    """The first whole minute of daytime at or after `now`, or `now` itself, by looking at each."""
    if daytime(now, zone):
        return now
    minute = now - now % 60_000 + 60_000
    while not daytime(minute, zone):
        minute += 60_000
    return minute


def expected(  # noqa: PLR0911 - one return a rule
    row: Row, who: SupplierFacts, past: Sequence[tuple[Row, int]], now: int
) -> str:
    """What must become of a row: `send`, `wait`, or a reason. `past`: what was sent, and when it was claimed."""
    health = who.health
    if who.all_opt_out or (row.channel == "email" and who.email_opt_out):
        return "opted_out"
    if now >= row.due_at + 72 * H:
        return "no_address" if row.channel == "email" and not who.email else "expired"
    if health is None or health.seq < row.seq:
        return "wait"
    if health.cancelled:
        return "cancelled_supplier"
    if row.trigger not in POSITIVE and health.level == "healthy":
        return "healthy"
    if not _still_true(row, who, now):
        return "resolved"
    return _capped(row, past, now) or _timing(row, who, past, now)


def _still_true(row: Row, who: SupplierFacts, now: int) -> bool:
    health = who.health
    assert health is not None
    if row.trigger == "no_login_7_days":
        since = health.signed_up_at if health.last_login is None else health.last_login
        return since is None or since + 7 * 24 * H <= now
    waits = {"zero_clients_imported": 72, "stuck_onboarding": 168, "low_client_adoption": 336}
    signed_up = health.signed_up_at
    if row.trigger in waits and signed_up is not None and signed_up + waits[row.trigger] * H > now:
        return False
    return {
        "signed_up": signed_up is not None,
        "zero_clients_imported": "clients_imported" not in health.features,
        "stuck_onboarding": len(health.features) in {0, 1},
        "low_client_adoption": 0 < health.known_clients < 10,
        "high_usage_free_tier": health.plan == "free"
        and not (health.known_clients < 20 and health.forms_created < 4),
        "became_at_risk": health.level in {"at_risk", "critical"},
        "became_critical": health.level == "critical",
    }.get(row.trigger, True)


def _capped(row: Row, past: Sequence[tuple[Row, int]], now: int) -> str | None:
    if row.trigger == "became_at_risk" and any(
        other.channel == "email" and other.trigger not in POSITIVE | {"became_at_risk"} and now < at + 72 * H
        for other, at in past
    ):
        return "superseded"
    same = [other for other, _ in past if other.trigger == row.trigger]
    mine = [other for other in same if row.signal_at - 168 * H < other.signal_at <= row.signal_at]
    if len(mine) >= A_WEEK.get(row.trigger, 10**6):
        return "trigger_cap"
    if row.trigger in CELEBRATIONS and any(o.trigger in CELEBRATIONS and now < at + 24 * H for o, at in past):
        return "trigger_cap"
    week = [other for other, at in past if now < at + 168 * H]
    if len(week) > 2 or (row.trigger in POSITIVE and sum(o.trigger in POSITIVE for o in week) > 1):
        return "weekly_cap"
    return None


def _timing(row: Row, who: SupplierFacts, past: Sequence[tuple[Row, int]], now: int) -> str:
    if row.channel != "email":
        return "send"
    if not who.email:
        return "wait"
    celebrates = row.trigger in CELEBRATIONS
    if not celebrates and any(
        o.channel == "email" and o.trigger not in CELEBRATIONS and now < at + 20 * H for o, at in past
    ):
        return "wait"
    at_once = celebrates and now < row.signal_at + H and row.cause_type in OWN[row.trigger]
    return "send" if at_once or daytime(now, who.zone) else "wait"
