"""Who opened, who clicked, and what a refusal means: every complaint about other systems is a test here."""

from __future__ import annotations

from pathlib import Path

import pytest

from scoring.decisions.feedback import (
    LONGEST_REPLY,
    BounceClass,
    Hit,
    Reply,
    Rules,
    bounce_meaning,
    judge,
    without_addresses,
)
from scoring.time import HOUR, SECOND

RULES = Rules.load()
REPLIES = Path(__file__).parents[2] / "cases" / "bounce_replies.tsv"
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


def bounced(claimed: BounceClass | None = None, code: str | None = None, said: str | None = None) -> str:
    return bounce_meaning(claimed, code, said, RULES)


@pytest.mark.parametrize(
    ("wanted", "reply"),
    [
        pytest.param(wanted, reply, id=f"{receiver}: {reply[:60]}")
        for wanted, receiver, reply in (
            line.split("\t") for line in REPLIES.read_text("utf-8").splitlines()[1:]
        )
    ],
)
def test_a_receivers_reply_is_understood(wanted: str, reply: str) -> None:
    assert bounced(said=reply) == wanted
    assert bounced(said=f"smtp; {reply}") == wanted, "as a DSN's Diagnostic-Code"
    assert bounced(said=reply.upper().replace(" ", "\r\n", 5)) == wanted, "however it is spelt and broken"


def test_a_reply_broken_over_lines_is_one_reply() -> None:
    lines = "550-5.7.1 The email account that you tried to reach does\n550 5.7.1 not exist."
    assert bounced(said=lines) == "hard"


@pytest.mark.parametrize(
    ("code", "said", "wanted"),
    [
        ("5.1.1", None, "hard"),
        ("550", "no such mailbox", "hard"),
        ("5.7.1", "550 5.7.1 recipient not found", "hard"),
        ("5.7.1", None, "about_us"),
        ("5.1.1", "550 5.1.1 rejected: sender has a poor reputation", "about_us"),
        ("5.1.1", "rejected by policy", "hard"),
        ("5.2.2", None, "soft"),
        ("552", "552 5.2.2 The email account that you tried to reach is over quota", "soft"),
        (None, "550 mailbox full", "soft"),
        ("4.4.7", "message expired", "soft"),
        ("421", "no such user", "soft"),
        # in doubt soft
        ("550", None, "soft"),
        ("550", "550 Requested action not taken", "soft"),
        (None, None, "soft"),
        # what is no word of the server's own
        (None, "550 <info@marblehall.example> user unknown", "hard"),
        (None, "550 <no-such-user@marble.example>: refused", "soft"),
        (None, "550 refused, see https://example.com/no-such-user", "soft"),
        (None, "550 refused by 5.1.1.9", "soft"),
    ],
)
def test_the_most_certain_sign_decides(code: str | None, said: str | None, wanted: str) -> None:
    assert bounced(code=code, said=said) == wanted


@pytest.mark.parametrize(
    "said", [None, "550 5.7.1 rejected by policy", "552 5.2.2 mailbox full", "421 try later"]
)
def test_a_provider_who_says_hard_is_believed(said: str | None) -> None:
    """It has seen the whole story, and writes to that address no more itself."""
    assert bounced("hard", said=said) == "hard"


def test_a_provider_who_says_soft_is_believed_but_our_own_faults_do_not_count() -> None:
    assert bounced("soft", "5.1.1", "user unknown") == "soft"
    assert bounced("soft", "5.7.1", "blocked") == "about_us"


@pytest.mark.parametrize("unit", ["a", "a ", "5.1.1.", "<", "@", "a@", " no such", "550-5.1.1\n"])
def test_nothing_is_looked_at_beyond_a_reply_s_beginning(unit: str) -> None:
    """A diagnostic of 40 kB stopped the API for 26 s: every pattern sees a bounded text, however long it is."""
    for length in (1_000, 40_000, 80_000, 1_000_000):
        said = unit * (length // len(unit))
        assert len(Reply.read(said, said).words) <= LONGEST_REPLY + 2
        assert len(without_addresses(said)) <= LONGEST_REPLY * len("<address>")
        assert without_addresses(said) == without_addresses(said[: 2 * LONGEST_REPLY])


def test_an_address_is_left_out_also_where_the_text_was_cut() -> None:
    cut = "x" * (LONGEST_REPLY - 8) + " photographer@example.com"
    assert "photogr" not in without_addresses(cut)
    assert without_addresses("550 <Info@Example.com>: no\r\nsuch user") == "550 <address> no such user"


def test_every_row_of_the_table_can_decide() -> None:
    for row in RULES.bounces:
        code, words = (row.codes or ("",))[0], (row.words or ("",))[0]
        code = f"{code}9" if code.endswith(".") else code
        assert row.applies(Reply.read(code, f"550 {words}"))
