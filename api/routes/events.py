"""`POST /api/events`: activity events over HTTP, by the CloudEvents HTTP binding, onto `supplier.activity`.

One event (structured or binary mode) or a batch. All of it is checked with the same code that the workers read
records with, before any of it is published: a batch with one bad event publishes nothing.
"""

from __future__ import annotations

import re
from collections import Counter
from http import HTTPStatus
from typing import Any
from urllib.parse import unquote_to_bytes

import msgspec
from fastapi import APIRouter, Request
from pydantic import Field

from api.auth import ServiceOnly
from api.bodies import media_type, read_body
from api.models import Answer
from api.problems import Problem, documented
from api.services import InServices
from runtime.configuration import vocabulary_of
from store.outbox import Event
from topics.activity_types import Vocabulary
from topics.catalog import ACTIVITY
from topics.decoding import MAX_VALUE_BYTES, Refusal, decode, type_of
from topics.foreign import meant
from topics.judging import unreadable
from topics.lines import read_line

router = APIRouter(prefix="/api/events", tags=["events"])

STRUCTURED = "application/cloudevents+json"
BATCH = "application/cloudevents-batch+json"
MOST_NAMED = 20
"""Bad events of a batch that an answer names."""
_ATTRIBUTE = re.compile(r"[a-z0-9]{1,64}")
_NOT_FROM_HEADERS = frozenset({"data", "data_base64", "datacontenttype"})

_EXAMPLE = {
    "specversion": "1.0",
    "id": "4711",
    "source": "/wedsync/forms",
    "type": "form.sent",
    "subject": "7d0f4c1e-5a0b-4a8e-9b57-0c6f6a1f2d10",
    "time": "2026-01-05T09:00:00Z",
    "data": {"form_id": "enquiry", "client_id": "c1"},
}
_EVENT_SCHEMA = {
    "type": "object",
    "description": "An activity event; its types and their data are in topics/schemas/supplier.activity.schema.json.",
    "required": ["specversion", "id", "source", "type", "subject", "time"],
    "properties": {
        "specversion": {"const": "1.0"},
        "id": {"type": "string", "minLength": 1},
        "source": {"type": "string", "minLength": 1},
        "type": {"type": "string", "minLength": 1},
        "subject": {"type": "string", "format": "uuid", "description": "The supplier's id, in lower case."},
        "time": {"type": "string", "format": "date-time"},
        "data": {
            "description": "What the type says; an object. Not looked at where the type is not known here."
        },
    },
}
_REQUEST_BODY = {
    "required": True,
    "content": {
        STRUCTURED: {"schema": _EVENT_SCHEMA, "example": _EXAMPLE},
        BATCH: {"schema": {"type": "array", "items": _EVENT_SCHEMA}, "example": [_EXAMPLE]},
    },
}


class UnknownType(Answer):
    """A type of event that is taken and, until a newer version knows it, only counted."""

    type: str = Field(examples=["form.creatd"])
    events: int = Field(ge=1, description="How many of these events have it.", examples=[1])
    did_you_mean: str | None = Field(
        default=None, description="A type that it looks like a misspelling of.", examples=["form.created"]
    )


class EventsAccepted(Answer):
    """How many events Kafka has taken."""

    accepted: int = Field(ge=0, examples=[1])
    unknown_types: list[UnknownType] | None = Field(
        default=None, description="Types that nobody here knows; absent where there are none."
    )


@router.post(
    "",
    status_code=HTTPStatus.ACCEPTED,
    response_model_exclude_none=True,
    openapi_extra={"requestBody": _REQUEST_BODY},
    responses=documented(
        HTTPStatus.UNAUTHORIZED,
        HTTPStatus.FORBIDDEN,
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
        HTTPStatus.UNPROCESSABLE_ENTITY,
        HTTPStatus.TOO_MANY_REQUESTS,
        HTTPStatus.SERVICE_UNAVAILABLE,
    ),
)
async def publish(_: ServiceOnly, request: Request, services: InServices) -> EventsAccepted:
    """Publish one event or a batch; 202 once Kafka has all of it.

    Binary mode is read too: the attributes in `ce-` headers, the data as `application/json`. An event's `time` is from
    1970 on and at most 5 minutes ahead.

    Events of a type that nobody here knows are taken too, and named: they count for nothing, so look at the spelling.

    After a 503, or no answer, send the same again: an event counts once by its `source` and `id`.
    """
    kind, charset = media_type(request)
    attributes = _attributes(request)
    if kind not in {STRUCTURED, BATCH} and not (attributes and _is_json(kind)):
        raise _not_understood(kind, attributes)
    if charset not in {"", "utf-8", "utf8"}:
        raise Problem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"charset {charset} is not read: send JSON in UTF-8")
    body = await read_body(request, MAX_VALUE_BYTES)
    if kind not in {STRUCTURED, BATCH}:
        body = _structured(attributes, kind, body)
    values = _split(body) if kind == BATCH else [body]
    vocabulary = vocabulary_of(services.policy.rules)
    events = _checked(values, services.clock.now_ms(), vocabulary, is_batch=kind == BATCH)
    await services.publish(events)
    return EventsAccepted(accepted=len(events), unknown_types=_unknown(events, vocabulary) or None)


def _checked(values: list[bytes], now_ms: int, vocabulary: Vocabulary, *, is_batch: bool) -> list[Event]:
    """The records to publish; 422 with the place and the reason of each that is no good event."""
    events, refused = [], []
    for index, value in enumerate(values):
        topic, key, line = read_line(value)
        verdict = decode(key if topic == ACTIVITY else None, line, (), now_ms, vocabulary)
        if isinstance(verdict, Refusal):
            refused.append((index, verdict))
        elif key is not None:
            # Of an unknown type too: a newer producer must not be held up by an older API.
            events.append(Event(ACTIVITY, key.decode(), line))
    if refused:
        raise _bad(refused, is_batch=is_batch)
    return events


def _unknown(events: list[Event], vocabulary: Vocabulary) -> list[UnknownType]:
    """The types that nobody knows, the most frequent first, at most MOST_NAMED of them."""
    types = Counter(type_of(event.value, ()) for event in events)
    unknown = [(name, count) for name, count in types.most_common() if name not in vocabulary.types]
    return [
        UnknownType(type=name, events=count, did_you_mean=meant(name, vocabulary.types))
        for name, count in unknown[:MOST_NAMED]
    ]


def _bad(refused: list[tuple[int, Refusal]], *, is_batch: bool) -> Problem:
    if any(verdict.code == "too_large" for _, verdict in refused):
        return Problem(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"an event has more than {MAX_VALUE_BYTES:,} bytes"
        )
    index, first = refused[0]
    detail = first.reason
    if is_batch:
        others = f"; {len(refused) - 1} more are wrong" if len(refused) > 1 else ""
        detail = f"event {index} (counted from 0): {first.reason}{others}; nothing was published"
    errors = [
        {"index": place, "code": verdict.code, "detail": verdict.reason}
        for place, verdict in refused[:MOST_NAMED]
    ]
    return Problem(HTTPStatus.UNPROCESSABLE_ENTITY, detail, errors=errors)


def _split(body: bytes) -> list[bytes]:
    """The events of a batch, each as it came."""
    if refusal := unreadable(body):
        raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, refusal.reason)
    try:
        return [bytes(each) for each in msgspec.json.decode(body, type=list[msgspec.Raw])]
    except msgspec.ValidationError:
        detail = "not_json: a batch is a JSON array of CloudEvents"
        raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, detail) from None


def _attributes(request: Request) -> dict[str, str]:
    """The attributes of binary mode: `ce-` headers, percent-decoded as the HTTP binding says."""
    found = {}
    for name, value in request.headers.raw:
        if not name.startswith(b"ce-"):
            continue
        try:
            attribute, text = name[3:].decode("ascii"), unquote_to_bytes(value).decode()
        except UnicodeDecodeError:
            raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, f"header {name!r} is not UTF-8 text") from None
        if _ATTRIBUTE.fullmatch(attribute) and attribute not in _NOT_FROM_HEADERS:
            found[attribute] = text
    return found


def _structured(attributes: dict[str, str], kind: str, body: bytes) -> bytes:
    """The same event in structured mode, as it goes onto the topic; its data as it came."""
    event: dict[str, Any] = dict(attributes)
    if body:
        # Read before it is put into the event, so that it can't bring attributes of its own.
        if refusal := unreadable(body):
            error = {"index": 0, "code": refusal.code, "detail": refusal.reason}
            raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, f"data: {refusal.reason}", errors=[error])
        event |= {"datacontenttype": kind or "application/json", "data": msgspec.Raw(body)}
    return msgspec.json.encode(event)


def _is_json(kind: str) -> bool:
    return kind in {"", "application/json"} or (
        kind.endswith("+json") and not kind.startswith("application/cloudevents")
    )


def _not_understood(kind: str, attributes: dict[str, str]) -> Problem:
    sent = f"{kind} is" if kind else "a body without Content-Type is"
    hint = "" if attributes else "; application/json is read with the attributes in `ce-` headers"
    return Problem(
        HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
        f"{sent} not read here: send {STRUCTURED}, or {BATCH} for several{hint}",
        headers={"Accept-Post": f"{STRUCTURED}, {BATCH}, application/json"},
    )
