"""What this machine knows of its embedded stacks: their addresses, their processes, and which are alive.

`success up` writes `<data folder>/stack.json` and enters the folder in a registry of this user. The registry
proves that an address belongs to an embedded stack; a loopback address alone proves nothing.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
import tempfile
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

import psutil

if TYPE_CHECKING:
    from collections.abc import Iterator

RECORD_NAME = "stack.json"
DEFAULT_KAFKA_PORT = 19092
DEFAULT_POSTGRES_PORT = 15432
DEFAULT_SMTP_PORT = 11025
CLOCK_SLACK_S = 2.0  # the boot time a start time is counted from moves when the clock is set


def database_url(port: int, database: str = "success") -> str:
    """Address of `database` on the embedded PostgreSQL that listens on `port`."""
    return f"postgresql://postgres@127.0.0.1:{port}/{database}"


@dataclass(frozen=True)
class Addresses:
    """Where a stack is reached: `kafka` as host:port, URLs for the database and SMTP, the folder of mails."""

    kafka: str
    database_url: str
    smtp: str
    mail_dir: Path

    def as_env(self) -> dict[str, str]:
        """The environment variables that point every command at this stack."""
        return {
            "SUCCESS_KAFKA": self.kafka,
            "SUCCESS_DATABASE_URL": self.database_url,
            "SUCCESS_SMTP_URL": self.smtp,
        }

    def as_json(self) -> dict[str, str]:
        """The object printed as `addresses`."""
        return {**asdict(self), "mail_dir": str(self.mail_dir)}


@dataclass(frozen=True)
class ProcessRecord:
    """A process we started: its id, its start (seconds since the epoch) and a text in its command line."""

    pid: int
    created: float
    marker: str
    port: int

    def find(self) -> psutil.Process | None:
        """The live process; None when it is gone or its id now belongs to somebody else."""
        try:
            process = psutil.Process(self.pid)
            ours = (
                process.status() != psutil.STATUS_ZOMBIE
                and abs(process.create_time() - self.created) <= CLOCK_SLACK_S
                and any(self.marker in argument for argument in process.cmdline())
            )
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            return None
        return process if ours else None


@dataclass
class StackRecord:
    """The contents of `stack.json`."""

    ephemeral: bool = False
    owns_folder: bool = False
    processes: dict[str, ProcessRecord] = field(default_factory=dict)
    ports: dict[str, int] = field(default_factory=dict)
    """What each had when a start failed, for the next one."""

    def addresses(self, data_dir: Path) -> Addresses | None:
        """The addresses, once all three processes are recorded."""
        if not {"kafka", "postgres", "smtp"} <= self.processes.keys():
            return None
        return Addresses(
            kafka=f"127.0.0.1:{self.processes['kafka'].port}",
            database_url=database_url(self.processes["postgres"].port),
            smtp=f"smtp://127.0.0.1:{self.processes['smtp'].port}",
            mail_dir=data_dir / "mail",
        )

    def save(self, data_dir: Path) -> None:
        """Write `stack.json` at once or not at all."""
        addresses = self.addresses(data_dir)
        document = {**asdict(self), "addresses": addresses.as_json() if addresses else None}
        write_atomically(data_dir / RECORD_NAME, json.dumps(document, indent=2) + "\n")


def write_atomically(path: Path, contents: str | bytes) -> None:
    """Replace what is in `path`; a reader sees the old contents or the new, never a part."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_bytes(contents.encode() if isinstance(contents, str) else contents)
    temporary.replace(path)


def read_record(data_dir: Path) -> StackRecord | None:
    """The record of the stack in `data_dir`; None when there is none or it can't be read."""
    try:
        document: dict[str, Any] = json.loads((data_dir / RECORD_NAME).read_text(encoding="utf-8"))
        processes = {name: ProcessRecord(**values) for name, values in document["processes"].items()}
        return StackRecord(
            ephemeral=bool(document["ephemeral"]),
            owns_folder=bool(document["owns_folder"]),
            processes=processes,
            ports={str(name): int(port) for name, port in document.get("ports", {}).items()},
        )
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None  # no stack, or a file cut off by a full disk: the folder is then started anew


# The registry: one small file a stack, in a folder only this user can write to.


def registry_dir() -> Path:
    """The user's folder of live stacks."""
    return Path(tempfile.gettempdir()) / f"wedsync-success-{os.getuid()}"


def _entry(data_dir: Path) -> Path:
    return registry_dir() / (hashlib.sha256(str(data_dir).encode()).hexdigest()[:24] + ".json")


def _is_private(folder: Path) -> bool:
    """Whether nobody else could have put entries there."""
    try:
        status = folder.lstat()
    except OSError:
        return False
    writable_by_others = status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid() and not writable_by_others


def register(data_dir: Path) -> None:
    """Enter the stack in `data_dir` in the registry.

    Raises PermissionError if the registry's folder belongs to another user.
    """
    folder = registry_dir()
    folder.mkdir(mode=0o700, exist_ok=True)
    if not _is_private(folder):
        raise PermissionError(
            f"{folder} is open to other users; remove it, or set TMPDIR to a folder of your own"
        )
    write_atomically(_entry(data_dir), json.dumps({"data_dir": str(data_dir)}))


def unregister(data_dir: Path) -> None:
    """Take the stack in `data_dir` off the registry."""
    _entry(data_dir).unlink(missing_ok=True)


def live_stacks() -> Iterator[Addresses]:
    """Addresses of this user's stacks whose Kafka and PostgreSQL processes are alive."""
    return (addresses for addresses, down in _stacks() if not down)


def servers_down(kafka: str, database: str) -> list[str]:
    """Which of Kafka and PostgreSQL has ended without having been stopped, of this user's stack at these addresses."""
    servers, postgres = endpoints(kafka), database_endpoint(database)
    return next(
        (
            down
            for stack, down in _stacks()
            if servers == endpoints(stack.kafka) and postgres == database_endpoint(stack.database_url)
        ),
        [],
    )


def _stacks() -> Iterator[tuple[Addresses, list[str]]]:
    """The registered stacks of this user, each with its servers that are not alive."""
    folder = registry_dir()
    if not _is_private(folder):
        return
    for entry in sorted(folder.glob("*.json")):
        try:
            data_dir = Path(json.loads(entry.read_text(encoding="utf-8"))["data_dir"])
        except (OSError, ValueError, KeyError, TypeError):
            continue  # an entry that is being removed, or not one of ours
        record = read_record(data_dir)
        addresses = record.addresses(data_dir) if record else None
        if record and addresses:
            titles = {"kafka": "Kafka", "postgres": "PostgreSQL"}
            yield addresses, [titles[name] for name in titles if record.processes[name].find() is None]


class Endpoint(NamedTuple):
    """A host and port; `localhost` is written as 127.0.0.1."""

    host: str
    port: int


def endpoints(kafka: str) -> set[Endpoint] | None:
    """The addresses in a list of bootstrap servers; None if one can't be read."""
    found = set()
    for server in kafka.split(","):
        endpoint = _endpoint(f"kafka://{server.strip()}", 9092)
        if endpoint is None:
            return None
        found.add(endpoint)
    return found


def database_endpoint(url: str) -> Endpoint | None:
    """Host and port of a database URL; None if it isn't a plain postgresql:// URL."""
    if urlsplit(url).scheme not in {"postgresql", "postgres"} or "host=" in urlsplit(url).query:
        return None
    return _endpoint(url, 5432)


def _endpoint(url: str, default_port: int) -> Endpoint | None:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port or default_port
    except ValueError:
        return None
    if not host:
        return None
    return Endpoint("127.0.0.1" if host == "localhost" else host, port)


def is_embedded(kafka: str, database: str) -> bool:
    """Whether both addresses are those of one live embedded stack of this user."""
    servers, postgres = endpoints(kafka), database_endpoint(database)
    return any(
        servers == endpoints(stack.kafka) and postgres == database_endpoint(stack.database_url)
        for stack in live_stacks()
    )
