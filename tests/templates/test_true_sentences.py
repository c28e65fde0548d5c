"""Every text at the edges: nobody's name, no clients, one, 1,200, years of absence; in every language there is."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest

from agents.letters.invitation import TEMPLATES as CALL_TEMPLATES
from agents.letters.invitation import WORDS, zone_in_words
from agents.letters.invitation import variables as call_words
from agents.letters.locales import voice_in
from agents.letters.render import FOLDERS, Letters, Rendered, ours
from agents.letters.sample import NOW, sample_call, sample_intervention, sample_supplier
from agents.letters.words import in_app_words, variables
from api.pages import page
from runtime.settings import Settings
from scoring.decisions.policy import Policy
from scoring.health.rules import SHIPPED
from scoring.time import DAY
from store.messages.delivery import Supplier
from topics.time import format_time

POLICY = Policy.load()
SETTINGS = Settings(
    secret_key="a-secret-key-of-the-tests-long-enough",
    public_url="https://success.wedsync.example",
    app_url="https://app.wedsync.example",
)
LANGUAGES = ("en-GB", "en-US", *(each for each in ours().languages if not each.startswith("en")))
VARIANTS = [
    *(
        (each.template, None)
        for each in POLICY.triggers
        if each.channel == "email" and "milestone" not in each.on[0]
    ),
    ("we_miss_you.short", None),
    ("first_form_celebration", "first_form"),
    *(("milestone_celebration", each) for each in SHIPPED.milestones),
]
NOBODY = {"first_name": None, "business_name": None, "vendor_type": None}
SOLE_TRADER = {"first_name": "Sarah", "business_name": None, "vendor_type": "florist"}
BIG = {"first_name": "Jörg", "business_name": "Goldene Stunde GmbH & Co. KG", "vendor_type": "venue"}


def somebody(number: int, away_days: int | None, name: dict[str, Any], locale: str) -> Supplier:
    """A supplier of whom `number` is all there is to count."""
    plain = sample_supplier()
    last_login = None if away_days is None else NOW - away_days * DAY
    health = replace(
        plain.facts.health,  # type: ignore[type-var]
        known_clients=number,
        forms_created=number,
        last_login=last_login,
        features=frozenset({"clients_imported", "forms_created"} if number else ()),
    )
    here = away_days is not None and away_days < 3
    snapshot = plain.snapshot | {
        "features": sorted(health.features),
        "clients": {"known": number, "active": number},
        "forms": {"created": number, "sent": number, "completed": number // 2},
        "journeys": {"active": number, "sent": number, "opened": number},
        "breakdown": {"loginFrequency": 30.0 if here else 0.0},
        "last_goals": {"payment.received": format_time(last_login + DAY)}
        if last_login and number > 1
        else {},
    }
    facts = replace(plain.facts, health=health)
    return replace(plain, facts=facts, snapshot=snapshot, locale=locale, **name)


def letter(template: str, milestone: str | None, supplier: Supplier, *, requested: bool = False) -> Rendered:
    base = template.partition(".")[0]
    row = sample_intervention(base, POLICY, milestone)._replace(requested=requested)
    return ours().email(template, variables(supplier, row, NOW, SETTINGS, ours(), template))


EDGES = [
    (0, None, NOBODY),
    (0, 7, SOLE_TRADER),
    (1, 1, SOLE_TRADER),
    (1, 36, BIG),
    (2, 8, NOBODY),
    (9, 3, SOLE_TRADER),
    (25, 7, BIG),
    (1200, 0, SOLE_TRADER),
    (1200, 999, BIG),
]
WRONG = (
    (
        r"\b1 (clients|forms|days|minutes|journeys|steps|Kunden|Formulare|Tage|Minuten|Schritte)\b",
        "one is not several",
    ),
    (r"\b(0|2|9|25|1.200) (client|form|day|minute|journey|Formular|Tag)\b", "several are not one"),
    (r"\b(0|no|keine) (clients|Kunden) are\b", "none are not spoken of"),
    (r"(?<![\d.,])0 (clients?|forms?|days?|Kunden?|Formulare?|Tage?n?)\b", "none are not counted"),
    (r"\b(hat|haben|hat bisher|für|ohne) (1|ein) Kunde\b", "einen Kunden"),
    (r"(?<![/=\w-])1200\b", "a thousand has its sign"),
    (r"\b(points?|scores?|Punkte?n?|at[ _]risk|critical|gefährdet|kritisch)\b", "no grades"),
    (r"None|True|False|undefined|\{\{|\{%|\}\}", "a slip of the pen"),
    (r" [,.;:!?](\s|$)|,,|\.\.(?!\.)|\( | \)", "marks without a word"),
    (r"everyone at|\ball ten\b", "said of who works alone, or has more"),
)


GREETED = re.compile(r"Guten Tag(?: \w+)?,\s+(\w+)")
AFTER_GREETING = {
    "Sie",
    "Ihr",
    "Ihre",
    "Ihren",
    "Ihnen",
    "Glückwunsch",
    "WedSync",
    "Goldene",
    "Golden",
}
"""What is written with a capital within a sentence: after the comma of `Guten Tag Sarah,` it goes on."""


def check(text: str, where: object) -> None:
    said = " ".join(text.split())
    for pattern, why in WRONG:
        found = re.search(pattern, said)
        assert not found, f"{where}: {why}: …{said[max(0, found.start() - 60) : found.end() + 30]}…"


@pytest.mark.parametrize("locale", LANGUAGES)
@pytest.mark.parametrize(("template", "milestone"), VARIANTS)
def test_every_letter_is_true_at_the_edges(template: str, milestone: str | None, locale: str) -> None:
    for number, away, name in EDGES:
        rendered = letter(template, milestone, somebody(number, away, name, locale))
        where = (template, milestone, locale, number, away, name["first_name"])
        assert 10 <= len(rendered.subject) <= 50, (where, rendered.subject)
        assert 20 <= len(rendered.preheader) <= 110, (where, rendered.preheader)
        seen = re.sub(r"<(style|title)\b.*?</\1>|<[^>]+>", " ", rendered.html, flags=re.DOTALL)
        for text in (rendered.subject, rendered.preheader):
            check(text, where)
        check(rendered.text, where)
        for text in (rendered.text, seen):
            assert set(GREETED.findall(text)) <= AFTER_GREETING, where
        check(re.sub(r"\s+([,.;:!?)])", r"\1", seen.replace("( ", "(")), where)
        assert f'<html lang="{ours().voice(f"email/{template}.txt", locale).tag}"' in rendered.html


@pytest.mark.parametrize("locale", LANGUAGES)
def test_ten_clients_reads_well_with_1200(locale: str) -> None:
    rendered = letter("milestone_celebration", "ten_clients", somebody(1200, 1, BIG, locale))
    said = rendered.subject + rendered.text
    assert ("1.200" if locale.startswith("de") else "1,200") in said
    assert not re.search(r"first ten|ersten zehn|all ten", said)
    assert not re.search(r"aria-label=\"[^\"]*(ten clients|zehn Kunden)", rendered.html)


def test_the_reason_is_the_real_one() -> None:
    away = " ".join(letter("we_miss_you", None, somebody(5, 36, BIG, "en-GB")).text.split())
    assert "nobody has opened Goldene Stunde GmbH & Co. KG in WedSync for 36 days." in away
    never = " ".join(letter("we_miss_you", None, somebody(0, None, SOLE_TRADER, "en-GB")).text.split())
    assert "nobody has opened your WedSync account yet." in never
    asked = letter("finish_setup", None, somebody(1, 36, BIG, "en-GB"), requested=True)
    for text in (asked.text, asked.html):
        said = " ".join(text.split())
        assert "somebody on our team thought that it would help you" in said
        assert "a week after you signed up" not in said
    empty = " ".join(letter("unlock_more_features", None, somebody(0, None, NOBODY, "en-GB")).text.split())
    assert "because your account is on the free plan. Questions?" in empty
    many = " ".join(letter("grow_client_list", None, somebody(1200, 36, BIG, "en-GB")).text.split())
    assert "had fewer than ten clients two weeks after you signed up" in many


@pytest.mark.parametrize("locale", LANGUAGES)
@pytest.mark.parametrize("template", CALL_TEMPLATES)
def test_letters_about_calls_are_true_at_the_edges(template: str, locale: str) -> None:
    for zone in (None, "UTC", "Europe/London", "America/New_York", "Etc/GMT+2"):
        for name in (None, "Sarah"):
            mail = replace(sample_call(template), timezone=zone, first_name=name, locale=locale)
            rendered = ours().email(template, call_words(mail, SETTINGS))
            assert 10 <= len(rendered.subject) <= 60, rendered.subject
            check(rendered.subject, (template, locale, zone))
            check(rendered.text, (template, locale, zone))
            for text in (
                rendered.text,
                re.sub(r"<style.*?</style>|<[^>]+>", " ", rendered.html, flags=re.DOTALL),
            ):
                assert set(GREETED.findall(text)) <= AFTER_GREETING, template


@pytest.mark.parametrize("locale", LANGUAGES)
def test_what_the_coach_shows_and_what_agents_read_can_be_written(locale: str) -> None:
    for number, away, name in EDGES:
        supplier = somebody(number, away, name, locale)
        for trigger in POLICY.triggers:
            if trigger.channel == "in_app_notification":
                file = f"{FOLDERS[trigger.channel]}/{trigger.template}"
                voice = ours().voice(f"{file}.txt", locale)
                words = in_app_words(
                    supplier.first_name, supplier.vendor_type, supplier.snapshot, ours(), voice
                )
                check(ours().text(file, words).text, (file, locale))
            if trigger.channel == "support_call":
                words = variables(supplier, sample_intervention(trigger.template, POLICY), NOW, SETTINGS)
                text = ours().text(f"{FOLDERS[trigger.channel]}/{trigger.template}", words).text
                assert not re.search(r"None|\{\{|\b1 (clients|forms)\b", text), text


@pytest.mark.parametrize("locale", ["en-US", "de", "de-AT", "fr", None])
def test_days_and_numbers_are_written_as_the_reader_writes_them(locale: str | None) -> None:
    wanted = {
        "en-US": ("Tuesday, January 20", "3:00 PM", "1,200"),
        "de": ("Dienstag, 20. Januar", "15:00", "1.200"),
        "de-AT": ("Dienstag, 20. Jänner", "15:00", "1.200"),
    }.get(locale or "", ("Tuesday 20 January", "15:00", "1,200"))
    written = "de" if (locale or "").startswith("de") else "en-GB"
    voice, at = voice_in(written, locale), NOW + DAY + 6 * 60 * 60 * 1000
    said = (
        voice.day(at, "Europe/London"),
        voice.time(at, "Europe/London").replace("\u202f", " "),
        voice.number(1200),
    )
    day = {"en-US": "January 20"}.get(locale or "", "20. J" if written == "de" else "20 J")
    assert day in said[0]
    assert said == wanted


def test_a_letter_is_in_one_language_from_its_first_word_to_its_last(tmp_path: Any) -> None:
    """A language that has only some of the letters: the others are English, footer and all."""
    for name in ("quick_win.txt", "quick_win.html", "_layout.txt", "_layout.html"):
        path = tmp_path / "xx" / "email" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{% block subject %}Xx{% endblock %}{% block body %}xx{% endblock %}")
    letters = Letters((tmp_path, *ours().folders))
    assert letters.voice("email/quick_win.txt", "xx-YY").written == "xx"
    assert letters.voice("email/we_miss_you.txt", "xx-YY").written == "en-GB"
    supplier = somebody(5, 8, SOLE_TRADER, "xx-YY")
    row = sample_intervention("we_miss_you", POLICY)
    english = letters.email("we_miss_you", variables(supplier, row, NOW, SETTINGS, letters))
    assert "You get this because" in english.text
    assert '<html lang="en-GB"' in english.html


def test_a_page_says_which_language_it_is_in() -> None:
    assert b'<html lang="en-US">' in page(ours(), "gone", "en-US", home="").body
    assert b'<html lang="en-GB">' in page(ours(), "gone", None, home="").body


@pytest.mark.parametrize(
    ("zone", "tag", "said"),
    [
        ("Europe/Vienna", "de-AT", "Ortszeit Wien"),
        ("Europe/Vienna", "en-GB", "Vienna time"),
        ("America/Sao_Paulo", "en-GB", "São Paulo time"),
        ("Etc/GMT+2", "de", "UTC-2"),
        ("Nowhere/Odd", "de", "UTC"),
        (None, "de", "UTC"),
    ],
)
def test_a_zone_is_named_after_its_town_in_their_language(zone: str | None, tag: str, said: str) -> None:
    letters = ours()
    voice = letters.voice("email/call_invitation.txt", tag)
    assert zone_in_words(zone, voice, letters.data(WORDS, voice.tag)) == said
