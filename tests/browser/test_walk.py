"""The demo's story, told by the engine itself, and walked through in a browser as its pictures in docs/walk.md show."""

from __future__ import annotations

import re
from pathlib import Path

import httpx
import pytest
from playwright.async_api import Page

from cli.dev.demo import Plan
from embedded.process import free_port
from embedded.registry import Addresses
from runtime.settings import Settings
from tests.browser.walk import MOST_BYTES, NAMES, PICTURES, playing, rows, sizes, taken, walk
from tests.conftest import migrate

SENT = "SELECT template_used FROM success_interventions WHERE status = 'sent' AND supplier_id = %s"
MILESTONES = "SELECT milestone_type FROM success_milestones WHERE supplier_id = %s"
CALLS = "SELECT status FROM support_interactions WHERE supplier_id = %s"
HELD_BACK = "SELECT reason FROM success_interventions WHERE supplier_id = %s"
PAGE = Path("docs/walk.md").read_text("utf-8")
SHOWN = re.compile(r"\(walk/(\w+)\.jpg\)")


async def test_who_walks_through_the_demo_sees_what_happened_to_its_protagonist_and_why(
    page: Page, settings: Settings, stack: Addresses, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Five clients and a form, silence, the letter, the call, ten clients, healthy; all links lead somewhere."""
    port = free_port()
    settings = settings.model_copy(update={"api_port": port, "public_url": f"http://127.0.0.1:{port}"})
    migrate(settings)
    async with playing(settings, Path(stack.mail_dir), Plan(1, 45, 0, 1)):
        await walk(page, settings, Path(stack.mail_dir), tmp_path)
        async with httpx.AsyncClient(base_url=settings.public_url) as client:
            assert (await client.get("/demo/now")).json()["now"]

    assert taken(tmp_path) == sorted(NAMES)
    assert ("grow_client_list",) in rows(settings, SENT)
    assert ("ten_clients",) in rows(settings, MILESTONES)
    assert ("completed",) in rows(settings, CALLS)
    assert ("stale",) not in rows(settings, HELD_BACK)
    said = capsys.readouterr().out
    assert said.index("brings five clients") < said.index("grow_client_list") < said.index("has the call")


async def test_the_page_shows_each_picture_of_the_walk_and_none_is_large() -> None:
    assert SHOWN.findall(PAGE) == list(NAMES)
    assert taken(PICTURES) == sorted(NAMES)
    assert max(sizes(PICTURES)) < MOST_BYTES
