"""What the dashboard's forms about one supplier have in common."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated
from uuid import UUID

from fastapi import Form, Path
from starlette.responses import RedirectResponse

from api.dashboard.rendering import address
from api.problems import Problem

LONGEST_NOTE = 4000
SupplierId = Annotated[UUID, Path(alias="supplierId")]
Note = Annotated[str, Form(max_length=LONGEST_NOTE)]


def clean(text: str) -> str:
    """Without the one character that Postgres can't keep, and without blank ends."""
    return text.replace("\x00", "").strip()


def back(supplier_id: UUID, said: str) -> RedirectResponse:
    """Lead back to their page, which says what was done."""
    return RedirectResponse(address(f"/dashboard/suppliers/{supplier_id}", said=said), HTTPStatus.SEE_OTHER)


def gone() -> Problem:
    """Nobody has this id (any more)."""
    return Problem(HTTPStatus.NOT_FOUND, "there is no such supplier; they may have been erased")
