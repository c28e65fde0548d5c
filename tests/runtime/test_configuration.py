"""The folder of SUCCESS_CONFIG_DIR over what ships; what is wrong in it is said with file and line."""

from __future__ import annotations

from pathlib import Path

import pytest

from agents.health.fold import PartitionFold, WrongStateError
from runtime.configuration import OURS, ConfigurationError, load
from scoring.health.rules import SHIPPED

QUIET = """
[[condition]]
name = "clients_went_quiet"
number = 7
since = "last_client_activity"
after = "21d"
when = "forms_created >= 2"
"""


def folder_of(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        (folder / f"{name}.toml").write_text(text, "utf-8")
    return folder


def test_an_empty_folder_is_what_ships(tmp_path: Path) -> None:
    assert load(tmp_path) == load()
    assert load(tmp_path).rules == SHIPPED
    assert load(tmp_path).digest == load().digest


def test_what_a_file_leaves_out_is_ours(tmp_path: Path) -> None:
    folder_of(
        tmp_path,
        rules=OURS["rules.toml"].read_text("utf-8") + QUIET,
        policy="[caps]\ntotal = 4\n",
        brand='name = "Lessonly"\n',
    )
    found, ours = load(tmp_path), load()
    assert found.rules.condition_names == (*SHIPPED.condition_names, "clients_went_quiet")
    assert found.policy.rules == found.rules
    assert (found.policy.caps.total, found.policy.caps.positive) == (4, 2)
    assert found.policy.triggers == ours.policy.triggers
    assert found.brand == ours.brand | {"name": "Lessonly"}
    assert found.digest != ours.digest
    assert found.files["policy.toml"] == tmp_path / "policy.toml"
    assert found.files["churn.toml"] == OURS["churn.toml"]


def test_a_template_is_part_of_the_digest(tmp_path: Path) -> None:
    (tmp_path / "templates" / "email").mkdir(parents=True)
    (tmp_path / "templates" / "email" / "quick_win.txt").write_text("Hello", "utf-8")
    assert load(tmp_path).digest != load().digest


def test_the_churn_model_goes_with_the_rules(tmp_path: Path) -> None:
    ours = OURS["churn.toml"].read_text("utf-8")
    folder_of(tmp_path, churn=ours.replace("intercept = ", "intercept = 1.5 # "))
    found = load(tmp_path)
    assert found.rules.churn is not None
    assert found.rules != SHIPPED


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({"rulez": ""}, r"rulez\.toml: nobody reads this; did you mean rules\.toml"),
        ({"rules": "[levels]\nhealthy = 'high'\n"}, r"rules\.toml, line 2: levels\.healthy"),
        ({"rules": QUIET.replace("forms_created", "forms_creatd")}, r"rules\.toml, line 7: .*did you mean"),
        (
            {"rules": QUIET.replace("last_client_activity", "form.burnt")},
            r"rules\.toml, line 5: .*form\.burnt",
        ),
        ({"policy": "[caps]\ntotal = 4\npositiv = 1\n"}, r"policy\.toml, line 3: \[caps\], field 'positiv'"),
        (
            {"policy": '[[trigger]]\nname = "a"\non = "condition:x"\n'},
            r"policy\.toml, line 3: .*no condition is called",
        ),
        ({"rules": QUIET}, r"no condition is called 'signed_up'.*replaces the shipped one"),
        ({"brand": 'nam = "x"\n'}, r"brand\.toml, line 1: nam"),
        ({"churn": 'origin = "x"\n'}, r"churn\.toml: is no churn model"),
    ],
)
def test_what_is_wrong_is_said_with_file_and_line(tmp_path: Path, files: dict[str, str], says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        load(folder_of(tmp_path, **files))


def test_a_folder_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="there is no such folder"):
        load(tmp_path / "nowhere")


def test_two_policies_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="two policies"):
        load(folder_of(tmp_path, policy=""), OURS["policy.toml"])


def test_a_worker_refuses_a_state_that_other_rules_made(tmp_path: Path) -> None:
    other = load(folder_of(tmp_path, rules=OURS["rules.toml"].read_text("utf-8") + QUIET)).rules
    state = dict(PartitionFold(0, 1, rules=other).only_meta().changelog)
    PartitionFold(0, 1, rules=other).recover(dict(state))
    with pytest.raises(WrongStateError, match=r"made by other rules .* delete the state topic to rebuild it"):
        PartitionFold(0, 1).recover(state)
