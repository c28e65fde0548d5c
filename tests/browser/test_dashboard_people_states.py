"""What the dashboard shows of suppliers, messages, calls and rules that are in a state of their own: each drawn."""

from __future__ import annotations

import json
from datetime import datetime
from importlib import import_module
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from aiokafka import AIOKafkaProducer
from playwright.async_api import expect

from agents.acts.dead_letter_log import LettersAwayError
from api.app import build_app
from api.dashboard.fresh.lag import Lag
from api.dashboard.rules.trial import Trial
from runtime.settings import Settings
from scoring.time import DAY, HOUR, MINUTE
from scoring.zones import zone_named
from tests.agents.activating import activate
from tests.agents.delivery.world import World
from tests.api.dashboard.conftest import add_changes
from tests.browser.dashboard_states import Dashboard, dashboard, kafka, now_ms, own, quiet, there
from tests.browser.serving import free_ports, serving
from tests.browser.test_dashboard import someone_at_risk
from tests.browser.test_today import tagged
from topics.catalog import ACTIVITY, DEAD_LETTERS, PROFILES, full_name
from topics.outcome import dead_letter_headers
from topics.time import format_time

__all__ = ["dashboard", "kafka", "own", "there"]

pytestmark = pytest.mark.usefixtures("no_console_errors")

NOT_SENT = "UPDATE success_interventions SET status = %s, reason = %s, last_error = %s WHERE id = %s"
SENT = (
    "UPDATE success_interventions SET status = 'sent', reason = NULL, sent_at = due_at, experiment = %s, variant = %s, "
    "opened_at = CASE WHEN %s THEN due_at + interval '1 hour' END, "
    "clicked_at = CASE WHEN %s THEN due_at + interval '2 hours' END WHERE id = %s"
)
CALL = (
    "INSERT INTO support_interactions (supplier_id, interaction_type, status, scheduled_at, ends_at, notes, added_by) "
    "VALUES (%s, %s, 'scheduled', to_timestamp(%s), to_timestamp(%s), %s, %s)"
)


async def call(
    world: World, supplier_id: str, kind: str, at: int | None, notes: str | None = None, by: str | None = None
) -> None:
    """A call that is booked, or (without a time) asked for, or added by an agent."""
    starts = None if at is None else at / 1000
    await world.query(CALL, supplier_id, kind, starts, starts and starts + 900, notes, by)


def where_it_is_night() -> str:
    """A zone in which no letter leaves now."""
    zones = (
        "Pacific/Auckland",
        "Asia/Tokyo",
        "Asia/Dubai",
        "Europe/London",
        "America/New_York",
        "Pacific/Honolulu",
    )
    return next(zone for zone in zones if not 5 <= datetime.now(zone_named(zone)).hour < 22)


async def test_a_supplier_of_whom_little_is_known_and_one_who_is_well(
    dashboard: Dashboard, there: World
) -> None:
    nobody, well = str(uuid4()), await quiet(there, "Larch & Lace")
    await there.query("INSERT INTO suppliers (id) VALUES (%s)", nobody)
    await dashboard.let_in()
    page = dashboard.page
    await dashboard.draw("supplier-nothing-known", f"/suppliers/{nobody}")
    for words in (
        "They have no score yet",
        "Nothing has happened yet",
        "Nothing is known of them yet that a message",
    ):
        await expect(page.get_by_text(words)).to_be_visible()
    await dashboard.draw("supplier-well", f"/suppliers/{well}")


async def test_a_supplier_who_is_held_or_wants_nothing(dashboard: Dashboard, there: World) -> None:
    held = await someone_at_risk(there, "Fern & Fiddle")
    gone = await someone_at_risk(there, "Heather & Stone Photography")
    no_mail = await someone_at_risk(there, "Plain & Simple")
    await there.query("UPDATE suppliers SET all_opt_out = true WHERE id = %s", gone)
    await there.health(gone, seq=30, cancelled=True, signed_up_at=format_time(now_ms() - 60 * DAY))
    await there.query("UPDATE suppliers SET email_opt_out = true WHERE id = %s", no_mail)
    await dashboard.let_in()
    page = dashboard.page
    await dashboard.go(f"/suppliers/{held}")
    await page.get_by_label("Hold because").fill("talks to Tom")
    await page.get_by_role("button", name="Hold all messages").click()
    await expect(page.get_by_role("button", name="Release")).to_be_visible()
    await dashboard.draw("supplier-held")
    await dashboard.go(f"/suppliers/{gone}")
    await expect(page.get_by_text("opted out of everything").first).to_be_visible()
    await dashboard.draw("supplier-opted-out-cancelled")
    await dashboard.go(f"/suppliers/{no_mail}")
    await page.get_by_text("They want no messages: opt them out").click()
    await dashboard.draw("supplier-no-emails-asked-to-opt-out")
    await dashboard.draw("write-not-sent", f"/suppliers/{no_mail}/write/became_at_risk")
    await expect(page.get_by_text("They would not get it.")).to_be_visible()
    await dashboard.go("/suppliers")
    await page.get_by_text("Keep this view").click()
    await page.get_by_label("Name", exact=True).fill("All of them")
    await page.get_by_role("button", name="Keep view").click()
    await expect(page.get_by_role("link", name="All of them")).to_be_visible()
    await page.get_by_text("Keep this view").click()
    await dashboard.draw("suppliers-held-opted-out-view-kept")


async def test_calls_and_a_letter_that_waits(dashboard: Dashboard, there: World) -> None:
    supplier_id, now = await someone_at_risk(there, "Amber & Ash Films"), now_ms()
    await call(there, supplier_id, "check_in", now + DAY, "About the spring fair.\nPrefers mornings.")
    await call(there, supplier_id, "onboarding_call", now - HOUR)
    await call(there, supplier_id, "technical_support", None, "The import stops at row 12.")
    await dashboard.let_in()
    page = dashboard.page
    await dashboard.go(f"/suppliers/{supplier_id}")
    await page.locator(".letter summary").first.click()
    for notes in await page.locator("summary", has_text="Notes").all():
        await notes.click()
    await dashboard.draw("supplier-calls-and-letter-open")
    await dashboard.draw("write-call-task", f"/suppliers/{supplier_id}/write/became_critical")
    await there.query("UPDATE suppliers SET timezone = %s WHERE id = %s", where_it_is_night(), supplier_id)
    await dashboard.draw("write-waits", f"/suppliers/{supplier_id}/write/became_at_risk")
    await expect(page.locator(".option .wait")).to_be_visible()
    await page.get_by_role("button", name="Send it").click()
    await expect(page.locator("form.undo")).to_be_visible()
    await dashboard.draw("supplier-letter-to-be-undone")


async def test_a_full_day(dashboard: Dashboard, there: World) -> None:
    now = now_ms()
    asked, added, unreachable = [
        await someone_at_risk(there, name) for name in ("Apple Barn", "Brook & Bell", "Clover Films")
    ]
    no_address = await there.supplier(business_name="Dew Gardens", email=None, first_name=None)
    await there.health(no_address, seq=20, churn_probability=0.97, level="critical", score=12)
    await there.query("UPDATE suppliers SET email_opt_out = true WHERE id = %s", unreachable)
    await call(there, asked, "onboarding_call", None, "I can't find my forms.")
    await call(there, added, "churn_prevention", None, "Ask about the new studio.", "noah")
    booked = await quiet(there, "Elder & Elm")
    midnight = now // DAY * DAY
    await call(there, booked, "check_in", midnight + 23 * HOUR + 30 * MINUTE)
    row = await there.row(booked, "first_form_created", signal_at=now - MINUTE)
    await there.query(
        "UPDATE success_interventions SET not_before = to_timestamp(%s) WHERE id = %s",
        (midnight + DAY - MINUTE) / 1000,
        row,
    )
    await dashboard.sign_in()
    await expect(dashboard.page.get_by_text("they asked").first).to_be_visible()
    await dashboard.draw("today-full")


async def test_lists_that_are_searched_and_selected(dashboard: Dashboard, there: World) -> None:
    supplier_id = await someone_at_risk(there, "Heather & Stone Photography")
    gone = await someone_at_risk(there, "Larch & Lace")
    first = await there.supplier(business_name="Sailcloth Summer Company of the South West")
    await add_changes(
        there, first, (now_ms() - 20 * DAY, 30, "critical"), (now_ms() - 5 * DAY, 12, "critical")
    )
    await tagged(there, supplier_id)
    await dashboard.let_in()
    page = dashboard.page
    await dashboard.draw("search-spelt-like-it", "/suppliers?q=heathr")
    await expect(page.get_by_text("Nobody is called just so; these are spelt like it.")).to_be_visible()
    await page.get_by_label("Search suppliers").fill("heather")
    await expect(page.locator("#found a")).to_have_count(1)
    await dashboard.draw("search-finds", whole=False)
    await dashboard.go("/suppliers")
    await page.get_by_label("Select Heather").check()
    await page.get_by_role("button", name="Hold messages").click()
    await dashboard.draw("selection-hold")
    await dashboard.go("/suppliers")
    await page.get_by_label("Select Heather").check()
    await page.get_by_label("Tag", exact=True).last.fill("autumn")
    await page.get_by_role("button", name="Remove tag").click()
    await expect(page.get_by_text("It would change nobody.")).to_be_visible()
    await dashboard.draw("selection-changes-nobody")
    await there.query("DELETE FROM suppliers WHERE id = %s", gone)
    await dashboard.draw("changes-of-all-kinds", "/changes?days=90")
    await dashboard.draw("population-with-an-erased-one", "/population")


async def test_what_became_of_messages(dashboard: Dashboard, there: World) -> None:
    people = [await someone_at_risk(there, name) for name in ("Apple Barn", "Brook & Bell", "Clover Films")]
    logged_in = {"last_goals": {"supplier.logged_in": format_time(now_ms() - HOUR)}}
    for number, supplier_id in enumerate(people):
        await there.health(supplier_id, seq=40, **logged_in)
        for experiment, variant in (
            ("no_login_7_days", "base"),
            ("no_login_7_days", "short"),
            ("holdout", "treated"),
        ):
            row = await there.row(supplier_id, "no_login_7_days", signal_at=now_ms() - 3 * DAY)
            await there.query(SENT, experiment, variant, number != 1, number == 2, row)
        row = await there.row(supplier_id, "no_login_7_days", signal_at=now_ms() - 3 * DAY)
        await there.query(NOT_SENT, "suppressed", "holdout", None, row)
        await there.query(
            "UPDATE success_interventions SET experiment = 'holdout', variant = 'holdout' WHERE id = %s", row
        )
        for status, reason, error in (
            ("failed", None, "550 5.1.1 no such mailbox"),
            ("unknown", None, "the connection was lost after DATA"),
            ("suppressed", ("opted_out", "stale", "nothing_to_say")[number], None),
        ):
            row = await there.row(supplier_id, "low_client_adoption", signal_at=now_ms() - 2 * DAY)
            await there.query(NOT_SENT, status, reason, error, row)
    await dashboard.let_in()
    await dashboard.draw("messages-full", "/messages")
    await dashboard.draw("message-list-of-all-kinds", "/messages/list?template=grow_client_list")
    await dashboard.draw(
        "message-list-of-a-variant", "/messages/list?template=we_miss_you&status=sent&variant=short"
    )


async def bury(
    producer: AIOKafkaProducer, own: Settings, topic: str, value: bytes, reason: str, key: str = ""
) -> str:
    """Publish a dead letter as the worker does; gives its address on the dashboard."""
    headers = dead_letter_headers(reason, full_name(own.topic_prefix, topic), 0, 7, [])
    sent = await producer.send_and_wait(
        full_name(own.topic_prefix, DEAD_LETTERS), value, (key or str(uuid4())).encode(), headers=headers
    )
    return f"/system/dead-letter?partition={sent.partition}&offset={sent.offset}"


async def test_dead_letters_and_a_shadow(
    dashboard: Dashboard, there: World, own: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    event = {
        "specversion": "1.0", "id": "1", "source": "/forms", "type": "form.created", "subject": str(uuid4()),
        "time": format_time(now_ms()), "data": {},
    }  # fmt: skip
    async with AIOKafkaProducer(bootstrap_servers=own.kafka) as producer:
        refused, key = "missing_field: data.form_id: Field required", str(event["subject"])
        mendable = await bury(producer, own, ACTIVITY, json.dumps(event).encode(), refused, key)
        profile = await bury(producer, own, PROFILES, b'{"id": "7"}', "invalid_profile: id: no UUID")
        binary = await bury(producer, own, ACTIVITY, b"\xff\xfe\x00", "not_json: invalid start byte")
    supplier_id = await someone_at_risk(there, "Apple Barn")
    row = await there.row(supplier_id, "low_client_adoption", signal_at=now_ms() - HOUR)
    await there.query(SENT, None, None, False, False, row)
    await there.query(
        "INSERT INTO shadow_policies (policy, name, started_at, last_seen_at, content) "
        "VALUES ('p', 'fewer.toml', now() - interval '2 days', now(), '{}')"
    )
    await there.query(
        "INSERT INTO shadow_interventions (policy, id, supplier_id, trigger_condition, intervention_type, "
        "template_used, kind, priority, status, reason, due_at, not_before, signal_id, signal_at, seq, created_at) "
        "SELECT 'p', id, supplier_id, trigger_condition, intervention_type, template_used, kind, priority, "
        "'suppressed', 'weekly_cap', due_at, due_at, signal_id, signal_at, seq, created_at "
        "FROM success_interventions WHERE id = %s",
        row,
    )
    await dashboard.let_in()
    page = dashboard.page
    await dashboard.go("/system")
    await expect(page.get_by_text("missing_field: data.form_id")).to_be_visible()
    await dashboard.draw("system-letters-and-shadow")
    await dashboard.draw("dead-letter-of-a-profile", profile)
    await dashboard.draw("dead-letter-no-text", binary)
    await dashboard.go(mendable)
    await page.get_by_role("button", name="Check").click()
    await expect(page.get_by_role("alert")).to_contain_text("Still refused")
    await dashboard.draw("dead-letter-still-refused")
    await page.locator("textarea[name=text]").fill(json.dumps(event | {"data": {"form_id": "f1"}}))
    await page.get_by_role("button", name="Publish again").click()
    await expect(page.get_by_text("Published again").first).to_be_visible()
    await dashboard.draw("dead-letter-published")

    async def away(_settings: Settings) -> Any:
        raise LettersAwayError("Kafka does not answer")

    dashboard.kafka.answer = Lag()
    monkeypatch.setattr(import_module("agents.acts.dead_letter_log"), "newest", away)
    await dashboard.go("/system")
    await expect(page.get_by_role("alert")).to_have_count(2)
    await dashboard.draw("system-kafka-away")


async def test_rules_of_somebody_who_may_not_change_them(
    dashboard: Dashboard, own: Settings, tmp_path: Path
) -> None:
    await dashboard.let_in()
    page = dashboard.page
    await dashboard.go("/rules/draft/text?file=brand.toml")
    text = page.locator("textarea[name=text]")
    await text.fill(f"{await text.input_value()}\n# for the fair\nname = 'twice'\n")
    await page.get_by_role("button", name="Check").click()
    await expect(page.locator("#checked .problem")).to_be_visible()
    await dashboard.draw("rules-text-with-a-mistake")
    trials = dashboard.app.state.trials
    trials.latest = Trial("emma", "0" * 12, now_ms(), read=420_000, of=1_700_000)
    await dashboard.draw("rules-trial-runs", "/rules/draft/trial")
    trials.latest = Trial("emma", "0" * 12, now_ms(), problem="Kafka does not answer")
    await dashboard.draw("rules-trial-came-to-nothing", "/rules/draft/trial")
    await activate(own, tmp_path / "a", "[levels]\nhealthy = 75\n")
    await activate(own, tmp_path / "b", "[levels]\nhealthy = 80\n", (0, 2))
    await dashboard.go("/rules")
    await expect(page.get_by_text("On partitions 0, 2").first).to_be_visible()
    await dashboard.draw("rules-elsewhere-and-draft")
    await dashboard.draw("rules-again-nothing-changes", "/rules/versions/1/again")
    await page.get_by_role("button", name="Sign out").click()
    await dashboard.sign_in("noah")
    await dashboard.go("/rules")
    await expect(page.get_by_text("SUCCESS_RULES_EDITORS")).to_be_visible()
    await dashboard.draw("rules-not-an-editor")
    await dashboard.draw("rules-draft-not-an-editor", "/rules/draft")
    await dashboard.draw("rules-draft-of-another", "/rules/draft/text?file=brand.toml&of=emma")
    await dashboard.draw("rules-version-not-an-editor", "/rules/versions/1")
    with_a_mistake = "UPDATE config_versions SET policy = '{\"trigger\": []}'"
    async with await psycopg.AsyncConnection.connect(own.database_url, autocommit=True) as conn:
        await conn.execute(with_a_mistake)
    again = own.model_copy(update={"api_port": free_ports(1)[0]})
    with serving(build_app(again), again.api_port) as url:
        await page.goto(f"{url}/dashboard/rules")
        await expect(page.get_by_text("goes on by what ships")).to_be_visible()
        await dashboard.draw("rules-not-understood")
