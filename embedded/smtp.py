"""The embedded mail server: an SMTP sink in a process of its own."""

from __future__ import annotations

import smtplib
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from embedded.process import Command
from embedded.registry import DEFAULT_SMTP_PORT

if TYPE_CHECKING:
    from collections.abc import Callable


class MailSink:
    """The sink of the stack in `data_dir`; messages are files in `data_dir/mail`."""

    name = "smtp"
    title = "the SMTP sink"
    default_port = DEFAULT_SMTP_PORT

    def __init__(self, data_dir: Path, notify: Callable[[str], None]) -> None:
        self.mail_dir = data_dir / "mail"
        self.log = data_dir / "logs" / "smtp.log"
        self._notify = notify

    def prepare(self) -> None:
        """Make the mail folder."""
        self.mail_dir.mkdir(parents=True, exist_ok=True)
        for part in self.mail_dir.glob(".*.part"):  # cut off by a kill -9, never acknowledged
            part.unlink()

    def command(self, port: int) -> Command:
        """The sink's own program, isolated from this folder and environment."""
        script = Path(__file__).with_name("smtp_sink.py")
        return Command(
            arguments=[sys.executable, "-I", script, str(port), self.mail_dir],
            log=self.log,
            marker=str(self.mail_dir),
        )

    def is_ready(self, port: int) -> bool:
        """Whether it greets and answers NOOP."""
        try:
            with smtplib.SMTP("127.0.0.1", port, timeout=3) as client:
                return client.noop()[0] == 250  # noqa: PLR2004 - SMTP's "fine"
        except (OSError, smtplib.SMTPException):
            return False
