"""Spans of the rows that are written: below the span in which their signal came about, above that of their email."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from runtime import tracing

if TYPE_CHECKING:
    from opentelemetry.trace import Span

    from agents.interventions.received import SignalRecord

    Spans = Mapping[str, Span]
    """By the id of their row."""


def begin(rows: Collection[dict[str, Any]], signals: Sequence[SignalRecord]) -> Spans:
    """Begin a span for each row and note its context in the row's metadata; none where nothing is traced."""
    if not tracing.is_on():
        return {}
    parents = {signal.id: tracing.carried(signal.record.headers) for signal in signals}
    spans = {}
    for row in rows:
        about = {"intervention_id": row["id"]} | {
            each: row[each] for each in ("supplier_id", "signal_id", "trigger")
        }
        span = tracing.begin("write intervention", parents[row["signal_id"]], about, "consumer")
        row["metadata"][tracing.HEADER] = tracing.traceparent(span)
        spans[row["id"]] = span
    return spans


def end(spans: Spans, rows: Iterable[dict[str, Any]]) -> None:
    """End the spans of these rows, now that they are committed; a row that was there already has none that ends."""
    for row in rows:
        became = {"status": row["status"]} | ({"reason": row["reason"]} if row["reason"] else {})
        tracing.end(spans.get(row["id"]), **became)
