"""A stack that has nobody says what to do, in lines that do it; what is done is ticked, and then the list goes."""

from __future__ import annotations

import asyncio
import html
import json
import os
import re
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from api.app import build_app
from api.dashboard.fresh.first_steps import SOMEBODY
from embedded.registry import Addresses
from runtime.clock import ManualClock
from runtime.settings import Settings
from tests.agents.delivery.world import NOW, World
from tests.api.dashboard.conftest import Desk, add_changes, serving
from tests.api.kafka import records
from tests.browser.serving import free_ports
from tests.browser.serving import serving as serving_http
from tests.conftest import own_settings
from topics.catalog import ACTIVITY, PROFILES

pytestmark = pytest.mark.stack


@pytest.fixture(scope="module")
def settings(stack: Addresses, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """A stack that has nobody yet, and its API's address."""
    [port] = free_ports(1)
    where = tmp_path_factory.mktemp("begin") / "state"
    with own_settings(stack, where, api_port=port, public_url=f"http://127.0.0.1:{port}") as own:
        yield own


@pytest.fixture
async def desk(settings: Settings, clock: ManualClock) -> AsyncIterator[Desk]:
    async with serving(settings, clock) as made:
        await made.sign_in()
        yield made


def line(page: str, name: str) -> str:
    """A line as somebody copies it."""
    found = re.search(rf'id="{name}">(.*?)</pre>', page, re.DOTALL)
    assert found, f"the page has no {name}"
    return html.unescape(found[1])


async def run(settings: Settings, command: str) -> None:
    """In a shell that has the services' settings, and `success`."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    process = await asyncio.create_subprocess_shell(
        f"set -e; {command}",
        env=os.environ | settings.as_env() | {"PATH": path},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await asyncio.wait_for(process.communicate(), 120)
    assert process.returncode == 0, said.decode()


def done(page: str) -> list[str]:
    """The steps that are ticked."""
    return re.findall(r"✓</span>([^<]*?) <", page)


async def test_the_lines_bring_an_event_and_a_profile(settings: Settings, desk: Desk) -> None:
    page = await desk.page("/dashboard")
    assert done(page) == []
    with serving_http(build_app(settings, ManualClock(NOW)), settings.api_port):
        for name in ("first-event", "first-event-http", "first-profile"):
            await run(settings, line(page, name))
    events, profiles = await records(settings, ACTIVITY), await records(settings, PROFILES)
    assert [json.loads(event.value)["type"] for event in events] == ["form.created"] * 2
    assert [profile.key.decode() for profile in profiles] == [SOMEBODY]


async def test_what_has_arrived_is_ticked_and_with_a_second_supplier_the_list_goes(
    desk: Desk, world: World
) -> None:
    await world.profile(SOMEBODY, email=None)
    await world.health(SOMEBODY)
    await add_changes(world, SOMEBODY, (NOW, 20, "critical"))
    page = await desk.page("/dashboard")
    assert done(page) == ["Publish an event"]
    await world.profile(SOMEBODY, email="you@example.com", offset=1)
    assert done(await desk.page("/dashboard")) == ["Publish an event", "Say who they are"]
    await world.supplier()
    await desk.page("/dashboard")
    assert "First steps" not in await desk.page("/dashboard")
