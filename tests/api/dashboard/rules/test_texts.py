"""A draft of files: rules, policy and letters as text, checked as one types, kept, previewed and put into force."""

from __future__ import annotations

import html
from typing import Any

import pytest

from agents.letters.draft import texts_of
from runtime.configuration import load
from runtime.settings import Settings
from tests.api.dashboard.conftest import Desk
from tests.api.dashboard.rules.test_pages import activated, audited, noah, propose, settings, versions
from tests.docs.test_rules_example import LETTERS, example

__all__ = ["noah", "settings"]

pytestmark = pytest.mark.stack

TEXT = "/dashboard/rules/draft/text"
WORDS = "/dashboard/rules/draft/words"
SHIPPED = texts_of(load())


async def say(desk: Desk, file: str, text: str, act: str = "check", **fields: str) -> Any:
    return await desk.post(TEXT, file=file, text=text, act=act, **fields)


async def with_the_example(desk: Desk) -> None:
    """The example of docs/rules.md, as it is typed."""
    for file, text in example().items():
        answer = await say(desk, file, f"{SHIPPED[file]}\n{text}" if file in SHIPPED else text)
        assert answer.status_code == 200


async def test_a_mistake_is_named_with_its_line_and_is_kept(desk: Desk) -> None:
    wrong = (
        SHIPPED["rules.toml"]
        + '\n[[condition]]\nname = "q"\nnumber = 7\nsince = "last_activity"\nafter = "21d"\n'
    )
    line = wrong.splitlines().index('since = "last_activity"') + 1
    for part in (
        await desk.client.post(
            TEXT,
            data={"csrf": desk.csrf, "file": "rules.toml", "text": wrong.replace("\n", "\r\n")},
            headers={"HX-Request": "true"},
        ),
        await desk.get(f"{TEXT}?file=rules.toml"),  # loaded again
    ):
        assert f"rules.toml, line {line}: condition q: there is no event type" in html.unescape(part.text)
        assert "<ins>+ name = &#34;q&#34;</ins>" in part.text
    assert html.unescape(await desk.page(TEXT)).count(wrong) == 1
    assert "Your draft" in await desk.page("/dashboard/rules")
    await say(desk, "rules.toml", wrong, act="leave")
    assert "Your draft" not in await desk.page("/dashboard/rules")


async def test_a_condition_with_its_letters_goes_into_force_whole(desk: Desk, settings: Settings) -> None:
    begun = await desk.post(WORDS, name="clients_went_quiet", languages="de, fr")
    assert begun.headers["location"] == f"{TEXT}?file=templates%2Femail%2Fclients_went_quiet.txt"
    for ending in ("txt", "html"):
        await say(desk, f"templates/fr/email/clients_went_quiet.{ending}", "", act="leave")
    skeleton = html.unescape(await desk.page(f"{TEXT}?file={LETTERS[2]}"))
    assert "body_to_be_written" in skeleton
    for file in ("rules.toml", "policy.toml"):
        await say(desk, file, f"{SHIPPED[file]}\n{example()[file]}")
    unfinished = await say(desk, LETTERS[0], example()[LETTERS[0]], act="activate", note="x", seen="0")
    assert (unfinished.status_code, versions(settings)) == (409, [])
    assert "email/clients_went_quiet.html, line" in unfinished.text
    await with_the_example(desk)
    await propose(desk, "check", caps__total="2")
    german = await desk.page("/dashboard/rules/letters?draft=emma&letter=clients_went_quiet&locale=de")
    assert "<dd>Drei ruhige Wochen</dd>" in german
    assert "the draft of emma" in german
    done = await say(desk, LETTERS[0], example()[LETTERS[0]], act="activate", note="silence", seen="0")
    assert (done.status_code, done.headers["location"]) == (303, "/dashboard/rules?said=activated")
    assert versions(settings) == [(1, "emma", "silence", None)]
    assert audited(settings) == [("emma", "config.activated")]
    page = await desk.page("/dashboard/rules")
    assert "condition:clients_went_quiet" in page
    assert "At most 2 messages" in page
    assert "Your draft" not in page
    assert "Nothing yet" in await desk.page(TEXT)
    # written out, as it is stored now: it says the same
    assert "name = &#34;clients_went_quiet&#34;" in await desk.page(f"{TEXT}?file=policy.toml")


async def test_who_may_not_change_rules_sees_drafts_and_changes_none(desk: Desk, noah: Desk) -> None:
    await say(desk, "brand.toml", SHIPPED["brand.toml"].replace('name = "WedSync"', 'name = "Wed"'))
    for address in (TEXT, WORDS):
        refused = await noah.post(address, file="brand.toml", text="", act="leave", name="a", languages="")
        assert refused.status_code == 403
        assert "SUCCESS_RULES_EDITORS" in refused.text
    assert "A draft of emma" in await noah.page("/dashboard/rules")
    for address in (f"{TEXT}?file=brand.toml&of=emma", "/dashboard/rules/draft?of=emma", f"{WORDS}?of=emma"):
        page = await noah.page(address)
        assert "Draft of emma" in page
        assert 'name="act"' not in page
    assert "<ins>Wed</ins>" in await noah.page(f"{TEXT}?file=brand.toml&of=emma")
    assert " readonly>" in await noah.page(TEXT)


async def test_a_version_that_came_meanwhile_is_not_undone_by_an_older_text(
    desk: Desk, settings: Settings, tmp_path: Any
) -> None:
    mine = SHIPPED["rules.toml"].replace("margin = 3", "margin = 4")
    await say(desk, "rules.toml", mine)
    await activated(settings, tmp_path, "a", "[levels]\nhealthy = 75\n")
    answer = await say(desk, "rules.toml", mine, act="activate", note="x", seen="1")
    assert answer.status_code == 409
    assert "rules.toml: version 1 came since" in answer.text
    assert (await say(desk, "rules.toml", mine, act="mine")).status_code == 303
    page = await desk.page(TEXT)
    assert "<code>rules.levels.healthy</code><br><del>75</del>" in page
    assert "came since" not in page


@pytest.mark.parametrize(
    "file", ["../a.txt", "templates/../email/a.txt", "templates/email/a.py", "churn.toml", ""]
)
async def test_only_files_of_a_configuration_can_be_written(desk: Desk, file: str) -> None:
    assert (await say(desk, file, "x")).status_code == 404
    for name in ("../a", "A", "_a", ""):
        assert (await desk.post(WORDS, name=name, languages="")).status_code == 422
    assert (await desk.post(WORDS, name="a", languages="xx-nowhere/..")).status_code == 422
