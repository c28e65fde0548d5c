"""axe-core in a page: what keeps somebody from reading or using it."""

from __future__ import annotations

from typing import Any

from axe_playwright_python.base import AXE_SCRIPT
from playwright.async_api import Page

IS_THERE = "() => 'axe' in window"
RUN = """([context, options]) => axe.run(context ?? document, { resultTypes: ['violations'], ...options })
    .then(({ violations, passes }) => ({ violations, passes: passes.map(({ id }) => id) }))"""


async def run_axe(
    page: Page, context: Any = None, options: dict[str, Any] | None = None
) -> tuple[list[dict[str, Any]], list[str]]:
    """What axe finds on a page, and the rules that it holds to; its script is half a megabyte, and put in once."""
    if not await page.evaluate(IS_THERE):
        await page.evaluate(AXE_SCRIPT)
    found = await page.evaluate(RUN, [context, options or {}])
    return found["violations"], found["passes"]
