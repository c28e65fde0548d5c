"""What `python -m bench` says: a table, JSON, a plot, and its part of docs/performance.md."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import matplotlib as mpl
from matplotlib import pyplot as plt
from matplotlib.ticker import FuncFormatter, MaxNLocator

from bench.engines.compare import Measured, Plan
from bench.engines.engines import FULL, SMALL, STREAM_THREADS
from bench.product import ID as PRODUCT_ID
from embedded.jars import KAFKA_VERSION

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "bench" / "results"
PAGE = ROOT / "docs" / "performance.md"
PLOT = ROOT / "docs" / "performance.svg"
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
GOALS = (
    ("Bytewax / small", 1.0, "Bytewax with the small fold"),
    ("Kafka Streams exactly_once_v2 / small", 1.0, "Kafka Streams exactly_once_v2 with the small fold"),
    (
        "Kafka Streams exactly_once_v2, rare commits / small",
        1.0,
        "the same with commits as rare as our flushes while it lags",
    ),
    ("plain loop / full", 0.8, "the plain loop with the same scoring"),
    ("Kafka Streams exactly_once_v2 / small", 2.0, "the aim: twice Kafka Streams exactly_once_v2"),
)
"""(engine, the least ratio of our worker's rate to its, in words)"""
NAMES = {FULL: "the scoring", SMALL: "the small fold"}
OURS, SAME, OTHER = "#0b6e4f", "#5b8def", "#a9a9a9"


def machine() -> dict[str, Any]:
    """Where, on what and under which load this runs."""
    model = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        if line.startswith("model name")
    ]
    commit = subprocess.run(  # noqa: S603 - our own command
        ["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"],  # noqa: S607 - whichever git there is
        capture_output=True,
        text=True,
        check=False,
    )
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "cpu": model[0] if model else platform.processor(),
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1),
        "python": platform.python_version(),
        "commit": commit.stdout.strip() or None,
        "versions": {"kafka": KAFKA_VERSION, "kafka streams": KAFKA_VERSION}
        | {name: version(name) for name in ("aiokafka", "bytewax", "faust-streaming", "quixstreams")},
    }


def as_json(plan: Plan, where: dict[str, Any], rows: Sequence[Measured]) -> dict[str, Any]:
    """Everything."""
    return {
        "machine": where,
        "plan": asdict(plan),
        "stream_threads": STREAM_THREADS,
        "ratios": ratios(rows),
        "layers_us": layers(rows),
        "engines": [
            {
                "engine": row.engine,
                "scoring": row.fold,
                "events": row.events,
                "events_per_second": {
                    "median": round(row.rate),
                    "least": round(min(row.rates)),
                    "most": round(max(row.rates)),
                },
                "cpu_us_per_event": round(cpu_us(row), 2),
                "memory_mb": round(row.middle("memory_mb")),
                "state": "equal to the sequential fold, each run",
                "keeps": row.keeps,
                "limited_by": row.limit,
                "runs": row.runs,
            }
            for row in rows
        ],
    }


def cpu_us(row: Measured) -> float:
    """CPU µs an event in the engine's process; the broker's is not in it."""
    return row.middle("cpu_seconds") / row.events * 1e6


def ratios(rows: Sequence[Measured]) -> list[dict[str, Any]]:
    """Our worker's rate against those that it is to be held against."""
    rate = {row.id: row.rate for row in rows}
    return [
        {
            "ours": PRODUCT_ID,
            "against": words,
            "ratio": round(rate[PRODUCT_ID] / rate[other], 2),
            "wanted": wanted,
        }
        for other, wanted, words in GOALS
        if PRODUCT_ID in rate and other in rate
    ]


def layers(rows: Sequence[Measured]) -> dict[str, float]:
    """CPU µs an event of our worker by layer, medians."""
    for row in rows:
        if row.id == PRODUCT_ID:
            names = [name for name in row.runs[0] if name.startswith("cpu ")]
            return {
                name[4:]: round(median(run[name] for run in row.runs) / row.events * 1e6, 2) for name in names
            }
    return {}


def table(rows: Sequence[Measured]) -> list[str]:
    """The table, in Markdown."""
    head = (
        "| engine | runs | events | events/s, median (spread) | CPU µs an event | memory | state kept in "
        "| limited by |"
    )
    lines = [head, "|---|---|---:|---:|---:|---:|---|---|"]
    for row in sorted(rows, key=lambda row: (row.fold != FULL, -row.rate)):
        name = f"**{row.engine}**" if row.id == PRODUCT_ID else row.engine
        fold = NAMES[row.fold]
        spread = f"{min(row.rates):,.0f} to {max(row.rates):,.0f}"
        lines.append(
            f"| {name} | {fold} | {row.events:,} | {row.rate:,.0f} ({spread}) | {cpu_us(row):.1f} "
            f"| {row.middle('memory_mb'):,.0f} MB | {row.keeps} | {row.limit} |"
        )
    return lines


def measured_part(plan: Plan, where: dict[str, Any], rows: Sequence[Measured]) -> str:
    """What --write puts between the marks of docs/performance.md."""
    versions = ", ".join(f"{name} {number}" for name, number in where["versions"].items())
    lines = [
        (
            f"Measured {where['at']} at commit {where['commit']}: {where['cpu']}, {where['cores']} cores, "
            f"load {where['load']} before the first run, Python {where['python']}, {versions}. "
            f"{plan.repeats} runs each, in turns; {plan.events:,} events of {plan.suppliers:,} suppliers "
            f"over {plan.days} days, {plan.partitions} partitions."
        ),
        "",
        *table(rows),
        "",
        "Every run of every engine ended with the state of a sequential fold of the log.",
        "",
        *[
            f"- {ratio['ours'].partition(' / ')[0]} with its full scoring against {ratio['against']}: "
            f"**{ratio['ratio']}** "
            f"(wanted: {ratio['wanted']})."
            for ratio in ratios(rows)
        ],
        "",
        "| layer of our worker | CPU µs an event |",
        "|---|---:|",
        *[f"| {name} | {cost:.2f} |" for name, cost in layers(rows).items()],
    ]
    return "\n".join(lines)


def write(plan: Plan, where: dict[str, Any], rows: Sequence[Measured]) -> None:
    """JSON, plot and page."""
    RESULTS.mkdir(exist_ok=True)
    text = json.dumps(as_json(plan, where, rows), indent=1)
    (RESULTS / "engines.json").write_text(f"{text}\n", encoding="utf-8")
    plot(rows, PLOT)
    put_between_marks(PAGE, measured_part(plan, where, rows))


def put_between_marks(page: Path, text: str) -> None:
    """Replace what stands between the two marks of a page."""
    before, begin, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{page} has lost its marks {BEGIN} and {END}")
    page.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}", encoding="utf-8")


def plot(rows: Sequence[Measured], path: Path) -> None:
    """Median and spread of each engine as bars."""
    mpl.rcParams["svg.hashsalt"] = "bench"  # the same figures give the same file
    mpl.rcParams["svg.fonttype"] = "none"
    ordered = sorted(rows, key=lambda row: (row.fold == FULL, row.rate))
    figure, axes = plt.subplots(figsize=(9, 0.4 * len(ordered) + 1.2), layout="constrained")
    for place, row in enumerate(ordered):
        color = OURS if row.id == PRODUCT_ID else SAME if row.fold == FULL else OTHER
        below, above = row.rate - min(row.rates), max(row.rates) - row.rate
        axes.barh(place, row.rate, color=color, xerr=[[below], [above]], ecolor="#333333", capsize=3)
        axes.annotate(
            f"{row.rate:,.0f}", (max(row.rates), place), (6, 0), textcoords="offset points", va="center"
        )
    axes.set_yticks(range(len(ordered)), [f"{row.engine}: {NAMES[row.fold]}" for row in ordered])
    axes.set_xlabel("events/s, one process; median, least and most")
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.margins(x=0.15)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)
