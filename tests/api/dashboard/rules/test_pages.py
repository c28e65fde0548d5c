"""The page of the rules: what is in force, drafts that are judged, put into force and rolled back, and who may."""

from __future__ import annotations

import asyncio
import html
import re
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import psycopg
import pytest

from agents.acts import versions as acts
from embedded.registry import Addresses
from runtime.clock import ManualClock
from runtime.configuration import load
from runtime.settings import Settings
from store.audit import Actor
from tests.agents.activating import writing
from tests.agents.delivery.world import NOW, World
from tests.api.dashboard.conftest import Desk, serving
from tests.api.dashboard.rules.test_form import sent
from tests.conftest import own_settings

pytestmark = pytest.mark.stack

SEEN = re.compile(r'name="seen" value="(\d+)"')
DRAFT = "/dashboard/rules/draft"


@pytest.fixture
def settings(stack: Addresses, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """A stack of this test's own, as versions are for everybody; Emma may change them, Noah may not."""
    with own_settings(stack, tmp_path_factory.mktemp("rules") / "state", rules_editors="ada, emma") as own:
        yield own


@pytest.fixture
async def noah(settings: Settings, clock: ManualClock) -> AsyncIterator[Desk]:
    """An agent who may not change the rules."""
    async with serving(settings, clock) as made:
        await made.sign_in("noah")
        yield made


async def seen_by(desk: Desk, address: str = DRAFT) -> str:
    found = SEEN.search(await desk.page(address))
    assert found
    return found[1]


async def propose(
    desk: Desk, act: str, note: str = "fewer", seen: str = "0", base: str | None = None, **changes: str | None
) -> Any:
    """Send the draft's form with these fields otherwise."""
    lines = [("csrf", desk.csrf), ("act", act), ("note", note), ("seen", seen), *sent(**changes)]
    lines += [("base", base)] if base else []
    fields: dict[str, list[str]] = {}
    for name, text in lines:
        fields.setdefault(name, []).append(text)
    return await desk.client.post(DRAFT, data=fields)


async def activated(
    settings: Settings,
    tmp_path: Any,
    name: str,
    text: str,
    partitions: tuple[int, ...] | None = None,
    policy: str = "",
    **files: str,
) -> int:
    """A version as `success config activate` puts it into force."""
    folder = tmp_path / name
    (folder / "templates" / "email").mkdir(parents=True)
    (folder / "rules.toml").write_text(text, "utf-8")
    if policy:
        (folder / "policy.toml").write_text(policy, "utf-8")
    for file, words in files.items():
        (folder / "templates" / "email" / f"{file}.txt").write_text(words, "utf-8")
    act = acts.Act(Actor("cli", "ada"), "Ada", f"try <b>{name}</b>", int(time.time() * 1000))
    async with writing(settings) as pool:
        return (await acts.activate(settings, pool, load(folder), load(), act, partitions)).version.number


def audited(settings: Settings) -> list[tuple[str, str]]:
    with psycopg.connect(settings.database_url) as conn:
        return conn.execute(
            "SELECT actor, action FROM audit_log WHERE action LIKE 'config.%' ORDER BY id"
        ).fetchall()


def versions(settings: Settings) -> list[tuple[int, str, str, int | None]]:
    with psycopg.connect(settings.database_url) as conn:
        return conn.execute(
            "SELECT number, author, note, copy_of FROM config_versions WHERE in_force_at IS NOT NULL ORDER BY number"
        ).fetchall()


async def test_before_the_first_version_it_says_what_ships_is_in_force(desk: Desk) -> None:
    page = await desk.page("/dashboard/rules")
    assert "In force: what ships" in page
    assert "Nothing was activated yet" in page
    assert "no_login_7_days" in page


async def test_a_version_is_shown_with_who_when_and_why_and_what_it_says_otherwise(
    desk: Desk, settings: Settings, tmp_path: Any
) -> None:
    await activated(settings, tmp_path, "a", "[levels]\nhealthy = 75\n")
    subject = "{% block subject %}Only <i>today</i>{% endblock %}\n"
    await activated(settings, tmp_path, "b", "[levels]\nhealthy = 80\n", quick_win=subject)
    page = await desk.page("/dashboard/rules")
    assert "In force: version 2" in page
    assert "try &lt;b&gt;b&lt;/b&gt;" in page
    assert 'href="/dashboard/rules/versions/1"' in page
    second = await desk.page("/dashboard/rules/versions/2")
    assert "<del>75</del>" in second
    assert "<ins>80</ins>" in second
    assert "<ins>+ {% block subject %}Only &lt;i&gt;today&lt;/i&gt;{% endblock %}</ins>" in second
    table = await desk.page("/dashboard/rules/versions/2/differences.csv")
    assert "rules.levels.healthy,75,80" in table
    assert (await desk.page("/dashboard/rules/history.csv")).count("try <b>") == 2
    assert (await desk.get("/dashboard/rules/versions/3")).status_code == 404


async def test_a_draft_is_judged_while_it_is_typed(desk: Desk, settings: Settings) -> None:
    typed = {"csrf": desk.csrf, "caps.total": "few"}
    part = await desk.client.post(DRAFT, data=typed, headers={"HX-Request": "true"})
    assert "The draft: [caps], field &#39;total&#39;" in part.text
    assert "<html" not in part.text
    typed = {"csrf": desk.csrf, "caps.total": "2", "hours.zone": "Europe/Rome"}
    part = await desk.client.post(DRAFT, data=typed, headers={"HX-Request": "true"})
    assert "<del>3</del>" in part.text
    assert "success replay --set caps.total=2 --set hours.zone=Europe/Rome" in part.text
    assert "success config activate --set caps.total=2" in html.unescape(part.text)
    assert versions(settings) == []


async def test_a_draft_goes_into_force_with_a_note_and_is_audited(desk: Desk, settings: Settings) -> None:
    assert ">Delay</th>" not in await desk.page("/dashboard/rules")  # nothing has one
    changes = {"caps__total": "2", "trigger__signed_up": None, "trigger__became_at_risk__delay": "36h"}
    answer = await propose(desk, "activate", "fewer of them", **changes)
    assert (answer.status_code, answer.headers["location"]) == (303, "/dashboard/rules?said=activated")
    assert versions(settings) == [(1, "emma", "fewer of them", None)]
    assert audited(settings) == [("emma", "config.activated")]
    page = await desk.page("/dashboard/rules")
    assert "At most 2 messages" in page  # this very service is over, without waiting
    assert "fewer of them" in page
    assert ">36\N{NO-BREAK SPACE}h</td>" in page
    assert "<code>trigger signed_up</code>" in await desk.page("/dashboard/rules/versions/1")


async def test_a_draft_goes_on_top_of_the_words_in_force(
    desk: Desk, settings: Settings, tmp_path: Any
) -> None:
    await activated(settings, tmp_path, "a", "[levels]\nhealthy = 75\n", quick_win="Mine\n")
    assert (await propose(desk, "activate", seen="1", caps__total="2")).status_code == 303
    with psycopg.connect(settings.database_url) as conn:
        row = conn.execute(
            "SELECT templates ->> 'email/quick_win.txt', rules -> 'levels' ->> 'healthy', policy -> 'caps' ->> 'total'"
            " FROM config_versions WHERE number = 2"
        ).fetchone()
    assert row is not None
    assert (row[0], float(row[1]), row[2]) == ("Mine\n", 75, "2")


@pytest.mark.parametrize(
    ("note", "changes", "complaint"),
    [
        ("x", {"caps__total": "few"}, "field &#39;total&#39;"),
        ("x", {"hours__from": "21:00"}, "must be before <code>until</code>"),
        ("  ", {"caps__total": "2"}, "Say why, in the note"),
        ("x", {}, "The draft says what is in force already"),
    ],
)
async def test_what_can_not_be_put_into_force_is_said_on_the_page_with_what_was_typed(
    desk: Desk, settings: Settings, note: str, changes: dict[str, str], complaint: str
) -> None:
    answer = await propose(desk, "activate", note, **changes)
    assert answer.status_code == 409
    assert complaint in answer.text
    for name, text in changes.items():
        assert f'name="{name.replace("__", ".")}" value="{text}"' in answer.text
    assert versions(settings) == []


async def test_what_was_decided_on_top_of_another_version_is_refused(
    desk: Desk, settings: Settings, tmp_path: Any
) -> None:
    seen = await seen_by(desk)
    await activated(settings, tmp_path, "a", "[levels]\nhealthy = 75\n")
    late = await propose(desk, "activate", seen=seen, caps__total="2")
    assert late.status_code == 409
    assert "Version 1 came while this page was open" in late.text
    assert 'name="seen" value="1"' in late.text
    both = await asyncio.gather(*(propose(desk, "activate", seen="1", caps__total="2") for _ in range(2)))
    assert sorted(each.status_code for each in both) == [303, 409]
    assert [number for number, *_ in versions(settings)] == [1, 2]


async def test_fields_left_alone_do_not_undo_what_came_meanwhile(
    desk: Desk, settings: Settings, tmp_path: Any
) -> None:
    await activated(settings, tmp_path, "a", "", policy="[caps]\ntotal = 1\n")
    late = await propose(desk, "activate", seen="0", base="0", hours__from="09:00")
    assert late.status_code == 409
    assert 'name="caps.total" value="1"' in late.text
    assert 'name="hours.from" value="09:00"' in late.text
    assert "<code>caps.total</code>" not in late.text
    assert (await propose(desk, "activate", base="7", hours__from="09:00")).status_code == 404


async def test_an_earlier_version_is_put_into_force_again_behind_a_confirmation(
    desk: Desk, settings: Settings, tmp_path: Any
) -> None:
    await activated(settings, tmp_path, "a", "[levels]\nhealthy = 75\n")
    await activated(settings, tmp_path, "b", "[levels]\nhealthy = 80\n")
    again = "/dashboard/rules/versions/1/again"
    assert f'href="{again}"' in await desk.page("/dashboard/rules/versions/1")
    asked = await desk.page(again)
    assert "<del>80</del>" in asked
    seen = await seen_by(desk, again)
    empty = await desk.post(again, seen=seen, note=" ")
    assert (empty.status_code, "Say why, in the note" in empty.text) == (409, True)
    done = await desk.post(again, seen=seen, note="too strict")
    assert (done.status_code, done.headers["location"]) == (303, "/dashboard/rules?said=rolled_back")
    assert versions(settings)[-1] == (3, "emma", "too strict", 1)
    assert audited(settings)[-1] == ("emma", "config.rolled_back")
    assert "version 1 again" in await desk.page("/dashboard/rules")
    assert (await desk.post(again, seen=seen, note="twice")).status_code == 409
    assert len(versions(settings)) == 3


async def test_who_may_not_change_them_looks_and_is_told_which_command_does(
    noah: Desk, settings: Settings, tmp_path: Any
) -> None:
    await activated(settings, tmp_path, "a", "[levels]\nhealthy = 75\n")
    await activated(settings, tmp_path, "b", "[levels]\nhealthy = 80\n")
    assert "success config activate" in await noah.page("/dashboard/rules")
    assert "success config rollback 1" in await noah.page("/dashboard/rules/versions/1")
    assert 'value="activate"' not in await noah.page(DRAFT)
    assert "success replay --set caps.total=2" in (await propose(noah, "check", caps__total="2")).text
    refused = [
        await noah.get("/dashboard/rules/versions/1/again"),
        await noah.post("/dashboard/rules/versions/1/again", seen="2", note="x"),
        await propose(noah, "activate", seen="2", caps__total="2"),
    ]
    assert [each.status_code for each in refused] == [403, 403, 403]
    assert all("SUCCESS_RULES_EDITORS" in each.text for each in refused)
    assert len(versions(settings)) == 2


async def test_nobody_may_unless_somebody_is_named(settings: Settings, clock: ManualClock) -> None:
    async with serving(settings.model_copy(update={"rules_editors": ""}), clock) as desk:
        await desk.sign_in()
        assert (await propose(desk, "activate", caps__total="2")).status_code == 403
    assert versions(settings) == []


async def test_a_form_of_another_site_changes_nothing(desk: Desk, settings: Settings, tmp_path: Any) -> None:
    await activated(settings, tmp_path, "a", "[levels]\nhealthy = 75\n")
    for address in (DRAFT, "/dashboard/rules/versions/1/again"):
        fields = {"note": "x", "seen": "1", "act": "activate", "caps.total": "2"}
        assert (await desk.client.post(address, data=fields)).status_code == 403
    assert len(versions(settings)) == 1


async def test_kafka_away_is_a_sentence_and_nothing_is_changed(
    settings: Settings, clock: ManualClock
) -> None:
    away = settings.model_copy(update={"kafka": "127.0.0.1:9"})
    async with serving(away, clock) as desk:
        await desk.sign_in()
        assert "In force: what ships" in await desk.page("/dashboard/rules")
        answer = await propose(desk, "activate", "kept", caps__total="2")
    assert answer.status_code == 409
    assert "Kafka does not answer: nothing was changed" in answer.text
    assert "kept</textarea>" in answer.text
    with psycopg.connect(settings.database_url) as conn:
        assert conn.execute("SELECT count(*) FROM config_versions").fetchone() == (0,)
    assert audited(settings) == []


async def test_kafka_lost_halfway_is_said_as_it_is(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    async def lost(*_: object) -> None:
        raise TimeoutError

    monkeypatch.setattr("agents.acts.versions.rules_log.write_version", lost)
    answer = await propose(desk, "activate", caps__total="2")
    assert "version 1 is kept in the history and is not in force" in answer.text
    assert "never in force" in await desk.page("/dashboard/rules")
    assert "At most 3 messages" in await desk.page("/dashboard/rules")


async def test_old_workers_are_named(desk: Desk, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    async def old(_: Settings) -> None:
        raise acts.OldWorkersError("2 of 3 workers run a program that knows no versions: stop them")

    monkeypatch.setattr("agents.acts.versions.refuse_old_workers", old)
    answer = await propose(desk, "activate", caps__total="2")
    assert answer.status_code == 409
    assert "2 of 3 workers run a program" in answer.text
    assert versions(settings) == []


async def test_a_version_that_this_program_can_not_use_is_said_and_nothing_goes_on_top_of_another(
    desk: Desk, settings: Settings, tmp_path: Any
) -> None:
    await activated(settings, tmp_path, "a", "[levels]\nhealthy = 75\n")
    with psycopg.connect(settings.database_url, autocommit=True) as conn:
        conn.execute("""UPDATE config_versions SET policy = '{"trigger": []}'""")
    assert "can&#39;t use version 1 and goes on by what ships" in await desk.page("/dashboard/rules")
    answer = await propose(desk, "activate", seen="1", caps__total="2")
    assert (answer.status_code, "can&#39;t use version 1" in answer.text) == (409, True)
    assert len(versions(settings)) == 1


async def test_a_version_on_some_partitions_is_named_with_them(
    desk: Desk, settings: Settings, tmp_path: Any
) -> None:
    await activated(settings, tmp_path, "a", "[levels]\nhealthy = 75\n")
    await activated(settings, tmp_path, "b", "[levels]\nhealthy = 80\n", partitions=(0, 2))
    page = await desk.page("/dashboard/rules")
    assert "In force: version 1" in page
    assert "in force on partitions 0, 2" in page
    for address in (DRAFT, "/dashboard/rules/versions/1/again"):
        assert "Version 2 ends with it, which is in force on partitions 0, 2" in await desk.page(address)


async def test_an_address_fills_the_draft_in(desk: Desk) -> None:
    page = await desk.page(f"{DRAFT}?set=caps.total%3D2&set=trigger.signed_up%3Doff")
    assert 'name="caps.total" value="2"' in page
    assert "<code>trigger signed_up</code>" in page
    assert "No field of this page is for weights.login" in await desk.page(f"{DRAFT}?set=weights.login%3D20")
    assert (await desk.get(f"{DRAFT}?set=nonsense")).status_code == 422


async def test_messages_that_wait_for_a_trigger_that_goes_are_counted(desk: Desk, world: World) -> None:
    await world.row(await world.supplier(), "no_login_7_days", signal_at=NOW)
    page = await desk.page(f"{DRAFT}?set=trigger.no_login_7_days%3Doff")
    assert "1 message of <code>no_login_7_days</code> waits" in page
