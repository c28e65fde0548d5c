"""The commands of docs/rules.md, run word for word on a stack, in their order."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from runtime.settings import Settings
from tests.cli.here import typed
from tests.docs.test_rules_example import PAGE, mine

pytestmark = pytest.mark.stack


def test_the_commands_of_the_example_put_it_into_force(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine").mkdir()
    mine(tmp_path / "mine")
    block = PAGE.read_text("utf-8").partition("Then, one after the other:\n\n")[2].partition("\n\n")[0]
    commands = re.findall(r"^    (\S.*)$", block, re.MULTILINE)
    assert [re.sub(r"\w+=\S+ ", "", line).split()[1:3] for line in commands] == [
        ["config", "check"],
        ["preview", "clients_went_quiet"],
        ["replay", "--config"],
        ["config", "diff"],
        ["config", "activate"],
    ]
    monkeypatch.chdir(tmp_path)
    said = [typed(settings, line) for line in commands]
    assert [one.code for one in said] == [0] * 5, [one.err for one in said]
    assert "trigger[clients_went_quiet].max: nothing -> 1" in said[3].out
    assert "version 1 is in force; digest" in said[4].out
