"""What users of other systems complain about most, each by the name of its issue there: it does not happen here."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from email.message import EmailMessage

import pytest

from scoring.decisions.policy import Policy
from scoring.health.machine import advance, apply
from scoring.health.signals import CONDITION_MET
from scoring.health.state import State
from scoring.time import DAY, HOUR, MINUTE
from scoring.zones import zone_named
from store.times import to_time
from tests.agents.delivery.mail_server import MailServer
from tests.agents.delivery.world import NOW, World
from topics.decoding import ActivityEvent
from topics.time import format_time

pytestmark = pytest.mark.stack


async def test_mautic_2215_a_signal_that_comes_again_is_not_a_second_email(
    world: World, mail_server: MailServer
) -> None:
    supplier = await world.supplier()
    row = await world.row(supplier, "low_client_adoption")
    await world.repeat(row)
    await world.delivery().deliver_due()
    await world.repeat(row)
    world.clock.advance_to(NOW + 8 * DAY)
    await world.delivery().deliver_due()

    assert len(mail_server.accepted) == 1
    assert await world.status(row) == ("sent", None)


async def test_mautic_8802_many_deliveries_at_the_same_moment_do_not_send_the_same_email_twice(
    world: World, mail_server: MailServer
) -> None:
    """Not even while the mail server is slow, so that each sees the other's rows half done."""
    rows = [await world.row(await world.supplier(), "low_client_adoption") for _ in range(12)]
    busy = 0

    def slowly(_message: EmailMessage) -> str:
        nonlocal busy
        busy += 1
        return "451 later" if busy % 5 == 0 else "250 OK"

    mail_server.data = slowly
    for _ in range(20):
        await asyncio.gather(*(world.delivery(workers=2).deliver_due() for _ in range(4)))
        due = await world.delivery().next_due_ms()
        if due is None:
            break
        world.clock.advance_to(due)
    sent = [str(message["X-Success-Intervention"]) for message in mail_server.accepted]
    assert sorted(sent) == sorted(rows)


async def test_mautic_6729_a_cap_also_holds_for_what_falls_due_at_once_after_an_outage(world: World) -> None:
    """Five messages pile up while delivery is down for two days: three leave, the others say that a cap held them."""
    supplier = await world.supplier(timezone="UTC")
    await world.health(
        supplier,
        level="critical",
        score=30,
        features=[],
        clients={"known": 5, "active": 0},
        forms={"created": 4, "sent": 0, "completed": 0},
    )
    names = (
        "became_critical",
        "signed_up",
        "first_form_created",
        "high_usage_free_tier",
        "low_client_adoption",
    )
    rows = [await world.row(supplier, name) for name in names]
    world.clock.advance_to(NOW + 2 * DAY)
    delivery = world.delivery()
    while True:
        await delivery.deliver_due()
        due = await delivery.next_due_ms()
        if due is None:
            break
        world.clock.advance_to(due)

    found = {name: await world.status(row) for name, row in zip(names, rows, strict=True)}
    assert [name for name, (status, _) in found.items() if status == "sent"] == [
        "became_critical",
        "first_form_created",
        "low_client_adoption",
    ]
    assert found["signed_up"] == found["high_usage_free_tier"] == ("suppressed", "weekly_cap")


async def test_mautic_10575_a_hold_an_opt_out_or_a_pause_also_stops_what_was_scheduled_or_is_being_retried(
    world: World, mail_server: MailServer
) -> None:
    mail_server.data = lambda _message: "451 later"
    suppliers = [await world.supplier() for _ in range(3)]
    rows = [await world.row(supplier, "low_client_adoption") for supplier in suppliers]
    delivery = world.delivery()
    await delivery.deliver_due()
    mail_server.data = lambda _message: "250 OK"

    await world.hold(suppliers[0], is_held=True)
    await world.query("UPDATE suppliers SET all_opt_out = true WHERE id = %s", suppliers[1])
    await pause(world, suppliers[2], NOW + 30 * DAY)
    world.clock.advance_to(NOW + 2 * HOUR)
    await delivery.deliver_due()

    assert mail_server.accepted == []
    assert [await world.status(row) for row in rows] == [
        ("suppressed", "held"),
        ("suppressed", "opted_out"),
        ("suppressed", "paused"),
    ]


@pytest.mark.parametrize(("before", "status"), [(1, ("suppressed", "paused")), (0, ("sent", None))])
async def test_mautic_10575_a_pause_lasts_to_the_millisecond(
    world: World, before: int, status: tuple[str, str | None]
) -> None:
    supplier = await world.supplier()
    await pause(world, supplier, NOW + 30 * DAY)
    world.clock.advance_to(NOW + 30 * DAY - before)
    row = await world.row(supplier, "low_client_adoption")
    await world.delivery().deliver_due()
    assert await world.status(row) == status


async def pause(world: World, supplier_id: str, until: int) -> None:
    """They want no messages until then."""
    await world.query("UPDATE suppliers SET paused_until = %s WHERE id = %s", to_time(until), supplier_id)


async def test_mautic_4635_who_never_came_is_missed_as_well(world: World, mail_server: MailServer) -> None:
    supplier = await world.supplier()
    state = State()
    began = NOW - 7 * DAY
    event = ActivityEvent("supplier.signed_up", began, "1", "/test", supplier, None)
    signals = apply(state, supplier, event) + advance(state, supplier, NOW)

    [absence] = [
        each for each in signals if each.type == CONDITION_MET and each.data["condition"] == "no_login_7_days"
    ]
    assert absence.at == NOW
    [trigger] = Policy.load().triggers_for(absence.type, absence.data)
    await world.health(supplier, last_login=None, signed_up_at=format_time(began), level="critical", score=0)
    row = await world.row(supplier, trigger.name, signal={"seq": 10})
    await world.delivery().deliver_due()

    assert await world.status(row) == ("sent", None)
    assert "waiting for its first visit" in str(mail_server.accepted[0].get_body(("plain",)))


@pytest.mark.parametrize("zone", ["America/Los_Angeles", "Europe/London", "Asia/Tokyo", "Pacific/Auckland"])
async def test_mautic_5318_no_mail_at_three_in_the_morning_wherever_they_live(
    world: World, mail_server: MailServer, zone: str
) -> None:
    supplier = await world.supplier(timezone=zone)
    night = datetime(2026, 3, 29, 3, 0, tzinfo=zone_named(zone))  # in Europe that hour has just been cut out
    world.clock.advance_to(round(night.timestamp() * 1000))
    row = await world.row(supplier, "low_client_adoption")
    await world.health(supplier, last_login=format_time(world.clock.now_ms() - 9 * DAY))
    delivery = world.delivery()

    await delivery.deliver_due()
    assert mail_server.accepted == []
    due = await delivery.next_due_ms()
    assert due is not None
    world.clock.advance_to(due - MINUTE)
    await delivery.deliver_due()
    assert mail_server.accepted == []
    world.clock.advance_to(due)
    await delivery.deliver_due()

    assert await world.status(row) == ("sent", None)
    local = datetime.fromtimestamp(due / 1000, UTC).astimezone(zone_named(zone))
    assert (local.hour, local.minute) == (8, 0)
