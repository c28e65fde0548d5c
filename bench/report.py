"""What `python -m bench` says: tables, JSON, a plot, and its part of docs/performance.md.

Parts are kept in bench/results/engines.json by name, so that each can be measured apart: a log's name, `rows`, or
`<log>, by Python`.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any, Self

import matplotlib as mpl
from matplotlib import pyplot as plt
from matplotlib.ticker import FuncFormatter, MaxNLocator

from bench.engines.compare import Measured, Plan
from bench.engines.engines import FULL, SMALL, STREAM_THREADS
from bench.logs.kinds import LOGS
from bench.process import commit_of
from bench.product import ID as PRODUCT_ID
from bench.rows.compare import BY_HAND, OURS, Row
from embedded.jars import KAFKA_VERSION

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "bench" / "results"
STORED = RESULTS / "engines.json"
PAGE = ROOT / "docs" / "performance.md"
PLOT = ROOT / "docs" / "performance.svg"
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
PRODUCT = PRODUCT_ID.partition(" / ")[0]
FLOORS = (
    ("dense", "plain loop", FULL, 1.0, "the plain loop with the same scoring"),
    (
        "dense",
        "Kafka Streams exactly_once_v2",
        SMALL,
        0.9,
        "Kafka Streams exactly_once_v2 with the small fold",
    ),
    ("known", "plain loop", FULL, 0.6, "the plain loop with the same scoring"),
    ("known", "Bytewax", FULL, 1.0, "Bytewax with the same scoring"),
    ("new", "plain loop", FULL, 0.6, "the plain loop with the same scoring"),
    ("new", "Bytewax", FULL, 1.0, "Bytewax with the same scoring"),
)
"""(log, engine, what it runs, the least ratio of our worker's rate to its, in words)"""
ROWS_FLOOR = 0.8
NAMES = {FULL: "the scoring", SMALL: "the small fold"}
COLOURS = {OURS: "#0b6e4f", FULL: "#5b8def", SMALL: "#a9a9a9"}


def machine() -> dict[str, Any]:
    """Where, on what and under which load this runs."""
    model = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        if line.startswith("model name")
    ]
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "cpu": model[0] if model else platform.processor(),
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1),
        "python": platform.python_version(),
        "commit": commit_of(ROOT),
        "versions": {"kafka": KAFKA_VERSION, "kafka streams": KAFKA_VERSION}
        | {name: version(name) for name in ("aiokafka", "bytewax", "faust-streaming", "quixstreams")},
    }


# --- what is kept of a measurement


def log_part(
    where: dict[str, Any], plan: Plan, rows: Sequence[Measured], layers: dict[str, float]
) -> dict[str, Any]:
    """All of one log."""
    return {
        "machine": where,
        "plan": asdict(plan),
        "stream_threads": STREAM_THREADS,
        "engines": [
            {
                "engine": row.engine,
                "scoring": row.fold,
                "events": row.events,
                "events_per_second": _spread(row.rates),
                "cpu_us_per_event": round(row.cpu_us(), 2),
                "memory_mb": round(row.middle("memory_mb")),
                "keeps": row.keeps,
                "limited_by": row.limit,
                "runs": row.runs,
            }
            for row in rows
        ],
        "layers_us": {
            name.removeprefix("cpu "): round(cost / rows[0].events * 1e6, 2)
            for name, cost in layers.items()
            if name.startswith("cpu ")
        },
    }


def rows_part(where: dict[str, Any], repeats: int, rows: Sequence[Row]) -> dict[str, Any]:
    """All of the way into Postgres."""
    return {
        "machine": where,
        "plan": {"repeats": repeats},
        "rows": [
            {
                "way": row.way,
                "log": row.log,
                "events": row.events,
                "events_per_second": _spread(row.rates),
                "cpu_us_per_event": round(row.cpu_us("cpu_seconds"), 1),
                "postgres_cpu_us_per_event": round(row.cpu_us("postgres_cpu_seconds"), 1),
                "runs": row.runs,
            }
            for row in rows
        ],
    }


def _spread(rates: Sequence[float]) -> dict[str, int]:
    return {"median": round(median(rates)), "least": round(min(rates)), "most": round(max(rates))}


@dataclass
class Found:
    """What was measured, by part."""

    parts: dict[str, dict[str, Any]] = field(default_factory=dict)

    @classmethod
    def load(cls) -> Self:
        """What is kept."""
        return cls(json.loads(STORED.read_text(encoding="utf-8"))["parts"] if STORED.exists() else {})

    def keep(self, parts: dict[str, dict[str, Any]]) -> None:
        """Put these in the place of what was kept of them: JSON, plot and page."""
        self.parts |= parts
        RESULTS.mkdir(exist_ok=True)
        STORED.write_text(json.dumps({"parts": self.parts}, indent=1) + "\n", encoding="utf-8")
        plot(self.parts, PLOT)
        put_between_marks(PAGE, "\n".join([*self.lines(), "", "### Floors", "", *floors(self.parts)]))

    def lines(self) -> list[str]:
        """All parts in Markdown."""
        found: list[str] = []
        for name, kind in LOGS.items():
            for part in (name, f"{name}, by Python"):
                if part in self.parts:
                    title = f"{kind.title}{part.removeprefix(name)}"
                    found += [f"### {title}", "", f"{kind.what[:1].upper()}{kind.what[1:]}.", ""]
                    found += [
                        *table(self.parts[part]),
                        "",
                        *_layers(self.parts[part]),
                        _measured_where(self.parts[part]),
                    ]
        if "rows" in self.parts:
            found += [
                "### Into Postgres",
                "",
                *rows_table(self.parts["rows"]),
                "",
                _measured_where(self.parts["rows"]),
            ]
        return found


def _measured_where(part: dict[str, Any]) -> str:
    where = part["machine"]
    versions = ", ".join(f"{name} {number}" for name, number in where["versions"].items())
    return (
        f"Measured {where['at']} at commit {where['commit']}: {where['cpu']}, {where['cores']} cores, load "
        f"{where['load']} before the first run, Python {where['python']}, {versions}; {part['plan']['repeats']} runs "
        "each, in turns.\n"
    )


# --- tables


def table(part: dict[str, Any]) -> list[str]:
    """The engines on one log."""
    head = (
        "| engine | runs | events | events/s, median (spread) | CPU µs an event | memory | state kept in "
        "| limited by |"
    )
    lines = [head, "|---|---|---:|---:|---:|---:|---|---|"]
    for row in sorted(
        part["engines"], key=lambda row: (row["scoring"] != FULL, -row["events_per_second"]["median"])
    ):
        name = f"**{row['engine']}**" if row["engine"].startswith(PRODUCT) else row["engine"]
        lines.append(
            f"| {name} | {NAMES[row['scoring']]} | {row['events']:,} | {_rate(row)} | {row['cpu_us_per_event']:.1f} "
            f"| {row['memory_mb']:,} MB | {row['keeps']} | {row['limited_by']} |"
        )
    return lines


def rows_table(part: dict[str, Any]) -> list[str]:
    """The ways into Postgres."""
    return [
        "| | log | events | events/s, median (spread) | CPU µs an event | and in Postgres |",
        "|---|---|---:|---:|---:|---:|",
        *[
            f"| {row['way']} | {row['log']} | {row['events']:,} | {_rate(row)} | {row['cpu_us_per_event']:.1f} "
            f"| {row['postgres_cpu_us_per_event']:.1f} |"
            for row in part["rows"]
        ],
    ]


def _rate(row: dict[str, Any]) -> str:
    rates = row["events_per_second"]
    return f"{rates['median']:,} ({rates['least']:,} to {rates['most']:,})"


def _layers(part: dict[str, Any]) -> Iterator[str]:
    if part["layers_us"]:
        yield from ("| layer of our worker (a run of its own) | CPU µs an event |", "|---|---:|")
        yield from (f"| {name} | {cost:.2f} |" for name, cost in part["layers_us"].items())
        yield ""


def floors(parts: dict[str, dict[str, Any]]) -> list[str]:
    """Our worker's rate against those that it is to be held against."""
    lines = []
    for log, engine, fold, wanted, words in FLOORS:
        rates = {
            (row["engine"], row["scoring"]): row["events_per_second"]["median"]
            for row in parts.get(log, {"engines": []})["engines"]
        }
        ours, theirs = rates.get((PRODUCT, FULL)), rates.get((engine, fold))
        if ours and theirs:
            lines.append(f"- {LOGS[log].title}: {ours / theirs:.2f} of {words} (floor: {wanted}).")
    by_log: dict[str, dict[str, int]] = {}
    for row in parts.get("rows", {"rows": []})["rows"]:
        by_log.setdefault(row["log"], {})[row["way"]] = row["events_per_second"]["median"]
    lines += [
        f"- Into Postgres, {log}: {ways[OURS] / ways[BY_HAND]:.2f} of the reference by hand (floor: {ROWS_FLOOR})."
        for log, ways in by_log.items()
        if {OURS, BY_HAND} <= ways.keys()
    ]
    lines += [
        f"- Into Postgres, {log}: {ways[OURS] / rate:.2f} times {way}."
        for log, ways in by_log.items()
        for way, rate in ways.items()
        if way not in {OURS, BY_HAND}
    ]
    return lines


def put_between_marks(page: Path, text: str) -> None:
    """Replace what stands between the two marks of a page."""
    before, begin, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{page} has lost its marks {BEGIN} and {END}")
    page.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}", encoding="utf-8")


def plot(parts: dict[str, dict[str, Any]], path: Path) -> None:
    """Median and spread of each engine as bars, a panel a log."""
    logs = [name for name in LOGS if name in parts]
    if not logs:
        return
    mpl.rcParams["svg.hashsalt"] = "bench"  # the same figures give the same file
    mpl.rcParams["svg.fonttype"] = "none"
    heights = [len(parts[name]["engines"]) for name in logs]
    figure, panels = plt.subplots(
        len(logs),
        figsize=(9, 0.4 * sum(heights) + 1.4 * len(logs)),
        layout="constrained",
        squeeze=False,
        height_ratios=heights,
    )
    for axes, name in zip(panels[:, 0], logs, strict=True):
        _bars(axes, parts[name]["engines"])
        axes.set_title(LOGS[name].title, loc="left")
    panels[-1, 0].set_xlabel("events/s, one process; median, least and most")
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


def _bars(axes: Any, rows: Sequence[dict[str, Any]]) -> None:
    ordered = sorted(rows, key=lambda row: (row["scoring"] == FULL, row["events_per_second"]["median"]))
    for place, row in enumerate(ordered):
        rates = row["events_per_second"]
        colour = COLOURS[OURS if row["engine"].startswith(PRODUCT) else row["scoring"]]
        below, above = rates["median"] - rates["least"], rates["most"] - rates["median"]
        axes.barh(place, rates["median"], color=colour, xerr=[[below], [above]], ecolor="#333333", capsize=3)
        axes.annotate(
            f"{rates['median']:,}", (rates["most"], place), (6, 0), textcoords="offset points", va="center"
        )
    axes.set_yticks(range(len(ordered)), [f"{row['engine']}: {NAMES[row['scoring']]}" for row in ordered])
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.margins(x=0.15)
    axes.spines[["top", "right"]].set_visible(False)
