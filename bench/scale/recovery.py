"""How long a worker takes to recover very many suppliers from the changelog."""

from __future__ import annotations

import asyncio
from typing import Any

from bench.product import new_settings, scoring
from bench.scale.suppliers import fill


def measure(kafka: str, suppliers: int) -> dict[str, Any]:
    """Write a changelog of so many suppliers and start a worker on it."""
    settings = new_settings(kafka)
    size = asyncio.run(fill(settings, suppliers))
    with scoring(settings) as process:
        ready = process.report()
    return {
        "suppliers": suppliers,
        "changelog_mb": round(size / 1e6),
        "changelog": {
            "seconds": round(ready["seconds"], 1),
            "suppliers_per_second": round(suppliers / ready["seconds"]),
            "cpu_us_a_supplier": round(ready["cpu_seconds"] / suppliers * 1e6, 1),
            "memory_mb": round(ready["memory_mb"]),
        },
    }


def lines(found: dict[str, Any]) -> list[str]:
    """For people, in Markdown."""
    row = found["changelog"]
    return [
        (
            f"{found['suppliers']:,} suppliers, one worker, from when it begins to join until it reads its "
            "partitions."
        ),
        "",
        "| changelog, MB | s | suppliers/s | CPU, µs a supplier | memory after it, MB |",
        "|---:|---:|---:|---:|---:|",
        (
            f"| {found['changelog_mb']:,} | {row['seconds']} | {row['suppliers_per_second']:,} "
            f"| {row['cpu_us_a_supplier']} | {row['memory_mb']:,} |"
        ),
    ]
