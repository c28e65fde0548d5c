"""Milestones: which a supplier has reached, how far they are with the others, and reporting one."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any
from uuid import UUID

from fastapi import APIRouter, Request, Response
from pydantic import ConfigDict, Field

from api.answers import NOT_MODIFIED, revalidated
from api.auth import AnyCaller, Caller, OwnSupplier, no_such_supplier, own
from api.models import Answer, Asked
from api.problems import Problem, documented
from api.routes.health import Time
from api.services import InServices, Services
from scoring.advice.book import book_of
from scoring.advice.milestones import WHOLE, milestones
from scoring.health.rules import Rules
from scoring.health.signals import MILESTONE_ACHIEVED
from scoring.identity import signal_id
from store import audit, score, suppliers
from store import milestones as store
from store.outbox import Event
from topics.catalog import ACTIVITY
from topics.encoding import SOURCE, encode_event
from topics.envelope import Milestone
from topics.time import format_time

router = APIRouter(
    prefix="/api/success",
    tags=["milestones"],
    responses=documented(
        HTTPStatus.UNAUTHORIZED,
        HTTPStatus.NOT_FOUND,
        HTTPStatus.UNPROCESSABLE_ENTITY,
        HTTPStatus.TOO_MANY_REQUESTS,
    ),
)

REPORTED = "milestone.reported"


class MilestoneRequest(Asked):
    """A milestone that somebody says was reached."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"supplierId": "7d0f4c1e-5a0b-4a8e-9b57-0c6f6a1f2d10", "milestoneType": "first_payment"}
            ]
        }
    )

    supplier_id: UUID = Field(examples=["7d0f4c1e-5a0b-4a8e-9b57-0c6f6a1f2d10"])
    milestone_type: Milestone
    metadata: dict[str, Any] | None = Field(
        default=None,
        description="The caller's own notes. Not kept: topics carry ids only, and these may be personal.",
    )


class MilestoneReached(Answer):
    """A milestone as it is stored."""

    id: str = Field(json_schema_extra={"format": "uuid"})
    type: Milestone
    achieved_at: Time
    celebrated: bool


class Celebration(Answer):
    """What to say to them now."""

    message: str = Field(examples=["Congratulations on creating your first form!"])
    reward: str | None = Field(default=None, description="What to suggest next, as a reward for it.")


class MilestoneResponse(Answer):
    """The milestone, and how to celebrate it while nobody has."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "success": True,
                    "milestone": {
                        "id": "4a3c2a3e-7a35-5a2c-8f0a-6f0f0c3d9b11",
                        "type": "first_form",
                        "achievedAt": "2026-01-12T08:30:00.000Z",
                        "celebrated": False,
                    },
                    "celebration": {"message": "Congratulations on creating your first form!"},
                }
            ]
        }
    )

    success: bool
    milestone: MilestoneReached
    celebration: Celebration | None = None


class MilestoneProgress(Answer):
    """A milestone as `<milestone-card>` shows it."""

    type: Milestone
    title: str
    achieved: bool
    achieved_at: Time | None
    celebrated: bool
    progress: float = Field(ge=0, le=1, examples=[0.4])
    next_step: str = Field(description="What is left to do; what others do next, once it is reached.")
    action_text: str
    action_url: str = Field(description="Where the product does it: a path of its own.")


class MilestonesResponse(Answer):
    """All milestones there are."""

    supplier_id: str
    milestones: list[MilestoneProgress]


@router.post(
    "/milestone",
    response_model=MilestoneResponse,
    response_model_exclude_none=True,
    responses={
        HTTPStatus.CREATED: {
            "model": MilestoneResponse,
            "description": "It was not known: the report is on its way, the row follows.",
        }
    }
    | documented(HTTPStatus.CONFLICT, HTTPStatus.SERVICE_UNAVAILABLE),
)
async def report(
    body: MilestoneRequest, caller: AnyCaller, services: InServices, response: Response
) -> MilestoneResponse:
    """Say that a milestone was reached: 200 with the one that is known, 201 for what a service or agent reports.

    A supplier can't award themselves one: that is 409 until their own events have earned it. A report may be
    repeated; the milestone is awarded once.
    """
    there_are = services.policy.rules.milestones
    if body.milestone_type not in there_are:
        detail = f"milestoneType: there is no such milestone; there are {', '.join(there_are)}"
        error = {"field": "milestoneType", "detail": detail}
        raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, detail, errors=[error])
    supplier_id = own(caller, body.supplier_id)
    async with services.transaction(caller) as conn:
        known = await store.of_supplier(conn, supplier_id, body.milestone_type)
        if known:
            return _response(known[0], services.policy.rules)
        is_known = await score.is_known(conn, supplier_id)
    if not caller.is_staff:
        if not is_known:
            raise no_such_supplier()
        raise Problem(
            HTTPStatus.CONFLICT, "this milestone is not reached yet: it comes by itself with what earns it"
        )
    if not is_known:
        await _refuse_the_erased(services, supplier_id)
    reported = await _publish(services, caller, supplier_id, body.milestone_type)
    response.status_code = HTTPStatus.CREATED
    return _response(reported, services.policy.rules)


@router.get("/milestones/{supplierId}", response_model=MilestonesResponse, responses=NOT_MODIFIED)
async def of_supplier(
    supplier_id: OwnSupplier, caller: AnyCaller, services: InServices, request: Request
) -> Response:
    """Give every milestone with its progress (0 to 1) and what comes next."""
    async with services.reading(caller) as conn:
        known = await score.read_known(conn, supplier_id)
        if known is None:
            raise no_such_supplier()
        reached = {each.type: each for each in await store.of_supplier(conn, supplier_id)}
    answer = MilestonesResponse(
        supplier_id=supplier_id,
        milestones=[
            MilestoneProgress(
                type=each.type,
                title=each.title,
                achieved=each.achieved,
                achieved_at=format_time(reached[each.type].at) if each.achieved else None,
                celebrated=each.achieved and reached[each.type].celebrated,
                progress=each.progress / WHOLE,
                next_step=each.next_step,
                action_text=each.action_text,
                action_url=each.action_path,
            )
            for each in milestones(known.snapshot, reached, rules=services.policy.rules)
        ],
    )
    return revalidated(request, answer)


async def _publish(
    services: Services, caller: Caller, supplier_id: str, milestone: Milestone
) -> store.Reached:
    """Report a milestone on `supplier.activity`; logged if Kafka takes it, and only then."""
    now = services.clock.now_ms()
    # The same report twice is one event: nothing happens at the second.
    event_id = signal_id(supplier_id, REPORTED, milestone, "")
    event = encode_event(REPORTED, event_id, SOURCE, supplier_id, now, {"milestone": milestone})
    async with services.transaction(caller) as conn:
        actor = caller.actor
        await audit.log(conn, actor, "milestone.report", supplier_id, now, milestone=milestone)
        await services.publish([Event(ACTIVITY, supplier_id, event)])
    row_id = signal_id(supplier_id, MILESTONE_ACHIEVED, milestone, "")
    return store.Reached(row_id, milestone, now, celebrated=False)


async def _refuse_the_erased(services: Services, supplier_id: str) -> None:
    """Whoever was erased stays so: a report about them would go unheard."""
    async with services.writer_pool.connection() as conn:
        if await suppliers.is_erased(conn, supplier_id, services.settings.keys("secret_key")):
            raise no_such_supplier()


def _response(reached: store.Reached, rules: Rules) -> MilestoneResponse:
    words = book_of(rules).milestones.get(reached.type)
    return MilestoneResponse(
        success=True,
        milestone=MilestoneReached(
            id=reached.id,
            type=reached.type,
            achieved_at=format_time(reached.at),
            celebrated=reached.celebrated,
        ),
        celebration=None
        if reached.celebrated or words is None
        else Celebration(message=words.congratulations, reward=words.then),
    )
