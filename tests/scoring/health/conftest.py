"""The same behaviour is asked of the machine and of the naive implementation."""

from __future__ import annotations

import pytest

from tests.scoring.health.suppliers import IMPLEMENTATIONS, MIDNIGHT, Story


@pytest.fixture(params=IMPLEMENTATIONS)
def story(request: pytest.FixtureRequest) -> Story:
    """A supplier of whom nothing is known yet; time 0 is Monday 2026-01-05 09:00 UTC."""
    return Story(request.param)


@pytest.fixture(params=IMPLEMENTATIONS)
def midnight_story(request: pytest.FixtureRequest) -> Story:
    """The same; time 0 is 2026-01-05 00:00 UTC."""
    return Story(request.param, start=MIDNIGHT)
