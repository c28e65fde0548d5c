"""What-ifs: the base policy changes nothing, other weights what the arithmetic says, other rules what they say."""

from __future__ import annotations

from dataclasses import replace

import pytest
from markupsafe import escape

from replay.again import tables
from replay.again.engine import Job, run
from replay.again.variant import base, what_if
from replay.log.source import ArchiveSource, names
from replay.simulator.simulate import population
from replay.what_if.compare import added_and_removed, compare
from replay.what_if.report_page import write_page
from replay.what_if.sentence import sentence
from scoring.decisions.policy import DEFAULT
from scoring.time import DAY, HOUR
from tests.replay.logs import MONDAY, archive_of, event, logs_of, sorted_rows, suppliers

ANNA, BEA, CARA = suppliers(3)


def compared(folder, out, *settings: str, policy=None, until=None):
    variant = what_if(None, settings, policy)
    outcome = run(Job(ArchiveSource(folder), (base(None), variant), out, until=until), 1)
    connection = tables.connect(out)
    return compare(connection, None, outcome.until, variant.changes), connection


@pytest.fixture(scope="module")
def populated(tmp_path_factory):
    folder = tmp_path_factory.mktemp("population")
    return archive_of(folder, logs_of(population(40, 75, 9, MONDAY)))


def test_the_base_policy_differs_in_nothing(populated, tmp_path):
    comparison, connection = compared(populated, tmp_path, policy=DEFAULT)
    assert not comparison.differs
    assert comparison.base == comparison.what_if
    assert comparison.base.sent > 50
    assert comparison.base.cancellations >= 3
    assert added_and_removed(connection, comparison) == []
    for table in tables.SCHEMAS:
        assert sorted_rows(connection, f"base.{table}") == sorted_rows(connection, f"what_if.{table}")


def test_a_changed_weight_changes_three_suppliers_as_worked_out_by_hand(tmp_path):
    """weights.login=20: the login's 30 / 20 / 10 / 5 points become 20 / 13.333… / 6.666… / 3.333…."""
    lines = [
        # Anna logs in (30) and makes a form (1 of 4 features: 25 x 1/4 = 6.25).
        event(ANNA, "supplier.logged_in", MONDAY),
        event(ANNA, "form.created", MONDAY + HOUR, form_id="f"),
        # Bea logs in, imports two clients (6.25), one of them is active (25 x 1/2 = 12.5); 10 days pass.
        event(BEA, "supplier.logged_in", MONDAY - 10 * DAY),
        event(BEA, "client.imported", MONDAY - 10 * DAY, client_ids=["a", "b"]),
        event(BEA, "client.active", MONDAY - 10 * DAY, client_id="a"),
        # Cara logs in, uses all four features (25), and their one client is active (25 x 1/1 = 25).
        event(CARA, "supplier.logged_in", MONDAY),
        event(CARA, "form.created", MONDAY, form_id="f"),
        event(CARA, "journey.created", MONDAY, journey_id="j"),
        event(CARA, "template.used", MONDAY, template_id="t"),
        event(CARA, "client.imported", MONDAY, client_id="c"),
        event(CARA, "client.active", MONDAY, client_id="c"),
    ]
    folder = archive_of(tmp_path / "archive", logs_of(sorted(lines, key=lambda line: line["time"])))
    comparison, found = compared(folder, tmp_path / "out", "weights.login=20", until=MONDAY + 2 * HOUR)
    query = "SELECT supplier_id, sum, score, level FROM {}.suppliers ORDER BY supplier_id"
    assert found.execute(query.format("base")).fetchall() == [
        (ANNA, 36.25, 36, "critical"),  # 30 + 6.25
        (BEA, 28.75, 29, "critical"),  # 10 (7 to 14 days) + 6.25 + 12.5
        (CARA, 80.0, 80, "healthy"),  # 30 + 25 + 25
    ]
    assert found.execute(query.format("what_if")).fetchall() == [
        (ANNA, 26.25, 26, "critical"),  # 20 + 6.25
        (BEA, 25.416666667, 25, "critical"),  # 10 x 20/30 + 6.25 + 12.5
        (CARA, 70.0, 70, "at_risk"),  # 20 + 25 + 25: below 70 + 3, which it takes to become healthy again
    ]
    assert comparison.moved == [
        {"base": "critical", "what_if": "critical", "suppliers": 2},
        {"base": "healthy", "what_if": "at_risk", "suppliers": 1},
    ]
    # Cara's way: 30, 36.25, 42.5, 48.75 | 55, 80. From critical to at risk at 43 or more: the third feature in
    # the base (48.75); with 20 points for the login 20, 26.25, 32.5, 38.75 | 45, 70: with the fourth.
    # Bea's first evaluations are critical in both, and so is Anna's 36.25: nobody else enters another level,
    # but Bea did: 30 + 6.25 + 12.5 = 48.75 (at risk), then 38.75 after three days (critical); with 20 points
    # 20 + 6.25 + 12.5 = 38.75 (critical all along).
    levels = {row["level"]: (row["gained"], row["lost"]) for row in comparison.level_changes}
    assert levels["healthy"] == (0, 1)
    assert levels["at_risk"][1] >= 1
    bea = "SELECT level FROM {}.signals WHERE supplier_id = ? AND type = 'success.risk.changed' ORDER BY seq"
    assert found.execute(bea.format("base"), [BEA]).fetchall() == [("critical",), ("at_risk",), ("critical",)]
    assert found.execute(bea.format("what_if"), [BEA]).fetchall() == [("critical",)]


def test_points_of_the_what_if_add_up_to_its_sum(populated, tmp_path):
    _, found = compared(populated, tmp_path, "weights.login=20", "weights.forms=25", "weights.journeys=0")
    rows = found.execute(
        "SELECT sum, loginFrequency + featureAdoption + clientActivity + formCompletion + journeyPerformance,"
        " formCompletion, journeyPerformance, loginFrequency FROM what_if.suppliers"
    ).fetchall()
    assert all(total == pytest.approx(points, abs=1e-8) for total, points, *_ in rows)
    assert max(row[2] for row in rows) == 25
    assert {row[3] for row in rows} == {0}
    assert max(row[4] for row in rows) == 20


def test_a_trigger_that_is_off_sends_nothing_and_gives_way_to_others(populated, tmp_path):
    comparison, connection = compared(populated, tmp_path, "trigger.no_login_7_days=off")
    by_trigger = {row["trigger"]: row for row in comparison.interventions}
    row = by_trigger["no_login_7_days"]
    assert (row["what_if"], row["removed"]) == (0, row["base"])
    assert row["base"] > 0
    assert comparison.base.levels == comparison.what_if.levels
    removed = [each for each in added_and_removed(connection, comparison) if each["difference"] == "removed"]
    assert sum(each["trigger"] == "no_login_7_days" for each in removed) == row["base"]


def test_a_smaller_cap_sends_fewer_messages(populated, tmp_path):
    comparison, connection = compared(populated, tmp_path, "caps.total=1")
    assert comparison.what_if.sent < comparison.base.sent
    assert connection
    assert comparison.base.most_a_week > comparison.what_if.most_a_week == 1


def test_a_higher_threshold_warns_earlier_and_of_more(populated, tmp_path):
    comparison, _ = compared(populated, tmp_path, "levels.healthy=85")
    before, after = comparison.base, comparison.what_if
    assert after.levels.get("healthy", 0) < before.levels["healthy"]
    assert after.warned >= before.warned
    assert (after.recall or 0) >= (before.recall or 0)
    assert before.distribution == after.distribution


def test_a_warning_and_its_lead_time_by_hand(tmp_path):
    """Healthy at first; three days of silence take 10 of 80 points (70, still healthy), seven take 20: at risk."""
    lines = [
        event(ANNA, "supplier.signed_up", MONDAY - 60 * DAY),
        event(ANNA, "supplier.logged_in", MONDAY),
        event(ANNA, "form.created", MONDAY, form_id="f"),
        event(ANNA, "journey.created", MONDAY, journey_id="j"),
        event(ANNA, "template.used", MONDAY, template_id="t"),
        event(ANNA, "client.imported", MONDAY, client_id="c"),
        event(ANNA, "client.active", MONDAY, client_id="c"),
        event(ANNA, "supplier.cancelled", MONDAY + 12 * DAY),
    ]
    folder = archive_of(tmp_path / "archive", logs_of(lines))
    comparison, _ = compared(folder, tmp_path / "out", "levels.healthy=75", until=MONDAY + 13 * DAY)
    assert comparison.base.lead_days == [5.0]  # warned at day 7: 60 < 70
    assert comparison.what_if.lead_days == [9.0]  # warned at day 3: 70 < 75


def test_precision_and_recall_by_hand(tmp_path):
    """Looks are every 7 days from the first event on while 30 days are still to come; 45 days make three looks."""
    past = MONDAY - 100 * DAY
    healthy = [
        ("supplier.logged_in", {}),
        ("form.created", {"form_id": "f"}),
        ("journey.created", {"journey_id": "j"}),
        ("template.used", {"template_id": "t"}),
        ("client.imported", {"client_id": "c"}),
        ("client.active", {"client_id": "c"}),
    ]
    lines = [event(each, "supplier.signed_up", past) for each in (ANNA, BEA, CARA)]
    lines += [event(ANNA, kind, past, **data) for kind, data in healthy]
    lines += [event(ANNA, "supplier.logged_in", past + day * DAY) for day in range(2, 45, 2)]
    lines += [event(ANNA, "client.active", past + 29 * DAY, client_id="c")]
    lines += [event(BEA, "supplier.cancelled", past + 40 * DAY)]
    folder = archive_of(tmp_path / "archive", logs_of(sorted(lines, key=lambda line: line["time"])))
    comparison, _ = compared(folder, tmp_path / "out", until=past + 45 * DAY)
    # Looks on the days 0, 7 and 14, of those past onboarding on that day: day 14 alone, three suppliers.
    # Anna is healthy and stays. Bea and Cara never were: two warnings; Bea cancels 26 days later.
    side = comparison.base
    assert (side.looked_at, side.precision, side.recall, side.base_rate) == (3, 0.5, 1.0, 0.3333)


@pytest.mark.parametrize(
    ("setting", "complaint"),
    [
        ("weights.login", "name=value"),
        ("weights.login=many", "a number is needed"),
        ("weights.login=nan", "a number is needed"),
        ("levels.healthy=inf", "a number is needed"),
        ("weights.login=-1", "a number from 0 on"),
        ("weights.logins=20", "weights.login, weights.features"),
        ("levels.at_risk=80", "must be below `healthy`"),
        ("caps.totals=1", "totals"),
        ("caps.total=few", "caps"),
        ("trigger.nobody=off", "no such trigger; there are signed_up"),
        ("trigger.signed_up=on", "can be set to off"),
        ("trigger.signed_up.delay=soon", "72h"),
        ("holidays=1", "there are weights, levels"),
    ],
)
def test_what_can_not_be_set_is_refused_with_what_can(setting, complaint):
    with pytest.raises(match=complaint):
        what_if(None, [setting])


def test_settings_reach_every_part_of_the_policy():
    settings = [
        "trigger.became_at_risk.delay=24h",
        "trigger.became_at_risk.max_a_week=2",
        "hours.from=09:00",
        "holdout.share=0.1",
    ]
    policy = what_if(None, settings).policy
    assert policy is not None
    trigger = policy.trigger("became_at_risk")
    assert trigger is not None
    assert (trigger.delay_ms, trigger.most) == (DAY, 2)
    assert (policy.hours.from_minute, policy.holdout.share) == (9 * 60, 0.1)


def test_the_report_is_one_file_that_needs_no_other(populated, tmp_path):
    comparison, connection = compared(populated, tmp_path, "caps.total=1")
    differences = added_and_removed(connection, comparison)
    with ArchiveSource(populated).opened() as log:
        known = names(log, {row["supplier_id"] for row in differences[:-1]})
    unnamed = differences[-1]["supplier_id"]
    named = next(row["supplier_id"] for row in differences if row["supplier_id"] != unnamed)
    known.pop(unnamed, None)
    write_page(tmp_path / "report.html", comparison, differences, known)
    page = (tmp_path / "report.html").read_text()
    plots = page.split("<svg ")[1:]
    assert [plot.count('<rect class="base"') - 1 for plot in plots] == [
        10,
        len(comparison.level_changes),
        len(comparison.interventions),
        10,
    ]
    assert all(plot.count('<rect class="base"') == plot.count('<rect class="what-if"') for plot in plots)
    assert "caps.total=1" in page
    assert sentence(comparison) in page
    assert f">{escape(known[named])}<" in page
    assert f">{unnamed[:8]}<" in page
    for outside in ("src=", 'href="http', "@import", "url(http", "<script"):
        assert outside not in page.replace('xlink:href="#', "")


def test_the_difference_of_two_shares_is_told_in_points(populated, tmp_path):
    """From 12.5 % to 25 % is no rise by 12.5 %."""
    comparison, _ = compared(populated, tmp_path, "caps.total=1")
    comparison = replace(
        comparison,
        base=replace(comparison.base, precision=0.125),
        what_if=replace(comparison.what_if, precision=0.25),
    )
    write_page(tmp_path / "report.html", comparison, [])
    page = (tmp_path / "report.html").read_text()
    assert "25.0 %" in page
    assert "+12.5 points" in page
    assert "+12.5 %" not in page
