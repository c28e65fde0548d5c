"""Agents before the dashboard: let in without the login page, or signed in at it by hand."""

from __future__ import annotations

from http import HTTPStatus

from playwright.async_api import BrowserContext, Page, expect


async def let_in(context: BrowserContext, url: str, token: str) -> None:
    """Give a browser the session of a token, as the login's form does, but without loading any page."""
    answer = await context.request.post(f"{url}/dashboard/login", form={"token": token}, max_redirects=0)
    assert answer.status == HTTPStatus.SEE_OTHER, await answer.text()


async def open_as(page: Page, url: str, token: str, path: str = "") -> None:
    """Let an agent in, and load a page of the dashboard: *Today*, unless another is named."""
    await let_in(page.context, url, token)
    await page.goto(f"{url}/dashboard{path}")
    if not path:
        await expect(page.get_by_role("heading", name="Today", exact=True)).to_be_visible()


async def sign_in_by_hand(page: Page, url: str, token: str) -> None:
    """Sign an agent in at the login, as they do it."""
    await page.goto(f"{url}/dashboard")
    await page.get_by_label("Your token").fill(token)
    await page.get_by_role("button", name="Sign in").click()
    await expect(page.get_by_role("heading", name="Today", exact=True)).to_be_visible()
