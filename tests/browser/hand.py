"""An agent's hand, which counts what an act takes."""

from __future__ import annotations

from playwright.async_api import Locator, Page


class Hand:
    """Keystrokes and clicks on a page; words that are typed count as one, as does a choice from a list."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.steps = 0

    async def press(self, *keys: str) -> None:
        """Press keys, one after the other, on a page whose scripts listen by now."""
        await self.page.wait_for_load_state()
        for key in keys:
            self.steps += 1
            await self.page.keyboard.press(key)

    async def type(self, words: str) -> None:
        """Type words where the cursor is."""
        self.steps += 1
        await self.page.keyboard.type(words)

    async def click(self, place: Locator) -> None:
        """Click on something."""
        self.steps += 1
        await place.click()
