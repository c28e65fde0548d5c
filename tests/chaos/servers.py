"""Kafka, Postgres and a mail folder of a test's own, whose processes are killed, frozen and started again."""

from __future__ import annotations

import logging
import subprocess
import threading
from contextlib import suppress
from pathlib import Path
from typing import Protocol

import psutil
import psycopg

from embedded.kafka import Kafka
from embedded.postgres import DATABASE, Postgres
from embedded.process import Command, free_port, spawn, wait_until_ready
from embedded.registry import database_url
from embedded.smtp import MailSink

logger = logging.getLogger(__name__)

START_S = 90.0
STOP_S = 20.0


class Program(Protocol):
    """What the embedded stack knows of a server."""

    title: str
    log: Path

    def prepare(self) -> None: ...
    def command(self, port: int) -> Command: ...
    def is_ready(self, port: int) -> bool: ...


class Server:
    """One server, always on the same port."""

    def __init__(self, program: Program, port: int | None = None) -> None:
        self.program = program
        self.port = port or free_port()
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and return when it answers."""
        self.launch()
        self.wait()

    def launch(self) -> None:
        """Start it."""
        self.program.prepare()
        _, self.process = spawn(self.program.command(self.port), self.port)

    def wait(self) -> None:
        """Return when it answers."""
        wait_until_ready(
            self.program.title,
            is_ready=lambda: self.program.is_ready(self.port),
            is_alive=self.is_alive,
            log=self.program.log,
            cancel=threading.Event(),
            timeout_s=START_S,
        )

    def is_alive(self) -> bool:
        """Whether it runs."""
        return self.process is not None and self.process.poll() is None

    def family(self) -> list[psutil.Process]:
        """Its processes, its first one at last."""
        if self.process is None or self.process.poll() is not None:
            return []
        try:
            first = psutil.Process(self.process.pid)
            return [*first.children(recursive=True), first]
        except psutil.NoSuchProcess:
            return []

    def kill(self) -> None:
        """Kill -9 of all of it."""
        family = self.family()
        for each in family:
            with suppress(psutil.NoSuchProcess):
                each.kill()
        psutil.wait_procs(family, STOP_S)
        if self.process is not None:
            self.process.wait(STOP_S)

    def freeze(self) -> None:
        """It neither answers nor hangs up."""
        for each in reversed(self.family()):  # the first one, lest it starts others
            with suppress(psutil.NoSuchProcess):
                each.suspend()

    def thaw(self) -> None:
        """And goes on."""
        for each in self.family():
            with suppress(psutil.NoSuchProcess):
                each.resume()


class Servers:
    """All that services need. Postgres syncs what it commits: it is killed.

    With `postgres_disk` it lives on a disk of so many MiB, in memory: only root can make one.
    """

    def __init__(self, folder: Path, brokers: int = 1, postgres_disk: int | None = None) -> None:
        self.folder = folder.resolve()
        self.kafkas = [Server(program, port) for program, port in kafkas(self.folder, brokers)]
        self.postgres = Server(Postgres(self.folder, notify, durable=True))
        self._sink = MailSink(self.folder, notify)
        self.sink = Server(self._sink)
        self.disk = Disk(self.folder / "postgres", postgres_disk) if postgres_disk else None

    @property
    def bootstrap(self) -> str:
        """Where Kafka answers."""
        return ",".join(f"127.0.0.1:{each.port}" for each in self.kafkas)

    @property
    def database_url(self) -> str:
        """Where Postgres answers."""
        return database_url(self.postgres.port, DATABASE)

    @property
    def mail_dir(self) -> Path:
        """One `.eml` file a message."""
        return self._sink.mail_dir

    def start(self) -> None:
        """Start all of them side by side."""
        if self.disk is not None:
            self.disk.mount()
        everything = [*self.kafkas, self.postgres, self.sink]
        for each in everything:
            each.program.prepare()
        for each in everything:  # brokers wait for each other, but not for long
            each.launch()
        for each in everything:
            each.wait()

    def stop(self) -> None:
        """End all of them; what they held is thrown away with the folder."""
        for each in [*self.kafkas, self.postgres, self.sink]:
            each.thaw()
            each.kill()
        if self.disk is not None:
            self.disk.unmount()

    def start_again_who_ended(self) -> None:
        """As a platform does; whoever strikes one on purpose starts it again himself, before this is asked."""
        for each in [*self.kafkas, self.postgres]:
            if not each.is_alive():
                logger.warning("%s had ended by itself and is started again", each.program.title)
                each.start()

    def broker_has_ended(self) -> bool:
        """Whether one ended by itself."""
        return not all(each.is_alive() for each in self.kafkas)

    def set_read_only(self, on: bool) -> None:
        """Every new transaction of everybody is read-only, or no longer."""
        with psycopg.connect(self.database_url, autocommit=True, connect_timeout=5) as conn:
            conn.execute("SET default_transaction_read_only = off")
            conn.execute(
                "ALTER SYSTEM SET default_transaction_read_only = on"
                if on
                else "ALTER SYSTEM RESET default_transaction_read_only"
            )
            conn.execute("SELECT pg_reload_conf()")


def kafkas(folder: Path, number: int) -> list[tuple[Kafka, int]]:
    """So many brokers, each a controller too, that form one cluster; with three each topic has three replicas."""
    if number == 1:
        return [(Kafka(folder, notify), free_port())]
    ports = [(free_port(), free_port()) for _ in range(number)]
    voters = ",".join(f"{node}@127.0.0.1:{controller}" for node, (_, controller) in enumerate(ports, 1))
    made = []
    for node, (port, controller) in enumerate(ports, 1):
        properties = {
            "node.id": str(node),
            "initial.broker.registration.timeout.ms": "300000",
            "controller.quorum.voters": voters,
            "listeners": f"PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}",
            "default.replication.factor": str(number),
            "offsets.topic.replication.factor": str(number),
            "transaction.state.log.replication.factor": str(number),
            "transaction.state.log.min.isr": str(number - 1),
            "share.coordinator.state.topic.replication.factor": str(number),
            "share.coordinator.state.topic.min.isr": str(number - 1),
            "min.insync.replicas": str(number - 1),
        }
        made.append((Kafka(folder / f"broker-{node}", notify, properties, CLUSTER), port))
    return made


CLUSTER = "c3VjY2Vzcy1jaGFvcy10ZQ"
"""The id of a cluster of several: 16 bytes in base64."""


def notify(_line: str) -> None:
    """Nobody reads it."""


class Disk:
    """A small disk in memory, that can be full."""

    def __init__(self, folder: Path, mebibytes: int) -> None:
        self._folder = folder
        self._size = mebibytes
        self._mounted = False

    def mount(self) -> None:
        """Put it where the folder is."""
        self._folder.mkdir(parents=True, exist_ok=True)
        subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={self._size}m", "chaos", str(self._folder)],
            check=True,
        )
        self._mounted = True

    def unmount(self) -> None:
        """Give it back."""
        if self._mounted:
            subprocess.run(["umount", "--lazy", str(self._folder)], check=True)
            self._mounted = False

    def fill(self) -> None:
        """Leave no byte of it."""
        with (self._folder / "ballast").open("ab", buffering=0) as file:
            for size in (1 << 20, 1 << 12, 1):
                try:
                    while True:
                        file.write(b"\0" * size)
                except OSError:
                    continue

    def clear(self) -> None:
        """Room again."""
        (self._folder / "ballast").unlink(missing_ok=True)
