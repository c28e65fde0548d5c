"""`success` itself: what it imports, how it says that something is wrong, and its exit codes."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import types
from pathlib import Path
from typing import TYPE_CHECKING

import click
import pytest
from aiokafka.errors import TopicAuthorizationFailedError

from cli import main as cli_main
from cli.errors import RIGHTS, CommandError, UsageError, explain
from embedded.errors import StackError, StackUsageError
from runtime.errors import SettingsError
from store.database import DatabaseError

if TYPE_CHECKING:
    from runtime.settings import Settings

NOWHERE = {
    "SUCCESS_KAFKA": "127.0.0.1:1",
    "SUCCESS_DATABASE_URL": "postgresql://u:hush@127.0.0.1:1/x",
    "SUCCESS_SMTP_URL": "smtp://127.0.0.1:1",
}


def raising(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    """Give the group a command `fail` that raises `error`."""

    @click.command()
    def fail() -> None:
        raise error

    module = types.ModuleType("cli.fail")
    module.fail = fail  # type: ignore[attr-defined]
    module.__spec__ = cli_main.__spec__
    monkeypatch.setitem(sys.modules, "cli.fail", module)
    monkeypatch.setitem(cli_main.COMMANDS, "fail", ("cli.fail", "fails"))


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (CommandError("the broker\nis away"), 1, "error: the broker is away"),
        (UsageError("no such folder"), 2, "error: no such folder"),
        (StackError("PostgreSQL stopped\nwhile starting"), 1, "error: PostgreSQL stopped while starting"),
        (StackUsageError("give another folder"), 2, "error: give another folder"),
        (SettingsError("SUCCESS_X: wrong"), 2, "error: SUCCESS_X: wrong"),
        (DatabaseError("make the roles first"), 1, "error: make the roles first"),
        (
            FileNotFoundError(2, "No such file or directory", "no/x"),
            1,
            "error: no/x: No such file or directory",
        ),
        (
            ExceptionGroup("tasks", [TopicAuthorizationFailedError()]),
            1,
            f"error: TopicAuthorizationFailedError: Kafka does not allow this login what it needs; {RIGHTS}",
        ),
        (KeyError("x"), 1, "error: unexpected KeyError: 'x'; the same command with --debug shows where"),
    ],
)
def test_an_error_is_one_line_and_an_exit_code(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: Exception,
    code: int,
    line: str,
) -> None:
    raising(monkeypatch, error)

    assert cli_main.run(["fail"]) == code

    assert capsys.readouterr().err == line + "\n"


@pytest.mark.parametrize("arguments", [["fail", "--debug"], ["--debug", "fail"]])
def test_debug_anywhere_on_the_line_adds_the_traceback(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    raising(monkeypatch, KeyError("x"))

    assert cli_main.run(arguments) == 1

    *traceback, line = capsys.readouterr().err.splitlines()
    assert traceback[0] == "Traceback (most recent call last):"
    assert line.startswith("error: unexpected KeyError")


def test_ctrl_c_exits_with_130(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    raising(monkeypatch, KeyboardInterrupt())

    assert cli_main.run(["fail"]) == 130

    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["nope"], ["up", "--nope"], ["up", "extra"], [], ["report"]])
def test_wrong_usage_is_one_line_and_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli_main.run(arguments) == 2

    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert len(error) < 100
    assert "--help" in error


def test_help_lists_every_command_without_importing_any(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli_main.run(["--help"]) == 0

    listed = capsys.readouterr().out
    for name, (_, text) in cli_main.COMMANDS.items():
        assert f"  {name} " in listed
        assert text in " ".join(listed.split())


def test_help_shows_four_kinds_of_commands_each_where_its_code_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli_main.run(["--help"]) == 0

    under: dict[str, list[str]] = {}
    for line in capsys.readouterr().out.partition("Options:")[2].splitlines():
        if line and not line.startswith(" "):
            under[line.rstrip(":")] = []
        elif under and line.strip() and not line.startswith("   "):
            under[list(under)[-1]].append(line.split()[0])
    assert list(under) == ["Services", "Analysis", "Administration", "Development"]
    assert {
        name: cli_main.KINDS[module.split(".")[1]] for name, (module, _) in cli_main.COMMANDS.items()
    } == {name: heading for heading, names in under.items() for name in names}


@pytest.mark.parametrize("name", sorted(cli_main.COMMANDS))
def test_every_command_of_the_table_has_its_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli_main.run([name, "--help"]) == 0

    assert f"success {name}" in capsys.readouterr().out


def test_up_imports_neither_faust_nor_psycopg() -> None:
    code = "import sys, cli.main, cli.dev.up, cli.dev.down; print({'faust', 'psycopg', 'aiokafka'} & set(sys.modules))"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout == "set()\n"


def test_a_wrong_setting_stops_a_command_with_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SUCCESS_PARTITIONS", "none")

    assert cli_main.run(["migrate"]) == 2

    error = capsys.readouterr().err
    assert error.startswith("error: SUCCESS_PARTITIONS: ")
    assert error.count("\n") == 1


def test_errors_of_servers_that_are_away_point_at_the_doctor() -> None:
    import aiokafka.errors  # noqa: PLC0415 - by name only, as the product does
    import psycopg  # noqa: PLC0415

    for error in (aiokafka.errors.KafkaConnectionError("x"), psycopg.OperationalError("x\ny")):
        line, code = explain(error)
        assert code == 1
        assert "success doctor" in line
        assert "\n" not in line


@pytest.mark.parametrize("command", [["worker", "--no-wait"], ["publish", "-"]])
def test_where_kafka_is_away_a_process_ends_with_one_line(command: list[str], tmp_path: Path) -> None:
    away = {
        **NOWHERE,
        "SUCCESS_SECRET_KEY": "x" * 40,
        "SUCCESS_STATE_DIR": str(tmp_path),
        "PATH": os.environ["PATH"],
    }
    done = subprocess.run(
        [Path(sys.executable).with_name("success"), *command],
        env=away,
        input="{}\n",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("error: Kafka can't be reached: check SUCCESS_KAFKA")
    assert done.stderr.count("\n") == 1


def test_doctor_finds_every_server_that_is_away_and_says_how_to_mend_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in NOWHERE.items():
        monkeypatch.setenv(name, value)

    level = logging.getLogger("aiokafka").level
    assert cli_main.run(["doctor", "--json"]) == 1
    assert logging.getLogger("aiokafka").level == level, "whoever comes after it may need Kafka's log"

    report = json.loads(capsys.readouterr().out)
    wrong = {check["name"]: check for check in report["checks"] if not check["ok"]}
    assert report["ok"] is False
    assert wrong.keys() >= {"Kafka", "Postgres", "mail server", "secrets"}
    assert all(check["mend"] for check in wrong.values())
    assert "hush" not in json.dumps(report)


def test_doctor_finds_a_misspelt_variable(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in NOWHERE.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("SUCCESS_PARTITION", "8")

    assert cli_main.run(["doctor"]) == 2

    assert "did you mean SUCCESS_PARTITIONS?" in capsys.readouterr().out


@pytest.mark.parametrize(
    "name", ["SUCCESS_CONFIG_DIR", "SUCCESS_POLICY", "SUCCESS_SHADOW_POLICY", "SUCCESS_DKIM_KEY"]
)
def test_doctor_finds_a_file_that_a_service_could_not_read(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for variable, value in (NOWHERE | {name: "no/such/file"}).items():
        monkeypatch.setenv(variable, value)

    assert cli_main.run(["doctor", "--json"]) == 1

    found = [check["found"] for check in json.loads(capsys.readouterr().out)["checks"] if not check["ok"]]
    assert any(text.startswith(f"{name}: no/such/file") for text in found)


@pytest.mark.stack
def test_doctor_is_content_with_a_migrated_stack(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in settings.as_env().items():
        monkeypatch.setenv(name, value)

    assert cli_main.run(["doctor", "--json"]) == 0

    assert json.loads(capsys.readouterr().out)["ok"] is True


@pytest.mark.stack
def test_doctor_sees_topics_of_another_partition_count(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in (settings.as_env() | {"SUCCESS_PARTITIONS": "3"}).items():
        monkeypatch.setenv(name, value)

    assert cli_main.run(["doctor"]) == 1

    assert "SUCCESS_PARTITIONS is 3, not so" in capsys.readouterr().out
