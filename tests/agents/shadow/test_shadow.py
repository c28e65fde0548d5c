"""A shadow decides as delivery would, sends nothing, and can't touch what is live."""

from __future__ import annotations

from collections import Counter
from uuid import uuid4

import psycopg
import pytest
from psycopg import errors

from agents.cluster.rules_log import RulesLog
from agents.shadow.rules_in_force import PolicyInForce
from runtime.configuration import Configuration
from runtime.versions import version_of, with_partitions
from scoring.decisions.policy import Policy
from scoring.health import rules_file
from scoring.health.rules import Rules
from store.messages import shadow as store
from store.queries import load
from store.suppliers import erasure_hash
from tests.agents.delivery.test_waiting_rows import nodes
from tests.agents.interventions.factory import SARAH, Record, condition, profile, snapshot
from tests.agents.shadow.conftest import START
from topics.catalog import CONDITIONS, HEALTH, PROFILES
from topics.partitioner import partition_of

pytestmark = pytest.mark.stack


async def compared(live, name=None):
    async with live.reader.connection() as conn:
        comparison = await store.compare(conn, name)
        assert comparison is not None
        return comparison, await store.differences(conn, comparison, 1000)


async def test_the_shadow_of_the_live_policy_differs_in_nothing(live, policy, mail_server):
    live.add_shadow(policy)
    await live.play(suppliers=14, days=21)

    comparison, differences = await compared(live)
    assert differences == []
    assert sum(row["both"] for row in comparison.triggers) >= 20
    assert all(row["live_sent"] == row["shadow_sent"] == row["both"] for row in comparison.triggers)
    statuses = "SELECT id, status, reason FROM {} WHERE status <> 'scheduled' ORDER BY id"
    lived = live.select(statuses.format("success_interventions"))
    shadowed = live.select(statuses.format("shadow_interventions"))
    assert [row["id"] for row in lived] == [row["id"] for row in shadowed]
    assert [row["reason"] for row in lived] == [row["reason"] for row in shadowed]
    emails = live.select(
        "SELECT count(*) AS n FROM success_interventions WHERE status = 'sent' AND intervention_type = 'email'"
    )
    assert len(mail_server.accepted) == emails[0]["n"]  # the live ones, and no other


async def test_another_policy_is_compared_message_by_message(live, gentler):
    live.add_shadow(gentler, "gentler.toml")
    await live.play(suppliers=14, days=21)

    comparison, differences = await compared(live, "gentler.toml")
    by_trigger = {row["trigger"]: row for row in comparison.triggers}
    assert by_trigger["became_critical"]["shadow_sent"] == 0
    totals = Counter()
    for row in comparison.triggers:
        totals.update({name: count for name, count in row.items() if name != "trigger"})
        assert row["live_sent"] == row["both"] + row["only_live"] or row["undecided"]
    assert totals["shadow_sent"] < totals["live_sent"]
    assert len(differences) == totals["only_live"] + totals["only_shadow"]
    assert {each["shadow_reason"] for each in differences if each["trigger"] != "became_critical"} >= {
        "weekly_cap"
    }
    week = live.select(
        "SELECT count(*) AS n FROM shadow_interventions a JOIN shadow_interventions b "
        "ON a.supplier_id = b.supplier_id AND b.decided_at > a.decided_at "
        "AND b.decided_at < a.decided_at + interval '7 days' WHERE a.status = 'would_send' AND b.status = 'would_send'"
    )
    assert week == [{"n": 0}]  # its caps count what it would have sent itself


async def test_taking_signals_again_adds_nothing(live, policy):
    shadow = live.add_shadow(policy)
    await shadow.be_seen()
    await live.writer.write(PROFILES, [profile()])
    await live.writer.write(HEALTH, [snapshot(at=START)])
    for _ in range(2):
        await shadow.take(CONDITIONS, [condition(at=START)])
    assert live.select("SELECT count(*) AS n FROM shadow_interventions") == [{"n": 1}]
    await shadow.be_seen()
    assert live.select("SELECT count(*) AS n FROM shadow_policies") == [{"n": 1}]


async def test_it_waits_for_health_as_new_as_the_signal(live, policy):
    shadow = live.add_shadow(policy)
    await shadow.be_seen()
    await live.writer.write(PROFILES, [profile(timezone="UTC")])
    await shadow.take(CONDITIONS, [condition("zero_clients_imported", at=START, seq=5)])
    live.clock.advance_to(START + 10 * 3_600_000)
    await shadow.decide_due()
    found = "SELECT status, metadata ->> 'waiting' AS waiting FROM shadow_interventions"
    assert live.select(found) == [{"status": "scheduled", "waiting": "health"}]
    await live.writer.write(HEALTH, [snapshot(at=START, seq=5)])
    await shadow.decide_due()
    assert live.select(found) == [{"status": "would_send", "waiting": None}]


async def test_it_waits_for_an_address(live, policy):
    shadow = live.add_shadow(policy)
    await shadow.be_seen()
    await live.writer.write(PROFILES, [profile(timezone="UTC", email=None)])
    await live.writer.write(HEALTH, [snapshot(at=START, seq=5)])
    await shadow.take(CONDITIONS, [condition("zero_clients_imported", at=START, seq=5)])
    live.clock.advance_to(START + 10 * 3_600_000)
    await shadow.decide_due()
    found = "SELECT status, metadata ->> 'waiting' AS waiting FROM shadow_interventions"
    assert live.select(found) == [{"status": "scheduled", "waiting": "address"}]
    await live.writer.write(PROFILES, [profile(timezone="UTC")])
    await shadow.decide_due()
    assert live.select(found) == [{"status": "would_send", "waiting": None}]


async def test_health_that_comes_while_it_decides_to_wait_is_not_missed(live, policy, monkeypatch):
    shadow = live.add_shadow(policy)
    await shadow.be_seen()
    await live.writer.write(PROFILES, [profile(timezone="UTC")])
    await shadow.take(CONDITIONS, [condition("zero_clients_imported", at=START, seq=5)])
    live.clock.advance_to(START + 10 * 3_600_000)
    facts = store.facts

    async def then_health_comes(conn, supplier_id, now_ms, keys):
        found = await facts(conn, supplier_id, now_ms, keys)
        monkeypatch.undo()
        await live.writer.write(HEALTH, [snapshot(at=START, seq=5)])
        return found

    monkeypatch.setattr(store, "facts", then_health_comes)
    await shadow.decide_due()
    assert live.select("SELECT status FROM shadow_interventions") == [{"status": "would_send"}]


async def test_looking_for_what_is_due_reads_no_row_that_waits(live, policy):
    shadow = live.add_shadow(policy)
    await shadow.be_seen()
    await live.writer.write(PROFILES, [profile(timezone="UTC")])
    await shadow.take(CONDITIONS, [condition("zero_clients_imported", at=START, seq=5)])
    many = """
        INSERT INTO shadow_interventions (policy, id, supplier_id, trigger_condition, intervention_type, template_used,
            kind, priority, status, due_at, not_before, signal_id, signal_at, seq, metadata, created_at)
        SELECT policy, gen_random_uuid(), supplier_id, trigger_condition, intervention_type, template_used, kind,
            priority, status, due_at, due_at + interval '3 days', signal_id, signal_at, seq,
            metadata || jsonb_build_object('waiting', waits), created_at
        FROM shadow_interventions, unnest(ARRAY['health', 'address']) AS waits, generate_series(1, 1000)
        RETURNING not_before - interval '3 days' AS now
    """
    now = live.select(many)[0]["now"]
    with psycopg.connect(live.settings.database_url) as conn:
        conn.execute("ANALYZE shadow_interventions")
        conn.execute("SET enable_seqscan = off")
        query = b"EXPLAIN (ANALYZE, FORMAT JSON) " + load("shadow")["due_supplier"]
        [plan] = conn.execute(query, {"policy": shadow.digest, "now": now}).fetchone()[0]
    [scan] = [node for node in nodes(plan["Plan"]) if node.get("Relation Name") == "shadow_interventions"]
    assert scan["Actual Rows"] + scan.get("Rows Removed by Filter", 0) == 1
    assert scan["Index Name"] == "idx_shadow_due"


@pytest.mark.parametrize(("is_home", "status"), [(True, "suppressed"), (False, "would_send")])
async def test_whether_a_condition_still_holds_is_asked_of_the_rules_in_force_where_they_live(
    live, policy, is_home, status
):
    home = partition_of(SARAH.encode(), 4)
    changed = rules_file.DEFAULT.read_text("utf-8").replace(
        'when = "clients_imported == 0"', 'when = "clients_imported == 0 and forms_created > 1"'
    )
    rules = Rules(rules_file.parse(changed, "x"), "x")
    tried = Configuration(Policy.parse(policy.document(), "x", rules))
    version = with_partitions(version_of(tried, 1, ""), (home if is_home else home ^ 1,))
    log = RulesLog()
    shadow = live.add_shadow(policy, policy_of=PolicyInForce(policy, "x", log, 4).of)
    await shadow.be_seen()
    await live.writer.write(PROFILES, [profile(timezone="UTC")])
    await live.writer.write(HEALTH, [snapshot(at=START, seq=5)])
    await shadow.take(CONDITIONS, [condition("zero_clients_imported", at=START, seq=5)])
    live.clock.advance_to(START + 10 * 3_600_000)
    log.take([Record(None, version.record())])  # while it runs
    await shadow.decide_due()
    found = "SELECT status, reason FROM shadow_interventions"
    assert live.select(found) == [{"status": status, "reason": "resolved" if is_home else None}]


def test_a_policy_that_a_version_leaves_without_a_condition_decides_on_and_says_so(policy, caplog):
    rules = Rules(
        rules_file.parse(
            "[levels]\nhealthy = 75\n[[condition]]\nname = 'a'\nnumber = 9\n"
            "since = 'signed_up'\nafter = '1d'\n",
            "x",
        ),
        "x",
    )
    triggers = [policy.document()["trigger"][0] | {"on": ["condition:a"]}]
    version = version_of(
        Configuration(Policy.parse(policy.document() | {"trigger": triggers}, "x", rules)), 1, ""
    )
    log = RulesLog()
    log.take([Record(None, version.record())])
    in_force = PolicyInForce(policy, "gentler.toml", log, 4)
    assert in_force.of(SARAH) is in_force.of(SARAH) is policy
    assert caplog.text.count("version 1 is in force, with which gentler.toml can't be read") == 1


async def test_who_is_erased_leaves_no_trace_and_is_not_waited_for(live, policy):
    shadow = live.add_shadow(policy)
    await shadow.be_seen()
    await live.writer.write(PROFILES, [profile()])
    await live.writer.write(HEALTH, [snapshot(at=START)])
    await shadow.take(CONDITIONS, [condition(at=START)])
    await live.writer.write(PROFILES, [profile(offset=1)])
    with psycopg.connect(live.settings.database_url) as conn:
        key = live.settings.keys("secret_key")
        conn.execute("INSERT INTO erased_suppliers VALUES (%s, now())", (erasure_hash(SARAH, key),))
        conn.execute("DELETE FROM suppliers WHERE id = %s", (SARAH,))
    assert live.select("SELECT * FROM shadow_interventions") == []
    await shadow.take(CONDITIONS, [condition(at=START, occurrence=2)])  # returns at once
    assert live.select("SELECT * FROM shadow_interventions") == []


async def test_signals_of_somebody_whom_nobody_stores_are_left_out_in_the_end(live, policy, caplog):
    shadow = live.add_shadow(policy, wait_s=0.0)
    await shadow.be_seen()
    await shadow.take(CONDITIONS, [condition(supplier=str(uuid4()), at=START)])
    assert "is a worker running?" in caplog.text
    assert live.select("SELECT * FROM shadow_interventions") == []


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE success_interventions SET status = 'sent'",
        "INSERT INTO outbox (topic, key, value) VALUES ('t', 'k', 'v')",
        "INSERT INTO support_interactions (supplier_id, interaction_type) VALUES (gen_random_uuid(), 'check_in')",
        "DELETE FROM shadow_interventions",
        "SELECT * FROM erased_suppliers",
    ],
)
async def test_its_role_can_write_nowhere_else(live, statement):
    async with live.reader.connection() as conn:
        with pytest.raises(errors.InsufficientPrivilege):
            await conn.execute(statement.encode())


async def test_only_one_process_decides_for_a_policy(live):
    first = await psycopg.AsyncConnection.connect(live.settings.database_url, autocommit=True)
    second = await psycopg.AsyncConnection.connect(live.settings.database_url, autocommit=True)
    async with first, second:
        assert await store.hold(first, "abc")
        assert not await store.hold(second, "abc")
        assert await store.hold(second, "another")
