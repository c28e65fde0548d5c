"""The first lines of a letter in an agent's words: where the letter's own are, and never anything but words."""

from __future__ import annotations

from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from agents.letters import opening
from agents.letters.opening import NoOpeningError, cleaned, in_html
from agents.letters.render import ROOT, Letters, Rendered, ours
from agents.letters.sample import NOW, sample_intervention, sample_supplier
from agents.letters.words import variables
from api.dashboard.writing.page import offered
from runtime.settings import Settings
from scoring.decisions.experiments import template_file
from scoring.decisions.policy import Policy

POLICY = Policy.load()
SETTINGS = Settings(secret_key="a-secret-key-of-the-tests-long-enough")
EMAILS = [each for each in POLICY.triggers if each.channel == "email" and offered(each, POLICY.rules)]
MINE = "Good to talk to you, Sarah.\n\nAs promised: <b>{{ score }}</b> & {% raw %}\nTom"


def words(trigger: str, template: str, locale: str, own: str | None = None) -> dict[str, Any]:
    supplier = replace(sample_supplier(trigger), locale=locale)
    row = sample_intervention(template, POLICY)._replace(opening=own)
    return variables(supplier, row, NOW, SETTINGS)


def letter(own: str | None = None, locale: str = "en-GB") -> Rendered:
    return ours().email("we_miss_you", words("no_login_7_days", "we_miss_you", locale, own))


class Seen(HTMLParser):
    """The tags of a page, and its text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, _attrs: Any) -> None:
        self.tags.append(tag)
        self.text.append("\n")

    def handle_data(self, data: str) -> None:
        self.text.append(data)


@pytest.mark.parametrize("locale", ["en-GB", *ours().languages])
@pytest.mark.parametrize("trigger", EMAILS, ids=lambda each: each.name)
def test_every_letter_that_can_be_asked_for_has_first_lines_of_its_own_to_change(
    trigger: Any, locale: str
) -> None:
    for variant in {None, *trigger.variants}:
        file = template_file(trigger.template, variant)
        plain = ours().email(file, words(trigger.name, trigger.template, locale))
        assert plain.opening.startswith(("Hi Sarah,", "Guten Tag Sarah,", "Hallo Sarah,"))
        mine = ours().email(file, words(trigger.name, trigger.template, locale, MINE))
        first, _, rest = mine.text.partition("Tom\n\n")
        assert first == "Good to talk to you, Sarah.\n\nAs promised: <b>{{ score }}</b> & {% raw %}\n"
        assert rest
        assert plain.text.endswith(rest)  # and the rest of the letter is what it was
        assert "As promised: &lt;b&gt;{{ score }}&lt;/b&gt; &amp; {% raw %}<br>Tom</p>" in mine.html
        assert mine.subject == plain.subject
        assert Seen(mine.html).tags.count("h1") == 1


def test_a_template_that_shows_no_opening_is_noticed_and_never_loses_the_words(tmp_path: Path) -> None:
    for kind, text in (("txt", "Hi,\n"), ("html", "<p>Hi,</p>\n")):
        there = tmp_path / "email" / f"we_miss_you.{kind}"
        there.parent.mkdir(exist_ok=True)
        there.write_text(
            f"{{% extends 'email/_layout.{kind}' %}}{{% block body %}}{text}{{% endblock %}}", "utf-8"
        )
    theirs = Letters((tmp_path, ROOT))
    for file in ("txt", "html"):
        if file == "html":  # the text alone is not enough
            (tmp_path / "email/we_miss_you.txt").write_text(
                (ROOT / "email/we_miss_you.txt").read_text("utf-8")
            )
            theirs = Letters((tmp_path, ROOT))
        plain = words("no_login_7_days", "we_miss_you", "en-GB")
        assert bool(theirs.email("we_miss_you", plain).opening) is (file == "html")
        with pytest.raises(NoOpeningError, match=f"we_miss_you.{file} shows no opening"):
            theirs.email("we_miss_you", plain | {"opening": "Mine."})


MARKUP = st.sampled_from(
    [
        "<script>",
        "</p>",
        "<!--",
        "{{ brand }}",
        "{% endblock %}",
        "{#",
        "&amp;",
        '"',
        "\u202e",
        "\u0627",
        "\r\n",
        "\0",
        " ",
    ]
)


@given(own=st.lists(st.text(max_size=20) | MARKUP, min_size=1, max_size=12).map("".join))
@example(own="<img src=x onerror=alert(1)>" * 400)
@example(own="\u2028\x0b\x1c a \x85\r b \n\n\n\n c")
def test_what_an_agent_writes_is_words_and_nothing_else(own: str) -> None:
    kept = cleaned(own)
    assert cleaned(kept) == kept
    assert "\n\n\n" not in kept
    assert kept.splitlines() == kept.split("\n") if kept else kept == ""
    seen = Seen(str(in_html(kept)))
    assert set(seen.tags) <= {"p", "br"}
    assert "".join(seen.text).split() == kept.split()


@given(own=st.text(min_size=1, max_size=60).map(cleaned).filter(bool))
def test_it_stands_in_text_and_html_alike_and_changes_no_other_word(own: str) -> None:
    plain, mine = letter(), letter(own)
    assert Seen(mine.html).tags.count("h2") == Seen(plain.html).tags.count("h2")
    assert mine.text.endswith(plain.text.partition("If you have")[2])
    body = "".join(Seen(mine.html).text)
    assert all(word in body for word in own.split())


def test_a_paragraph_runs_in_the_direction_of_its_own_letters() -> None:
    assert in_html("שלום\n\nHi") == '<p dir="auto">שלום</p>\n<p dir="auto">Hi</p>'
    assert opening.LONGEST == 1000
