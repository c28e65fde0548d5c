"""Every email the policy names: complete, honest, safe whatever a name holds, and readable everywhere."""

from __future__ import annotations

import itertools
import re
from dataclasses import replace
from email import message_from_bytes, policy
from email.header import decode_header, make_header
from email.message import EmailMessage
from html.parser import HTMLParser
from typing import Any, cast

import pytest
from jinja2 import UndefinedError

from agents.letters.invitation import TEMPLATES as CALL_TEMPLATES
from agents.letters.invitation import variables as call_words
from agents.letters.links import verify_click
from agents.letters.message import build_message
from agents.letters.names import readable
from agents.letters.render import (
    FOLDERS,
    Rendered,
    TemplateMissingError,
    check_templates,
    email_templates,
    render_email,
    render_text,
)
from agents.letters.sample import NOW, sample_call, sample_intervention, sample_supplier
from agents.letters.words import variables, vendor
from runtime.settings import Settings
from scoring.decisions.policy import Policy
from scoring.decisions.resolved import Health
from scoring.health.rules import SHIPPED
from scoring.time import DAY
from store.messages.delivery import Supplier
from topics.time import format_time

POLICY = Policy.load()
SETTINGS = Settings(
    secret_key="a-secret-key-of-the-tests-long-enough", public_url="https://app.wedsync.example"
)
EMAILS = [(each.template, each.name) for each in POLICY.triggers if each.channel == "email"]
VARIANTS = [
    *((template, None) for template in dict.fromkeys(each for each, _ in EMAILS)),
    *(("milestone_celebration", milestone) for milestone in SHIPPED.milestones),
]


def leads_to(target: str) -> str:
    """Where a link ends up: clicks are counted in the HTML, the letter has the plain address."""
    token = target.rpartition("/e/click/")[2]
    click = verify_click(token, SETTINGS.keys("secret_key")) if token != target else None
    return click.destination if click else target


def words(template: str, milestone: str | None = None, supplier: Supplier | None = None) -> dict[str, Any]:
    intervention = sample_intervention(template, POLICY, milestone)
    return variables(supplier or sample_supplier(intervention.row.trigger), intervention, NOW, SETTINGS)


def email(template: str, milestone: str | None = None, supplier: Supplier | None = None) -> Rendered:
    return render_email(template, words(template, milestone, supplier))


def raw(rendered: Rendered, name: str = "Sarah") -> bytes:
    """The email on the wire."""
    built = build_message(
        rendered,
        row_id="0b0e7a4e-6f0c-5d0e-8a6e-1f2d3c4b5a69",
        template="grow_client_list",
        recipient="photographer@example.com",
        recipient_name=name,
        mail_from=SETTINGS.mail_from,
        unsubscribe_url="https://app.wedsync.example/e/unsubscribe/" + 64 * "t",
        now_ms=NOW,
    )
    return built.as_bytes(policy=policy.SMTP)


def message(rendered: Rendered, name: str = "Sarah") -> EmailMessage:
    """The email as the other side reads it."""
    return cast("EmailMessage", message_from_bytes(raw(rendered, name), policy=policy.default))


class Page(HTMLParser):
    """Tags with their attributes, and the text that is seen."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.seen: list[str] = []
        self._hidden = 0
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._hidden += tag in {"style", "title"}

    def handle_endtag(self, tag: str) -> None:
        self._hidden -= tag in {"style", "title"}

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self.seen.append(data)

    @property
    def text(self) -> str:
        return " ".join("".join(self.seen).split())

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def test_every_template_that_the_policy_names_exists() -> None:
    check_templates(POLICY)
    assert set(email_templates()) == {template for template, _ in EMAILS} | set(CALL_TEMPLATES)


def test_a_policy_with_a_template_that_is_not_there_is_refused() -> None:
    odd = POLICY.triggers[1].model_copy(update={"template": "gone"})
    with pytest.raises(TemplateMissingError, match="trigger 'no_login_7_days', field 'template'"):
        check_templates(POLICY.model_copy(update={"triggers": (odd,)}))


@pytest.mark.parametrize(("template", "milestone"), VARIANTS)
def test_every_email_has_what_an_email_needs(template: str, milestone: str | None) -> None:
    rendered = email(template, milestone)
    page = Page(rendered.html)
    assert 10 <= len(rendered.subject) <= 50
    assert 20 <= len(rendered.preheader) <= 110
    for text in (" ".join(rendered.text.split()), page.text):
        assert "You get this because" in text
        assert "Reply to this email: a person reads it." in text
        assert "Unsubscribe from these emails" in text
        assert SETTINGS.mail_address in text
    targets = [str(each["href"]) for each in page.all("a")]
    assert all(target.startswith("https://app.wedsync.example/") for target in targets)
    assert sum("/e/unsubscribe/" in target for target in targets) == 1
    assert sum("/e/preferences/" in target for target in targets) == 1
    assert [each.get("class") for each in page.all("a")].count("button") == 1
    for target in targets:
        assert leads_to(target) in rendered.text


@pytest.mark.parametrize(("template", "milestone"), VARIANTS)
def test_every_email_is_accessible(template: str, milestone: str | None) -> None:
    page = Page(email(template, milestone).html)
    assert page.all("html")[0]["lang"] == "en-GB"
    assert len(page.all("h1")) == 1
    assert all(each.get("role") == "presentation" for each in page.all("table"))
    assert all("alt" in each for each in page.all("img"))
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch(r"h[1-6]", tag)]
    assert all(below - above <= 1 for above, below in itertools.pairwise(levels))


@pytest.mark.parametrize(("template", "milestone"), VARIANTS)
def test_the_copy_keeps_to_the_voice(template: str, milestone: str | None) -> None:
    rendered = email(template, milestone)
    letter = rendered.text.partition("\n--\n")[0]
    celebrates = template in {"first_form_celebration", "milestone_celebration"}
    assert (letter + rendered.subject).count("!") <= (1 if celebrates else 0)
    for wrong in ("miss you", "hurry", "last chance", "at risk", "at_risk", "critical", "color ", "organiz"):
        assert wrong not in letter.lower()
    assert all(len(line) <= 72 for line in rendered.text.splitlines() if "://" not in line)


def test_the_acceptance_case_reads_as_asked() -> None:
    rendered = email("grow_client_list")
    for text in (" ".join(rendered.text.split()), Page(rendered.html).text):
        assert "Hi Sarah," in text
        assert "Golden Hour Weddings has 5 clients" in text
        assert "15-minute setup call" in text
        assert "your shoot calendar" in text
    assert rendered.subject == "5 clients in. The quick way to the rest"


@pytest.mark.parametrize(("template", "milestone"), VARIANTS)
def test_an_email_to_someone_unknown_reads_well(template: str, milestone: str | None) -> None:
    trigger = sample_intervention(template, POLICY).row.trigger
    nobody = replace(sample_supplier(trigger), first_name=None, business_name=None, vendor_type=None)
    rendered = email(template, milestone, nobody)
    for text in (rendered.text, Page(rendered.html).text):
        assert "Hi," in text
        assert "None" not in text
        assert not re.search(r" [,.;:]|\(\)|  \S", text.replace("\n   ", "\n").replace("\n  ", "\n"))


@pytest.mark.parametrize(
    "name",
    [
        "<script>alert(1)</script>",
        'O"Brien & <b>Sons</b>',
        "{{ 7 * 7 }}{% raw %}",
        "Eve\r\nBcc: everyone@example.com",
        "Eve\u2028Bcc: x\u0085y",
        "نور الهدى",
        "\u202egnitelbuort",
        "W" * 500,
        "李小龙 🎉",
        "a\x00b",
    ],
)
@pytest.mark.parametrize(("template", "milestone"), VARIANTS)
def test_no_name_breaks_an_email(template: str, milestone: str | None, name: str) -> None:
    trigger = sample_intervention(template, POLICY).row.trigger
    odd = replace(sample_supplier(trigger), first_name=name, business_name=name, vendor_type=name)
    rendered = email(template, milestone, odd)
    got = message(rendered, words(template, milestone, odd)["firstName"])

    assert got["Bcc"] is None
    assert set(got.keys()) == set(message(email(template, milestone)).keys())
    assert "<script>" not in rendered.html
    assert "<b>" not in rendered.html
    assert "\u202e" not in rendered.html + rendered.text
    assert len(rendered.subject) <= 50
    assert len(Page(rendered.html).all("a")) == len(Page(email(template, milestone).html).all("a"))
    plain = got.get_body(("plain",))
    assert plain is not None
    assert plain.get_content().startswith(("Hi ", "Hi,"))
    assert "49" not in rendered.subject


def test_an_address_in_a_name_never_becomes_a_link_in_our_letter() -> None:
    assert readable("Win at https://evil.example now") == ""
    assert readable("www.evil.example") == ""
    assert readable("  Ann   Marie ") == "Ann Marie"
    assert len(readable("x" * 100)) == 60


@pytest.mark.parametrize(
    ("vendor_type", "says"),
    [
        ("Photographer", "shoot calendar"),
        ("venue", "booking diary"),
        ("Cake Maker", "order book"),
        ("x", "diary"),
    ],
)
def test_the_wording_knows_the_trade(vendor_type: str, says: str) -> None:
    assert says in vendor(vendor_type)["sheet"]
    supplier = replace(sample_supplier("zero_clients_imported"), vendor_type=vendor_type)
    assert says in " ".join(email("import_clients_guide", supplier=supplier).text.split())


def test_what_happened_while_they_were_away_is_told_and_nothing_else() -> None:
    told = email("we_miss_you").text
    assert "The latest form came back on Monday 12 January." in " ".join(told.split())
    assert "payment" not in told
    quiet = sample_supplier("no_login_7_days")
    quiet = replace(quiet, snapshot=quiet.snapshot | {"last_goals": {}})
    silent = email("we_miss_you", supplier=quiet)
    assert "Since then" not in silent.text
    assert silent.subject == "One thing worth doing this week"
    assert "You last opened WedSync 9 days ago. Your 5 clients are where you left them." in " ".join(
        silent.text.split()
    )


def with_clients(trigger: str, known: int) -> Supplier:
    supplier = sample_supplier(trigger)
    health = replace(cast("Health", supplier.facts.health), known_clients=known)
    return replace(supplier, facts=replace(supplier.facts, health=health))


def test_who_has_clients_but_imported_none_is_not_told_that_they_have_none() -> None:
    none = email("import_clients_guide", supplier=with_clients("zero_clients_imported", 0))
    some = email("import_clients_guide", supplier=with_clients("zero_clients_imported", 4))
    for body in (none.text, none.html):
        assert "your account has no clients yet" in " ".join(body.split())
    for body in (some.text, some.html):
        said = " ".join(body.split())
        assert "no clients yet" not in said
        assert "no clients were imported into your account yet" in said
        assert "once all your clients are in it" in said


@pytest.mark.parametrize(
    ("known", "subject", "why"),
    [
        (20, "You are close to the free plan's limits", "and nearly fills it"),
        (40, "The free plan is full", "and fills it"),
    ],
)
def test_who_has_more_than_the_free_plan_holds_is_not_told_that_they_are_close_to_it(
    known: int, subject: str, why: str
) -> None:
    letter = email("unlock_more_features", supplier=with_clients("high_usage_free_tier", known))
    assert letter.subject == subject
    assert why in " ".join(letter.text.split())
    assert subject in letter.html.replace("&#39;", "'")
    assert why in letter.html


def test_what_came_before_their_last_login_is_no_news() -> None:
    seen = sample_supplier("no_login_7_days")
    old = format_time(NOW - 10 * 24 * 3_600_000)
    seen = replace(seen, snapshot=seen.snapshot | {"last_goals": {"form.completed": old}})
    assert "Since then" not in email("we_miss_you", supplier=seen).text


def test_who_is_away_is_told_what_there_is_to_come_back_to() -> None:
    rendered = email("quick_win")
    assert rendered.subject == "Read what a couple sent back (2 min)"
    assert "You last opened WedSync 9 days ago." in " ".join(rendered.text.split())
    assert "nobody has opened your WedSync account for 9 days" in " ".join(rendered.text.split())


def test_who_is_here_is_told_the_step_worth_most_without_its_points() -> None:
    here = sample_supplier("became_at_risk")
    here = replace(here, snapshot=here.snapshot | {"breakdown": {"loginFrequency": 30.0}})
    rendered = email("quick_win", supplier=here)
    assert rendered.subject == "Nudge a couple about their form (2 min)"
    assert "there is one step open in your account" in " ".join(rendered.text.split())


def test_finish_setup_shows_the_two_steps_left() -> None:
    text = email("finish_setup").text
    assert "You have made a start: your first form is ready." in text
    assert "1. Bring your clients in" in text
    assert "2. Switch on one client journey" in text
    assert "Make one form" not in text


def test_whose_setup_is_done_by_now_is_not_told_that_it_is_not() -> None:
    done = with_clients("stuck_onboarding", 12)
    health = replace(
        cast("Health", done.facts.health), features=frozenset({"clients_imported", "forms_created"})
    )
    journeys = {"journeys": {"active": 1, "sent": 0, "opened": 0}}
    done = replace(done, facts=replace(done.facts, health=health), snapshot=done.snapshot | journeys)
    letter = email("finish_setup", supplier=done)
    for body in (letter.text, Page(letter.html).text):
        said = " ".join(body.split())
        assert (
            "Your setup is done: your clients are in, your first form is ready and a journey is running."
            in said
        )
        assert "and we go through it together" in said
        assert "was not finished a week after you signed up" in said
        assert "set it up" not in said


@pytest.mark.parametrize("name", ["firstName", "clientCount", "vendor", "unsubscribeUrl"])
def test_a_variable_that_is_missing_is_an_error_not_a_gap(name: str) -> None:
    given = {key: value for key, value in words("grow_client_list").items() if key != name}
    with pytest.raises(UndefinedError):
        render_email("grow_client_list", given)


def test_message_and_headers_survive_the_wire() -> None:
    got = message(email("grow_client_list"))
    assert got.get_content_type() == "multipart/alternative"
    assert [part.get_content_type() for part in got.iter_parts()] == ["text/plain", "text/html"]
    assert {part.get_content_charset() for part in got.iter_parts()} == {"utf-8"}
    assert got["Message-ID"] == "<0b0e7a4e-6f0c-5d0e-8a6e-1f2d3c4b5a69@wedsync.example>"
    assert str(got["From"]) == "WedSync <hello@wedsync.example>"
    assert got["Date"] == "Mon, 19 Jan 2026 09:00:00 +0000"
    assert len(got.as_bytes()) < 40_000


def test_the_header_for_unsubscribing_is_written_in_the_clear_and_promises_no_mailbox() -> None:
    head = raw(email("grow_client_list")).partition(b"\r\n\r\n")[0]
    link = b"https://app.wedsync.example/e/unsubscribe/" + 64 * b"t"
    assert b"\r\nList-Unsubscribe: <" + link + b">\r\n" in head


@pytest.mark.parametrize("name", ["نور الهدى " * 6, "李" * 60, "Zoë", "x" * 60])
def test_no_line_of_the_head_is_too_long_for_a_mail_server(name: str) -> None:
    head = raw(email("grow_client_list"), readable(name)).partition(b"\r\n\r\n")[0]
    assert head.isascii()
    lines = [line for line in head.split(b"\r\n") if b"unsubscribe" not in line]
    assert all(len(line) <= 78 for line in lines)
    written = message_from_bytes(head, policy=policy.compat32)["To"]
    read = " ".join(str(make_header(decode_header(written))).split())
    assert read == f"{readable(name)} <photographer@example.com>"


def test_the_contrast_of_every_pair_of_colours_is_at_least_four_and_a_half() -> None:
    light = [("#2b2a29", "#ffffff"), ("#59554f", "#f4f1ee"), ("#ffffff", "#7c3353"), ("#7c3353", "#faf5f7")]
    dark = [("#e9e5e1", "#22201f"), ("#b9b2ab", "#161514"), ("#2b0f1c", "#e3a9c3"), ("#e3a9c3", "#2d2529")]
    html = email("grow_client_list").html
    for front, back in light + dark:
        assert front in html
        assert back in html
        assert contrast(front, back) >= 4.5


def contrast(front: str, back: str) -> float:
    """WCAG 2 contrast of two colours."""
    lighter, darker = sorted((luminance(front), luminance(back)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def luminance(colour: str) -> float:
    """WCAG 2 relative luminance."""
    channels = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [each / 12.92 if each <= 0.04045 else ((each + 0.055) / 1.055) ** 2.4 for each in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def call(template: str) -> Rendered:
    """An email about a call, for the sample supplier."""
    return render_email(template, call_words(sample_call(template), SETTINGS))


@pytest.mark.parametrize("template", CALL_TEMPLATES)
def test_an_email_about_a_call_says_when_in_both_parts_and_asks_for_nothing_else(template: str) -> None:
    rendered = call(template)
    page = Page(rendered.html)
    assert 10 <= len(rendered.subject) <= 60
    for text in (" ".join(rendered.text.split()), page.text):
        assert "Tuesday 20 January" in text
        assert "10:00 to 10:15" in text
        assert "New York time" in text
        assert "15:00 to 15:15" in text
        assert "You get this because" in text
        assert SETTINGS.mail_address in text
        assert "Unsubscribe" not in text  # they asked for the call
    targets = [str(each["href"]) for each in page.all("a")]
    assert [each.get("class") for each in page.all("a")] == ["button", None]
    assert "/e/preferences/" in targets[-1], "where an address that was opted out can opt in again"
    assert all(target in rendered.text for target in targets)
    assert page.all("img") == []
    assert len(page.all("h1")) == 1
    assert all(each.get("role") == "presentation" for each in page.all("table"))


def test_where_their_clock_shows_utc_the_time_is_said_once() -> None:
    winter = replace(sample_call("call_invitation"), timezone="Europe/London")
    assert "UTC" not in render_email("call_invitation", call_words(winter, SETTINGS)).html
    summer = replace(winter, starts_at=winter.starts_at + 180 * DAY, ends_at=winter.ends_at + 180 * DAY)
    assert "UTC" in render_email("call_invitation", call_words(summer, SETTINGS)).html


@pytest.mark.parametrize("trigger", [each for each in POLICY.triggers if each.channel != "email"])
def test_what_is_shown_in_the_app_or_to_agents_can_be_written(trigger: Any) -> None:
    given = words(trigger.template)
    rendered = render_text(f"{FOLDERS[trigger.channel]}/{trigger.template}", given)
    assert rendered.subject
    assert len(rendered.text) > 40
    offer = render_text("in_app/call_offer", given)
    assert offer.subject == "Need help? Let's schedule a quick call"
