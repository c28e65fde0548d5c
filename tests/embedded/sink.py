"""The stack's SMTP sink alone, for tests whose Kafka and PostgreSQL live elsewhere."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from embedded.process import free_port, spawn, stop_process, wait_until_ready
from embedded.smtp import MailSink

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def mail_sink(folder: Path) -> Iterator[tuple[str, Path]]:
    """A running sink: its URL and the folder of its mails."""
    sink, port = MailSink(folder, notify=print), free_port()
    sink.prepare()
    record, child = spawn(sink.command(port), port)
    try:
        wait_until_ready(
            sink.title,
            is_ready=lambda: sink.is_ready(port),
            is_alive=lambda: child.poll() is None,
            log=sink.log,
            cancel=threading.Event(),
            timeout_s=20,
        )
        yield f"smtp://127.0.0.1:{port}", sink.mail_dir
    finally:
        stop_process(sink.title, record)
        child.wait()
