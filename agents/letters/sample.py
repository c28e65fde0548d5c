"""A supplier of the kind emails are written for, and their call: for `success preview`, screenshots and tests."""

from __future__ import annotations

from dataclasses import replace
from uuid import NAMESPACE_URL, uuid5

from agents.letters.locales import BASE
from agents.letters.render import READER, Letters, ours
from scoring.decisions.decide import Row, SupplierFacts
from scoring.decisions.policy import Policy
from scoring.decisions.resolved import Health, holds
from scoring.time import DAY, HOUR, MINUTE
from store.messages.delivery import Intervention, Supplier
from store.people.calls import Mail
from topics.time import format_time, parse_time

NOW = parse_time("2026-01-19T09:00:00Z")
_HERE_DAYS = 3
_AWAY = 9 * DAY
_KINDS = ((2, 5), (1, 0), (0, 0), (2, 21))
"""How many key features they use, and clients they have: of the first that suits its trigger a letter is a sample."""


def sample_id(name: str) -> str:
    """The id of something made up, by what it is called."""
    return str(uuid5(NAMESPACE_URL, f"https://success.example/sample/{name}"))


SUPPLIER_ID = sample_id("supplier")


def sample_supplier(
    trigger: str | None = None, policy: Policy | None = None, letters: Letters | None = None
) -> Supplier:
    """Make the reader of `sample.toml`, two weeks after sign-up, with one form and a few clients.

    Where they can be, they are somebody for whom the trigger of the policy (None: ours) holds.
    """
    policy, letters = policy or Policy.load(), letters or ours()
    reader, health = letters.data(READER, BASE), _health(trigger, policy)
    known, last_login = health.known_clients, NOW - _AWAY
    return Supplier(
        facts=SupplierFacts(SUPPLIER_ID, reader["email"], reader["timezone"], health=health),
        first_name=reader["first_name"],
        business_name=reader["business_name"],
        vendor_type=reader["vendor_type"],
        locale=BASE,
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


def _health(trigger: str | None, policy: Policy) -> Health:
    rules, found = policy.rules, policy.trigger(trigger or "")
    features = [name for name, _ in rules.features]
    kinds = [
        Health(
            seq=12,
            level="at_risk",
            score=48,
            features=frozenset(features[:used]),
            known_clients=clients,
            forms_created=1,
            last_login=NOW - _AWAY,
            signed_up_at=NOW - 14 * DAY,
            plan=next(iter(rules.file.plans), None),
        )
        for used, clients in _KINDS
    ]
    causes = found.on if found else ()
    suits = (health for health in kinds if any(holds(cause, health, NOW, rules) for cause in causes))
    health = next(suits, kinds[0])
    reached = {
        one.clients for one in rules.file.milestone if f"milestone:{one.name}" in causes and one.clients
    }
    return replace(health, known_clients=min(reached, default=health.known_clients))


def sample_states(
    trigger: str, locale: str | None, policy: Policy | None = None, letters: Letters | None = None
) -> dict[str, Supplier]:
    """The same letter's reader at the edges, by what is special about them."""
    policy = policy or Policy.load()
    plain = replace(sample_supplier(trigger, policy, letters), locale=locale)
    nobody = replace(plain, first_name=None, business_name=None, vendor_type=None)
    alone = replace(plain, business_name=None)
    return {
        "as usual": plain,
        "nothing known of them": _counting(nobody, 0, None, policy),
        "alone, one of everything": _counting(alone, 1, 1, policy),
        "at the free plan's limits": _counting(plain, 25, 8, policy),
        "1,200 clients, away for 36 days": _counting(plain, 1200, 36, policy),
    }


def _counting(supplier: Supplier, number: int, away_days: int | None, policy: Policy) -> Supplier:
    """A supplier of whom `number` is all there is to count, last seen so many days ago (None: never)."""
    last_login = None if away_days is None else NOW - away_days * DAY
    health = supplier.facts.health and replace(
        supplier.facts.health,
        known_clients=number,
        forms_created=number,
        last_login=last_login,
        features=frozenset([name for name, _ in policy.rules.features][:2] if number else ()),
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


def sample_call(template: str, letters: Letters | None = None) -> Mail:
    """Make the queued email about a call for which `template` is written: their setup call, a day from now."""
    reader = (letters or ours()).data(READER, BASE)
    starts = NOW + DAY + 6 * HOUR
    return Mail(
        id=sample_id(template),
        supplier_id=SUPPLIER_ID,
        call_id=sample_id("call"),
        method="CANCEL" if template == "call_cancelled" else "REQUEST",
        sequence=0 if template == "call_invitation" else 1,
        starts_at=starts,
        ends_at=starts + 15 * MINUTE,
        expires_at=starts + 15 * MINUTE,
        attempts=0,
        interaction_type="onboarding_call",
        email=reader["email"],
        first_name=reader["first_name"],
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
        id=sample_id(template),
        trigger=trigger.name,
        channel=trigger.channel,
        kind=trigger.kind,
        priority=trigger.priority,
        signal_at=NOW,
        due_at=NOW,
    )
    if cause == "milestone":
        reached = milestone or name
        row = replace(row, milestone=reached, cause_type=policy.rules.event_of_milestone(reached))
    return Intervention(row, template, attempts=0, signal_id=None, occurrence=1)
