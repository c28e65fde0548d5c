"""Rows a second of the intervention agent's writer, as the tables grow.

The tables are filled by copying what the writer itself wrote for some suppliers; then it writes on, for suppliers
among them and for new ones.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections import defaultdict
from hashlib import md5
from random import Random
from typing import Any

import psutil
import psycopg
from psycopg import sql

from agents.health.outgoing import TOPIC_OF_SIGNAL
from agents.interventions.writer import InterventionWriter
from bench.logs.events import activity
from bench.scale.rebalance import new_database
from bench.store import Record
from runtime.clock import ManualClock
from runtime.keys import Keys
from scoring.decisions.policy import Policy
from scoring.health.machine import apply
from scoring.health.signals import Signal
from scoring.health.snapshot import snapshot
from scoring.health.state import State, decode, encode
from scoring.time import DAY, HOUR
from store.database import Pool, Role, open_pool
from topics.catalog import CONDITIONS, HEALTH, MILESTONES, RISK_CHANGES
from topics.decoding import ActivityEvent
from topics.decoding import decode as decode_record
from topics.encoding import SOURCE, encode_event

SEEDS = 1_000
EVENTS_OF_A_SEED = 60
WRITTEN_ON = 6_000
"""Suppliers that are known already and have news, and as many new ones."""
BATCH = 1_000
WRITERS = 2
NOW = 1_767_603_600_000
GROWN = (
    "suppliers",
    "customer_health",
    "health_history",
    "supplier_standings",
    "success_milestones",
    "success_interventions",
)
COUNTED = ("customer_health", "health_history", "success_milestones", "success_interventions")
Batches = dict[str, list[Record]]


def measure(database_url: str, sizes: tuple[int, ...]) -> dict[str, Any]:
    """Rates at each number of suppliers (ascending)."""
    return asyncio.run(_measure(new_database(database_url), sizes))


async def _measure(url: str, sizes: tuple[int, ...]) -> dict[str, Any]:
    seeds = {_id(f"seed/{number}"): State() for number in range(SEEDS)}
    await _write(url, _history(seeds, NOW, EVENTS_OF_A_SEED))
    rows, copies = [], 0
    for size in sizes:
        wanted = size // SEEDS
        began = time.perf_counter()
        if wanted > copies:
            _multiply(url, copies + 1, wanted)
            copies = wanted
        rows.append(
            {
                "fill_s": round(time.perf_counter() - began, 1),
                "rows": _count(url),
                "rates": {
                    "known suppliers": await _write(url, _news(seeds, copies, size)),
                    "new suppliers": await _write(url, _beginners(size)),
                },
            }
        )
    return {"batch": BATCH, "writers": WRITERS, "sizes": rows}


# --- what is written


def _history(seeds: dict[str, State], end_ms: int, events_each: int) -> Batches:
    """The seeds' lives up to now, with a snapshot every few events."""
    ids = list(seeds)
    made: Batches = defaultdict(list)
    log = activity(len(ids) * events_each, len(ids), 19, end_ms - 60 * DAY, 60 * DAY)
    renamed: dict[bytes, str] = {}
    for number, (key, value) in enumerate(log):
        supplier = renamed.setdefault(key, ids[len(renamed) % len(ids)])
        event = decode_record(key, value, (), end_ms)
        if not isinstance(event, ActivityEvent):
            raise TypeError(f"a made-up event was refused: {event}")
        _gather(made, supplier, apply(seeds[supplier], supplier, event))
        if number % 10 == 0:
            made[HEALTH].append(_snapshot(supplier, seeds[supplier]))
    for supplier in renamed.values():
        made[HEALTH].append(_snapshot(supplier, seeds[supplier]))
    return made


def _news(seeds: dict[str, State], copies: int, salt: int) -> Batches:
    """An event each of suppliers that the tables know, spread over all of them."""
    rng = Random(salt)  # noqa: S311 - load, not a secret
    made: Batches = defaultdict(list)
    ids = list(seeds)
    for number in range(WRITTEN_ON):
        seed = ids[number % len(ids)]
        supplier = copied(seed, rng.randint(1, copies)) if copies else seed
        state = decode(encode(seeds[seed])) if copies else seeds[seed]
        event = ActivityEvent(
            "supplier.logged_in", NOW + HOUR + number, f"{salt}-{number}", "/bench", supplier, None
        )
        _gather(made, supplier, apply(state, supplier, event))
        made[HEALTH].append(_snapshot(supplier, state))
    return made


def _beginners(salt: int) -> Batches:
    """The first events of suppliers that nobody knows."""
    made: Batches = defaultdict(list)
    for number in range(WRITTEN_ON):
        supplier, state = _id(f"new/{salt}/{number}"), State()
        for kind in ("supplier.signed_up", "supplier.logged_in", "form.created"):
            event = ActivityEvent(kind, NOW, f"{salt}-{kind}", "/bench", supplier, _NoData())
            _gather(made, supplier, apply(state, supplier, event))
        made[HEALTH].append(_snapshot(supplier, state))
    return made


class _NoData:
    plan = None
    form_id = "f1"


def _gather(made: Batches, supplier: str, signals: list[Signal]) -> None:
    for signal in signals:
        value = encode_event(signal.type, signal.id, SOURCE, supplier, signal.at, signal.data)
        topic = TOPIC_OF_SIGNAL[signal.type]
        made[topic].append(Record(supplier.encode(), value, topic=topic))


def _snapshot(supplier: str, state: State) -> Record:
    value = encode_event(
        "success.health.updated",
        str(uuid.uuid4()),
        SOURCE,
        supplier,
        state.clock,
        snapshot(state, supplier_id=supplier),
    )
    return Record(supplier.encode(), value)


def _id(name: str) -> str:
    return str(uuid.UUID(bytes=md5(name.encode(), usedforsecurity=False).digest()))


def copied(supplier: str, copy: int) -> str:
    """The id that `_multiply` gives a supplier's copy."""
    return _id(f"{supplier}/{copy}")


# --- writing


async def _write(url: str, made: Batches) -> dict[str, dict[str, float]]:
    """Write health first, then signals, as they are sent; records and seconds a topic, and the rows they made."""
    pool = await open_pool(url, Role.WRITER, min_size=WRITERS, max_size=WRITERS)
    backends = await _backends(pool)
    writer = InterventionWriter(pool, ManualClock(NOW + DAY), Policy.load(), Keys("bench"))
    rates: dict[str, dict[str, float]] = {}
    for topic in (HEALTH, RISK_CHANGES, MILESTONES, CONDITIONS):
        records = made[topic]
        before = _count(url)
        began, cpu, theirs = time.perf_counter(), time.process_time(), _cpu(backends)
        shares = [
            [record for record in records if record.key[0] % WRITERS == number] for number in range(WRITERS)
        ]
        await asyncio.gather(*(_write_share(writer, topic, share) for share in shares))
        took, cpu, theirs = time.perf_counter() - began, time.process_time() - cpu, _cpu(backends) - theirs
        added = {name: count - before[name] for name, count in _count(url).items() if count > before[name]}
        rates[topic] = {
            "records": len(records),
            "per_second": round(len(records) / took) if records else 0,
            "writer_us": round(cpu / len(records) * 1e6) if records else 0,
            "postgres_us": round(theirs / len(records) * 1e6) if records else 0,
            **{f"{name}_rows_per_second": round(count / took) for name, count in added.items()},
        }
    if writer.dead_letters:
        raise RuntimeError(f"{len(writer.dead_letters)} records were refused: {writer.dead_letters[0][2]}")
    await pool.close()
    return rates


async def _backends(pool: Pool) -> list[psutil.Process]:
    """The processes of Postgres that serve a pool, which are on this machine."""
    connections = [await pool.getconn() for _ in range(WRITERS)]
    for each in connections:
        await pool.putconn(each)
    return [psutil.Process(each.info.backend_pid) for each in connections]


def _cpu(processes: list[psutil.Process]) -> float:
    """Seconds of CPU that they have used so far."""
    return sum(times.user + times.system for times in (each.cpu_times() for each in processes))


async def _write_share(writer: InterventionWriter, topic: str, share: list[Record]) -> None:
    for start in range(0, len(share), BATCH):
        await writer.write(topic, share[start : start + BATCH])


# --- growing the tables


def _multiply(url: str, first: int, last: int) -> None:
    """Copy the seeds' rows under other ids, `first` to `last` times over; interventions as long sent."""
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute("SET session_replication_role = replica")  # tallies and notices are not what is copied
        conn.execute(
            "CREATE TABLE IF NOT EXISTS bench_seeds AS SELECT id FROM suppliers"  # before anything is copied
        )
        for table in GROWN:
            columns = _columns(conn, table)
            chosen = sql.SQL(", ").join(_copy_of(table, name, kind) for name, kind in columns)
            supplier = "id" if table == "suppliers" else "supplier_id"
            conn.execute(
                sql.SQL(
                    "INSERT INTO {table} ({names}) SELECT {chosen} "
                    "FROM {table} t, generate_series(%s::int, %s::int) AS copy "
                    "WHERE t.{supplier} IN (SELECT id FROM bench_seeds)"
                ).format(
                    table=sql.Identifier(table),
                    names=sql.SQL(", ").join(sql.Identifier(name) for name, _ in columns),
                    chosen=chosen,
                    supplier=sql.Identifier(supplier),
                ),
                (first, last),
            )
            conn.execute(sql.SQL("ANALYZE {}").format(sql.Identifier(table)))


def _columns(conn: psycopg.Connection, table: str) -> list[tuple[str, str]]:
    return conn.execute(
        "SELECT column_name, data_type FROM information_schema.columns WHERE table_schema = 'public' "
        "AND table_name = %s AND is_generated = 'NEVER' AND is_identity = 'NO' ORDER BY ordinal_position",
        (table,),
    ).fetchall()


def _copy_of(table: str, name: str, kind: str) -> sql.Composable:
    if table == "success_interventions" and name == "status":
        return sql.SQL("CASE t.status WHEN 'scheduled' THEN 'sent' ELSE t.status END")
    if table == "success_interventions" and name == "sent_at":
        return sql.SQL("CASE WHEN t.status IN ('scheduled', 'sent') THEN t.created_at END")
    if kind == "uuid":
        return sql.SQL("md5(t.{}::text || '/' || copy)::uuid").format(sql.Identifier(name))
    return sql.SQL("t.{}").format(sql.Identifier(name))


def _count(url: str) -> dict[str, int]:
    with psycopg.connect(url) as conn:
        counts = {}
        for table in COUNTED:
            found = conn.execute(sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(table))).fetchone()
            counts[table] = found[0] if found else 0
        return counts


def lines(found: dict[str, Any]) -> list[str]:
    """For people, in Markdown."""
    head = [
        (
            f"Records/s in batches of {found['batch']:,} by {found['writers']} writers; signals are of new suppliers. "
            "In brackets: µs of CPU a record, of the writers and of Postgres."
        ),
        "",
        (
            "| rows of health, history, milestones, interventions | health | health, new | risk changes | milestones "
            "| conditions |"
        ),
        "|---|---:|---:|---:|---:|---:|",
    ]
    return [*head, *[_line(row) for row in found["sizes"]]]


def _line(row: dict[str, Any]) -> str:
    rates = row["rates"]
    shown = [("known suppliers", HEALTH)]
    shown += [("new suppliers", topic) for topic in (HEALTH, RISK_CHANGES, MILESTONES, CONDITIONS)]
    cells = [_cell(rates[who][topic]) for who, topic in shown]
    return f"| {', '.join(f'{count:,}' for count in row['rows'].values())} | {' | '.join(cells)} |"


def _cell(rate: dict[str, Any]) -> str:
    cpu = f" ({rate['writer_us']} + {rate['postgres_us']})" if "writer_us" in rate else ""
    return f"{rate['per_second']:,}{cpu}"
