"""Messages to a supplier in words: those that wait as they would be written now, those sent as they went out."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, NamedTuple

from jinja2 import TemplateError

from agents.letters.links import without_tokens
from agents.letters.render import FOLDERS, Rendered
from agents.letters.words import variables
from scoring.decisions.experiments import HOLDOUT, template_file
from store.dashboard import supplier as store
from store.messages.delivery import Intervention, Supplier, intervention_of, read_supplier

if TYPE_CHECKING:
    from collections.abc import Sequence

    from psycopg import AsyncConnection

    from agents.letters.in_force import Held
    from api.services import Services
    from runtime.settings import Settings

CANT_BE_WRITTEN = (TemplateError, TypeError, ValueError, LookupError, ArithmeticError)
"""What a template that does not fit raises."""
SENT_IN_APP = "as the coach would say it now"
NOT_KEPT = "as it would be written now: what was sent is not kept"
WAITING = "as it would be written now"


class Words(NamedTuple):
    """What a message says; `note` where that is not what they got, letter for letter."""

    subject: str
    text: str
    note: str | None = None


def dead(settings: Settings) -> Settings:
    """Settings whose links nobody can use: who presses what they only look at changes nothing."""
    return settings.model_copy(update={"secret_key": secrets.token_urlsafe()})


def rendered(
    held: Held,
    settings: Settings,
    supplier: Supplier,
    intervention: Intervention,
    now_ms: int,
    variant: str | None = None,
    *,
    as_text: bool = False,
) -> Rendered:
    """A message as delivery would write it now; raises one of `CANT_BE_WRITTEN`. `as_text`: without HTML, quickly."""
    template = template_file(intervention.template or "", variant)
    words = variables(supplier, intervention, now_ms, dead(settings), held.letters, template)
    del words["openUrl"]  # nobody opens it by looking at it here
    channel = intervention.row.channel
    if channel == "email" and not as_text:
        return held.letters.email(template, words)
    return held.letters.text(f"{FOLDERS[channel]}/{template}", words)


async def words_of(
    conn: AsyncConnection, services: Services, supplier_id: str, message_ids: Sequence[str], now_ms: int
) -> dict[str, Words]:
    """The words of some of their messages that were sent or wait, by id."""
    found = await store.written(conn, supplier_id, message_ids) if message_ids else []
    said = {row["id"]: Words(row["subject"], row["body"]) for row in found if row["body"] is not None}
    anew = [row for row in found if row["id"] not in said and row["status"] not in {"suppressed", "failed"}]
    if not anew:
        return said
    supplier = await read_supplier(conn, supplier_id, now_ms, services.settings.keys("secret_key"))
    if supplier is None:
        return said
    held = services.in_force.of(supplier_id)
    for row in anew:
        variant = None if row["experiment"] in {None, HOLDOUT} else row["variant"]
        try:
            text = rendered(
                held, services.settings, supplier, intervention_of(row), now_ms, variant, as_text=True
            )
        except CANT_BE_WRITTEN as error:
            said[row["id"]] = Words("", "", f"it can't be written now: {error}")
            continue
        note = WAITING if row["status"] == "scheduled" else NOT_KEPT
        if row["status"] == "sent" and row["intervention_type"] == "in_app_notification":
            note = SENT_IN_APP
        said[row["id"]] = Words(text.subject, without_tokens(text.text, services.settings.public_url), note)
    return said
