"""The system: lag and health of the services, dead letters to mend, the shadow of the policy in force."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Form, Query, Request
from starlette.responses import RedirectResponse, Response

from agents.acts import dead_letter_log as log
from agents.acts import dead_letters as letters
from api.dashboard.fresh.lag import Lag, lag
from api.dashboard.rendering import PageRoute, address, csv_of, each, page
from api.dashboard.session import CheckedCsrf, SignedIn
from api.problems import Problem
from api.services import InServices
from runtime.configuration import vocabulary_of
from store.dashboard import system as store
from store.messages import shadow
from topics.catalog import ACTIVITY
from topics.outcome import Refusal

router = APIRouter(route_class=PageRoute, include_in_schema=False)

STILL_MS = 24 * 3_600_000
"""Without a change of level for this long something may stand still."""
DIFFERENCES, DIFFERENCES_CSV = 20, 10_000
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
        shadow=compared,
        differences=differences,
    )


@router.get("/dashboard/system/kafka")
async def kafka(request: Request, agent: SignedIn, services: InServices) -> Response:
    """Lag and the newest dead letters: a part of the page, as Kafka may take its time."""
    asked = await asyncio.gather(
        lag(services.settings), log.newest(services.settings), return_exceptions=True
    )
    found: list[letters.Letter] | None = None
    problem = None
    if isinstance(asked[1], log.LettersAwayError):
        problem = str(asked[1])
    elif isinstance(asked[1], BaseException):
        raise asked[1]
    else:
        found = asked[1]
    if isinstance(asked[0], BaseException):
        raise asked[0]
    async with services.transaction(agent) as conn:
        published = await letters.published(conn, found or [])
    return page(
        request,
        "_kafka",
        lag=asked[0],
        letters=found,
        problem=problem,
        published=published,
        reasons=letters.reasons(found or []),
        most=log.NEWEST,
    )


@router.get("/dashboard/lag.csv")
async def lag_csv(agent: SignedIn, services: InServices) -> Response:
    """Lag by topic as a table."""
    del agent
    found: Lag = await lag(services.settings)
    lines = [{"topic": one.topic, "records": one.records, "behind": one.behind} for one in found.topics]
    return csv_of("lag", ("topic", "records", "behind"), each(lines))


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
        published = await letters.published(conn, found)
    lines = [
        {name: getattr(letter, name) for name in LETTER_COLUMNS if hasattr(letter, name)}
        | {"bytes": letter.size}
        | _when_published(published.get(letter.name))
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
        published = (await letters.published(conn, [letter])).get(letter.name)
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
    mended = letters.judge(letter, text, now, vocabulary_of(services.policy.rules))
    if isinstance(mended, Refusal) or act == "check":
        async with services.transaction(agent) as conn:
            published = (await letters.published(conn, [letter])).get(letter.name)
        refusal = mended.reason if isinstance(mended, Refusal) else None
        code = HTTPStatus.UNPROCESSABLE_ENTITY if refusal and act == "publish" else HTTPStatus.OK
        return _letter_page(
            request, letter, published, text, refusal=refusal, sound=refusal is None, code=code
        )
    # One transaction: the note that it was published, who changed what, and the event in the outbox.
    async with services.transaction(agent) as conn:
        actor = agent.actor
        if not await letters.publish_again(conn, actor, letter, mended, letters.supplier_of(mended.key), now):
            raise Problem(HTTPStatus.CONFLICT, "this letter was published again already; each is only once")
    services.wake_publisher()
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
        return await log.newest(services.settings)
    except log.LettersAwayError as error:
        raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, str(error)) from None


async def _letter(services: InServices, partition: int, offset: int) -> letters.Letter:
    try:
        found = await log.one(services.settings, partition, offset)
    except log.LettersAwayError as error:
        raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, str(error)) from None
    if found is None:
        raise Problem(
            HTTPStatus.NOT_FOUND, "there is no such dead letter; old ones are deleted after 90 days"
        )
    return found


def _when_published(row: dict[str, Any] | None) -> dict[str, Any]:
    return {"published_at": row["at"], "published_by": row["published_by"]} if row else {}
