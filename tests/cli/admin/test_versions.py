"""`success config activate` and its like: what is stored, what the topic says, and what is refused."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import psycopg
import pytest

import scoring
from agents.cluster import rules_log
from agents.letters.render import Letters
from agents.letters.words import vendor
from cli import policy
from cli.admin.versions import activate_files
from cli.in_force import in_force
from runtime.settings import Settings
from scoring.advice.book import RECOMMENDATIONS, book_of
from tests.cli.admin.operator import Operator

EXAMPLE = Path(__file__).parents[3] / "examples" / "tutors"


@pytest.fixture
def careful(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Operator:
    """Whose commands write every letter in every branch, as they do for everybody."""
    return Operator(settings, monkeypatch)


@pytest.fixture
def operator(careful: Operator, monkeypatch: pytest.MonkeyPatch) -> Operator:
    """Whose letters are right: to find that out takes seconds each time, and test_config.py tests how it is done."""
    monkeypatch.setattr(policy, "complaints", lambda _found, _settings: [])
    return careful


def folder(path: Path, **files: str) -> Path:
    """A configuration folder with these files, whose names end in .toml."""
    path.mkdir(exist_ok=True)
    for name, text in files.items():
        (path / f"{name}.toml").write_text(text, "utf-8")
    return path


def audited(settings: Settings) -> list[tuple[str, str, dict[str, object]]]:
    with psycopg.connect(settings.database_url) as conn:
        return conn.execute("SELECT actor, action, details FROM audit_log ORDER BY id").fetchall()


def test_a_version_is_stored_whole_said_on_the_topic_and_audited(
    careful: Operator, settings: Settings, tmp_path: Path
) -> None:
    mine = folder(tmp_path / "mine", rules="[levels]\nhealthy = 75\n", brand='name = "Lessonly"\n')
    said = careful.json("config", "activate", str(mine), "--note", "stricter", "--author", "Ada")
    assert (said["version"], said["author"], said["note"]) == (1, "Ada", "stricter")
    log = asyncio.run(rules_log.read(settings))
    assert sorted(log.versions) == [0, 1]
    assert log.versions[1].digest == said["digest"]
    assert log.policy(1).rules.levels.healthy == 75
    assert log.policy(0).rules.levels.healthy == 70
    assert "Lessonly" not in log.versions[1].record().decode()
    shown = careful.json("config", "show")
    assert (shown["version"], shown["digest"], shown["author"]) == (1, said["digest"], "Ada")
    with psycopg.connect(settings.database_url) as conn:
        row = conn.execute(
            "SELECT brand ->> 'name', templates ->> 'email/quick_win.txt' FROM config_versions"
        ).fetchone()
    assert row is not None
    assert row[0] == "Lessonly"
    assert row[1]  # a text that ships is stored with it
    assert [(action, details["version"]) for _, action, details in audited(settings)] == [
        ("config.activated", 1)
    ]


def test_a_rollback_is_a_new_version_with_what_an_earlier_one_said(
    operator: Operator, settings: Settings, tmp_path: Path
) -> None:
    """Its words as data, too: the coach and delivery read them, and a replay of the log decides by them."""
    look_in = '[[recommendation]]\nid = "look_in"\ntitle = "Visit us"\nminutes = 2\nlogin = true\n'
    older = folder(tmp_path / "a", rules="[levels]\nhealthy = 75\n", recommendations=look_in)
    german = {"vendors": '[dj]\ntrade = "Plattenleger"\n', "recommendations": '[look_in]\ntitle = "Besuch"\n'}
    (older / "templates").mkdir()
    folder(older / "templates" / "de", **german)
    first = operator.json("config", "activate", str(older), "--note", "a")
    operator.json(
        "config", "activate", str(folder(tmp_path / "b", rules="[levels]\nhealthy = 80\n")), "--note", "b"
    )
    back = operator.json("config", "rollback", "1", "--note", "too strict")
    assert (back["version"], back["copy_of"], back["digest"]) == (3, 1, first["digest"])
    letters = Letters.of(asyncio.run(in_force(settings)))
    assert vendor("DJ", letters, "de-AT")["trade"] == "Plattenleger"
    (look,) = book_of(letters.rules).actions
    assert (look.title, letters.data(RECOMMENDATIONS, "de")[look.id]["title"]) == ("Visit us", "Besuch")
    log = asyncio.run(rules_log.read(settings))
    assert [len(book_of(log.policy(number).rules).actions) for number in (1, 2, 3)] == [1, 10, 1]
    assert b"Visit us" not in log.versions[3].record()
    listed = operator.json("config", "history")["versions"]
    assert [(one["number"], one["note"], one["copy_of"]) for one in listed] == [
        (3, "too strict", 1),
        (2, "b", None),
        (1, "a", None),
    ]
    assert all(one["in_force_at"] for one in listed)
    refused = operator.run("config", "rollback", "9", "--note", "x")
    assert refused.exit_code != 0
    assert "there is no version 9: there are 1, 2, 3" in refused.output


def test_diff_says_what_a_folder_says_otherwise_than_what_is_in_force(
    operator: Operator, tmp_path: Path
) -> None:
    mine = folder(tmp_path / "mine", policy="[caps]\ntotal = 2\n")
    assert operator.json("config", "diff", str(mine))["differences"] == [
        {"place": "policy.caps.total", "was": 3, "is": 2}
    ]
    operator.json("config", "activate", str(mine), "--note", "fewer")
    assert operator.json("config", "diff", str(mine))["differences"] == []
    assert operator.json("config", "diff")["differences"] == [
        {"place": "policy.caps.total", "was": 2, "is": 3}
    ]


def test_a_wrong_file_is_refused_with_file_line_and_what_to_write(
    operator: Operator, settings: Settings, tmp_path: Path
) -> None:
    wrong = folder(tmp_path / "wrong", rules='[[condition]]\nname = "a"\nsince = "signed_up"\nafter = "7d"\n')
    refused = operator.run("config", "activate", str(wrong), "--note", "x")
    assert refused.exit_code != 0
    assert f"{wrong / 'rules.toml'}, line 1: " in str(refused.exception) + refused.output
    assert "the next free one is" in str(refused.exception) + refused.output
    assert asyncio.run(rules_log.read(settings)).versions == {}


def test_partitions_that_there_are_not_are_refused(
    operator: Operator, settings: Settings, tmp_path: Path
) -> None:
    mine = folder(tmp_path / "mine")
    refused = operator.run(
        "config", "activate", str(mine), "--note", "x", "--partitions", f"0,{settings.partitions}"
    )
    assert refused.exit_code != 0
    assert f"there is no partition {settings.partitions}" in refused.output
    operator.json("config", "activate", str(mine), "--note", "x", "--partitions", "0")
    log = asyncio.run(rules_log.read(settings))
    wanted = log.wanted(0)
    assert wanted is not None
    assert wanted.number == 1
    assert log.wanted(1) is None


def test_migrate_activates_a_folder_once_and_not_again_when_it_is_named_again(
    settings: Settings, tmp_path: Path
) -> None:
    mine = folder(tmp_path / "mine", rules="[levels]\nhealthy = 75\n")
    with_folder = settings.model_copy(update={"config_dir": mine})
    assert activate_files(settings, "by files") is None  # none is named
    assert activate_files(with_folder, "by files") == 1
    assert activate_files(with_folder, "by files") is None
    other = settings.model_copy(
        update={"config_dir": folder(tmp_path / "other", rules="[levels]\nhealthy = 80\n")}
    )
    assert activate_files(other, "by files") == 2
    assert activate_files(with_folder, "by files") is None


def test_a_policy_alone_is_a_folder_of_one_file(settings: Settings, tmp_path: Path) -> None:
    text = (
        (Path(__file__).parents[3] / "scoring" / "policy.toml")
        .read_text("utf-8")
        .replace("total = 3", "total = 1")
    )
    path = tmp_path / "policy.toml"
    path.write_text(text, "utf-8")
    assert activate_files(settings.model_copy(update={"policy": path}), "by file") == 1
    assert asyncio.run(rules_log.read(settings)).policy(1).caps.total == 1


def test_what_died_before_it_was_noted_is_made_good_by_the_next_look(
    operator: Operator, settings: Settings, tmp_path: Path
) -> None:
    operator.json("config", "activate", str(folder(tmp_path / "mine")), "--note", "x")
    with psycopg.connect(settings.database_url, autocommit=True) as conn:
        conn.execute("UPDATE config_versions SET in_force_at = NULL")
    assert operator.json("config", "show")["version"] == 0
    operator.json("config", "activate", str(folder(tmp_path / "mine")), "--note", "y")
    assert [one["in_force_at"] is not None for one in operator.json("config", "history")["versions"]] == [
        True,
        True,
    ]


def test_the_words_of_versions_are_for_agents_only(
    operator: Operator, settings: Settings, tmp_path: Path
) -> None:
    operator.json("config", "activate", str(folder(tmp_path / "mine")), "--note", "x")
    seen = {}
    for role in ("agent", "service", "supplier"):
        with psycopg.connect(settings.database_url) as conn:
            conn.execute("SET ROLE success_api")
            conn.execute("SELECT set_config('request.jwt.claims', %s, true)", (f'{{"role": "{role}"}}',))
            seen[role] = len(conn.execute("SELECT 1 FROM config_versions").fetchall())
    assert seen == {"agent": 1, "service": 0, "supplier": 0}


def test_limits_are_said_with_it_and_a_wrong_one_is_a_usage_error(operator: Operator, tmp_path: Path) -> None:
    mine = str(folder(tmp_path / "a", rules="[levels]\nhealthy = 75\n"))
    refused = operator.run("config", "activate", mine, "--note", "a", "--limit", "spam=3")
    assert refused.exit_code == 2
    assert "complaints, bounces, unsubscribes, failures and a number" in refused.output
    said = operator.json(
        "config", "activate", mine, "--note", "a", "--limit", "bounces=10", "--limit", "complaints=0"
    )
    assert said["limits"] == {"bounces": 10, "complaints": 0}
    assert "until more than 10 bounces, 0 complaints" in operator.run("config", "history").output


def test_what_a_what_if_found_goes_into_force_on_top_of_what_is(operator: Operator, tmp_path: Path) -> None:
    mine = folder(tmp_path / "a", rules="[levels]\nhealthy = 75\n", brand='name = "Lessonly"\n')
    operator.json("config", "activate", str(mine), "--note", "a")
    line = ["config", "activate", "--set", "levels.at_risk=45", "--set", "caps.total=2", "--note", "better"]
    said = operator.json(*line)
    assert said["version"] == 2
    differences = operator.json("config", "diff", str(mine))["differences"]
    assert {each["place"]: each["was"] for each in differences} == {
        "rules.levels.at_risk": 45,
        "policy.caps.total": 2,
    }
    assert operator.json("config", "show")["version"] == 2


def test_a_fitted_model_goes_into_force_by_one_command(operator: Operator, tmp_path: Path) -> None:
    model = tmp_path / "churn.toml"
    text = (Path(scoring.__file__).parent / "churn.toml").read_text("utf-8")
    model.write_text(re.sub(r"(?m)^intercept = .*$", "intercept = -3.25", text), "utf-8")
    operator.json("config", "activate", "--churn", str(model), "--note", "fitted")
    log = asyncio.run(rules_log.read(operator.settings))
    assert log.policy(1).rules.churn.intercept == -3.25


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        (["--set", "weights.login=20"], "add up to 90"),
        (["--set", "weights.logins=20"], "there are weights.login"),
        (["--set", "trigger.none=off"], "there is no such trigger"),
        (["--churn", "/nowhere/churn.toml"], "/nowhere/churn.toml"),
        ([], "give FOLDER, or --set and --churn"),
    ],
)
def test_what_can_not_be_in_force_is_refused(operator: Operator, line: list[str], complaint: str) -> None:
    refused = operator.run("config", "activate", *line, "--note", "x")
    assert refused.exit_code != 0
    assert complaint in f"{refused.output}{refused.exception}"
    assert operator.json("config", "history")["versions"] == []
