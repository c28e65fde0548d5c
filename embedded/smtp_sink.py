"""The SMTP sink, a program of its own: each message becomes one `.eml` file, nothing leaves the machine.

Imports nothing of ours, so that it runs with `python -I`: `smtp_sink.py PORT MAIL_DIR`.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import sys
import time
from pathlib import Path

from aiosmtpd.smtp import SMTP, Envelope, Session

SIZE_LIMIT = 32 * 1024 * 1024


class MailFolder:
    """Writes messages to `folder`; names sort in the order of arrival."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._numbers = itertools.count()

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802
        """Keep the message exactly as it came, below two lines that tell the envelope."""
        sender = envelope.mail_from or ""
        lines = [f"X-Mail-From: <{sender}>"]
        lines += [f"X-Rcpt-To: <{recipient}>" for recipient in envelope.rcpt_tos]
        content = envelope.original_content or b""
        self._write("".join(f"{line}\r\n" for line in lines).encode() + content)
        return "250 2.0.0 kept"

    def _write(self, message: bytes) -> None:
        """A reader of `*.eml` never sees a part of a message."""
        name = f"{time.time_ns():020d}-{os.getpid()}-{next(self._numbers):06d}"
        draft = self._folder / f".{name}.part"
        draft.write_bytes(message)
        draft.rename(self._folder / f"{name}.eml")


async def serve(port: int, folder: Path) -> None:
    """Serve until SIGTERM or SIGINT."""
    loop = asyncio.get_running_loop()
    handler = MailFolder(folder)

    def session() -> SMTP:
        return SMTP(
            handler, data_size_limit=SIZE_LIMIT, enable_SMTPUTF8=True, hostname="localhost", loop=loop
        )

    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    server = await loop.create_server(session, "127.0.0.1", port)
    await stopped.wait()
    server.close()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), Path(sys.argv[2])))
