"""`success run --keep` on a file that holds nothing: a stack that stays up, and the line that stops it."""

from __future__ import annotations

import shlex
from pathlib import Path

from tests.cli.dev.run.test_photographer import success


def test_an_empty_file_is_no_error_and_what_stays_up_says_how_to_stop_it(tmp_path: Path) -> None:
    (tmp_path / "empty.jsonl").write_bytes(b"")

    done = success(
        "run", str(tmp_path / "empty.jsonl"), "--keep", "--data", str(tmp_path / "a stack"), "--until",
        "2026-01-20T09:00:00Z",
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("0 events of 0 suppliers; 0 dead letters\n")
    said, _, command = done.stdout.splitlines()[-1].partition(": success ")
    stopped = success(*shlex.split(command))
    assert said == "stop it with"
    assert stopped.stdout == f"stopped the stack in {tmp_path / 'a stack'}\n"
