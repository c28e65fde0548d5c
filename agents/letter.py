"""What a message says about its reader: the variables of every template, true or left out.

Pure: a supplier's row, her snapshot and the moment make a dict. Names are made safe for a header here, markup in
them by the templates' escaping.
"""

from __future__ import annotations

import re
import tomllib
import unicodedata
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import templates
from agents.links import link, sign, sign_click
from scoring.recommend import best
from scoring.time import DAY
from topics.time import parse_time

if TYPE_CHECKING:
    from runtime.settings import Settings
    from store.delivery import Intervention, Supplier

VENDORS = Path(templates.__file__).with_name("vendors.toml")
SETUP_CALL_PATH = "/support/call"
LONGEST_NAME = 60
"""Characters of a name that a sentence can bear."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MS = timedelta(milliseconds=1)
_NEWS = ("form.completed", "payment.received", "client.active")
_ADDRESS = re.compile(r"://|\bwww\.", re.IGNORECASE)
# Overrides and isolates of direction: in a name they could turn the rest of a line round.
_DIRECTION = dict.fromkeys((*range(0x202A, 0x202F), *range(0x2066, 0x206A), 0x200E, 0x200F))


def variables(
    supplier: Supplier, intervention: Intervention, now_ms: int, settings: Settings
) -> dict[str, Any]:
    """Everything a template may say, by name; None, an empty text or list for what is not known."""
    row, snapshot = intervention.row, supplier.snapshot
    health = supplier.facts.health
    last_login = health.last_login if health else None
    advice = best(snapshot) if snapshot else None
    return {
        "firstName": readable(supplier.first_name),
        "businessName": readable(supplier.business_name),
        "vendorType": readable(supplier.vendor_type),
        "vendor": vendor(supplier.vendor_type),
        "clientCount": health.known_clients if health else 0,
        "activeClientCount": snapshot.get("clients", {}).get("active", 0),
        "daysSinceLastLogin": None if last_login is None else max(0, (now_ms - last_login) // DAY),
        "hasImportedClients": health is not None and "clients_imported" in health.features,
        "hasCreatedForms": health is not None and "forms_created" in health.features,
        "hasActiveJourneys": snapshot.get("journeys", {}).get("active", 0) > 0,
        "formsCreated": health.forms_created if health else 0,
        "formsSent": snapshot.get("forms", {}).get("sent", 0),
        "formsCompleted": snapshot.get("forms", {}).get("completed", 0),
        "journeysActive": snapshot.get("journeys", {}).get("active", 0),
        "score": health.score if health else None,
        "level": health.level if health else None,
        "milestone": row.milestone,
        "occurrence": intervention.occurrence,
        "news": _news(snapshot, last_login, supplier.facts.zone),
        "recommendation": advice,
        "effect": points_text(advice.points) if advice else "",
        "trigger": row.trigger,
        "app": settings.public_url.rstrip("/"),
        "setupCallPath": SETUP_CALL_PATH,
        "mailAddress": settings.mail_address,
        **_links(row.id, supplier.facts.supplier_id, settings),
    }


def readable(name: str | None) -> str:
    """Make a name fit for a sentence and a header: one line, no control characters, no address, not endless."""
    kept = "".join(
        " " if unicodedata.category(char) in {"Cc", "Zl", "Zp", "Cs"} else char
        for char in (name or "").translate(_DIRECTION)
    )
    line = " ".join(kept.split())
    if _ADDRESS.search(line):
        return ""  # mail readers would make a link of it, in a letter that bears our name
    return line if len(line) <= LONGEST_NAME else line[: LONGEST_NAME - 1].rstrip() + "…"


def vendor(vendor_type: str | None) -> dict[str, str]:
    """The words of a trade (`trade`, `sheet`, `first`); general ones for a trade we don't know."""
    words = _vendors()
    key = "_".join((vendor_type or "").lower().replace("-", " ").split())
    return words.get(key, words["default"])


def day_text(at_ms: int, zone: str | None) -> str:
    """A day for people, where she lives: `Wednesday 7 January`."""
    try:
        local_zone = ZoneInfo(zone or "UTC")
    except (ZoneInfoNotFoundError, ValueError, OSError):
        local_zone = ZoneInfo("UTC")
    local = (_EPOCH + at_ms * _MS).astimezone(local_zone)
    return f"{local:%A} {local.day} {local:%B}"


def points_text(points: float) -> str:
    """Say how many points something adds, no more exactly than is true: `10 points`, `about 7 points`."""
    rounded = max(1, round(points))
    noun = "point" if rounded == 1 else "points"
    return f"{rounded} {noun}" if rounded == points else f"about {rounded} {noun}"


def _news(snapshot: dict[str, Any], last_login: int | None, zone: str | None) -> dict[str, str]:
    """What others did since her last login: event type -> the day of the newest one."""
    goals = snapshot.get("last_goals", {})
    times = {name: parse_time(goals[name]) for name in _NEWS if name in goals}
    return {
        name: day_text(at, zone) for name, at in times.items() if last_login is not None and at > last_login
    }


def _links(row_id: str, supplier_id: str, settings: Settings) -> dict[str, Any]:
    key = settings.secret("secret_key")

    def track(address: str) -> str:
        """The link that counts a click and then leads to `address`."""
        return link(settings.public_url, "click", sign_click(address, supplier_id, row_id, key))

    return {
        "track": track,
        "openUrl": link(settings.public_url, "open", sign("open", supplier_id, row_id, key)) + ".gif",
        "unsubscribeUrl": link(
            settings.public_url, "unsubscribe", sign("unsubscribe", supplier_id, row_id, key)
        ),
        "preferencesUrl": link(
            settings.public_url, "preferences", sign("preferences", supplier_id, row_id, key)
        ),
    }


@cache
def _vendors() -> dict[str, dict[str, str]]:
    return tomllib.loads(VENDORS.read_text("utf-8"))
