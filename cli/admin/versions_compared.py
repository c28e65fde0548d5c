"""What `success config compare` says: a version beside its forecast, as a table and a sentence."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from cli.admin.shared import now_ms, writing
from cli.errors import CommandError
from replay.impact.canary_live import OfVersion, of_version
from scoring.decisions.forecast import ForecastError

if TYPE_CHECKING:
    from replay.impact.canary import Compared, Line
    from runtime.settings import Settings

FULL_WIDTH = 160
TITLES = {
    "all": "all messages",
    "sent": "messages",
    "held": "held back",
    "level": "suppliers at the end",
}


async def compared(settings: Settings, number: int | None) -> OfVersion:
    """Compare a version (None: the newest that has a forecast); CommandError says why it can't be."""
    async with writing(settings) as pool, pool.connection() as conn:
        try:
            return await of_version(conn, number, settings.partitions, now_ms())
        except ForecastError as error:
            raise CommandError(str(error)) from error


def show(number: int, partitions: tuple[int, ...] | None, found: Compared) -> None:
    """Print it."""
    console = Console(width=None if sys.stdout.isatty() else FULL_WIDTH, highlight=False)
    where = "everywhere" if partitions is None else f"on partitions {', '.join(map(str, partitions))}"
    beside = "" if found.others is None else f"; {found.others:,} suppliers elsewhere"
    console.print(
        f"version {number} {where}: {found.suppliers:,} suppliers, {found.supplier_days:,.0f} supplier-days{beside}\n"
    )
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("", "expected", "seen", "95 % interval", "elsewhere as many had", ""):
        table.add_column(title, justify="left" if not title else "right")
    for line in found.lines:
        table.add_row(*_cells(line))
    console.print(table)
    console.print(f"\nversion {number}: {found.says}.", soft_wrap=True)


def _cells(line: Line) -> tuple[str, ...]:
    others = "" if line.others is None else f"{line.others:,.1f}"
    name = f"{TITLES[line.what]} {line.name}".strip()
    return name, f"{line.expected:,.1f}", f"{line.seen:,}", line.bounds, others, line.words
