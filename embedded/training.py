"""Kafka starts in half the time with what the JVM noted of an earlier start: its ahead-of-time cache (JEP 514).

The first start on a machine pays for it with one training run on a throw-away folder.
"""

from __future__ import annotations

import fcntl
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from embedded.jars import KAFKA_VERSION, cache_dir, java_version
from embedded.process import Command, free_port, spawn

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

FIRST_JAVA_WITH_IT = 25
READY_WITHIN_S = 60.0
WRITTEN_WITHIN_S = 120.0
POLL_S = 0.1
# Java 25 warns of machine code it saved under one name and looks for under another; classes are what we want.
WITHOUT_STUBS = ["-XX:+UnlockDiagnosticVMOptions", "-XX:-AOTAdapterCaching"]


class Trainee(Protocol):
    """The Kafka of a throw-away folder."""

    def format_if_needed(self) -> None:
        """Make its log folder."""
        ...

    def command(self, port: int, jvm_options: Sequence[str] | None = None) -> Command:
        """How to start it on `port`."""
        ...

    def is_ready(self, port: int) -> bool:
        """Whether it answers there."""
        ...


def aot_cache() -> Path:
    """Where the cache of this Kafka on this Java is kept; an empty file says that there can't be one."""
    version = ".".join(map(str, java_version()))
    return cache_dir() / f"kafka-{KAFKA_VERSION}-java-{version}.aot"


def aot_options() -> list[str]:
    """JVM options that use the cache, if there is one; the JVM itself ignores one that doesn't fit."""
    cache = aot_cache()
    return [f"-XX:AOTCache={cache}", *WITHOUT_STUBS] if cache.exists() and cache.stat().st_size else []


def train_once(kafka_in: Callable[[Path], Trainee]) -> None:
    """Make the cache unless it is there, somebody makes it this moment, or this Java knows no such thing.

    `kafka_in` gives the Kafka of a folder, to be started there once.
    """
    cache = aot_cache()
    if cache.exists() or java_version()[0] < FIRST_JAVA_WITH_IT:
        return
    cache.parent.mkdir(parents=True, exist_ok=True)
    with (cache.parent / ".training").open("w", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return  # a start without it is slower, waiting for it would be slower still
        if cache.exists():
            return
        with tempfile.TemporaryDirectory(prefix="success-training-") as folder:
            made = _train(kafka_in, Path(folder))
            draft = cache.with_suffix(".part")
            draft.write_bytes(made.read_bytes() if made else b"")
            draft.rename(cache)


def _train(kafka_in: Callable[[Path], Trainee], folder: Path) -> Path | None:
    """Start and stop a Kafka in `folder`; the cache it wrote, None if it wrote none."""
    cache = folder / "kafka.aot"
    kafka = kafka_in(folder)
    kafka.format_if_needed()
    port = free_port()
    command = kafka.command(port, [f"-XX:AOTCacheOutput={cache}", *WITHOUT_STUBS])
    _record, child = spawn(command, port)
    try:
        if not _is_ready(kafka, port, child):
            return None
        child.send_signal(signal.SIGTERM)
        child.wait(WRITTEN_WITHIN_S)  # it writes the cache as it goes
    except subprocess.TimeoutExpired:
        return None
    finally:
        child.kill()
        child.wait()
    return cache if cache.exists() and cache.stat().st_size else None


def _is_ready(kafka: Trainee, port: int, child: subprocess.Popen[bytes]) -> bool:
    deadline = time.monotonic() + READY_WITHIN_S
    while time.monotonic() < deadline and child.poll() is None:
        if kafka.is_ready(port):
            return True
        time.sleep(POLL_S)
    return False
