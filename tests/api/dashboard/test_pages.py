"""The pages answer agents with what is stored, and nobody else."""

from __future__ import annotations

import csv
import io
import re
from urllib.parse import parse_qs, urlsplit

import pytest

from scoring.time import DAY, HOUR
from tests.agents.delivery.world import NOW, World
from tests.api.dashboard.conftest import Desk, add_changes, fresh_id
from topics.time import format_time

pytestmark = pytest.mark.stack

PAGES = (
    "/dashboard",
    "/dashboard/population",
    "/dashboard/suppliers",
    "/dashboard/changes",
    "/dashboard/messages",
    "/dashboard/messages/list",
    "/dashboard/rules",
    "/dashboard/rules/draft",
    "/dashboard/rules/letters",
    "/dashboard/system",
    "/dashboard/system/kafka",
)
TABLES = (
    "/dashboard/calls.csv",
    "/dashboard/population/levels.csv",
    "/dashboard/population/scores.csv",
    "/dashboard/population/movement.csv",
    "/dashboard/population/cohorts.csv",
    "/dashboard/suppliers?format=csv",
    "/dashboard/changes?format=csv",
    "/dashboard/messages?format=csv",
    "/dashboard/messages/reasons.csv",
    "/dashboard/messages/list?format=csv",
    "/dashboard/messages/variants.csv",
    "/dashboard/messages/holdout.csv",
    "/dashboard/rules/policy.csv",
    "/dashboard/rules/history.csv",
    "/dashboard/lag.csv",
    "/dashboard/system/shadow.csv",
    "/dashboard/system/dead-letters.csv",
)


def table(text: str) -> list[dict[str, str]]:
    """The rows of a CSV file."""
    assert text.startswith("\ufeff")
    return list(csv.DictReader(io.StringIO(text[1:])))


async def at_risk(world: World, name: str, **profile: str) -> str:
    """A supplier who was healthy until two hours ago."""
    supplier_id = await world.supplier(business_name=name, **profile)
    await add_changes(
        world,
        supplier_id,
        (NOW - 20 * DAY, 80, "healthy"),
        (NOW - 2 * HOUR, 48, "at_risk"),
        loginFrequency=-10,
    )
    return supplier_id


# who may ---------------------------------------------------------------------------------------------


async def test_nobody_sees_a_page_without_signing_in(stranger: Desk) -> None:
    for address in (*PAGES, *TABLES, f"/dashboard/suppliers/{fresh_id()}", "/dashboard/search?q=x"):
        answer = await stranger.get(address)
        assert answer.status_code == 303, address
        assert urlsplit(answer.headers["location"]).path == "/dashboard/login"


async def test_a_suppliers_token_does_not_sign_in(stranger: Desk, world: World, token) -> None:
    supplier_id = await world.supplier()
    answer = await stranger.client.post("/dashboard/login", data={"token": token("supplier", supplier_id)})
    assert answer.status_code == 401
    assert "agent" in answer.text
    assert (await stranger.get("/dashboard")).status_code == 303


async def test_the_login_leads_back_to_where_they_wanted_to_go(stranger: Desk, token) -> None:
    asked = (await stranger.get("/dashboard/suppliers?level=critical")).headers["location"]
    wanted = parse_qs(urlsplit(asked).query)["next"][0]
    form = {"token": token("agent", "emma"), "next": wanted}
    answer = await stranger.client.post("/dashboard/login", data=form)
    assert (answer.status_code, answer.headers["location"]) == (303, "/dashboard/suppliers?level=critical")


async def test_signing_out_ends_it(desk: Desk) -> None:
    left = await desk.post("/dashboard/logout")
    assert left.status_code == 303
    assert left.headers["clear-site-data"] == '"cache", "storage"'
    assert (await desk.get("/dashboard")).status_code == 303


async def test_a_page_is_for_this_agent_only_and_loads_nothing_from_elsewhere(desk: Desk) -> None:
    assets = set()
    for address in PAGES:
        answer = await desk.get(address)
        assert answer.status_code == 200, address
        assert answer.headers["cache-control"] == "no-store"
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        loaded = re.findall(r'(?:src|href)="([^"]+)"', answer.text)
        assert [one for one in loaded if not one.startswith(("/dashboard", "#", "mailto:", "tel:"))] == []
        assets |= {one for one in loaded if one.startswith("/dashboard/static/")}
    for one in assets:
        asset = await desk.get(one)
        assert asset.status_code == 200
        assert "immutable" in asset.headers["cache-control"]


@pytest.mark.parametrize(
    ("asked_by", "accepts", "is_packed"),
    [
        ({"Sec-Fetch-Site": "same-origin"}, "gzip, br", True),
        ({"Sec-Fetch-Site": "none"}, "gzip", True),
        ({"Sec-Fetch-Site": "none"}, "gzip;q=0", False),
        ({"Sec-Fetch-Site": "same-origin"}, "identity", False),
        ({"Sec-Fetch-Site": "cross-site"}, "gzip", False),
        ({"Sec-Fetch-Site": "same-site"}, "gzip", False),
        ({}, "gzip", False),
    ],
)
async def test_a_page_is_packed_unless_another_site_had_it_asked_for(
    desk: Desk, asked_by: dict[str, str], accepts: str, is_packed: bool
) -> None:
    for address in PAGES:
        answer = await desk.get(address, **asked_by, **{"Accept-Encoding": accepts})
        assert answer.text.startswith("<"), address
        assert ("content-encoding" in answer.headers) == is_packed
        assert answer.headers["vary"] == "Accept-Encoding, Sec-Fetch-Site"
    asset = re.findall(r'"(/dashboard/static/[^"]+\.js)"', await desk.page("/dashboard"))[0]
    packed, plain = [await desk.get(asset, **{"Accept-Encoding": each}) for each in ("gzip", "identity")]
    assert packed.content == plain.content
    assert int(packed.headers["content-length"]) < int(plain.headers["content-length"]) / 2


async def test_what_is_not_there_is_a_page_that_says_so(desk: Desk) -> None:
    answer = await desk.get(f"/dashboard/suppliers/{fresh_id()}")
    assert answer.status_code == 404
    assert "no such supplier" in answer.text
    part = await desk.get(f"/dashboard/suppliers/{fresh_id()}", **{"HX-Request": "true"})
    assert part.text.startswith("<p")


async def test_an_address_without_a_page_is_a_page_that_says_so(desk: Desk) -> None:
    answer = await desk.get("/dashboard/no/such/page")
    assert answer.status_code == 404
    assert "<h1>" in answer.text
    assert (await desk.get("/dashboard/changes/?n=1")).headers["location"] == "/dashboard/changes?n=1"


async def test_an_error_of_ours_is_a_page_without_our_insides(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object, **__: object) -> None:
        raise RuntimeError("the password is hunter2")

    monkeypatch.setattr("api.dashboard.population.store.population_moves", broken)
    answer = await desk.get("/dashboard/population")
    assert answer.status_code == 500
    assert answer.headers["content-type"].startswith("text/html")
    assert "Something went wrong" in answer.text
    assert "hunter2" not in answer.text
    part = await desk.get("/dashboard/population", **{"HX-Request": "true"})
    assert part.text.startswith("<p")


WRONG = (
    "/dashboard/suppliers/nobody",
    "/dashboard/suppliers?level=furious",
    "/dashboard/suppliers?band=twenty",
    "/dashboard/suppliers?band=20",
    "/dashboard/suppliers?week=monday",
    "/dashboard/suppliers?after=x",
    "/dashboard/suppliers?after=inf|x",
    "/dashboard/changes?after=2026-01-01|x",
    "/dashboard/changes?days=0",
    "/dashboard/messages?days=3",
    "/dashboard/system/dead-letter?partition=-1&offset=0",
)


async def test_a_wrong_address_is_not_understood_and_no_error_of_ours(desk: Desk) -> None:
    for address in WRONG:
        answer = await desk.get(address)
        assert answer.status_code == 422, address
        assert "<h1>" in answer.text


# today -----------------------------------------------------------------------------------------------


async def test_today_says_who_changed_why_and_whom_to_call(desk: Desk, world: World) -> None:
    supplier_id = await world.supplier(business_name="Amber Weddings", plan="enterprise")
    await world.health(supplier_id, plan="enterprise", churn_probability=0.99)
    await add_changes(
        world,
        supplier_id,
        (NOW - 20 * DAY, 80, "healthy"),
        (NOW - 2 * HOUR, 48, "at_risk"),
        loginFrequency=-10,
    )
    text = await desk.page("/dashboard")
    calls, changed = text.split('id="changed"')[0].split('id="call-now"')[1], text.split('id="changed"')[1]
    assert "Amber Weddings" in calls
    assert "5 clients; last logged in on 11 January" in calls
    assert "Now: 09:00 their time" in calls
    assert "Amber Weddings" in changed
    assert "Logins" in changed
    listed = table((await desk.get("/dashboard/calls.csv")).text)
    first = next(row for row in listed if row["kind"] == "suggested")
    assert (first["id"], first["value"], first["urgency"]) == (supplier_id, "10.0", "9.9")


@pytest.mark.parametrize("barred", ["all_opt_out", "held"])
async def test_who_must_be_left_alone_is_not_on_the_call_list(desk: Desk, world: World, barred: str) -> None:
    supplier_id = await world.supplier(plan="enterprise")
    await world.health(supplier_id, plan="enterprise", churn_probability=1.0)
    await add_changes(world, supplier_id, (NOW - HOUR, 20, "critical"))
    listed = [row["id"] for row in table((await desk.get("/dashboard/calls.csv")).text)]
    assert supplier_id in listed
    if barred == "held":
        await world.hold(supplier_id, is_held=True)
    else:
        await world.query("UPDATE suppliers SET all_opt_out = true WHERE id = %s", supplier_id)
    assert supplier_id not in [row["id"] for row in table((await desk.get("/dashboard/calls.csv")).text)]


async def test_today_says_what_goes_out_and_what_was_held_back(desk: Desk, world: World) -> None:
    supplier_id = await at_risk(world, "Bluebell Barn")
    await world.row(supplier_id, "became_at_risk", due_at=format_time(NOW + 2 * HOUR))
    await world.row(supplier_id, "no_login_7_days", status="suppressed", reason="stale")
    text = await desk.page("/dashboard")
    going, held = text.split('id="held-back"')[0].split('id="outgoing"')[1], text.split('id="held-back"')[1]
    assert "Quick win" in going
    assert "in 2 h" in going
    assert "Bluebell Barn" in going
    assert "The signal came too late" in held


# lists -----------------------------------------------------------------------------------------------


async def test_a_list_goes_on_by_key_and_shows_each_once(desk: Desk, world: World) -> None:
    made = [await world.supplier(business_name=f"Keyset {n}") for n in range(55)]
    for supplier_id in made:
        await world.health(supplier_id, signed_up_at="2024-02-06T10:00:00.000Z")
        await add_changes(world, supplier_id, (NOW - DAY, 48, "at_risk"))
    seen: list[str] = []
    address = "/dashboard/suppliers?week=2024-02-05"
    while address:
        text = await desk.page(address)
        seen += re.findall(r'class="who" href="/dashboard/suppliers/([0-9a-f-]{36})"', text)
        more = re.search(r'hx-get="(/dashboard/suppliers\?[^"]*after[^"]*)"', text)
        address = more[1].replace("&amp;", "&") if more else ""
    assert sorted(seen) == sorted(made)
    rows = table((await desk.get("/dashboard/suppliers?week=2024-02-05&level=at_risk&format=csv")).text)
    assert {row["id"] for row in rows} == set(made)
    assert table((await desk.get("/dashboard/suppliers?week=2024-02-05&level=healthy&format=csv")).text) == []


async def test_a_search_finds_by_name_word_address_and_id(desk: Desk, world: World) -> None:
    supplier_id = await world.supplier(
        business_name="Zinnia & Arch", email="zinnia@example.com", first_name="Odile"
    )
    for term in (
        "Zinnia Arch",
        "zinnia",
        "arch zin",
        "zinnia@example.com",
        "ZINNIA@EX",
        "Odile",
        supplier_id,
    ):
        for address in ("/dashboard/search", "/dashboard/suppliers"):
            answer = await desk.client.get(address, params={"q": term})
            assert "Zinnia &amp; Arch" in answer.text, term


async def test_a_search_for_anything_else_finds_nobody_and_does_not_fail(desk: Desk) -> None:
    for term in ("", "z", "'", "\x01\x7f", "%_%", ":* & |", "nobody at all", "é" * 200):
        answer = await desk.client.get("/dashboard/search", params={"q": term})
        assert answer.status_code == 200, term
        assert "/dashboard/suppliers/" not in answer.text


async def test_changes_are_filtered_by_move_and_day(desk: Desk, world: World) -> None:
    supplier_id = await world.supplier(business_name="Moving House")
    await world.health(supplier_id, signed_up_at=format_time(NOW - 90 * DAY))
    day = NOW - 40 * DAY
    await add_changes(
        world, supplier_id, (day, 80, "healthy"), (day + HOUR, 30, "critical"), (day + DAY, 50, "at_risk")
    )

    async def scores(query: str) -> list[str]:
        rows = table((await desk.get(f"/dashboard/changes?{query}&format=csv")).text)
        return [row["score"] for row in rows if row["id"] == supplier_id]

    assert await scores("days=60") == ["50", "30", "80"]
    assert await scores("days=60&from=healthy&to=critical") == ["30"]
    assert await scores("days=60&from=first") == ["80"]
    assert await scores("days=60&to=at_risk") == ["50"]
    assert await scores("days=60&worse=1") == ["30"]
    assert await scores(f"day={format_time(day)[:10]}") == ["30", "80"]
    assert await scores("days=10") == []


async def test_messages_are_listed_by_template_status_and_reason(desk: Desk, world: World) -> None:
    supplier_id = await at_risk(world, "Message House")
    sent = await world.row(supplier_id, "no_login_7_days")
    at = format_time(NOW)
    await world.query(
        "UPDATE success_interventions SET status = 'sent', sent_at = %s, clicked_at = %s WHERE id = %s",
        at,
        at,
        sent,
    )
    held = await world.row(supplier_id, "became_at_risk", status="suppressed", reason="superseded")

    async def ids(query: str) -> set[str]:
        return {
            row["id"] for row in table((await desk.get(f"/dashboard/messages/list?{query}&format=csv")).text)
        }

    assert sent in await ids("template=we_miss_you")
    assert sent in await ids("template=we_miss_you&status=sent&outcome=clicked")
    assert sent not in await ids("template=we_miss_you&status=sent&outcome=opened")
    assert held in await ids("reason=superseded")
    assert held in await ids("status=suppressed")
    assert held not in await ids("reason=superseded&template=we_miss_you")
    text = await desk.page("/dashboard/messages")
    assert "We miss you" in text
    assert "Another rescue email went first" in text


async def test_what_was_sent_today_is_in_todays_list_whenever_it_was_due(desk: Desk, world: World) -> None:
    supplier_id = await world.supplier()
    row = await world.row(supplier_id, "stuck_onboarding", signal_at=NOW - 2 * DAY)
    await world.query(
        "UPDATE success_interventions SET status = 'sent', sent_at = %s WHERE id = %s", format_time(NOW), row
    )
    listed = table((await desk.get("/dashboard/messages/list?status=sent&days=1&format=csv")).text)
    assert row in {one["id"] for one in listed}
    funnel = table((await desk.get("/dashboard/messages?days=1&format=csv")).text)
    counted = {one["template"]: int(one["sent"]) for one in funnel}["finish_setup"]
    assert counted == sum(one["template_used"] == "finish_setup" for one in listed)


async def test_every_table_can_be_downloaded(desk: Desk, world: World) -> None:
    await at_risk(world, "Down Loaded")
    for address in TABLES:
        answer = await desk.get(address)
        assert answer.status_code == 200, address
        assert answer.headers["content-type"].startswith("text/csv")
        assert answer.headers["content-disposition"].endswith('.csv"')
        table(answer.text)


async def test_a_name_that_a_spreadsheet_would_run_is_made_text(desk: Desk, world: World) -> None:
    await world.supplier(business_name='=HYPERLINK("https://evil.example")', email="formula@example.com")
    rows = table((await desk.client.get("/dashboard/suppliers?format=csv&q=formula@example.com")).text)
    assert rows[0]["business_name"].startswith("'=")


async def test_a_download_of_suppliers_is_in_the_audit_log(desk: Desk, world: World) -> None:
    await desk.get("/dashboard/suppliers?format=csv&level=critical")
    logged = await world.query(
        "SELECT actor, details FROM audit_log WHERE action = 'dashboard.export' ORDER BY id DESC LIMIT 1"
    )
    assert logged[0]["actor"] == "emma"
    assert logged[0]["details"]["filters"]["level"] == "critical"


# one supplier ----------------------------------------------------------------------------------------


async def test_their_page_has_score_forecast_timeline_and_advice(desk: Desk, world: World) -> None:
    supplier_id = await at_risk(world, "Clover & Co")
    await world.health(
        supplier_id, next_level_if_silent="critical", next_level_at=format_time(NOW + 6 * DAY), seq=11
    )
    await world.row(supplier_id, "first_form_created", signal={"cause_type": "form.created"})
    text = await desk.page(f"/dashboard/suppliers/{supplier_id}")
    for said in (
        "Clover &amp; Co",
        "Healthy → At risk",
        "Milestone: first form",
        "First form celebration: waiting",
        "If nothing happens",
        "in 6 d",
        "Best next action",
        "points",
        "Book a call",
    ):
        assert said in text
    rows = table((await desk.get(f"/dashboard/suppliers/{supplier_id}/timeline?format=csv")).text)
    assert {row["kind"] for row in rows} == {"level", "milestone", "message"}
    history = table((await desk.get(f"/dashboard/suppliers/{supplier_id}/history.csv")).text)
    assert [row["score"] for row in history] == ["80", "48"]


async def test_of_whom_nothing_is_known_the_page_says_so(desk: Desk, world: World) -> None:
    supplier_id = fresh_id()
    await world.query("INSERT INTO suppliers (id) VALUES (%s)", supplier_id)
    text = await desk.page(f"/dashboard/suppliers/{supplier_id}")
    assert (
        text.count("Not known") >= 2
    )  # whether there is a score, and whether anything happened: no worker runs


async def test_older_entries_come_by_their_time(desk: Desk, world: World) -> None:
    supplier_id = await world.supplier(business_name="Long Story")
    changes = [(NOW - (90 - n) * DAY, 40 + 20 * (n % 2), "at_risk") for n in range(90)]
    await add_changes(world, supplier_id, *changes, loginFrequency=-20)
    text = await desk.page(f"/dashboard/suppliers/{supplier_id}")
    address = re.search(r'hx-get="(/dashboard/suppliers/[^"]*timeline\?before=[^"]*)"', text)
    assert address
    older = await desk.page(address[1].replace("&amp;", "&"))
    assert older.count("<li") > 10
    assert "<html" not in older


async def test_a_name_is_text_and_no_markup(desk: Desk, world: World) -> None:
    supplier_id = await world.supplier(business_name="<script>alert(1)</script>")
    await add_changes(world, supplier_id, (NOW - HOUR, 20, "critical"))
    for address in (f"/dashboard/suppliers/{supplier_id}", "/dashboard", "/dashboard/search?q=script"):
        assert "<script>alert" not in (await desk.get(address)).text


# experiments -----------------------------------------------------------------------------------------


async def test_variants_and_holdout_stand_side_by_side(desk: Desk, world: World) -> None:
    supplier_id = await world.supplier()
    logged_in = {"last_goals": {"supplier.logged_in": format_time(NOW + HOUR)}}
    await world.health(supplier_id, **logged_in)
    for variant, status in (
        ("base", "sent"),
        ("short", "sent"),
        ("holdout", "suppressed"),
        ("treated", "sent"),
    ):
        row = await world.row(supplier_id, "no_login_7_days")
        experiment = "no_login_7_days" if variant in {"base", "short"} else "holdout"
        await world.query(
            "UPDATE success_interventions SET status = %s, experiment = %s, variant = %s, "
            "sent_at = CASE WHEN %s = 'sent' THEN due_at END, reason = CASE WHEN %s <> 'sent' THEN 'holdout' END "
            "WHERE id = %s",
            status, experiment, variant, status, status, row,
        )  # fmt: skip
    text = await desk.page("/dashboard/messages?days=7")
    assert "Against the base" in text
    assert "Not decided" in text
    assert "Got nothing" in text
