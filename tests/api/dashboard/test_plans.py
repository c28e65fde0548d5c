"""No query of the dashboard reads a large table as a whole: Postgres's own plans, knowing the values and not."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, date, datetime
from typing import Any

import psycopg
import pytest

from store.dashboard.lists import ORDERS, Wanted, page_of
from store.dashboard.population import END_OF_TIME, LAST_ID
from store.queries import load

pytestmark = pytest.mark.stack

ONE = "00000000-0000-4000-8000-000000000777"
SOME = [f"00000000-0000-4000-8000-{n:012d}" for n in range(1, 51)]
SINCE, UNTIL = datetime(2026, 1, 12, tzinfo=UTC), datetime(2026, 1, 20, tzinfo=UTC)
PAGE = {"before": 3.0, "id": LAST_ID, "most": 50}
LATER = {"before": END_OF_TIME, "id": LAST_ID, "most": 50, "since": SINCE, "until": UNTIL, "from": SINCE}
DAYS = {"since": date(2026, 1, 12), "until": date(2026, 1, 20)}
OF_ONE = {"supplier": ONE, "before": END_OF_TIME, "most": 50}

VALUES: dict[str, dict[str, dict[str, Any]]] = {
    "dashboard": {
        "population_moves": {},
        "population_now": {},
        "fold_tallies": {},
        "end_newness": {"until": SINCE},
        "unfolded": {"most": 5000},
        "find": {"term": "golden", "most": 8},
        "describe": {"ids": SOME},
        "call_candidates": PAGE,
        "call_facts": {"ids": SOME},
        "level_changes": LATER
        | {"levels": ["critical"], "previous": ["healthy", "at_risk"], "first": False, "worse": True},
        "level_changes_of_move": LATER | {"previous": "healthy", "level": "at_risk"},
        "causes": {"ids": SOME, "seqs": [2] * len(SOME)},
        "calls_booked": {"since": SINCE, "until": UNTIL, "most": 12},
    },
    "dashboard_tasks": {
        "team": {"before": float("inf"), "id": LAST_ID, "now": SINCE, "most": 100},
        "of_owner": {"owner": "emma", "most": 300},
        "of_supplier": OF_ONE,
        "owner": {"supplier": ONE},
        "candidates_of_owner": PAGE | {"owner": "emma"},
        "add": {"id": SOME[0], "supplier": ONE, "notes": "x", "by": "emma", "until": SINCE, "now": SINCE},
        "put_off": {"id": SOME[0], "until": SINCE, "tries": 1, "now": SINCE},
        "done_by": {"id": SOME[0], "by": "emma"},
        "take": {"supplier": ONE, "owner": "tom", "now": SINCE},
        "give_back": {"supplier": ONE},
    },
    "dashboard_lists": {
        "labels": {"ids": SOME},
        "choices": {"most": 200},
        "known": {"ids": SOME},
        "tag": {"ids": SOME, "tag": "autumn", "at": SINCE, "by": "emma"},
        "untag": {"ids": SOME, "tag": "spring"},
        "views": {"agent": "emma", "most": 60},
        "keep_view": {"id": ONE, "agent": "emma", "name": "n", "query": "", "shared": False, "at": SINCE},
        "drop_view": {"id": ONE, "agent": "emma"},
    },
    "dashboard_messages": {
        "funnel": DAYS,
        "reasons": DAYS,
        "variants": DAYS,
        "holdout": DAYS | {"most": 100, "goals": "[]"},
        "today": {"day": date(2026, 1, 19)},
        "outgoing": {"until": UNTIL, "most": 8},
        "messages_of_status": LATER | {"status": "sent", "outcome": ""},
        "messages_of_reason": LATER | {"reason": "weekly_cap", "template": ""},
        "messages_of_template": LATER
        | {"template": "quick_win", "status": "sent", "variant": "", "outcome": ""},
    },
    "dashboard_supplier": {
        "supplier": {"supplier": ONE},
        "names": {"suppliers": [ONE]},
        "written": {"supplier": ONE, "ids": SOME},
        "history": {"supplier": ONE, "since": SINCE, "most": 1500},
        "changes": OF_ONE,
        "milestones": OF_ONE,
        "messages": OF_ONE,
        "calls": OF_ONE,
        "notes": OF_ONE,
        "acts": OF_ONE,
        "open_calls": {"supplier": ONE, "most": 50},
        "lock": {"supplier": ONE},
        "add_note": {"id": ONE, "supplier": ONE, "at": SINCE, "by": "emma", "note": "x"},
    },
    "dashboard_system": {
        "outbox_waiting": {"most": 1000},
        "delivery": {"namespace": 1, "now": SINCE, "most": 1000},
        "newest_change": {},
        "stored_until": {},
        "begun": {"most": 2},
        "published_letters": {"partitions": [1, 2], "positions": [9, 10]},
        "note_published": {"partition": 1, "position": 1, "stamp": SINCE, "at": SINCE, "by": "emma"},
    },
}
BY_WRITER = {"outbox_waiting", "fold_tallies", "unfolded", "end_newness"}
"""What the API asks in the writer's role."""
MOST_ROWS = 3000
"""Of tables of 12,000 to 48,000 rows, for a page of 50; a supplier and their rows are several."""
SMALL = {"pipeline_progress", "population_moves", "population_now", "message_tallies", "pg_database"}
"""Tallies and catalogue: thousands of rows at most, whatever the number of suppliers."""
QUERIES = [(file, name) for file, queries in VALUES.items() for name in queries]


@pytest.fixture
def conn(large: str) -> Iterator[psycopg.Connection]:
    """A connection as the API has it for an agent; nothing it does stays."""
    with psycopg.connect(large) as made:
        made.execute("SET ROLE success_api")
        made.execute('SELECT set_config(\'request.jwt.claims\', \'{"role": "agent", "sub": "emma"}\', true)')
        yield made
        made.rollback()


def nodes(plan: dict[str, Any], limited: bool = False) -> Iterator[tuple[dict[str, Any], bool]]:
    """Each node of a plan, and whether a limit above ends it early (a sort in between needs everything)."""
    limited = (limited or plan["Node Type"] == "Limit") and plan["Node Type"] not in {
        "Sort",
        "Aggregate",
        "Hash",
    }
    yield plan, limited
    for child in plan.get("Plans", ()):
        yield from nodes(child, limited)


def whole_reads(plan: dict[str, Any]) -> list[str]:
    """What a plan reads as a whole: scans of large tables without a condition on an index or a limit."""
    found = []
    for node, limited in nodes(plan):
        table = node.get("Relation Name")
        if table in SMALL or not ("Scan" in node["Node Type"] and (table or "Index Name" in node)):
            continue
        if node["Node Type"] == "Bitmap Heap Scan":
            continue  # its index scan is a node of its own
        if node["Node Type"] == "Seq Scan" or not ("Index Cond" in node or limited):
            found.append(f"{node['Node Type']} on {table or node['Index Name']}")
    return found


def touched(plan: dict[str, Any]) -> int:
    """How many rows of large tables a plan that has run looked at."""
    return sum(
        (node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) * node["Actual Loops"]
        for node, _ in nodes(plan)
        if "Relation Name" in node and node["Relation Name"] not in SMALL and "Scan" in node["Node Type"]
    )


def explained(conn: psycopg.Connection, options: str, query: str, values: dict[str, Any] | None) -> Any:
    cursor = psycopg.ClientCursor(conn) if values is not None else conn.cursor()
    row = cursor.execute(f"EXPLAIN ({options}FORMAT JSON) {query}".encode(), values or None).fetchone()
    assert row is not None
    plans = json.loads(row[0]) if isinstance(row[0], str) else row[0]
    return plans[0]["Plan"]


def test_every_query_of_the_dashboard_is_looked_at() -> None:
    assert {file: set(load(file)) for file in VALUES} == {file: set(names) for file, names in VALUES.items()}


@pytest.mark.parametrize(("file", "name"), QUERIES)
def test_a_query_reads_no_large_table_as_a_whole(conn: psycopg.Connection, file: str, name: str) -> None:
    if name in BY_WRITER:
        conn.execute("SET ROLE success_writer")
    assert whole_reads(explained(conn, "", load(file)[name].decode(), VALUES[file][name])) == []


@pytest.mark.parametrize(("file", "name"), QUERIES)
def test_a_prepared_query_does_neither(conn: psycopg.Connection, file: str, name: str) -> None:
    """Postgres may plan a prepared statement once for all values."""
    if name in BY_WRITER:
        conn.execute("SET ROLE success_writer")
    numbers: dict[str, str] = {}
    text = re.sub(
        r"%\((\w+)\)s",
        lambda match: numbers.setdefault(match[1], f"${len(numbers) + 1}"),
        load(file)[name].decode(),
    ).replace("%%", "%")
    assert whole_reads(explained(conn, "GENERIC_PLAN, ", text, None)) == []


@pytest.mark.parametrize(("file", "name"), QUERIES)
def test_a_query_touches_few_rows(conn: psycopg.Connection, file: str, name: str) -> None:
    """A condition on an index may still walk through all of it: what was really read is counted."""
    if name in BY_WRITER:
        conn.execute("SET ROLE success_writer")
    plan = explained(conn, "ANALYZE, TIMING OFF, ", load(file)[name].decode(), VALUES[file][name])
    assert touched(plan) <= MOST_ROWS


FILTERS = {
    "nothing": (Wanted(), 0),
    "a level": (Wanted(level="at_risk"), 0),
    "the best level": (Wanted(level="healthy"), 0),
    "the worst level": (Wanted(level="critical"), 0),
    "plan": (Wanted(plan="scale"), 3000),
    "a rare trade": (Wanted(trade="florist"), 60),
    "the usual trade": (Wanted(trade="photographer"), 0),
    "week and level": (Wanted(cohort=date(2025, 7, 7), level="critical"), 300),
    "a rare tag": (Wanted(tag="spring"), 400),
    "an owner": (Wanted(owner="emma"), 3000),
    "nobody's": (Wanted(owner=""), 0),
}
"""And how many they leave, where that is a few: in an order other than theirs those may be sorted."""
PLACES = {"weight": "1.5", "name": "golden weddings 5", "score": "9|47", "since": "2026-01-10T00:00:00+00:00"}
PLACES["week"] = "2025-09-01|1.5"


@pytest.mark.parametrize("filters", FILTERS)
def test_a_list_in_any_order_looks_at_few_rows(conn: psycopg.Connection, filters: str) -> None:
    wanted, left = FILTERS[filters]
    for order in [*ORDERS, *(f"-{order}" for order in ORDERS)]:
        for after in ("", f"{PLACES[order.removeprefix('-')]}|{ONE}"):
            query, values = page_of(wanted, order, after, 51)
            plan = explained(conn, "ANALYZE, TIMING OFF, ", query.as_string(conn), values)
            assert whole_reads(plan) == [], (order, after)
            assert touched(plan) <= 2 * left + MOST_ROWS, (order, after, plan)


@pytest.mark.parametrize(
    ("term", "most_blocks"),
    [
        ("supplier-77@example.com", 200),
        ("golden wed", 3000),
        (ONE, 200),
        ("weddings", 3000),
        ("zzz nobody", 400),
        ("golen", 3000),
    ],
)
def test_a_search_looks_at_few_blocks(conn: psycopg.Connection, term: str, most_blocks: int) -> None:
    """Its plan is inside a function; what it touched is counted instead. All suppliers are about 600 blocks."""
    query = "SELECT * FROM success_find_suppliers(%(term)s, 8)"
    explained(conn, "ANALYZE, ", query, {"term": term})  # the first call also reads the catalogue
    plan = explained(conn, "ANALYZE, BUFFERS, ", query, {"term": term})
    assert plan["Shared Hit Blocks"] + plan["Shared Read Blocks"] < most_blocks


def test_a_plan_without_its_index_is_noticed(conn: psycopg.Connection) -> None:
    plan = explained(conn, "", "SELECT * FROM suppliers WHERE timezone = 'Nowhere' LIMIT 5", {})
    assert whole_reads(plan) == ["Seq Scan on suppliers"]
    plan = explained(conn, "", "SELECT count(*) FROM supplier_standings WHERE weight > 0 OR band > 0", {})
    assert whole_reads(plan) != []
