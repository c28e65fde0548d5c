"""A supplier's own data (GDPR): all of it to take along, and its erasure."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from fastapi import APIRouter, Response

from agents.acts import personal_data
from api.auth import AnyCaller, OwnSupplier, no_such_supplier
from api.models import Answer
from api.problems import documented
from api.services import InServices

router = APIRouter(
    prefix="/api/suppliers/{supplierId}/data",
    tags=["personal data"],
    responses=documented(HTTPStatus.UNAUTHORIZED, HTTPStatus.NOT_FOUND),
)


class Readme(Answer):
    """What the export's keys mean."""

    format: str
    data: dict[str, str]


class Export(Answer):
    """Everything stored of a supplier: rows by table."""

    supplier_id: str
    exported_at: str
    readme: Readme
    data: dict[str, list[dict[str, Any]]]


@router.get("")
async def export(
    supplier_id: OwnSupplier, caller: AnyCaller, services: InServices, response: Response
) -> Export:
    """Give everything that is stored of the supplier."""
    found = await personal_data.export(
        services.writer_pool,
        supplier_id,
        caller.actor,
        services.clock.now_ms(),
        services.settings.keys("secret_key"),
    )
    if found is None:
        raise no_such_supplier()
    response.headers["Content-Disposition"] = f'attachment; filename="{supplier_id}.json"'
    response.headers["Cache-Control"] = "no-store"
    return Export.model_validate(found)


@router.delete("", status_code=HTTPStatus.NO_CONTENT)
async def erase(supplier_id: OwnSupplier, caller: AnyCaller, services: InServices) -> None:
    """Erase the supplier, here and for whoever reads `supplier.profiles`; done when the answer comes."""
    await personal_data.erase(
        services.writer_pool,
        services.publish,
        supplier_id,
        caller.actor,
        services.clock.now_ms(),
        services.settings.keys("secret_key"),
    )
