"""Delivery on real Postgres and real SMTP: what is due leaves once, or says why not."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest

from agents.letters.links import verify, without_tokens
from agents.letters.smtp import MailServer as SmtpAddress
from runtime.keys import Keys
from runtime.settings import SettingsError
from scoring.time import DAY, HOUR, MINUTE, SECOND
from tests.agents.delivery.mail_server import MailServer
from tests.agents.delivery.world import NOW, World

pytestmark = pytest.mark.stack


def at(ms: int) -> datetime:
    return datetime.fromtimestamp(ms / 1000, UTC)


async def test_a_due_email_reaches_them_with_their_own_numbers(world: World, mail_server: MailServer) -> None:
    supplier = await world.supplier()
    row = await world.row(supplier, "low_client_adoption")

    count = await world.delivery().deliver_due()

    assert count.sent == 1
    [message] = mail_server.accepted
    assert mail_server.envelopes == [("bounces@wedsync.example", ["photographer@example.com"])]
    assert str(message["To"]) == "Sarah <photographer@example.com>"
    assert message["X-Success-Template"] == "grow_client_list"
    assert message["X-Success-Intervention"] == row
    for part in ("plain", "html"):
        body = message.get_body((part,))
        assert body is not None
        words = " ".join(body.get_content().split())
        for own in ("Sarah", "Golden Hour Weddings", "5 clients", "15-minute setup call"):
            assert own in words


async def test_an_agents_own_first_lines_are_in_the_mail_and_what_it_said_is_kept(
    world: World, mail_server: MailServer
) -> None:
    supplier = await world.supplier()
    own = "Good to talk to you.\n\nAs promised, <b>{{ here }}</b> it is:"
    row = await world.row(
        supplier, "low_client_adoption", metadata={"signal": {"by": "emma"}, "opening": own}
    )

    await world.delivery().deliver_due()

    [message] = mail_server.accepted
    plain, html = (message.get_body((part,)) for part in ("plain", "html"))
    assert plain is not None
    assert html is not None
    text = plain.get_content().replace("\r\n", "\n")
    assert text.startswith(own)
    assert "As promised, &lt;b&gt;{{ here }}&lt;/b&gt; it is:</p>" in html.get_content()
    assert "Hi Sarah" not in text + html.get_content()
    [kept] = await world.query("SELECT * FROM message_words")
    assert (str(kept["intervention_id"]), kept["subject"]) == (row, message["Subject"])
    assert kept["body"] == without_tokens(text, world.settings.public_url)
    assert "/e/unsubscribe/…" in kept["body"]
    assert "opening" not in (await world.find(row))["metadata"]


async def test_first_lines_that_would_be_lost_are_not_sent_without_them(
    world: World, mail_server: MailServer
) -> None:
    supplier = await world.supplier()
    row = await world.row(
        supplier, "first_form_created", metadata={"signal": {"by": "emma"}, "opening": "Good to talk to you."}
    )

    await world.delivery().deliver_due()

    assert mail_server.tried == 0
    found = await world.find(row)
    assert found["status"] == "failed"
    assert "shows no opening" in found["last_error"]


async def test_a_sent_row_says_when_and_on_what_it_was_decided(world: World) -> None:
    supplier = await world.supplier()
    row = await world.row(supplier, "low_client_adoption")

    await world.delivery().deliver_due()

    found = await world.find(row)
    assert (found["status"], found["sent_at"], found["claimed_at"]) == ("sent", at(NOW), at(NOW))
    assert found["attempts"] == 1
    metadata = found["metadata"]
    assert (metadata["health_score"], metadata["risk_level"], metadata["seq"]) == (48, "at_risk", 10)
    assert metadata["sent_in_window"] == 0
    assert metadata["signal"]["seq"] == 10
    assert "waiting" not in metadata


async def test_headers_let_their_stop_the_emails_with_one_click(
    world: World, mail_server: MailServer
) -> None:
    supplier = await world.supplier()
    row = await world.row(supplier, "low_client_adoption")

    await world.delivery().deliver_due()

    [message] = mail_server.accepted
    web = str(message["List-Unsubscribe"])
    assert web.startswith("<https://app.wedsync.example/e/unsubscribe/")
    assert message["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    token = web.strip("<>").rpartition("/")[2]
    assert verify("unsubscribe", token, Keys("secret-key-of-the-tests")) == (supplier, row)
    assert message["Message-ID"] == f"<{row}@wedsync.example>"
    assert message["Date"].datetime == at(NOW)


async def test_every_change_of_status_is_told_in_order_with_ids_only(world: World) -> None:
    supplier = await world.supplier()
    row = await world.row(supplier, "low_client_adoption")
    delivery = world.delivery()

    await delivery.deliver_due()

    events = await world.events()
    assert [event["type"] for event in events] == [
        "success.intervention.sending",
        "success.intervention.sent",
    ]
    assert {event["subject"] for event in events} == {supplier}
    assert {event["data"]["intervention_id"] for event in events} == {row}
    assert "photographer@example.com" not in str(events)
    assert "Sarah" not in str(events)
    published = await world.published(delivery)
    assert [event.key for event in published] == [supplier, supplier]
    assert await world.published(delivery) == []


async def test_two_due_at_once_leave_by_priority_and_the_other_says_why(
    world: World, mail_server: MailServer
) -> None:
    supplier = await world.supplier()
    quick_win = await world.row(supplier, "became_at_risk")
    grow = await world.row(supplier, "low_client_adoption")

    await world.delivery().deliver_due()

    assert mail_server.templates() == ["grow_client_list"]
    assert await world.status(grow) == ("sent", None)
    assert await world.status(quick_win) == ("suppressed", "superseded")


async def test_the_lower_priority_waits_twenty_hours_for_the_higher(
    world: World, mail_server: MailServer
) -> None:
    supplier = await world.supplier(timezone="UTC")
    await world.health(supplier, features=["forms_created"], clients={"known": 5, "active": 0})
    await world.row(supplier, "low_client_adoption")
    stuck = await world.row(supplier, "stuck_onboarding")
    delivery = world.delivery()

    await delivery.deliver_due()

    assert await delivery.next_due_ms() == NOW + 23 * HOUR  # nine plus twenty hours is night: eight o'clock
    world.clock.advance_to(NOW + 23 * HOUR - 1)
    assert (await delivery.deliver_due()).total() == 0
    world.clock.advance_to(NOW + 23 * HOUR)
    await delivery.deliver_due()
    assert mail_server.templates() == ["grow_client_list", "finish_setup"]
    assert (await world.find(stuck))["due_at"] == at(NOW)


async def test_an_opt_out_before_sending_stops_it(world: World, mail_server: MailServer) -> None:
    supplier = await world.supplier()
    row = await world.row(supplier, "low_client_adoption")
    await world.query("UPDATE suppliers SET email_opt_out = true WHERE id = %s", supplier)

    await world.delivery().deliver_due()

    assert await world.status(row) == ("suppressed", "opted_out")
    assert mail_server.tried == 0
    [event] = await world.events()
    assert (event["type"], event["data"]["reason"]) == ("success.intervention.suppressed", "opted_out")


async def test_a_row_waits_for_health_as_new_as_its_signal(world: World, mail_server: MailServer) -> None:
    supplier = await world.supplier()
    row = await world.row(supplier, "low_client_adoption", signal={"seq": 11})
    delivery = world.delivery()

    await delivery.deliver_due()
    assert (await world.find(row))["metadata"]["waiting"] == "health"
    assert mail_server.accepted == []

    await world.health(supplier, seq=11, clients={"known": 6, "active": 2})
    assert await delivery.next_due_ms() == NOW
    await delivery.deliver_due()
    assert "6 clients" in str(mail_server.accepted[0]["Subject"])


async def test_a_row_waits_for_an_address_until_it_comes(world: World, mail_server: MailServer) -> None:
    supplier = await world.supplier(email=None)
    row = await world.row(supplier, "low_client_adoption")
    delivery = world.delivery()

    await delivery.deliver_due()
    assert (await world.find(row))["metadata"]["waiting"] == "address"

    await world.profile(supplier, email="late@example.com")
    await delivery.deliver_due()
    assert mail_server.envelopes == [("bounces@wedsync.example", ["late@example.com"])]
    found = await world.find(row)
    # not the end of the wait, which it did not need
    assert found["not_before"] == found["claimed_at"] == at(NOW)


async def test_an_address_that_never_comes_is_the_reason_after_72_hours(world: World) -> None:
    supplier = await world.supplier(email=None)
    row = await world.row(supplier, "low_client_adoption")
    delivery = world.delivery()
    await delivery.deliver_due()

    world.clock.advance_to(NOW + 72 * HOUR - 1)
    await delivery.deliver_due()
    assert await world.status(row) == ("scheduled", None)

    world.clock.advance_to(NOW + 72 * HOUR)
    await delivery.deliver_due()
    assert await world.status(row) == ("suppressed", "no_address")


async def test_an_in_app_message_is_sent_at_once_even_at_night(world: World) -> None:
    supplier = await world.supplier()
    world.clock.advance_to(NOW + 14 * HOUR)
    row = await world.row(supplier, "signed_up")

    await world.delivery().deliver_due()

    found = await world.find(row)
    assert (found["status"], found["sent_at"]) == ("sent", at(NOW + 14 * HOUR))


async def test_a_critical_supplier_becomes_a_task_for_the_agents_once(world: World) -> None:
    supplier = await world.supplier()
    await world.health(supplier, level="critical", score=31)
    row = await world.row(supplier, "became_critical")

    await world.delivery().deliver_due()

    [task] = await world.query("SELECT * FROM support_interactions")
    assert (str(task["supplier_id"]), task["interaction_type"]) == (supplier, "churn_prevention")
    assert (task["status"], task["scheduled_at"]) == ("scheduled", None)
    assert "the score fell to 31" in task["notes"].replace("\n", " ")
    assert await world.status(row) == ("sent", None)


async def test_a_sent_celebration_marks_its_milestone(world: World) -> None:
    supplier = await world.supplier()
    await world.row(supplier, "first_form_created")

    await world.delivery().deliver_due()

    [milestone] = await world.query("SELECT * FROM success_milestones")
    assert milestone["celebrated"]
    assert milestone["celebration_sent_at"] == at(NOW)


async def test_a_refusal_for_now_is_tried_again_later_and_later(
    world: World, mail_server: MailServer
) -> None:
    supplier = await world.supplier()
    row = await world.row(supplier, "low_client_adoption")
    mail_server.data = lambda _message: "451 too busy"
    delivery = world.delivery()

    waits = []
    for attempt in range(1, 4):
        await delivery.deliver_due()
        found = await world.find(row)
        assert (found["status"], found["attempts"]) == ("scheduled", attempt)
        assert found["claimed_at"] is None
        assert "451 too busy" in found["last_error"]
        due = await delivery.next_due_ms()
        assert due is not None
        waits.append(due - world.clock.now_ms())
        world.clock.advance_to(due)
    assert 15 * SECOND <= waits[0] <= 30 * SECOND
    assert 30 * SECOND <= waits[1] <= 60 * SECOND
    assert 60 * SECOND <= waits[2] <= 120 * SECOND

    mail_server.data = lambda _message: "250 OK"
    await delivery.deliver_due()
    assert await world.status(row) == ("sent", None)
    ids = [event["id"] for event in await world.events()]
    assert len(ids) == len(set(ids)) == 8  # sending and what came of it, four times


async def test_a_mail_server_that_is_away_is_waited_for(world: World, mail_server: MailServer) -> None:
    supplier = await world.supplier()
    row = await world.row(supplier, "low_client_adoption")
    mail_server.stop()

    count = await world.delivery().deliver_due()

    assert count.retried == 1
    found = await world.find(row)
    assert found["status"] == "scheduled"
    assert "can't connect to the mail server" in found["last_error"]
    mail_server.start()


async def test_what_no_retry_could_deliver_for_72_hours_is_expired(
    world: World, mail_server: MailServer
) -> None:
    supplier = await world.supplier()
    row = await world.row(supplier, "low_client_adoption")
    mail_server.data = lambda _message: "451 too busy"
    delivery = world.delivery()

    while (due := await delivery.next_due_ms()) is not None:
        world.clock.advance_to(due)
        await delivery.deliver_due()

    assert await world.status(row) == ("suppressed", "expired")
    assert world.clock.now_ms() == NOW + 72 * HOUR


@pytest.mark.parametrize("stage", ["rcpt", "data"])
async def test_a_refusal_for_good_is_a_failure_with_the_servers_words(
    world: World, mail_server: MailServer, stage: str
) -> None:
    supplier = await world.supplier()
    row = await world.row(supplier, "low_client_adoption")
    setattr(mail_server, stage, lambda _given: "550 no such mailbox")

    count = await world.delivery().deliver_due()

    assert count.failed == 1
    found = await world.find(row)
    assert (found["status"], found["last_error"]) == ("failed", "550 no such mailbox")


async def test_one_refused_address_does_not_hinder_the_others(world: World, mail_server: MailServer) -> None:
    for name in ("good", "bad", "fine"):
        await world.row(await world.supplier(email=f"{name}@example.com"), "low_client_adoption")
    mail_server.rcpt = lambda address: "550 no" if address.startswith("bad") else "250 OK"

    count = await world.delivery(workers=1).deliver_due()

    assert (count.sent, count.failed) == (2, 1)


async def test_a_lost_answer_is_unknown_and_never_sent_again(world: World, mail_server: MailServer) -> None:
    supplier = await world.supplier()
    row = await world.row(supplier, "low_client_adoption")
    mail_server.data = lambda _message: "drop"
    delivery = world.delivery()

    count = await delivery.deliver_due()

    assert count.unknown == 1
    assert await world.status(row) == ("unknown", None)
    mail_server.data = lambda _message: "250 OK"
    world.clock.advance_to(NOW + DAY)
    await delivery.deliver_due()
    assert mail_server.tried == 1


async def test_an_unknown_one_counts_as_sent(world: World, mail_server: MailServer) -> None:
    supplier = await world.supplier()
    await world.row(supplier, "low_client_adoption")
    mail_server.data = lambda _message: "drop"
    delivery = world.delivery()
    await delivery.deliver_due()
    mail_server.data = lambda _message: "250 OK"

    world.clock.advance_to(NOW + MINUTE)
    second = await world.row(supplier, "became_at_risk")
    await delivery.deliver_due()

    assert await world.status(second) == ("suppressed", "superseded")


async def test_a_message_that_cannot_be_written_fails_and_says_so(
    world: World, mail_server: MailServer
) -> None:
    supplier = await world.supplier()
    row = await world.row(supplier, "first_form_created", template="no_such_template")

    await world.delivery().deliver_due()

    found = await world.find(row)
    assert found["status"] == "failed"
    assert "no_such_template" in found["last_error"]
    assert mail_server.tried == 0


async def test_the_fourth_in_a_week_is_suppressed_at_once(world: World, mail_server: MailServer) -> None:
    supplier = await world.supplier(timezone="UTC")
    delivery = world.delivery()
    for day, trigger in enumerate(("stuck_onboarding", "no_login_7_days", "low_client_adoption")):
        world.clock.advance_to(NOW + day * DAY)
        await world.health(supplier, features=["forms_created"], seq=11 + day)
        await world.row(supplier, trigger)
        assert (await delivery.deliver_due()).sent == 1
    world.clock.advance_to(NOW + 3 * DAY)
    fourth = await world.row(supplier, "high_usage_free_tier")
    await world.health(supplier, forms={"created": 4, "sent": 0, "completed": 0}, seq=20)

    await delivery.deliver_due()

    assert await world.status(fourth) == ("suppressed", "weekly_cap")
    assert len(mail_server.accepted) == 3


async def test_many_deliveries_side_by_side_send_each_once(world: World, mail_server: MailServer) -> None:
    rows = [await world.row(await world.supplier(), "low_client_adoption") for _ in range(40)]
    deliveries = [world.delivery(workers=3) for _ in range(4)]

    counts = await asyncio.gather(*(delivery.deliver_due() for delivery in deliveries))

    assert sum(count.sent for count in counts) == 40
    sent = [str(message["X-Success-Intervention"]) for message in mail_server.accepted]
    assert sorted(sent) == sorted(rows)


async def test_a_stopped_delivery_claims_nothing_more(world: World, mail_server: MailServer) -> None:
    for _ in range(5):
        await world.row(await world.supplier(), "low_client_adoption")
    delivery = world.delivery(workers=1)

    def stop_after_this(_message: object) -> str:
        delivery.stop()
        return "250 OK"

    mail_server.data = stop_after_this
    count = await delivery.deliver_due()

    assert (count.sent, mail_server.tried) == (1, 1)
    left = await world.query("SELECT count(*) AS n FROM success_interventions WHERE status = 'scheduled'")
    assert left[0]["n"] == 4


@pytest.mark.parametrize(
    "url", ["localhost:25", "http://mail.example", "smtp://", "smtp://mail.example:port"]
)
def test_a_wrong_mail_server_stops_the_start_and_names_the_variable(url: str) -> None:
    with pytest.raises(SettingsError, match="SUCCESS_SMTP_URL"):
        SmtpAddress.from_url(url)


def test_a_mail_server_is_read_from_its_url() -> None:
    found = SmtpAddress.from_url("smtps://me%40x:p%2Fw@mail.example")
    assert (found.host, found.port, found.tls) == ("mail.example", 465, True)
    assert (found.username, found.password) == ("me@x", "p/w")
    assert SmtpAddress.from_url("smtp://mail.example").port == 25
