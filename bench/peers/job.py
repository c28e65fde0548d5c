"""What a measured process is told, and what it says at the end."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import msgspec

from bench.logs.log import newest_values
from bench.peers.folds import FOLDS, Folded


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
    known: str = ""
    """The topic of the packed states of all who are known before the first event; empty if nobody is."""
    database_url: str = ""
    """For `by_hand`."""

    def encode(self) -> str:
        """As the one argument of a process."""
        return msgspec.json.encode(self).decode()

    def path(self, name: str) -> Path:
        """A file in the run's folder."""
        return Path(self.folder) / name

    def known_states(self) -> dict[bytes, Folded]:
        """Of all who are known, decoded."""
        if not self.known:
            return {}
        unpack = FOLDS[self.fold].unpack
        kept = newest_values(self.kafka, self.known, self.partitions)
        return {key: unpack(value) for key, value in kept.items()}


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
