"""Consent by the API: what a supplier lets us send, read and changed by themselves, or by an agent for them."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Self

from fastapi import APIRouter
from pydantic import ConfigDict, Field, WithJsonSchema, model_validator

from agents.acts.consent import change_consent
from api.auth import AnyCaller, OwnSupplier, no_such_supplier
from api.limits import too_often
from api.models import Answer, Asked
from api.problems import documented
from api.services import InServices
from scoring.decisions.consent import Consent, Wish
from scoring.decisions.limits import TooOftenError
from store import audit
from store.people import consent as store
from topics.time import format_time

router = APIRouter(
    prefix="/api/suppliers/{supplierId}/consent",
    tags=["consent"],
    responses=documented(HTTPStatus.UNAUTHORIZED, HTTPStatus.NOT_FOUND),
)


_Said = Annotated[bool | None, WithJsonSchema({"type": "boolean"})]
"""true or false; null, which might mean either, is refused."""


class ConsentWish(Asked):
    """What to change; a field that is left out stays as it is."""

    model_config = ConfigDict(
        json_schema_extra={"minProperties": 1, "examples": [{"emailOptOut": True}, {"paused": True}]}
    )

    email_opt_out: _Said = Field(default=None, strict=True, description="No emails from us.")
    all_opt_out: _Said = Field(default=None, strict=True, description="No message of any channel.")
    paused: _Said = Field(
        default=None, strict=True, description="true: nothing for 30 days from now; false: the pause is over."
    )

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        said = self.model_dump(exclude_unset=True).values()
        if not said or None in said:
            raise ValueError("say at least one of emailOptOut, allOptOut, paused")
        return self


class ConsentState(Answer):
    """What they let us send; times are RFC 3339, null if they never said so."""

    email_opt_out: bool
    email_opt_out_at: str | None
    all_opt_out: bool
    all_opt_out_at: str | None
    paused_until: str | None = Field(description="Nothing of any channel is sent before this time.")


@router.get("")
async def read_consent(supplier_id: OwnSupplier, caller: AnyCaller, services: InServices) -> ConsentState:
    """Say what they let us send."""
    async with services.transaction(caller) as conn:
        consent = await store.read(conn, supplier_id)
    return _answer(consent, services.clock.now_ms())


@router.put("", responses=documented(HTTPStatus.TOO_MANY_REQUESTS))
async def change(
    wish: ConsentWish, supplier_id: OwnSupplier, caller: AnyCaller, services: InServices
) -> ConsentState:
    """Change what they let us send; in force when the answer comes, also for what is already scheduled."""
    now = services.clock.now_ms()
    keys, is_counted = services.settings.keys("secret_key"), not caller.is_staff
    try:
        async with services.transaction(caller) as conn:
            wanted = Wish(wish.email_opt_out, wish.all_opt_out, wish.paused)
            consent = await change_consent(conn, supplier_id, wanted, now, keys, is_counted=is_counted)
            if consent is not None:
                actor = caller.actor
                said = wish.model_dump(exclude_none=True)
                await audit.log(conn, actor, "consent.change", supplier_id, now, **said)
    except TooOftenError as error:
        raise too_often(error, now) from None
    services.wake_publisher()
    return _answer(consent, now)


def _answer(consent: Consent | None, now: int) -> ConsentState:
    if consent is None:
        raise no_such_supplier()
    return ConsentState(
        email_opt_out=consent.email_opt_out,
        email_opt_out_at=_text(consent.email_at),
        all_opt_out=consent.all_opt_out,
        all_opt_out_at=_text(consent.all_at),
        paused_until=_text(consent.paused_until) if consent.is_paused(now) else None,
    )


def _text(ms: int | None) -> str | None:
    return None if ms is None else format_time(ms)
