"""A what-if as one HTML file that needs nothing else: numbers, plots (inline SVG), and every message that differs."""

from __future__ import annotations

from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

import matplotlib as mpl
from jinja2 import Environment, FileSystemLoader, select_autoescape
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from replay.what_if import BAND, Comparison, Rows, Side

LISTED = 500
"""So many differing messages are listed; all are in the Parquet tables."""
_TEMPLATE = "report.html"
_INK, _QUIET, _ACCENT, _LINE = "#2b2a29", "#8a8178", "#7c3353", "#d9d2cb"
_VARIABLES = {_INK: "var(--ink)", _QUIET: "var(--base)", _ACCENT: "var(--accent)", _LINE: "var(--line)"}
"""Colours that matplotlib draws with -> the page's, which has a light and a dark scheme."""
_STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "success",
    "font.family": "sans-serif",
    "font.size": 11,
    "text.color": _INK,
    "axes.labelcolor": _INK,
    "axes.edgecolor": _LINE,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "grid.color": _LINE,
    "legend.frameon": False,
}
_WIDTH, _HEIGHT = 6.2, 3.1
_LONGEST_LEAD_DAYS = 30
_LEAD_BINS = 10

NUMBERS = (
    # what, field of `Side`, unit: "" plain, "share" in percent
    ("Suppliers", "suppliers", ""),
    ("Mean score in the end", "mean_score", ""),
    ("Median score in the end", "median_score", ""),
    ("Messages sent", "sent", ""),
    ("Messages a supplier a week", "messages_a_supplier_a_week", ""),
    ("Cancellations", "cancellations", ""),
    ("… of which a warning came first", "warned", ""),
    ("Median lead time of the warning, days", "median_lead_days", ""),
    ("Precision: not healthy, cancels within 30 days", "precision", "share"),
    ("Recall: cancels within 30 days, was not healthy", "recall", "share"),
    ("Share that cancels within 30 days at all", "base_rate", "share"),
)


def write_page(path: Path, comparison: Comparison, differences: Rows) -> None:
    """Write the report; `differences` are the rows of `what_if.added_and_removed`."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=select_autoescape(), trim_blocks=True
    )
    with mpl.rc_context(_STYLE):
        plots = _plots(comparison)
    page = environment.get_template(_TEMPLATE).render(
        comparison=comparison,
        numbers=[_number_row(comparison, *number) for number in NUMBERS],
        levels=_levels(comparison),
        moved=[row for row in comparison.moved if row["base"] != row["what_if"]],
        plots=plots,
        differences=differences[:LISTED],
        unlisted=max(0, len(differences) - LISTED),
    )
    path.write_text(page, encoding="utf-8")


def _number_row(comparison: Comparison, title: str, name: str, unit: str) -> tuple[str, str, str, str]:
    before, after = getattr(comparison.base, name), getattr(comparison.what_if, name)
    change = "" if before is None or after is None or before == after else _shown(after - before, unit, "+")
    return title, _shown(before, unit), _shown(after, unit), change


def _shown(value: float | None, unit: str, sign: str = "") -> str:
    if value is None:
        return "-"
    if unit == "share":
        return f"{value * 100:+.1f} points" if sign else f"{value * 100:.1f} %"
    return f"{value:{sign},}" if isinstance(value, int) else f"{value:{sign},.4g}"


def _levels(comparison: Comparison) -> list[tuple[str, int, int]]:
    names = ("healthy", "at_risk", "critical")
    base, what_if = comparison.base.levels, comparison.what_if.levels
    return [(name, base.get(name, 0), what_if.get(name, 0)) for name in names]


def _plots(comparison: Comparison) -> dict[str, dict[str, str]]:
    base, what_if = comparison.base, comparison.what_if
    sent = comparison.interventions
    return {
        "scores": _plot("Scores in the end", "suppliers by score", lambda axes: _scores(axes, base, what_if)),
        "levels": _plot(
            "Entries into each level", "how often a level began", lambda axes: _entries(axes, comparison)
        ),
        "warnings": _plot(
            "How early the warning came",
            "cancellations by days of warning",
            lambda axes: _lead_times(axes, base, what_if),
        ),
        "messages": _plot(
            "Messages sent", "by trigger", lambda axes: _messages(axes, sent), 1.0 + 0.38 * max(3, len(sent))
        ),
    }


def _plot(title: str, about: str, draw: Callable[[Axes], None], height: float = _HEIGHT) -> dict[str, str]:
    figure = Figure(figsize=(_WIDTH, height), layout="constrained")
    axes = figure.add_subplot()
    draw(axes)
    axes.legend(loc="best")
    out = StringIO()
    figure.savefig(out, format="svg", transparent=True, metadata={"Date": None})
    svg = out.getvalue()
    svg = svg[svg.index("<svg") :]
    for colour, variable in _VARIABLES.items():
        svg = svg.replace(colour, variable)
    return {"title": title, "about": about, "svg": svg.replace("<svg ", '<svg aria-hidden="true" ', 1)}


def _scores(axes: Axes, base: Side, what_if: Side) -> None:
    bands = range(0, 100, BAND)
    for side, offset, label, colour in ((base, -2.1, "base", _QUIET), (what_if, 2.1, "what if", _ACCENT)):
        heights = [side.distribution.get(band, 0) for band in bands]
        axes.bar([band + BAND / 2 + offset for band in bands], heights, 3.8, label=label, color=colour)
    axes.set_xticks(range(0, 101, BAND))
    axes.set_xlabel("score")
    axes.set_ylabel("suppliers")
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))


def _entries(axes: Axes, comparison: Comparison) -> None:
    names = [row["level"] for row in comparison.level_changes]
    _pairs(axes, names, comparison.level_changes)
    axes.set_ylabel("entries")


def _pairs(axes: Axes, names: list[str], rows: Rows) -> None:
    for name, offset, label, colour in (("base", -0.2, "base", _QUIET), ("what_if", 0.2, "what if", _ACCENT)):
        places = [number + offset for number in range(len(rows))]
        axes.bar(places, [row[name] for row in rows], 0.36, label=label, color=colour)
    axes.set_xticks(range(len(names)), [name.replace("_", " ") for name in names])
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))


def _messages(axes: Axes, rows: Rows) -> None:
    for name, offset, label, colour in (("base", -0.2, "base", _QUIET), ("what_if", 0.2, "what if", _ACCENT)):
        places = [number + offset for number in range(len(rows))]
        axes.barh(places, [row[name] for row in rows], 0.36, label=label, color=colour)
    axes.set_yticks(range(len(rows)), [row["trigger"].replace("_", " ") for row in rows])
    axes.invert_yaxis()
    axes.set_xlabel("messages")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def _lead_times(axes: Axes, base: Side, what_if: Side) -> None:
    """Both sides as bars a few days wide; what came earlier than the axis reaches stands in its last bar."""
    width = _LONGEST_LEAD_DAYS / _LEAD_BINS
    days = [
        [min(lead, _LONGEST_LEAD_DAYS - width / 2) for lead in side.lead_days] for side in (base, what_if)
    ]
    edges = [number * width for number in range(_LEAD_BINS + 1)]
    axes.hist(days, bins=edges, label=["base", "what if"], color=[_QUIET, _ACCENT], rwidth=0.8)
    axes.set_xticks([*edges[:-1:2], edges[-1]], [f"{edge:g}" for edge in edges[:-1:2]] + [f"{edges[-1]:g}+"])
    axes.set_xlabel("days between warning and cancellation")
    axes.set_ylabel("cancellations")
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
