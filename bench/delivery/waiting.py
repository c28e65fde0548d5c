"""What looking for something to do costs while rows wait: `python -m bench.delivery.waiting`.

Flat is right: delivery, a shadow and emails about calls read due rows only.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable

import click
import psycopg
from psycopg import AsyncConnection

from bench.delivery.bench import database
from embedded.stack import Stack
from store.database import Pool, Role, open_pool
from store.messages.delivery import lock_supplier
from store.messages.shadow import due_supplier
from store.people.calls import expire_mails, next_mail_ms, set_aside_mails
from store.queries import load
from store.times import to_time

CLAIMS = 200
DUE_MS = 1_800_000_000_000
FILL = """
    WITH people AS (
        INSERT INTO suppliers (id) SELECT gen_random_uuid() FROM generate_series(1, {number}) RETURNING id)
    INSERT INTO success_interventions (id, supplier_id, trigger_condition, intervention_type, status, due_at,
        not_before, signal_id, signal_at, seq, metadata)
    SELECT gen_random_uuid(), id, 'low_client_adoption', 'email', 'scheduled', to_timestamp(0),
        to_timestamp({not_before}), gen_random_uuid(), to_timestamp(0), 1,
        jsonb_build_object('waiting', {waits})
    FROM people
"""


SHADOW = """
    INSERT INTO shadow_policies (policy, name, started_at, last_seen_at, content)
        VALUES ('p', 'p', now(), now(), '{{}}') ON CONFLICT DO NOTHING;
    INSERT INTO shadow_interventions (policy, id, supplier_id, trigger_condition, intervention_type, kind, priority,
        status, due_at, not_before, signal_id, signal_at, seq, metadata, created_at)
    SELECT 'p', id, supplier_id, trigger_condition, intervention_type, 'rescue', 1, 'scheduled', due_at, not_before,
        signal_id, signal_at, seq, metadata, now()
    FROM success_interventions ON CONFLICT DO NOTHING;
    INSERT INTO support_interactions (id, supplier_id, interaction_type, status)
    SELECT supplier_id, supplier_id, 'check_in', 'scheduled' FROM success_interventions ON CONFLICT DO NOTHING;
    INSERT INTO transactional_mails (id, supplier_id, call_id, method, sequence, starts_at, ends_at, not_before,
        expires_at, created_at)
    SELECT id, supplier_id, supplier_id, 'REQUEST', 0, to_timestamp({late}), to_timestamp({late}), to_timestamp(0),
        to_timestamp({late}), now()
    FROM success_interventions ON CONFLICT DO NOTHING
"""


@click.command()
@click.option("--sizes", default="0,25000,100000,1000000", show_default=True, help="Rows that wait.")
def main(sizes: str) -> None:
    """Print median times of looking for work with so many waiting rows, half for health and half for an address."""
    stack = Stack(ephemeral=True)
    try:
        url = database(stack.start().database_url)
        there = 0
        for size in sorted(int(each) for each in sizes.split(",")):
            fill(url, size - there, first=there == 0)
            there = size
            claim, shadow, mails = asyncio.run(looks(url))
            click.echo(
                f"{size:>9,} waiting  {claim:6.2f} ms a claim  {shadow:6.2f} ms a shadow's look  "
                f"{mails:6.2f} ms a look at emails about calls"
            )
    finally:
        stack.stop()


def fill(url: str, waiting: int, *, first: bool) -> None:
    """Add so many waiting rows, and, the first time, ten that are due; as many of a shadow and about calls."""
    late = DUE_MS // 1000 + 86_400
    with psycopg.connect(url, autocommit=True) as conn:
        if first:
            conn.execute(FILL.format(number=10, not_before=0, waits="'spacing'").encode())
        for waits in ("'health'", "'address'"):
            conn.execute(FILL.format(number=waiting // 2, not_before=late, waits=waits).encode())
        conn.execute(SHADOW.format(late=late).encode())
        conn.execute("SET ROLE success_writer")
        conn.execute(load("calls")["set_aside"], {"now": to_time(DUE_MS)})  # once, by the first who looks
        conn.execute("RESET ROLE")
        conn.execute("VACUUM ANALYZE")


async def looks(url: str) -> tuple[float, float, float]:
    """Medians of `CLAIMS` in ms, each rolled back: a claim, a shadow's look, and one at emails about calls."""
    pool = await open_pool(url, Role.WRITER)
    claims = await median(pool, lambda conn, number: lock_supplier(conn, DUE_MS, newest=number % 4 == 0))
    shadow = await median(pool, lambda conn, _: due_supplier(conn, "p", DUE_MS))
    mails = await median(pool, lambda conn, _: look_at_mails(conn))
    await pool.close()
    return claims, shadow, mails


async def look_at_mails(conn: AsyncConnection) -> int | None:
    """What a round of delivery asks of emails about calls when none can be sent."""
    await expire_mails(conn, DUE_MS)
    await set_aside_mails(conn, DUE_MS)
    return await next_mail_ms(conn)


async def median(pool: Pool, look: Callable[[AsyncConnection, int], Awaitable[object]]) -> float:
    """In ms, each in a transaction of its own."""
    took = []
    for number in range(CLAIMS):
        async with pool.connection() as conn:
            began = time.perf_counter()
            found = await look(conn, number)
            took.append(time.perf_counter() - began)
            if found is None:
                raise click.ClickException("nothing was there")
            await conn.rollback()
    return statistics.median(took) * 1000


if __name__ == "__main__":
    main()
