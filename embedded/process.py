"""Ports, folders and processes of the embedded stack: start detached, tell whether ours, stop."""

from __future__ import annotations

import errno
import os
import random
import signal
import socket
import stat
import subprocess
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from embedded.errors import StackError
from embedded.registry import ProcessRecord

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

STOP_TIMEOUT_S = 30.0
ASK_AGAIN_S = 1.0
POLL_S = 0.05
# Below the range that systems hand out for outgoing connections, so that a port found free stays free.
FREE_PORTS = range(20_000, 32_000)


class Cancelled(Exception):  # noqa: N818 - it is no error: another service failed, or Ctrl-C
    """Waiting was given up because the start as a whole was."""


@dataclass
class Command:
    """A process to start: its arguments, its log file, and what sets it apart from any other process.

    `marker` is a text in its command line that only this stack's process has; `user` is the system user to
    run as, None for our own.
    """

    arguments: Sequence[str | Path]
    log: Path
    marker: str
    user: str | None = None
    environment: dict[str, str] = field(default_factory=dict)


def is_free(port: int) -> bool:
    """Whether a server could listen on `port` of the loopback address."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            if error.errno in {errno.EADDRINUSE, errno.EACCES}:
                return False
            raise
    return not answers(port)  # SO_REUSEADDR lets some systems bind beside a server on another address


def answers(port: int) -> bool:
    """Whether something accepts connections on `port`."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
    except OSError:
        return False


def listens(pid: int, port: int) -> bool:
    """Whether it is process `pid` that listens on `port`, and not somebody who got there first."""
    try:
        connections = psutil.Process(pid).net_connections(kind="tcp")
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return False
    return any(each.laddr.port == port and each.status == psutil.CONN_LISTEN for each in connections)


def free_port() -> int:
    """A port nobody listens on."""
    for port in random.SystemRandom().sample(FREE_PORTS, k=200):
        if is_free(port):
            return port
    raise StackError("no free port found between 20000 and 31999: stop some servers, then try again")


def spawn(command: Command, port: int) -> tuple[ProcessRecord, subprocess.Popen[bytes]]:
    """Start `command` detached from this process and terminal; its output goes to its log alone."""
    command.log.parent.mkdir(parents=True, exist_ok=True)
    if command.log.exists():
        command.log.replace(command.log.with_suffix(".log.1"))
    with command.log.open("wb") as log:
        child = subprocess.Popen(  # noqa: S603 - our own pinned programs
            [str(argument) for argument in command.arguments],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=Path(command.log.anchor),
            env={**os.environ, **command.environment},
            start_new_session=True,
            user=command.user,
            group=group_of(command.user),
            extra_groups=None if command.user is None else [],
        )
    created = psutil.Process(child.pid).create_time()
    return ProcessRecord(child.pid, created, command.marker, port), child


def group_of(user: str | None) -> int | None:
    """The main group of a system user."""
    if user is None:
        return None
    import pwd  # noqa: PLC0415 - not there on every system, needed as root only

    return pwd.getpwnam(user).pw_gid


def wait_until_ready(
    name: str,
    *,
    is_ready: Callable[[], bool],
    is_alive: Callable[[], bool],
    log: Path,
    cancel: threading.Event,
    timeout_s: float,
) -> None:
    """Poll `is_ready` until it holds; a process that died or stays mute is a StackError with its last words."""
    deadline = time.monotonic() + timeout_s
    while True:
        if cancel.is_set():
            raise Cancelled
        if not is_alive():
            raise StackError(f"{name} stopped while starting: {last_words(log)} (all of it: {log})")
        if is_ready():
            return
        if time.monotonic() > deadline:
            raise StackError(
                f"{name} runs but did not answer within {timeout_s:.0f} s: {last_words(log)} "
                f"(all of it: {log}); `success down`, then `success up` starts it anew"
            )
        time.sleep(POLL_S)


def last_words(log: Path) -> str:
    """The last line of a log that tells of an error, with the server's own hint if it gave one, else its last line."""
    try:
        lines = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines()]
    except OSError:
        return "it left no log"
    lines = [line for line in lines if line and not line.startswith("at ")]
    telling = [
        line for line in lines if any(word in line for word in ("FATAL", "ERROR", "Exception", "PANIC"))
    ]
    said = (telling or lines or ["it said nothing"])[-1]
    after = lines[lines.index(said) :] if said in lines else []
    hint = next((line.partition("HINT:")[2].strip() for line in after if "HINT:" in line), "")
    return f"{said[:300]} ({hint[:300]})" if hint else said[:300]


def stop_process(
    name: str,
    record: ProcessRecord,
    *,
    with_signal: int = signal.SIGTERM,
    child: subprocess.Popen[bytes] | None = None,
) -> bool:
    """Stop the recorded process if it is alive and ours; kills it when it does not go. True if it was alive.

    `child`: the process itself where it was started here, which is ours whatever it says of itself.
    """
    process = psutil.Process(child.pid) if child and child.poll() is None else record.find()
    if process is None:
        return False
    try:
        _end(process, with_signal)
    except psutil.NoSuchProcess:
        return True
    except psutil.AccessDenied:
        raise StackError(
            f"{name} (process {record.pid}) belongs to another user: stop it as that user"
        ) from None
    return True


def _end(process: psutil.Process, with_signal: int) -> None:
    """Ask a process to end, again and again: while it starts it may be deaf to it. Then kill it and its children."""
    until = time.monotonic() + STOP_TIMEOUT_S
    while time.monotonic() < until:
        process.send_signal(with_signal)
        with suppress(psutil.TimeoutExpired):
            process.wait(ASK_AGAIN_S)
            return
    for member in [*process.children(recursive=True), process]:
        with suppress(psutil.NoSuchProcess):
            member.kill()
    process.wait(STOP_TIMEOUT_S)


def set_aside(folder: Path) -> Path | None:
    """Rename a folder that can't be used; returns its new name, None if it was empty and is simply gone."""
    if not any(folder.iterdir()):
        folder.rmdir()
        return None
    for number in range(1, 1000):
        target = folder.with_name(f"{folder.name}.broken-{number}")
        if not target.exists():
            return folder.rename(target)
    raise StackError(f"{folder} can't be used and there are 999 broken ones beside it: remove those")


def let_pass(folder: Path) -> None:
    """Let other users pass through `folder` and its parents (not list them), where they can't yet.

    Needed as root only: PostgreSQL refuses to run as root, so it runs as a user who has to reach its files.
    """
    for place in [folder, *folder.parents]:
        mode = place.stat().st_mode
        if not mode & stat.S_IXOTH:
            place.chmod(stat.S_IMODE(mode) | stat.S_IXOTH)
