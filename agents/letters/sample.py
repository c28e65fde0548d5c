"""A supplier of the kind emails are written for, and their call: for `success preview`, screenshots and tests."""

from __future__ import annotations

from dataclasses import replace
from uuid import NAMESPACE_URL, uuid5

from scoring.decisions.decide import MILESTONE_EVENTS, Row, SupplierFacts
from scoring.decisions.policy import Policy
from scoring.decisions.resolved import Health
from scoring.time import DAY, HOUR, MINUTE
from store.messages.delivery import Intervention, Supplier
from store.people.calls import Mail
from topics.time import format_time, parse_time

NOW = parse_time("2026-01-19T09:00:00Z")
_HERE_DAYS = 3
SUPPLIER_ID = str(uuid5(NAMESPACE_URL, "https://wedsync.example/sample-supplier"))


_FEATURES = {"zero_clients_imported": set[str](), "stuck_onboarding": {"forms_created"}}
_CLIENTS = {
    "zero_clients_imported": 0,
    "stuck_onboarding": 0,
    "ten_clients_reached": 10,
    "high_usage_free_tier": 21,
}


def sample_supplier(trigger: str = "low_client_adoption") -> Supplier:
    """Make a photographer two weeks after sign-up for whom `trigger` holds, with one form and a few clients."""
    last_login = NOW - 9 * DAY
    known = _CLIENTS.get(trigger, 5)
    health = Health(
        seq=12,
        level="at_risk",
        score=48,
        features=frozenset(_FEATURES.get(trigger, {"clients_imported", "forms_created"})),
        known_clients=known,
        forms_created=1,
        last_login=last_login,
        signed_up_at=NOW - 14 * DAY,
        plan="free",
    )
    return Supplier(
        facts=SupplierFacts(SUPPLIER_ID, "photographer@example.com", "Europe/London", health=health),
        first_name="Sarah",
        business_name="Golden Hour Weddings",
        vendor_type="photographer",
        locale="en-GB",
        calculated_at=NOW,
        snapshot={
            "features": sorted(health.features),
            "clients": {"known": known, "active": min(known, 2)},
            "forms": {"created": 1, "sent": 2, "completed": 1},
            "journeys": {"active": 0, "sent": 0, "opened": 0},
            "last_goals": {"form.completed": format_time(last_login + 2 * DAY + 3 * HOUR)},
            "breakdown": {"loginFrequency": 10.0},
        },
    )


def sample_states(trigger: str, locale: str | None) -> dict[str, Supplier]:
    """The same letter's reader at the edges, by what is special about them."""
    plain = replace(sample_supplier(trigger), locale=locale)
    nobody = replace(plain, first_name=None, business_name=None, vendor_type=None)
    alone = replace(plain, business_name=None)
    return {
        "as usual": plain,
        "nothing known of them": _counting(nobody, 0, None),
        "alone, one of everything": _counting(alone, 1, 1),
        "at the free plan's limits": _counting(plain, 25, 8),
        "1,200 clients, away for 36 days": _counting(plain, 1200, 36),
    }


def _counting(supplier: Supplier, number: int, away_days: int | None) -> Supplier:
    """A supplier of whom `number` is all there is to count, last seen so many days ago (None: never)."""
    last_login = None if away_days is None else NOW - away_days * DAY
    health = supplier.facts.health and replace(
        supplier.facts.health,
        known_clients=number,
        forms_created=number,
        last_login=last_login,
        features=frozenset({"clients_imported", "forms_created"} if number else ()),
    )
    snapshot = supplier.snapshot | {
        "features": sorted(health.features) if health else [],
        "clients": {"known": number, "active": number},
        "forms": {"created": number, "sent": number, "completed": number // 2},
        "journeys": {"active": number, "sent": number, "opened": number},
        "breakdown": {"loginFrequency": 30.0 if away_days is not None and away_days < _HERE_DAYS else 0.0},
        "last_goals": {},
    }
    return replace(supplier, facts=replace(supplier.facts, health=health), snapshot=snapshot)


def sample_call(template: str) -> Mail:
    """Make the queued email about a call for which `template` is written: their setup call, a day from now."""
    starts = NOW + DAY + 6 * HOUR
    return Mail(
        id=str(uuid5(NAMESPACE_URL, f"https://wedsync.example/sample/{template}")),
        supplier_id=SUPPLIER_ID,
        call_id=str(uuid5(NAMESPACE_URL, "https://wedsync.example/sample-call")),
        method="CANCEL" if template == "call_cancelled" else "REQUEST",
        sequence=0 if template == "call_invitation" else 1,
        starts_at=starts,
        ends_at=starts + 15 * MINUTE,
        expires_at=starts + 15 * MINUTE,
        attempts=0,
        interaction_type="onboarding_call",
        email="photographer@example.com",
        first_name="Sarah",
        timezone="America/New_York",
        heard_before=template != "call_invitation",
    )


def sample_intervention(template: str, policy: Policy, milestone: str | None = None) -> Intervention:
    """Make the row for which the policy would send `template`; KeyError if no trigger names it."""
    trigger = next((trigger for trigger in policy.triggers if trigger.template == template), None)
    if trigger is None:
        raise KeyError(template)
    cause, _, name = trigger.cause.partition(":")
    row = Row(
        id=str(uuid5(NAMESPACE_URL, f"https://wedsync.example/sample/{template}")),
        trigger=trigger.name,
        channel=trigger.channel,
        kind=trigger.kind,
        priority=trigger.priority,
        signal_at=NOW,
        due_at=NOW,
    )
    if cause == "milestone":
        reached = milestone or name
        row = replace(row, milestone=reached, cause_type=MILESTONE_EVENTS.get(reached))
    return Intervention(row, template, attempts=0, signal_id=None, occurrence=1)
