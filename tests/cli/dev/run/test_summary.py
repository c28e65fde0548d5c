"""What `success run` prints for people: which message to whom, when and why, and why the rest was not sent."""

from __future__ import annotations

import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from cli.dev.run_summary import LISTED, Decided, Summary, print_summary

ROOT = Path(__file__).parents[4]
AT = datetime(2026, 1, 19, 9, tzinfo=UTC)


def decided(**values: object) -> Decided:
    """A message of which a test names what it is about."""
    defaults = {
        "at": AT,
        "name": "Sarah",
        "trigger": "low_client_adoption",
        "channel": "email",
        "template": "grow_client_list",
        "status": "sent",
        "reason": None,
        "why": None,
    }
    return Decided(**(defaults | values))  # type: ignore[arg-type]


def printed(capsys: pytest.CaptureFixture[str], messages: int = 1, *, each: list[Decided]) -> list[str]:
    summary = Summary(
        5,
        1,
        {"critical": 1},
        {"new": 1},
        {},
        0,
        {("grow_client_list", "email", "sent", None): messages},
        each,
    )
    print_summary(summary, {})
    return capsys.readouterr().out.splitlines()


@pytest.mark.stack
def test_the_readmes_example_prints_each_message_and_why_the_rest_was_not_sent() -> None:
    (command,) = re.findall(
        r"^success (run tests/cases/.*)$",
        (ROOT / "README.md").read_text(encoding="utf-8"),
        re.MULTILINE,
    )
    done = subprocess.run(
        [Path(sys.executable).with_name("success"), *command.split()],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )

    lines = [" ".join(line.split()) for line in done.stdout.splitlines()]
    for line in (
        "2026-01-06 11:06 Sarah first_form_celebration (email) first_form_created sent",
        "2026-01-19 09:00 Sarah grow_client_list (email) low_client_adoption sent",
    ):
        assert line in lines
    assert any(
        line.startswith("2026-01-19 09:00 Sarah quick_win (email) became_at_risk not sent: ")
        for line in lines
    )


def test_a_message_that_was_not_sent_says_why(capsys: pytest.CaptureFixture[str]) -> None:
    held = decided(status="suppressed", reason="superseded", why="another went out less than 72 h ago")

    lines = printed(capsys, each=[held])

    assert any("not sent: superseded (another went out less than 72 h ago)" in line for line in lines)


def test_a_name_is_printed_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    lines = printed(capsys, each=[decided(name="[bold]Sarah[/bold]")])

    assert any("[bold]Sarah[/bold]" in line for line in lines)


def test_a_big_run_lists_the_first_and_counts_all(capsys: pytest.CaptureFixture[str]) -> None:
    lines = printed(capsys, LISTED + 40, each=[decided()] * LISTED)

    assert "… and 40 more" in lines
    assert any(line.split() == ["grow_client_list", "email", "sent", "100"] for line in lines)


def test_levels_stay_by_level_for_machines_and_newcomers_are_new_for_people(
    capsys: pytest.CaptureFixture[str],
) -> None:
    summary = Summary(5, 1, {"critical": 1}, {"new": 1}, {}, 0)
    print_summary(summary, {})
    assert "levels   new 1" in capsys.readouterr().out.splitlines()
    assert summary.counts()["levels"] == {"critical": 1}
