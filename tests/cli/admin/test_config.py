"""`success config`: a folder is checked as a whole, down to branches of letters that no sample reaches."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from agents.letters.checking import checked, warnings
from cli.admin.config import config
from cli.main import run
from runtime.configuration import OUR_TEMPLATES, ConfigurationError, load

LETTER = """{% extends "email/_layout.txt" %}
{% block subject %}Come back{% endblock %}
{% block preheader %}Soon.{% endblock %}
{% block why %}You get this because you have been away.{% endblock %}
{% block body %}
Hi{{ " " + firstName if firstName }},
{% if occurrence > 40 %}
{% if clientCount > 9000 %}
{{ clientCuont }}
{% endif %}
{% endif %}
{% endblock %}
"""


def letter(folder: Path, text: str) -> None:
    (folder / "templates" / "email").mkdir(parents=True)
    (folder / "templates" / "email" / "we_miss_you.txt").write_text(text, "utf-8")


def test_what_ships_is_right(tmp_path: Path) -> None:
    done = CliRunner().invoke(config, ["check", str(tmp_path)])
    assert done.exit_code == 0, done.output
    assert "is right; digest" in done.output
    assert "warning" not in done.output


def test_a_slip_in_a_branch_that_no_supplier_reaches_is_found(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    letter(tmp_path, LETTER)
    assert run(["config", "check", str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert "we_miss_you.txt, line 9: 'clientCuont' is undefined" in said


def test_a_slip_in_another_language_is_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "templates" / "de" / "email").mkdir(parents=True)
    text = LETTER.replace("occurrence > 40", "occurrence > 1").replace("clientCount > 9000", "clientCount")
    (tmp_path / "templates" / "de" / "email" / "we_miss_you.txt").write_text(text, "utf-8")
    assert run(["config", "check", str(tmp_path)]) == 2
    assert "we_miss_you.txt, line 9: 'clientCuont' is undefined" in capsys.readouterr().err


def test_slips_in_what_agents_say_first_are_found_in_each_language(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    slips = {"tasks": "lastLogni", "de/tasks": "letzterLogin"}
    for room in slips:
        path = tmp_path / "templates" / room / "what_to_say.txt"
        path.parent.mkdir(parents=True)
        path.write_text((OUR_TEMPLATES / room / "what_to_say.txt").read_text("utf-8"), "utf-8")
    assert run(["config", "check", str(tmp_path)]) == 0
    assert "warning" not in capsys.readouterr().err
    branch = '{% elif topic == "away" %}\n'
    for room, slip in slips.items():
        path = tmp_path / "templates" / room / "what_to_say.txt"
        theirs = path.read_text("utf-8")
        assert branch in theirs
        path.write_text(theirs.replace(branch, f"{branch}{{{{ {slip} }}}}"), "utf-8")
    assert run(["config", "check", str(tmp_path)]) == 2
    said = capsys.readouterr().err
    for slip in slips.values():
        assert f"'{slip}' is undefined" in said


def test_show_says_where_each_file_comes_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "brand.toml").write_text('name = "Lessonly"\n', "utf-8")
    monkeypatch.setenv("SUCCESS_CONFIG_DIR", str(tmp_path))
    said = json.loads(CliRunner().invoke(config, ["show", "--files", "--json"]).output)
    assert said["files"]["brand.toml"] == str(tmp_path / "brand.toml")
    assert said["digest"] == load(tmp_path).digest


@pytest.mark.parametrize(
    ("policy", "says"),
    [
        ("[caps]\npositive = 4\n", "positive = 4 can't be reached"),
        ('[spacing]\nemails = "100h"\n', "don't fit into `window`"),
        ("[caps]\ntotal = 0\npositive = 0\n", "lets none of its messages out"),
        ("[caps]\ntotal = 1\npositive = 1\n", "trigger zero_clients_imported: max = 2 can't be reached"),
    ],
)
def test_caps_that_cannot_work_together_are_warned_of(tmp_path: Path, policy: str, says: str) -> None:
    (tmp_path / "policy.toml").write_text(policy, "utf-8")
    assert any(says in warning for warning in warnings(load(tmp_path), tmp_path))


@pytest.mark.parametrize(
    ("file", "text", "says"),
    [
        (
            "recommendations.toml",
            '[[recommendation]]\nid = "a"\nminutes = 1\nuses = "albums"\n',
            "there is no key feature",
        ),
        ("coaching.toml", 'offer_call_after = ["bored"]\n', "there is no condition 'bored'"),
        ("milestones.toml", "mileston = 1\n", "line 1: mileston: there are milestone"),
        ("templates/de/vendor.toml", "", "nobody reads this"),
        ("templates/coach.toml", "", "it belongs beside policy.toml"),
        ("templates/de/milestones.toml", '[first_form]\ntitel = "x"\n', "line 2: first_form.titel: there are title"),
    ],
)  # fmt: skip
def test_a_slip_in_words_as_data_is_found(tmp_path: Path, file: str, text: str, says: str) -> None:
    (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / file).write_text(text, "utf-8")
    with pytest.raises(ConfigurationError, match=re.escape(says)) as found:
        checked(tmp_path)
    assert file in str(found.value)
