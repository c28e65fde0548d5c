"""A message costs itself only: whatever goes wrong with one, the others of the round go on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from agents.delivery import call_mails
from agents.delivery import round as delivery_round
from agents.letters.render import FOLDERS, Letters, Rendered
from agents.letters.smtp import Mailer
from scoring.time import DAY
from tests.agents.delivery.mail_server import MailServer
from tests.agents.delivery.world import NOW, World

pytestmark = pytest.mark.stack

ERRORS = [TypeError("a bug"), ZeroDivisionError("division by zero"), KeyError("firstName"), RuntimeError("!")]


def fails_first(original: Callable[..., Any], error: Exception) -> Callable[..., Any]:
    """`original`, whose first call raises."""
    calls = []

    def failing(*given: Any, **options: Any) -> Any:
        calls.append(1)
        if len(calls) == 1:
            raise error
        return original(*given, **options)

    return failing


async def three(world: World) -> list[str]:
    """Emails to three suppliers."""
    return [await world.row(await world.supplier(), "low_client_adoption") for _ in range(3)]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("step", ["variables", "render", "build_message", "sign", "decide"])
async def test_what_goes_wrong_with_one_message_fails_it_and_the_others_leave(
    world: World, monkeypatch: pytest.MonkeyPatch, step: str, error: Exception
) -> None:
    rows = await three(world)
    if step == "sign":
        monkeypatch.setattr(Mailer, "enveloped", fails_first(Mailer.enveloped, error))
    elif step == "render":
        monkeypatch.setattr(Letters, "email", fails_first(Letters.email, error))
    else:
        monkeypatch.setattr(delivery_round, step, fails_first(getattr(delivery_round, step), error))

    count = await world.delivery(workers=1).deliver_due()

    assert (count.sent, count.failed) == (2, 1)
    [failed] = [row for row in [await world.find(row) for row in rows] if row["status"] == "failed"]
    assert type(error).__name__ in failed["last_error"]
    told = [event["type"].rpartition(".")[2] for event in await world.events()]
    assert told.count("failed") == 1


async def test_a_task_whose_words_fail_costs_itself_only(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    supplier = await world.supplier()
    await world.health(supplier, level="critical")
    task = await world.row(supplier, "became_critical")
    email = await world.row(await world.supplier(), "low_client_adoption")
    written = Letters.text

    def failing_for_tasks(letters: Letters, path: str, variables: Mapping[str, Any]) -> Rendered:
        if path.startswith(FOLDERS["support_call"]):
            raise TypeError("a bug")
        return written(letters, path, variables)

    monkeypatch.setattr(Letters, "text", failing_for_tasks)

    await world.delivery().deliver_due()

    assert (await world.find(task))["status"] == "failed"
    assert (await world.status(email))[0] == "sent"


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
async def test_an_email_about_a_call_costs_itself_only_too(
    world: World, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    calls = [await world.call(await world.supplier(), NOW + (3 + day) * DAY) for day in range(2)]
    monkeypatch.setattr(call_mails, "build_invitation", fails_first(call_mails.build_invitation, error))

    await world.delivery().deliver_due()

    assert sorted([(await world.invitation(call))["status"] for call in calls]) == ["failed", "sent"]


async def test_a_mailer_that_breaks_leaves_a_fate_that_nobody_knows_and_the_others_leave(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = await three(world)
    monkeypatch.setattr(Mailer, "hand_over", fails_first(Mailer.hand_over, TypeError("a bug")))

    count = await world.delivery(workers=1).deliver_due()

    assert (count.sent, count.unknown) == (2, 1)
    assert sorted([(await world.status(row))[0] for row in rows]) == ["sent", "sent", "unknown"]


async def test_an_email_that_was_sent_is_noted_although_what_follows_from_it_fails(
    world: World, mail_server: MailServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = await world.row(await world.supplier(), "first_form_created")
    monkeypatch.setattr(delivery_round.store, "celebrate", fails_first(lambda: None, TypeError("a bug")))

    await world.delivery().deliver_due()

    found = await world.find(row)
    assert found["status"] == "sent"
    assert found["last_error"] == "not all of it could be noted: TypeError"
    assert len(mail_server.accepted) == 1
    assert [event["type"].rpartition(".")[2] for event in await world.events()] == ["sending", "sent"]
