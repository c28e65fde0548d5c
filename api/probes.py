"""Probes: is the process alive, and can it do its work."""

from __future__ import annotations

from http import HTTPStatus

from fastapi import APIRouter

from api.problems import Problem, documented
from api.services import InServices

router = APIRouter(tags=["probes"])


@router.head("/healthz", include_in_schema=False)
@router.get("/healthz")
async def healthz() -> dict[str, str]:
    """Say that the process is alive; asks nobody else."""
    return {"status": "ok"}


@router.head("/readyz", include_in_schema=False)
@router.get("/readyz", responses=documented(HTTPStatus.SERVICE_UNAVAILABLE))
async def readyz(services: InServices) -> dict[str, str]:
    """Say whether requests can be answered: Postgres answers and has our tables."""
    async with services.pool.connection(timeout=2) as conn:
        found = await (await conn.execute("SELECT to_regclass('suppliers') IS NOT NULL")).fetchone()
    if not (found and found[0]):
        raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, "the database has no tables yet: run `success migrate`")
    return {"status": "ready"}
