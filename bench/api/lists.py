"""What a page of the dashboard's lists costs: `python -m bench.api.lists`.

Starts an ephemeral stack, fills Postgres as the tests' large population is filled, and asks the app in this process for
lists in each order and by each filter, from their beginning and from their middle, and for searches. Time is that of
the whole answer; CPU is this process's and that of its connections' processes in Postgres, which does not depend on who
else is busy.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from statistics import median
from urllib.parse import urlencode

import click
import psutil
import psycopg
from httpx import ASGITransport, AsyncClient

from agents.cluster.provisioning import create_topics
from api.app import build_app
from api.auth import sign
from embedded.stack import Stack
from runtime.settings import Settings
from store.dashboard.lists import ORDERS
from store.migrate import migrate
from tests.api.dashboard.seed import id_of, seed

FILTERS: tuple[dict[str, str], ...] = (
    {},
    {"level": "critical"},
    {"level": "healthy"},
    {"band": "9"},
    {"week": "2025-09-01"},
    {"plan": "scale"},
    {"trade": "florist"},
    {"trade": "photographer"},
    {"tag": "spring"},
    {"tag": "wave"},
    {"owner": "emma"},
    {"owner": "-"},
    {"level": "healthy", "plan": "free"},
    {"level": "critical", "trade": "florist"},
    {"level": "at_risk", "owner": "emma"},
)
SEARCHES = ("golden", "weddings", "golden wed", "golen wedings", "supplier-77@", "zzz nobody")
_MORE = re.compile(r'hx-get="(/dashboard/suppliers\?[^"]+)"')


@dataclass(frozen=True, slots=True)
class Page:
    """One address, its time and CPU in ms, each the median of its repeats, and its bytes."""

    address: str
    took: float
    cpu: float
    size: int


@click.command()
@click.option("--suppliers", default=50_000, show_default=True)
@click.option("--repeats", default=3, show_default=True, help="Of each page, after one that does not count.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def main(suppliers: int, repeats: int, as_json: bool) -> None:
    """Print what pages of lists cost, the dearest first."""
    with ExitStack() as cleanup:
        stack = Stack(ephemeral=True)
        cleanup.callback(stack.stop)
        addresses = stack.start()
        settings = Settings(
            kafka=addresses.kafka, database_url=addresses.database_url, smtp_url=addresses.smtp
        )
        migrate(settings.database_url)
        asyncio.run(create_topics(settings))
        began = time.monotonic()
        with psycopg.connect(settings.database_url, autocommit=True) as conn:
            seed(conn, suppliers)
        click.echo(f"{suppliers:,} suppliers written in {time.monotonic() - began:.0f} s", err=True)
        pages = asyncio.run(measured(settings, suppliers, repeats))
    load = os.getloadavg()[0]
    pages.sort(key=lambda page: -page.cpu)
    if as_json:
        click.echo(json.dumps({"load": load, "pages": [asdict(page) for page in pages]}))
        return
    for page in pages[:20]:
        click.echo(f"{page.took:7.0f} ms  {page.cpu:5.0f} ms CPU  {page.size:8,} B  {page.address}")
    click.echo(
        f"{len(pages)} pages: {median(page.took for page in pages):.0f} ms in the middle, "
        f"{max(page.took for page in pages):.0f} ms at most; {median(page.cpu for page in pages):.0f} ms and "
        f"{max(page.cpu for page in pages):.0f} ms of CPU; load {load:.1f} on {os.cpu_count()} cores"
    )


def addresses_of(suppliers: int) -> Iterator[str]:
    """Every list that is asked for: its beginning."""
    for sort in [*ORDERS, *(f"-{order}" for order in ORDERS)]:
        for filters in FILTERS:
            yield f"/dashboard/suppliers?{urlencode({**filters, 'sort': sort})}"
    for term in (*SEARCHES, id_of(suppliers // 2)):
        yield f"/dashboard/suppliers?{urlencode({'q': term})}"
        yield f"/dashboard/search?{urlencode({'q': term})}"


async def measured(settings: Settings, suppliers: int, repeats: int) -> list[Page]:
    """Ask for each list, and for what comes after its fifth page."""
    app = build_app(settings)
    browser = AsyncClient(transport=ASGITransport(app), base_url="http://bench.test")
    async with app.router.lifespan_context(app), browser as client:
        token = sign(settings, "agent", "emma", 3600, int(time.time()))
        await client.post("/dashboard/login", data={"token": token, "next": ""})
        found = []
        for address in addresses_of(suppliers):
            found.append(await _measure(client, settings, address, repeats))
            later = await _further(client, address)
            if later is not None:
                found.append(await _measure(client, settings, later, repeats))
        return found


async def _further(client: AsyncClient, address: str) -> str | None:
    """Where a list goes on after some pages, if it does."""
    for _ in range(5):
        more = _MORE.search((await client.get(address)).text)
        if more is None:
            return None
        address = more[1].replace("&amp;", "&")
    return address


async def _measure(client: AsyncClient, settings: Settings, address: str, repeats: int) -> Page:
    took, cpu, size = [], [], 0
    for counts in (False, *(True for _ in range(repeats))):
        before, began = _cpu_ms(settings), time.monotonic()
        answer = await client.get(address)
        answer.raise_for_status()
        if counts:
            took.append((time.monotonic() - began) * 1000)
            cpu.append(_cpu_ms(settings) - before)
        size = len(answer.content)
    return Page(address, median(took), sum(cpu) / len(cpu), size)


def _cpu_ms(settings: Settings) -> float:
    """Of this process and of everybody who is connected to Postgres."""
    with psycopg.connect(settings.database_url) as conn:
        pids = [
            pid
            for (pid,) in conn.execute(
                "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
            )
        ]
    others = 0.0
    for pid in pids:
        try:
            times = psutil.Process(pid).cpu_times()
        except psutil.NoSuchProcess:
            continue
        others += times.user + times.system
    return (time.process_time() + others) * 1000


if __name__ == "__main__":
    main()
