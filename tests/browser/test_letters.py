"""Every letter as a mail program shows it: in each language and state, on a phone and a desk, by day and by night."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

import pytest
from playwright.async_api import Page

from agents.letters.invitation import TEMPLATES as CALL_TEMPLATES
from agents.letters.invitation import variables as call_words
from agents.letters.render import ours
from agents.letters.sample import NOW, sample_call, sample_intervention, sample_states
from agents.letters.words import variables
from scoring.decisions.policy import Policy
from tests.browser.conftest import NO_OVERFLOW, SIZES, CheckAxe, Screenshot
from tests.browser.pictures import EVERY_SCREEN
from tests.templates.test_true_sentences import SETTINGS, VARIANTS

POLICY = Policy.load()
USUAL = "as usual"
# A link within a sentence is as high as its line; every other is for a thumb.
SMALL_TARGETS = """() => [...document.querySelectorAll('a:not(.body-link)')]
    .filter((each) => each.getBoundingClientRect().height < 44).map((each) => each.outerHTML)"""
CUT_OFF = """() => [...document.querySelectorAll('h1, h2, p, li, a, .badge')]
    .filter((each) => each.getBoundingClientRect().right > innerWidth).map((each) => each.outerHTML)"""


class Letter(NamedTuple):
    """One letter in one state: what it is called, and its page."""

    name: str
    state: str
    html: str


def letters(locale: str) -> Iterator[Letter]:
    """Every letter in every state; those about calls as usual, and to somebody without a name or a zone."""
    for template, milestone in VARIANTS:
        row = sample_intervention(template.partition(".")[0], POLICY, milestone)
        states = sample_states(row.row.trigger, locale, POLICY)
        known, features = states[USUAL], [name for name, _ in POLICY.rules.features]
        begun = {"features": features[:2], "clients": {"known": 5, "active": 2}}
        nearly = replace(known, snapshot=known.snapshot | begun)
        asked = row._replace(requested=True)
        again = row._replace(occurrence=2)
        sent = [(state, supplier, row) for state, supplier in states.items()]
        sent += [
            ("asked for by an agent", known, asked),
            ("again", known, again),
            ("one step left", nearly, row),
        ]
        for state, supplier, sent_row in sent:
            words = variables(supplier, sent_row, NOW, SETTINGS, ours(), template)
            name = "-".join(filter(None, (template, milestone)))
            yield Letter(name, state, ours().email(template, words).html)
    for template in CALL_TEMPLATES:
        mail = replace(sample_call(template), locale=locale)
        for state, one in {
            USUAL: mail,
            "nothing known of them": replace(mail, first_name=None, timezone=None),
        }.items():
            yield Letter(template, state, ours().email(template, call_words(one, SETTINGS)).html)


@pytest.mark.parametrize("locale", ["en-GB", "de"])
async def test_every_letter_looks_right(
    page: Page, axe: CheckAxe, screenshot: Screenshot, locale: str
) -> None:
    """Pictures of the other states are taken with SCREENS=all (`make screens`): they cost more than all the rest."""
    await page.route("**/*", lambda route: route.abort())  # images are not loaded
    seen = 0
    for letter in letters(locale):
        name = f"letter-{letter.name}-{re.sub('[^a-z0-9]+', '_', letter.state)}-{locale}"
        is_usual = letter.state == USUAL
        await page.set_content(letter.html)
        for width in (768, min(SIZES)) if is_usual else (min(SIZES),):
            await page.set_viewport_size({"width": width, "height": SIZES[width]})
            assert await page.evaluate(NO_OVERFLOW), f"{name} is wider than {width}"
            assert await page.evaluate(CUT_OFF) == [], name
            assert await page.evaluate(SMALL_TARGETS) == [], name
            if is_usual or EVERY_SCREEN:
                await screenshot(page, f"{name}-{width}-light", full_page=True)
        if is_usual:  # colours are the same in all states
            await axe(page)
            await page.emulate_media(color_scheme="dark")
            await screenshot(page, f"{name}-{min(SIZES)}-dark", full_page=True)
            await axe(page)
            await page.emulate_media(color_scheme="light")
        seen += 1
    assert seen >= len(VARIANTS) * 5 + len(CALL_TEMPLATES) * 2
