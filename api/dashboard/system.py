"""The system: lag and health of the services, dead letters to mend, the policy in force and its shadow."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Form, Query, Request
from starlette.responses import RedirectResponse, Response

from api.dashboard import letters
from api.dashboard.lag import Lag, lag
from api.dashboard.rendering import PageRoute, address, csv_of, each, page
from api.problems import Problem
from api.services import InServices
from api.session import CheckedCsrf, SignedIn
from store import dashboard_system as store
from store import shadow
from store.audit import Actor
from store.outbox import Event
from topics.catalog import ACTIVITY
from topics.outcome import Refusal

if TYPE_CHECKING:
    from psycopg import AsyncConnection

router = APIRouter(route_class=PageRoute, include_in_schema=False)

STILL_MS = 24 * 3_600_000
"""Without a change of level for this long something may stand still."""
DIFFERENCES, DIFFERENCES_CSV = 20, 10_000
TRIGGER_COLUMNS = ("name", "on", "channel", "template", "kind", "delay_ms", "max_a_week", "priority")
DIFFERENCE_COLUMNS = (
    "id", "supplier_id", "trigger", "signal_at", "live_status", "live_reason", "shadow_status", "shadow_reason",
)  # fmt: skip
LETTER_COLUMNS = (
    "at",
    "partition",
    "offset",
    "origin",
    "key",
    "code",
    "error",
    "bytes",
    "published_at",
    "published_by",
)
Number = Annotated[int, Query(ge=0, le=2**62)]


@router.get("/dashboard/system")
async def system(request: Request, agent: SignedIn, services: InServices) -> Response:
    """How the services do; what Kafka has to say is loaded into the page afterwards."""
    now_ms = services.clock.now_ms()
    async with services.transaction(agent) as conn:
        delivery = await store.delivery(conn, now_ms)
        newest = await store.newest_change(conn)
        compared = await shadow.compare(conn)
        differences = await shadow.differences(conn, compared, DIFFERENCES) if compared else []
    async with services.writer_pool.connection() as conn:
        waiting = await store.outbox_waiting(conn)
    return page(
        request,
        "system",
        delivery=delivery,
        outbox=waiting,
        newest=newest,
        still=newest is not None and now_ms - newest.timestamp() * 1000 > STILL_MS,
        counted=store.COUNTED,
        policy=services.policy,
        policy_file=services.settings.policy,
        shadow=compared,
        differences=differences,
    )


@router.get("/dashboard/system/kafka")
async def kafka(request: Request, agent: SignedIn, services: InServices) -> Response:
    """Lag and the newest dead letters: a part of the page, as Kafka may take its time."""
    asked = await asyncio.gather(
        lag(services.settings), letters.newest(services.settings), return_exceptions=True
    )
    found: list[letters.Letter] | None = None
    problem = None
    if isinstance(asked[1], letters.LettersAwayError):
        problem = str(asked[1])
    elif isinstance(asked[1], BaseException):
        raise asked[1]
    else:
        found = asked[1]
    if isinstance(asked[0], BaseException):
        raise asked[0]
    async with services.transaction(agent) as conn:
        published = await _published(conn, found or [])
    return page(
        request,
        "_kafka",
        lag=asked[0],
        letters=found,
        problem=problem,
        published=published,
        reasons=letters.reasons(found or []),
        most=letters.NEWEST,
    )


@router.get("/dashboard/system/lag.csv")
async def lag_csv(agent: SignedIn, services: InServices) -> Response:
    """Lag by topic as a table."""
    del agent
    found: Lag = await lag(services.settings)
    lines = [{"topic": one.topic, "records": one.records, "behind": one.behind} for one in found.topics]
    return csv_of("lag", ("topic", "records", "behind"), each(lines))


@router.get("/dashboard/system/policy.csv")
async def policy_csv(agent: SignedIn, services: InServices) -> Response:
    """The triggers of the policy in force as a table."""
    del agent
    return csv_of("policy", TRIGGER_COLUMNS, each(one.model_dump() for one in services.policy.triggers))


@router.get("/dashboard/system/shadow.csv")
async def shadow_csv(agent: SignedIn, services: InServices) -> Response:
    """The newest messages that live policy and shadow decide differently, as a table."""
    async with services.transaction(agent) as conn:
        compared = await shadow.compare(conn)
        found = await shadow.differences(conn, compared, DIFFERENCES_CSV) if compared else []
    return csv_of("shadow", DIFFERENCE_COLUMNS, each(found))


@router.get("/dashboard/system/dead-letters.csv")
async def letters_csv(agent: SignedIn, services: InServices) -> Response:
    """The newest dead letters as a table, without their values."""
    found = await _newest(services)
    async with services.transaction(agent) as conn:
        published = await _published(conn, found)
    lines = [
        {name: getattr(letter, name) for name in LETTER_COLUMNS if hasattr(letter, name)}
        | {"bytes": letter.size}
        | _when_published(published.get((letter.partition, letter.offset)))
        for letter in found
    ]
    return csv_of("dead-letters", LETTER_COLUMNS, each(lines))


@router.get("/dashboard/system/dead-letter")
async def dead_letter(
    request: Request, agent: SignedIn, services: InServices, partition: Number, offset: Number
) -> Response:
    """One dead letter: why it was refused, what it says, and a form to mend it."""
    letter = await _letter(services, partition, offset)
    async with services.transaction(agent) as conn:
        published = (await _published(conn, [letter])).get((partition, offset))
    return _letter_page(request, letter, published, letter.editable())


@router.post("/dashboard/system/dead-letter", dependencies=[CheckedCsrf])
async def publish_letter(
    request: Request,
    agent: SignedIn,
    services: InServices,
    partition: Annotated[int, Form(ge=0, le=2**62)],
    offset: Annotated[int, Form(ge=0, le=2**62)],
    text: Annotated[str, Form(max_length=letters.LONGEST_SHOWN)],
    act: Annotated[Literal["check", "publish"], Form()] = "publish",
) -> Response:
    """Judge the mended letter; publish it to the topic it came from if nothing is wrong with it any more."""
    letter = await _letter(services, partition, offset)
    now = services.clock.now_ms()
    # A letter that names no topic of ours came from where events come from, or from nowhere that we could guess better.
    mended = letters.judge(letter.topic or ACTIVITY, text, now)
    async with services.transaction(agent) as conn:
        published = (await _published(conn, [letter])).get((partition, offset))
    if isinstance(mended, Refusal) or act == "check":
        refusal = mended.reason if isinstance(mended, Refusal) else None
        code = HTTPStatus.UNPROCESSABLE_ENTITY if refusal and act == "publish" else HTTPStatus.OK
        return _letter_page(
            request, letter, published, text, refusal=refusal, sound=refusal is None, code=code
        )
    await services.publish([Event(mended.topic, mended.key, mended.value)])
    async with services.transaction(agent) as conn:
        await store.note_published(
            conn, Actor(agent.role, agent.subject), (partition, offset), letter.at, _supplier(mended.key), now
        )
    where = address("/dashboard/system/dead-letter", partition=partition, offset=offset, said="published")
    return RedirectResponse(where, HTTPStatus.SEE_OTHER)


def _letter_page(
    request: Request,
    letter: letters.Letter,
    published: dict[str, Any] | None,
    text: str,
    *,
    refusal: str | None = None,
    sound: bool = False,
    code: HTTPStatus = HTTPStatus.OK,
) -> Response:
    return page(
        request,
        "dead_letter",
        code,
        letter=letter,
        published=published,
        text=text,
        refusal=refusal,
        sound=sound,
        target=letter.topic or ACTIVITY,
    )


async def _newest(services: InServices) -> list[letters.Letter]:
    try:
        return await letters.newest(services.settings)
    except letters.LettersAwayError as error:
        raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, str(error)) from None


async def _letter(services: InServices, partition: int, offset: int) -> letters.Letter:
    try:
        found = await letters.one(services.settings, partition, offset)
    except letters.LettersAwayError as error:
        raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, str(error)) from None
    if found is None:
        raise Problem(
            HTTPStatus.NOT_FOUND, "there is no such dead letter; old ones are deleted after 90 days"
        )
    return found


async def _published(
    conn: AsyncConnection, found: list[letters.Letter]
) -> dict[store.Position, dict[str, Any]]:
    """Which of the letters were published again; the append time tells a topic made anew from the one before it."""
    noted = await store.published_letters(conn, [(letter.partition, letter.offset) for letter in found])
    stamps = {(letter.partition, letter.offset): letter.at for letter in found}
    return {position: row for position, row in noted.items() if row["stamp"] == stamps[position]}


def _when_published(row: dict[str, Any] | None) -> dict[str, Any]:
    return {"published_at": row["at"], "published_by": row["published_by"]} if row else {}


def _supplier(key: str) -> str | None:
    """The key as a supplier's id, for the audit log."""
    try:
        return str(UUID(key))
    except ValueError:
        return None
