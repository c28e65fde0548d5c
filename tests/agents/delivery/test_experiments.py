"""Experiments where they are carried out: rows keep their group, and the email is the variant's."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest

from agents.letters.render import TemplateMissingError, check_templates, email_templates, render_email
from agents.letters.sample import NOW as SAMPLE_NOW
from agents.letters.sample import sample_intervention, sample_supplier
from agents.letters.words import variables
from runtime.settings import Settings
from scoring.decisions.policy import DEFAULT, Policy
from tests.agents.delivery.mail_server import MailServer
from tests.agents.delivery.world import World

stack = pytest.mark.stack


def policy_with(share: float = 0, **variants: dict[str, int]) -> Policy:
    """The default policy with a holdout and variants by trigger."""
    raw = tomllib.loads(DEFAULT.read_text("utf-8"))
    raw["holdout"]["share"] = share
    for trigger in raw["trigger"]:
        if trigger["name"] in variants:
            trigger["variants"] = variants[trigger["name"]]
    return Policy.parse(raw, "test.toml")


async def delivered(world: World, policy: Policy, trigger: str = "no_login_7_days") -> dict[str, Any]:
    """The row of one supplier after a delivery under `policy`."""
    world.policy = policy
    row = await world.row(await world.supplier(), trigger)
    await world.delivery().deliver_due()
    return await world.find(row)


@stack
async def test_the_variant_is_what_they_get_and_the_row_names_template_and_variant(
    world: World, mail_server: MailServer
) -> None:
    found = await delivered(world, policy_with(no_login_7_days={"base": 0, "short": 1}))

    assert (found["status"], found["template_used"]) == ("sent", "we_miss_you")
    assert (found["experiment"], found["variant"]) == ("no_login_7_days", "short")
    [message] = mail_server.accepted
    assert message["X-Success-Template"] == "we_miss_you"
    body = message.get_body(("plain",))
    assert body is not None
    assert "You last opened" not in body.get_content()


@stack
async def test_the_base_variant_is_the_template_as_it_was(world: World, mail_server: MailServer) -> None:
    found = await delivered(world, policy_with(no_login_7_days={"base": 1, "short": 0}))

    assert (found["template_used"], found["variant"]) == ("we_miss_you", "base")
    body = mail_server.accepted[0].get_body(("plain",))
    assert body is not None
    assert "You last opened" in body.get_content()


@stack
async def test_a_held_out_row_is_suppressed_says_so_and_sends_nothing(
    world: World, mail_server: MailServer
) -> None:
    found = await delivered(world, policy_with(1))

    assert (found["status"], found["reason"]) == ("suppressed", "holdout")
    assert (found["experiment"], found["variant"]) == ("holdout", "holdout")
    assert found["metadata"]["experiments"] == {"holdout": "holdout"}
    assert mail_server.tried == 0


@stack
async def test_a_row_outside_every_experiment_names_none(world: World) -> None:
    found = await delivered(world, Policy.load())
    assert (found["status"], found["experiment"], found["variant"]) == ("sent", None, None)


@stack
async def test_a_retry_is_written_in_the_same_variant(world: World, mail_server: MailServer) -> None:
    mail_server.data = lambda _message: "451 later"
    first = await delivered(world, policy_with(no_login_7_days={"base": 1, "short": 1}))
    mail_server.data = lambda _message: "250 OK"
    due = await world.delivery().next_due_ms()
    assert due is not None
    world.clock.advance_to(due)
    await world.delivery().deliver_due()
    second = await world.find(str(first["id"]))
    assert (second["status"], second["attempts"]) == ("sent", 2)
    assert second["variant"] == first["variant"]


def test_a_variant_without_a_template_stops_the_start() -> None:
    with pytest.raises(TemplateMissingError, match=r"templates/email/we_miss_you\.long\.txt"):
        check_templates(policy_with(no_login_7_days={"base": 1, "long": 1}))


def test_variants_are_no_templates_of_their_own() -> None:
    assert not [name for name in email_templates() if "." in name]


@pytest.mark.parametrize("known", [True, False])
def test_the_variant_that_comes_with_the_product_is_a_whole_email(known: bool) -> None:
    settings = Settings(secret_key="k" * 32, public_url="https://app.wedsync.example")
    intervention = sample_intervention("we_miss_you", Policy.load())
    words = variables(sample_supplier("no_login_7_days"), intervention, SAMPLE_NOW, settings)
    rendered = render_email("we_miss_you.short", words if known else words | {"recommendation": None})
    assert 10 <= len(rendered.subject) <= 50
    assert 20 <= len(rendered.preheader) <= 110
    for text in (rendered.text, rendered.html):
        assert "/e/unsubscribe/" in text
        assert "/e/preferences/" in text
