"""What a draft would have done in the last 30 days: a process of its own works it out, one at a time, and is forgotten.

The process is `replay.what_if.trying`; it is given time and memory, and ends with this one.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import sys
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from fastapi import APIRouter, Form, Request
from starlette.responses import RedirectResponse, Response

from api.dashboard.rendering import PageRoute, address, page
from api.dashboard.rules import drafts
from api.dashboard.rules.draft import Author
from api.dashboard.rules.page import called, check_editor, may_change
from api.dashboard.session import CheckedCsrf, SignedIn
from api.problems import Problem
from api.services import InServices
from runtime.versions import SHIPPED, Version, version_of
from scoring.decisions.forecast import Forecast, forecast_of
from store import audit
from store.dashboard.supplier import names_of

if TYPE_CHECKING:
    from asyncio.subprocess import Process

    from runtime.settings import Settings

logger = logging.getLogger(__name__)
router = APIRouter(route_class=PageRoute, include_in_schema=False)

COMMAND = (sys.executable, "-P", "-m", "replay.what_if.trying")
DAYS = 30
PATIENCE_S = 15 * 60.0
"""Longer a trial does not take; a larger log is for `success replay --config`."""
LONGEST_ANSWER = 8 * 1024 * 1024
"""Bytes of its last line."""
KILLED = (
    "the system ended its process, as it does where memory runs out: `success replay --config DIR` tries it on a "
    "machine of your choice"
)
STARTED, CANCELLED = "config.trial_started", "config.trial_cancelled"
_OF_KAFKA = ("SUCCESS_KAFKA", "SUCCESS_TOPIC_PREFIX", "SUCCESS_PARTITIONS", "SUCCESS_STATE_DIR")
"""All that the process is told of the settings: no other secret."""


@dataclass(slots=True)
class Trial:
    """One trial, as far as it is."""

    author: str
    digest: str
    """Of the draft."""
    started_ms: int
    read: int = 0
    of: int = 0
    result: dict[str, Any] | None = None
    problem: str | None = None
    task: asyncio.Task[None] | None = field(default=None, repr=False)

    @property
    def is_running(self) -> bool:
        """Whether there is neither a result nor a problem yet."""
        return self.result is None and self.problem is None


class Trials:
    """The trial that runs, or ran last, in this process."""

    def __init__(self, settings: Settings, patience_s: float = PATIENCE_S, memory: int | None = None) -> None:
        self._settings, self._patience_s = settings, patience_s
        self._more = {} if memory is None else {"memory": memory}
        self.latest: Trial | None = None

    async def start(
        self, author: str, now_ms: int, given: Version, now: Version, draft: Version
    ) -> Trial | None:
        """Begin one; None while another runs."""
        if self.latest is not None and self.latest.is_running:
            return None
        trial = self.latest = Trial(author, draft.digest, now_ms)
        versions = {"given": given, "now": now, "draft": draft}
        job = msgspec.json.encode({**versions, "days": DAYS, **self._more}) + b"\n"
        try:
            process = await self._process()
        except OSError as error:
            trial.problem = f"its process can't be started: {error}"
            return trial
        trial.task = asyncio.create_task(self._run(trial, process, job), name="trial of a draft")
        return trial

    def foreseen(self, digest: str) -> Forecast | None:
        """What the trial of a draft of this digest expects, if it was the last one that ran here."""
        trial = self.latest
        if trial is None or trial.digest != digest or trial.result is None:
            return None
        return forecast_of(trial.result)

    async def cancel(self) -> bool:
        """End the one that runs; whether there was one."""
        trial = self.latest
        if trial is None or not trial.is_running or trial.task is None:
            return False
        trial.task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await trial.task
        trial.problem = "it was stopped before it was through"
        return True

    async def aclose(self) -> None:
        """End the one that runs."""
        await self.cancel()

    async def _process(self) -> Process:
        others = {name: value for name, value in os.environ.items() if not name.startswith("SUCCESS_")}
        told = {name: value for name, value in self._settings.as_env().items() if name.startswith(_OF_KAFKA)}
        return await asyncio.create_subprocess_exec(
            *COMMAND,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env=others | told | {"MALLOC_ARENA_MAX": "2"},
            limit=LONGEST_ANSWER,
        )

    async def _run(self, trial: Trial, process: Process, job: bytes) -> None:
        try:
            async with asyncio.timeout(self._patience_s):
                await _listen(process, trial, job)
        except TimeoutError:
            minutes = round(self._patience_s / 60)
            trial.problem = (
                f"it was not through after {minutes} minutes: `success replay --config DIR` has no limit"
            )
        except (OSError, ValueError) as error:
            logger.warning("the trial of a draft ended: %s", error)
        finally:
            if process.returncode is None:
                process.kill()
            await process.communicate()  # closes the pipes too
        if trial.is_running:
            ended_by_the_system = (process.returncode or 0) < 0
            trial.problem = (
                KILLED
                if ended_by_the_system
                else "its process ended unexpectedly; the service's log says more"
            )


async def _listen(process: Process, trial: Trial, job: bytes) -> None:
    """Hand the job over and take what comes; the input stays open, as its end ends the process."""
    if process.stdin is None or process.stdout is None:
        raise OSError("no pipes")
    with contextlib.suppress(ConnectionError):  # it has died: its exit code says of what
        process.stdin.write(job)
        await process.stdin.drain()
    while line := await process.stdout.readline():
        said = json.loads(line)
        trial.read, trial.of = said.get("read", trial.read), said.get("of", trial.of)
        trial.result, trial.problem = said.get("result"), said.get("problem")
        if not trial.is_running:
            return
    # Killing what has just died would take its exit code from asyncio, which says 255 then.
    await process.wait()


@router.get("/dashboard/rules/draft/trial")
async def trial_page(
    request: Request, agent: SignedIn, services: InServices, author: Author = ""
) -> Response:
    """The trial that runs or ran last, and a form that begins one; for htmx its part of the page alone."""
    trials: Trials = request.app.state.trials
    trial = trials.latest
    names: dict[str, str] = {}
    if trial is not None and trial.result is not None:
        async with services.transaction(agent) as conn:
            names = await names_of(conn, _named(trial.result))
    part = {"trial": trial, "names": names, "editor": may_change(services, agent)}
    if request.headers.get("hx-request") == "true":
        return page(request, "_rules_trial", **part)
    desk = await drafts.open_desk(services, agent, author)
    checked = await drafts.check(services, agent, desk)
    is_of_this = (
        trial is None or checked.configuration is None or trial.digest == checked.configuration.digest
    )
    return page(
        request,
        "rules_trial",
        desk=desk,
        base=called(services, services.in_force.current.number),
        history=desk.history,
        note="",
        is_of_this=is_of_this,
        **part,
        **drafts.shown(checked),
    )


@router.post("/dashboard/rules/draft/trial", dependencies=[CheckedCsrf])
async def change(
    request: Request, agent: SignedIn, services: InServices, act: Annotated[str, Form()] = "start"
) -> Response:
    """Begin a trial of the agent's own draft, or stop the one that runs."""
    check_editor(services, agent)
    trials: Trials = request.app.state.trials
    now_ms = services.clock.now_ms()
    action, digest = CANCELLED, trials.latest.digest if trials.latest else ""
    if act == "cancel":
        if not await trials.cancel():
            return _back()
    else:
        desk = await drafts.open_desk(services, agent)
        checked = await drafts.check(services, agent, desk)
        if checked.problem or checked.configuration is None:
            raise Problem(HTTPStatus.CONFLICT, f"the draft has a mistake: {checked.problem}")
        versions = (version_of(one, SHIPPED, "") for one in (services.given, desk.now, checked.configuration))
        trial = await trials.start(agent.subject, now_ms, *versions)
        if trial is None:
            raise Problem(HTTPStatus.CONFLICT, "another trial runs: wait for it, or stop it")
        action, digest = STARTED, trial.digest
    async with services.transaction(agent) as conn:
        await audit.log(conn, agent.actor, action, None, now_ms, digest=digest)
    return _back()


def _back() -> RedirectResponse:
    return RedirectResponse(address("/dashboard/rules/draft/trial"), HTTPStatus.SEE_OTHER)


def _named(result: dict[str, Any]) -> list[str]:
    found = [supplier for line in result["levels"] for supplier in line["who"]]
    for line in result["messages"]:
        found += line["added_who"] + line["taken_who"]
    return list(dict.fromkeys(found))
