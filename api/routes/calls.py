"""Calls with a support agent: booking, looking at, moving, cancelling and completing them."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus
from typing import Annotated, Any, Self
from uuid import UUID, uuid4, uuid5

from fastapi import APIRouter, Header, Path, Response
from psycopg import errors
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, WithJsonSchema, model_validator
from pydantic.alias_generators import to_camel

from agents.acts import calls as desk
from api.auth import AnyCaller, Caller, no_such_supplier, own
from api.limits import too_often
from api.problems import Problem, documented
from api.services import InServices
from scoring.decisions.calls import INTERACTION_TYPES, Outcome, Reason, Status, Urgency
from scoring.decisions.limits import TooOftenError
from store.people import calls as store
from store.people.calls import Call
from topics.envelope import Timestamp
from topics.time import format_time, parse_time

router = APIRouter(prefix="/api/support", tags=["calls"])

MOST_TIMES = 20
LONGEST_NOTES = 4000
_REASONS = {interaction: reason for reason, interaction in INTERACTION_TYPES.items()}
CallId = Annotated[UUID, Path(alias="id")]


def _storable(text: str) -> str:
    if "\x00" in text:
        raise ValueError("contains a NUL character, which can't be stored")
    return text


Notes = Annotated[str, Field(max_length=LONGEST_NOTES), AfterValidator(_storable)]


CallTime = Annotated[
    Timestamp,
    WithJsonSchema(
        {
            "type": "string",
            "format": "date-time",
            "pattern": "^(19[7-9][0-9]|[2-9][0-9]{3})-",
            "description": "RFC 3339 with zone, from 1970 on.",
        }
    ),
]


class _Body(BaseModel):
    """JSON in camelCase."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True)


class ScheduleCallRequest(_Body):
    """A wish for a call. Times are RFC 3339 with zone, the one they like best first."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=True,
        json_schema_extra={
            "examples": [
                {
                    "supplierId": "7d0f4c1e-5a0b-4a8e-9b57-0c6f6a1f2d10",
                    "preferredTimes": ["2026-01-20T10:00:00Z", "2026-01-20T15:00:00Z"],
                    "reason": "onboarding",
                    "urgency": "medium",
                    "notes": "my client list",
                }
            ]
        },
    )

    supplier_id: UUID
    preferred_times: list[CallTime] = Field(max_length=MOST_TIMES)
    reason: Reason
    urgency: Urgency
    notes: Notes | None = None


class CallUpdate(_Body):
    """What to change of a call: a new time, or a new status, or what agents say of it."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=True,
        extra="forbid",
        json_schema_extra={"minProperties": 1, "examples": [{"status": "cancelled"}]},
    )

    scheduled_at: CallTime | None = None
    status: Status | None = None
    outcome: Outcome | None = None
    satisfaction_score: int | None = Field(default=None, ge=1, le=5)
    duration_minutes: int | None = Field(default=None, ge=0, le=24 * 60)
    notes: Notes | None = None
    agent_id: UUID | None = None

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if not self.model_fields_set:
            raise ValueError("give at least one thing to change")
        return self


class PreferredTime(_Body):
    """What became of a preferred time: `confirmed`, `past`, `outside_hours`, `taken`, `too_far`, or just `free`."""

    time: str
    verdict: str


class CallResponse(_Body):
    """A call. `confirmed` is false while it has no time, and once it is cancelled.

    `proposedTimes` are free times to move it to.
    """

    id: str
    supplier_id: str
    interaction_type: str
    reason: str | None
    status: str
    confirmed: bool
    scheduled_at: str | None
    ends_at: str | None
    completed_at: str | None
    duration_minutes: int | None
    preferred_times: list[str]
    urgency: str | None
    notes: str | None
    outcome: str | None
    satisfaction_score: int | None
    agent_id: str | None
    intervention_id: str | None
    created_at: str


class ScheduleCallResponse(CallResponse):
    """A call as it was booked."""

    considered: list[PreferredTime]
    proposed_times: list[str]


@router.post(
    "/schedule-call",
    status_code=HTTPStatus.CREATED,
    responses={HTTPStatus.OK: {"model": ScheduleCallResponse, "description": "The same request came before."}}
    | documented(
        HTTPStatus.UNAUTHORIZED,
        HTTPStatus.NOT_FOUND,
        HTTPStatus.CONFLICT,
        HTTPStatus.UNPROCESSABLE_ENTITY,
        HTTPStatus.TOO_MANY_REQUESTS,
    ),
)
async def schedule_call(
    body: ScheduleCallRequest,
    caller: AnyCaller,
    services: InServices,
    response: Response,
    idempotency_key: Annotated[str | None, Header(max_length=255)] = None,
) -> ScheduleCallResponse:
    """Book a call at the first preferred time within agents' hours that is free, and invite them by email.

    Where none fits the call waits for a time: `confirmed` is false and `proposedTimes` are free ones. A request that
    is repeated with the same `Idempotency-Key` books once.
    """
    supplier_id = own(caller, body.supplier_id)
    request = desk.CallRequest(
        call_id=str(uuid5(UUID(supplier_id), f"call:{idempotency_key}") if idempotency_key else uuid4()),
        supplier_id=supplier_id,
        preferred_times=tuple(parse_time(time) for time in body.preferred_times),
        reason=body.reason,
        urgency=body.urgency,
        notes=body.notes or None,
    )
    try:
        async with services.transaction(caller) as conn:
            booked = await desk.book(conn, request, caller.actor, services.clock.now_ms(), services.policy)
    except (LookupError, errors.ForeignKeyViolation):  # the latter: erased this very moment
        raise no_such_supplier() from None
    except desk.CallRefusedError as error:
        raise Problem(HTTPStatus.CONFLICT, str(error)) from None
    except TooOftenError as error:
        raise too_often(error, services.clock.now_ms()) from None
    services.wake_publisher()
    if not booked.is_new:
        response.status_code = HTTPStatus.OK
    return ScheduleCallResponse(
        **_fields(booked.call, caller),
        considered=[PreferredTime(time=format_time(at), verdict=verdict) for at, verdict in booked.verdicts],
        proposed_times=_texts(booked.proposals),
    )


@router.get(
    "/calls/{id}",
    responses=documented(HTTPStatus.UNAUTHORIZED, HTTPStatus.NOT_FOUND, HTTPStatus.UNPROCESSABLE_ENTITY),
)
async def get_call(call_id: CallId, caller: AnyCaller, services: InServices) -> CallResponse:
    """Give one call; suppliers see their own."""
    async with services.transaction(caller) as conn:
        call = await store.find(conn, str(call_id))
    if call is None:
        raise _no_such_call()
    return CallResponse(**_fields(call, caller))


@router.patch(
    "/calls/{id}",
    responses=documented(
        HTTPStatus.UNAUTHORIZED,
        HTTPStatus.FORBIDDEN,
        HTTPStatus.NOT_FOUND,
        HTTPStatus.CONFLICT,
        HTTPStatus.UNPROCESSABLE_ENTITY,
        HTTPStatus.TOO_MANY_REQUESTS,
    ),
)
async def change_call(
    call_id: CallId, body: CallUpdate, caller: AnyCaller, services: InServices
) -> CallResponse:
    """Move a call (`scheduledAt`), cancel, complete or annotate it; suppliers move and cancel their own.

    A call that is completed, cancelled or missed stays so (409).
    """
    wanted = desk.ChangeRequest(
        scheduled_at=None if body.scheduled_at is None else parse_time(body.scheduled_at),
        status=body.status,
        outcome=body.outcome,
        satisfaction_score=body.satisfaction_score,
        duration_minutes=body.duration_minutes,
        notes=body.notes,
        agent_id=None if body.agent_id is None else str(body.agent_id),
    )
    try:
        async with services.transaction(caller) as conn:
            call = await desk.change(
                conn, str(call_id), wanted, caller.actor, services.clock.now_ms(), services.policy
            )
    except LookupError:
        raise _no_such_call() from None
    except desk.NotForSuppliersError as error:
        raise Problem(HTTPStatus.FORBIDDEN, str(error)) from None
    except TooOftenError as error:
        raise too_often(error, services.clock.now_ms()) from None
    except desk.CallRefusedError as error:
        status = HTTPStatus.CONFLICT if error.conflict else HTTPStatus.UNPROCESSABLE_ENTITY
        raise Problem(status, str(error), proposedTimes=_texts(error.proposals)) from None
    services.wake_publisher()
    return CallResponse(**_fields(call, caller))


def _fields(call: Call, caller: Caller) -> dict[str, Any]:
    # The notes of a task that the agents were given are theirs: they speak of scores and risk.
    hidden = not caller.is_staff and call.interaction_type == "churn_prevention"
    return {
        "id": call.id,
        "supplier_id": call.supplier_id,
        "interaction_type": call.interaction_type,
        "reason": _REASONS.get(call.interaction_type),
        "status": call.status,
        "confirmed": call.scheduled_at is not None and call.status != "cancelled",
        "scheduled_at": _text(call.scheduled_at),
        "ends_at": _text(call.ends_at),
        "completed_at": _text(call.completed_at),
        "duration_minutes": call.duration_minutes,
        "preferred_times": _texts(call.preferred_times),
        "urgency": call.urgency,
        "notes": None if hidden else call.notes,
        "outcome": call.outcome,
        "satisfaction_score": call.satisfaction_score,
        "agent_id": call.agent_id,
        "intervention_id": call.intervention_id,
        "created_at": format_time(call.created_at),
    }


def _no_such_call() -> Problem:
    return Problem(HTTPStatus.NOT_FOUND, "there is no such call")


def _text(at_ms: int | None) -> str | None:
    return None if at_ms is None else format_time(at_ms)


def _texts(times: Sequence[int]) -> list[str]:
    return [format_time(at) for at in times]
