"""The draft's files as text: rules, policy, brand and the words of letters, checked while one types."""

from __future__ import annotations

import re
from http import HTTPStatus
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Annotated, NamedTuple

from fastapi import APIRouter, Form, Query, Request
from starlette.responses import RedirectResponse, Response

from agents.letters.locales import is_installed
from api.dashboard.rendering import PageRoute, address, page
from api.dashboard.rules import drafts
from api.dashboard.rules.draft import Author, number_of
from api.dashboard.rules.drafts import Checked, Desk
from api.dashboard.rules.page import called, check_editor, may_change
from api.dashboard.rules.putting import NotPutError
from api.dashboard.rules.told import Words, told_of_text
from api.dashboard.session import CheckedCsrf, SignedIn
from api.problems import Problem
from api.services import InServices, Services
from runtime.configuration import BRAND, POLICY, RULES

if TYPE_CHECKING:
    from api.auth import Caller

router = APIRouter(route_class=PageRoute, include_in_schema=False)

TABLES = (RULES, POLICY, BRAND)
GUIDES = {
    RULES: "docs/rules.md",
    POLICY: "docs/policy.md",
    BRAND: "name, signature, colour and links of emails",
}
_NAME = r"[a-z][a-z0-9_]{0,62}"
_TAG = r"[a-z]{2,3}(?:-[A-Za-z0-9]{1,8})*"
_LETTER = re.compile(rf"templates/(?:(?P<tag>{_TAG})/)?email/(?P<name>{_NAME})(?:\.{_NAME})?\.(?:txt|html)")
_SKELETON = {
    "txt": """{% extends "email/_layout.txt" %}
{% from "email/_phrases.txt" import phrases with context %}
{% block subject %}{{ subject_to_be_written }}{% endblock %}
{% block preheader %}{{ preheader_to_be_written }}{% endblock %}
{% block why %}{{ why_they_get_it_to_be_written }}{% endblock %}
{% block body %}
{{ phrases.hi }}{{ " " + firstName if firstName }},

{{ body_to_be_written }}
{% endblock %}
""",
    "html": """{% extends "email/_layout.html" %}
{% from "email/_parts.html" import hello, button with context %}
{% block heading %}{{ heading_to_be_written }}{% endblock %}
{% block body %}
{{ hello() }}
<p>{{ body_to_be_written }}</p>
{% endblock %}
{% block why %}{{ why_they_get_it_to_be_written }}{% endblock %}
""",
}
"""A new letter. What is to be written is a name that nobody knows: unfinished, it can't go into force."""
FileName = Annotated[str, Query(alias="file", max_length=200)]


class Sibling(NamedTuple):
    """Another file of the same letter."""

    file: str
    label: str


@router.get("/dashboard/rules/draft/text")
async def text(
    request: Request, agent: SignedIn, services: InServices, file: FileName = RULES, author: Author = ""
) -> Response:
    """A file of the draft, to be read or changed."""
    desk = await drafts.open_desk(services, agent, author)
    _check_name(desk, file)
    return _page(request, services, agent, desk, file, await drafts.check(services, agent, desk))


@router.post("/dashboard/rules/draft/text", dependencies=[CheckedCsrf])
async def change(request: Request, agent: SignedIn, services: InServices) -> Response:
    """Keep and judge what was typed; drop it, take it on top, or put the draft into force if that was asked for."""
    check_editor(services, agent)
    said = {name: text for name, text in (await request.form()).items() if isinstance(text, str)}
    file, act = said.get("file", ""), said.get("act", "check")
    desk = await drafts.open_desk(services, agent)
    _check_name(desk, file)
    typed = _normal(said.get("text", desk.text(file)))
    desk = desk.without(file) if act == "leave" else desk.with_file(file, typed)
    if act == "mine" and file in desk.draft.files:
        desk = desk.on_top(file)
    await drafts.keep(services, agent, desk)
    if act in {"leave", "mine"}:
        back = file if desk.text(file) else RULES
        return RedirectResponse(address("/dashboard/rules/draft/text", file=back), HTTPStatus.SEE_OTHER)
    if request.headers.get("hx-request") == "true":
        if await request.is_disconnected():  # more was typed meanwhile
            return Response(status_code=HTTPStatus.NO_CONTENT)
        checked = await drafts.check(services, agent, desk)
        differs = told_of_text(file, desk.texts.get(file, ""), desk.text(file))
        said_now = {"differs": differs, "preview": _preview(file, checked), **drafts.shown(checked)}
        return page(request, "_rules_text_checked", **said_now)
    note = drafts.note_of(said)
    if act != "activate":
        checked = await drafts.check(services, agent, desk)
        return _page(request, services, agent, desk, file, checked, note=note)
    try:
        foreseen = request.app.state.trials.foreseen
        await drafts.activate(services, agent, desk, note, number_of(said.get("seen", "")), foreseen)
    except NotPutError as error:
        desk = await drafts.open_desk(services, agent)
        checked = await drafts.check(services, agent, desk)
        problem = None if str(error) == checked.problem else str(error)
        code = HTTPStatus.CONFLICT
        return _page(request, services, agent, desk, file, checked, note=note, problem=problem, code=code)
    return RedirectResponse(address("/dashboard/rules", said="activated"), HTTPStatus.SEE_OTHER)


@router.get("/dashboard/rules/draft/words")
async def words(request: Request, agent: SignedIn, services: InServices, author: Author = "") -> Response:
    """All words there are, and a form that begins a new letter."""
    desk = await drafts.open_desk(services, agent, author)
    return _words_page(request, services, agent, desk)


@router.post("/dashboard/rules/draft/words", dependencies=[CheckedCsrf])
async def begin_letter(
    request: Request,
    agent: SignedIn,
    services: InServices,
    name: Annotated[str, Form(max_length=64)] = "",
    languages: Annotated[str, Form(max_length=200)] = "",
) -> Response:
    """Begin a letter of an email: text and HTML, and the same in each further language."""
    check_editor(services, agent)
    desk = await drafts.open_desk(services, agent)
    tags = languages.replace(",", " ").split()
    problem = _problem_of(desk, name, tags)
    if problem:
        return _words_page(
            request, services, agent, desk, problem, name, languages, HTTPStatus.UNPROCESSABLE_ENTITY
        )
    files = [
        (f"templates/{folder}email/{name}.{ending}", skeleton)
        for folder in ("", *(f"{tag}/" for tag in tags))
        for ending, skeleton in _SKELETON.items()
    ]
    for file, skeleton in files:
        if not desk.text(file):
            desk = desk.with_file(file, skeleton)
    await drafts.keep(services, agent, desk)
    return RedirectResponse(address("/dashboard/rules/draft/text", file=files[0][0]), HTTPStatus.SEE_OTHER)


def _problem_of(desk: Desk, name: str, tags: list[str]) -> str | None:
    if not re.fullmatch(_NAME, name) or name.startswith("_"):
        return "a letter's name is small letters, digits and _, and begins with a letter: the `template` of its trigger"
    for tag in tags:
        if not re.fullmatch(_TAG, tag) or not is_installed(tag):
            return f"{tag}: no language that is known here; write tags such as de, fr or pt-BR"
    if all(desk.text(f"templates/{folder}email/{name}.txt") for folder in ("", *(f"{tag}/" for tag in tags))):
        return f"there is a letter {name} in these languages: choose it from the list"
    return None


def _check_name(desk: Desk, file: str) -> None:
    """Refuse (404) what is no file of a configuration."""
    if file not in TABLES and file not in desk.texts and not _LETTER.fullmatch(file):
        raise Problem(HTTPStatus.NOT_FOUND, "the configuration has no such file")


def _normal(text: str) -> str:
    """Text as a file has it: lines that end as ours do, and one line break at the end."""
    lines = text.replace("\x00", "").replace("\r\n", "\n").replace("\r", "\n")
    return lines.rstrip("\n") + "\n" if lines.strip() else ""


def _preview(file: str, checked: Checked) -> str | None:
    """Where a letter can be looked at, once the draft could go into force and a trigger names it."""
    letter = _LETTER.fullmatch(file)
    if letter is None or checked.configuration is None:
        return None
    triggers = checked.configuration.policy.triggers
    named = next((one.name for one in triggers if one.template == letter["name"]), None)
    author, tag = checked.draft.author, letter["tag"]
    return named and address("/dashboard/rules/letters", draft=author, letter=named, locale=tag)


def _siblings(desk: Desk, file: str) -> list[Sibling]:
    """The files of the letter that this one is of."""
    path = PurePosixPath(file)
    found = [PurePosixPath(one) for one in desk.templates]
    return [
        Sibling(str(one), f"{language_of(one) or 'as written'}, {one.suffix[1:]}")
        for one in found
        if (one.stem, one.parent.name) == (path.stem, path.parent.name)
    ]


def language_of(path: PurePosixPath) -> str | None:
    """The tag of the language whose folder a template lies in."""
    _, *rooms = path.parent.parts
    return rooms[0] if len(rooms) > 1 else None


def _page(
    request: Request,
    services: Services,
    agent: Caller,
    desk: Desk,
    file: str,
    checked: Checked,
    *,
    note: str = "",
    problem: str | None = None,
    code: HTTPStatus = HTTPStatus.OK,
) -> Response:
    differs: Words = told_of_text(file, desk.texts.get(file, ""), desk.text(file))
    return page(
        request,
        "rules_text",
        code,
        desk=desk,
        file=file,
        guide=GUIDES.get(file),
        siblings=_siblings(desk, file) if _LETTER.fullmatch(file) else [],
        preview=_preview(file, checked),
        text=desk.text(file),
        differs=differs,
        base=called(services, services.in_force.current.number),
        history=desk.history,
        note=note,
        problem=problem,
        editor=may_change(services, agent),
        **drafts.shown(checked),
    )


def _words_page(
    request: Request,
    services: Services,
    agent: Caller,
    desk: Desk,
    problem: str | None = None,
    name: str = "",
    languages: str = "de",
    code: HTTPStatus = HTTPStatus.OK,
) -> Response:
    return page(
        request,
        "rules_words",
        code,
        desk=desk,
        base=called(services, services.in_force.current.number),
        problem=problem,
        name=name,
        languages=languages,
        editor=may_change(services, agent),
    )
