"""`success worker` as anybody starts it, watched from outside: when its rows are committed, and what CPU that took."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from contextlib import suppress
from pathlib import Path
from typing import Self

import psutil
import psycopg
from confluent_kafka import Consumer, TopicPartition

from agents.app import AGENT_OF
from bench.process import ProcessFailedError
from embedded.process import free_port
from runtime.settings import Settings
from topics.catalog import ACTIVITY, full_name

READY_S, STOP_S, LIMIT_S = 120.0, 60.0, 600.0
READY_POLL_S, POLL_S = 0.02, 0.1
COMMIT_LAG_S = 5.0
"""Offsets are committed once a second, after the rows: a notice so long before them was the last batch's."""
CLOSING_LINES = 2_000


def success(checkout: Path | None, *arguments: str) -> list[str]:
    """The command `success`, of another checkout and its environment, to be run there, or of this one."""
    python = sys.executable if checkout is None else str(checkout.resolve() / ".venv" / "bin" / "python")
    return [python, "-c", "from cli.main import main; main()", *arguments]


class SuccessWorker:
    """`success worker [--processes N]`: ready at the end of `with`'s entry, told to stop at its exit."""

    def __init__(self, settings: Settings, processes: int = 1, checkout: Path | None = None) -> None:
        first = free_port()
        self._ready_at = [f"http://127.0.0.1:{first + number}/readyz" for number in range(processes)]
        several = ["--processes", str(processes)] if processes > 1 else []
        self._command = success(checkout, "worker", *several)
        self._checkout = checkout
        self._env = {**os.environ, **settings.as_env(), "SUCCESS_METRICS_PORT": str(first)}

    def __enter__(self) -> Self:
        with tempfile.NamedTemporaryFile("wb", delete=False) as log:
            self._log = Path(log.name)
            self._process = psutil.Popen(
                self._command,
                cwd=self._checkout,
                env=self._env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        try:
            self._wait_until_ready()
        except BaseException:
            self._kill()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._process.terminate()
            self._process.wait(STOP_S)
        finally:
            self._kill()

    def cpu_seconds(self) -> float:
        """Of the supervisor and all of its processes, from their beginning."""
        return sum(_cpu(each) for each in self._tree())

    def memory_mb(self) -> float:
        """Resident memory of all of them at this moment."""
        return sum(each.memory_info().rss for each in self._tree()) / 2**20

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + READY_S
        for url in self._ready_at:
            while not _answers(url):
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise ProcessFailedError(
                        f"success worker is not ready: {self._log.read_text()[-CLOSING_LINES:]}"
                    )
                time.sleep(READY_POLL_S)

    def _tree(self) -> list[psutil.Process]:
        return [self._process, *self._process.children(recursive=True)]

    def _kill(self) -> None:
        if self._process.is_running():
            for each in self._tree():
                with suppress(psutil.NoSuchProcess):
                    each.kill()
            self._process.wait()
        self._log.unlink(missing_ok=True)


class PostgresCpu:
    """CPU time of a Postgres server on this machine, all of its processes."""

    def __init__(self, database_url: str) -> None:
        with psycopg.connect(database_url) as conn:
            self._postmaster = psutil.Process(conn.info.backend_pid).parent()

    def seconds(self) -> float:
        """From its beginning; those of sessions that have ended are in it."""
        server = self._postmaster
        if server is None:
            return 0.0
        ended = server.cpu_times()
        return _cpu(server) + ended.children_user + ended.children_system + sum(map(_cpu, server.children()))


class Committed:
    """How far a worker's group has committed, and where its topics end."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        group = f"{settings.topic_prefix}success-worker"
        self._consumer = Consumer({"bootstrap.servers": settings.kafka, "group.id": group, "log_level": 4})

    def of(self, topic: str) -> list[int]:
        """The committed offset of each partition, 0 if there is none."""
        return [
            max(0, found.offset) for found in self._consumer.committed(self._partitions(topic), timeout=30)
        ]

    def events(self) -> int:
        """All events of the log that were scored and committed."""
        return sum(self.of(ACTIVITY))

    def all_rows(self) -> bool:
        """Whether the intervention agent has committed all that was sent to it."""
        return all(
            committed >= self._end(partition)
            for topic in AGENT_OF
            if topic != ACTIVITY
            for partition, committed in zip(self._partitions(topic), self.of(topic), strict=True)
        )

    def close(self) -> None:
        """Hang up."""
        self._consumer.close()

    def _end(self, partition: TopicPartition) -> int:
        return int(self._consumer.get_watermark_offsets(partition, timeout=30)[1])

    def _partitions(self, topic: str) -> list[TopicPartition]:
        name = full_name(self._settings.topic_prefix, topic)
        return [TopicPartition(name, number) for number in range(self._settings.partitions)]


class LastNotice:
    """When Postgres last told deliveries of rows that were committed: each batch of the intervention agent does."""

    def __init__(self, database_url: str) -> None:
        self.at = 0.0
        """By `time.perf_counter`."""
        self._conn = psycopg.connect(database_url, autocommit=True)
        self._conn.execute("LISTEN success_delivery")
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Listen no more."""
        self._over.set()
        self._thread.join()
        self._conn.close()

    def _listen(self) -> None:
        while not self._over.is_set():
            for _ in self._conn.notifies(timeout=0.5, stop_after=1):
                self.at = time.perf_counter()


def until_all_rows(settings: Settings, worker: SuccessWorker, events: int) -> dict[str, float]:
    """What a worker that is ready took until so many events of the log, and all that came of them, were rows."""
    began = time.perf_counter()
    server, cpu = PostgresCpu(settings.database_url), worker.cpu_seconds()
    before, server_before = cpu, server.seconds()
    committed, notice = Committed(settings), LastNotice(settings.database_url)
    scored = None
    try:
        while not (scored and committed.all_rows()):
            now = time.perf_counter()
            if now - began > LIMIT_S:
                raise TimeoutError(f"not all rows of {events:,} events are there after {LIMIT_S:.0f} s")
            if scored is None and committed.events() >= events:
                scored = now
            time.sleep(POLL_S)
        seen = time.perf_counter()
        ended = notice.at if seen - notice.at < COMMIT_LAG_S else seen
    finally:
        committed.close()
        notice.close()
    return {
        "seconds": ended - began,
        "scored_seconds": (scored or ended) - began,
        "cpu_seconds": worker.cpu_seconds() - before,
        "postgres_cpu_seconds": server.seconds() - server_before,
        "memory_mb": worker.memory_mb(),
    }


def _cpu(process: psutil.Process) -> float:
    with suppress(psutil.NoSuchProcess):
        times = process.cpu_times()
        return float(times.user + times.system)
    return 0.0


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5):  # noqa: S310 - our own port
            return True
    except (urllib.error.URLError, OSError):
        return False
