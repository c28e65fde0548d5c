"""The elements in other people's pages: another origin, a strict policy, a framework that sets properties."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable

import pytest
from playwright.async_api import Page, expect

from tests.agents.delivery.world import World
from tests.browser.coach_page import OFFER

pytestmark = pytest.mark.usefixtures("no_console_errors")


Show = Callable[..., Awaitable[None]]


@pytest.fixture
def show(page: Page, elsewhere: Callable[..., str]) -> Show:
    """Open a page of another origin with this body."""

    async def opened(body: str, *, policy: str | None = None) -> None:
        head = "<!doctype html><html lang=en><title>Host</title><link rel=icon href=data:,>"
        await page.goto(elsewhere(f"{head}<main><h1>Host</h1>{body}</main></html>", policy=policy))

    return opened


@pytest.fixture
def her_token(token: Callable[..., str]) -> Callable[[str], str]:
    """A token of a supplier."""
    return lambda supplier: token("supplier", supplier)


@pytest.mark.parametrize(
    "script", ['<script src="{}/coach.js"></script>', '<script type="module" src="{}/coach.js"></script>']
)
async def test_one_script_tag_is_enough_on_another_origin(
    show: Show, page: Page, api_url: str, world: World, her_token: Callable[[str], str], script: str
) -> None:
    supplier = await world.supplier()
    await show(
        f"""{script.format(api_url)}<success-coach supplier-id="{supplier}" page="/dashboard"></success-coach>
        <script>document.querySelector("success-coach").getToken = async () => "{her_token(supplier)}";</script>""",
    )

    await expect(page.get_by_text(OFFER)).to_be_visible()


async def test_properties_set_before_the_script_arrives_count(
    show: Show, page: Page, api_url: str, world: World, her_token: Callable[[str], str]
) -> None:
    """As React 19 does; older ones write attributes, whose names HTML makes lower case."""
    supplier = await world.supplier()
    await show(
        f"""<script>
          const coach = document.createElement("success-coach");
          const getToken = async () => "{her_token(supplier)}";
          Object.assign(coach, {{ supplierId: "{supplier}", currentPage: "/clients", getToken }});
          document.body.append(coach);
          const other = document.createElement("success-coach");
          other.setAttribute("supplierId", "{supplier}");
          other.setAttribute("currentPage", "/templates");
          other.getToken = coach.getToken;
          document.body.append(other);
        </script><script src="{api_url}/coach.js"></script>""",
    )

    first, second = page.locator("success-coach").first, page.locator("success-coach").nth(1)
    await expect(first).to_have_attribute("data-state", "ready")
    await expect(second).to_have_attribute("data-state", "ready")
    assert await first.evaluate("(coach) => [coach.page, coach.supplierId]") == ["/clients", supplier]
    assert await second.evaluate("(coach) => [coach.page, coach.supplierId]") == ["/templates", supplier]


async def test_a_strict_policy_of_the_host_is_no_trouble(
    show: Show, page: Page, api_url: str, world: World, her_token: Callable[[str], str]
) -> None:
    """No inline styles, no eval, no blobs: scripts and connections to the API are all that it needs."""
    supplier = await world.supplier()
    await show(
        f'<script src="{api_url}/coach.js"></script><success-coach supplier-id="{supplier}"></success-coach>',
        policy=f"default-src 'none'; img-src data:; script-src {api_url}; connect-src {api_url}; style-src 'none'",
    )
    await page.evaluate(
        f"document.querySelector('success-coach').getToken = async () => '{her_token(supplier)}'"
    )

    await page.locator("success-coach .pill").click()
    await expect(page.locator("success-coach .tip")).to_be_visible()
    assert (
        await page.locator("success-coach .card").evaluate("(card) => getComputedStyle(card).borderRadius")
        == "14px"
    )


async def test_it_is_themed_by_custom_properties(
    show: Show, page: Page, api_url: str, world: World, her_token: Callable[[str], str]
) -> None:
    supplier = await world.supplier()
    await show(
        f"""<style>
          body {{ --success-accent: rgb(0, 90, 60); --success-radius: 3px }}
          success-coach {{ --success-offset-y: 40px }}
        </style>
        <script src="{api_url}/coach.js"></script><success-coach theme="light" supplier-id="{supplier}"></success-coach>
        <script>document.querySelector("success-coach").getToken = async () => "{her_token(supplier)}";</script>""",
    )
    await page.locator("success-coach .pill").click()

    colour = await page.locator("success-coach .button.primary").first.evaluate(
        "(one) => getComputedStyle(one).backgroundColor"
    )
    assert colour == "rgb(0, 90, 60)"
    assert (
        await page.locator("success-coach .card").evaluate("(card) => getComputedStyle(card).borderRadius")
        == "3px"
    )
    box = await page.locator("success-coach .card").bounding_box()
    assert box is not None
    assert round(900 - box["y"] - box["height"]) == 40


async def test_a_coach_that_is_taken_out_stops_asking(
    show: Show, page: Page, api_url: str, world: World, her_token: Callable[[str], str]
) -> None:
    supplier = await world.supplier()
    await show(
        f"""<script src="{api_url}/coach.js"></script><success-coach supplier-id="{supplier}"></success-coach>
        <script>document.querySelector("success-coach").getToken = async () => "{her_token(supplier)}";</script>""",
    )
    await page.locator("success-coach[data-state=ready]").wait_for(state="attached")

    async with page.expect_event("requestfailed", lambda request: "/events" in request.url):
        await page.evaluate("document.querySelector('success-coach').remove()")


async def test_a_milestone_card_stands_alone(show: Show, page: Page, api_url: str) -> None:
    seven = {"type": "ten_clients", "achieved": False, "progress": 70, "nextStep": "3 more to bring in."}
    await show(
        f"""<script src="{api_url}/coach.js"></script>
        <milestone-card id="way" milestone='{json.dumps(seven)}'></milestone-card>
        <milestone-card id="done"></milestone-card>
        <script>
          window.heard = [];
          document.addEventListener("celebrate", (event) => heard.push(event.detail.milestone.type));
          const done = document.querySelector("#done");
          done.milestone = {{ type: "first_form", achieved: true, progress: 100, nextStep: "Send it to one couple." }};
          done.onCelebrate = () => heard.push("callback");
        </script>""",
    )
    way, done = page.locator("#way"), page.locator("#done")
    await expect(way.get_by_role("progressbar", name="Ten clients")).to_have_attribute("aria-valuenow", "70")
    await expect(way).to_contain_text("3 more to bring in.")
    await expect(way.get_by_role("button")).to_have_count(0)
    await done.get_by_role("button", name="Celebrate").click()
    assert await page.evaluate("heard") == ["first_form", "callback"]
    await expect(done.locator("canvas[data-thrown]")).to_have_count(1)

    await page.evaluate(
        "document.querySelector('#way').milestone = "
        "{ type: 'ten_clients', achieved: true, progress: 100, nextStep: 'Set up a journey.' }"
    )

    assert await page.evaluate("heard") == ["first_form", "callback", "ten_clients"]
    await expect(way.get_by_role("button", name="Tell others")).to_be_visible()


# Of the page's own elements: what moves or hides an ancestor takes along whatever is in it.
HOSTILE = """
  * { font-size: 40px !important; display: none; letter-spacing: 9px !important; color: lime !important; }
  success-coach { opacity: 0.1 !important; transform: scale(3) !important; position: static !important; }
  success-coach { display: none !important; width: 9px !important; filter: blur(9px) !important; }
  success-coach { --card: red !important; --ink: red !important; }
  html, body, main { display: block !important; direction: rtl; text-transform: uppercase; word-spacing: 2em; }
  body { line-height: 5; text-align: right; text-indent: 3em; white-space: pre; visibility: hidden; cursor: none; }
  button { all: unset !important; } .pill, .card, .button { display: none !important; background: red !important; }
"""
LOOKS = """coach => [coach, ...coach.shadowRoot.querySelectorAll('.card, .card *')]
  .filter(element => element.checkVisibility()).map(element => {
  const style = getComputedStyle(element), box = element.getBoundingClientRect();
  return [element.localName, box.x, box.y, box.width, box.height, style.color, style.backgroundColor, style.fontSize,
    style.letterSpacing, style.textTransform, style.direction, style.opacity, style.visibility,
    style.display].join(' ');
})"""


async def test_a_hostile_style_sheet_of_the_host_does_not_reach_it(
    show: Show, page: Page, api_url: str, world: World, her_token: Callable[[str], str]
) -> None:
    supplier = await world.supplier()
    looks = []
    for css in ("", HOSTILE):
        await show(
            f"""<style>{css}</style><script src="{api_url}/coach.js"></script>
            <success-coach theme="light" supplier-id="{supplier}"></success-coach>
            <script>document.querySelector("success-coach").getToken = async () => "{her_token(supplier)}";</script>"""
        )
        await page.locator("success-coach .pill").click()
        await expect(page.locator("success-coach .tip")).to_be_visible()
        await page.evaluate("document.fonts.ready")
        looks.append(await page.locator("success-coach").evaluate(LOOKS))
    assert looks[1] == looks[0]
