"""What the links of a delivered email do, on real Postgres, Kafka and SMTP."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from httpx import AsyncClient

from agents.letters.links import is_web_address, sign, sign_click, verify_click
from runtime.clock import ManualClock
from runtime.keys import Keys
from runtime.settings import Settings
from scoring.time import DAY, HOUR, MINUTE, SECOND
from store import suppliers
from tests.agents.delivery.mail_server import MailServer
from tests.agents.delivery.world import ERASURE_KEY, NOW, World
from topics.time import format_time

pytestmark = pytest.mark.stack

PHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_2 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148"
BROWSER = {"User-Agent": PHONE}
GMAIL = {
    "User-Agent": "Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)"
}


def at(ms: int) -> datetime:
    return datetime.fromtimestamp(ms / 1000, UTC)


class Sent:
    """An email that has been delivered, and its links."""

    def __init__(self, supplier: str, row: str, html: str, header: str) -> None:
        self.supplier, self.row = supplier, row
        self.one_click = path(header.partition(",")[0].strip("<> "))
        links = re.findall(r'(?:href|src)="([^"]+)"', html)
        self.pixel = next(path(each) for each in links if "/e/open/" in each)
        self.clicks = [path(each) for each in links if "/e/click/" in each]
        self.unsubscribe = next(path(each) for each in links if "/e/unsubscribe/" in each)
        self.preferences = next(path(each) for each in links if "/e/preferences/" in each)


def path(url: str) -> str:
    return httpx.URL(url).path


@pytest.fixture
async def sent(world: World, settings: Settings, mail_server: MailServer, clock: ManualClock) -> Sent:
    """An email delivered at NOW; a minute has passed since."""
    world.settings = settings.model_copy(update={"smtp_url": mail_server.url})
    supplier = await world.supplier()
    row = await world.row(supplier, "low_client_adoption")
    assert (await world.delivery().deliver_due()).sent == 1
    [message] = mail_server.accepted
    body = message.get_body(("html",))
    assert body is not None
    clock.advance_to(NOW + MINUTE)
    return Sent(supplier, row, body.get_content(), str(message["List-Unsubscribe"]))


async def consent(world: World, supplier: str) -> dict[str, Any]:
    [found] = await world.query("SELECT * FROM suppliers WHERE id = %s", supplier)
    return found


async def told(world: World, kind: str) -> list[dict[str, Any]]:
    return [event for event in await world.events() if event["type"].endswith(kind)]


# unsubscribing ---------------------------------------------------------------------------------------


async def test_one_click_stops_the_emails_before_it_answers(
    api: AsyncClient, world: World, sent: Sent
) -> None:
    """RFC 8058: a form POST without cookies or login."""
    answer = await api.post(sent.one_click, data={"List-Unsubscribe": "One-Click"})

    assert answer.status_code == 200
    assert "set-cookie" not in answer.headers
    found = await consent(world, sent.supplier)
    assert (found["email_opt_out"], found["email_opt_out_at"]) == (True, at(NOW + MINUTE))
    assert (found["all_opt_out"], found["paused_until"]) == (False, None)
    [event] = await told(world, "communication.opted_out")
    assert (event["subject"], event["data"]) == (sent.supplier, {"scope": "email"})
    assert event["time"] == format_time(NOW + MINUTE)
    [unsubscribed] = await told(world, "intervention.unsubscribed")
    assert unsubscribed["data"]["intervention_id"] == sent.row
    assert (await world.find(sent.row))["unsubscribed_at"] == at(NOW + MINUTE)


async def test_one_click_as_multipart_works_too(api: AsyncClient, world: World, sent: Sent) -> None:
    answer = await api.post(sent.one_click, files={"List-Unsubscribe": (None, "One-Click")})
    assert answer.status_code == 200
    assert (await consent(world, sent.supplier))["email_opt_out"]


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
async def test_rock_7034_link_scanners_unsubscribe_nobody(
    api: AsyncClient, world: World, sent: Sent, method: str
) -> None:
    for link in (sent.one_click, sent.unsubscribe, sent.preferences, sent.pixel, *sent.clicks):
        await api.request(method, link, headers={"User-Agent": "Mozilla/5.0 SafeLinks"})
    found = await consent(world, sent.supplier)
    assert (found["email_opt_out"], found["all_opt_out"], found["paused_until"]) == (False, False, None)
    assert await told(world, "opted_out") == []


async def test_the_page_has_one_button_that_does_it(api: AsyncClient, sent: Sent) -> None:
    page = await api.get(sent.unsubscribe, headers=BROWSER)
    assert page.headers["content-type"].startswith("text/html")
    assert page.text.count("<button") == 1
    assert '<form method="post">' in page.text
    assert "<script" not in page.text
    assert page.headers["referrer-policy"] == "no-referrer"
    assert "Sarah" not in page.text

    done = await api.post(sent.unsubscribe, data={"List-Unsubscribe": "One-Click"})
    assert "You are unsubscribed" in done.text
    assert "You are unsubscribed" in (await api.get(sent.unsubscribe)).text


async def test_an_unsubscribe_link_works_years_later_and_again(
    api: AsyncClient, world: World, sent: Sent, clock: ManualClock
) -> None:
    clock.advance_to(NOW + 3000 * DAY)
    for _ in range(3):
        assert (await api.post(sent.one_click)).status_code == 200
    assert len(await told(world, "communication.opted_out")) == 1
    assert len(await told(world, "intervention.unsubscribed")) == 1


async def test_what_was_scheduled_before_they_unsubscribed_is_not_sent(
    api: AsyncClient, world: World, sent: Sent, mail_server: MailServer, clock: ManualClock
) -> None:
    waiting = await world.row(sent.supplier, "stuck_onboarding")
    await world.health(sent.supplier, features=["forms_created"])
    delivery = world.delivery()
    await delivery.deliver_due()
    assert await world.status(waiting) == ("scheduled", None)

    await api.post(sent.one_click)

    due = await delivery.next_due_ms()
    assert due is not None
    clock.advance_to(due)
    await delivery.deliver_due()
    assert await world.status(waiting) == ("suppressed", "opted_out")
    assert len(mail_server.accepted) == 1


async def test_an_older_opt_in_does_not_undo_it(api: AsyncClient, world: World, sent: Sent) -> None:
    await api.post(sent.one_click)
    older = {"email_opt_out": False, "email_at": format_time(NOW), "all_opt_out": False, "all_at": None}
    async with world.pool.connection() as conn:
        await suppliers.save_consent(conn, [{"supplier_id": sent.supplier, **older}])
    assert (await consent(world, sent.supplier))["email_opt_out"]


async def test_a_clock_that_ran_ahead_does_not_undo_it(api: AsyncClient, world: World, sent: Sent) -> None:
    ahead = {
        "email_opt_out": False,
        "email_at": format_time(NOW + 5 * MINUTE),
        "all_opt_out": False,
        "all_at": None,
    }
    async with world.pool.connection() as conn:
        await suppliers.save_consent(conn, [{"supplier_id": sent.supplier, **ahead}])
    await api.post(sent.one_click)
    async with world.pool.connection() as conn:
        await suppliers.save_consent(conn, [{"supplier_id": sent.supplier, **ahead}])
    assert (await consent(world, sent.supplier))["email_opt_out"]


async def test_a_bad_token_and_an_erased_supplier_look_the_same(
    api: AsyncClient, world: World, sent: Sent
) -> None:
    async with world.pool.connection() as conn:
        await suppliers.lock(conn, [sent.supplier], ERASURE_KEY)
        await suppliers.erase(conn, [sent.supplier], ERASURE_KEY, at(NOW))
    forged = sent.one_click[:-4] + "AAAA"
    pages = set()
    for link in (sent.one_click, forged, "/e/unsubscribe/x", "/e/preferences/%C3%A9", sent.preferences):
        for method in ("GET", "POST"):
            answer = await api.request(method, link, data={"choice": "all_on"} if method == "POST" else None)
            assert answer.status_code == 404
            pages.add(answer.text)
    assert len(pages) == 1
    assert await told(world, "opted_out") == []


async def test_a_token_is_good_for_its_own_kind_of_link_only(api: AsyncClient, sent: Sent) -> None:
    token = sent.unsubscribe.rpartition("/")[2]
    assert (await api.post(f"/e/preferences/{token}", data={"choice": "all_off"})).status_code == 404
    assert (await api.get(f"/e/open/{token}.gif")).status_code == 404
    assert (await api.get(f"/e/click/{token}")).status_code == 404


# preferences -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("choice", "email", "everything", "paused"),
    [
        ("emails_off", True, False, False),
        ("pause", False, False, True),
        ("all_off", True, True, False),
    ],
)
async def test_the_preference_centre_changes_what_they_chose_and_back(
    api: AsyncClient, world: World, sent: Sent, choice: str, email: bool, everything: bool, paused: bool
) -> None:
    page = await api.post(sent.preferences, data={"choice": choice})
    assert page.status_code == 200
    found = await consent(world, sent.supplier)
    assert (found["email_opt_out"], found["all_opt_out"]) == (email, everything)
    assert found["paused_until"] == (at(NOW + MINUTE + 30 * DAY) if paused else None)
    assert 'value="all_on"' in (await api.get(sent.preferences)).text

    await api.post(sent.preferences, data={"choice": "all_on"})
    found = await consent(world, sent.supplier)
    assert (found["email_opt_out"], found["all_opt_out"], found["paused_until"]) == (False, False, None)
    scopes = [event["data"]["scope"] for event in await told(world, "communication.opted_in")]
    assert scopes == ["email"] * email + ["all"] * everything


async def test_during_a_pause_nothing_is_sent_and_after_it_everything_again(
    api: AsyncClient, world: World, sent: Sent, clock: ManualClock
) -> None:
    """Pauses that nobody keeps: mautic #6729."""
    await api.post(sent.preferences, data={"choice": "pause"})
    end = NOW + MINUTE + 30 * DAY
    for moment, outcome in ((end - 1, ("suppressed", "paused")), (end, ("sent", None))):
        clock.advance_to(moment)
        row = await world.row(sent.supplier, "signed_up")
        await world.delivery().deliver_due()
        assert await world.status(row) == outcome


async def test_a_choice_that_nobody_offered_changes_nothing(
    api: AsyncClient, world: World, sent: Sent
) -> None:
    for data in ({"choice": "x"}, {}, {"choice": "y" * 100_000}):
        assert (await api.post(sent.preferences, data=data)).status_code == 400
    assert not (await consent(world, sent.supplier))["email_opt_out"]


# opens and clicks ------------------------------------------------------------------------------------


async def test_a_person_opens_and_clicks(
    api: AsyncClient, world: World, sent: Sent, clock: ManualClock
) -> None:
    picture = await api.get(sent.pixel, headers=BROWSER)
    assert (picture.status_code, picture.headers["content-type"]) == (200, "image/gif")
    assert "no-store" in picture.headers["cache-control"]
    clock.advance_to(NOW + 2 * MINUTE)
    for _ in range(2):
        click = await api.get(sent.clicks[0], headers=BROWSER)
        assert click.status_code == 302
        assert click.headers["location"].startswith("https://app.wedsync.example/") or click.headers[
            "location"
        ].startswith(world.settings.public_url)
        clock.advance_to(NOW + HOUR)
    found = await world.find(sent.row)
    assert (found["opened_at"], found["clicked_at"]) == (at(NOW + MINUTE), at(NOW + 2 * MINUTE))


async def test_a_click_implies_an_open(api: AsyncClient, world: World, sent: Sent) -> None:
    await api.get(sent.clicks[0], headers=BROWSER)
    found = await world.find(sent.row)
    assert found["opened_at"] == found["clicked_at"] == at(NOW + MINUTE)


async def test_listmonk_1025_proxies_and_scanners_open_nothing(
    api: AsyncClient, world: World, sent: Sent
) -> None:
    await api.get(sent.pixel, headers=GMAIL)
    await api.get(sent.pixel, headers={"User-Agent": "Mozilla/5.0"})
    await api.get(sent.pixel, headers={"User-Agent": "Barracuda Sentinel (EE)"})
    await api.head(sent.clicks[0], headers=BROWSER)
    found = await world.find(sent.row)
    assert (found["opened_at"], found["clicked_at"]) == (None, None)
    hits = await world.query("SELECT classification, why FROM message_hits ORDER BY id")
    assert [hit["classification"] for hit in hits] == ["machine", "machine", "bot", "bot"]
    assert all(hit["why"] for hit in hits)


async def test_mautic_9798_a_burst_takes_back_what_looked_like_a_person(
    api: AsyncClient, world: World, sent: Sent, clock: ManualClock
) -> None:
    await api.get(sent.clicks[0], headers=BROWSER)
    assert (await world.find(sent.row))["clicked_at"] is not None
    clock.advance_to(NOW + MINUTE + 300)
    await api.get(sent.unsubscribe, headers=BROWSER)
    found = await world.find(sent.row)
    assert (found["opened_at"], found["clicked_at"]) == (None, None)
    assert await world.query("SELECT * FROM feedback_due") == []

    clock.advance_to(NOW + HOUR)
    await api.get(sent.clicks[0], headers=BROWSER)
    assert (await world.find(sent.row))["clicked_at"] == at(NOW + HOUR)


async def test_no_address_of_anybody_is_kept(api: AsyncClient, world: World, sent: Sent) -> None:
    await api.get(sent.pixel, headers=BROWSER)
    [hit] = await world.query("SELECT * FROM message_hits")
    assert hit["address_hash"] is not None
    assert "203.0.113" not in str(hit)


async def test_a_link_leads_only_where_it_was_signed_to(
    api: AsyncClient, settings: Settings, sent: Sent
) -> None:
    key = settings.secret("secret_key")
    token = sign_click("https://app.wedsync.example/clients?tab=1#import", sent.supplier, sent.row, key)
    answer = await api.get(f"/e/click/{token}", headers=BROWSER)
    assert answer.headers["location"] == "https://app.wedsync.example/clients?tab=1#import"
    for forged in (token + "L2V2aWw", token[:-3], sign("click", sent.supplier, sent.row, key)):
        assert verify_click(forged, Keys(key)) is None
        assert (await api.get(f"/e/click/{forged}", headers=BROWSER)).status_code == 404
    answer = await api.get(f"/e/click/{token}?url=https://evil.example/", headers=BROWSER)
    assert answer.headers["location"].startswith("https://app.wedsync.example/")


@pytest.mark.parametrize(
    "address",
    [
        "javascript:alert(1)",
        "//evil.example",
        "/clients",
        "https://user@evil.example/",
        "https:///x",
        "https://a.example/\r\nX: y",
        "https://a.example\\@b.example",
        "",
    ],
)
def test_only_web_addresses_can_be_signed(address: str) -> None:
    assert not is_web_address(address)
    with pytest.raises(ValueError, match="web address"):
        sign_click(address, str(ERASED), str(ERASED), "key")


ERASED = "11111111-1111-4111-8111-111111111111"


async def test_links_of_an_erased_supplier_still_lead_on_and_note_nothing(
    api: AsyncClient, world: World, sent: Sent
) -> None:
    async with world.pool.connection() as conn:
        await suppliers.lock(conn, [sent.supplier], ERASURE_KEY)
        await suppliers.erase(conn, [sent.supplier], ERASURE_KEY, at(NOW))
    assert (await api.get(sent.clicks[0], headers=BROWSER)).status_code == 302
    assert (await api.get(sent.pixel, headers=BROWSER)).status_code == 200
    assert await world.query("SELECT * FROM message_hits") == []


async def test_a_hit_right_after_sending_counts_for_nobody(
    api: AsyncClient, world: World, settings: Settings, mail_server: MailServer, clock: ManualClock
) -> None:
    world.settings = settings.model_copy(update={"smtp_url": mail_server.url})
    row = await world.row(await world.supplier(), "low_client_adoption")
    await world.delivery().deliver_due()
    body = mail_server.accepted[0].get_body(("html",))
    assert body is not None
    pixel = next(path(each) for each in re.findall(r'src="([^"]+)"', body.get_content()))
    clock.advance_to(NOW + SECOND)
    await api.get(pixel, headers=BROWSER)
    assert (await world.find(row))["opened_at"] is None
