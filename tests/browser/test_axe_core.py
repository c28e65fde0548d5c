"""What the checks of pages find, so that their silence says something."""

from __future__ import annotations

import pytest
from playwright.async_api import Page

from tests.browser.axe_core import run_axe
from tests.browser.conftest import CheckAxe

PAGE = "<!doctype html><html lang=en><title>A page</title><main><h1>A page</h1>{}</main></html>"
GOOD = PAGE.format("<p>Words</p>")
PALE = PAGE.format("<p style='color: #ccc; background: #fff'>Words</p>")
PALE_BY_NIGHT = PAGE.format(
    "<style>p { color: #000; background: #fff } @media (prefers-color-scheme: dark) { p { color: #ccc } }</style>"
    "<p>Words</p>"
)


async def test_it_finds_what_is_wrong_with_a_page_that_comes_after_a_good_one(
    page: Page, axe: CheckAxe
) -> None:
    for _ in range(2):
        await page.set_content(GOOD)
        await axe(page)
        await page.set_content(PALE)
        with pytest.raises(AssertionError, match="serious: color-contrast"):
            await axe(page)


async def test_it_looks_anew_when_it_gets_dark(page: Page, axe: CheckAxe) -> None:
    await page.set_content(PALE_BY_NIGHT)
    await page.emulate_media(color_scheme="light")
    await axe(page)
    await page.emulate_media(color_scheme="dark")
    violations, _ = await run_axe(page)
    assert [each["id"] for each in violations] == ["color-contrast"]
