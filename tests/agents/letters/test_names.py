"""Names: what people call themselves is used, what only pretends to be a name is not."""

from __future__ import annotations

import json
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.letters.names import LONGEST_NAME, first_name, readable, visible_line
from tests.forms import examples

FIRST_NAMES = [
    "Sarah",
    "Zoë 💍",
    "O'Hara, Jo",
    "María de los Ángeles",
    "Jean-Luc",
    "J.R.",
    "St. John",
    "Dr. Anna",
    "A. B. Smith",
    "Sarah & Tom",
    "Sarah (Sally)",
    "Mary-Ann O\u2019Neil",
    "ليلى",
    "שרה كوهين",
    "李小龍",
    "Nguyễn Thị",
    "علی\u200cرضا",
    "Wolfeschlegelsteinhausenbergerdorff-Montgomery",
]
BUSINESSES = [
    "Golden Hour Weddings",
    "Say Yes!",
    "Studio 54",
    "Smith & Co. Photography",
    "St. John's Catering",
    "J. & K. Weddings",
    "Est. 1998 Weddings",
    "Foto Müller Inh. Anna",
    "حفلات الزفاف الذهبية",
    "The Little White Dress Company of Greater Manchester",
]
NO_NAMES = {
    "an address": [
        "Win at evil.com",
        "see https://evil.example",
        "evil.com",
        "Anna evil.com/pay",
        "(evil.com)",
        "evil.com.",
        "bit.ly/x",
        "www.evil",
        "www evil",
        "https:evil",
        "mailto:x",
        "info@evil.com",
        "1.2.3.4",
        "пример.рф",
    ],
    "an address in disguise": [
        "EVIL\uff0eCOM",
        "ｅｖｉｌ．ｃｏｍ",
        "evil\u3002com",
        "evil\u2024com",
        "evil\u200b.com",
        "e\u200bvil.com",
        "e\u00advil.com",
        "evil . com",
        "evil[.]com",
        "evil (dot) com",
    ],
    "a number to call": ["Call +1 800 555 1234", "0800-555-12-34"],
    "sentences": ["Account locked. Call now", "You won! Click here", "您的帐户已被锁定。请登录"],
    "an encoded word": ["=?utf-8?b?Uw0KQmNjOiB2QGV2aWwuZXhhbXBsZQ==?=", "=?utf-8?q?=0A?=", "a =?x"],
    "nothing that can be seen": [
        "",
        "   ",
        "\u3164",
        "\u200b\u2060",
        "\u2800",
        "\u115f\u1160",
        "\uffa0",
        "\u00ad",
        "\ufe0f",
        "\u200d",
        "\u0301",
        "\u202e\u2066",
        "\U000e0041",
    ],
    "no letter": ["...", "-", "💍💍💍"],
}
NO_FIRST_NAMES = [
    "Your account is suspended call us",
    "Urgent: pay",
    "Hello! Sarah",
    "Click here?",
    "Sarah; drop",
    "Bitte überweisen. Danke",
    "立即付款！",
]


@pytest.mark.parametrize("name", FIRST_NAMES)
def test_a_first_name_is_used_as_it_is(name: str) -> None:
    assert first_name(name) == name


@pytest.mark.parametrize("name", FIRST_NAMES + BUSINESSES)
def test_a_business_name_is_used_as_it_is(name: str) -> None:
    assert readable(name) == name


@pytest.mark.parametrize("name", [name for names in NO_NAMES.values() for name in names], ids=ascii)
def test_what_is_no_name_is_not_used(name: str) -> None:
    assert (first_name(name), readable(name)) == ("", "")


@pytest.mark.parametrize("name", NO_FIRST_NAMES, ids=ascii)
def test_nobody_is_greeted_with_a_sentence(name: str) -> None:
    assert first_name(name) == ""


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("Sarah\u202egnp.exe", ""),  # read backwards it hides a file's name
        ("Sarah\u202eeve\u202c", "Saraheve"),
        ("\u200fליאת\u200e", "ליאת"),
        ("\u2067ليلى\u2069\u061c", "ليلى"),
        ("Sa\r\nrah\x00\x85\u2028Ann", "Sa rah Ann"),
        ("Z\u0301\u0302\u0303\u0304\u0305\u0306algo", "Ź\u0302\u0303\u0304algo"),
        ("Zoe\u0308", "Zoë"),
        ("\u200dSarah \u200c", "Sarah"),
        ("\u3164Sarah\u3164", "Sarah"),
        ("Ann\ud83d", "Ann"),
    ],
)
def test_direction_marks_piles_and_what_cannot_be_seen_are_left_out(name: str, shown: str) -> None:
    assert first_name(name) == shown


def test_a_name_of_180_characters_is_cut_and_never_within_a_letter() -> None:
    long = (
        "The Honourable Society of Wedding Photographers, Cinematographers & Content Creators of Greater Manchester, "
        "Cheshire and the Peak District (Established 1998) Limited Liability Partnership"
    )
    assert readable(long) == "The Honourable Society of Wedding Photographers, Cinematogr…"
    family = "👩\u200d👩\u200d👧 Ä"
    assert readable("x" * 56 + family).rstrip("…") in {"x" * 56, "x" * 56 + "👩"}
    assert readable("e\u0301" * 90) == "é" * 59 + "…"
    assert not readable("क्षि" * 45).rstrip("…").endswith("\u094d")


def test_a_name_of_a_megabyte_costs_no_time_of_its_own() -> None:
    """Only the first thousand characters are looked at: patterns never run over unbounded text."""
    assert readable("x" * 2**20) == "x" * 59 + "…"
    assert readable("ab.cd " * 2**18) == ""


_odd = st.sampled_from(
    [*"aZ9 .,!?@:/()[]=\"'<>\r\n\t\x00é\u0301\u200b\u200d\u202e\u2066\u3164\u3002\u00adß李لש💍\ud800"]
)


@settings(max_examples=examples(1_000))
@given(st.lists(_odd, max_size=90).map("".join) | st.text(max_size=90))
def test_whatever_it_is_made_of_it_is_one_short_line_that_can_be_seen(text: str) -> None:
    for made in (readable(text), first_name(text)):
        assert len(made) <= LONGEST_NAME
        assert made == " ".join(made.split())
        assert not {unicodedata.category(char) for char in made} & {"Cc", "Cs", "Co", "Cn", "Zl", "Zp"}
        assert not set(made) & set("@\u202e\u2066\u3164\u200b")
        assert "=?" not in made
        assert "://" not in made
        assert made in {"", json.loads(json.dumps(made))}
    assert visible_line(visible_line(text)) == visible_line(text)
