"""Every link of every email in every state is followed on a running API, until a page says 2xx."""

from __future__ import annotations

import re
import time
from dataclasses import replace
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from agents.letters.invitation import TEMPLATES as CALL_TEMPLATES
from agents.letters.invitation import variables as call_words
from agents.letters.links import sign_click
from agents.letters.render import ours
from agents.letters.sample import sample_call, sample_intervention
from agents.letters.words import variables
from api.auth import sign
from scoring.decisions.policy import Policy
from scoring.time import DAY
from tests.agents.delivery.world import NOW, World
from tests.templates.test_true_sentences import EDGES, LANGUAGES, VARIANTS, somebody
from topics.time import format_time

if TYPE_CHECKING:
    from httpx import AsyncClient

    from agents.letters.render import Rendered
    from runtime.settings import Settings

pytestmark = pytest.mark.stack

POLICY = Policy.load()
_HREF = re.compile(r'(?:href|src)="(https?://[^"]+)"')
_ADDRESS = re.compile(r"https?://\S+")


async def follow(api: AsyncClient, link: str, language: str = "en") -> str:
    """The page at the end of a link; fails unless every step leads on and the last is 2xx."""
    answer = await api.get(link, headers={"Accept": "text/html", "Accept-Language": language})
    for _ in range(3):
        if not answer.is_redirect:
            break
        answer = await api.get(answer.headers["location"], headers={"Accept": "text/html"})
    assert answer.is_success, f"{link} -> {answer.status_code} {answer.url}: {answer.text[:200]}"
    return answer.text


def links(rendered: Rendered) -> set[str]:
    html = rendered.html.replace("&amp;", "&")
    return {*_HREF.findall(html), *_ADDRESS.findall(rendered.text)}


async def test_every_link_of_every_letter_lands(api: AsyncClient, world: World, settings: Settings) -> None:
    supplier_id = await world.supplier()
    row_id = await world.row(supplier_id, "low_client_adoption")
    for milestone in ("first_form", "ten_clients", "first_automation", "first_payment"):
        await world.query(
            "INSERT INTO success_milestones (id, supplier_id, milestone_type, achieved_at) "
            "VALUES (gen_random_uuid(), %s, %s, now()) RETURNING id", supplier_id, milestone,
        )  # fmt: skip
    followed: set[str] = set()
    for template, milestone in VARIANTS:
        for locale in LANGUAGES:
            for number, away, name in EDGES:
                supplier = somebody(number, away, name, locale)
                supplier = replace(supplier, facts=replace(supplier.facts, supplier_id=supplier_id))
                row = sample_intervention(template.partition(".")[0], POLICY, milestone)
                row = row._replace(row=replace(row.row, id=row_id))
                words = variables(supplier, row, NOW, settings, ours(), template)
                followed |= links(ours().email(template, words))
    clicks = {link for link in followed if "/e/click/" in link}
    assert len(clicks) >= 10
    for link in sorted(followed):
        await follow(api, link)


@pytest.mark.parametrize("template", CALL_TEMPLATES)
async def test_every_link_of_a_letter_about_a_call_lands(
    api: AsyncClient, world: World, settings: Settings, template: str
) -> None:
    supplier_id = await world.supplier()
    call_id = await booked(api, settings, supplier_id)
    for locale in LANGUAGES:
        mail = replace(sample_call(template), supplier_id=supplier_id, call_id=call_id, locale=locale)
        found = links(ours().email(template, call_words(mail, settings)))
        assert any("/e/book/" in link or "/e/call/" in link for link in found)
        for link in found:
            await follow(api, link)


async def booked(api: AsyncClient, settings: Settings, supplier_id: str) -> str:

    token = sign(settings, "supplier", supplier_id, 3600, int(time.time()))
    answer = await api.post(
        "/api/support/schedule-call",
        headers={"Authorization": f"Bearer {token}"},
        json={
            "supplierId": supplier_id, "reason": "onboarding", "urgency": "low",
            "preferredTimes": [format_time(NOW + DAY + 2 * 60 * 60 * 1000)],
        },
    )  # fmt: skip
    assert answer.status_code == 201, answer.text
    assert answer.json()["confirmed"]
    return str(answer.json()["id"])


async def test_a_link_that_is_spoilt_or_old_leads_to_a_page_for_people(api: AsyncClient) -> None:
    for where in ("book", "call", "milestone", "click", "preferences", "unsubscribe"):
        answer = await api.get(f"/e/{where}/{'x' * 64}", headers={"Accept-Language": "en-US,en;q=0.9"})
        assert answer.status_code == 404
        assert "This link leads nowhere" in answer.text
        assert '<html lang="en-US">' in answer.text


@pytest.mark.parametrize("path", ["/clients/import", "/support/call"])
async def test_a_button_of_a_letter_sent_long_ago_lands_too(
    api: AsyncClient, world: World, settings: Settings, path: str
) -> None:
    supplier_id = await world.supplier()
    token = sign_click(settings.public_url + path, supplier_id, str(uuid4()), settings.secret("secret_key"))
    await follow(api, f"/e/click/{token}")
