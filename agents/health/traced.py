"""A fold that is traced: a span for each event that brought a signal, and the signals carry its context.

An event of which nothing came has none: there are a hundred of them for each that did, and of those there is nothing
to follow. The hot path stays as it is: what is asked here is asked where a signal is.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from agents.health.fold import PartitionFold
from agents.health.outgoing import HEADERS, Flush, Place
from runtime import tracing
from scoring.health.rules_switch import came_of_a_switch
from scoring.health.signals import Signal

if TYPE_CHECKING:
    from opentelemetry.trace import Span

    from agents.engine.record import Record
    from topics.decoding import ActivityEvent


class TracedFold(PartitionFold):
    """Folds as any other; the values of its signals are the same, byte for byte, for their context is in a header."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._spans: dict[bytes, Span] = {}
        """By the value of a signal that is not acked yet."""

    def headers_of(self, signal: bytes) -> list[tuple[str, bytes]]:
        """With the context of the span in which a signal came about."""
        span = self._spans.get(signal)
        return HEADERS if span is None else [*HEADERS, (tracing.HEADER, tracing.traceparent(span).encode())]

    def confirm(self, flush: Flush) -> None:
        """The brokers have all of it: here the spans of its signals end."""
        super().confirm(flush)
        ended = {id(span): span for _, _, value in flush.signals if (span := self._spans.pop(value, None))}
        for span in ended.values():
            tracing.end(span)

    def _gather(self, supplier_id: str, signals: Iterable[Signal], place: Place) -> None:
        found, before = list(signals), len(self._outgoing.placed)
        super()._gather(supplier_id, found, place)
        if not found or came_of_a_switch(found[0].data):
            return  # of a switch nothing is sent, and it is of everybody at once
        about: dict[str, str | list[str]] = {
            "supplier_id": supplier_id,
            "signal_ids": [signal.id for signal in found],
            "signal_types": [signal.type for signal in found],
        }
        span = self._begin(about, self._cause(supplier_id, place))
        for _, (_, _, value) in self._outgoing.placed[before:]:
            self._spans[value] = span

    def _begin(self, about: dict[str, str | list[str]], cause: tuple[ActivityEvent, Record] | None) -> Span:
        if cause is None:
            return tracing.begin("fire due", None, about, "producer")
        event, record = cause
        about |= {"event_id": event.id, "event_source": event.source, "event_type": event.type}
        return tracing.begin(
            f"fold {event.type}", tracing.of_event(record.headers, record.value), about, "consumer"
        )

    def _cause(self, supplier_id: str, place: Place) -> tuple[ActivityEvent, Record] | None:
        """The event that brought it, which waits at its supplier while it is folded; None for what time brought."""
        index, by_event = place[:2]
        if not by_event:
            return None
        waiting = self._suppliers.decoded[supplier_id].waiting
        return next(((event, record) for event, at, record in waiting if at == index), None)
