"""A what-if as one HTML file that needs nothing else: what it would have meant, plots, and tables to open."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, select_autoescape

from replay.what_if.compare import BAND, Comparison, Rows, Side
from replay.what_if.sentence import sentence

LISTED = 500
"""So many differing messages are listed; all are in the Parquet tables."""
_TEMPLATE = "report.html"
_LONGEST_LEAD_DAYS = 30
_LEAD_BINS = 10
_MARKS = 5
"""About so many marks on the axis of numbers."""


@dataclass(frozen=True)
class Plot:
    """Two bars, base and what if, for each of `labels`; `unit` says what the bars count."""

    title: str
    about: str
    labels: list[str]
    base: list[int]
    what_if: list[int]
    unit: str
    across: str = ""
    """What the labels are; "" where they speak for themselves."""

    @property
    def marks(self) -> list[int]:
        """Round whole numbers from 0 to at least the highest bar."""
        highest = max([*self.base, *self.what_if, 1])
        step = next(step for step in _round_numbers() if step * _MARKS >= highest)
        return list(range(0, highest + step, step))


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


TILES = (
    ("Messages sent", "sent", ""),
    ("Most in a week", "most_a_week", ""),
    ("Warned of before they left", "warned", ""),
    ("Days of warning, median", "median_lead_days", ""),
    ("Mean score in the end", "mean_score", ""),
)
"""What stands above the plots."""


def write_page(
    path: Path, comparison: Comparison, differences: Rows, names: Mapping[str, str] | None = None
) -> None:
    """Write the report; `differences` are the rows of `compare.added_and_removed`, `names` those known of suppliers."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=select_autoescape(), trim_blocks=True
    )
    page = environment.get_template(_TEMPLATE).render(
        comparison=comparison,
        told=sentence(comparison),
        tiles=[_number_row(comparison, *number) for number in TILES],
        numbers=[_number_row(comparison, *number) for number in NUMBERS] + _levels(comparison),
        levels=_cells(comparison.level_changes, "level", "base", "what_if", "gained", "lost"),
        moved=[
            (_words(row["base"]), _words(row["what_if"]), row["suppliers"])
            for row in comparison.moved
            if row["base"] != row["what_if"]
        ],
        messages=_cells(comparison.interventions, "trigger", "base", "what_if", "added", "removed"),
        names=names or {},
        plots=_plots(comparison),
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
        return "\N{EN DASH}"
    if unit == "share":
        said = f"{value * 100:+.1f} points" if sign else f"{value * 100:.1f} %"
    else:
        said = f"{value:{sign},}" if isinstance(value, int) else f"{value:{sign},.4g}"
    return _with_minus(said)


def _with_minus(number: str) -> str:
    return number.replace("-", "\N{MINUS SIGN}")


def _levels(comparison: Comparison) -> list[tuple[str, int, int, str]]:
    base, what_if = comparison.base.levels, comparison.what_if.levels
    counts = [(name, base.get(name, 0), what_if.get(name, 0)) for name in ("healthy", "at_risk", "critical")]
    return [
        (
            f"{_words(name).capitalize()} in the end",
            before,
            after,
            _with_minus(f"{after - before:+,}") if after != before else "",
        )
        for name, before, after in counts
    ]


def _cells(rows: Rows, *columns: str) -> list[tuple[str | int, ...]]:
    name, *numbers = columns
    return [(_words(row[name]), *(row[column] for column in numbers)) for row in rows]


def _words(name: str) -> str:
    return name.replace("_", " ")


def _plots(comparison: Comparison) -> dict[str, Plot]:
    base, what_if = comparison.base, comparison.what_if
    bands = range(0, 100, BAND)
    width = _LONGEST_LEAD_DAYS // _LEAD_BINS
    entries, sent = comparison.level_changes, comparison.interventions
    return {
        "scores": Plot(
            "Scores in the end",
            "suppliers by score",
            [f"{band}\N{EN DASH}{100 if band == bands[-1] else band + BAND - 1}" for band in bands],
            [base.distribution.get(band, 0) for band in bands],
            [what_if.distribution.get(band, 0) for band in bands],
            "suppliers",
            "score",
        ),
        "levels": Plot(
            "Entries into each level", "how often a level began", *_pairs(entries, "level"), "entries"
        ),
        "warnings": Plot(
            "How early the warning came",
            "cancellations by days of warning",
            [f"{bin_ * width}\N{EN DASH}{(bin_ + 1) * width}" for bin_ in range(_LEAD_BINS - 1)]
            + [f"{(_LEAD_BINS - 1) * width}+"],
            _lead_times(base, width),
            _lead_times(what_if, width),
            "cancellations",
            "days between warning and cancellation",
        ),
        "messages": Plot("Messages sent", "by trigger", *_pairs(sent, "trigger"), "messages"),
    }


def _pairs(rows: Rows, label: str) -> tuple[list[str], list[int], list[int]]:
    return (
        [_words(row[label]) for row in rows],
        [row["base"] for row in rows],
        [row["what_if"] for row in rows],
    )


def _lead_times(side: Side, width: int) -> list[int]:
    """Warned cancellations by `width` days of warning; the last number counts all longer ones too."""
    bins = [0] * _LEAD_BINS
    for days in side.lead_days:
        bins[min(int(days / width), _LEAD_BINS - 1)] += 1
    return bins


def _round_numbers() -> Iterator[int]:
    """Count 1, 2, 5, 10, 20, 50 and so on."""
    for power in count():
        yield from (digit * 10**power for digit in (1, 2, 5))
