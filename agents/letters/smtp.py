"""SMTP: hand one message to the mail server and say what it said, above all when that is not known."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import math
import re
import ssl
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Self
from urllib.parse import unquote, urlsplit

import aiosmtplib

from agents.letters.dkim_signing import Signer
from agents.letters.message import domain_of, serialised
from runtime.settings import SettingsError
from scoring.decisions.feedback import without_addresses
from topics.address import MailAddress, parse_address

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from email.message import EmailMessage
    from types import TracebackType

    from runtime.settings import Settings

logger = logging.getLogger(__name__)

COMMAND_S = 300.0
DATA_S = 120.0
CONTENT_S = 600.0
"""How long a server may take to greet and to answer a command, to answer DATA, and to answer what follows it.

RFC 5321 section 4.5.3.2: a relay that asks the next one, or looks for viruses, answers late and means it.
"""
_START_INPUT = 354
_PERMANENT = 500
_LEADING_PERIOD = re.compile(rb"^\.", re.MULTILINE)
_CLOSING = 421
IDLE_S = 20.0
"""A connection that lay idle longer is not used again: mail servers hang up without a word."""
_NO_UTF8 = (
    "the address has letters beyond ASCII before its @, and the mail server has no SMTPUTF8: such mail needs a relay "
    "that has it, or another address"
)
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

    def client(self, **options: Any) -> aiosmtplib.SMTP:
        """A client of it, not connected yet; `options` are aiosmtplib's."""
        return aiosmtplib.SMTP(
            hostname=self.host,
            port=self.port,
            username=self.username,
            password=self.password,
            use_tls=self.tls,
            start_tls=self.start_tls,
            validate_certs=not self.is_local,
            **options,
        )


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of one message.

    `accepted`: the server has it. `refused`: it never will take it. `later`: it did not take it now.
    `unknown`: it got the whole message, its answer did not reach us; sending again might send twice.
    `no_way`: the address can't be written to through this server.
    """

    outcome: Literal["accepted", "refused", "later", "unknown", "no_way"]
    said: str
    by_server: bool = False
    """A refusal in the server's own words: a code and a text."""


class Enveloped(NamedTuple):
    """What goes over the wire: the envelope's two addresses and the message, signed."""

    sender: str
    to: MailAddress
    content: bytes


class _HungUpError(Exception):
    """The server closed the connection before it saw anything of a message."""


class Mailer:
    """A connection to the mail server, opened when first needed; an async context manager that closes it.

    It serves one message after the other, and is opened anew when the server has hung up in between. With a
    `signer` every message is signed. `patience` shortens all waits for the server, for tests: 1 is the RFC's.
    """

    def __init__(
        self,
        server: MailServer,
        hostname: str = "localhost",
        patience: float = 1.0,
        signer: Signer | None = None,
    ) -> None:
        self._server = server
        self._hostname = hostname
        self._patience = patience
        self._signer = signer
        self._client: aiosmtplib.SMTP | None = None
        self._used_at = 0.0
        self._ends_at = math.inf
        self._wait: asyncio.Timeout | None = None

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
        """Send one message from envelope `sender` to one recipient."""
        try:
            letter = self.enveloped(sender, recipient, message)
        except ValueError as error:
            return Verdict("refused", f"the message can't be written: {_said(error)}")
        return await self.hand_over(letter)

    def enveloped(self, sender: str, recipient: str, message: EmailMessage) -> Enveloped:
        """What travels: the message as bytes, signed where a key is set; nothing is sent yet.

        ValueError for an address or a message that can't be written, `UnsafeHeadersError` for its headers.
        """
        to = parse_address(recipient)
        content = serialised(message, utf8=to.needs_utf8)
        if self._signer is not None:
            content = self._signer.sign(content)
        return Enveloped(parse_address(sender).on_the_wire if sender else "", to, content)

    async def hand_over(self, letter: Enveloped) -> Verdict:
        """Send what `enveloped` made."""
        if self._is_open():
            try:
                return await self._try(letter)
            except _HungUpError as error:
                logger.debug("the mail server hung up between two messages: %s", error)
        try:
            return await self._try(letter)
        except _HungUpError as error:
            return Verdict("later", _said(error))

    def end_by(self, at: float) -> None:
        """Wait for the server no longer than until `at` (of the loop's clock), whatever the RFC grants it."""
        self._ends_at = at
        wait = self._wait
        if wait is not None and not wait.expired() and (wait.when() or math.inf) > at:
            wait.reschedule(at)

    @asynccontextmanager
    async def _within(self, seconds: float) -> AsyncIterator[None]:
        """Give the server that long; TimeoutError says that it did not answer."""
        seconds *= self._patience
        until = min(asyncio.get_running_loop().time() + seconds, self._ends_at)
        self._wait = wait = asyncio.timeout_at(until)
        try:
            async with wait:
                yield
        except TimeoutError:
            if not wait.expired():
                raise  # the network's own
            why = "before we had to stop" if self._ends_at <= until else f"within {seconds:g} s"
            raise TimeoutError(f"no answer {why}") from None
        finally:
            self._wait = None

    async def _try(self, letter: Enveloped) -> Verdict:
        """Try once; _HungUpError if the server left before it saw anything of the message."""
        try:
            async with self._within(COMMAND_S):
                client = await self._connected()
                if letter.to.needs_utf8 and client.is_ehlo_or_helo_needed:
                    await client.ehlo()
        except (aiosmtplib.SMTPException, OSError, ssl.SSLError) as error:
            # Also a refused login: it says nothing about this message, and is mended in the settings.
            await self.close()
            return Verdict("later", f"can't connect to the mail server: {_said(error)}")
        if letter.to.needs_utf8 and not client.supports_extension("smtputf8"):
            return Verdict("no_way", _NO_UTF8)
        try:
            async with self._within(COMMAND_S):
                await client.mail(letter.sender, options=["SMTPUTF8"] if letter.to.needs_utf8 else None)
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
        return await self._try_recipient(client, letter)

    async def _try_recipient(self, client: aiosmtplib.SMTP, letter: Enveloped) -> Verdict:
        try:
            async with self._within(COMMAND_S):
                await client.rcpt(letter.to.on_the_wire, encoding="utf-8")
            async with self._within(DATA_S):
                start = await client.execute_command(b"DATA")
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
        return await self._send_content(client, letter.content)

    async def _send_content(self, client: aiosmtplib.SMTP, content: bytes) -> Verdict:
        """Send what follows DATA's 354: from here on a silence means that nobody knows."""
        protocol = client.protocol
        if protocol is None:
            return Verdict("later", "the connection broke before the message was sent")
        try:
            protocol.write(_LEADING_PERIOD.sub(b"..", content) + b".\r\n")
            async with self._within(CONTENT_S):
                answer = await protocol.read_response()
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
        # `_within` gives each wait its own limit.
        self._client = self._server.client(local_hostname=self._hostname, timeout=None)
        await self._client.connect()
        self._used_at = asyncio.get_running_loop().time()
        return self._client

    async def _forget_message(self, client: aiosmtplib.SMTP) -> None:
        """Make the connection fit for the next message, or drop it."""
        try:
            async with self._within(COMMAND_S):
                await client.rset()
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
