"""What an installation without an extra can do, and what it says of the rest."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from cli.extras import MODULES
from cli.main import COMMANDS
from replay.simulator.simulate import population
from tests.replay.logs import MONDAY, archive_of, logs_of

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
WITHOUT = """
import sys
for name in {modules!r}:
    sys.modules[name] = None
from cli.main import run
sys.exit(run({arguments!r}))
"""
HELP_OF_EACH = """
import contextlib, io, json, sys
for name in {modules!r}:
    sys.modules[name] = None
from cli.main import run
found = {{}}
for name in {names!r}:
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()) as said:
        found[name] = run([name, "--help"]), said.getvalue()
print(json.dumps(found))
"""
ALL = tuple(module for modules in MODULES.values() for module in modules)


def success_without(
    modules: tuple[str, ...], *arguments: str, folder: Path
) -> subprocess.CompletedProcess[str]:
    """Run a command where `modules` are not installed."""
    code = WITHOUT.format(modules=modules, arguments=list(arguments))
    return subprocess.run(
        [sys.executable, "-P", "-c", code], capture_output=True, text=True, check=False, cwd=folder
    )


@pytest.fixture(scope="module")
def helped(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[int, str]]:
    """Exit code and standard error of each command's `--help` where no extra is installed, all asked of one process."""
    code = HELP_OF_EACH.format(modules=ALL, names=sorted(COMMANDS))
    command = [sys.executable, "-P", "-c", code]
    folder = tmp_path_factory.mktemp("elsewhere")
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=folder)
    found: dict[str, tuple[int, str]] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_only_commands_for_analysts_need_an_extra_before_they_begin(
    name: str, helped: dict[str, tuple[int, str]]
) -> None:
    code, said = helped[name]

    is_analysis = COMMANDS[name][0].startswith("cli.analysis.")
    assert code == 0 or (is_analysis and code == 2), said
    if code:
        assert 'pip install "wedsync-success[analyst]"' in said
        assert said.count("\n") == 1


@pytest.mark.parametrize("module", MODULES["embedded"])
def test_a_stack_without_its_extra_starts_nothing_and_says_which(module: str, tmp_path: Path) -> None:
    done = success_without((module,), "up", "--data", str(tmp_path / "stack"), folder=tmp_path)

    assert done.returncode == 2
    assert 'pip install "wedsync-success[embedded]"' in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "stack").exists()


@pytest.mark.parametrize(
    ("arguments", "extra"),
    [
        (("export",), "analyst"),
        (("replay", "--set", "weights.login=20"), "analyst"),
        (("report", "impact", "--simulated"), "analyst"),
        (("fit-churn", "--simulated"), "analyst"),
    ],
)
def test_an_analyst_without_the_extra_is_told_which(
    arguments: tuple[str, ...], extra: str, tmp_path: Path
) -> None:
    done = success_without(ALL, *arguments, folder=tmp_path)

    assert done.returncode == 2, done.stderr
    assert f'pip install "wedsync-success[{extra}]"' in done.stderr


def test_an_engine_without_its_extra_is_told_which(tmp_path: Path) -> None:
    archive_of(tmp_path / "archive", logs_of(population(1, 3, 1, MONDAY), partitions=1))

    done = success_without(
        ("pyspark",), "replay", "--archive", "archive", "--engine", "spark", folder=tmp_path
    )

    assert done.returncode == 2, done.stderr
    assert 'pip install "wedsync-success[spark]"' in done.stderr


def test_the_modules_are_those_of_the_extras() -> None:
    """`success` names an extra by a module: every distribution of an extra has its module in the table."""
    distributions = {
        extra: {re.split(r"[\[<>=]", requirement)[0] for requirement in requirements} - {"wedsync-success"}
        for extra, requirements in PROJECT["optional-dependencies"].items()
    }
    named = {"sklearn": "scikit-learn"}
    plain = str.maketrans("_.", "--")

    assert distributions == {
        extra: {named.get(module, module.translate(plain)) for module in modules}
        for extra, modules in MODULES.items()
    }
