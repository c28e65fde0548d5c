"""Letters of what is in force, looked at from the dashboard: each of them, in each language, and to a real supplier."""

from __future__ import annotations

import re

import pytest

from agents.letters.links import verify
from api.dashboard.rules.letters import choices
from runtime.settings import Settings
from scoring.decisions.policy import Policy
from tests.agents.delivery.world import World
from tests.api.dashboard.conftest import Desk, fresh_id

pytestmark = pytest.mark.stack

LETTERS = "/dashboard/rules/letters"


@pytest.mark.parametrize("name", choices(Policy.load()))
async def test_each_letter_is_shown_with_its_text(desk: Desk, name: str) -> None:
    for locale in ("en-GB", "de"):
        page = await desk.page(f"{LETTERS}?letter={name}&locale={locale}")
        assert f'<option value="{name}" selected>' in page
        assert re.search(r"<dt>Subject</dt><dd>\w", page)
        assert "<script" not in page.partition("<main")[2]


async def test_a_letter_is_framed_without_any_permission(desk: Desk) -> None:
    page = await desk.get(f"{LETTERS}?letter=no_login_7_days&locale=de")
    assert "frame-src 'self'" in page.headers["content-security-policy"]
    assert page.text.count("<iframe") == page.text.count(" sandbox title=") == 2
    framed = await desk.get(f"{LETTERS}/frame?letter=no_login_7_days&locale=de")
    assert framed.status_code == 200
    assert framed.headers["content-security-policy"].startswith("sandbox; default-src 'none'")
    assert 'lang="de' in framed.text


async def test_a_real_supplier_reads_their_own_name_and_their_links_are_dead(
    desk: Desk, world: World, settings: Settings
) -> None:
    supplier_id = await world.supplier(first_name="Beatrix", locale="de-AT")
    await world.health(supplier_id)
    framed = await desk.page(f"{LETTERS}/frame?letter=no_login_7_days&supplier={supplier_id}")
    assert "Beatrix" in framed
    assert 'lang="de-AT"' in framed
    tokens = re.findall(r"/e/(unsubscribe|preferences)/([\w.~-]+)", framed)
    assert tokens
    for action, token in tokens:
        assert verify(action, token, settings.keys("secret_key")) is None


async def test_who_or_what_is_not_there_is_said(desk: Desk) -> None:
    assert (await desk.get(f"{LETTERS}?supplier={fresh_id()}")).status_code == 404
    assert (await desk.get(f"{LETTERS}?letter=nothing")).status_code == 404
    assert (await desk.get(f"{LETTERS}?supplier=nobody")).status_code == 422
