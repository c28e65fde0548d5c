"""Tokens for Kafka's OAUTHBEARER, by the client credentials grant (RFC 6749, 4.4), kept until they are nearly over."""

from __future__ import annotations

import asyncio
import time

from aiokafka.abc import AbstractTokenProvider
from aiokafka.errors import KafkaConnectionError

from runtime.settings import Settings

EARLY_S = 60.0
"""A token is fetched anew so long before it ends."""
FETCH_S = 10.0
UNSAID_S = 300.0
"""How long a token is used whose answer does not say."""


class ClientCredentials(AbstractTokenProvider):  # type: ignore[misc]
    """Asks SUCCESS_KAFKA_OAUTH_TOKEN_URL; clients that connect at the same time share an answer."""

    def __init__(self, settings: Settings) -> None:
        self._url = settings.kafka_oauth_token_url or ""
        self._login = (settings.kafka_oauth_client_id or "", settings.kafka_oauth_client_secret or "")
        self._form = {"grant_type": "client_credentials"}
        if settings.kafka_oauth_scope:
            self._form["scope"] = settings.kafka_oauth_scope
        self._lock = asyncio.Lock()
        self._token = ""
        self._until = 0.0

    async def token(self) -> str:
        """A token that is good now. Raises KafkaConnectionError, which every client waits out, if there is none."""
        async with self._lock:
            if time.monotonic() >= self._until:
                await self._fetch()
            return self._token

    async def _fetch(self) -> None:
        import httpx2  # noqa: PLC0415 - slow to import, and most clusters ask for no token

        try:
            async with httpx2.AsyncClient(timeout=FETCH_S) as client:
                answer = await client.post(self._url, data=self._form, auth=self._login)
                answer.raise_for_status()
                found = answer.json()
                token, seconds = str(found["access_token"]), float(found.get("expires_in", UNSAID_S))
        except (httpx2.HTTPError, httpx2.InvalidURL, ValueError, KeyError, TypeError) as error:
            raise KafkaConnectionError(
                f"{self._url} gives no token for Kafka ({type(error).__name__} {error}): check SUCCESS_KAFKA_OAUTH_*"
            ) from error
        self._token, self._until = token, time.monotonic() + max(1.0, seconds - EARLY_S)
