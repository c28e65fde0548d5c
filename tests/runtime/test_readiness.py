"""`/readyz` answers in time, whatever does not answer it."""

from __future__ import annotations

import asyncio

import pytest

from runtime import readiness
from runtime.readiness import Readiness


async def fine() -> None:
    """It is there."""


async def broken() -> None:
    raise RuntimeError("no\nroute")


async def test_all_that_is_there_is_nothing_missing() -> None:
    assert await Readiness({"Postgres": fine, "Kafka": fine}).missing() == {}


async def test_each_missing_part_says_why() -> None:
    assert await Readiness({"Postgres": broken, "Kafka": fine}).missing() == {"Postgres": "no route"}


async def test_a_part_that_hangs_is_missing_and_looked_at_once_not_once_a_question(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(readiness, "ANSWER_WITHIN_S", 0.01)
    looks, answer = 0, asyncio.Event()

    async def hangs() -> None:
        nonlocal looks
        looks += 1
        await answer.wait()

    parts = Readiness({"Postgres": hangs, "Kafka": fine})
    for _ in range(3):
        assert await parts.missing() == {"Postgres": "no answer within 0.01 s"}
    assert looks == 1
    answer.set()
    await asyncio.sleep(0)
    assert await parts.missing() == {}
    await parts.aclose()
