"""Emails about calls through a real mail server: the right event, once, whatever happens on the way."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Callable
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any, cast
from uuid import uuid4

import pytest
from icalendar import Calendar

from agents.letters.invitation import build_invitation
from agents.letters.links import verify
from agents.letters.names import LONGEST_NAME
from runtime.clock import ManualClock
from runtime.settings import Settings
from scoring.time import DAY, HOUR, MINUTE
from store.people.calls import Mail
from tests.agents.acts.conftest import Send
from tests.agents.delivery.mail_server import MailServer
from tests.agents.delivery.world import NOW, World
from tests.api.conftest import Authorization
from topics.time import parse_time

TEN = "2026-01-20T10:00:00.000Z"
ELEVEN = "2026-01-20T11:00:00.000Z"
NOON = "2026-01-20T12:00:00.000Z"
Token = Callable[..., Authorization]
stack = pytest.mark.stack


def invitation(message: EmailMessage) -> tuple[Any, Any]:
    """The calendar and its only event, as a mail reader finds them; the attachment must be the same."""
    [part] = [each for each in message.walk() if each.get_content_type() == "text/calendar"]
    [file] = [each for each in message.walk() if each.get_content_type() == "application/ics"]
    text = cast("EmailMessage", part).get_content()
    assert text.replace("\r\n", "\n") == cast("EmailMessage", file).get_content().decode().replace(
        "\r\n", "\n"
    )
    assert file.get_filename() == "invite.ics"
    calendar = Calendar.from_ical(text)
    [event] = calendar.walk("VEVENT")
    assert part.get_param("method") == calendar["METHOD"]
    assert part.get_param("charset") == "utf-8"
    return calendar, event


def letter(message: EmailMessage) -> str:
    body = message.get_body(("plain",))
    assert body is not None
    return str(body.get_content()).replace("\N{NO-BREAK SPACE}", " ")


def leads_to_call(text: str, settings: Settings) -> str:
    """The call whose signed page a letter leads to."""
    [token] = re.findall(r"/e/call/([\w-]+)", text)
    linked = verify("call", token, settings.keys("secret_key"))
    assert linked is not None
    return linked.intervention_id


@stack
async def test_an_invitation_is_sent_for_a_booking(
    world: World, schedule: Send, mail_server: MailServer, clock: ManualClock
) -> None:
    sarah = await world.supplier(timezone="America/New_York")
    call = (await schedule(sarah, "2026-01-20T15:00:00Z")).json()
    clock.advance_to(NOW + MINUTE)
    assert await world.delivery().next_due_ms() == NOW
    assert (await world.delivery().deliver_due()).sent == 1
    assert (await world.delivery().deliver_due()).total() == 0

    [message] = mail_server.accepted
    assert (message["To"], message["X-Success-Call"]) == ("Sarah <photographer@example.com>", call["id"])
    assert message["List-Unsubscribe"] is None
    assert mail_server.envelopes == [("bounces@wedsync.example", ["photographer@example.com"])]
    kinds = [part.get_content_type() for part in message.walk() if not part.is_multipart()]
    assert kinds == ["text/plain", "text/html", "text/calendar", "application/ics"]
    calendar, event = invitation(message)
    assert (calendar["METHOD"], calendar["VERSION"], event["STATUS"]) == ("REQUEST", "2.0", "CONFIRMED")
    assert event["UID"] == f"{call['id']}@wedsync.example"
    assert event["SEQUENCE"] == 0
    assert event["DTSTART"].to_ical() == b"20260120T150000Z"
    assert event["DTEND"].to_ical() == b"20260120T151500Z"
    assert event["DTSTAMP"].dt.isoformat() == "2026-01-19T09:01:00+00:00"
    assert event["ORGANIZER"] == "mailto:hello@wedsync.example"
    assert (event["ATTENDEE"], event["ATTENDEE"].params["CN"]) == ("mailto:photographer@example.com", "Sarah")
    assert calendar.walk("VTIMEZONE") == []
    text = letter(message)
    assert "Tuesday 20 January, 10:00 to 10:15 (New York time)" in text
    assert "In UTC: Tuesday 20 January, 15:00 to 15:15" in text
    assert leads_to_call(text, world.settings) == call["id"]


@stack
async def test_moving_and_cancelling_raise_the_sequence_of_the_same_event(
    world: World, schedule: Send, patch: Send, mail_server: MailServer
) -> None:
    call = (await schedule(await world.supplier(), TEN)).json()
    delivery = world.delivery()
    await delivery.deliver_due()
    await patch(call["id"], scheduledAt=ELEVEN)
    await delivery.deliver_due()
    await patch(call["id"], status="cancelled")
    await delivery.deliver_due()

    assert mail_server.templates() == ["call_invitation", "call_rescheduled", "call_cancelled"]
    found = [invitation(message) for message in mail_server.accepted]
    assert len({event["UID"] for _, event in found}) == 1
    assert [event["SEQUENCE"] for _, event in found] == [0, 1, 2]
    assert [calendar["METHOD"] for calendar, _ in found] == ["REQUEST", "REQUEST", "CANCEL"]
    assert [event["STATUS"] for _, event in found] == ["CONFIRMED", "CONFIRMED", "CANCELLED"]
    assert [event["DTSTART"].dt.hour for _, event in found] == [10, 11, 11]
    assert len({message["Message-ID"] for message in mail_server.accepted}) == 3


@stack
async def test_of_what_waits_only_the_newest_is_sent(
    world: World, schedule: Send, patch: Send, mail_server: MailServer
) -> None:
    call = (await schedule(await world.supplier(), TEN)).json()
    await patch(call["id"], scheduledAt=ELEVEN)
    await patch(call["id"], scheduledAt=NOON)
    await world.delivery().deliver_due()
    [message] = mail_server.accepted
    # they hear of it for the first time: an invitation, and no news of a move
    assert message["X-Success-Template"] == "call_invitation"
    _, event = invitation(message)
    assert (event["SEQUENCE"], event["DTSTART"].dt.hour) == (2, 12)
    statuses = await world.query("SELECT status FROM transactional_mails ORDER BY sequence")
    assert [each["status"] for each in statuses] == ["superseded", "superseded", "sent"]


@stack
async def test_a_move_while_the_invitation_is_being_sent_follows_it(
    world: World, schedule: Send, patch: Send, mail_server: MailServer
) -> None:
    call = (await schedule(await world.supplier(), TEN)).json()
    arrived, go_on = threading.Event(), threading.Event()

    def slow(_message: EmailMessage) -> str:
        arrived.set()
        assert go_on.wait(30)
        return "250 OK"

    mail_server.data = slow
    sending = asyncio.create_task(world.delivery().deliver_due())
    assert await asyncio.to_thread(arrived.wait, 30)
    await patch(call["id"], scheduledAt=ELEVEN)
    assert (await world.delivery().deliver_due()).total() == 0  # not before the first one's fate is known
    go_on.set()
    await sending
    await world.delivery().deliver_due()
    assert [invitation(message)[1]["SEQUENCE"] for message in mail_server.accepted] == [0, 1]
    assert mail_server.templates() == ["call_invitation", "call_rescheduled"]


@stack
async def test_a_refused_invitation_gives_way_to_a_newer_one(
    world: World, schedule: Send, patch: Send, mail_server: MailServer, clock: ManualClock
) -> None:
    call = (await schedule(await world.supplier(), TEN)).json()
    loop = asyncio.get_running_loop()

    def move_and_refuse(_message: EmailMessage) -> str:
        moving = patch(call["id"], scheduledAt=ELEVEN)
        assert asyncio.run_coroutine_threadsafe(moving, loop).result(30).status_code == 200
        mail_server.data = lambda _message: "250 OK"
        return "451 later"

    mail_server.data = move_and_refuse
    await world.delivery().deliver_due()
    clock.advance_to(NOW + HOUR)
    await world.delivery().deliver_due()
    assert [invitation(message)[1]["SEQUENCE"] for message in mail_server.accepted] == [1]
    assert mail_server.templates() == ["call_invitation"]


@stack
async def test_it_goes_out_at_night_beyond_caps_and_to_whom_opted_out_and_counts_for_nothing(
    world: World,
    schedule: Send,
    mail_server: MailServer,
    clock: ManualClock,
    token: Callable[..., Authorization],
) -> None:
    sarah = await world.supplier()
    await world.query("UPDATE suppliers SET email_opt_out = true, all_opt_out = true WHERE id = %s", sarah)
    clock.advance_to(parse_time("2026-01-20T02:00:00Z"))
    for time in (TEN, ELEVEN, NOON, "2026-01-20T13:00:00Z"):
        await schedule(sarah, time, by=token("agent"))
    await world.delivery().deliver_due()
    assert len(mail_server.accepted) == 4
    await world.query("UPDATE suppliers SET email_opt_out = false, all_opt_out = false WHERE id = %s", sarah)
    clock.advance_to(parse_time("2026-01-20T09:00:00Z"))
    row = await world.row(sarah, "low_client_adoption")
    await world.delivery().deliver_due()
    assert await world.status(row) == ("sent", None)


@stack
@pytest.mark.parametrize(
    ("answer", "status", "tries"), [("550 no", "failed", 1), ("drop", "unknown", 1), ("451 later", "sent", 2)]
)
async def test_what_the_mail_server_says_decides(
    world: World,
    schedule: Send,
    mail_server: MailServer,
    clock: ManualClock,
    answer: str,
    status: str,
    tries: int,
) -> None:
    await schedule(await world.supplier(), TEN)
    answers = [answer]
    mail_server.data = lambda _message: answers.pop() if answers else "250 OK"
    await world.delivery().deliver_due()
    clock.advance_to(NOW + HOUR)
    await world.delivery().deliver_due()
    [found] = await world.query("SELECT status, attempts, last_error FROM transactional_mails")
    assert (found["status"], found["attempts"]) == (status, tries)
    assert mail_server.tried == tries
    assert (found["last_error"] is None) == (status == "sent")


@stack
async def test_many_deliveries_send_each_invitation_once(
    world: World, schedule: Send, mail_server: MailServer
) -> None:
    times = [f"2026-01-20T{hour:02}:{minute:02}:00Z" for hour in (10, 11, 12) for minute in (0, 15, 30, 45)]
    for time in times:
        await schedule(await world.supplier(), time)
    await asyncio.gather(*(world.delivery().deliver_due() for _ in range(3)))
    assert len(mail_server.accepted) == len(times)
    assert len({message["Message-ID"] for message in mail_server.accepted}) == len(times)


@stack
async def test_a_claim_of_a_dead_process_is_unknown_and_not_sent_again(
    world: World, schedule: Send, mail_server: MailServer
) -> None:
    await schedule(await world.supplier(), TEN)
    await world.query("UPDATE transactional_mails SET status = 'sending', claimed_at = now(), claim = 7")
    await world.delivery().deliver_due()
    [found] = await world.query("SELECT status, last_error FROM transactional_mails")
    assert found["status"] == "unknown"
    assert "died" in found["last_error"]
    assert mail_server.tried == 0


@stack
async def test_without_an_address_it_waits_for_one_until_the_call(
    world: World, schedule: Send, mail_server: MailServer, clock: ManualClock
) -> None:
    late, never = await world.supplier(email=None), await world.supplier(email=None)
    await schedule(late, TEN)
    await schedule(never, ELEVEN)
    await world.delivery().deliver_due()
    await world.query("UPDATE suppliers SET email = 'late@example.com' WHERE id = %s", late)
    await world.delivery().deliver_due()
    assert [message["To"].addresses[0].addr_spec for message in mail_server.accepted] == ["late@example.com"]
    assert await world.delivery().next_due_ms() == parse_time(ELEVEN) + 15 * MINUTE
    clock.advance_to(NOW + 2 * DAY)
    await world.delivery().deliver_due()
    statuses = await world.query("SELECT status FROM transactional_mails ORDER BY starts_at")
    assert [each["status"] for each in statuses] == ["sent", "failed"]


AWKWARD = {
    "line breaks": "Sarah\r\nATTENDEE:mailto:evil@example.com\r\nBcc: evil@example.com",
    "commas and semicolons": "O'Hara, Jo; CN=x:y \\n z",
    "quotes": 'Sarah "Sunny" ^n Jones',
    "right to left": "שרה \u202eevil\u202c كوهين",
    "300 characters": "Ä" * 300,
    "markup": "<b>Sarah</b>&amp;",
    "an address": "https://evil.example/win",
    "nothing": None,
    "emoji": "Zoë 💍",
}


def a_mail(starts: int, zone: str | None, name: str | None = "Sarah") -> Mail:
    return Mail(
        id=str(uuid4()),
        supplier_id=str(uuid4()),
        call_id=str(uuid4()),
        method="REQUEST",
        sequence=3,
        starts_at=starts,
        ends_at=starts + 15 * MINUTE,
        expires_at=starts + 15 * MINUTE,
        attempts=0,
        interaction_type="technical_support",
        email="photographer@example.com",
        first_name=name,
        timezone=zone,
        heard_before=False,
    )


@pytest.mark.parametrize(
    ("zone", "starts", "local", "utc"),
    [
        ("Etc/GMT+2", "2026-03-30T09:00:00Z", "Monday 30 March, 07:00 to 07:15 (UTC-2)", "09:00"),
        ("Europe/London", "2026-01-20T09:00:00Z", "Tuesday 20 January, 09:00 to 09:15 (London time)", None),
        ("Europe/London", "2026-10-25T00:30:00Z", "Sunday 25 October, 01:30 to 01:45 (London time)", "00:30"),
        # the hour comes twice, and only UTC says which of the two is meant
        ("Europe/London", "2026-10-25T01:30:00Z", "Sunday 25 October, 01:30 to 01:45 (London time)", "01:30"),
        (
            "Asia/Kathmandu",
            "2026-03-30T20:00:00Z",
            "Tuesday 31 March, 01:45 to 02:00 (Kathmandu time)",
            "20:00",
        ),
        (None, "2026-03-30T09:00:00Z", "Monday 30 March, 09:00 to 09:15 (UTC)", None),
    ],
)
def test_the_event_is_in_utc_and_the_letter_in_their_time(
    zone: str | None, starts: str, local: str, utc: str | None
) -> None:
    settings = Settings(
        secret_key="secret-key-of-the-tests, of 32 bytes", public_url="https://app.wedsync.example"
    )
    raw = build_invitation(a_mail(parse_time(starts), zone), settings, NOW).as_bytes(policy=policy.SMTP)
    message = cast("EmailMessage", message_from_bytes(raw, policy=policy.default))
    calendar, event = invitation(message)
    assert event["DTSTART"].to_ical().decode() == starts.replace("-", "").replace(":", "")
    assert calendar.walk("VTIMEZONE") == []
    assert local in letter(message)
    assert ("In UTC:" in letter(message)) == (utc is not None)
    assert utc is None or f", {utc} to " in letter(message).partition("In UTC:")[2]


@pytest.mark.parametrize("name", AWKWARD.values(), ids=AWKWARD)
@pytest.mark.parametrize("zone", ["Europe/London", "Asia/Kathmandu", "America/St_Johns", None, "Nowhere/Odd"])
def test_a_name_is_a_name_and_nothing_else(name: str | None, zone: str | None) -> None:
    settings = Settings(
        secret_key="secret-key-of-the-tests, of 32 bytes", public_url="https://app.wedsync.example"
    )
    starts = parse_time("2026-03-30T09:00:00Z")
    mail = a_mail(starts, zone, name)
    raw = build_invitation(mail, settings, NOW).as_bytes(policy=policy.SMTP)
    message = cast("EmailMessage", message_from_bytes(raw, policy=policy.default))
    assert message["Bcc"] is None
    assert [each.addr_spec for each in message["To"].addresses] == ["photographer@example.com"]
    assert len(message["Subject"]) <= 50
    calendar, event = invitation(message)
    assert calendar.errors == []
    assert event.errors == []
    assert str(event["ATTENDEE"]) == "mailto:photographer@example.com"
    called = event["ATTENDEE"].params.get("CN", "")
    assert len(called) <= LONGEST_NAME
    assert not set(called) & set('\r\n"\u202e')
    assert "evil.example/win" not in letter(message)
    assert event["DTSTART"].dt.timestamp() * 1000 == starts
    file = calendar.to_ical().decode()
    assert all(len(line.encode()) <= 75 for line in file.split("\r\n"))
