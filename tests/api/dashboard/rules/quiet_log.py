"""Sixty days of two suppliers, of whom the clients of one go quiet (the example of docs/rules.md)."""

from __future__ import annotations

import json
import time
from typing import Any
from uuid import uuid4

from cli.admin.publish import Publisher
from runtime.settings import Settings
from scoring.time import DAY
from topics.time import format_time

Happened = tuple[str, dict[str, str]]
BEGINNING: list[Happened] = [
    ("supplier.signed_up", {}),
    ("form.created", {"form_id": "a"}),
    ("form.created", {"form_id": "b"}),
    ("client.active", {"client_id": "c"}),
]


async def sixty_days(settings: Settings) -> tuple[str, str]:
    """Publish them: who has gone quiet, with two forms, and who has not."""
    quiet, busy = str(uuid4()), str(uuid4())
    lines = [profile(quiet), profile(busy)]
    for day in range(60, -1, -1):
        for supplier in (quiet, busy):
            happened: list[Happened] = [("supplier.logged_in", {})]
            if day == 60:
                happened = BEGINNING
            elif (supplier == busy and day % 7 == 0) or (supplier == quiet and day in {49, 42, 35}):
                happened.append(("client.active", {"client_id": "c"}))
            lines += events(supplier, day, happened)
    await publish(settings, lines)
    return quiet, busy


def profile(supplier: str) -> dict[str, Any]:
    return {"profile": {"id": supplier, "email": f"{supplier}@example.com", "timezone": "UTC"}}


def events(supplier: str, days_ago: int, happened: list[Happened]) -> list[dict[str, Any]]:
    """What a supplier did so many days ago."""
    at = format_time(int(time.time() * 1000) - days_ago * DAY - 1000)
    return [
        {
            "specversion": "1.0",
            "id": str(uuid4()),
            "source": "/tests",
            "type": kind,
            "subject": supplier,
            "time": at,
            "data": data,
        }
        for kind, data in happened
    ]


async def publish(settings: Settings, lines: list[dict[str, Any]]) -> None:
    async with Publisher(settings) as publisher:
        for line in lines:
            await publisher.add(json.dumps(line).encode())
        await publisher.flush()
