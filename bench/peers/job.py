"""What a measured process is told, and what it says at the end."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import msgspec


class Job(msgspec.Struct, frozen=True):
    """One run of one engine."""

    kafka: str
    """Bootstrap servers."""
    topic: str
    """The log, full name."""
    partitions: int
    events: int
    """Records in the log."""
    fold: str
    """`full` or `small`."""
    run: str
    """Names this run: consumer group, state topics."""
    folder: str
    """An empty folder of its own."""
    interval_s: float
    """How often what was done is made durable."""

    def encode(self) -> str:
        """As the one argument of a process."""
        return msgspec.json.encode(self).decode()

    def path(self, name: str) -> Path:
        """A file in the run's folder."""
        return Path(self.folder) / name


def job() -> Job:
    """The job of this process."""
    return msgspec.json.decode(sys.argv[1], type=Job)


class Clock:
    """Runs from the first record to the moment the last is durable."""

    def __init__(self) -> None:
        self._began = self._cpu = 0.0

    def start(self) -> None:
        """The first record is here; later calls change nothing."""
        if not self._began:
            self._began, self._cpu = time.perf_counter(), time.process_time()

    def report(self) -> None:
        """All is durable: say how long it took, and how much CPU."""
        took = {
            "seconds": time.perf_counter() - self._began,
            "cpu_seconds": time.process_time() - self._cpu,
            "memory_mb": peak_memory_mb(),
        }
        sys.stdout.write(json.dumps(took) + "\n")
        sys.stdout.flush()


def peak_memory_mb() -> float:
    """The most memory this process has had at once (getrusage would tell its parent's if that had more)."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    peak = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(peak.split()[1]) / 1024
