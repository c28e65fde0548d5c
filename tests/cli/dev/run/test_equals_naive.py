"""A simulated population through the real Kafka, worker and Postgres equals the naive implementation's answer.

CI plays a small population; `SUCCESS_LONG_TESTS=1` plays 1,000 suppliers over 90 days.
"""

from __future__ import annotations

import os
from collections import defaultdict
from types import SimpleNamespace
from typing import Any

import orjson
import psycopg
import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from psycopg.rows import dict_row

from agents.worker import InProcessWorker
from cli.dev.live_worker import LiveWorker
from replay.simulator.simulate import population
from runtime.clock import ManualClock
from scoring.decisions.policy import Policy
from scoring.time import DAY
from tests.reference.compare import difference
from tests.reference.naive import NaiveSupplier
from topics.catalog import CONDITIONS, MILESTONES, RISK_CHANGES, full_name
from topics.decoding import decode
from topics.lines import read_line
from topics.time import format_time, parse_time

SUPPLIERS, DAYS = (1_000, 90) if os.environ.get("SUCCESS_LONG_TESTS") else (40, 45)
START = parse_time("2026-01-01T00:00:00Z")
END = START + (DAYS + 10) * DAY
BATCH = 5_000


@pytest.fixture(scope="module")
def lines() -> list[Any]:
    return [read_line(orjson.dumps(line)) for line in population(SUPPLIERS, DAYS, 11, START)]


@pytest.fixture(scope="module")
def expected(lines):
    """Per supplier: the naive signals by id, and the final snapshot, after silence up to END."""
    suppliers: dict[str, NaiveSupplier] = {}
    signals: dict[str, dict[str, Any]] = defaultdict(dict)
    for line in lines:
        event = decode(line.key, line.value, (), END)
        if hasattr(event, "subject"):
            supplier = suppliers.setdefault(event.subject, NaiveSupplier(event.subject))
            for signal in supplier.apply(event):
                signals[event.subject][signal.id] = signal
    for supplier_id, supplier in suppliers.items():
        for signal in supplier.advance(END):
            signals[supplier_id][signal.id] = signal
    return signals, {supplier_id: supplier.snapshot() for supplier_id, supplier in suppliers.items()}


async def play(settings, lines) -> None:
    """Publish everything, then let silence pass up to END."""
    clock = ManualClock(END)
    worker = InProcessWorker(
        settings,
        clock,
        append_time=lambda _record: END,
        policy=Policy.load(None),
    )
    async with LiveWorker(settings, worker) as live:
        for start in range(0, len(lines), BATCH):
            await live.publish(list(lines[start : start + BATCH]))
        await live.fire_due(END)


async def read_signals(settings) -> list[dict[str, Any]]:
    """Every record of the three signal topics."""
    topics = [full_name(settings.topic_prefix, topic) for topic in (RISK_CHANGES, MILESTONES, CONDITIONS)]
    consumer = AIOKafkaConsumer(bootstrap_servers=settings.kafka, auto_offset_reset="earliest")
    await consumer.start()
    partitions = [TopicPartition(topic, n) for topic in topics for n in range(settings.partitions)]
    consumer.assign(partitions)
    ends, found = await consumer.end_offsets(partitions), []
    while any([await consumer.position(tp) < end for tp, end in ends.items()]):
        for records in (await consumer.getmany(timeout_ms=500)).values():
            found.extend(orjson.loads(record.value) for record in records)
    await consumer.stop()
    return found


async def test_every_row_and_signal_equals_the_naive_answer(settings, lines, expected):
    await play(settings, lines)
    naive_signals, naive_snapshots = expected

    sent = await read_signals(settings)
    assert len({signal["id"] for signal in sent}) == len(sent), "a signal was sent twice"
    assert {signal["id"] for signal in sent} == {id_ for each in naive_signals.values() for id_ in each}
    for signal in sent:
        naive = naive_signals[signal["subject"]][signal["id"]]
        ours = {"type": signal["type"], "time": signal["time"], "data": signal["data"]}
        theirs = {"type": naive.type, "time": format_time(naive.at), "data": naive.data}
        assert difference(ours, theirs) is None

    with psycopg.connect(settings.database_url, row_factory=dict_row) as conn:
        rows = {str(row["supplier_id"]): row for row in conn.execute("SELECT * FROM customer_health")}
        milestones = conn.execute("SELECT supplier_id, milestone_type FROM success_milestones").fetchall()
        history = conn.execute("SELECT count(*) AS n FROM health_history").fetchone()
    assert rows.keys() == naive_snapshots.keys()
    for supplier_id, naive in naive_snapshots.items():
        assert wrong_in(rows[supplier_id], SimpleNamespace(**naive)) == []
    assert {(str(row["supplier_id"]), row["milestone_type"]) for row in milestones} == {
        (signal["subject"], signal["data"]["milestone"])
        for signal in sent
        if signal["type"] == "success.milestone.achieved"
    }
    assert history["n"] == sum(len(naive["changes"]) for naive in naive_snapshots.values())


def wrong_in(row: dict[str, Any], naive: SimpleNamespace) -> list[str]:
    """The columns of a final row that differ from the naive snapshot."""
    metrics = naive.metrics
    wanted = {
        "health_score": naive.score,
        "risk_level": naive.level,
        "seq": naive.seq,
        "login_frequency": metrics["loginFrequency"],
        "feature_adoption_score": round(metrics["featureAdoption"] * 100),
        "client_engagement_score": int(round(metrics["clientActivity"] * 100, 7) + 0.5),
        "form_completion_rate": pytest.approx(metrics["formCompletion"], abs=5e-5),
        "journey_performance": pytest.approx(metrics["journeyPerformance"], abs=5e-5),
        "calculated_at": naive.calculated_at,
        "last_login": naive.last_login,
        "next_change_at": naive.next_change_at,
        "breakdown": pytest.approx(naive.breakdown, abs=2e-9),
    }
    ours = {name: at(row[name]) if hasattr(row[name], "tzinfo") else row[name] for name in wanted}
    for name in ("login_frequency", "form_completion_rate", "journey_performance"):
        ours[name] = float(ours[name])
    return [f"{name}: {ours[name]} and {wanted[name]}" for name in wanted if ours[name] != wanted[name]]


def at(instant: Any) -> str:
    return format_time(round(instant.timestamp() * 1000))
