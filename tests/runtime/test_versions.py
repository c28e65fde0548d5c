"""A version holds all of a configuration: what is read back is what was stored, whatever ships by then."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from agents.letters.render import Letters
from agents.letters.words import vendor
from api.coach.speech import Speech
from runtime.configuration import OUR_TEMPLATES, load
from runtime.versions import configuration_of, differences, version_of, words_of

OF_TUTORS = Path(__file__).parents[2] / "examples" / "tutors"


@pytest.mark.parametrize("folder", [None, OF_TUTORS])
def test_a_version_read_back_is_what_was_stored(folder: Path | None) -> None:
    found = load(folder)
    version, words = version_of(found, 3, "2026-01-05T09:00:00.000Z"), words_of(found)
    again = configuration_of(version, words)
    assert again.policy.model_dump() == found.policy.model_dump()
    assert again.rules.file == found.rules.file
    assert again.rules.churn == found.rules.churn
    assert again.rules.digest == found.rules.digest
    assert (again.rules.version, again.number, again.digest) == (3, 3, found.digest)
    assert again.brand == found.brand
    assert version_of(again, 3, version.at) == version


def test_its_record_is_json_with_times_as_files_write_them() -> None:
    record = json.loads(version_of(load(), 1, "2026-01-05T09:00:00.000Z").record())
    assert (record["version"], record["policy"]["caps"]["window"]) == (1, "7d")
    assert record["policy"]["hours"]["from"] == "08:00"
    silent = next(one for one in record["rules"]["condition"] if one["name"] == "no_login_7_days")
    assert (silent["after"], silent["repeat"], silent["times"]) == ("7d", "7d", 4)


def test_the_words_of_a_version_go_before_those_that_ship() -> None:
    found = load()
    words = words_of(found)
    words.templates["in_app/welcome.txt"] = "{% block subject %}Hello from version 3{% endblock %}x"
    letters = Letters.of(configuration_of(version_of(found, 3, ""), words))
    assert letters.text("in_app/welcome", {}).subject == "Hello from version 3"
    assert not any(name.startswith("dashboard/") for name in words.templates)


def test_a_version_speaks_every_language_that_was_put_into_force() -> None:
    found = load()
    again = Letters.of(configuration_of(version_of(found, 3, ""), words_of(found)))
    assert again.languages == Letters.of(found).languages == ("de", "en-US")
    assert again.voice("email/we_miss_you.txt", "de-AT").written == "de"
    files = OUR_TEMPLATES / "de"
    stored = {name.removeprefix("de/") for name in words_of(found).templates if name.startswith("de/")}
    assert {name.partition("/")[0] for name in stored} == {
        "email",
        "in_app",
        "tasks",
        *(one.name for one in files.glob("*.toml")),
    }


def test_words_as_data_are_part_of_a_version_in_every_language(tmp_path: Path) -> None:
    """What a folder says of trades, tips and advice is stored whole, and spoken after our files have changed."""
    words = tmp_path / "templates" / "de"
    words.mkdir(parents=True)
    (words.parent / "vendors.toml").write_text(
        '[photographer]\ntrade = "portraitists"\nsheet = "s"\nfirst = "f"\n'
    )
    (words / "vendors.toml").write_text('[photographer]\ntrade = "Porträtisten"\nsheet = "s"\nfirst = "f"\n')
    (words / "coach.toml").write_text('offer = "Reden wir"\n')
    (tmp_path / "coach.toml").write_text('offer = "Let us talk"\n')
    found = load(tmp_path)
    version, stored = version_of(found, 3, ""), words_of(found)
    for file in tmp_path.rglob("*.toml"):
        file.write_text("")  # nobody looks at the folder any more
    letters = Letters.of(configuration_of(version, stored))
    for tag, trade, offer in (("de", "Porträtisten", "Reden wir"), ("en-GB", "portraitists", "Let us talk")):
        assert vendor("Photographer", letters, tag)["trade"] == trade
        assert Speech.to(letters, tag).offer(15)[0] == offer
    assert vendor("DJ", letters, "en-GB")["trade"] == "DJs", "what the folder leaves out is ours"
    assert Speech.to(letters, "de").steps()[1].title == "Kundenliste importieren"


def test_what_decides_is_on_the_topic_without_words() -> None:
    record = version_of(load(), 1, "").record()
    (first, *_) = json.loads(record)["advice"]["recommendations.toml"]["recommendation"]
    assert first == {"id": "log_in", "type": "best_practice", "minutes": 1, "login": True}
    assert b"Look in" not in record


def test_differences_name_the_place_and_both_values() -> None:
    old, new = load().policy.document(), load(OF_TUTORS).policy.document()
    assert list(differences(old, old)) == []
    assert ("version", 1, 1) not in list(differences(old, new))
    places = {
        place: (was, now) for place, was, now in differences({"a": {"b": 1}}, {"a": {"b": 2, "c": [3]}})
    }
    assert places == {"a.b": (1, 2), "a.c": (None, [3])}
