"""Who opened, who clicked, and what a refusal means: every complaint about other systems is a test here."""

from __future__ import annotations

import pytest

from scoring.feedback import BounceClass, Hit, Rules, bounce_class, judge
from scoring.time import HOUR, SECOND

RULES = Rules.load()
SENT = 1_768_813_200_000
PHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_2 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148"
LAPTOP = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0 Safari/537.36"
GMAIL = "Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)"


def judged(hit: Hit, *recent: Hit, sent_at: int | None = SENT) -> tuple[str, str]:
    found = judge(hit, sent_at, recent, RULES)
    return found.classification, found.why


def hit(kind, after: int = HOUR, agent: str = PHONE, **more: str) -> Hit:
    return Hit(kind, SENT + after, agent, **more)


@pytest.mark.parametrize(
    "agent",
    [
        PHONE,
        LAPTOP,
        "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Thunderbird/128.5",
        "Mozilla/4.0 (compatible; MSIE 7.0; Windows NT 10.0; Win64; Microsoft Outlook 16.0; ms-office; MSOffice 16)",
    ],
)
@pytest.mark.parametrize("kind", ["open", "click"])
def test_a_person_with_an_ordinary_program_counts(kind, agent):
    assert judged(hit(kind, agent=agent))[0] == "human"


@pytest.mark.parametrize(
    ("agent", "why"),
    [
        (GMAIL, "proxy:gmail"),
        ("YahooMailProxy; https://help.yahoo.com/kb/yahoo-mail-proxy-SLN28749.html", "proxy:yahoo"),
        ("Mozilla/5.0", "proxy:apple"),
    ],
)
def test_listmonk_1025_an_open_by_a_prefetching_proxy_is_kept_apart(agent, why):
    """Half of all recipients seemed to open within a minute or two: their providers' proxies did."""
    assert judged(hit("open", agent=agent)) == ("machine", why)
    assert judged(hit("click", agent=agent)) == ("bot", why)


@pytest.mark.parametrize("kind", ["open", "click"])
def test_listmonk_1025_a_hit_right_after_sending_is_a_scanner(kind):
    assert judged(hit(kind, after=1 * SECOND)) == ("bot", "too_fast")
    assert judged(hit(kind, after=-SECOND)) == ("bot", "too_fast")
    assert judged(hit(kind), sent_at=None) == ("bot", "too_fast")
    assert judged(hit(kind, after=10 * SECOND))[0] == "human"


@pytest.mark.parametrize(
    "agent",
    [
        "",
        "Barracuda Sentinel (EE)",
        "Mozilla/5.0 (Windows NT 10.0) SafeLinks",
        "python-requests/2.32.3",
        "curl/8.11.0",
        "Mozilla/5.0 (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)",
        "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 HeadlessChrome/120.0.0.0 Safari/537.36",
        "Mimecast/1.0",
    ],
)
@pytest.mark.parametrize("kind", ["open", "click"])
def test_mautic_9798_known_machines_are_bots(kind, agent):
    assert judged(hit(kind, agent=agent))[0] == "bot"


def test_mautic_9798_all_links_within_a_second_is_no_person():
    """A gateway that calls itself a browser fetches every link of a message; a person clicks one."""
    first = hit("click", agent=LAPTOP, link="a")
    assert judged(first)[0] == "human"
    assert judged(hit("view", agent=LAPTOP, link="unsubscribe"), first) == ("bot", "burst")
    assert judged(hit("click", agent=LAPTOP, link="a"), first)[0] == "human", "a double click is a person's"
    assert judged(hit("click", agent=LAPTOP, link="a"), hit("open"))[0] == "human", "the pixel is no link"


def test_a_head_request_is_nobody_reading():
    assert judged(hit("click", method="HEAD")) == ("bot", "head")


@pytest.mark.parametrize(
    ("claimed", "code", "diagnostic", "expected"),
    [
        (None, "5.1.1", "550 5.1.1 The email account that you tried to reach does not exist", "hard"),
        ("hard", "5.1.1", None, "hard"),
        ("hard", None, None, "hard"),
        (None, "550", "550 no such mailbox", "hard"),
        (None, None, "550 5.1.1 <info@marblehall.example> user unknown", "hard"),
        ("hard", "5.1.10", "Recipient not found by SMTP address lookup", "hard"),
        # in doubt soft
        (None, "550", None, "soft"),
        (None, "550", "550 Requested action not taken", "soft"),
        ("soft", None, None, "soft"),
        (None, "4.4.7", "message expired", "soft"),
        ("hard", "421", "try later", "soft"),
    ],
)
def test_a_bounce_is_hard_only_if_the_address_is_dead(
    claimed: BounceClass | None, code: str | None, diagnostic: str | None, expected: str
):
    assert bounce_class(claimed, code, diagnostic, RULES) == expected


@pytest.mark.parametrize("claimed", [None, "hard", "soft"])
@pytest.mark.parametrize(
    ("code", "diagnostic"),
    [
        ("5.2.2", None),
        ("552", "552 5.2.2 The email account that you tried to reach is over quota"),
        (None, "550 mailbox full"),
    ],
)
def test_mautic_9190_a_full_mailbox_is_a_soft_bounce(claimed, code, diagnostic):
    assert bounce_class(claimed, code, diagnostic, RULES) == "soft"


@pytest.mark.parametrize("claimed", [None, "hard"])
@pytest.mark.parametrize(
    ("code", "diagnostic"),
    [
        ("5.7.1", None),
        ("550", "550 5.7.1 Unfortunately, messages from [192.0.2.1] weren't sent: our block list (S3150)"),
        ("554", "554 Service unavailable; Client host blocked using zen.spamhaus.org"),
        ("5.1.1", "550 5.1.1 rejected: sender has a poor reputation"),
    ],
)
def test_mautic_9222_a_verdict_on_us_says_nothing_about_her_address(claimed, code, diagnostic):
    assert bounce_class(claimed, code, diagnostic, RULES) == "soft"
