"""Each email as the mail server gets it, looked at by others' rules: MIME, RFC 5322, RFC 8058, and our links."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from email import message_from_bytes, policy
from email.message import EmailMessage
from html.parser import HTMLParser
from typing import Any, cast

import pytest

from agents.letters.links import verify, verify_click
from runtime.keys import Keys
from scoring.decisions.policy import Policy
from tests.agents.delivery.mail_server import MailServer
from tests.agents.delivery.world import NOW, World

pytestmark = pytest.mark.stack

KEY = "secret-key-of-the-tests"
PUBLIC = "https://app.wedsync.example"
EMAILS = [trigger.name for trigger in Policy.load().triggers if trigger.channel == "email"]
HEALTH: dict[str, dict[str, Any]] = {
    "zero_clients_imported": {"features": [], "clients": {"known": 0, "active": 0}},
    "stuck_onboarding": {"features": ["forms_created"]},
    "high_usage_free_tier": {"clients": {"known": 21, "active": 2}},
}
TALLEST_LINE = 998
"""RFC 5322, without the line end."""


class Addresses(HTMLParser):
    """Where a page's links and images lead."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.images: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "a":
            self.links.append(given.get("href") or "")
        if tag == "img":
            self.images.append(given.get("src") or "")


async def wire(world: World, mail_server: MailServer, trigger: str) -> bytes:
    """The bytes that the mail server gets for a trigger, line ends included."""
    got: list[bytes] = []
    keep = mail_server.handle_DATA

    async def handle_data(server: Any, session: Any, envelope: Any) -> str:
        got.append(envelope.original_content)
        return await keep(server, session, envelope)

    mail_server.handle_DATA = handle_data  # type: ignore[method-assign]
    supplier = await world.supplier(first_name="Zoë", business_name="Zoë & نور الهدى <Weddings>")
    if trigger in HEALTH:
        await world.health(supplier, **HEALTH[trigger])
    row = await world.row(supplier, trigger)
    await world.delivery().deliver_due()
    assert await world.status(row) == ("sent", None)
    [content] = got
    return content


def read(content: bytes) -> EmailMessage:
    return cast("EmailMessage", message_from_bytes(content, policy=policy.SMTP))


def body(message: EmailMessage, kind: str) -> str:
    part = message.get_body((kind,))
    assert part is not None
    return cast("str", part.get_content())


@pytest.mark.parametrize("trigger", EMAILS)
async def test_every_email_passes_an_independent_reading(
    world: World, mail_server: MailServer, trigger: str
) -> None:
    content = await wire(world, mail_server, trigger)
    message = read(content)

    # the wire: ASCII, CRLF, no line too long
    assert content.isascii()
    assert b"\n" not in content.replace(b"\r\n", b"")
    assert b"\r" not in content.replace(b"\r\n", b"")
    assert max(map(len, content.split(b"\r\n"))) <= TALLEST_LINE
    # MIME: no part and no header with a defect; text first, HTML as the better alternative
    for part in message.walk():
        assert part.defects == []
        for value in part.values():
            assert not getattr(value, "defects", ()), value
    assert message.get_content_type() == "multipart/alternative"
    assert [part.get_content_type() for part in message.iter_parts()] == ["text/plain", "text/html"]
    assert message["MIME-Version"] == "1.0"
    # each header that may stand once does, and the necessary ones do
    names = [name.lower() for name in message]
    assert len(names) == len(set(names))
    assert {"from", "to", "subject", "date", "message-id"} <= set(names)

    assert message["Message-ID"].rstrip(">").endswith(f"@{message['From'].addresses[0].domain}")
    assert message["Date"].datetime == datetime.fromtimestamp(NOW / 1000, UTC)
    assert [each.addr_spec for each in message["To"].addresses] == ["photographer@example.com"]

    # RFC 8058 and 2369: one address, HTTPS, and the Post header to the letter; no mailbox that nobody reads
    [web] = re.findall(r"<([^>]+)>", str(message["List-Unsubscribe"]))
    assert web.startswith("https://")
    assert message["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert verify("unsubscribe", web.rpartition("/")[2], Keys(KEY)) is not None


@pytest.mark.parametrize("trigger", EMAILS)
async def test_every_link_of_every_email_is_ours_and_verifies(
    world: World, mail_server: MailServer, trigger: str
) -> None:
    message = read(await wire(world, mail_server, trigger))
    row = str(message["X-Success-Intervention"])
    page = Addresses(body(message, "html"))
    in_text = re.findall(r"https?://\S+", body(message, "plain"))
    assert in_text
    assert page.links
    for address in (*page.links, *page.images, *in_text):
        verified(address, row)


def verified(address: str, row: str) -> None:
    """Assert that an address is on our own host, over HTTPS, and of this message where it is signed."""
    assert address.startswith(f"{PUBLIC}/"), address
    found = re.fullmatch(rf"{PUBLIC}/e/(\w+)/([\w-]+)(?:\.\w+)?", address)
    if found is None:
        assert "/e/" not in address, address
    elif found[1] == "click":
        click = verify_click(found[2], Keys(KEY))
        assert click is not None, address
        assert click.linked.intervention_id == row
        assert click.destination.startswith(f"{PUBLIC}/"), click
    else:
        linked = verify(cast("Any", found[1]), found[2], Keys(KEY))
        assert linked is not None, address
        assert linked.intervention_id == row or found[1] == "milestone"


@pytest.mark.parametrize("trigger", EMAILS)
async def test_no_email_waves_a_spam_filters_red_flag(
    world: World, mail_server: MailServer, trigger: str
) -> None:
    """What SpamAssassin's rules of content look at; each email scored 0.0 with it (docs/interventions.md)."""
    content = await wire(world, mail_server, trigger)
    message = read(content)
    subject, text, page = str(message["Subject"]), body(message, "plain"), body(message, "html")

    assert not subject.isupper()
    assert not re.search(r"[!?]{2}|[$£€%]|\bfree\b.*!|^re:", subject, re.IGNORECASE)
    assert not re.search(
        r"act now|click here|click below|100 ?%|guarantee|winner|urgent", text, re.IGNORECASE
    )
    assert len(text.split()) > 40
    assert len(content) < 60_000
    # no image-only mail, no form, no script, nothing loaded from elsewhere, no text in the colour of its ground
    assert not re.search(r"<(form|script|iframe|object|embed|link)\b", page)
    assert all(image.startswith(f"{PUBLIC}/e/open/") for image in Addresses(page).images)
    assert not re.search(r"\.preheader[^}]*color: #f4f1ee", page)
    # the same letter in both parts, and more than a tenth of the page is words
    seen = " ".join(
        re.sub(r"<style.*?</style>|<title>.*?</title>|<[^>]+>", " ", page, flags=re.DOTALL).split()
    )
    assert (
        0.6 < len(re.findall(r"\w+", seen)) / len(re.findall(r"\w+", re.sub(r"https?://\S+", "", text))) < 1.7
    )
    assert len(seen) / len(page) > 0.08
    # nothing that hides where it leads: a host by number, a shortener, an address shown that is not the one behind it
    assert not re.search(r"https?://(\d+\.){3}\d+|bit\.ly|tinyurl|//t\.co/|goo\.gl", text + page)
    assert not re.search(r"<a\b[^>]*>\s*https?://", page)
