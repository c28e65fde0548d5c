"""How likely a supplier is to leave, what says so, and what silence alone will do to their level."""

from __future__ import annotations

from http import HTTPStatus

from fastapi import APIRouter, Request
from pydantic import Field
from starlette.responses import Response

from agents.letters.words import day_text
from api.answers import NOT_MODIFIED, revalidated
from api.auth import OwnSupplier, Staff, no_such_supplier
from api.models import Answer
from api.problems import Problem, documented
from api.routes.health import Level, Time
from api.services import InServices
from scoring.health.churn import Contribution, default_model, explain, probability
from store.score import Known, read_known
from topics.time import parse_time

router = APIRouter(prefix="/api/success", tags=["churn"])

LEVEL_WORDS = {"critical": "critical", "at_risk": "at risk", "healthy": "healthy"}


class ChurnSignal(Answer):
    """A signal: `contribution` = `value` times `weight` is what it adds to the model's logit."""

    signal: str = Field(examples=["login_silence"])
    value: float = Field(description="0 is good, 1 is bad; of a fall -1 is growth.")
    weight: float
    contribution: float


class ChurnModel(Answer):
    """The model behind it: the logistic function of `intercept` plus all contributions."""

    intercept: float
    origin: str = Field(description="What it was fitted on.")


class SilenceForecast(Answer):
    """What silence alone will change, and when; null where it changes nothing."""

    next_change_at: Time | None = Field(description="When the score next changes.")
    next_level: Level | None
    next_level_at: Time | None
    summary: str = Field(examples=["at risk on Tuesday 3 March if nothing happens"])


class ChurnResponse(Answer):
    """The probability that they cancel within 30 days, with what it is made of."""

    supplier_id: str
    probability: float = Field(ge=0, le=1, examples=[0.31])
    risk_level: Level
    last_calculated: Time
    signals: list[ChurnSignal] = Field(description="What raises the probability most comes first.")
    model: ChurnModel
    silence: SilenceForecast


@router.get(
    "/churn/{supplierId}",
    response_model=ChurnResponse,
    responses=NOT_MODIFIED
    | documented(
        HTTPStatus.UNAUTHORIZED,
        HTTPStatus.FORBIDDEN,
        HTTPStatus.NOT_FOUND,
        HTTPStatus.UNPROCESSABLE_ENTITY,
        HTTPStatus.TOO_MANY_REQUESTS,
    ),
)
async def churn(caller: Staff, supplier_id: OwnSupplier, services: InServices, request: Request) -> Response:
    """Say how likely they are to leave and why; for agents and services."""
    async with services.reading(caller) as conn:
        known = await read_known(conn, supplier_id)
    if known is None:
        raise no_such_supplier()
    snapshot = known.snapshot
    if snapshot is None:
        raise Problem(HTTPStatus.NOT_FOUND, "there is no estimate yet: nothing this supplier did has come in")
    # Rows that were written before snapshots carried the model's signals have none to show.
    signals = snapshot.get("churn_signals") or {}
    model = default_model()
    answer = ChurnResponse(
        supplier_id=supplier_id,
        probability=probability(signals) if signals else snapshot["churn_probability"],
        risk_level=snapshot["level"],
        last_calculated=snapshot["calculated_at"],
        signals=[_signal(each) for each in explain(signals)],
        model=ChurnModel(intercept=model.intercept, origin=model.origin),
        silence=_silence(known),
    )
    return revalidated(request, answer)


def _signal(part: Contribution) -> ChurnSignal:
    return ChurnSignal(
        signal=part.signal,
        value=part.value,
        weight=part.weight,
        contribution=round(part.value * part.weight, 9) + 0.0,  # no -0.0
    )


def _silence(known: Known) -> SilenceForecast:
    snapshot = known.snapshot or {}
    level, at = snapshot.get("next_level_if_silent"), snapshot.get("next_level_at")
    summary = f"stays {LEVEL_WORDS[snapshot['level']]} if nothing happens"
    if level and at:
        summary = f"{LEVEL_WORDS[level]} on {day_text(parse_time(at), known.timezone)} if nothing happens"
    return SilenceForecast(
        next_change_at=snapshot.get("next_change_at"),
        next_level=level,
        next_level_at=at,
        summary=summary,
    )
