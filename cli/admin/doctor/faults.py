"""Which of network, protocol, certificate, password or ACL is wrong where a server can't be used."""

from __future__ import annotations

import asyncio
import errno
import re
import socket
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

from cli.errors import one_line

if TYPE_CHECKING:
    from runtime.settings import Settings

Kind = Literal["network", "protocol", "certificate", "password", "ACL"]
KINDS: tuple[Kind, ...] = ("network", "protocol", "certificate", "password", "ACL")

_REFUSED = {errno.ECONNREFUSED}
_NO_WAY = {errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EHOSTDOWN, errno.ENETDOWN}
PROBE_S = 5.0
SILENT_S = 1.0
"""A server that wants a certificate of ours and got none hangs up well before."""
PLAIN_KAFKA = "set SUCCESS_KAFKA_SECURITY_PROTOCOL to PLAINTEXT or SASL_PLAINTEXT, or use the port with TLS"
KAFKA_AUTHORITY = (
    "set SUCCESS_KAFKA_SSL_CAFILE to the brokers' authority; a certificate holds for the names in it alone"
)
KAFKA_OWN = (
    "set SUCCESS_KAFKA_SSL_CERTFILE and SUCCESS_KAFKA_SSL_KEYFILE to a certificate that the brokers trust"
)
_KAFKA_ERRORS: dict[str, Kind] = {
    # by name, as aiokafka has them
    "SaslAuthenticationFailed": "password",
    "AuthenticationFailedError": "password",
    "TopicAuthorizationFailedError": "ACL",
    "GroupAuthorizationFailedError": "ACL",
    "ClusterAuthorizationFailedError": "ACL",
    "TransactionalIdAuthorizationFailed": "ACL",
    "UnsupportedSaslMechanismError": "protocol",
    "IllegalSaslStateError": "protocol",
}
_POSTGRES_SAYS: tuple[tuple[str, Kind, str], ...] = (
    # words of libpq or the server, what is wrong, what to do
    (
        "valid client certificate|alert (unknown ca|.*certificate)|certificate authentication failed",
        "certificate",
        "name in the URL, sslcert=FILE&sslkey=FILE, this login's own certificate, which the server trusts",
    ),
    (
        "certificate verify failed|root certificate|server certificate|certificate",
        "certificate",
        "name the authority in the URL: ?sslmode=verify-full&sslrootcert=FILE; a certificate holds for its names alone",
    ),
    (
        "does not support SSL",
        "protocol",
        "the server has no TLS: leave sslmode out of the URL, or switch its TLS on",
    ),
    (
        "no pg_hba.conf entry.*(no encryption|SSL off)",
        "protocol",
        "the server wants TLS: add ?sslmode=verify-full&sslrootcert=FILE to the URL",
    ),
    (
        "no pg_hba.conf entry|pg_hba.conf rejects",
        "ACL",
        "let this login in from here in the server's pg_hba.conf",
    ),
    (
        "password authentication failed|no password supplied|role .* does not exist|authentication failed",
        "password",
        "check user and password in the URL (or its _FILE); docs/postgres.md has the logins",
    ),
    ("database .* does not exist", "protocol", "check the database's name at the end of the URL"),
    ("permission denied", "ACL", "grant the role: docs/postgres.md has the statements"),
)


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong: `said` in the server's or our words, `mend` what to do about it."""

    kind: Kind
    said: str
    mend: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.said}"


class FaultError(Exception):
    """A server can't be used, and we know why."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(str(fault))
        self.fault = fault


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """The error and all that it came from."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def of_transport(  # noqa: PLR0911 - one a kind of error
    error: BaseException,
    authority: str,
    plain: str,
    own: str = "let this client in without a certificate of its own: there is no setting for one",
) -> Fault | None:
    """What is wrong below a server's own protocol; None if that is not it.

    `authority` says how to name the authority of its certificate, `plain` how to speak without TLS, `own` how to show a
    certificate of ours.
    """
    for each in causes(error):
        if isinstance(each, ssl.SSLCertVerificationError):
            return Fault("certificate", f"its certificate is not trusted: {each.verify_message}", authority)
        if isinstance(each, ssl.SSLError):
            reason = (each.reason or str(each)).replace("_", " ").lower()
            if "certificate required" in reason:
                return Fault("certificate", "it wants a client's certificate", own)
            if "certificate" in reason or "unknown ca" in reason:
                return Fault("certificate", f"it does not take ours: {reason}", own)
            return Fault("protocol", f"no TLS is spoken there ({reason})", plain)
        if isinstance(each, socket.gaierror):
            return Fault(
                "network", "its name is not known", "check the host's name, and DNS from this machine"
            )
        if (numbers := _errnos(each)) & _REFUSED:
            return Fault("network", "nothing listens there", "check host and port, and that the server runs")
        if numbers & _NO_WAY:
            return Fault(
                "network", "no way leads there", "check the address, routes and the firewalls between"
            )
        if isinstance(each, TimeoutError):
            return Fault(
                "network", f"no answer within {PROBE_S:.0f} s", "check host, port and the firewalls between"
            )
    return None


def _errnos(error: BaseException) -> set[int]:
    """The system's numbers of an error: several where a name has several addresses, of which asyncio makes one text."""
    if not isinstance(error, OSError):
        return set()
    return (
        {error.errno}
        if error.errno is not None
        else set(map(int, re.findall(r"\[Errno (\d+)\]", str(error))))
    )


async def speaks_tls(host: str, port: int) -> bool:
    """Whether a port answers a TLS handshake, whatever its certificate."""
    try:
        async with _tls(host, port):
            return True
    except (OSError, TimeoutError):
        return False


async def waits_after_tls(host: str, port: int) -> bool:
    """Whether it waits for us to speak after a handshake without a certificate of ours."""
    try:
        async with _tls(host, port) as reader, asyncio.timeout(SILENT_S):
            await reader.read(1)
    except TimeoutError:
        return True
    except OSError:
        pass
    return False


@asynccontextmanager
async def _tls(host: str, port: int) -> AsyncIterator[asyncio.StreamReader]:
    """A connection on which nothing is said."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    async with asyncio.timeout(PROBE_S):
        reader, writer = await asyncio.open_connection(host, port, ssl=context)
    try:
        yield reader
    finally:
        writer.close()


# Kafka ------------------------------------------------------------------------------------------------------------


async def kafka_fault(settings: Settings) -> Fault | None:
    """Why none of the bootstrap servers lets us in; None if one does."""
    fault = None
    for address in settings.kafka.split(","):
        host, _, port = address.strip().rpartition(":")
        fault = await _broker_fault(settings, host.strip("[]"), int(port))
        if fault is None:
            return None
    return fault


async def _broker_fault(settings: Settings, host: str, port: int) -> Fault | None:
    from aiokafka.conn import create_conn  # noqa: PLC0415 - `success up` needs none of it
    from aiokafka.errors import KafkaError  # noqa: PLC0415
    from aiokafka.protocol.metadata import MetadataRequest  # noqa: PLC0415

    from agents.engine.connection import client_options  # noqa: PLC0415
    from runtime.quiet import without_logs  # noqa: PLC0415

    options = client_options(settings)
    del options["bootstrap_servers"]
    protocol = settings.kafka_security_protocol
    try:
        with without_logs("aiokafka"):
            async with asyncio.timeout(PROBE_S):
                connection = await create_conn(host, port, request_timeout_ms=int(PROBE_S * 1000), **options)
                try:
                    await connection.send(MetadataRequest([]))
                finally:
                    connection.close()
    except (KafkaError, OSError, TimeoutError) as error:
        return await _said_by_broker(error, host, port, protocol)
    return None


async def _said_by_broker(  # noqa: PLR0911 - as above
    error: BaseException, host: str, port: int, protocol: str
) -> Fault:
    name = type(error).__name__
    words = re.sub(r": <AIOKafka.*>$", "", one_line(str(error))) or name
    if kind := _KAFKA_ERRORS.get(name):
        mend = {
            "password": "check SUCCESS_KAFKA_SASL_USERNAME, _PASSWORD and _MECHANISM",
            "ACL": "docs/operating.md lists the rights by topic and group",
        }.get(
            kind,
            "set SUCCESS_KAFKA_SASL_MECHANISM to one that the broker has; without logins, "
            "SUCCESS_KAFKA_SECURITY_PROTOCOL=PLAINTEXT (or SSL)",
        )
        return Fault(kind, words, mend)
    fault = of_transport(error, KAFKA_AUTHORITY, PLAIN_KAFKA, KAFKA_OWN)
    if protocol in {"SSL", "SASL_SSL"}:
        if fault is not None:
            return fault
        if not await speaks_tls(host, port):
            return Fault("protocol", "no TLS is spoken there", PLAIN_KAFKA)
        if protocol == "SSL" and await waits_after_tls(host, port):
            mend = "set SUCCESS_KAFKA_SECURITY_PROTOCOL to SASL_SSL, with _SASL_MECHANISM, _USERNAME and _PASSWORD"
            return Fault("protocol", "it hangs up on SSL: it wants a login", mend)
        # With TLS 1.3 a client that has no certificate hears of it after the handshake, or not at all.
        return Fault("certificate", "it hangs up after TLS: it may want a client's certificate", KAFKA_OWN)
    if fault is not None and fault.kind == "network" and not isinstance(error, TimeoutError):
        return fault
    if await speaks_tls(host, port):
        return Fault("protocol", "it speaks TLS", "set SUCCESS_KAFKA_SECURITY_PROTOCOL to SSL or SASL_SSL")
    if fault is not None:
        return fault
    return Fault(
        "protocol",
        f"it hangs up on {protocol}",
        "it may want a login: set SUCCESS_KAFKA_SECURITY_PROTOCOL to SASL_PLAINTEXT (or SASL_SSL); "
        "or no Kafka listens on this port",
    )


def kafka_error(error: Exception) -> Fault | None:
    """What an answer of a broker that let us in says; None if it is about none of these."""
    kind = next((kind for each in causes(error) if (kind := _KAFKA_ERRORS.get(type(each).__name__))), None)
    if kind is None:
        return None
    return Fault(kind, one_line(str(error)), "docs/operating.md lists the rights by topic and group")


# Postgres, mail, keys -----------------------------------------------------------------------------------------------


def postgres_fault(error: Exception) -> Fault:
    """What libpq and the server say."""
    words = one_line(str(error))
    for pattern, kind, mend in _POSTGRES_SAYS:
        if re.search(pattern, words):
            return Fault(kind, words, mend)
    return Fault("network", words, "check host and port in SUCCESS_DATABASE_URL, and that the server runs")


async def smtp_fault(  # noqa: PLR0911 - as above
    error: Exception, host: str, port: int, *, tls: bool
) -> Fault:
    """What an error of aiosmtplib comes of."""
    import aiosmtplib  # noqa: PLC0415 - see above

    words = one_line(str(error)) or type(error).__name__
    if isinstance(error, aiosmtplib.SMTPAuthenticationError):
        return Fault("password", words, "check user and password in SUCCESS_SMTP_URL")
    if isinstance(error, aiosmtplib.SMTPResponseException):
        if error.code in {530, 535}:
            return Fault("password", words, "put user and password into SUCCESS_SMTP_URL")
        return Fault("ACL", words, "let this login send from SUCCESS_MAIL_RETURN_PATH on the mail server")
    fault = of_transport(
        error,
        "have the certificate's authority trusted: SSL_CERT_FILE names it",
        "use smtp:// in SUCCESS_SMTP_URL, or the port with TLS from the start",
    )
    if fault is not None and not isinstance(error, TimeoutError):
        return fault
    if not tls and await speaks_tls(host, port):
        return Fault("protocol", "it speaks TLS from the start", "use smtps:// in SUCCESS_SMTP_URL")
    if "STARTTLS" in words.upper() or "AUTH" in words.upper():
        return Fault(
            "protocol", words, "a password is sent over TLS only: switch STARTTLS on, or use smtps://"
        )
    return fault or Fault("network", words, "check SUCCESS_SMTP_URL, and that the server runs")


def keys_fault(error: BaseException, url: str) -> Fault:
    """Why the key URL gives no keys."""
    fault = of_transport(
        error,
        "have the certificate's authority trusted: SSL_CERT_FILE names it",
        f"check SUCCESS_JWKS_URL: {urlsplit(url).scheme} and the port do not fit",
    )
    if fault is not None:
        return fault
    code = next((_status(each) for each in causes(error) if _status(each)), None)
    words = one_line(str(error))
    if code in {401, 403}:
        return Fault("ACL", words, "the keys must be readable without a login: check SUCCESS_JWKS_URL")
    if any("connect" in type(each).__name__.lower() for each in causes(error)):
        return Fault("network", words, "check SUCCESS_JWKS_URL, and that the issuer can be reached from here")
    return Fault("protocol", words, "check SUCCESS_JWKS_URL: it must give a JSON object with `keys`")


def _status(error: Any) -> int | None:
    code = getattr(getattr(error, "response", None), "status_code", None)
    return code if isinstance(code, int) else None
