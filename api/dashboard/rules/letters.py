"""What is in force, or a draft, as letters: any of them, in any language, to a made-up supplier or to a real one.

A letter is shown in a frame without any permissions, written with a key of its own: none of its links does anything.
"""

from __future__ import annotations

import logging
import secrets
from dataclasses import replace
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, NamedTuple
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request
from jinja2 import TemplateError
from pydantic import BeforeValidator
from starlette.responses import HTMLResponse, Response

from agents.letters import invitation
from agents.letters.render import FOLDERS, Letters, Rendered
from agents.letters.sample import NOW, sample_call, sample_intervention, sample_supplier
from agents.letters.words import variables
from api.dashboard.forms import gone
from api.dashboard.rendering import IN_A_FRAME, WITH_A_FRAME, PageRoute, address, page
from api.dashboard.rules import drafts
from api.dashboard.rules.page import called, look
from api.dashboard.session import SignedIn
from api.problems import Problem
from api.services import InServices, Services
from scoring.decisions.experiments import template_file
from scoring.decisions.policy import BASE_VARIANT
from store.messages.delivery import Supplier, read_supplier

if TYPE_CHECKING:
    from api.auth import Caller
    from runtime.settings import Settings
    from scoring.decisions.policy import Policy, Trigger

logger = logging.getLogger(__name__)
router = APIRouter(route_class=PageRoute, include_in_schema=False)

WRITTEN = "en-GB"
"""The language of the templates outside the folders of languages."""


class Choice(NamedTuple):
    """A letter that there is: a trigger's, perhaps in a variant, or one about a call."""

    name: str
    template: str
    trigger: Trigger | None
    variant: str | None = None


def choices(policy: Policy) -> dict[str, Choice]:
    """All letters of a policy, by the name in an address."""
    found = []
    for trigger in policy.triggers:
        found.append(Choice(trigger.name, trigger.template, trigger))
        found += [
            Choice(f"{trigger.name}.{variant}", trigger.template, trigger, variant)
            for variant in trigger.variants
            if variant != BASE_VARIANT
        ]
    found += [Choice(template, template, None) for template in invitation.TEMPLATES]
    return {choice.name: choice for choice in found}


def _blank_is_none(value: object) -> object:
    return None if value == "" else value


Blank = BeforeValidator(_blank_is_none)
Name = Annotated[str | None, Query(max_length=128), Blank]
Tag = Annotated[str | None, Query(max_length=35), Blank]
SupplierId = Annotated[UUID | None, Query(), Blank]
Author = Annotated[str | None, Query(max_length=255), Blank]


class Shown(NamedTuple):
    """A letter in words, and what it was made of."""

    choice: Choice
    choices: dict[str, Choice]
    languages: tuple[str, ...]
    rendered: Rendered
    called: str
    locale: str | None
    supplier: UUID | None
    draft: str | None
    """Whose draft it is of; None: what is in force."""


async def _shown(
    services: InServices,
    agent: SignedIn,
    letter: Name = None,
    locale: Tag = None,
    supplier: SupplierId = None,
    draft: Author = None,
) -> Shown:
    policy, written, named = await _written(services, agent, supplier, draft)
    known = choices(policy)
    choice = known.get(letter) if letter else next(iter(known.values()))
    if choice is None:
        raise Problem(HTTPStatus.NOT_FOUND, f"no letter of {named} is called {letter}")
    reader = None
    if supplier is not None:
        reader = await _reader(services, agent, str(supplier))
    # Another key than ours: whoever presses a link of what they only look at changes nothing.
    settings = services.settings.model_copy(update={"secret_key": secrets.token_urlsafe()})
    now_ms = NOW if reader is None else services.clock.now_ms()
    try:
        rendered = _rendered(choice, policy, written, settings, reader, locale, now_ms)
    except (TemplateError, TypeError, ValueError, LookupError, ArithmeticError) as error:
        if draft is None:
            raise
        raise Problem(
            HTTPStatus.CONFLICT, f"this letter of the draft can't be written yet: {error}"
        ) from error
    return Shown(choice, known, (WRITTEN, *written.languages), rendered, named, locale, supplier, draft)


async def _written(
    services: Services, agent: Caller, supplier: UUID | None, draft: str | None
) -> tuple[Policy, Letters, str]:
    """A policy with its letters, and what they are called."""
    if draft is None:
        await look(services, agent)
        held = services.in_force.of(str(supplier)) if supplier else services.in_force.current
        return held.policy, held.letters, called(services, held.number)
    desk = await drafts.open_desk(services, agent, draft)
    checked = await drafts.check(services, agent, desk, tried="none")
    if checked.configuration is None:
        raise Problem(HTTPStatus.CONFLICT, f"the draft has a mistake: {checked.problem}")
    return checked.configuration.policy, Letters.of(checked.configuration), f"the draft of {draft}"


AsAsked = Annotated[Shown, Depends(_shown)]
"""A handler's parameter: the letter that the address asks for."""


@router.get("/dashboard/rules/letters")
async def letters(request: Request, shown: AsAsked) -> Response:
    """A letter as it would look: subject, HTML at the width of a phone and of a screen, text."""
    locale, supplier, draft = shown.locale, shown.supplier, shown.draft
    made = page(
        request,
        "rules_letters",
        shown=shown,
        called=shown.called,
        locale=locale,
        supplier=supplier,
        draft=draft,
        frame=address(
            "/dashboard/rules/letters/frame",
            letter=shown.choice.name,
            locale=locale,
            supplier=supplier,
            draft=draft,
        ),
    )
    made.headers.update(WITH_A_FRAME)
    return made


@router.get("/dashboard/rules/letters/frame")
async def frame(shown: AsAsked) -> Response:
    """The HTML of the same letter, for a frame."""
    if not shown.rendered.html:
        raise Problem(HTTPStatus.NOT_FOUND, "this letter has no HTML")
    return HTMLResponse(shown.rendered.html, headers=IN_A_FRAME)


def _rendered(
    choice: Choice,
    policy: Policy,
    written: Letters,
    settings: Settings,
    reader: Supplier | None,
    locale: str | None,
    now_ms: int,
) -> Rendered:
    if choice.trigger is None:
        mail = replace(sample_call(choice.template, written), locale=locale or WRITTEN)
        return written.email(choice.template, invitation.variables(mail, settings, written, choice.template))
    trigger = choice.trigger
    kind, _, reached = trigger.cause.partition(":")
    row = sample_intervention(trigger.template, policy, reached if kind == "milestone" else None)
    row = row._replace(row=replace(row.row, trigger=trigger.name))
    supplier = reader or sample_supplier(trigger.name, policy, written)
    if locale is not None:
        supplier = replace(supplier, locale=locale)
    template = template_file(trigger.template, choice.variant)
    words = variables(supplier, row, now_ms, settings, written, template)
    del words["openUrl"]  # nobody opened it
    if trigger.channel == "email":
        return written.email(template, words)
    return written.text(f"{FOLDERS[trigger.channel]}/{template}", words)


async def _reader(services: Services, agent: Caller, supplier_id: str) -> Supplier:
    async with services.writer_pool.connection() as conn:
        keys = services.settings.keys("secret_key")
        found = await read_supplier(conn, supplier_id, services.clock.now_ms(), keys)
    if found is None:
        raise gone()
    logger.info("opened: letters of supplier %s by agent %s", supplier_id, agent.subject)
    return found
