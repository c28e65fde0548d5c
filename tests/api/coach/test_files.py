"""The coach's files travel packed, are asked for at once, and tell TypeScript what they are."""

from __future__ import annotations

import json
import re

import pytest
from fastapi import FastAPI
from httpx import ASGITransport, AsyncClient, Response

from api.coach import files

app = FastAPI()
app.include_router(files.router)


async def got(path: str, **headers: str) -> Response:
    async with AsyncClient(transport=ASGITransport(app), base_url="http://api.test") as client:
        answer = await client.get(path, headers=headers)
    assert answer.status_code == 200
    return answer


@pytest.mark.parametrize("path", ["/coach.js", f"/coach/{files.version()}/views.js"])
async def test_files_are_packed_for_whoever_can_unpack_them(path: str) -> None:
    packed = await got(path, **{"Accept-Encoding": "br, gzip"})
    plain = await got(path, **{"Accept-Encoding": "gzip;q=0, identity"})
    assert (packed.headers.get("content-encoding"), plain.headers.get("content-encoding")) == ("gzip", None)
    assert packed.text == plain.text
    assert int(packed.headers["content-length"]) < int(plain.headers["content-length"])
    assert packed.headers["vary"] == "Accept-Encoding"


async def test_everything_that_the_coach_is_made_of_is_asked_for_at_once_and_is_small() -> None:
    """The browser need not read one module to learn of the next; confetti waits for a celebration."""
    named = re.search(r"for \(const name of (\[.*?\])\)", (await got("/coach.js")).text)
    assert named
    modules = json.loads(named[1])
    assert "confetti.mjs" not in modules
    size = 0
    for name in modules:
        answer = await got(f"/coach/{files.version()}/{name}", **{"Accept-Encoding": "gzip"})
        imported = re.findall(r'^import .*"\./([^"]+)"', answer.text, re.MULTILINE)
        assert set(imported) <= set(modules), name
        size += int(answer.headers["content-length"])
    assert size < 40_000


async def test_the_types_name_what_the_elements_have() -> None:
    types = (await got("/coach/latest/coach.d.ts")).text
    source = (await got("/coach/latest/success-coach.js")).text
    for name in re.findall(r"^  (?:set )(\w+)\(", source, re.MULTILINE):
        assert f"  {name}: " in types
    assert "SuccessCoach" in (await got("/coach/latest/coach-react.d.ts")).text
