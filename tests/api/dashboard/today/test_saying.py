"""Why to call and what to say: true at 0, 1 and 1,200, without a name, and for whom nobody has heard of."""

from __future__ import annotations

import re
from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import product
from pathlib import Path
from typing import Any, get_args

import pytest

from agents.letters.render import ROOT, Letters, ours
from agents.letters.words import Topic
from api.dashboard.today.saying import Life, Said, help_of, life_of, opening, topic, why
from scoring.advice.recommend import recommend
from scoring.health.rules import SHIPPED

NOW = datetime(2026, 1, 19, 12, 0, tzinfo=UTC)
SIXTH = datetime(2026, 1, 6, 9, 0, tzinfo=UTC)
LIVELY: dict[str, Any] = {
    "known": True,
    "first_name": "Sarah",
    "business": "Golden Hour",
    "signed_up": datetime(2025, 12, 1, tzinfo=UTC),
    "last_login": NOW - timedelta(days=1),
    "clients": 40,
    "active": 30,
    "has_imported": True,
    "forms": 3,
    "forms_sent": 10,
    "forms_back": 9,
    "journeys": 1,
    "mails": 20,
    "mails_opened": 15,
}


SNAPSHOT: dict[str, Any] = {
    "level": "at_risk",
    "features": ["clients_imported"],
    "clients": {"known": 5, "active": 1},
    "forms": {"created": 0, "sent": 0, "completed": 0},
    "journeys": {"active": 0, "sent": 0, "opened": 0},
    "breakdown": {"loginFrequency": 30.0},
    "signed_up_at": "2026-01-01T00:00:00Z",
    "last_goals": {"client.imported": "2026-01-06T09:00:00Z"},
}
TAGS = (None, *ours().languages)
"""Of every language that there are words in."""


def said(life: Life, locale: str | None = None) -> tuple[str, ...]:
    """The first sentences of a call, in the language of a supplier with this tag."""
    return opening(life, NOW, "UTC", ours(), locale)[0].sentences


def life(**given: Any) -> Life:
    """Somebody who does well; keywords replace facts."""
    return Life(**(LIVELY | given))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        # the specification's photographer
        (
            {"clients": 5, "active": 0, "imported": SIXTH, "forms": 1, "forms_sent": 0, "forms_back": 0},
            "5 clients, none imported since 6 January; the first form was never sent",
        ),
        ({"clients": 1, "active": 0, "imported": datetime(2025, 12, 31, 9, tzinfo=UTC)},
         "1 client, none imported since 31 December 2025"),
        ({"clients": 1, "active": 1, "has_imported": False}, "1 client, none imported"),
        ({"clients": 3, "active": 3}, "3 clients"),
        ({"clients": 1200, "active": 0}, "1,200 clients, none active for 30 days"),
        ({"clients": 1200, "active": 3}, "1,200 clients, 3 of them active in 30 days"),
        ({"forms": 4, "forms_sent": 0, "forms_back": 0}, "4 forms made, none sent"),
        ({"forms_sent": 1, "forms_back": 0}, "1 form sent, none came back"),
        ({"forms_sent": 1200, "forms_back": 1}, "1,200 forms sent, 1 came back"),
        ({"mails_opened": 0}, "20 journey emails sent in 30 days, none opened"),
        ({"last_login": SIXTH}, "Last logged in on 6 January"),
        ({"tries": 2}, "Did not pick up twice"),
        ({}, "Doing what they always do"),
    ],
)  # fmt: skip
def test_the_reason_is_made_of_facts(given: dict[str, Any], words: str) -> None:
    assert why(life(**given), NOW, UTC) == words


def test_who_never_logged_in_is_not_said_to_have_been_away() -> None:
    nobody = Life(known=True, signed_up=datetime(2026, 1, 3, tzinfo=UTC))
    assert why(nobody, NOW, UTC) == (
        "Never logged in since they signed up on 3 January; no clients yet; no form made yet"
    )
    assert "6 January" in said(life(last_login=SIXTH))[1]


def test_of_whom_nobody_has_heard_nothing_is_claimed() -> None:
    assert why(Life(), NOW, UTC) == "Nothing is known of them yet"
    assert said(Life()) == (
        "Hello, this is WedSync: do you have 5 minutes?",
        "How do you get on with WedSync so far?",
        "What should it do for you that it does not do yet?",
    )


def test_rules_of_ones_own_have_their_own_words_where_no_fact_stands_out() -> None:
    assert why(life(), NOW, UTC, "fewer albums than usual") == "Fewer albums than usual"


def test_who_asked_is_thanked_and_asked_back() -> None:
    hello, question, _ = said(life(asked=SIXTH))
    assert hello.startswith("Hello Sarah, this is WedSync: you asked us for a call on 6 January")
    assert question == "What would you like to get done?"
    assert why(life(asked=SIXTH), NOW, UTC) == "Asked for a call on 6 January"


def test_the_help_is_the_advice_in_words_and_minutes_never_in_points() -> None:
    facts = {"first_name": None, "business_name": "Golden Hour", "asked": None, "last_login": NOW}
    here = life_of(facts, SNAPSHOT, SHIPPED)
    assert here.step in recommend(SNAPSHOT)
    assert here.step is not None
    assert help_of(here) == f"{here.step.title} ({here.step.minutes} min)"
    assert "5 clients, none imported since 6 January" in why(here, NOW, UTC)
    gone = life_of(facts, SNAPSHOT | {"breakdown": {"loginFrequency": 0.0}}, SHIPPED)
    assert help_of(gone).startswith("coming back, and then: ")


def test_no_sentence_is_broken_whatever_is_known() -> None:
    """Every combination of the edges: three sentences each, with plurals, and nothing that stands for nothing."""
    counts = (0, 1, 1200)
    for clients, forms, sent, name, login in product(
        counts, counts, counts, (None, "Ana"), (None, SIXTH, NOW)
    ):
        here = life(
            clients=clients,
            active=0,
            imported=SIXTH if clients else None,
            forms=forms,
            forms_sent=sent,
            forms_back=0,
            first_name=name,
            business=None,
            last_login=login,
        )
        for tag in TAGS:
            sentences = said(here, tag)
            text = " ".join((why(here, NOW, UTC), *sentences))
            assert len(sentences) == 3, text
            assert not re.search(r"None|\b1 \w+s\b|\b0 |  |point", text), text
            assert all(sentence.endswith(("?", ".")) for sentence in sentences), text
            assert ("Ana" in text) == (name is not None)


ABOUT: dict[Topic, dict[str, Any]] = {
    "asked": {"asked": SIXTH},
    "unknown": {"known": False},
    "never": {"last_login": None},
    "unsent": {"forms": 1, "forms_sent": 0},
    "unanswered": {"forms_sent": 3, "forms_back": 0},
    "none": {"clients": 0},
    "few": {"clients": 1},
    "away": {"last_login": SIXTH},
    "many": {},
}


def test_every_language_has_words_of_its_own_for_every_topic() -> None:
    """Nothing falls to the last branch of a template by a slip of the pen, and nothing stays in another language."""
    assert ABOUT.keys() == set(get_args(Topic))
    by_tag = {tag: {about: said(life(**given), tag) for about, given in ABOUT.items()} for tag in TAGS}
    assert {about: topic(life(**given), NOW) for about, given in ABOUT.items()} == {
        each: each for each in ABOUT
    }
    for questions in by_tag.values():
        assert max(Counter(sentences[1] for sentences in questions.values()).values()) == 1
    for tag in TAGS:
        if tag and not tag.startswith("en"):
            for about, sentences in by_tag[tag].items():
                assert not set(sentences) & set(by_tag[None][about])


def test_who_reads_german_is_spoken_to_in_german_beside_english() -> None:
    step = recommend(SNAPSHOT)[0]
    theirs, here = opening(life(last_login=SIXTH, step=step), NOW, "UTC", ours(), "de-DE")
    assert (theirs.tag, theirs.called, here) == ("de-DE", "German", Said("en-GB", "English", here.sentences))
    assert theirs.sentences[0].startswith(
        "Guten Tag Sarah, hier ist WedSync, es geht um Golden Hour: Haben Sie"
    )
    assert theirs.sentences[1] == "Sie waren zuletzt am 6. Januar hier: Wie arbeiten Sie im Moment?"
    words = ours().data("recommendations.toml", "de")[step.id]["title"]
    assert words in theirs.sentences[2]
    assert step.title[1:] in here.sentences[2]


@pytest.mark.parametrize(("tag", "day"), [(None, "6 January"), ("en-US", "January 6"), ("fr", "6 January")])
def test_who_reads_english_or_a_language_without_words_hears_english_alone(tag: str | None, day: str) -> None:
    [only] = opening(life(last_login=SIXTH), NOW, "UTC", ours(), tag)
    assert day in only.sentences[1]


def test_words_of_a_folder_count_before_ours(tmp_path: Path) -> None:
    (tmp_path / "de" / "tasks").mkdir(parents=True)
    own = tmp_path / "de" / "tasks" / "what_to_say.txt"
    own.write_text(
        '{% extends "_short.txt" %}{% block body %}Grüß Gott {{ firstName }}.{% endblock %}', "utf-8"
    )
    letters = Letters([tmp_path, ROOT])
    assert opening(life(), NOW, "UTC", letters, "de")[0].sentences == ("Grüß Gott Sarah.",)
    assert opening(life(), NOW, "UTC", letters)[0].sentences[0].startswith("Hello Sarah")
