"""Pictures of pages, for people to look at: `make screens` takes them all, `SCREENS=some` one of each state."""

from __future__ import annotations

import os
from pathlib import Path

from playwright.async_api import Page

SCREENSHOTS = Path("build/screenshots")
"""Git ignores it."""
SCREENS = os.environ.get("SCREENS", "")
"""Nobody looks at pictures of each change: without it there are none, and only what is asserted counts."""
EVERY_SCREEN = SCREENS == "all"
"""Draw every state at every width, by day and by night, in every language (`make screens`), and not one of each."""


async def picture(page: Page, path: Path, *, full_page: bool = False) -> None:
    """Write a picture of what is in sight, or of the whole page; the page is afterwards as it was."""
    seen = page.viewport_size
    if full_page and seen and await page.locator("iframe").count():
        # a frame that is out of sight is not painted, and stays empty on a picture of the whole page
        height = await page.evaluate("document.documentElement.scrollHeight")
        await page.set_viewport_size({"width": seen["width"], "height": height})
        await page.wait_for_timeout(300)
    await page.screenshot(path=path, full_page=full_page, animations="disabled")
    if seen and page.viewport_size != seen:
        await page.set_viewport_size(seen)
