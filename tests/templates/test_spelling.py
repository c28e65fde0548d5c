"""British words are said to no American, American ones to no Briton: everything that suppliers read, in both."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agents.letters.invitation import TEMPLATES as CALL_TEMPLATES
from agents.letters.invitation import variables as call_variables
from agents.letters.render import ours
from agents.letters.sample import NOW, sample_call, sample_intervention, sample_states
from agents.letters.words import in_app_words, variables
from runtime.configuration import OUR_TEMPLATES
from scoring.advice.book import FILES, shipped
from scoring.decisions.experiments import template_file
from scoring.decisions.policy import Policy
from tests.templates.test_true_sentences import SETTINGS

ROOT = Path(__file__).parents[2]
POLICY = Policy.load()
BRITISH = re.compile(
    r"\b(enquir\w+|(?:colour|favour|honour|neighbour|behaviour|labour|flavour)\w*|programmes?|whilst|amongst|diar(?:y|ies)|"
    r"instalments?|cheques?|catalogues?|centres?|theatres?|metres?|(?:travell|cancell|labell|modell|jewell)(?:ed|ing|er|ers|ery)|"
    r"make-up|fortnights?|grey|learnt|spelt|licence|practis\w+|(?:organ|real|recogn|personal|final|custom|apolog|priorit|summar)is\w+|"
    r"ring you|rung|postcode|celebrants)\b",
    re.IGNORECASE,
)
AMERICAN = re.compile(
    r"\b(inquir\w+|(?:color|favor|honor|neighbor|behavior|labor|flavor)(?:s|ed|ful|ite|ites)?|installments?|catalogs?|centers?|"
    r"theaters?|(?:travel|cancel|label|model)(?:ed|ing)|jewelry|makeup|gray|(?:organ|real|recogn|personal|final|custom|"
    r"apolog|priorit|summar)iz\w+|zip code|officiants)\b",
    re.IGNORECASE,
)
WRONG = {"en-US": BRITISH, "en-GB": AMERICAN}


def strings(value: Any) -> Iterator[str]:
    """Every text in words as data; ids and paths are none."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for name, each in value.items():
            if not name.endswith(("path", "id")) and name not in {
                "requires",
                "open_while",
                "colour",
                "page",
                "pages",
            }:
                yield from strings(each)
    elif isinstance(value, list):
        for each in value:
            yield from strings(each)


def letters_in(locale: str) -> Iterator[str]:
    """Every letter that the policy sends, about every milestone, to readers at the edges; and those about calls."""
    letters = ours()
    for trigger in POLICY.triggers:
        policy = POLICY.model_copy(update={"triggers": (trigger,)})
        milestone = trigger.cause.partition(":")[2] if trigger.cause.startswith("milestone:") else None
        row = sample_intervention(trigger.template, policy, milestone)
        for variant in (None, *trigger.variants):
            template = template_file(trigger.template, variant)
            for supplier in sample_states(trigger.name, locale, POLICY, letters).values():
                if trigger.channel == "in_app_notification":
                    voice = letters.voice(f"in_app/{template}.txt", locale)
                    known = in_app_words("Sarah", "celebrant", supplier.snapshot, letters, voice)
                    yield letters.text(f"in_app/{template}", known).text
                elif trigger.channel == "email":
                    for trade in ("venue", "celebrant", "hair_and_makeup", None):
                        reader = replace(supplier, vendor_type=trade)
                        made = letters.page(
                            template, variables(reader, row, NOW, SETTINGS, letters, template)
                        )
                        yield f"{made.subject}\n{made.preheader}\n{made.text}\n{made.html}"
    for template in CALL_TEMPLATES:
        mail = replace(sample_call(template), locale=locale)
        made = letters.page(template, call_variables(mail, SETTINGS, letters, template))
        yield f"{made.subject}\n{made.preheader}\n{made.text}\n{made.html}"


def data_in(locale: str) -> Iterator[str]:
    """Words as data, and the files of advice with what is said otherwise in the language."""
    for name in sorted({path.name for path in OUR_TEMPLATES.glob("*.toml")} - {"dashboard.toml"}):
        yield from strings(
            {key: each for key, each in ours().data(name, locale).items() if not key.startswith("path_")}
        )
    for name in FILES:
        said = ours().data(name, locale)
        for table in shipped(name).values():
            for entry in table if isinstance(table, list) else ():
                if isinstance(entry, dict):
                    yield from strings(entry | said.get(entry.get("id") or entry["type"], {}))
        yield from strings(said)


def sources_in(locale: str) -> Iterator[str]:
    """Every branch of templates and of the coach, as written: what differs comes from `spelled`, and is taken out."""
    for room in ("email", "in_app", "pages", "tasks"):
        for path in sorted((OUR_TEMPLATES / room).iterdir()):
            own = OUR_TEMPLATES / locale / room / path.name
            yield (own if own.is_file() else path).read_text("utf-8")
    words = (ROOT / "api/coach/static/coach/words.js").read_text("utf-8")
    yield words.partition("const GERMAN")[0]


def shown(text: str) -> str:
    """What people read of a text: no tags, no addresses, no names of the program."""
    text = re.sub(r"<style.*?</style>|<[^>]*>|https?://\S+", " ", text, flags=re.DOTALL)
    return re.sub(r"spelled\.\w+|brand\.colour|\"cancelled\"(?=:| %)", "", text)


@pytest.mark.parametrize("locale", WRONG)
def test_no_text_is_spelled_as_elsewhere(locale: str) -> None:
    texts = [*letters_in(locale), *data_in(locale), *sources_in(locale)]
    assert len(texts) > 300
    found = {said[0] for text in texts for said in WRONG[locale].finditer(shown(text))}
    assert not found


def test_what_is_there_for_americans_differs_from_what_they_would_get() -> None:
    """The fallback stays small: nothing is repeated, and nothing is said of what there is not."""
    letters = ours()
    for path in (OUR_TEMPLATES / "en-US").rglob("*"):
        if path.suffix != ".toml":
            continue
        theirs = letters.data(path.name, "en-US")
        if path.name in FILES:
            (entries,) = (
                each
                for each in shipped(path.name).values()
                if isinstance(each, list) and each and isinstance(each[0], dict)
            )
            base = {entry.get("id") or entry["type"]: entry for entry in entries}
            assert theirs.keys() <= base.keys()
            for name, words in theirs.items():
                assert {field: base[name][field] for field in words} != words
                if "by_vendor" in base[name]:
                    assert words["by_vendor"].keys() == base[name]["by_vendor"].keys()
        else:
            base = letters.data(path.name, "en-GB")
            assert theirs.keys() == base.keys()
            assert theirs != base


def test_an_american_reads_american_words_and_days() -> None:
    said = "\n".join(letters_in("en-US"))
    for word in ("canceled", "inquiry form", "installments", "January", "officiants", "3:00"):
        assert word in said, word
    assert "cancelled" in "\n".join(letters_in("en-GB"))


GERMAN_SLIPS = re.compile(r"\"|”|(?:^|\s)“|\.\.\.|\w - \w|\bz\.B\.|\b(?:Email|eMail|email)s?\b|\d%|\d€")
"""Straight or English quotes, three dots, a hyphen for a dash, `Email`; `z.B.` or a sign without its space."""


def test_german_is_set_as_german_is() -> None:
    pages = (OUR_TEMPLATES / "de" / "pages").iterdir()
    sources = [re.sub(r"\{[{%].*?[%}]\}", " ", path.read_text("utf-8"), flags=re.DOTALL) for path in pages]
    coach = (ROOT / "api/coach/static/coach/words.js").read_text("utf-8").partition("const GERMAN")[2]
    said = re.findall(r"[\"`](.*?)[\"`]", coach.partition("};")[0])
    texts = [*letters_in("de"), *data_in("de"), *sources, *said]
    assert len(texts) > 300
    found = {
        text[slip.start() - 40 : slip.end() + 10]
        for text in map(shown, texts)
        for slip in GERMAN_SLIPS.finditer(text)
    }
    assert not found
