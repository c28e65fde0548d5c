"""`success replay` as a command, over archives: what it prints, writes and refuses."""

from __future__ import annotations

import json

import duckdb
import pytest

from cli.main import run
from replay.simulator.simulate import population
from scoring.time import DAY
from tests.replay.logs import MONDAY, archive_of, event, logs_of, suppliers

ANNA, BEA = suppliers(2)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return str(archive_of(tmp_path_factory.mktemp("archive"), logs_of(population(10, 40, 31, MONDAY))))


@pytest.fixture(scope="module")
def supplier_id(folder, tmp_path_factory):
    """One who rose from critical to at risk."""
    out = tmp_path_factory.mktemp("signals")
    assert run(["replay", "--processes", "1", "--archive", folder, "--out", str(out)]) == 0
    with duckdb.connect(str(out / "replay.duckdb")) as found:
        rose = "SELECT supplier_id FROM base.signals WHERE previous = 'critical' AND level = 'at_risk' ORDER BY 1"
        return str(found.execute(rose).fetchall()[0][0])


def replayed(capsys, *arguments: str):
    """Exit code, the JSON object or the text, and standard error."""
    code = run(["replay", "--processes", "1", *arguments])
    out, err = capsys.readouterr()
    return code, json.loads(out) if "--json" in arguments else out, err


def test_a_plain_replay_counts_and_writes_tables(capsys, folder, tmp_path):
    code, report, _ = replayed(capsys, "--archive", folder, "--out", str(tmp_path / "out"), "--json")
    assert code == 0
    assert report["suppliers"] == sum(report["levels"].values()) > 5
    with duckdb.connect(str(tmp_path / "out" / "replay.duckdb")) as found:
        counted = dict(found.execute("SELECT type, count(*) FROM base.signals GROUP BY type").fetchall())
    assert counted == report["signals"]
    # once more into the same folder: what was there is replaced
    assert (
        replayed(capsys, "--archive", folder, "--out", str(tmp_path / "out"), "--json")[1]["signals"]
        == counted
    )


def test_people_get_the_same_as_lines(capsys, folder):
    code, said, _ = replayed(capsys, "--archive", folder, "--to", "2026-01-20")
    assert code == 0
    assert "signals  success.condition.met" in said
    assert "up to 2026-01-20T00:00:00.000Z" in said


def test_as_of_gives_everybody_in_full(capsys, folder):
    code, report, _ = replayed(capsys, "--archive", folder, "--as-of", "2026-01-20T12:00:00Z", "--json")
    assert code == 0
    assert len(report["state"]) == report["suppliers"] > 0
    assert {"supplier_id", "score", "breakdown", "metrics", "consent"} <= report["state"][0].keys()


def test_offsets_choose_what_is_replayed_and_the_report_says_which(capsys, folder):
    code, report, _ = replayed(
        capsys, "--archive", folder, "--from-offset", "1:10", "--to-offset", "1:60", "--json"
    )
    assert code == 0
    assert report["offsets"] == {"1": {"first": 10, "last": 60}}
    assert report["records"] == 61
    code, said, _ = replayed(capsys, "--archive", folder, "--to-offset", "60")
    assert code == 0
    assert "offsets  0: 0 to 60, 1: 0 to 60, 2: 0 to 60" in said


def test_an_explanation_from_an_offset_on_adds_up_too(capsys, folder):
    _, report, _ = replayed(capsys, "--archive", folder, "--as-of", "2026-02-10", "--json")
    owner = max(report["state"], key=lambda one: one["seq"])
    options = ("--archive", folder, "--supplier", owner["supplier_id"], "--to", "2026-02-10", "--json")
    _, whole, _ = replayed(capsys, *options)
    _, told, _ = replayed(capsys, *options, "--from-offset", "40")
    assert 0 < len(told["changes"]) < len(whole["changes"])
    assert told["changes"] == whole["changes"][-len(told["changes"]) :]
    assert told["start"]["score"] + sum(each["delta"] for each in told["changes"]) == told["end"]["score"]


def test_an_explanation_in_json_adds_up_from_wherever_it_starts(capsys, folder):
    _, report, _ = replayed(capsys, "--archive", folder, "--as-of", "2026-02-10", "--json")
    owner = max(report["state"], key=lambda one: one["seq"])
    for since in ([], ["--from", "2026-01-25"]):
        code, told, _ = replayed(
            capsys,
            "--archive",
            folder,
            "--supplier",
            owner["supplier_id"],
            "--to",
            "2026-02-10",
            *since,
            "--json",
        )
        assert code == 0
        changes = told["changes"]
        assert len(changes) > 10
        assert told["start"]["score"] + sum(each["delta"] for each in changes) == told["end"]["score"]
        total = told["start"]["sum"] + sum(each["sum_delta"] for each in changes)
        assert round(total, 9) == told["end"]["sum"] == owner["sum"]
    code, said, _ = replayed(
        capsys, "--archive", folder, "--supplier", owner["supplier_id"], "--as-of", "2026-02-10"
    )
    assert "time passed" in said
    assert '"next_change_at"' in said


def test_a_what_if_says_what_would_change_and_writes_a_page(capsys, folder, tmp_path):
    arguments = ("--archive", folder, "--set", "caps.total=1", "--out", str(tmp_path))
    code, report, _ = replayed(capsys, *arguments, "--json")
    assert code == 0
    assert report["differs"]
    assert report["what_if"]["sent"] < report["base"]["sent"]
    assert "caps.total=1" in (tmp_path / "report.html").read_text()
    code, said, _ = replayed(capsys, *arguments)
    assert "messages a supplier a week" in said


def test_a_what_if_with_the_policy_in_force_says_that_nothing_changes(capsys, folder):
    code, said, _ = replayed(capsys, "--archive", folder, "--policy", "scoring/policy.toml")
    assert code == 0
    assert "nothing would have been otherwise" in said


def test_a_log_that_run_has_played_is_recognised(capsys, tmp_path):
    """Its events are of next year, and no worker called that premature."""
    lines = [event(ANNA, "supplier.logged_in", MONDAY + 365 * DAY) | {"premature": 1}]
    folder = str(archive_of(tmp_path, logs_of(lines)))
    code, report, err = replayed(capsys, "--archive", folder, "--json")
    assert code == 0
    assert (report["suppliers"], report["refused"]) == (1, {})
    assert "--played" in err


def test_a_log_without_events_is_said_to_be_empty(capsys, tmp_path):
    """Not to end in 1970."""
    folder = str(archive_of(tmp_path, logs_of([event(ANNA, "supplier.logged_in", MONDAY) | {"id": ""}])))
    code, said, _ = replayed(capsys, "--archive", folder)
    assert code == 0
    assert "no events" in said
    assert "1970" not in said
    code, report, _ = replayed(capsys, "--archive", folder, "--json")
    assert (code, report["to"], report["events"]) == (0, None, 0)


def test_no_word_of_an_explanation_is_cut_off(capsys, tmp_path):
    """Not even where all columns are at their widest."""
    steps: list[tuple[str, dict[str, object]]] = [
        ("supplier.logged_in", {}),
        ("client.imported", {"client_ids": [str(number) for number in range(29)]}),
        ("template.used", {"template_id": "t"}),
        *[("journey.email_sent", {"journey_id": "j", "message_id": "m"})] * 7,
        *[
            ("journey.email_opened", {"journey_id": "j", "message_id": "m", "client_id": str(number)})
            for number in range(5)
        ],
    ]
    lines = [
        event(ANNA, kind, MONDAY + number, f"{number:013}-an-id", **data)
        for number, (kind, data) in enumerate(steps)
    ]
    folder = str(archive_of(tmp_path, logs_of(lines)))
    code, said, _ = replayed(capsys, "--archive", folder, "--supplier", ANNA)
    assert code == 0
    assert "\N{HORIZONTAL ELLIPSIS}" not in said
    assert "critical -> at_risk" in said


def test_an_explanation_is_written_where_it_was_asked_for(capsys, folder, supplier_id, tmp_path):
    out = tmp_path / "out"
    code, report, _ = replayed(
        capsys, "--archive", folder, "--supplier", supplier_id, "--out", str(out), "--json"
    )
    assert code == 0
    assert json.loads((out / "explanation.json").read_text()) == report


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--from", "yesterday"], "--from yesterday"),
        (["--from", "2026-02-01", "--to", "2026-01-01"], "later than --to"),
        (["--to", "2026-02-01", "--as-of", "2026-01-01"], "give one of them"),
        (["--supplier", "anna"], "a UUID"),
        (["--from-offset", "all"], "--from-offset all: write PARTITION:OFFSET"),
        (["--to-offset", "-1"], "--to-offset -1: write PARTITION:OFFSET"),
        (["--to-offset", "1:5", "--to-offset", "7"], "give it alone"),
        (["--to-offset", "1:5", "--to-offset", "1:7"], "partition 1 is given twice"),
        (["--from-offset", "5", "--to-offset", "1:7"], "or both as PARTITION:OFFSET"),
        (["--from", "2026-01-09", "--from-offset", "5"], "--from and --from-offset"),
        (["--from-offset", "5", "--set", "caps.total=1"], "give --from TIME"),
        (["--from-offset", "5", "--to-offset", "1"], "--from-offset 5 lies behind --to-offset 1"),
        (["--from-offset", "1:5", "--to-offset", "1:1"], "--from-offset 1:5 lies behind --to-offset 1:1"),
        (["--state", "/no/such/folder"], "--state /no/such/folder"),
        (["--set", "caps.totals=1"], "totals"),
        (["--policy", "no-such.toml"], "can't be read"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(capsys, folder, arguments, complaint):
    code, _, err = replayed(capsys, "--archive", folder, *arguments)
    assert code == 2
    assert complaint in err
    assert err.count("\n") == 1


def test_a_supplier_nobody_knows_and_an_archive_that_is_none(capsys, folder, tmp_path):
    assert replayed(capsys, "--archive", folder, "--supplier", BEA)[0] == 1
    code, _, err = replayed(capsys, "--archive", str(tmp_path))
    assert code == 1
    assert "success export" in err


def test_offsets_that_there_are_not_are_refused_with_those_there_are(capsys, folder):
    code, _, err = replayed(capsys, "--archive", folder, "--to-offset", "8:5")
    assert code == 1
    assert err == "error: --to-offset 8:5: there is no partition 8 of supplier.activity, there are 0 to 2\n"
