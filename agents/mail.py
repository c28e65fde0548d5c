"""SMTP: hand one message to the mail server and say what it said, above all when that is not known."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import re
import ssl
from dataclasses import dataclass
from email.policy import SMTP as SMTP_POLICY
from typing import TYPE_CHECKING, Literal, Self
from urllib.parse import unquote, urlsplit

import aiosmtplib

from agents.dkim_signing import Signer
from agents.message import domain_of
from runtime.settings import SettingsError

if TYPE_CHECKING:
    from email.message import EmailMessage
    from types import TracebackType

    from runtime.settings import Settings

logger = logging.getLogger(__name__)

TIMEOUT_S = 30.0
_START_INPUT = 354
_PERMANENT = 500
_LEADING_PERIOD = re.compile(rb"^\.", re.MULTILINE)
_CLOSING = 421
_ADDRESS = re.compile(r"<?[^\s<>@]+@[^\s<>@]*>?")
IDLE_S = 20.0
"""A connection that lay idle longer is not used again: mail servers hang up without a word."""
_NOT_SAID = "the connection broke before the server's answer"


@dataclass(frozen=True, slots=True)
class MailServer:
    """An SMTP server from a URL: `smtp://user:password@host:port`, or `smtps://` for TLS from the start."""

    host: str
    port: int
    tls: bool
    username: str | None
    password: str | None
    is_local: bool = False
    """On this machine: its certificate is not checked, and nobody listens in between."""

    @classmethod
    def from_url(cls, url: str) -> MailServer:
        """Read `SUCCESS_SMTP_URL`; SettingsError says what is wrong with it, without its password."""
        parts = urlsplit(url)
        if parts.scheme not in {"smtp", "smtps"} or not parts.hostname:
            raise SettingsError("SUCCESS_SMTP_URL must be smtp://[user:password@]host[:port] or smtps://…")
        tls = parts.scheme == "smtps"
        try:
            port = parts.port or (465 if tls else 25)
        except ValueError:
            raise SettingsError("SUCCESS_SMTP_URL: the port must be a number from 1 to 65535") from None
        return cls(
            parts.hostname,
            port,
            tls,
            unquote(parts.username) if parts.username else None,
            unquote(parts.password) if parts.password else None,
            _is_loopback(parts.hostname),
        )

    @property
    def start_tls(self) -> bool | None:
        """Whether STARTTLS is a must; None: where it is offered. A password never crosses a network in the clear."""
        if self.tls:
            return False
        return True if self.password and not self.is_local else None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of one message.

    `accepted`: the server has it. `refused`: it never will take it. `later`: it did not take it now.
    `unknown`: it got the whole message, its answer did not reach us; sending again might send twice.
    """

    outcome: Literal["accepted", "refused", "later", "unknown"]
    said: str
    by_server: bool = False
    """A refusal in the server's own words: a code and a text."""


class _HungUpError(Exception):
    """The server closed the connection before it saw anything of a message."""


class Mailer:
    """A connection to the mail server, opened when first needed; an async context manager that closes it.

    It serves one message after the other, and is opened anew when the server has hung up in between. With a
    `signer` every message is signed.
    """

    def __init__(
        self,
        server: MailServer,
        hostname: str = "localhost",
        timeout_s: float = TIMEOUT_S,
        signer: Signer | None = None,
    ) -> None:
        self._server = server
        self._hostname = hostname
        self._timeout_s = timeout_s
        self._signer = signer
        self._client: aiosmtplib.SMTP | None = None
        self._used_at = 0.0

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """Make a mailer for SUCCESS_SMTP_URL that signs where SUCCESS_DKIM_KEY is set; SettingsError if it can't."""
        return cls(
            MailServer.from_url(settings.smtp_url),
            domain_of(settings.mail_return_path),
            signer=Signer.from_settings(settings),
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def send(self, sender: str, recipient: str, message: EmailMessage) -> Verdict:
        """Send one message from envelope `sender` to one recipient."""
        content = message.as_bytes(policy=SMTP_POLICY)
        if self._signer is not None:
            content = self._signer.sign(content)
        if self._is_open():
            try:
                return await self._try(sender, recipient, content)
            except _HungUpError as error:
                logger.debug("the mail server hung up between two messages: %s", error)
        try:
            return await self._try(sender, recipient, content)
        except _HungUpError as error:
            return Verdict("later", _said(error))

    async def _try(self, sender: str, recipient: str, content: bytes) -> Verdict:
        """Try once; _HungUpError if the server left before it saw anything of the message."""
        try:
            client = await self._connected()
        except (aiosmtplib.SMTPException, OSError, ssl.SSLError) as error:
            # Also a refused login: it says nothing about this message, and is mended in the settings.
            await self.close()
            return Verdict("later", f"can't connect to the mail server: {_said(error)}")
        try:
            await client.mail(sender, timeout=self._timeout_s)
        except aiosmtplib.SMTPServerDisconnected as error:
            await self.close()
            raise _HungUpError(_said(error)) from error
        except aiosmtplib.SMTPResponseException as error:
            if error.code == _CLOSING:  # such as after its greatest number of messages on one connection
                await self.close()
                raise _HungUpError(f"{error.code} {error.message}") from error
            await self._forget_message(client)
            return _refusal(error.code, error.message)
        except (aiosmtplib.SMTPException, OSError, ValueError) as error:
            await self.close()
            return Verdict("later", _said(error))
        return await self._try_recipient(client, recipient, content)

    async def _try_recipient(self, client: aiosmtplib.SMTP, recipient: str, content: bytes) -> Verdict:
        try:
            await client.rcpt(recipient, timeout=self._timeout_s)
            start = await client.execute_command(b"DATA", timeout=self._timeout_s)
        except aiosmtplib.SMTPResponseException as error:
            await self._forget_message(client)
            return _refusal(error.code, error.message)
        except ValueError as error:
            await self._forget_message(client)
            return Verdict("refused", f"the address can't be mailed to: {_said(error)}")
        except (aiosmtplib.SMTPException, OSError) as error:
            await self.close()
            return Verdict("later", _said(error))
        if start.code != _START_INPUT:
            await self._forget_message(client)
            return _refusal(start.code, start.message)
        return await self._send_content(client, content)

    async def _send_content(self, client: aiosmtplib.SMTP, content: bytes) -> Verdict:
        """Send what follows DATA's 354: from here on a silence means that nobody knows."""
        protocol = client.protocol
        if protocol is None:
            return Verdict("later", "the connection broke before the message was sent")
        try:
            protocol.write(_LEADING_PERIOD.sub(b"..", content) + b".\r\n")
            answer = await protocol.read_response(timeout=self._timeout_s)
        except (aiosmtplib.SMTPException, OSError) as error:
            await self.close()
            return Verdict("unknown", f"{_NOT_SAID}: {_said(error)}")
        self._used_at = asyncio.get_running_loop().time()
        if answer.code < 300:  # noqa: PLR2004 - RFC 5321: 2yz is a yes
            return Verdict("accepted", answer.message)
        return _refusal(answer.code, answer.message)

    async def close(self) -> None:
        """Say goodbye, if there is a connection."""
        client, self._client = self._client, None
        if client is None:
            return
        if client.is_connected:
            try:
                await client.quit(timeout=1)
            except (aiosmtplib.SMTPException, OSError) as error:
                logger.debug("the mail server did not answer QUIT: %s", error)
        client.close()

    def _is_open(self) -> bool:
        return self._client is not None and self._client.is_connected

    async def close_if_idle(self) -> None:
        """Say goodbye if nothing was sent for a while."""
        if asyncio.get_running_loop().time() - self._used_at > IDLE_S:
            await self.close()

    async def _connected(self) -> aiosmtplib.SMTP:
        await self.close_if_idle()
        if self._client is not None and self._client.is_connected:
            return self._client
        server = self._server
        self._client = aiosmtplib.SMTP(
            hostname=server.host,
            port=server.port,
            username=server.username,
            password=server.password,
            use_tls=server.tls,
            start_tls=server.start_tls,
            validate_certs=not server.is_local,
            local_hostname=self._hostname,
            timeout=self._timeout_s,
        )
        await self._client.connect()
        self._used_at = asyncio.get_running_loop().time()
        return self._client

    async def _forget_message(self, client: aiosmtplib.SMTP) -> None:
        """Make the connection fit for the next message, or drop it."""
        try:
            await client.rset(timeout=self._timeout_s)
        except (aiosmtplib.SMTPException, OSError) as error:
            logger.debug("the mail server did not answer RSET: %s", error)
            await self.close()


def _refusal(code: int, message: str) -> Verdict:
    return Verdict(
        "refused" if code >= _PERMANENT else "later", f"{code} {without_addresses(message)}", by_server=True
    )


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _said(error: BaseException) -> str:
    return without_addresses(" ".join(str(error).split())) or type(error).__name__


def without_addresses(text: str) -> str:
    """Leave email addresses out of a text: what servers and libraries say goes to logs, which hold nothing personal."""
    return _ADDRESS.sub("<address>", text)
