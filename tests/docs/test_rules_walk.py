"""The commands of docs/rules.md, run word for word on a stack, in their order."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from runtime.settings import Settings
from tests.docs.test_rules_example import PAGE, mine

pytestmark = pytest.mark.stack


def test_the_commands_of_the_example_put_it_into_force(settings: Settings, tmp_path: Path) -> None:
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
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    env = os.environ | settings.as_env() | {"PATH": path, "BROWSER": "true"}
    said = [
        subprocess.run(
            ["sh", "-ec", line], cwd=tmp_path, env=env, capture_output=True, text=True, check=False
        )
        for line in commands
    ]
    assert [one.returncode for one in said] == [0] * 5, [one.stderr for one in said]
    assert "trigger[clients_went_quiet].max: nothing -> 1" in said[3].stdout
    assert "version 1 is in force; digest" in said[4].stdout
