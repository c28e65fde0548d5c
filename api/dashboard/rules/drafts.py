"""The draft of an agent: what is kept of it, how it is judged, and putting it into force.

It is what an editor would have otherwise: files of the configuration as text, and on top of them numbers of the policy.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, NamedTuple

from agents.acts import versions as acts
from agents.letters.draft import Judged, Tried, judged, texts_of
from api.dashboard.forms import LONGEST_NOTE, clean
from api.dashboard.rules import form as forms
from api.dashboard.rules.page import History, called, look, may_change, not_understood
from api.dashboard.rules.putting import NOTE_NEEDED, NotPutError, act_of, put
from api.dashboard.rules.told import Told, told
from api.problems import Problem
from runtime.configuration import POLICY, RULES, TEMPLATES, ConfigurationError
from runtime.versions import SHIPPED, documents_of, whole
from scoring.advice.book import FILES
from scoring.decisions.policy import Policy, PolicyError
from scoring.health import rules_file
from scoring.health.rules import Rules
from scoring.health.rules_file import RulesError
from store import drafts as store
from store import versions
from store.drafts import Draft, Edited

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from api.auth import Caller
    from api.services import Services
    from runtime.configuration import Configuration
    from scoring.decisions.forecast import Forecast

    Foreseen = Callable[[str], Forecast | None]

LONGEST_TEXT = 200_000
MOST_FILES = 60
_IN_NO_LANGUAGE = 2
"""Slashes in the name of a template outside the folders of languages."""
_judging = ThreadPoolExecutor(1, "judging")
"""Letters are written to judge them: one draft at a time, so that other pages go on."""


class Checked(NamedTuple):
    """A draft as it was judged: what is wrong, or what it says otherwise."""

    draft: Draft
    problem: str | None = None
    configuration: Configuration | None = None
    told: Told | None = None
    waiting: dict[str, int] | None = None
    """Messages that wait of triggers that it has no more."""
    warnings: Sequence[str] = ()

    @property
    def settings(self) -> Sequence[str]:
        """Its numbers."""
        return self.draft.settings


class Desk(NamedTuple):
    """A draft with what it is a draft of."""

    draft: Draft
    history: History
    texts: dict[str, str]
    """What is in force, as files."""
    now: Configuration
    is_mine: bool
    """Whoever looks may change it."""

    def text(self, file: str) -> str:
        """What the draft says in a file; "" for one that neither it nor what is in force has."""
        edited = self.draft.files.get(file)
        return edited.text if edited else self.texts.get(file, "")

    @property
    def overtaken(self) -> list[str]:
        """Files that were changed in force since the draft's own change of them was begun."""
        return [name for name, each in self.draft.files.items() if each.was != self.texts.get(name, "")]

    @property
    def templates(self) -> list[str]:
        """All words there are, and the files of advice; those in the folders of languages come last."""
        names = (
            name
            for name in self.texts.keys() | self.draft.files.keys()
            if name.startswith(f"{TEMPLATES}/") or name in FILES
        )
        return sorted(names, key=lambda name: (name.count("/") > _IN_NO_LANGUAGE, name))

    def with_file(self, file: str, text: str) -> Desk:
        """The draft with this said in a file; what is in force is no change."""
        files = dict(self.draft.files)
        in_force = self.texts.get(file, "")
        if text == in_force:
            files.pop(file, None)
        else:
            known = files.get(file)
            files[file] = Edited(text, known.was if known else in_force)
        return self._replace(draft=replace(self.draft, files=files))

    def without(self, file: str) -> Desk:
        """The draft without its change of a file."""
        files = {name: each for name, each in self.draft.files.items() if name != file}
        return self._replace(draft=replace(self.draft, files=files))

    def on_top(self, file: str) -> Desk:
        """The draft with its change of a file as it is, on top of what is in force by now."""
        known = self.draft.files[file]
        files = self.draft.files | {file: Edited(known.text, self.texts.get(file, ""))}
        return self._replace(draft=replace(self.draft, files=files))

    def with_settings(self, settings: Sequence[str]) -> Desk:
        """The draft with these numbers on top."""
        return self._replace(draft=replace(self.draft, settings=tuple(settings)))


async def open_desk(services: Services, agent: Caller, author: str = "") -> Desk:
    """The draft of `author` ("": of the agent), as they have left it."""
    history = await look(services, agent)
    wanted = author or agent.subject
    async with services.transaction(agent) as conn:
        draft = await store.one(conn, wanted)
    now = services.configuration
    texts = texts_of(now)
    now = whole(now) if now.number == SHIPPED else now
    return Desk(draft, history, texts, now, wanted == agent.subject and may_change(services, agent))


async def keep(services: Services, agent: Caller, desk: Desk) -> None:
    """Store the agent's own draft."""
    draft = desk.draft
    if len(draft.files) > MOST_FILES or any(len(each.text) > LONGEST_TEXT for each in draft.files.values()):
        raise Problem(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            f"a draft holds {MOST_FILES} files of {LONGEST_TEXT:,} characters: put more into force from a folder "
            "(`success config activate`)",
        )
    async with services.transaction(agent) as conn:
        await store.keep(conn, draft, services.clock.now_ms())


def policy_of(desk: Desk) -> dict[str, Any]:
    """The policy's document that the numbers lie on: the draft's file if it can be read, else what is in force."""
    files = {name: each.text for name, each in desk.draft.files.items()}
    if POLICY not in files:
        return desk.now.policy.document()
    try:
        rules = Rules(rules_file.parse(files[RULES], RULES)) if RULES in files else desk.now.rules
        return Policy.over_ours(files[POLICY], POLICY, rules).document()
    except (RulesError, PolicyError):  # the page says so
        return desk.now.policy.document()


async def check(services: Services, agent: Caller, desk: Desk, *, tried: Tried = "changed") -> Checked:
    """Judge a draft, of its letters those that `tried` says (`agents.letters.draft.judged`)."""
    draft = desk.draft
    if too_old := not_understood(services, desk.history):
        return Checked(draft, too_old)
    if desk.overtaken:
        number = services.in_force.current.number
        return Checked(
            draft,
            f"{', '.join(desk.overtaken)}: {called(services, number)} came since, and says there something else than "
            "what this draft was begun on: look at it, and take yours on top of it or drop yours",
        )
    edited = {name: each.text for name, each in draft.files.items()}
    try:
        found, warnings = await _judged(desk, edited, draft.settings, services, tried)
    except ConfigurationError as error:
        return Checked(draft, str(error))
    changes = told(documents_of(desk.now), documents_of(found))
    kept = [one.name for one in found.policy.triggers]
    waiting: dict[str, int] = {}
    if gone := {one.name for one in desk.now.policy.triggers}.difference(kept):
        async with services.transaction(agent) as conn:
            rows = await versions.waiting_for_nobody(conn, kept)
        waiting = {name: number for name, number in rows.items() if name in gone}
    return Checked(draft, None, found, changes, waiting, warnings)


async def _judged(
    desk: Desk, files: dict[str, str], settings: Sequence[str], services: Services, tried: Tried
) -> Judged:
    work = partial(judged, desk.now, files, settings, services.settings, tried)
    return await asyncio.get_running_loop().run_in_executor(_judging, work)


async def activate(
    services: Services, agent: Caller, desk: Desk, note: str, seen: int, foreseen: Foreseen
) -> None:
    """Put the agent's own draft into force and drop it; NotPutError says why not. The note is the history's.

    `foreseen`: what a trial expected of a draft of this digest, which is kept with the version.
    """
    checked = await check(services, agent, desk, tried="all")
    if checked.problem or checked.configuration is None:
        raise NotPutError(checked.problem or "")
    if not checked.told:
        raise NotPutError("the draft says what is in force already: change something first")
    if not note:
        raise NotPutError(NOTE_NEEDED)
    act = act_of(services, agent, note, seen)
    found = checked.configuration
    expected = foreseen(found.digest)
    work = acts.activate(
        services.settings, services.writer_pool, found, services.given, act, forecast=expected
    )
    await put(services, agent, seen, work)
    await drop(services, agent)


async def drop(services: Services, agent: Caller) -> None:
    """Forget the agent's own draft."""
    async with services.transaction(agent) as conn:
        await store.keep(conn, Draft(agent.subject), services.clock.now_ms())


def note_of(said: dict[str, str]) -> str:
    """The note of a form that was sent."""
    return clean(said.get("note", ""))[:LONGEST_NOTE]


def shown(checked: Checked) -> dict[str, object]:
    """What the page says of a checked draft."""
    return {
        "checked": checked,
        "replay": forms.command("success replay", checked.settings),
        "activate": forms.command("success config activate", checked.settings) + ' --note "why"',
        "link": "/dashboard/rules/draft?" + forms.query(checked.settings),
    }
