"""An issuer of tokens on this machine: it publishes keys, and hangs or talks nonsense when it is told to."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

ISSUER, AUDIENCE = "https://project.supabase.example/auth/v1", "authenticated"


class Issuer:
    """What it publishes, how it answers, and how often it was asked."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.keys: list[dict[str, Any]] = []
        self.says: bytes | None = None
        self.asked = 0
        self.goes_on = Event()
        self.goes_on.set()

    def publish(self, key: Any, kid: str, **more: Any) -> None:
        """Publish the public half of a key."""
        algorithm: Any = {
            rsa.RSAPrivateKey: RSAAlgorithm,
            ec.EllipticCurvePrivateKey: ECAlgorithm,
            ed25519.Ed25519PrivateKey: OKPAlgorithm,
        }[next(kind for kind in _KINDS if isinstance(key, kind))]
        self.keys.append(json.loads(algorithm.to_jwk(key.public_key())) | {"kid": kid, "use": "sig"} | more)


_KINDS = (rsa.RSAPrivateKey, ec.EllipticCurvePrivateKey, ed25519.Ed25519PrivateKey)


@contextmanager
def issuing() -> Iterator[Issuer]:
    """A running issuer."""

    class Published(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            made.asked += 1
            made.goes_on.wait()
            body = json.dumps({"keys": made.keys}).encode() if made.says is None else made.says
            self.send_response(200)
            self.end_headers()
            try:
                self.wfile.write(body)
            except OSError:
                return  # nobody waits any longer

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Published) as server:
        server.daemon_threads = True
        made = Issuer(f"http://127.0.0.1:{server.server_port}/keys")
        Thread(target=server.serve_forever, daemon=True).start()
        yield made
        made.goes_on.set()
        server.shutdown()


def claims(**more: Any) -> dict[str, Any]:
    """Claims as Supabase Auth issues them for a user who signed in."""
    now = int(time.time())
    return {
        "aal": "aal1",
        "amr": [{"method": "password", "timestamp": now}],
        "app_metadata": {"provider": "email", "providers": ["email"]},
        "aud": AUDIENCE,
        "email": "sarah@example.com",
        "exp": now + 3600,
        "iat": now,
        "is_anonymous": False,
        "iss": ISSUER,
        "phone": "",
        "role": "authenticated",
        "session_id": "0f3ce1f0-4d7a-4d0e-8d0c-6d1f0b3c2a11",
        "sub": "11111111-1111-4111-8111-111111111111",
        "user_metadata": {"email_verified": True},
    } | more


def signed(key: Any, algorithm: str, kid: str | None = "one", **more: Any) -> str:
    """A token with these claims besides Supabase's; one that is None is left out."""
    said = {name: value for name, value in claims(**more).items() if value is not None}
    return jwt.encode(said, key, algorithm=algorithm, headers={"kid": kid} if kid else None)
