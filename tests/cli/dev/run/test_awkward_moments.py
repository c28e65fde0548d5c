"""`success run` over moments that are easily got wrong: one millisecond, exact borders, odd zones, a bad profile."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_URL, uuid5

import psycopg
import pytest
from psycopg.rows import dict_row

from runtime.settings import Settings

pytestmark = pytest.mark.stack

TEN = datetime(2026, 1, 5, 10, tzinfo=UTC)
"""Monday morning."""
NIGHT = datetime(2026, 1, 5, 22, tzinfo=UTC)
MS, HOUR, DAY = timedelta(milliseconds=1), timedelta(hours=1), timedelta(days=1)
GUIDE_DUE = 72 * HOUR
UNTIL = TEN + 7 * DAY + HOUR


class Story:
    """Lines of a file, in the order of their times; a supplier is called by a name."""

    def __init__(self) -> None:
        self._lines: list[tuple[datetime, dict[str, Any]]] = []
        self.names: dict[str, str] = {}

    def profile(self, name: str, at: datetime, **given: Any) -> None:
        """What stands as their profile from `at` on."""
        profile = {
            "id": self._id(name),
            "email": f"{name}@example.com",
            "first_name": name,
            "timezone": "UTC",
        }
        self._lines.append((at, {"profile": profile | given}))

    def event(self, name: str, kind: str, at: datetime, **data: Any) -> None:
        """What they did."""
        head = {"specversion": "1.0", "id": f"e{len(self._lines)}", "source": "/test", "type": kind}
        time = at.isoformat(timespec="milliseconds")
        self._lines.append((at, head | {"subject": self._id(name), "time": time, "data": data}))

    def newcomer(self, name: str, at: datetime, **profile: Any) -> None:
        """They sign up, look round, and import no client: `import_clients_guide` is due 72 h later."""
        self.profile(name, at, **profile)
        self.event(name, "supplier.signed_up", at)
        self.event(name, "supplier.logged_in", at)

    def milestones(self, name: str, *times: datetime) -> None:
        """They reach one milestone after the other, each of their own doing."""
        self.profile(name, TEN)
        for milestone, at in zip(("first_form", "first_automation", "ten_clients"), times, strict=False):
            self.event(name, "milestone.reported", at, milestone=milestone)

    def write(self, path: Path) -> None:
        """As JSON Lines."""
        lines = sorted(self._lines, key=lambda line: line[0])
        path.write_text("".join(json.dumps(line) + "\n" for _, line in lines))

    def _id(self, name: str) -> str:
        supplier_id = str(uuid5(NAMESPACE_URL, f"awkward/{name}"))
        self.names[supplier_id] = name
        return supplier_id


def tell() -> Story:
    """All of them at once: suppliers do not know of each other."""
    story = Story()
    for name, after in (("just before", -MS), ("the same ms", 0 * MS), ("just after", MS)):
        story.newcomer(f"opts out {name}".replace(" ", "-"), TEN)
        story.event(
            f"opts out {name}".replace(" ", "-"),
            "communication.opted_out",
            TEN + GUIDE_DUE + after,
            scope="email",
        )
    for name, words in (("out-in", ("opted_out", "opted_in")), ("in-out", ("opted_in", "opted_out"))):
        story.newcomer(name, TEN)
        for word in words:
            story.event(name, f"communication.{word}", TEN + 71 * HOUR, scope="email")
    story.newcomer("opts-out-at-eight", NIGHT)
    story.event("opts-out-at-eight", "communication.opted_out", NIGHT + GUIDE_DUE + 10 * HOUR, scope="email")
    story.newcomer("cancels-the-same-ms", TEN)
    story.event("cancels-the-same-ms", "supplier.cancelled", TEN + GUIDE_DUE)
    story.newcomer("imports-by-night", NIGHT)
    story.event("imports-by-night", "client.imported", NIGHT + 75 * HOUR, client_id="c")
    story.newcomer("kathmandu", NIGHT, timezone="Asia/Kathmandu")
    story.newcomer("kiritimati", NIGHT, timezone="Pacific/Kiritimati")
    story.newcomer("moves-while-it-waits", NIGHT)
    # a profile applies where it stands: behind an event of that time
    story.event("moves-while-it-waits", "template.used", NIGHT + 74 * HOUR, template_id="t")
    story.profile("moves-while-it-waits", NIGHT + 74 * HOUR, timezone="Pacific/Kiritimati")
    story.newcomer("on-mars", TEN, timezone="Mars/Phobos")  # no zone: it counts as absent, the address stays
    story.milestones("a-day-apart", TEN, TEN + DAY)
    story.milestones("almost-a-day-apart", TEN, TEN + DAY - MS)
    story.milestones("third-after-a-week", TEN, TEN + DAY, TEN + 7 * DAY)
    story.milestones("third-within-a-week", TEN, TEN + DAY, TEN + 7 * DAY - MS)
    story.profile("own-act-by-night", TEN)
    story.event("own-act-by-night", "form.created", TEN + 16 * HOUR, form_id="f")
    story.profile("paid-by-night", TEN)
    story.event(
        "paid-by-night", "payment.received", TEN + 16 * HOUR, payment_id="p", amount_minor=1, currency="EUR"
    )
    return story


SENT_AT_TEN = ("sent", None, TEN + GUIDE_DUE)
GUIDES: dict[str, tuple[str, str | None, datetime | None]] = {
    "opts-out-just-before": ("suppressed", "opted_out", None),
    "opts-out-the-same-ms": ("suppressed", "opted_out", None),
    "opts-out-just-after": SENT_AT_TEN,
    "out-in": SENT_AT_TEN,
    "in-out": ("suppressed", "opted_out", None),
    "opts-out-at-eight": ("suppressed", "opted_out", None),
    "cancels-the-same-ms": ("suppressed", "cancelled_supplier", None),
    "imports-by-night": ("suppressed", "resolved", None),
    "kathmandu": ("sent", None, datetime(2026, 1, 9, 2, 15, tzinfo=UTC)),
    "kiritimati": ("sent", None, NIGHT + GUIDE_DUE),  # noon of the next day there
    # its morning was asked for in their old zone; at that hour it is night in the new one
    "moves-while-it-waits": ("sent", None, datetime(2026, 1, 9, 18, tzinfo=UTC)),
    "on-mars": ("sent", None, datetime(2026, 1, 8, 10, tzinfo=UTC)),
}
"""What became of the first guide, and when it left."""
CELEBRATIONS = {
    "a-day-apart": ["sent", "sent"],
    "almost-a-day-apart": ["sent", "trigger_cap"],
    "third-after-a-week": ["sent", "sent", "sent"],
    "third-within-a-week": ["sent", "sent", "weekly_cap"],
    "own-act-by-night": ["sent"],
    "paid-by-night": ["sent"],
}
"""What became of one celebration after the other."""
BY_NIGHT = {"own-act-by-night": TEN + 16 * HOUR, "paid-by-night": TEN + 22 * HOUR}
"""Their own act is celebrated at once; what a client did, in the morning."""


async def test_each_moment_gives_what_the_contract_says(settings: Settings, tmp_path: Path) -> None:
    story = tell()
    file = tmp_path / "story.jsonl"
    story.write(file)
    process = await asyncio.create_subprocess_exec(
        *(str(Path(sys.executable).with_name("success")), "run", str(file), "--json"),
        *("--until", UNTIL.isoformat()),
        env=os.environ | settings.as_env(),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await asyncio.wait_for(process.communicate(), 240)
    assert process.returncode == 0, err.decode()
    assert json.loads(out)["dead_letters"] == 1

    with psycopg.connect(settings.database_url, row_factory=dict_row) as conn:
        rows = conn.execute(
            "SELECT supplier_id::text, trigger_condition, status, reason, not_before, sent_at"
            " FROM success_interventions ORDER BY signal_at"
        ).fetchall()
    theirs: dict[str, list[dict[str, Any]]] = {name: [] for name in story.names.values()}
    for row in rows:
        theirs[story.names[row["supplier_id"]]].append(row)
    guides = {
        name: next(row for row in theirs[name] if row["trigger_condition"] == "zero_clients_imported")
        for name in GUIDES
    }
    assert {name: (row["status"], row["reason"], row["sent_at"]) for name, row in guides.items()} == GUIDES
    celebrations = {
        name: [row for row in theirs[name] if row["trigger_condition"].startswith(("first_", "ten_"))]
        for name in CELEBRATIONS
    }
    assert {
        name: [row["reason"] or row["status"] for row in each] for name, each in celebrations.items()
    } == CELEBRATIONS
    assert {name: celebrations[name][0]["sent_at"] for name in BY_NIGHT} == BY_NIGHT
    assert all(row["not_before"] <= row["sent_at"] for row in rows if row["status"] == "sent")
