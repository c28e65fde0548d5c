"""What a stack that has nobody yet is told: the lines that bring the first event and profile, for its own settings."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from email.utils import parseaddr
from typing import TYPE_CHECKING, Any

from scoring.time import DAY
from store.times import to_ms
from topics.catalog import ACTIVITY, full_name
from topics.time import format_time

if TYPE_CHECKING:
    from collections.abc import Mapping

    from runtime.settings import Settings

SOMEBODY = "7d0f4c1e-5a0b-4a8e-9b57-0c6f6a1f2d10"
"""The id of the supplier in the lines; `success publish --erase` takes them away again."""


@dataclass(frozen=True, slots=True)
class FirstSteps:
    """The lines to copy, for a shell in which `success` has the services' settings, and what is done already."""

    event: str
    event_over_http: str
    profile: str
    topic: str
    kafka: str
    sender: str
    address: str
    supplier: str
    has_event: bool
    has_profile: bool


def first_steps(
    settings: Settings, begun: dict[str, Any], now: datetime, reader: Mapping[str, Any]
) -> FirstSteps:
    """What to do first; `begun` says what there is (`Freshness.begun`), `reader` who is made up (`sample.toml`)."""
    midnight = format_time(to_ms(now) // DAY * DAY)  # the same all day, so that a line being copied stays
    event = {
        "specversion": "1.0",
        "id": "first-steps",
        "source": "/first-steps",
        "type": "form.created",
        "subject": SOMEBODY,
        "time": midnight,
        "data": {"form_id": "enquiry"},
    }
    profile = {
        "id": SOMEBODY,
        **{name: reader[name] for name in ("first_name", "business_name", "vendor_type", "timezone")},
        "email": "you@example.com",
        "plan": "free",
        "signed_up_at": midnight,
    }
    sender, address = parseaddr(settings.mail_from)
    return FirstSteps(
        event=f"echo '{json.dumps(event)}' | success publish -",
        event_over_http=(
            f"curl {settings.public_url}/api/events -H 'Content-Type: application/cloudevents+json' "
            f"-H \"Authorization: Bearer $(success token --role service)\" -d '{json.dumps(event)}'"
        ),
        profile=f"echo '{json.dumps({'profile': profile})}' | success publish -",
        topic=full_name(settings.topic_prefix, ACTIVITY),
        kafka=settings.kafka,
        sender=sender or address,
        address=address,
        supplier=SOMEBODY,
        has_event=begun["scored"],
        has_profile=begun["addresses"] > 0,
    )
