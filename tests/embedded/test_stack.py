"""The embedded stack: started, reused, mended, stopped; always through the real servers."""

from __future__ import annotations

import json
import os
import smtplib
import socket
import subprocess
import sys
import threading
import time
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import psycopg
import pytest

from embedded.errors import StackError, StackUsageError
from embedded.process import free_port
from embedded.registry import is_embedded, read_record
from embedded.stack import Stack
from tests.embedded.kafka import produce_and_read_back, topics

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.stack
SUCCESS = [sys.executable, "-c", "from cli.main import main; main()"]


def success(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `success` as people do: a process of its own, its streams closed behind it."""
    return subprocess.run(
        [*SUCCESS, *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env={**os.environ, **environment},
    )


def pids(data_dir: Path) -> dict[str, int]:
    """The recorded processes by name."""
    record = read_record(data_dir)
    return {name: process.pid for name, process in record.processes.items()} if record else {}


@pytest.fixture(scope="module")
def lasting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with a lasting stack in it, which the tests of this module stop, break and start again."""
    folder = tmp_path_factory.mktemp("lasting")
    yield folder
    Stack(folder).stop()


@pytest.fixture
def stopped(lasting: Path) -> Path:
    """The folder of a lasting stack that has run once and doesn't now."""
    stack = Stack(lasting)
    if not (lasting / "kafka" / "data").exists():
        stack.start()
    stack.stop()
    return lasting


def test_up_prints_one_json_object_and_leaves_three_servers_that_answer(lasting: Path) -> None:
    done = success("up", "--data", lasting, "--json")

    assert done.returncode == 0, done.stderr
    addresses = json.loads(done.stdout)["addresses"]
    assert addresses.keys() == {"kafka", "database_url", "smtp", "mail_dir"}
    assert produce_and_read_back(addresses["kafka"], b"x" * 2_000_000) == b"x" * 2_000_000
    with psycopg.connect(addresses["database_url"]) as conn:
        assert conn.execute("select current_database()").fetchone() == ("success",)
    host, port = addresses["smtp"].removeprefix("smtp://").split(":")
    with smtplib.SMTP(host, int(port)) as client:
        assert client.noop()[0] == 250


def test_a_second_up_reuses_the_processes(lasting: Path) -> None:
    first = success("up", "--data", lasting, "--json")
    before = pids(lasting)
    second = success("up", "--data", lasting, "--json")

    assert second.stdout == first.stdout
    assert pids(lasting) == before


def test_what_was_written_is_there_after_down_and_up(lasting: Path) -> None:
    addresses = Stack(lasting).start()
    with psycopg.connect(addresses.database_url) as conn:
        conn.execute("create table if not exists kept (n int)")
    topic = topics(addresses.kafka)

    assert success("down", "--data", lasting).returncode == 0
    assert not any(map(psutil.pid_exists, pids(lasting).values()))
    started = time.monotonic()
    again = Stack(lasting).start()
    # Told, not asserted: it depends on what else the machine does.
    print(f"a start after a stop took {time.monotonic() - started:.1f} s")  # noqa: T201

    with psycopg.connect(again.database_url) as conn:
        assert conn.execute("select to_regclass('kept')::text").fetchone() == ("kept",)
    assert topics(again.kafka) == topic


@pytest.mark.parametrize("name", ["kafka", "postgres", "smtp"])
def test_a_killed_process_alone_is_started_again_at_its_address(lasting: Path, name: str) -> None:
    addresses = Stack(lasting).start()
    before = pids(lasting)
    victim = psutil.Process(before[name])
    for process in [*victim.children(recursive=True), victim]:
        with suppress(psutil.NoSuchProcess):  # a child of Postgres may end by itself
            process.kill()
    psutil.wait_procs([victim], timeout=10)

    assert Stack(lasting).start() == addresses

    after = pids(lasting)
    assert after[name] != before[name]
    assert {n: pid for n, pid in after.items() if n != name} == {
        n: pid for n, pid in before.items() if n != name
    }


def test_a_taken_port_is_replaced_by_a_free_one_and_said(stopped: Path) -> None:
    with closing(socket.create_server(("127.0.0.1", free_port()))) as other:
        taken = other.getsockname()[1]
        lines: list[str] = []
        stack = Stack(stopped, notify=lines.append)
        for service in stack.services:
            service.default_port = taken if service.name == "kafka" else free_port()

        addresses = stack.start()

    assert addresses.kafka != f"127.0.0.1:{taken}"
    assert lines == [f"port {taken} is taken by another program: Kafka listens on {addresses.kafka[10:]}"]


def test_half_written_folders_are_set_aside_and_said(stopped: Path) -> None:
    (stopped / "kafka" / "data" / "meta.properties").write_text("version=1\ncluster")
    (stopped / "postgres" / "data" / "global" / "pg_control").unlink()
    for name in ("kafka", "postgres"):
        draft = stopped / name / "data.new"
        draft.mkdir()
        (draft / "cut-off").touch()
    lines: list[str] = []

    addresses = Stack(stopped, notify=lines.append).start()

    assert topics(addresses.kafka) == set()
    said = " ".join(lines)
    for name in ("kafka", "postgres"):
        aside = stopped / name / "data.broken-1"
        assert aside.is_dir()
        assert str(aside) in said


def test_a_cut_off_stack_json_is_no_obstacle(stopped: Path) -> None:
    (stopped / "stack.json").write_text('{"ephemeral": fal')

    Stack(stopped).start()

    assert pids(stopped).keys() == {"kafka", "postgres", "smtp"}


def test_a_cluster_of_another_version_is_explained(stopped: Path) -> None:
    version = stopped / "postgres" / "data" / "PG_VERSION"
    ours = version.read_text()
    version.write_text("9\n")
    try:
        with pytest.raises(StackError, match="was written by PostgreSQL 9, this is"):
            Stack(stopped).start()
    finally:
        version.write_text(ours)
    assert pids(stopped) == {}


def test_a_postmaster_pid_left_by_kill_9_is_no_obstacle(stopped: Path) -> None:
    # The id of a live process that isn't PostgreSQL: ours.
    (stopped / "postgres" / "data" / "postmaster.pid").write_text(f"{os.getpid()}\n")

    Stack(stopped).start()


def test_down_never_touches_a_process_that_is_not_ours(stopped: Path) -> None:
    """The id of a dead server may belong to somebody else by now."""
    Stack(stopped).start()
    path = stopped / "stack.json"
    document: dict[str, Any] = json.loads(path.read_text())
    sink = psutil.Process(document["processes"]["smtp"]["pid"])
    bystander = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    try:
        document["processes"]["smtp"]["pid"] = bystander.pid
        path.write_text(json.dumps(document))

        assert Stack(stopped).stop()

        assert bystander.poll() is None
    finally:
        sink.kill()
        bystander.kill()
        bystander.wait()


def test_down_stops_its_own_stack_only(lasting: Path, tmp_path: Path) -> None:
    addresses = Stack(lasting).start()

    done = success("down", "--data", tmp_path / "elsewhere")

    assert done.returncode == 0
    assert "no stack runs" in done.stdout
    assert not (tmp_path / "elsewhere").exists()
    assert Stack(lasting).addresses() == addresses


def test_an_ephemeral_stack_leaves_nothing_behind() -> None:
    done = success("up", "--ephemeral", "--json")
    addresses = json.loads(done.stdout)["addresses"]
    folder = Path(addresses["mail_dir"]).parent
    processes = pids(folder)

    assert is_embedded(addresses["kafka"], addresses["database_url"])
    assert success("down", "--data", folder).returncode == 0

    assert not folder.exists()
    assert not any(map(psutil.pid_exists, processes.values()))
    assert not is_embedded(addresses["kafka"], addresses["database_url"])


@pytest.mark.parametrize("begun", [1, 2, 3])
def test_ctrl_c_while_the_servers_are_begun_leaves_none_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, begun: int
) -> None:
    starts: list[threading.Thread] = []
    begin = threading.Thread.start

    def begin_interrupted(thread: threading.Thread) -> None:
        begin(thread)
        if thread.name.startswith("stack"):
            starts.append(thread)
            if len(starts) == begun:
                raise KeyboardInterrupt

    monkeypatch.setattr(threading.Thread, "start", begin_interrupted)
    with pytest.raises(KeyboardInterrupt):
        Stack(tmp_path, ephemeral=True).start()
    for thread in starts:
        thread.join(60)
    left = [each.info["cmdline"] for each in psutil.process_iter(["cmdline"])]
    assert not [words for words in left if str(tmp_path) in " ".join(words or [])]


def test_an_ephemeral_stack_is_refused_where_a_lasting_one_lives(stopped: Path) -> None:
    with pytest.raises(StackUsageError, match="lasting stack"):
        Stack(stopped, ephemeral=True).start()
    assert (stopped / "postgres" / "data" / "PG_VERSION").exists()


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    done = success("up", "--data", tmp_path / "file" / "stack")

    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert str(tmp_path / "file" / "stack") in done.stderr
