"""A mail server for tests: real SMTP, with answers that a test chooses."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Callable
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any, cast

from aiosmtpd.controller import Controller

ACCEPTED = "250 OK"


class MailServer:
    """`rcpt` and `data` are the answers to come; `accepted` what was taken, in order."""

    def __init__(self) -> None:
        self.rcpt: Callable[[str], str] = lambda _address: ACCEPTED
        self.data: Callable[[EmailMessage], str] = lambda _message: ACCEPTED
        self.accepted: list[EmailMessage] = []
        self.envelopes: list[tuple[str, list[str]]] = []
        self.tried = 0
        self.kill_before_yes: int | None = None
        self.smtputf8 = True
        self._lock = threading.Lock()
        self._controller: Controller | None = None
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self._port = probe.getsockname()[1]

    @property
    def url(self) -> str:
        """The address, `smtp://…`."""
        return f"smtp://127.0.0.1:{self._port}"

    def start(self) -> None:
        """Listen on the port that was free."""
        self._controller = Controller(
            self, hostname="127.0.0.1", port=self._port, enable_SMTPUTF8=self.smtputf8
        )
        self._controller.start()

    def stop(self) -> None:
        """Stop listening."""
        if self._controller is not None:
            self._controller.stop(no_assert=True)
            self._controller = None

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's name
        self, _server: Any, _session: Any, envelope: Any, address: str, _options: Any
    ) -> str:
        """Answer RCPT TO."""
        answer = self.rcpt(address)
        if answer.startswith("2"):
            envelope.rcpt_tos.append(address)
        return answer

    async def handle_DATA(self, server: Any, _session: Any, envelope: Any) -> str:  # noqa: N802 - aiosmtpd's name
        """Answer the whole message; may kill the sender instead of, or right after, saying yes."""
        message = cast("EmailMessage", message_from_bytes(envelope.content, policy=policy.default))
        with self._lock:
            self.tried += 1
        answer = self.data(message)
        if self.kill_before_yes is not None:
            os.kill(self.kill_before_yes, signal.SIGKILL)
            return "451 nobody hears this"
        if answer == "drop":
            server.transport.abort()
            return "451 nobody hears this"
        if answer.startswith("2"):
            with self._lock:
                self.accepted.append(message)
                self.envelopes.append((envelope.mail_from, list(envelope.rcpt_tos)))
        return answer

    def templates(self) -> list[str]:
        """The templates of what was accepted, in order."""
        return [str(message["X-Success-Template"]) for message in self.accepted]
