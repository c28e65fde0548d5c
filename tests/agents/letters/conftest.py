"""The database, mail server and world of the tests of delivery."""

from tests.agents.delivery.conftest import policy, pool, settings, world

__all__ = ["policy", "pool", "settings", "world"]
