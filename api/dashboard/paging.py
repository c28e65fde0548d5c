"""Where a list goes on: the key of its last row, as the addresses of the dashboard carry it in `after`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from http import HTTPStatus
from uuid import UUID

from api.problems import Problem
from store.dashboard.population import Moment, Row


def moment_of(text: str) -> Moment:
    """Read `<time>|<id>`; empty is the beginning. 422 for anything else."""
    if not text:
        return Moment()
    at, _, row_id = text.partition("|")
    try:
        moment = Moment(datetime.fromisoformat(at), str(UUID(row_id)))
    except ValueError:
        raise _lost() from None
    if moment.at.tzinfo is None:
        raise _lost()
    return moment


def next_moment(found: Sequence[Row], page: int, column: str) -> str | None:
    """What to continue after, if more than a page was found; `column` is the time that orders them."""
    return f"{found[page - 1][column].isoformat()}|{found[page - 1]['id']}" if len(found) > page else None


def _lost() -> Problem:
    return Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "this address leads nowhere; start the list again")
