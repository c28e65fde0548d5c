"""Probes: is the process alive, and can it do its work."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from fastapi import APIRouter

from api.problems import Problem, documented
from api.services import KAFKA, InServices

router = APIRouter(tags=["probes"])


@router.head("/healthz", include_in_schema=False)
@router.get("/healthz")
async def healthz() -> dict[str, str]:
    """Say that the process is alive; asks nobody else."""
    return {"status": "ok"}


@router.head("/readyz", include_in_schema=False)
@router.get("/readyz", responses=documented(HTTPStatus.SERVICE_UNAVAILABLE))
async def readyz(services: InServices) -> dict[str, Any]:
    """Say within 3 s whether requests can be answered, and which parts are missing.

    Without Kafka the API is ready all the same: links in emails, the coach and the dashboard need none. `missing` then
    names it.
    """
    missing = await services.readiness.missing()
    if missing.keys() - {KAFKA}:
        said = "; ".join(f"{name}: {why}" for name, why in missing.items())
        raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, f"not ready ({said})", missing=missing)
    return {"status": "ready", "missing": missing} if missing else {"status": "ready"}
