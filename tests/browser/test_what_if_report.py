"""The report of a what-if, as an analyst opens it: three screens, whatever the screen, by day and by night."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Page, expect

from replay.again import tables
from replay.again.engine import Job, run
from replay.again.variant import base, what_if
from replay.log.source import ArchiveSource, names
from replay.simulator.simulate import population
from replay.what_if.compare import added_and_removed, compare
from replay.what_if.report_page import write_page
from tests.browser.conftest import SIZES, CheckAxe, Screenshot
from tests.replay.logs import MONDAY, archive_of, logs_of

THREE_SCREENS = 3 * 900


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of 60 days, with many messages that differ."""
    folder = tmp_path_factory.mktemp("what-if")
    source = ArchiveSource(archive_of(folder / "archive", logs_of(population(120, 60, 5, MONDAY))))
    variant = what_if(None, ["caps.total=1", "levels.healthy=75"])
    outcome = run(Job(source, (base(None), variant), folder / "out"), 1)
    connection = tables.connect(folder / "out")
    comparison = compare(connection, None, outcome.until, variant.changes)
    differences = added_and_removed(connection, comparison)
    with source.opened() as log:
        known = names(log, {row["supplier_id"] for row in differences})
    write_page(folder / "report.html", comparison, differences, known)
    return folder / "report.html"


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_the_report_fits_three_screens_with_its_tables_closed(
    page: Page, report: Path, axe: CheckAxe, screenshot: Screenshot, scheme: Any
) -> None:
    await page.emulate_media(color_scheme=scheme)
    await page.goto(report.as_uri())
    for width, height in SIZES.items():
        await page.set_viewport_size({"width": width, "height": height})
        await screenshot(page, f"what-if-{width}-{scheme}", full_page=True)
        assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth"), width
    assert await page.evaluate("document.documentElement.scrollHeight") <= THREE_SCREENS
    await expect(page.locator("table:visible")).to_have_count(0)
    await axe(page)
    await page.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
    await axe(page)
    await screenshot(page, f"what-if-open-{scheme}", full_page=True)
