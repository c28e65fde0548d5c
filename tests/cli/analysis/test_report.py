"""`success report messages`, as a command."""

from __future__ import annotations

import json

import pytest

from runtime.settings import Settings
from tests.agents.delivery.world import World
from tests.api.conftest import clock, world
from tests.cli.here import success_beside
from tests.cli.services.test_api import success

__all__ = ["clock", "world"]

pytestmark = pytest.mark.stack


async def test_the_report_is_a_table_or_one_json_object(settings: Settings, world: World) -> None:
    assert "no messages yet" in (await success_beside(settings, "report", "messages")).out
    await world.row(await world.supplier(), "low_client_adoption")
    printed = success(settings, "report", "messages").stdout
    assert "grow_client_list" in printed
    assert "converted" in printed
    [counts] = json.loads((await success_beside(settings, "report", "messages", "--json")).out)["templates"]
    assert (counts["template"], counts["sent"]) == ("grow_client_list", 0)
