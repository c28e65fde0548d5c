"""What a draft would have done in the last 30 days: worked out by a process of its own on the real log."""

from __future__ import annotations

import asyncio
import sys

import pytest

from api.dashboard.rules import trial as trial_module
from api.dashboard.rules.trial import Trials
from runtime.configuration import load
from runtime.settings import Settings
from runtime.versions import version_of
from tests.api.dashboard.conftest import Desk
from tests.api.dashboard.rules.quiet_log import sixty_days
from tests.api.dashboard.rules.test_pages import audited, noah, settings
from tests.api.dashboard.rules.test_texts import SHIPPED, example, say, with_the_example

__all__ = ["noah", "settings"]

pytestmark = pytest.mark.stack

TRIAL = "/dashboard/rules/draft/trial"


async def through(desk: Desk) -> str:
    """The part of the page, once the trial is through."""
    async with asyncio.timeout(60):
        while True:
            part = (await desk.get(TRIAL, **{"HX-Request": "true"})).text
            if "every 1s" not in part:
                return part
            await asyncio.sleep(0.2)


async def test_who_would_have_got_what_is_named_and_linked(
    desk: Desk, noah: Desk, settings: Settings
) -> None:
    quiet, busy = await sixty_days(settings)
    await with_the_example(desk)
    assert (await noah.post(TRIAL)).status_code == 403
    assert (await desk.post(TRIAL)).status_code == 303
    answer = await desk.get("/healthz")  # answers meanwhile
    assert answer.status_code == 200
    part = await through(desk)
    row = part.partition("clients_went_quiet")[2].partition("</tr>")[0]
    assert f'href="/dashboard/suppliers/{quiet}"' in row
    assert busy not in part
    assert "Nobody would be at another level" in part
    assert audited(settings) == [("emma", "config.trial_started")]

    assert "beside its forecast" not in await desk.page("/dashboard/rules")
    rules = f"{SHIPPED['rules.toml']}\n{example()['rules.toml']}"
    done = await say(desk, "rules.toml", rules, act="activate", note="silence", seen="0")
    assert done.status_code == 303
    page = await desk.page("/dashboard/rules")  # what the trial expected is kept with it
    assert "Version 1 beside its forecast" in page
    assert "It is too early to tell: 0 messages where" in page
    assert '<th scope="row">Messages of clients_went_quiet</th>' in page
    assert "sent,clients_went_quiet," in await desk.page("/dashboard/rules/forecast.csv")


async def test_levels_that_move_and_timers_that_go_are_counted(desk: Desk, settings: Settings) -> None:
    _, busy = await sixty_days(settings)
    rules = SHIPPED["rules.toml"].replace("healthy = 70 ", "healthy = 41 ")
    at = rules.index('[[condition]]\nname = "no_login_7_days"')
    without = rules[:at] + rules[rules.index("[[condition]]", at + 5) :]
    await say(desk, "rules.toml", without)
    policy = SHIPPED["policy.toml"]
    at = policy.index('[[trigger]]\nname = "no_login_7_days"')
    await say(desk, "policy.toml", policy[:at] + policy[policy.index("[[trigger]]", at + 5) :])
    assert (await desk.post(TRIAL)).status_code == 303
    part = await through(desk)
    assert "2 suppliers would not come to <code>no_login_7_days</code> any more" in part
    levels = part.partition("Levels at the end")[2]
    assert "At risk" in levels
    assert f"/dashboard/suppliers/{busy}" in levels


async def test_a_trial_is_one_at_a_time_and_can_be_stopped(desk: Desk, settings: Settings) -> None:
    await sixty_days(settings)
    await with_the_example(desk)
    await desk.post(TRIAL)
    assert "Another trial runs" in (await desk.post(TRIAL)).text
    assert (await desk.post(TRIAL, act="cancel")).status_code == 303
    assert "it was stopped before it was through" in await desk.page(TRIAL)
    assert [action for _, action in audited(settings)] == ["config.trial_started", "config.trial_cancelled"]


@pytest.mark.parametrize("killed", [False, True])
async def test_a_trial_that_has_too_little_memory_says_so_and_holds_up_nobody(
    desk: Desk, settings: Settings, monkeypatch: pytest.MonkeyPatch, killed: bool
) -> None:
    trials = Trials(settings, memory=1)
    if killed:  # as the system does, which asks nobody
        kills_itself = "import os, time; time.sleep(0.5); os.kill(os.getpid(), 9)"
        line = (sys.executable, "-c", kills_itself)
        monkeypatch.setattr(trial_module, "COMMAND", line)
    version = version_of(load(), 0, "")
    trial = await trials.start("emma", 0, version, version, version)
    assert trial is not None
    assert trial.task is not None
    answers = 0
    while not trial.task.done():
        assert (await desk.get("/healthz")).status_code == 200
        answers += 1
        await asyncio.wait({trial.task}, timeout=0.1)
    assert answers > 1
    assert "memory" in (trial.problem or "")
    assert "success replay --config DIR" in (trial.problem or "")


@pytest.mark.parametrize(("ends", "says"), [("os.kill(os.getpid(), 9)", "memory"), ("os._exit(3)", "log")])
async def test_a_trial_that_falls_silent_before_it_ends_is_waited_for_and_its_end_called_what_it_was(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, ends: str, says: str
) -> None:
    line = f"import os, time; os.close(0); os.close(1); time.sleep(0.3); {ends}"
    monkeypatch.setattr(trial_module, "COMMAND", (sys.executable, "-c", line))
    version = version_of(load(), 0, "")
    trial = await Trials(settings).start("emma", 0, version, version, version)
    assert trial is not None
    assert trial.task is not None
    await trial.task
    assert says in (trial.problem or "")


async def test_a_draft_with_a_mistake_is_not_tried(desk: Desk, settings: Settings) -> None:
    await say(desk, "rules.toml", "levels = 1\n")
    assert (await desk.post(TRIAL)).status_code == 409
    assert audited(settings) == []


@pytest.mark.parametrize(
    ("change", "patience_s", "says"),
    [({}, 0.05, "it was not through after"), ({"kafka": "127.0.0.1:9"}, 60.0, "Kafka does not answer")],
)
async def test_a_trial_that_comes_to_nothing_says_why(
    settings: Settings, change: dict[str, str], patience_s: float, says: str
) -> None:
    trials = Trials(settings.model_copy(update=change), patience_s)
    version = version_of(load(), 0, "")
    trial = await trials.start("emma", 0, version, version, version)
    assert trial is not None
    assert trial.task is not None
    await trial.task
    assert says in (trial.problem or "")
