"""A supplier's health: the score, its history, and what brought each change about."""

from __future__ import annotations

from http import HTTPStatus
from math import fsum
from typing import Annotated, Literal

from fastapi import APIRouter, Request
from pydantic import ConfigDict, Field
from starlette.responses import Response

from api.answers import NOT_MODIFIED, revalidated
from api.auth import AnyCaller, OwnSupplier, Staff, no_such_supplier
from api.models import Answer
from api.paging import InPage, link_to_next
from api.problems import Problem, documented
from api.services import InServices
from store import score as store
from topics.time import format_time

router = APIRouter(
    prefix="/api/health",
    tags=["health"],
    responses=NOT_MODIFIED
    | documented(
        HTTPStatus.UNAUTHORIZED,
        HTTPStatus.NOT_FOUND,
        HTTPStatus.UNPROCESSABLE_ENTITY,
        HTTPStatus.TOO_MANY_REQUESTS,
    ),
)

Level = Literal["healthy", "at_risk", "critical"]
Trend = Literal["improving", "declining", "stable"]
Component = Literal[
    "loginFrequency", "featureAdoption", "clientActivity", "formCompletion", "journeyPerformance"
]
DisplayedScore = Annotated[int, Field(ge=0, le=100, examples=[48])]
Time = Annotated[str, Field(json_schema_extra={"format": "date-time"}, examples=["2026-01-19T09:00:00.000Z"])]
ChangeId = Annotated[str, Field(json_schema_extra={"format": "uuid"})]
TREND_FROM = 5
"""Points of difference to a week ago from which it is a trend."""


class Breakdown(Answer):
    """Points of each component; they add up to the unrounded score."""

    login_frequency: float = Field(ge=0, le=30, examples=[20.0])
    feature_adoption: float = Field(ge=0, le=25, examples=[12.5])
    client_activity: float = Field(ge=0, le=25, examples=[10.0])
    form_completion: float = Field(ge=0, le=10, examples=[5.0])
    journey_performance: float = Field(ge=0, le=10, examples=[0.0])


class HealthScoreResponse(Answer):
    """How a supplier stands."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "score": 48,
                    "riskLevel": "at_risk",
                    "breakdown": {
                        "loginFrequency": 20.0,
                        "featureAdoption": 12.5,
                        "clientActivity": 10.0,
                        "formCompletion": 5.0,
                        "journeyPerformance": 0.0,
                    },
                    "trend": "declining",
                    "lastCalculated": "2026-01-19T09:00:00.000Z",
                }
            ]
        }
    )

    score: DisplayedScore
    risk_level: Level
    breakdown: Breakdown
    trend: Trend = Field(description="The score against the one of a week ago: 5 points or more are a trend.")
    last_calculated: Time


class HealthPoint(Answer):
    """The score from this moment on, until the next entry."""

    at: Time
    score: DisplayedScore
    risk_level: Level


class HealthHistoryResponse(Answer):
    """Every change of the displayed score or of the level, oldest first."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "supplierId": "7d0f4c1e-5a0b-4a8e-9b57-0c6f6a1f2d10",
                    "days": 30,
                    "since": "2025-12-20T09:00:00.000Z",
                    "before": {"at": "2025-12-18T10:15:00.000Z", "score": 71, "riskLevel": "healthy"},
                    "history": [{"at": "2026-01-12T08:30:00.000Z", "score": 61, "riskLevel": "at_risk"}],
                    "nextCursor": None,
                }
            ]
        }
    )

    supplier_id: str
    days: int
    since: Time
    before: HealthPoint | None = Field(description="How they stood when the window (or this page) began.")
    history: list[HealthPoint]
    next_cursor: str | None = Field(description="`cursor` of the next page; null on the last one.")


class Cause(Answer):
    """What moved a component's points."""

    component: Component
    before: float
    after: float
    points: float = Field(description="after - before")
    event: str = Field(
        description="Id of the event; `time` if time did it; `earlier` for many old ones in one."
    )


class ExplainedChange(Answer):
    """A change and all that brought it about since the one before."""

    id: ChangeId
    at: Time
    score: DisplayedScore
    risk_level: Level
    previous_score: DisplayedScore | None
    previous_level: Level | None
    points: float = Field(description="The sum of its causes' points.")
    unrounded_score: float = Field(description="The score after it: the sum of all causes so far.")
    causes: list[Cause]


class HealthExplainResponse(Answer):
    """Why the score is what it is."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "supplierId": "7d0f4c1e-5a0b-4a8e-9b57-0c6f6a1f2d10",
                    "days": 30,
                    "since": "2025-12-20T09:00:00.000Z",
                    "changes": [
                        {
                            "id": "0b0f6a52-7b7a-8c44-9d0e-2f9be4b0c5aa",
                            "at": "2026-01-12T08:30:00.000Z",
                            "score": 61,
                            "riskLevel": "at_risk",
                            "previousScore": 71,
                            "previousLevel": "healthy",
                            "points": -10.0,
                            "unroundedScore": 60.75,
                            "causes": [
                                {
                                    "component": "loginFrequency",
                                    "before": 30.0,
                                    "after": 20.0,
                                    "points": -10.0,
                                    "event": "time",
                                }
                            ],
                        }
                    ],
                    "nextCursor": None,
                }
            ]
        }
    )

    supplier_id: str
    days: int
    since: Time
    changes: list[ExplainedChange]
    next_cursor: str | None


@router.get("/score/{supplierId}", response_model=HealthScoreResponse)
async def score(
    supplier_id: OwnSupplier, caller: AnyCaller, services: InServices, request: Request
) -> Response:
    """Say how a supplier stands: score, level, points by component, trend."""
    async with services.reading(caller) as conn:
        try:
            found = await store.read_score(conn, supplier_id, services.clock.now_ms())
        except LookupError:
            raise no_such_supplier() from None
    if found is None:
        raise Problem(HTTPStatus.NOT_FOUND, "there is no score yet: nothing this supplier did has come in")
    answer = HealthScoreResponse(
        score=found.score,
        risk_level=found.level,
        breakdown=Breakdown.model_validate(found.breakdown),
        trend=trend(found.score, found.then),
        last_calculated=format_time(found.calculated_at),
    )
    return revalidated(request, answer)


@router.get("/history/{supplierId}", response_model=HealthHistoryResponse)
async def history(
    supplier_id: OwnSupplier, caller: AnyCaller, services: InServices, page: InPage, request: Request
) -> Response:
    """Give every change of the displayed score or of the level, oldest first."""
    since = page.since(services.clock.now_ms())
    async with services.reading(caller) as conn:
        if not await store.is_known(conn, supplier_id):
            raise no_such_supplier()
        found = await store.read_history(conn, supplier_id, since, page.after, page.limit)
        before = await store.read_before(conn, supplier_id, since, page.after)
    changes = found[: page.limit]
    cursor = str(changes[-1].seq) if len(found) > page.limit else None
    answer = HealthHistoryResponse(
        supplier_id=supplier_id,
        days=page.days,
        since=format_time(since),
        before=_point(before) if before else None,
        history=[_point(change) for change in changes],
        next_cursor=cursor,
    )
    return revalidated(request, answer, link_to_next(request, cursor))


@router.get(
    "/explain/{supplierId}",
    response_model=HealthExplainResponse,
    responses=documented(HTTPStatus.FORBIDDEN),
)
async def explain(
    caller: Staff, supplier_id: OwnSupplier, services: InServices, page: InPage, request: Request
) -> Response:
    """Give each change with its causes, whose points add up; for agents and services."""
    since = page.since(services.clock.now_ms())
    async with services.reading(caller) as conn:
        if not await store.is_known(conn, supplier_id):
            raise no_such_supplier()
        found = await store.read_explained(conn, supplier_id, since, page.after, page.limit)
    changes = found[: page.limit]
    cursor = str(changes[-1].change.seq) if len(found) > page.limit else None
    answer = HealthExplainResponse(
        supplier_id=supplier_id,
        days=page.days,
        since=format_time(since),
        changes=[_explained(each) for each in changes],
        next_cursor=cursor,
    )
    return revalidated(request, answer, link_to_next(request, cursor))


def trend(now: int, then: int) -> Trend:
    """Compare two displayed scores."""
    if now - then >= TREND_FROM:
        return "improving"
    return "declining" if then - now >= TREND_FROM else "stable"


def _point(change: store.Change) -> HealthPoint:
    return HealthPoint(at=format_time(change.at), score=change.score, risk_level=change.level)


def _explained(each: store.Explained) -> ExplainedChange:
    causes = [
        Cause(
            component=cause["component"],
            before=cause["before"],
            after=cause["after"],
            points=cause["after"] - cause["before"],
            event=cause["event"],
        )
        for cause in each.causes
    ]
    return ExplainedChange(
        id=each.change.id,
        at=format_time(each.change.at),
        score=each.change.score,
        risk_level=each.change.level,
        previous_score=each.previous_score,
        previous_level=each.previous_level,
        points=fsum(cause.points for cause in causes),
        unrounded_score=each.total,
        causes=causes,
    )
