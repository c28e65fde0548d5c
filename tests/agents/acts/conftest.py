"""The running API with a mail server that a test scripts, and a delivery on the same clock."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from httpx import AsyncClient, Response

from agents.interventions.writer import InterventionWriter
from embedded.registry import Addresses
from runtime.clock import ManualClock
from runtime.settings import Settings
from scoring.decisions.policy import Policy
from store.database import Role, open_pool
from tests.agents.delivery.mail_server import MailServer
from tests.api.conftest import Authorization, among_others, api, clock, shared, token, world

__all__ = ["api", "clock", "shared", "token", "world"]

Send = Callable[..., Awaitable[Response]]


def mailing(settings: Settings, mail_server: MailServer) -> Settings:
    """The same settings with a test's own mail server."""
    own = {"smtp_url": mail_server.url, "public_url": "https://app.wedsync.example"}
    return settings.model_copy(update=own)


@pytest.fixture
def settings(
    stack: Addresses, shared: Settings, tmp_path: Path, mail_server: MailServer
) -> Iterator[Settings]:
    """Settings with a database and a mail server of the test's own; none of these tests looks into topics."""
    with among_others(stack, shared, tmp_path / "state") as own:
        yield mailing(own, mail_server)


@pytest.fixture
def schedule(api: AsyncClient, token: Callable[..., Authorization]) -> Send:
    """Book a call for a supplier, as themselves unless `by` says otherwise; keywords replace parts of the body."""

    async def send(
        supplier_id: str,
        *times: str,
        by: Authorization | None = None,
        key: str | None = None,
        **given: Any,
    ) -> Response:
        body = {
            "supplierId": supplier_id,
            "preferredTimes": list(times),
            "reason": "onboarding",
            "urgency": "medium",
        } | given
        headers = by or token("supplier", supplier_id)
        if key:
            headers = headers | {"Idempotency-Key": key}
        return await api.post("/api/support/schedule-call", json=body, headers=headers)

    return send


@pytest.fixture
def patch(api: AsyncClient, token: Callable[..., Authorization]) -> Send:
    """Change a call, as an agent unless `by` says otherwise."""

    async def send(call_id: str, by: Authorization | None = None, **body: Any) -> Response:
        return await api.patch(f"/api/support/calls/{call_id}", json=body, headers=by or token("agent"))

    return send


@pytest.fixture
async def writer(settings: Settings, clock: ManualClock) -> AsyncIterator[InterventionWriter]:
    """What the worker writes with, under the key that the API has."""
    pool = await open_pool(settings.database_url, Role.WRITER)
    yield InterventionWriter(pool, clock, Policy.load(), settings.keys("secret_key"))
    await pool.close()
