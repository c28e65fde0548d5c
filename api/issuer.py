"""Keys that somebody else signs with: fetched over HTTP within limits, kept, and never waited for when at hand.

One task fetches for all who wait; its answer is bounded in time and size, whatever an issuer sends. A key that is
at hand is given at once, even while the issuer hangs.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any

import httpx2
import jwt
import orjson
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

logger = logging.getLogger(__name__)

FETCH_S = 5.0
"""Seconds for a whole answer of an issuer."""
MOST_BYTES = 256 * 1024
MOST_KEYS = 100
REFRESH_S = 300.0
"""Keys older than this are asked for anew, beside the answers: one that was withdrawn counts no longer."""
LOOK_AGAIN_S = 30.0
"""Between two looks for a key that was not there, whoever makes key ids up."""
TRY_AGAIN_S = 5.0
"""After a look that failed."""
SMALLEST_RSA = 2048
_RSA = frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"})
_CURVES = {"P-256": "ES256", "P-384": "ES384", "P-521": "ES512"}
ALGORITHMS = frozenset({*_RSA, *_CURVES.values(), "EdDSA"})


class IssuerAwayError(Exception):
    """An issuer can't be asked now, or says nothing that can be used."""


async def fetch_object(url: str) -> dict[str, Any]:
    """The JSON object at an address. Raises IssuerAwayError, within `FETCH_S` whatever the other side does."""
    try:
        async with (
            asyncio.timeout(FETCH_S),
            httpx2.AsyncClient(timeout=FETCH_S, headers={"Accept": "application/json"}) as client,
            client.stream("GET", url) as answer,
        ):
            answer.raise_for_status()
            body = bytearray()
            async for part in answer.aiter_bytes():
                body += part
                if len(body) > MOST_BYTES:
                    raise IssuerAwayError(f"{url} answers with more than {MOST_BYTES:,} bytes")
        found = orjson.loads(body)
    except (httpx2.HTTPError, httpx2.InvalidURL, TimeoutError, OSError, orjson.JSONDecodeError) as error:
        raise IssuerAwayError(f"{url}: {type(error).__name__} {error}".strip()) from error
    if not isinstance(found, dict):
        raise IssuerAwayError(f"{url} holds no JSON object")
    return found


class IssuerKeys:
    """The keys published at a JWKS address."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._keys: dict[str, tuple[Any, frozenset[str]]] = {}
        self._fetched: float | None = None
        self._failed: float | None = None
        self._fetching: asyncio.Task[None] | None = None

    async def find(self, kid: str, algorithm: str) -> Any | None:
        """The public key of this id if it fits the algorithm; None if there is none.

        Raises IssuerAwayError if it is not at hand and can't be fetched now.
        """
        if kid in self._keys:
            if self._age(self._fetched) > REFRESH_S and self._age(self._failed) > TRY_AGAIN_S:
                self._start()
        elif self._age(self._fetched) > LOOK_AGAIN_S:
            await self._fetch()
        key, algorithms = self._keys.get(kid, (None, frozenset()))
        return key if algorithm in algorithms else None

    async def close(self) -> None:
        """Wait for no issuer any longer."""
        if self._fetching is not None:
            self._fetching.cancel()
            await asyncio.wait([self._fetching])

    def _age(self, since: float | None) -> float:
        return float("inf") if since is None else time.monotonic() - since

    async def _fetch(self) -> None:
        if self._fetching is None and self._age(self._failed) <= TRY_AGAIN_S:
            raise IssuerAwayError("the issuer did not answer a moment ago")
        fetching = self._start()
        await asyncio.wait([fetching])  # who gives up waiting does not end it for the others
        if fetching.cancelled() or self._age(self._failed) <= TRY_AGAIN_S:
            raise IssuerAwayError("the issuer does not answer")

    def _start(self) -> asyncio.Task[None]:
        if self._fetching is None:
            self._fetching = asyncio.create_task(self._load(), name="keys of the issuer")
            self._fetching.add_done_callback(self._loaded)
        return self._fetching

    def _loaded(self, _task: asyncio.Task[None]) -> None:
        self._fetching = None

    async def _load(self) -> None:
        try:
            found = _listed(await fetch_object(self._url))
        except IssuerAwayError as error:
            self._failed = time.monotonic()
            logger.warning("the keys that tokens are signed with can't be fetched: %s", error)
            return
        self._keys = dict(filter(None, map(_usable, found[:MOST_KEYS])))
        self._fetched, self._failed = time.monotonic(), None


def _listed(published: dict[str, Any]) -> list[Any]:
    found = published.get("keys")
    if not isinstance(found, list):
        raise IssuerAwayError("the issuer publishes no list `keys`")
    return found


def _usable(published: Any) -> tuple[str, tuple[Any, frozenset[str]]] | None:
    """A published key by its id, and the algorithms that fit it; None for one that is not to be used."""
    if not isinstance(published, dict) or published.get("use", "sig") != "sig":
        return None
    kid, said = published.get("kid"), published.get("alg")
    fitting = _fitting(published)
    if said is not None:
        fitting &= {said} if isinstance(said, str) else set()
    if not isinstance(kid, str) or not fitting:
        return None
    try:
        key = jwt.PyJWK(published, algorithm=min(fitting)).key
    except (jwt.PyJWTError, ValueError, TypeError) as error:
        logger.warning("the issuer's key %r is not used: %s", kid[:100], type(error).__name__)
        return None
    if isinstance(key, RSAPublicKey) and key.key_size < SMALLEST_RSA:
        logger.warning(
            "the issuer's key %r is not used: RSA with %d bits, fewer than %d",
            kid[:100], key.key_size, SMALLEST_RSA,
        )  # fmt: skip
        return None
    return kid, (key, fitting)


def _fitting(published: dict[str, Any]) -> frozenset[str]:
    """The algorithms that a key's kind allows; none for a symmetric one, which must not be published."""
    kind, curve = published.get("kty"), published.get("crv")
    if kind == "RSA":
        return _RSA
    if kind == "EC" and isinstance(curve, str) and curve in _CURVES:
        return frozenset({_CURVES[curve]})
    if kind == "OKP" and curve in ("Ed25519", "Ed448"):
        return frozenset({"EdDSA"})
    return frozenset()
