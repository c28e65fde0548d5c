"""The email about a call: a letter, and beside it the event for her calendar (iCalendar, RFC 5545 and 5546).

Pure: a queued mail, the settings and the moment make a message. The event keeps its UID for life; its SEQUENCE is
the mail's, so that calendars know which of two invitations is newer, in whatever order they arrive.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, parseaddr
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from icalendar import Calendar, Event, vCalAddress, vText

from agents.letter import SETUP_CALL_PATH, day_text, readable
from agents.message import domain_of, mailbox, message_id
from agents.render import Rendered, render_email
from scoring.time import MINUTE

if TYPE_CHECKING:
    from runtime.settings import Settings
    from store.calls import Mail

TEMPLATES = ("call_invitation", "call_rescheduled", "call_cancelled")
NAMES = {
    "onboarding_call": "setup call",
    "technical_support": "support call",
    "check_in": "growth call",
    "churn_prevention": "call",
}
PRODUCT = "-//WedSync//wedsync-success//EN"
ATTACHMENT = "invite.ics"

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MS = timedelta(milliseconds=1)
_AROUND = timedelta(days=366)
"""Of a time zone's changes, those this near to the call go with it."""


def build_invitation(mail: Mail, settings: Settings, now_ms: int) -> EmailMessage:
    """Build the message; ValueError for an address that can't be written."""
    words = variables(mail, settings)
    template = template_of(mail)
    rendered = render_email(template, words)
    event = calendar(mail, settings, now_ms)
    message = _letter(mail, rendered, words["firstName"], settings, now_ms)
    message["X-Success-Template"] = template
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


def variables(mail: Mail, settings: Settings) -> dict[str, Any]:
    """What the letters may say."""
    zone = her_zone(mail)
    name = zone.key if zone else "UTC"
    return {
        "firstName": readable(mail.first_name),
        "callName": NAMES.get(mail.interaction_type, "call"),
        "herDay": day_text(mail.starts_at, name),
        "herShortDay": f"{_at(mail.starts_at, zone):%a} {_at(mail.starts_at, zone).day} {_at(mail.starts_at, zone):%B}",
        "herStart": f"{_at(mail.starts_at, zone):%H:%M}",
        "herTime": _span(mail, zone),
        "herZone": f"{name.rpartition('/')[2].replace('_', ' ')} time" if zone else "UTC",
        "isUtc": not _at(mail.starts_at, zone).utcoffset(),  # said once, where her clock shows it too
        "utcDay": day_text(mail.starts_at, "UTC"),
        "utcTime": _span(mail, None),
        "minutes": (mail.ends_at - mail.starts_at) // MINUTE,
        "app": settings.public_url.rstrip("/"),
        "callPath": f"{SETUP_CALL_PATH}/{mail.call_id}",
        "setupCallPath": SETUP_CALL_PATH,
        "mailAddress": settings.mail_address,
        "unsubscribeUrl": "",  # she asked for it: there is nothing to unsubscribe from
        "preferencesUrl": "",
    }


def calendar(mail: Mail, settings: Settings, now_ms: int) -> bytes:
    """The event as an iCalendar object; times in her zone, or in UTC where that is not known."""
    zone = her_zone(mail)
    sender_name, sender = parseaddr(settings.mail_from)
    event = Event()
    event.add("uid", f"{mail.call_id}@{domain_of(settings.mail_from)}")
    event.add("sequence", mail.sequence)
    event.add("dtstamp", _at(now_ms, None))
    event.add("dtstart", _at(mail.starts_at, zone))
    event.add("dtend", _at(mail.ends_at, zone))
    event.add("status", "CANCELLED" if mail.method == "CANCEL" else "CONFIRMED")
    event.add("summary", f"WedSync {NAMES.get(mail.interaction_type, 'call')}")
    event.add("description", _description(mail, settings))
    event.add("transp", "TRANSPARENT" if mail.method == "CANCEL" else "OPAQUE")
    event.add("organizer", _person(sender, sender_name), encode=False)
    event.add("attendee", _guest(mail), encode=False)
    found = Calendar()
    found.add("prodid", PRODUCT)
    found.add("version", "2.0")
    found.add("calscale", "GREGORIAN")
    found.add("method", mail.method)
    found.add_component(event)
    day = _at(mail.starts_at, None).date()
    found.add_missing_timezones(first_date=day - _AROUND, last_date=day + _AROUND)
    return bytes(found.to_ical())


def her_zone(mail: Mail) -> ZoneInfo | None:
    """Her time zone; None where it is not known, or is UTC."""
    if mail.timezone in {None, "", "UTC"}:
        return None
    try:
        return ZoneInfo(str(mail.timezone))
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return None


def _letter(
    mail: Mail, rendered: Rendered, recipient_name: str, settings: Settings, now_ms: int
) -> EmailMessage:
    sender_name, sender = parseaddr(settings.mail_from)
    message = EmailMessage(policy=SMTP)
    message["From"] = mailbox(sender_name, sender)
    message["To"] = mailbox(recipient_name, mail.email)
    message["Subject"] = rendered.subject
    message["Date"] = format_datetime(_at(now_ms, None))
    message["Message-ID"] = message_id(mail.id, settings.mail_from)
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(rendered.text, charset="utf-8", cte="quoted-printable")
    message.add_alternative(rendered.html, subtype="html", charset="utf-8", cte="quoted-printable")
    return message


def _guest(mail: Mail) -> vCalAddress:
    person = _person(mail.email, readable(mail.first_name))
    for name, value in (
        ("CUTYPE", "INDIVIDUAL"),
        ("ROLE", "REQ-PARTICIPANT"),
        ("PARTSTAT", "NEEDS-ACTION"),
        ("RSVP", "FALSE" if mail.method == "CANCEL" else "TRUE"),
    ):
        person.params[name] = vText(value)
    return person


def _person(address: str, name: str) -> vCalAddress:
    person = vCalAddress(f"mailto:{address}")
    if name:
        # A quote ends a parameter's value in readers that don't know RFC 6868.
        person.params["CN"] = vText(name.replace('"', "'"))
    return person


def _description(mail: Mail, settings: Settings) -> str:
    if mail.method == "CANCEL":
        return "This call is cancelled."
    where = f"{settings.public_url.rstrip('/')}{SETUP_CALL_PATH}/{mail.call_id}"
    return f"A call with the WedSync team.\nChange or cancel: {where}"


def _span(mail: Mail, zone: ZoneInfo | None) -> str:
    return f"{_at(mail.starts_at, zone):%H:%M} to {_at(mail.ends_at, zone):%H:%M}"


def _at(at_ms: int, zone: ZoneInfo | None) -> datetime:
    return (_EPOCH + at_ms * _MS).astimezone(zone or UTC)
