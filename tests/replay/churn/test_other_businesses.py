"""Activity logs of other businesses go through mapping, fit and evaluation as they are.

The logs are made up (`businesses.py`) by processes that share no code with the product: that shows that the
way is open and the model adapts to another rhythm, not how well it would do for a real shop.
"""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from cli.main import run
from replay.churn.csv_log import LogMap, read_csv
from scoring.health.churn import load_model
from tests.replay.churn import businesses

HORIZONS = {"shop": (40, 90), "game": (7, 7), "gym": (7, 14), "purchases": (90, 137)}


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("businesses")
    return {
        "shop": businesses.monthly_shop(folder / "shop.csv"),
        "game": businesses.daily_game(folder / "game.csv"),
        "gym": businesses.subscriptions(folder / "gym.csv"),
        "purchases": businesses.purchases_without_header(folder / "purchases.txt"),
    }


MAPS = {
    "shop": [],
    "game": ["--map", "user=uid,timestamp=ts"],
    "gym": ["--map", "user=Member", "--map", "timestamp=When,event=What"],
    "purchases": ["--map", "user=1,timestamp=2"],
}


_known: dict[tuple[str, ...], dict[str, Any]] = {}


def fitted(capsys: Any, *arguments: object) -> dict[str, Any]:
    """What `success fit-churn … --json` says; asked once."""
    words = tuple(map(str, arguments))
    if words not in _known:
        code = run(["fit-churn", *words, "--json"])
        printed = capsys.readouterr()
        assert code == 0, printed.err
        _known[words] = json.loads(printed.out)
    return _known[words]


@pytest.mark.parametrize("name", MAPS)
def test_another_business_beats_raw_recency_on_its_later_window(logs, capsys, name):
    said = fitted(capsys, logs[name], *MAPS[name])

    assert said["auc"]["the model"] > said["auc"]["days since the last login"]
    recency = next(each for each in said["rankings"] if each["name"] == "days since the last login")
    assert recency["model_ahead"][0] > 0  # the whole 95 % interval
    assert said["calibration"]["brier"] < said["calibration"]["brier_of_base_rate"]
    shortest, longest = HORIZONS[name]
    assert shortest <= said["horizon_days"] <= longest


def test_the_written_model_says_its_rhythm(logs, capsys, tmp_path):
    said = fitted(capsys, logs["purchases"], *MAPS["purchases"], "--out", tmp_path / "model.toml")
    model = load_model(tmp_path / "model.toml")
    assert model.days == pytest.approx(said["horizon_days"] / 30, abs=0.001)
    assert "purchases.txt" in model.origin


def test_leaving_is_what_the_log_says_or_else_silence(logs, capsys):
    assert fitted(capsys, logs["gym"], *MAPS["gym"])["leaving"] == "events that say so"
    assert fitted(capsys, logs["shop"])["leaving"] == "no activity for a horizon"


def test_a_map_file_says_columns_and_events(logs, capsys, tmp_path):
    mapping = tmp_path / "gym.toml"
    mapping.write_text(
        '[columns]\nuser = "Member"\ntimestamp = "When"\nevent = "What"\n'
        '[events]\nCancelled = "churn"\nvisit = "login"\n"class booked" = "ignore"\n'
    )
    said = fitted(capsys, logs["gym"], "--map", mapping, "--horizon", "14")
    assert said["horizon_days"] == 14
    assert "events that mean leaving: Cancelled" in said["notes"]
    assert not any("class booked" in note for note in said["notes"])


def test_what_the_later_half_holds_changes_nothing_in_how_the_log_is_read(logs, tmp_path):
    """Horizon and key features come from before the middle, or the fit would know of what it is measured on."""
    whole = read_csv(logs["game"], LogMap({"user": "uid", "timestamp": "ts", "event": "action"}))
    rows = list(csv.reader(logs["game"].open()))
    times = [int(row[0]) for row in rows[1:]]
    middle = (times[0] + times[-1]) / 2 + 86_400
    changed = tmp_path / "changed.csv"
    with changed.open("w", newline="") as file:
        kept = [row for place, row in enumerate(rows[1:]) if int(row[0]) <= middle or place % 7 == 0]
        late = [[row[0], row[1], "level" if int(row[0]) > middle else row[2]] for row in kept]
        csv.writer(file).writerows([rows[0], *late, rows[-1]])
    again = read_csv(changed, LogMap({"user": "uid", "timestamp": "ts", "event": "action"}))
    assert again.scale == whole.scale
    assert [note for note in again.notes if "said the same" not in note] == list(whole.notes)
