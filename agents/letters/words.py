"""What a message says about its reader: the variables of every template, true or left out.

Pure: a supplier's row, their snapshot and the moment make a dict, in the language of the letter. Names are what
`names` makes of them; markup in them is made safe by the templates' escaping.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from msgspec import structs

from agents.letters.links import Action, link, sign, sign_click
from agents.letters.locales import BASE, Voice
from agents.letters.names import first_name, readable
from agents.letters.render import FOLDERS, Letters, ours
from scoring.advice.book import RECOMMENDATIONS
from scoring.advice.recommend import LEAST_OF_LETTER, Recommendation, best, is_absence
from scoring.health.rules import CLIENT_IMPORTED, FORM_CREATED
from scoring.time import DAY
from topics.time import parse_time

if TYPE_CHECKING:
    from runtime.settings import Settings
    from store.messages.delivery import Intervention, Supplier

VENDORS, PLANS = "vendors.toml", "plans.toml"
CALL_PATH = "/support/call"
"""Where a call is booked within the product, as the coach and in-app messages name it."""
WHAT_TO_SAY = "tasks/what_to_say"
LEAST_MINUTES = 5
"""What a call is said to need at least."""
Topic = Literal["asked", "unknown", "never", "unsent", "unanswered", "none", "few", "away", "many"]
"""What stands in the way, and a call begins with: they asked for it, nobody has heard of them, they never logged in,
no form has gone out or come back, no or few clients, they are away, or nothing of it."""
_NEWS = ("form.completed", "payment.received", "client.active")


@dataclass(frozen=True, slots=True)
class Spoken:
    """Of whom a call's first words speak; times are ms, None for what is not known."""

    topic: Topic
    zone: str | None = None
    first_name: str | None = None
    business: str | None = None
    asked: int | None = None
    """Since when they wait for a call that they asked for."""
    signed_up: int | None = None
    last_login: int | None = None
    clients: int = 0
    forms: int = 0
    forms_sent: int = 0
    step: Recommendation | None = None
    """What would help most."""


def variables(
    supplier: Supplier,
    intervention: Intervention,
    now_ms: int,
    settings: Settings,
    letters: Letters | None = None,
    template: str | None = None,
) -> dict[str, Any]:
    """Everything a template may say, by name; None, an empty text or list for what is not known.

    `letters` (None: ours) say in which language `template` (None: the intervention's) is there for them.
    """
    row, snapshot, letters = intervention.row, supplier.snapshot, letters or ours()
    file = f"{FOLDERS[row.channel]}/{template or intervention.template}.txt"
    voice = letters.voice(file, supplier.locale)
    health, rules = supplier.facts.health, letters.rules
    used = health.features if health else frozenset[str]()
    last_login = health.last_login if health else None
    places = letters.places(settings.product_url())
    supplier_id = supplier.facts.supplier_id
    return {
        "voice": voice,
        "language": voice.written,
        "lang": voice.tag,
        "firstName": first_name(supplier.first_name),
        "businessName": readable(supplier.business_name),
        "vendorType": readable(supplier.vendor_type),
        "vendor": vendor(supplier.vendor_type, letters, voice.tag),
        "clientCount": health.known_clients if health else 0,
        "activeClientCount": snapshot.get("clients", {}).get("active", 0),
        "daysSinceLastLogin": None if last_login is None else max(0, (now_ms - last_login) // DAY),
        "features": set(used),
        "hasImportedClients": not used.isdisjoint(rules.shown_by(CLIENT_IMPORTED)),
        "hasCreatedForms": not used.isdisjoint(rules.shown_by(FORM_CREATED)),
        "hasActiveJourneys": snapshot.get("journeys", {}).get("active", 0) > 0,
        "formsCreated": health.forms_created if health else 0,
        "formsSent": snapshot.get("forms", {}).get("sent", 0),
        "formsCompleted": snapshot.get("forms", {}).get("completed", 0),
        "journeysActive": snapshot.get("journeys", {}).get("active", 0),
        "score": health.score if health else None,
        "level": health.level if health else None,
        "milestone": row.milestone,
        "occurrence": intervention.occurrence,
        "news": _news(snapshot, last_login, supplier.facts.zone, voice),
        **_advice(snapshot, letters, voice.tag),
        "plans": letters.data(PLANS, voice.tag),
        "trigger": row.trigger,
        "requested": intervention.requested,
        "opening": intervention.opening,
        "app": settings.product_url(),
        "at": lambda path: places.address(path, supplier_id),
        "mailAddress": settings.mail_address,
        **_links(row.id, supplier_id, settings),
        "milestoneUrl": _milestone_link(intervention, supplier_id, settings) if row.milestone else "",
    }


def in_app_words(
    first_name_: str | None,
    vendor_type: str | None,
    snapshot: dict[str, Any] | None,
    letters: Letters | None = None,
    voice: Voice | None = None,
) -> dict[str, Any]:
    """What an in-app message may say: it is written when it is shown, with no row and no links of its own."""
    known = snapshot or {"features": [], "clients": {"known": 0}, "journeys": {"active": 0}}
    letters, voice = letters or ours(), voice or Voice()
    used, rules = set(known["features"]), letters.rules
    return {
        "voice": voice,
        "language": voice.written,
        "lang": voice.tag,
        "firstName": first_name(first_name_),
        "vendorType": readable(vendor_type),
        "vendor": vendor(vendor_type, letters, voice.tag),
        "clientCount": known["clients"]["known"],
        "features": used,
        "hasImportedClients": not used.isdisjoint(rules.shown_by(CLIENT_IMPORTED)),
        "hasCreatedForms": not used.isdisjoint(rules.shown_by(FORM_CREATED)),
        "hasActiveJourneys": known["journeys"]["active"] > 0,
        "app": "",
        "at": letters.places("").address,
        "bookUrl": CALL_PATH,
    }


def spoken_words(letters: Letters, voice: Voice, life: Spoken, now_ms: int) -> dict[str, Any]:
    """What an agent's first words in a call may say (`templates/tasks/what_to_say.txt`)."""

    def day(at_ms: int | None) -> str:
        return voice.date(at_ms, life.zone, now_ms) if at_ms is not None else ""

    return {
        "voice": voice,
        "language": voice.written,
        "lang": voice.tag,
        "topic": life.topic,
        "firstName": life.first_name,
        "businessName": life.business,
        "asked": day(life.asked),
        "signedUp": day(life.signed_up),
        "lastLogin": day(life.last_login),
        "clientCount": life.clients,
        "formsCreated": life.forms,
        "formsSent": life.forms_sent,
        "recommendation": life.step and in_words_of(life.step, letters, voice.tag),
        "minutes": max(LEAST_MINUTES, life.step.minutes) if life.step else LEAST_MINUTES,
    }


def vendor(vendor_type: str | None, letters: Letters | None = None, tag: str = BASE) -> dict[str, str]:
    """The words of a trade (`trade`, `sheet`, `first`); general ones for a trade we don't know."""
    words = (letters or ours()).data(VENDORS, tag)
    key = "_".join((vendor_type or "").lower().replace("-", " ").split())
    found: dict[str, str] = words.get(key, words["default"])
    return found


def day_text(at_ms: int, zone: str | None) -> str:
    """A day for people, where they live: `Wednesday 7 January`."""
    return Voice().day(at_ms, zone)


def _advice(snapshot: dict[str, Any], letters: Letters, tag: str) -> dict[str, Any]:
    """What to do next: the step worth most, if it is worth a letter, or coming back where absence is the cause.

    Who is away is told of any step: it is something concrete to come back to.
    """
    advice = best(snapshot, letters.rules) if snapshot else None
    is_away = bool(snapshot) and is_absence(snapshot, letters.rules)
    if advice is not None and advice.points < LEAST_OF_LETTER and not is_away:
        advice = None
    return {"recommendation": advice and in_words_of(advice, letters, tag), "isAway": is_away}


def in_words_of(advice: Recommendation, letters: Letters, tag: str) -> Recommendation:
    """The same advice in another language, where its words are there."""
    words = letters.data(RECOMMENDATIONS, tag).get(advice.id, {})
    return structs.replace(advice, **words)


def _news(snapshot: dict[str, Any], last_login: int | None, zone: str | None, voice: Voice) -> dict[str, str]:
    """What others did since their last login: event type -> the day of the newest one."""
    goals = snapshot.get("last_goals", {})
    times = {name: parse_time(goals[name]) for name in _NEWS if name in goals}
    return {
        name: voice.day(at, zone) for name, at in times.items() if last_login is not None and at > last_login
    }


def _milestone_link(intervention: Intervention, supplier_id: str, settings: Settings) -> str:
    """The page of a milestone, which has the id of its signal."""
    of = intervention.signal_id or intervention.row.id
    token = sign("milestone", supplier_id, of, settings.secret("secret_key"))
    return link(settings.public_url, "milestone", token)


def _links(row_id: str, supplier_id: str, settings: Settings) -> dict[str, Any]:
    key = settings.secret("secret_key")

    def ours_at(action: Action) -> str:
        return link(settings.public_url, action, sign(action, supplier_id, row_id, key))

    def track(address: str) -> str:
        """The link that counts a click and then leads to `address`."""
        return link(settings.public_url, "click", sign_click(address, supplier_id, row_id, key))

    return {
        "track": track,
        "openUrl": ours_at("open") + ".gif",
        "bookUrl": ours_at("book"),
        "unsubscribeUrl": ours_at("unsubscribe"),
        "preferencesUrl": ours_at("preferences"),
    }
