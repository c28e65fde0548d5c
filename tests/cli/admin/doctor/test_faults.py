"""`success doctor` says which of network, protocol, certificate, password or ACL is wrong.

Of servers with TLS, logins and ACLs: tests/deploy/test_secured.py.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
import trustme

from cli.admin.doctor import doctor
from cli.admin.doctor.doctor import Finding
from cli.admin.doctor.faults import of_transport
from runtime.settings import Settings
from tests.conftest import SECRETS

LOGIN = {"kafka_sasl_username": "worker", "kafka_sasl_password": "wrong"}


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def asked(check: Callable[[Settings], Awaitable[Finding]], **given: Any) -> Finding:
    settings = Settings(**SECRETS | given)
    return asyncio.run(doctor._checked("it", check(settings), "the server", "kafka"))


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


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(errno.EHOSTUNREACH, "No route to host"), "no way leads there"),
        (
            OSError(
                "Multiple exceptions: [Errno 101] Connect call failed ('::1', 9, 0, 0), "
                "[Errno 111] Connect call failed ('127.0.0.1', 9)"
            ),
            "nothing listens there",
        ),
    ],
)
def test_a_host_of_several_addresses_or_without_a_route_is_the_network(error: OSError, said: str) -> None:
    found = of_transport(error, "", "")
    assert found is not None
    assert (found.kind, found.said) == ("network", said)


@pytest.mark.stack
def test_servers_without_tls_that_are_spoken_to_so_are_the_protocol(settings: Settings) -> None:
    for protocol, login in (("SSL", {}), ("SASL_PLAINTEXT", LOGIN), ("SASL_SSL", LOGIN)):
        found = asked(doctor.check_kafka, kafka=settings.kafka, kafka_security_protocol=protocol, **login)
        assert found.fault == "protocol", (protocol, found)
    assert asyncio.run(doctor.check_kafka(settings)).ok
    found = asked(doctor.check_postgres, database_url=f"{settings.database_url}?sslmode=require")
    assert found.fault == "protocol"


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
