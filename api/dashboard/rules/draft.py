"""The draft's numbers: fields of the policy, checked while one types, kept for whoever may change them.

Who may not change the rules tries numbers all the same: theirs are in the address, which can be sent to a colleague.
"""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import RedirectResponse, Response

from api.dashboard.rendering import PageRoute, address, page
from api.dashboard.rules import drafts
from api.dashboard.rules import form as forms
from api.dashboard.rules.drafts import Checked, Desk
from api.dashboard.rules.page import called, check_editor, documents_in_force, may_change
from api.dashboard.rules.putting import NotPutError
from api.dashboard.session import CheckedCsrf, SignedIn
from api.problems import Problem
from api.services import InServices, Services
from scoring.decisions.changing import SettingError, split

if TYPE_CHECKING:
    from api.auth import Caller

router = APIRouter(route_class=PageRoute, include_in_schema=False)

SAID_AS = "the draft"
MOST_SETTINGS = 400
Settings = Annotated[Sequence[str], Query(alias="set", max_length=MOST_SETTINGS)]
Author = Annotated[str, Query(alias="of", max_length=255)]


@router.get("/dashboard/rules/draft")
async def draft(
    request: Request, agent: SignedIn, services: InServices, settings: Settings = (), author: Author = ""
) -> Response:
    """The form, filled in by the draft that is kept, or by the address's settings (`?set=caps.total=2`)."""
    desk = await drafts.open_desk(services, agent, author)
    try:
        chosen = split(settings or desk.draft.settings, SAID_AS)
        form = forms.of_settings(drafts.policy_of(desk), chosen)
    except SettingError as error:
        raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, str(error)) from None
    checked = await drafts.check(services, agent, desk.with_settings(form.settings()))
    if form.unknown:
        names = ", ".join(form.unknown)
        checked = Checked(
            desk.draft, f"no field of this page is for {names}: `success config activate --set` takes them"
        )
    return _page(request, services, agent, desk, form, checked)


@router.post("/dashboard/rules/draft", dependencies=[CheckedCsrf])
async def change(request: Request, agent: SignedIn, services: InServices) -> Response:
    """Judge and keep what was typed; put it into force, try it or drop it if that was asked for."""
    sent = [(name, text) for name, text in (await request.form()).multi_items() if isinstance(text, str)]
    said = dict(sent)
    desk = await drafts.open_desk(services, agent)
    if said.get("act") == "drop":
        check_editor(services, agent)
        await drafts.drop(services, agent)
        return RedirectResponse(address("/dashboard/rules", said="dropped"), HTTPStatus.SEE_OTHER)
    form = await _typed(services, agent, desk, sent)
    desk = desk.with_settings(form.settings())
    if desk.is_mine:
        await drafts.keep(services, agent, desk)
    if request.headers.get("hx-request") == "true":
        checked = await drafts.check(services, agent, desk)
        return page(request, "_rules_checked", **drafts.shown(checked))
    note = drafts.note_of(said)
    if said.get("act") != "activate":
        checked = await drafts.check(services, agent, desk)
        return _page(request, services, agent, desk, form, checked, note=note)
    check_editor(services, agent)
    try:
        foreseen = request.app.state.trials.foreseen
        await drafts.activate(services, agent, desk, note, number_of(said.get("seen", "")), foreseen)
    except NotPutError as error:
        desk = await drafts.open_desk(services, agent)
        form = await _typed(services, agent, desk, sent)
        checked = await drafts.check(services, agent, desk.with_settings(form.settings()))
        problem = None if str(error) == checked.problem else str(error)
        code = HTTPStatus.CONFLICT
        return _page(request, services, agent, desk, form, checked, note=note, problem=problem, code=code)
    return RedirectResponse(address("/dashboard/rules", said="activated"), HTTPStatus.SEE_OTHER)


async def _typed(services: Services, agent: Caller, desk: Desk, sent: list[tuple[str, str]]) -> forms.Form:
    """What was typed, on top of what is in force by now: fields left alone do not undo what came meanwhile."""
    document, number = drafts.policy_of(desk), services.in_force.current.number
    base = number_of(dict(sent).get("base", str(number)))
    if base == number:
        return forms.of_sent(document, sent)
    async with services.transaction(agent) as conn:
        was = (await documents_in_force(conn, services, base))["policy"]
    return forms.of_settings(document, split(forms.of_sent(was, sent).settings()))


def number_of(text: str) -> int:
    """A version's number as a form sends it."""
    if not text.isdecimal() or not text.isascii() or len(text) > 9:  # noqa: PLR2004 - more than there can be
        raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "this page is too old: load it again")
    return int(text)


def _page(
    request: Request,
    services: Services,
    agent: Caller,
    desk: Desk,
    form: forms.Form,
    checked: Checked,
    *,
    note: str = "",
    problem: str | None = None,
    code: HTTPStatus = HTTPStatus.OK,
) -> Response:
    return page(
        request,
        "rules_draft",
        code,
        desk=desk,
        form=form,
        number=services.in_force.current.number,
        base=called(services, services.in_force.current.number),
        history=desk.history,
        note=note,
        problem=problem,
        editor=may_change(services, agent),
        **drafts.shown(checked),
    )
