"""`success` runs its own code only: not what lies in the folder it is started in, nor a namesake's."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from cli.__main__ import MARK, PACKAGES
from cli.children import success

ROOT = Path(__file__).parents[2]
SUCCESS = str(Path(sys.executable).with_name("success"))
NOWHERE = {
    "SUCCESS_KAFKA": "127.0.0.1:1",
    "SUCCESS_DATABASE_URL": "postgresql://127.0.0.1:1/x",
    "SUCCESS_SECRET_KEY": "x" * 40,
    "SUCCESS_JWT_SECRET": "x" * 40,
}
TRAP = "import os\nopen(os.environ['TRAP'], 'a').write(__name__)\n"
NAMES = (*PACKAGES, "multiprocessing", "asyncio", "click", "json")


@pytest.fixture
def trapped(tmp_path: Path) -> Path:
    """A folder in which every name that we import is a package which leaves a note when it is run."""
    folder = tmp_path / "trapped"
    for name in NAMES:
        (folder / name).mkdir(parents=True)
        (folder / name / "__init__.py").write_text(TRAP)
    return folder


@pytest.mark.parametrize(
    "command",
    [[SUCCESS, "--help"], [SUCCESS, "simulate", "--suppliers", "1"], success("token", "--role", "agent")],
    ids=["installed", "a command", "as a child"],
)
def test_what_lies_in_the_working_directory_is_not_run(command: list[str], trapped: Path) -> None:
    note = trapped.parent / "note"

    done = subprocess.run(
        command,
        cwd=trapped,
        env=os.environ | {"TRAP": str(note)},
        capture_output=True,
        check=False,
        timeout=60,
    )

    assert not note.exists(), note.read_text()
    assert b"Traceback" not in done.stderr


def test_a_child_of_a_command_inherits_it(trapped: Path) -> None:
    """What a child starts with Python's own means (multiprocessing) is not ours to write an option for."""
    note = trapped.parent / "note"
    code = (
        "import subprocess, sys, cli.main\n"
        "cli.main.main = lambda: subprocess.run([sys.executable, '-c', 'import multiprocessing, store'])\n"
        "from cli.__main__ import main; main()"
    )

    subprocess.run(
        [sys.executable, "-P", "-c", code],
        cwd=trapped,
        env=os.environ | {"TRAP": str(note)},
        capture_output=True,
        check=False,
        timeout=60,
    )

    assert not note.exists(), note.read_text()


def test_python_is_started_in_one_way() -> None:
    """`python -c` and `python -m` look into the working directory: children go through `cli.children`."""
    starts = {
        f"{path.relative_to(ROOT)}"
        for package in PACKAGES
        for path in (ROOT / package).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.List)
        and any(ast.unparse(element) == "sys.executable" for element in node.elts)
    }

    assert starts == {"cli/children.py", "embedded/smtp.py"}  # the sink's is `-I`


@pytest.mark.parametrize("name", PACKAGES)
def test_every_package_of_ours_has_the_mark(name: str) -> None:
    assert MARK in (ROOT / name / "__init__.py").read_text(encoding="utf-8").splitlines()


def test_a_namesake_stops_the_start_with_one_line_that_names_it(tmp_path: Path) -> None:
    """As `openai-agents` does, which ships a package called `agents`."""
    (tmp_path / "agents").mkdir()
    (tmp_path / "agents" / "__init__.py").write_text(TRAP)
    info = tmp_path / "openai_agents-0.1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: openai-agents\nVersion: 0.1\n")
    (info / "RECORD").write_text("agents/__init__.py,,\n")
    note = tmp_path / "note"

    done = subprocess.run(
        success("--help"),
        env=os.environ | {"PYTHONPATH": str(tmp_path), "TRAP": str(note)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert (
        f"the package `agents` of wedsync-success is hidden by another: {tmp_path / 'agents'}" in done.stderr
    )
    assert "openai-agents" in done.stderr
    assert not note.exists()
