"""What every answer says: not sniffed, not kept, HTTPS stays, and no host that a request gave comes back."""

from __future__ import annotations

import csv
import io
from typing import Any

import pytest
from fastapi.routing import iter_route_contexts
from httpx import AsyncClient

from api.app import build_app
from api.dashboard.rendering import _csv_line
from runtime.clock import ManualClock
from runtime.settings import Settings
from tests.agents.delivery.world import World
from tests.api.conftest import running

SARAH = "11111111-1111-4111-8111-111111111111"


def addresses(client: AsyncClient) -> list[str]:
    """Every path that is asked with GET, of a supplier where it names one; event streams left out."""
    app: Any = client._transport.app  # type: ignore[attr-defined]
    found = {
        each.original_route.path
        for each in iter_route_contexts(app.routes)
        if "GET" in (getattr(each.original_route, "methods", None) or ())
    }
    return sorted(
        path.partition("{")[0] + SARAH if "{" in path else path for path in found if "events" not in path
    )


@pytest.mark.stack
async def test_every_answer_is_not_sniffed_and_what_is_personal_is_not_kept(
    settings: Settings, clock: ManualClock, token: Any, world: World
) -> None:
    supplier = await world.supplier()
    https = settings.model_copy(update={"public_url": "https://success.example"})
    async with running(build_app(https, clock)) as client:
        for path in addresses(client):
            for headers in ({}, token("agent"), token("supplier", supplier)):
                answer = await client.get(path.replace(SARAH, supplier), headers=headers)
                assert answer.headers["x-content-type-options"] == "nosniff", path
                assert "frame-ancestors 'none'" in answer.headers["content-security-policy"], path
                assert answer.headers["strict-transport-security"].startswith("max-age=31536000"), path
                if path.startswith(("/api/", "/e/", "/dashboard")) and "/static" not in path:
                    assert "no-store" in answer.headers["cache-control"], path
        data = await client.get(f"/api/suppliers/{supplier}/data", headers=token("supplier", supplier))
        assert data.status_code == 200
        assert "no-store" in data.headers["cache-control"]


@pytest.mark.stack
async def test_over_http_there_is_no_hsts(api: AsyncClient) -> None:
    assert "strict-transport-security" not in (await api.get("/healthz")).headers


@pytest.mark.stack
async def test_no_answer_names_a_host_that_a_request_gave(api: AsyncClient, token: Any) -> None:
    evil = {"Host": "evil.example", "X-Forwarded-Host": "evil.example", "Origin": "https://evil.example"}
    for path in addresses(api):
        for asked in (path, f"{path}/", f"//evil.example{path}", f"{path}?next=https://evil.example"):
            answer = await api.get(asked, headers=evil | token("agent"))
            said = {
                name: value for name, value in answer.headers.items() if name != "content-security-policy"
            }
            led_to = said.pop("location", "") + said.pop("hx-redirect", "")
            assert "evil.example" not in str(said), asked
            assert not led_to.startswith(("http:", "https:", "//")), asked


@pytest.mark.stack
async def test_the_demos_page_and_metrics_are_not_on_a_production_api(
    settings: Settings, clock: ManualClock
) -> None:
    outside = settings.model_copy(update={"development": False, "metrics_port": None})
    async with running(build_app(outside, clock)) as client:
        for path in ("/demo/host", "/demo/host/forms", "/demo/host.js", "/metrics"):
            assert (await client.get(path)).status_code == 404, path
        assert (await client.get("/coach.js")).status_code == 200


@pytest.mark.parametrize(
    "cell",
    [
        *("=1+1", "+1", "-1", "@SUM(A1)", "|x", "%x", " =1", "\t=1", "\r=1", "\n=1", "\v=1", "\x00=1"),
        *(
            "\uff1d1",
            "\uff0b1",
            "\uff0d1",
            "\uff20A",
            "\u00a0=1",
            "\u3000=1",
            "\ufeff=1",
            "\u200b=1",
            "\u2028=1",
        ),
    ],
)
def test_no_cell_of_a_csv_is_a_formula(cell: str) -> None:
    [[read, number]] = csv.reader(io.StringIO(_csv_line([cell, -1])))
    assert read == f"'{cell}"
    assert number == "-1"  # a number is one
    assert next(csv.reader(io.StringIO(_csv_line(["Sarah = Emma"]))))[0] == "Sarah = Emma"
