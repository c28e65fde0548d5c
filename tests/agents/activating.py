"""Putting other rules into force in tests, as `success config activate` does."""

from __future__ import annotations

from pathlib import Path

from agents.acts import versions as acts
from cli.admin.shared import writing
from runtime.configuration import load
from runtime.settings import Settings
from scoring.health import rules_file
from store.audit import Actor
from tests.agents.workers import now_ms

STRICT = (
    rules_file.DEFAULT.read_text("utf-8")
    .replace("at_risk = 40 ", "at_risk = 50 ")
    .replace("healthy = 70 ", "healthy = 90 ")
    + '[[milestone]]\nname = "first_send"\nnumber = 9\nevent = "form.sent"\n'
)
"""Whoever logged in and used a feature is critical; a form sent is a milestone."""


async def activate(
    settings: Settings, folder: Path, text: str, partitions: tuple[int, ...] | None = None
) -> int:
    folder.mkdir(exist_ok=True)  # noqa: ASYNC240 - of a test
    (folder / "rules.toml").write_text(text, "utf-8")
    act = acts.Act(Actor("cli", "ada"), "Ada", "to see", now_ms())
    async with writing(settings) as pool:
        stored = await acts.activate(settings, pool, load(folder), load(), act, partitions)
    return stored.version.number
