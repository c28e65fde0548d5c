"""The table of docs/metrics.md, from the code; `python -m tests.deploy.metrics_table` writes it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from api.routes.metrics import Metrics
from runtime.metrics import API, METRICS

PAGE = Path(__file__).parents[2] / "docs" / "metrics.md"
BEGIN, END = "<!-- metrics: generated -->", "<!-- end -->"


def shown(instrument: Any) -> tuple[str, tuple[str, ...]]:
    """The instrument's name as Prometheus has it, and its labels."""
    ending = "_total" if instrument._type == "counter" else ""
    return instrument._name + ending, instrument._labelnames


def table() -> str:
    """A row for each metric, in the order of the code, the API's own last."""
    own = vars(Metrics())
    http = [(each, (API,)) for name, each in own.items() if name != "registry"]
    rows = ["| metric | labels | kind | service | what it says |", "|---|---|---|---|---|"]
    for instrument, services in [*METRICS, *http]:
        name, labels = shown(instrument)
        said = instrument._documentation
        listed = ", ".join(f"`{label}`" for label in labels) or "none"
        rows.append(f"| `{name}` | {listed} | {instrument._type} | {', '.join(services)} | {said} |")
    return "\n".join(rows)


def with_table(page: str) -> str:
    """The page with its table made anew."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{table()}\n{END}{after}"


if __name__ == "__main__":
    PAGE.write_text(with_table(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
