"""A draft of the policy's numbers: checked while one types, tried by a command, put into force with a note.

Nothing of it is kept here: the form is the draft, and its address can be sent to a colleague.
"""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, NamedTuple

from fastapi import APIRouter, Query, Request
from starlette.responses import RedirectResponse, Response

from agents.acts import versions as acts
from agents.letters.draft import drafted
from api.dashboard.acts import LONGEST_NOTE, clean
from api.dashboard.rendering import PageRoute, address, page
from api.dashboard.rules import form as forms
from api.dashboard.rules.page import (
    History,
    called,
    check_editor,
    documents_in_force,
    look,
    may_change,
    not_understood,
)
from api.dashboard.rules.putting import NOTE_NEEDED, NotPutError, act_of, put
from api.dashboard.rules.told import Told, told
from api.dashboard.session import CheckedCsrf, SignedIn
from api.problems import Problem
from api.services import InServices, Services
from runtime.configuration import Configuration, ConfigurationError
from runtime.versions import SHIPPED, whole
from scoring.decisions.changing import SettingError, split
from store import versions as store

if TYPE_CHECKING:
    from api.auth import Caller

router = APIRouter(route_class=PageRoute, include_in_schema=False)

SAID_AS = "the draft"
MOST_SETTINGS = 400
Settings = Annotated[Sequence[str], Query(alias="set", max_length=MOST_SETTINGS)]


class Checked(NamedTuple):
    """A draft as it was judged: what is wrong, or what it says otherwise."""

    settings: Sequence[str]
    problem: str | None = None
    configuration: Configuration | None = None
    told: Told | None = None
    waiting: dict[str, int] | None = None
    """Messages that wait of triggers that it switches off."""


@router.get("/dashboard/rules/draft")
async def draft(request: Request, agent: SignedIn, services: InServices, settings: Settings = ()) -> Response:
    """The form, filled in by the address's settings (`?set=caps.total=2`)."""
    history = await look(services, agent)
    document = services.policy.document()
    try:
        form = forms.of_settings(document, split(settings, SAID_AS))
    except SettingError as error:
        raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, str(error)) from None
    checked = await _check(services, agent, form, history)
    if form.unknown:
        names = ", ".join(form.unknown)
        checked = Checked(
            (), f"no field of this page is for {names}: `success config activate --set` takes them"
        )
    return _page(request, services, agent, form, checked, history)


@router.post("/dashboard/rules/draft", dependencies=[CheckedCsrf])
async def change(request: Request, agent: SignedIn, services: InServices) -> Response:
    """Judge what was typed; put it into force if that was asked for."""
    sent = [(name, text) for name, text in (await request.form()).multi_items() if isinstance(text, str)]
    said = dict(sent)
    history = await look(services, agent)
    form = await _typed(services, agent, sent)
    checked = await _check(services, agent, form, history)
    if request.headers.get("hx-request") == "true":
        return page(request, "_rules_checked", **_shown(checked))
    note = clean(said.get("note", ""))[:LONGEST_NOTE]
    if said.get("act") != "activate":
        return _page(request, services, agent, form, checked, history, note=note)
    check_editor(services, agent)
    seen = _number(said.get("seen", ""))
    try:
        await _activate(services, agent, checked, note, seen)
    except NotPutError as error:
        history = await look(services, agent)
        form = await _typed(services, agent, sent)
        checked = await _check(services, agent, form, history)
        problem = None if str(error) == checked.problem else str(error)
        code = HTTPStatus.CONFLICT
        return _page(request, services, agent, form, checked, history, note=note, problem=problem, code=code)
    return RedirectResponse(address("/dashboard/rules", said="activated"), HTTPStatus.SEE_OTHER)


async def _typed(services: Services, agent: Caller, sent: list[tuple[str, str]]) -> forms.Form:
    """What was typed, on top of what is in force by now: fields left alone do not undo what came meanwhile."""
    document, number = services.policy.document(), services.in_force.current.number
    base = _number(dict(sent).get("base", str(number)))
    if base == number:
        return forms.of_sent(document, sent)
    async with services.transaction(agent) as conn:
        was = (await documents_in_force(conn, services, base))["policy"]
    return forms.of_settings(document, split(forms.of_sent(was, sent).settings()))


async def _activate(services: Services, agent: Caller, checked: Checked, note: str, seen: int) -> None:
    if checked.problem or checked.configuration is None:
        raise NotPutError(checked.problem or "")
    if not checked.told:
        raise NotPutError("the draft says what is in force already: change something first")
    if not note:
        raise NotPutError(NOTE_NEEDED)
    act = act_of(services, agent, note, seen)
    work = acts.activate(services.settings, services.writer_pool, checked.configuration, services.given, act)
    await put(services, agent, seen, work)


async def _check(services: Services, agent: Caller, form: forms.Form, history: History) -> Checked:
    settings = form.settings()
    if too_old := not_understood(services, history):
        return Checked(settings, too_old)
    now = services.configuration
    if now.number == SHIPPED:
        now = whole(now)
    try:
        found = drafted(now, settings, said_as=SAID_AS)
    except ConfigurationError as error:
        return Checked(settings, str(error))
    changes = told(_numbers(now), _numbers(found))
    waiting = {}
    if not all(trigger.is_on for trigger in form.triggers):
        async with services.transaction(agent) as conn:
            waiting = await store.waiting_for_nobody(conn, [one.name for one in found.policy.triggers])
    return Checked(settings, None, found, changes, waiting)


def _numbers(configuration: Configuration) -> dict[str, object]:
    """What a draft can change of a configuration, as `told` compares it."""
    return {"policy": configuration.policy.document()}


def _number(text: str) -> int:
    if not text.isdecimal() or not text.isascii() or len(text) > 9:  # noqa: PLR2004 - more than there can be
        raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "this page is too old: load it again")
    return int(text)


def _shown(checked: Checked) -> dict[str, object]:
    return {
        "checked": checked,
        "replay": forms.command("success replay", checked.settings),
        "activate": forms.command("success config activate", checked.settings) + ' --note "why"',
        "link": "/dashboard/rules/draft?" + forms.query(checked.settings),
    }


def _page(
    request: Request,
    services: Services,
    agent: Caller,
    form: forms.Form,
    checked: Checked,
    history: History,
    *,
    note: str = "",
    problem: str | None = None,
    code: HTTPStatus = HTTPStatus.OK,
) -> Response:
    return page(
        request,
        "rules_draft",
        code,
        form=form,
        number=services.in_force.current.number,
        base=called(services, services.in_force.current.number),
        history=history,
        note=note,
        problem=problem,
        editor=may_change(services, agent),
        **_shown(checked),
    )
