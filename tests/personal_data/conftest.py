"""The running API, a mail server, deliveries, and the intervention agent's writer, on one database."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from agents.interventions import InterventionWriter
from runtime.clock import ManualClock
from runtime.settings import Settings
from scoring.policy import Policy
from store.database import Role, open_pool
from tests.calls.conftest import api, clock, patch, schedule, settings, token, world

__all__ = ["api", "clock", "patch", "schedule", "settings", "token", "world"]


@pytest.fixture
async def writer(settings: Settings, clock: ManualClock) -> AsyncIterator[InterventionWriter]:
    """What the worker writes with, under the key that the API has."""
    pool = await open_pool(settings.database_url, Role.WRITER)
    yield InterventionWriter(pool, clock, Policy.load(), settings.secret("secret_key").encode())
    await pool.close()
