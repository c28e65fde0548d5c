"""The email about a call: a letter, and beside it the event for their calendar (iCalendar, RFC 5545 and 5546).

Pure: a queued mail, the settings and the moment make a message. The event keeps its UID for life; its SEQUENCE is
the mail's, so that calendars know which of two invitations is newer, in whatever order they arrive.
"""

from __future__ import annotations

from datetime import UTC, datetime, tzinfo
from email.message import EmailMessage
from email.utils import parseaddr
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from icalendar import Calendar, Event, vCalAddress, vText

from agents.letters.links import Action, link, sign
from agents.letters.message import build_letter, domain_of
from agents.letters.names import first_name
from agents.letters.render import Letters, ours
from scoring.time import MINUTE
from scoring.zones import zone_or, zone_words
from store.times import to_time
from topics.address import parse_address

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agents.letters.locales import Voice
    from runtime.settings import Settings
    from store.people.calls import Mail

TEMPLATES = ("call_invitation", "call_rescheduled", "call_cancelled")
WORDS = "calls.toml"
PRODUCT = "-//WedSync//wedsync-success//EN"
ATTACHMENT = "invite.ics"

_IN_MAILTO = "@!$&'*+-=^_`{|}~."
"""What stays as it is in a mailto: address (RFC 6068)."""


def build_invitation(
    mail: Mail, settings: Settings, now_ms: int, letters: Letters | None = None
) -> EmailMessage:
    """Build the message in these templates (None: ours); ValueError for an address that can't be written."""
    letters = letters or ours()
    template = template_of(mail)
    words = variables(mail, settings, letters, template)
    rendered = letters.email(template, words)
    event = calendar(mail, settings, now_ms, words)
    message = build_letter(
        rendered,
        row_id=mail.id,
        template=template,
        recipient=mail.email,
        recipient_name=words["firstName"],
        mail_from=settings.mail_from,
        now_ms=now_ms,
    )
    message["X-Success-Call"] = mail.call_id
    # Mail readers show the last part they understand: those with a calendar the event, with what it may do now.
    message.add_alternative(
        event.decode(), subtype="calendar", charset="utf-8", cte="base64", params={"method": mail.method}
    )
    # The same as a file, for readers without one.
    message.add_attachment(event, maintype="application", subtype="ics", filename=ATTACHMENT)
    return message


def template_of(mail: Mail) -> str:
    """The letter that fits: a moved call is news only to someone who has heard of it."""
    if mail.method == "CANCEL":
        return "call_cancelled"
    return "call_rescheduled" if mail.heard_before else "call_invitation"


def variables(
    mail: Mail, settings: Settings, letters: Letters | None = None, template: str | None = None
) -> dict[str, Any]:
    """What the letters may say."""
    letters = letters or ours()
    voice = letters.voice(f"email/{template or template_of(mail)}.txt", mail.locale)
    names = letters.data(WORDS, voice.tag)
    return {
        "voice": voice,
        "language": voice.written,
        "lang": voice.tag,
        "firstName": first_name(mail.first_name),
        "brandName": letters.brand["name"],
        "calls": names,
        "callName": call_name(mail.interaction_type, names),
        **appointment(mail.starts_at, mail.ends_at, mail.timezone, voice, names),
        "minutes": (mail.ends_at - mail.starts_at) // MINUTE,
        "app": settings.product_url(),
        "at": letters.places(settings.product_url()).address,
        "callUrl": _signed("call", mail, mail.call_id, settings),
        "bookUrl": _signed("book", mail, mail.call_id, settings),
        "mailAddress": settings.mail_address,
        "unsubscribeUrl": "",  # they asked for it: there is nothing to unsubscribe from
        # The page of this very address: on it an address that was opted out can opt in again.
        "preferencesUrl": _signed("preferences", mail, mail.id, settings),
    }


def call_name(interaction_type: str, words: Mapping[str, Any]) -> str:
    """What people call a call of this type, in the `words` of their language."""
    names: dict[str, str] = words["call_names"]
    return names.get(interaction_type, names["churn_prevention"])


def appointment(
    starts_at: int, ends_at: int, zone: str | None, voice: Voice, words: Mapping[str, Any]
) -> dict[str, Any]:
    """When a call is, where they live and in UTC. `words`: of their language, for zones and spans."""
    start = _at(starts_at, zone_or(zone, "UTC"))
    span = words["span"].format
    return {
        "herDay": voice.day(starts_at, zone),
        "herShortDay": voice.short_day(starts_at, zone),
        "herStart": voice.time(starts_at, zone),
        "herTime": span(voice.time(starts_at, zone), voice.time(ends_at, zone)),
        "herZone": zone_in_words(zone, voice, words),
        # said once, where their clock shows it too
        "isUtc": not start.utcoffset() and not _comes_twice(start),
        "utcDay": voice.day(starts_at, "UTC"),
        "utcTime": span(voice.time(starts_at, "UTC"), voice.time(ends_at, "UTC")),
    }


def zone_in_words(zone: str | None, voice: Voice, words: Mapping[str, Any]) -> str:
    """A zone as people read it, in the `words` of their language: `New York time`."""
    named = zone_words(zone)
    if zone is None or not named.endswith(" time"):
        return named
    return str(words["zone"].format(voice.place(zone)))


def _signed(action: Action, mail: Mail, of: str, settings: Settings) -> str:
    token = sign(action, mail.supplier_id, of, settings.secret("secret_key"))
    return link(settings.public_url, action, token)


def calendar(mail: Mail, settings: Settings, now_ms: int, words: Mapping[str, Any]) -> bytes:
    """The event as an iCalendar object, its times in UTC.

    What a VTIMEZONE says calendars read in different ways, and an hour that comes twice can't be said with one.
    """
    sender_name, sender = parseaddr(settings.mail_from)
    event = Event()
    event.add("uid", f"{mail.call_id}@{domain_of(settings.mail_from)}")
    event.add("sequence", mail.sequence)
    event.add("dtstamp", _at(now_ms, UTC))
    event.add("dtstart", _at(mail.starts_at, UTC))
    event.add("dtend", _at(mail.ends_at, UTC))
    event.add("status", "CANCELLED" if mail.method == "CANCEL" else "CONFIRMED")
    event.add("summary", f"{words['brandName']}: {words['callName']}")
    event.add("description", _description(mail, words))
    event.add("transp", "TRANSPARENT" if mail.method == "CANCEL" else "OPAQUE")
    event.add("organizer", _person(sender, sender_name), encode=False)
    event.add("attendee", _guest(mail), encode=False)
    found = Calendar()
    found.add("prodid", PRODUCT)
    found.add("version", "2.0")
    found.add("calscale", "GREGORIAN")
    found.add("method", mail.method)
    found.add_component(event)
    return bytes(found.to_ical())


def _guest(mail: Mail) -> vCalAddress:
    person = _person(mail.email, first_name(mail.first_name))
    for name, value in (
        ("CUTYPE", "INDIVIDUAL"),
        ("ROLE", "REQ-PARTICIPANT"),
        ("PARTSTAT", "NEEDS-ACTION"),
        ("RSVP", "FALSE" if mail.method == "CANCEL" else "TRUE"),
    ):
        person.params[name] = vText(value)
    return person


def _person(address: str, name: str) -> vCalAddress:
    person = vCalAddress(f"mailto:{quote(parse_address(address).on_the_wire, safe=_IN_MAILTO)}")
    if name:
        # A quote ends a parameter's value in readers that don't know RFC 6868.
        person.params["CN"] = vText(name.replace('"', "'"))
    return person


def _description(mail: Mail, words: Mapping[str, Any]) -> str:
    said = words["calls"]
    if mail.method == "CANCEL":
        return str(said["calendar_cancelled"])
    what, change = said["calendar"].format(brand=words["brandName"]), said["calendar_change"]
    return f"{what}\n{change.format(link=words['callUrl'])}"


def _at(at_ms: int, zone: tzinfo) -> datetime:
    return to_time(at_ms).astimezone(zone)


def _comes_twice(local: datetime) -> bool:
    """Whether clocks show this hour twice on that day, so that only UTC says which is meant."""
    return local.replace(fold=0).utcoffset() != local.replace(fold=1).utcoffset()
