"""What the dashboard's forms about one supplier have in common."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from http import HTTPStatus
from typing import Annotated
from uuid import UUID

from fastapi import Form, Path
from pydantic import BeforeValidator
from starlette.responses import RedirectResponse

from api.dashboard.rendering import address
from api.problems import Problem
from store.people import holds

LONGEST_NOTE = 4000
SupplierId = Annotated[UUID, Path(alias="supplierId")]
Note = Annotated[str, Form(max_length=LONGEST_NOTE)]
Day = Annotated[date | None, Form(), BeforeValidator(lambda text: text or None)]
"""A day's field; an empty one says nothing."""
_HOLDS = ((7, "a week"), (14, "two weeks"), (30, "30 days"))


def clean(text: str) -> str:
    """Without the one character that Postgres can't keep, and without blank ends."""
    return text.replace("\x00", "").strip()


def back(supplier_id: UUID, said: str) -> RedirectResponse:
    """Lead back to their page, which says what was done."""
    return RedirectResponse(address(f"/dashboard/suppliers/{supplier_id}", said=said), HTTPStatus.SEE_OTHER)


def hold_choices(now: datetime) -> list[tuple[date, str]]:
    """Until when messages may be held: days, and what they are called; the macro `hold_until` has their fields."""
    today = now.astimezone(UTC).date()
    return [(today + timedelta(days=days), name) for days, name in _HOLDS]


def end_of_hold(until: date | None, day: date | None) -> datetime:
    """The end that those fields say: `day` before `until`, without either until somebody releases them."""
    ends = day or until
    return holds.FOR_GOOD if ends is None else datetime(ends.year, ends.month, ends.day, tzinfo=UTC)


def gone() -> Problem:
    """Nobody has this id (any more)."""
    return Problem(HTTPStatus.NOT_FOUND, "there is no such supplier; they may have been erased")
