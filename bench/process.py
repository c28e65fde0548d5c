"""Running what is measured in processes of its own, and the Kafka beside them."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from pathlib import Path

from embedded.registry import Addresses
from embedded.stack import Stack

RUN_LIMIT_S = 600.0


class WrongStateError(Exception):
    """An engine's final state is not that of the sequential fold."""


class ProcessFailedError(Exception):
    """A measured process ended with an error; its words are in the message."""


def measured(command: Sequence[str], env: Mapping[str, str]) -> dict[str, float]:
    """Run a process to its end with `env` beside ours: the JSON of its last line."""
    done = subprocess.run(  # noqa: S603 - our own command
        command,
        env={**os.environ, "PYTHONWARNINGS": "ignore", **env},
        stdout=subprocess.PIPE,
        stderr=None if "--profile" in command else subprocess.PIPE,
        text=True,
        check=False,
        timeout=RUN_LIMIT_S,
    )
    lines = done.stdout.strip().splitlines()
    if done.returncode or not lines:
        said = (done.stdout + (done.stderr or ""))[-3000:]
        raise ProcessFailedError(f"{' '.join(command[:4])} ended with {done.returncode}:\n{said}")
    report: dict[str, float] = json.loads(lines[-1])
    return report


def version_of(python: str) -> str:
    """The version of an interpreter."""
    command = [python, "-c", "import platform; print(platform.python_version())"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()  # noqa: S603 - one we chose


def commit_of(checkout: Path) -> str | None:
    """The commit of a checkout, short; None where git does not know."""
    done = subprocess.run(  # noqa: S603 - our own command
        ["git", "-C", str(checkout), "rev-parse", "--short", "HEAD"],  # noqa: S607 - whichever git there is
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.strip() or None


def complain(engine_id: str, wrong: Sequence[bytes], extra: AbstractSet[bytes], suppliers: int) -> None:
    """Raise `WrongStateError` if anything differs."""
    if wrong or extra:
        example = (wrong or sorted(extra))[0].decode(errors="replace")
        raise WrongStateError(
            f"{engine_id}: of {suppliers:,} suppliers {len(wrong):,} differ from a sequential fold of the log and "
            f"{len(extra):,} are not in it, e.g. {example}"
        )


@contextmanager
def empty_folder() -> Iterator[Path]:
    """A folder that goes with all that is in it."""
    folder = Path(tempfile.mkdtemp(prefix="bench-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


@contextmanager
def stack() -> Iterator[Addresses]:
    """A throw-away stack, or that of SUCCESS_KAFKA and SUCCESS_DATABASE_URL."""
    if given := os.environ.get("SUCCESS_KAFKA"):
        yield Addresses(
            kafka=given,
            database_url=os.environ.get("SUCCESS_DATABASE_URL", ""),
            smtp="smtp://127.0.0.1:1",
            mail_dir=Path(),
        )
        return
    made = Stack(ephemeral=True)
    try:
        yield made.start()
    finally:
        made.stop()


@contextmanager
def kafka() -> Iterator[str]:
    """The bootstrap servers of a `stack`."""
    with stack() as addresses:
        yield addresses.kafka


def clean_up_when_terminated() -> None:
    """Have SIGTERM unwind as Ctrl-C does, so that stacks and processes are stopped."""
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))


def say(line: str) -> None:
    """Progress, for people: standard output is for results."""
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()
