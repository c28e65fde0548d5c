"""How long a worker takes to recover very many suppliers: from the changelog, and from its own snapshot."""

from __future__ import annotations

import asyncio
import tempfile
import time
from pathlib import Path
from typing import Any

from bench.scale.suppliers import fill
from bench.scale.workers import new_settings, scoring
from runtime.settings import Settings

NOT_BEFORE_IT_STOPS_S = 86_400.0


def measure(kafka: str, suppliers: int) -> dict[str, Any]:
    """Write a changelog of so many suppliers, start a worker on it, stop it, and start the next on its snapshot."""
    with tempfile.TemporaryDirectory() as folder:
        settings = new_settings(kafka, snapshot_seconds=NOT_BEFORE_IT_STOPS_S, state_dir=Path(folder))
        size = asyncio.run(fill(settings, suppliers))
        first, stopped_s = _recover(settings, suppliers)
        written = sum(path.stat().st_size for path in Path(folder).rglob("*.snapshot"))
        second, _ = _recover(settings, suppliers)
    if not written:
        raise RuntimeError("the worker left no snapshot")
    return {
        "suppliers": suppliers,
        "changelog_mb": round(size / 1e6),
        "snapshot_mb": round(written / 1e6),
        "stopping_s": round(stopped_s, 1),
        "changelog": first,
        "snapshot": second,
    }


def _recover(settings: Settings, suppliers: int) -> tuple[dict[str, float], float]:
    """What starting a worker took, and how many seconds its stop did."""
    with scoring(settings, 1) as [process]:
        process.go()
        ready = process.ready()
        began = time.perf_counter()
    return {
        "seconds": round(ready["seconds"], 1),
        "suppliers_per_second": round(suppliers / ready["seconds"]),
        "cpu_us_a_supplier": round(ready["cpu_seconds"] / suppliers * 1e6, 1),
        "memory_mb": round(ready["memory_mb"]),
    }, time.perf_counter() - began


def lines(found: dict[str, Any]) -> list[str]:
    """For people, in Markdown."""
    return [
        (
            f"{found['suppliers']:,} suppliers, one worker, from when it begins to join until it reads its partitions. "
            f"The snapshot ({found['snapshot_mb']:,} MB) is the one that the first of them wrote when it was stopped "
            f"({found['stopping_s']} s in all) and lies in the page cache."
        ),
        "",
        "| recovered from | MB | s | suppliers/s | CPU, µs a supplier | memory after it, MB |",
        "|---|---:|---:|---:|---:|---:|",
        *[_line(found, source) for source in ("changelog", "snapshot")],
    ]


def _line(found: dict[str, Any], source: str) -> str:
    row = found[source]
    return (
        f"| {source} | {found[f'{source}_mb']:,} | {row['seconds']} | {row['suppliers_per_second']:,} "
        f"| {row['cpu_us_a_supplier']} | {row['memory_mb']:,} |"
    )
