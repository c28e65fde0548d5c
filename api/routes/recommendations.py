"""What a supplier could do next, with the points it would add, and coaching tips for their page and stage."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from pydantic import Field
from starlette.responses import Response

from api.answers import NOT_MODIFIED, revalidated
from api.auth import AnyCaller, OwnSupplier, no_such_supplier
from api.models import Answer
from api.problems import documented
from api.routes.health import Level
from api.services import InServices
from scoring.advice.coaching import Tip, tips
from scoring.advice.recommend import Recommendation, WayUp, recommend, way_up
from store.score import read_known

router = APIRouter(prefix="/api/success", tags=["recommendations"])

NOTHING_YET: dict[str, Any] = {
    "level": "critical",
    "breakdown": {},
    "features": [],
    "clients": {"known": 0, "active": 0},
    "forms": {"created": 0, "sent": 0, "completed": 0},
    "journeys": {"active": 0, "sent": 0, "opened": 0},
}
"""The snapshot of somebody of whom nothing has come in: a score of 0."""


class RecommendationOut(Answer):
    """One thing to do."""

    id: str = Field(examples=["send_form"])
    type: Literal["feature_tip", "best_practice", "integration", "upgrade"]
    title: str
    description: str
    action_text: str
    action_url: str = Field(description="Where the product does it: a path of its own.", examples=["/forms"])
    priority: Literal["high", "medium", "low"]
    estimated_impact: str = Field(examples=["+6 points", "+18 points, reaches healthy"])
    points: float = Field(description="What it adds to the unrounded score.", examples=[6.25])
    minutes: int = Field(ge=1, description="What it takes.")


class CoachingTip(Answer):
    """One thought for their page and stage; `videoUrl` only where there is a film."""

    tip: str
    category: Literal["onboarding", "engagement", "growth"]
    video_url: str | None = None


class StepUp(Answer):
    """A step; its points are those it adds after the steps before it."""

    id: str
    title: str
    action_text: str
    action_url: str
    points: float
    minutes: int


class PathUp(Answer):
    """The steps to the next level that take the fewest minutes together."""

    level: Level = Field(description="The level that is reached.")
    points: float
    minutes: int
    steps: list[StepUp]


class RecommendationsResponse(Answer):
    """What to do next, most points a minute first."""

    recommendations: list[RecommendationOut]
    coaching_tips: list[CoachingTip]
    path_to_next_level: PathUp | None = Field(
        description="null for who is healthy, or where no few steps lead to the next level."
    )


@router.get(
    "/recommendations/{supplierId}",
    response_model=RecommendationsResponse,
    responses=NOT_MODIFIED
    | documented(
        HTTPStatus.UNAUTHORIZED,
        HTTPStatus.NOT_FOUND,
        HTTPStatus.UNPROCESSABLE_ENTITY,
        HTTPStatus.TOO_MANY_REQUESTS,
    ),
)
async def recommendations(
    supplier_id: OwnSupplier,
    caller: AnyCaller,
    services: InServices,
    request: Request,
    page: Annotated[
        str | None,
        Query(
            max_length=2000,
            description="The page that they are on: tips for it come first.",
            examples=["/forms"],
        ),
    ] = None,
) -> Response:
    """Say what would help, and by how much: each action is put through the score's own formula."""
    async with services.reading(caller) as conn:
        known = await read_known(conn, supplier_id)
    if known is None:
        raise no_such_supplier()
    snapshot = known.snapshot or NOTHING_YET
    rules = services.policy.rules
    way = way_up(snapshot, rules)
    answer = RecommendationsResponse(
        recommendations=[_recommendation(each) for each in recommend(snapshot, rules)],
        coaching_tips=[_tip(each) for each in tips(snapshot, page, known.vendor_type, rules)],
        path_to_next_level=_path(way) if way else None,
    )
    return revalidated(request, answer)


def _recommendation(advice: Recommendation) -> RecommendationOut:
    return RecommendationOut(
        id=advice.id,
        type=advice.type,
        title=advice.title,
        description=advice.description,
        action_text=advice.action_text,
        action_url=advice.action_path,
        priority=advice.priority,
        estimated_impact=advice.estimated_impact,
        points=advice.points,
        minutes=advice.minutes,
    )


def _tip(tip: Tip) -> CoachingTip:
    return CoachingTip(tip=tip.tip, category=tip.category, video_url=tip.video_url)


def _path(way: WayUp) -> PathUp:
    return PathUp(
        level=way.reaches,
        points=way.points,
        minutes=way.minutes,
        steps=[
            StepUp(
                id=step.id,
                title=step.title,
                action_text=step.action_text,
                action_url=step.action_path,
                points=step.points,
                minutes=step.minutes,
            )
            for step in way.steps
        ],
    )
