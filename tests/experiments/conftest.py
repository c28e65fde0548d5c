"""The database, mail server and world of the tests of delivery."""

from tests.delivery.conftest import mail_server, policy, pool, settings, world

__all__ = ["mail_server", "policy", "pool", "settings", "world"]
