"""`success doctor` says which of network, protocol, certificate, password or ACL is wrong, at real servers."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
import uuid
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import psycopg
import pytest
import trustme
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult

from agents.letters import smtp
from cli.admin.doctor import doctor
from cli.admin.doctor.doctor import Finding
from runtime.settings import Settings
from tests.conftest import SECRETS

LOGIN = {"kafka_sasl_username": "worker", "kafka_sasl_password": "wrong"}


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def asked(check: Callable[[Settings], Awaitable[Finding]], **given: Any) -> Finding:
    settings = Settings(**SECRETS | given)
    return asyncio.run(doctor._checked("it", check(settings), "the server", "kafka"))


@contextmanager
def tls_server(authority: trustme.CA) -> Iterator[int]:
    """A port that speaks TLS and then hangs up."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1", "localhost").configure_cert(context)
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            while True:
                try:
                    accepted, _ = listening.accept()
                except OSError:
                    return
                with accepted:
                    try:
                        context.wrap_socket(accepted, server_side=True).recv(1000)
                    except OSError:
                        continue

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield int(listening.getsockname()[1])
        listening.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize("check", [doctor.check_kafka, doctor.check_dead_letters, doctor.check_postgres,
                                   doctor.check_smtp, doctor.check_keys])  # fmt: skip
@pytest.mark.parametrize("host", ["127.0.0.1", "no-such-host.invalid"])
def test_a_server_that_can_not_be_reached_is_the_network(check: Any, host: str) -> None:
    port = closed_port()
    found = asked(
        check,
        kafka=f"{host}:{port}",
        database_url=f"postgresql://worker:pw@{host}:{port}/success",
        smtp_url=f"smtp://{host}:{port}",
        jwks_url=f"https://{host}:{port}/keys",
        jwt_audience="a",
        jwt_issuer="i",
    )
    assert (found.ok, found.fault) == (False, "network")
    assert found.mend


def test_a_broker_whose_certificate_is_not_trusted_is_the_certificate(tmp_path: Path) -> None:
    ours, theirs = trustme.CA(), trustme.CA()
    ours.cert_pem.write_to_path(tmp_path / "ca.pem")
    with tls_server(theirs) as port:
        tls = {"kafka": f"127.0.0.1:{port}", "kafka_ssl_cafile": tmp_path / "ca.pem"}
        found = asked(doctor.check_kafka, kafka_security_protocol="SSL", **tls)
        assert found.fault == "certificate"
        assert "SUCCESS_KAFKA_SSL_CAFILE" in str(found.mend)
        plain = asked(doctor.check_kafka, kafka=f"127.0.0.1:{port}")
        assert plain.fault == "protocol"
        assert "SASL_SSL" in str(plain.mend)
    with tls_server(ours) as port:
        tls["kafka"] = f"127.0.0.1:{port}"
        found = asked(doctor.check_kafka, kafka_security_protocol="SSL", **tls)
        assert found.fault == "certificate"
        assert "SUCCESS_KAFKA_SSL_CERTFILE" in str(found.mend)


@pytest.mark.stack
def test_a_broker_that_is_spoken_to_otherwise_is_the_protocol(settings: Settings) -> None:
    for protocol, login in (("SSL", {}), ("SASL_PLAINTEXT", LOGIN), ("SASL_SSL", LOGIN)):
        found = asked(doctor.check_kafka, kafka=settings.kafka, kafka_security_protocol=protocol, **login)
        assert found.fault == "protocol", (protocol, found)
    assert asyncio.run(doctor.check_kafka(settings)).ok


@contextmanager
def hba(url: str, *lines: str) -> Iterator[None]:
    """Lines before those that say who may log in, for a while."""
    with psycopg.connect(url, autocommit=True) as conn:
        [file] = conn.execute("SHOW hba_file").fetchone() or [""]
        [before] = conn.execute("SELECT pg_read_file(%s)", [file]).fetchone() or [""]
        rules = [*lines, *[line for line in before.splitlines() if line and not line.startswith("#")]]

        def write(wanted: list[str]) -> None:
            values = ", ".join(f"($${line}$$)" for line in wanted)
            copied = f"COPY (SELECT * FROM (VALUES {values}) AS lines) TO '{file}'"  # noqa: S608 - a test's own
            conn.execute(copied.encode())
            conn.execute("SELECT pg_reload_conf()")

        write(rules)
        yield
        write(rules[len(lines) :])


@pytest.mark.stack
def test_postgres_says_which(settings: Settings) -> None:
    url = settings.database_url
    place = url.partition("@")[2]
    login, barred = f"d{uuid.uuid4().hex[:8]}", f"b{uuid.uuid4().hex[:8]}"
    with psycopg.connect(url, autocommit=True) as conn:
        for name in (login, barred):
            conn.execute(f"CREATE ROLE {name} LOGIN PASSWORD 'right'".encode())
    rules = (f"host all {login} 127.0.0.1/32 scram-sha-256", f"host all {barred} 127.0.0.1/32 reject")

    def fault(database_url: str) -> str | None:
        return asked(doctor.check_postgres, database_url=database_url).fault

    try:
        with hba(url, *rules):
            assert fault(f"postgresql://{login}:wrong@{place}") == "password"
            assert fault(f"postgresql://{login}@{place}") == "password"
            assert fault(f"postgresql://{barred}:right@{place}") == "ACL"
            assert (
                fault(f"postgresql://{login}:right@{place}") == "ACL"
            )  # no role of the services' is its own
            assert fault(f"postgresql://{login}:right@{place}?sslmode=require") == "protocol"
            assert fault(url.rpartition("/")[0] + "/nowhere") == "protocol"
            assert fault(f"postgresql://{login}:right@{place}?sslmode=verify-full&sslrootcert=/nowhere") in {
                "certificate",
                "protocol",
            }
        assert asyncio.run(doctor.check_postgres(settings)).ok
    finally:
        with psycopg.connect(url, autocommit=True) as conn:
            for name in (login, barred):
                conn.execute(f"DROP ROLE {name}".encode())


class Relay:
    """A mail server with STARTTLS and a login; it takes mail from one sender only."""

    def __init__(self, authority: trustme.CA) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("127.0.0.1", "localhost").configure_cert(context)
        self.controller = Controller(
            self,
            hostname="127.0.0.1",
            port=closed_port(),
            tls_context=context,
            auth_required=True,
            authenticator=self._authenticate,
        )

    def _authenticate(
        self, _server: Any, _session: Any, _envelope: Any, _mechanism: str, data: Any
    ) -> AuthResult:
        return AuthResult(success=data.password == b"right", handled=False)

    async def handle_MAIL(  # noqa: N802 - aiosmtpd's name
        self, _server: Any, _session: Any, envelope: Any, address: str, options: Any
    ) -> str:
        if address != "bounces@wedsync.example":
            return "553 5.7.1 you may not send from there"
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return "250 OK"


def test_the_mail_server_says_which(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    authority = trustme.CA()
    relay = Relay(authority)
    relay.controller.start()
    at = f"127.0.0.1:{relay.controller.port}"

    def found(url: str, **more: Any) -> Finding:
        return asked(doctor.check_smtp, smtp_url=url, **more)

    try:
        assert found(f"smtp://me:right@{at}").ok
        assert found(f"smtp://me:wrong@{at}").fault == "password"
        assert found(f"smtp://{at}").fault == "password"
        assert found(f"smtps://me:right@{at}").fault == "protocol"
        assert found(f"smtp://me:right@{at}", mail_return_path="boss@else.example").fault == "ACL"
        monkeypatch.setattr(smtp, "_is_loopback", lambda _host: False)
        assert found(f"smtp://me:right@{at}").fault == "certificate"
        authority.cert_pem.write_to_path(tmp_path / "ca.pem")
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
        assert found(f"smtp://me:right@{at}").ok
    finally:
        relay.controller.stop()
    with tls_server(authority) as port:
        assert found(f"smtp://127.0.0.1:{port}").fault == "protocol"


@contextmanager
def issuer(status: int, body: bytes, context: ssl.SSLContext | None = None) -> Iterator[str]:
    class Keys(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            return

    server = HTTPServer(("127.0.0.1", 0), Keys)
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"{'https' if context else 'http'}://127.0.0.1:{server.server_port}/keys"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    ("status", "body", "fault"),
    [(200, b'{"keys": [{}]}', None), (403, b"no", "ACL"), (404, b"no", "protocol"), (200, b"<p>", "protocol"),
     (200, b"{}", "protocol")],
)  # fmt: skip
def test_the_key_url_says_which(status: int, body: bytes, fault: str | None) -> None:
    with issuer(status, body) as url:
        found = asked(doctor.check_keys, jwks_url=url, jwt_audience="a", jwt_issuer="i")
        assert (found.ok, found.fault) == (fault is None, fault)


def test_a_key_url_with_an_unknown_authority_is_the_certificate() -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    with issuer(200, b'{"keys": [{}]}', context) as url:
        found = asked(doctor.check_keys, jwks_url=url, jwt_audience="a", jwt_issuer="i")
        assert found.fault == "certificate"
