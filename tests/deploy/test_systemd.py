"""The units: what systemd says of them, where it can be asked."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from cli.main import COMMANDS
from runtime.settings import Settings, variable
from tests.deploy.tools import tool

FOLDER = Path(__file__).parents[2] / "deploy" / "systemd"
UNITS = sorted(FOLDER.glob("*.service"))
MOST_EXPOSED = "20"
"""Tenths: `systemd-analyze security` says from 0 (nothing) to 10 (everything)."""
on_linux = pytest.mark.skipif(sys.platform != "linux", reason="systemd is Linux's")


@pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.name)
def test_a_unit_starts_a_command_of_ours(unit: Path) -> None:
    (command,) = re.findall(
        r"^ExecStart=/opt/success/bin/success (\S+)", unit.read_text("utf-8"), re.MULTILINE
    )

    assert command in COMMANDS


@on_linux
@pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.name)
def test_systemd_reads_a_unit_without_a_complaint(unit: Path, tmp_path: Path) -> None:
    for each in UNITS:
        text = each.read_text("utf-8").replace("/opt/success/bin/success", shutil.which("true") or "")
        (tmp_path / each.name).write_text(text)
    name = unit.name.replace("@", "@1")
    (tmp_path / name).write_text((tmp_path / unit.name).read_text())

    done = subprocess.run(
        [tool("systemd-analyze"), "verify", "--man=no", tmp_path / name],
        capture_output=True,
        text=True,
        check=False,
    )

    complaints = [line for line in done.stderr.splitlines() if "success" in line]
    assert (done.returncode, complaints) == (0, [])


@on_linux
@pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.name)
def test_a_unit_exposes_little(unit: Path) -> None:
    done = subprocess.run(
        [
            tool("systemd-analyze"),
            "security",
            "--no-pager",
            "--offline=true",
            f"--threshold={MOST_EXPOSED}",
            unit,
        ],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"SYSTEMD_COLORS": "0"},
    )

    assert done.returncode == 0, done.stdout[-300:] + done.stderr


def test_the_settings_of_the_example_are_ours() -> None:
    text = (FOLDER / "success.env.example").read_text("utf-8")
    known = {variable(name) for name in Settings.model_fields}

    used = set(re.findall(r"^(SUCCESS_\w+)=", text, re.MULTILINE))
    assert {name for name in used if name.removesuffix("_FILE") not in known} == set()
