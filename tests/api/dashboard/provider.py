"""A real OpenID provider on this machine: code flow, PKCE, nonce, and keys that it publishes."""

from __future__ import annotations

import secrets
import time
from base64 import b64decode, urlsafe_b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Annotated, Any
from urllib.parse import urlencode

import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from fastapi import FastAPI, Form, Request
from fastapi.responses import JSONResponse, RedirectResponse
from jwt.algorithms import ECAlgorithm
from starlette.responses import Response

from tests.browser.serving import free_ports, serving

CLIENT, SECRET = "success-dashboard", "a secret that only the two know"


@dataclass
class Account:
    """Who is signed in at the provider, and what it then does wrong."""

    claims: dict[str, Any] = field(default_factory=lambda: {"sub": "kim", "role": "agent"})
    nonce: str | None = None
    audience: str = CLIENT
    expires_in: int = 300
    key: ec.EllipticCurvePrivateKey | None = None


@dataclass
class Provider:
    """A running provider."""

    issuer: str
    account: Account = field(default_factory=Account)
    asked: list[dict[str, str]] = field(default_factory=list)


@contextmanager
def providing() -> Iterator[Provider]:
    """A provider until the block ends."""
    [port] = free_ports(1)
    made = Provider(f"http://127.0.0.1:{port}")
    with serving(_app(made), port):
        yield made


def _app(made: Provider) -> FastAPI:
    app, key, codes = FastAPI(), ec.generate_private_key(ec.SECP256R1()), {}

    @app.get("/healthz")
    async def healthz() -> str:
        return "ok"

    @app.get("/.well-known/openid-configuration")
    async def metadata() -> dict[str, Any]:
        return {
            "issuer": made.issuer,
            "authorization_endpoint": f"{made.issuer}/authorize",
            "token_endpoint": f"{made.issuer}/token",
            "jwks_uri": f"{made.issuer}/keys",
        }

    @app.get("/keys")
    async def keys() -> dict[str, Any]:
        public: dict[str, Any] = ECAlgorithm.to_jwk(key.public_key(), as_dict=True)
        return {"keys": [public | {"kid": "one", "use": "sig", "alg": "ES256"}]}

    @app.get("/authorize")
    async def authorize(request: Request) -> Response:
        asked = dict(request.query_params)
        made.asked.append(asked)
        code = secrets.token_urlsafe()
        codes[code] = asked
        return RedirectResponse(
            f"{asked['redirect_uri']}?{urlencode({'code': code, 'state': asked['state']})}", 303
        )

    @app.post("/token")
    async def token(
        request: Request,
        code: Annotated[str, Form()],
        code_verifier: Annotated[str, Form()],
        redirect_uri: Annotated[str, Form()],
    ) -> Response:
        asked = codes.pop(code, None)
        said = b64decode(request.headers["authorization"].removeprefix("Basic ")).decode()
        challenge = urlsafe_b64encode(sha256(code_verifier.encode()).digest()).rstrip(b"=").decode()
        if (
            asked is None
            or said.split(":")[0] != CLIENT
            or asked["code_challenge"] != challenge
            or asked["code_challenge_method"] != "S256"
            or asked["redirect_uri"] != redirect_uri
        ):
            return JSONResponse({"error": "invalid_grant"}, 400)
        account, now = made.account, int(time.time())
        claims = {
            "iss": made.issuer,
            "aud": account.audience,
            "iat": now,
            "exp": now + account.expires_in,
            "nonce": account.nonce or asked["nonce"],
        }
        signed = jwt.encode(
            claims | account.claims, account.key or key, algorithm="ES256", headers={"kid": "one"}
        )
        return JSONResponse({"access_token": "x", "token_type": "Bearer", "id_token": signed})

    return app
