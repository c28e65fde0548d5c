"""How a CSV is understood: columns, times, meanings, and what is said when it can't be."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest

from cli.main import run
from replay.churn.csv_log import LogMap, parse_mapping, parse_times, read_csv
from replay.log.activity_log import LogError, log_of
from scoring.time import DAY

FIRST = datetime(2024, 1, 1, 8, tzinfo=UTC)


def log_file(
    folder: Path, *, header: str = "user,timestamp,event", days: int = 120, write: str = "iso"
) -> Path:
    """Twenty users who do something every third day."""
    path = folder / "log.csv"
    lines = [header]
    for day in range(days):
        for user in range(20):
            if (day + user) % 3 == 0:
                at = FIRST + timedelta(days=day)
                text = {"iso": at.isoformat(), "epoch": str(int(at.timestamp())), "day": f"{at:%Y-%m-%d}"}[
                    write
                ]
                lines.append(f"u{user},{text},{'open' if user % 2 else 'save'}")
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.mark.parametrize(
    "text",
    [
        "2024-01-02T03:04:05Z",
        "2024-01-02 03:04:05",
        "2024-01-02T05:04:05+02:00",
        "1704164645",
        "1704164645000",
        "1704164645000000",
        "1704164645000000000",
    ],
)
def test_times_of_every_usual_form_are_read(text):
    [at] = parse_times(pd.Series([text]))
    assert at == 1_704_164_645_000


def test_dates_as_numbers_are_dates_and_no_seconds():
    assert parse_times(pd.Series(["19970101", "19970102"])).tolist() == [9862 * DAY, 9863 * DAY]


def test_what_is_no_time_is_missing():
    assert parse_times(pd.Series(["2024-01-02", "soon", None])).isna().tolist() == [False, True, True]


@pytest.mark.parametrize("write", ["iso", "epoch", "day"])
def test_columns_with_common_names_need_no_map(tmp_path, write):
    log = read_csv(log_file(tmp_path, header="Customer ID,Event Time,Action", write=write), LogMap())
    assert len(log.histories) == 20
    assert log.notes[0] == "columns: user = Customer ID, timestamp = Event Time, event = Action"


def test_a_log_without_an_event_column_is_a_log_of_activity(tmp_path):
    path = tmp_path / "two.csv"
    path.write_text("user,time\n" + "".join(f"u{d % 9},2024-0{1 + d % 4}-1{d % 9}\n" for d in range(400)))
    kinds = {event.type for history in read_csv(path, LogMap()).histories for event in history.events}
    assert kinds == {"supplier.signed_up", "supplier.logged_in"}


def test_unknown_event_names_are_activity_and_become_key_features(tmp_path):
    log = read_csv(log_file(tmp_path), LogMap())
    assert any(note.startswith("key features: ") and "open" in note and "save" in note for note in log.notes)
    assert not log.says_leaving


def test_our_own_event_names_mean_what_they_mean_with_us(tmp_path):
    path = log_file(tmp_path)
    path.write_text(path.read_text().replace(",open", ",supplier.logged_in").replace(",save", ",form.sent"))
    kinds = [event.type for history in read_csv(path, LogMap()).histories for event in history.events]
    assert kinds.count("form.sent") > 0
    assert "form.created" not in kinds


def test_rows_that_say_nothing_are_left_out_and_counted(tmp_path):
    path = log_file(tmp_path)
    with path.open("a") as file:
        file.write("u1,never,open\n,2024-02-02T00:00:00Z,open\nu1,,open\n")
    assert any(note.startswith("3 of ") for note in read_csv(path, LogMap()).notes)


def test_the_scale_makes_the_horizon_thirty_days(tmp_path):
    log = read_csv(log_file(tmp_path, days=400), LogMap(), horizon_days=60)
    assert log.scale == 2
    assert log.days == pytest.approx(399, abs=1)
    assert log.ends_at - log.starts_at == pytest.approx(399 * DAY / 2, abs=DAY)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "is empty"),
        ("a,b\n1,2\n", "which column is the user"),
        ("user,b\n1,2\n", "which column is the timestamp"),
        ("user,time\n1,soon\n2,later\n", "no time that can be read"),
        ("user,time\n1,2024-01-01\n1,2024-01-02\n", "too few to see anybody leave"),
    ],
)
def test_what_can_not_be_understood_is_said(tmp_path, text, complaint):
    path = tmp_path / "log.csv"
    path.write_text(text)
    with pytest.raises(LogError, match=complaint):
        read_csv(path, LogMap())


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["colour"], "can't be read"),
        (["user="], "expected role=column"),
        (["visit=holiday"], "expected login"),
        (["user=nobody,timestamp=timestamp"], "has no column 'nobody'"),
    ],
)
def test_a_map_that_can_not_be_meant_is_said(tmp_path, words, complaint):
    path = log_file(tmp_path)
    with pytest.raises(LogError, match=complaint):
        read_csv(path, parse_mapping(words))


def test_the_command_says_in_one_line_what_is_wrong(tmp_path, capsys):
    assert run(["fit-churn", str(tmp_path / "nowhere.csv")]) == 2
    assert run(["fit-churn"]) == 2
    assert run(["fit-churn", str(log_file(tmp_path, days=30))]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 3
    assert lines[1] == "error: give either a LOG or --simulated"
    assert "give a longer log" in lines[2]


def test_a_log_of_nobody_is_refused():
    with pytest.raises(LogError, match="no activity in it"):
        log_of("empty.jsonl", {})
