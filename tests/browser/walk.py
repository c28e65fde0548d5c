"""The demo, walked through as a newcomer would, in five pictures.

`python -m tests.browser.walk` plays the whole demo and writes the pictures that README.md and docs/walk.md show;
`test_walk.py` plays a smaller one and takes the same way.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from pathlib import Path
from typing import cast

import psycopg
from playwright.async_api import Page, async_playwright, expect

from cli.dev.demo import DAYS, SUPPLIERS, Plan, _play, _settings
from cli.dev.demo_story import SARAH
from embedded.stack import Stack
from runtime.settings import Settings
from store.migrate import migrate
from tests.browser.chromium import find_chromium

PICTURES = Path("docs/walk")
NAMES = ("today", "people", "sarah", "letter", "coach")
MOST_BYTES = 150_000
QUALITY = 60
PATIENCE_S = 600
IS_HEALTHY = "SELECT 1 FROM customer_health WHERE risk_level = 'healthy' AND supplier_id = %s"
THE_LETTER = (
    "SELECT id::text FROM success_interventions WHERE supplier_id = %s AND template_used = 'grow_client_list'"
)

MESSAGES = "SELECT template_used, status, reason FROM success_interventions WHERE supplier_id = %s"


@asynccontextmanager
async def playing(settings: Settings, mail_dir: Path, plan: Plan) -> AsyncIterator[None]:
    """The demo at work, until the protagonist's story has come to its end."""
    demo = asyncio.create_task(_play(settings, mail_dir, plan, None))
    try:
        deadline = time.monotonic() + PATIENCE_S
        while not await asyncio.to_thread(rows, settings, IS_HEALTHY):
            if demo.done():
                await demo
            assert time.monotonic() < deadline, "the story has not come to its end"
            await asyncio.sleep(0.3)
        yield
    finally:
        demo.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await demo


def rows(settings: Settings, query: str) -> list[tuple[object, ...]]:
    """What a query about the protagonist finds."""
    with psycopg.connect(settings.database_url) as conn:
        return conn.execute(query.encode(), [SARAH.id]).fetchall()


async def walk(page: Page, settings: Settings, mail_dir: Path, folder: Path) -> None:
    """From the demo's link to what each of its people sees; a picture of each stop, by `NAMES`, lies in `folder`."""
    base = settings.public_url
    await page.goto(f"{base}/demo")
    await page.get_by_role("link", name="The agents' dashboard").click()
    await expect(page.get_by_role("heading", name="Today", exact=True)).to_be_visible()
    await _picture(page, folder, "today")
    await page.goto(f"{base}/dashboard/population")
    await expect(page.locator("canvas").first).to_be_visible()
    await _picture(page, folder, "people")
    await page.goto(f"{base}/demo/dashboard?supplier")
    await expect(page.get_by_role("heading", name=SARAH.business_name)).to_be_visible()
    await expect(page.locator("body")).to_contain_text("Healthy")
    await _picture(page, folder, "sarah")
    await page.goto("about:blank")  # the dashboard's policy for contents is not a mail program's
    await page.set_viewport_size({"width": 640, "height": 900})
    await page.set_content(_letter(settings, mail_dir))
    await _picture(page, folder, "letter")
    await page.set_viewport_size({"width": 1280, "height": 800})
    await page.goto(f"{base}/demo/coach")
    celebration = page.locator("success-coach dialog[open]")  # comes when it comes, and is to be closed
    await page.add_locator_handler(celebration, lambda: page.keyboard.press("Escape"))
    await page.locator("success-coach .pill").click()
    await expect(page.locator("success-coach .card")).to_be_visible()
    await _picture(page, folder, "coach")


def _letter(settings: Settings, mail_dir: Path) -> str:
    """The letter that brought them back, as HTML."""
    ids = {row[0] for row in rows(settings, THE_LETTER)}
    for path in sorted(mail_dir.glob("*.eml")):
        message = cast("EmailMessage", message_from_bytes(path.read_bytes(), policy=default))
        if message["X-Success-Intervention"] in ids:
            body = message.get_body(("html",))
            assert body is not None
            return str(body.get_content())
    raise AssertionError(f"the letter with import tips was not sent: {rows(settings, MESSAGES)}")


async def _picture(page: Page, folder: Path, name: str) -> None:
    await page.screenshot(
        path=folder / f"{name}.jpg", type="jpeg", quality=QUALITY, animations="disabled", caret="hide"
    )


def taken(folder: Path) -> list[str]:
    """The names of the pictures that lie there."""
    return sorted(path.stem for path in folder.glob("*.jpg"))


def sizes(folder: Path) -> list[int]:
    """Of the pictures, in bytes."""
    return [path.stat().st_size for path in folder.glob("*.jpg")]


async def main() -> None:
    """Play the demo of `make demo`, faster, and write the pictures of the documentation."""
    stack = Stack(Path("build/walk"), ephemeral=True)
    addresses = stack.start()
    try:
        settings = _settings(addresses)
        migrate(settings.database_url)
        async with (
            playing(settings, Path(addresses.mail_dir), Plan(SUPPLIERS, DAYS, 60, 1)),
            async_playwright() as playwright,
        ):
            path = find_chromium(playwright.chromium.executable_path)
            browser = await playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
            page = await browser.new_page(
                viewport={"width": 1440, "height": 900}, locale="en-GB", timezone_id="Europe/London"
            )
            await walk(page, settings, Path(addresses.mail_dir), PICTURES)
            await browser.close()
    finally:
        stack.stop()
    for name in NAMES:
        size = (PICTURES / f"{name}.jpg").stat().st_size
        sys.stdout.write(f"{PICTURES / name}.jpg {size:,} bytes\n")


if __name__ == "__main__":
    asyncio.run(main())
