"""A fold that is traced: spans where a signal came about, and the same bytes as ever."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from faust.types import TP

from agents.app import build_app
from agents.health.fold import PartitionFold
from agents.health.handler import ScoringHandler
from agents.health.outgoing import HEADERS
from agents.health.traced import TracedFold
from runtime import tracing
from runtime.clock import SystemClock
from runtime.settings import Settings
from scoring.time import DAY
from tests.agents.health.records import PARTITIONS, T0, FakeRecord, event_record, numbered, suppliers_of
from tests.collector import Collector, collecting
from topics.catalog import ACTIVITY

HERE = 1
ANNA, BELLE = suppliers_of(HERE, 2)
TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    with collecting() as found:
        for name, value in found.environment.items():
            monkeypatch.setenv(name, value)
        with tracing.traced("worker"):
            yield found


def some_days() -> list[FakeRecord]:
    """What two suppliers did: a form of Anna's is traced where it comes from. Then they stay away for weeks."""
    form = event_record(ANNA, "form.created", T0, form_id="f")
    form.headers = [*HEADERS, ("ce_traceparent", f"00-{TRACE}-{SPAN}-01".encode())]
    quiet = [event_record(ANNA, "client.active", T0 + n, client_id="c") for n in range(50)]
    login = event_record(BELLE, "supplier.logged_in", T0)
    return list(numbered([login, event_record(BELLE, "form.created", T0, form_id="g"), form, *quiet]))


EVENTS = some_days()


def all_of(fold: PartitionFold) -> tuple[list[object], list[list[tuple[str, bytes]]]]:
    """What a fold sends for these events and the month after, and the headers of its signals."""
    fold.process(EVENTS)
    sent: list[object] = []
    headers: list[list[tuple[str, bytes]]] = []
    for days in (0, 8, 30):
        fold.fire_due(T0 + days * DAY)
        flush = fold.take_flush()
        headers += [fold.headers_of(value) for _, _, value in flush.signals]
        fold.confirm(flush)
        sent.append((flush.health, flush.signals, flush.dead_letters, flush.changelog))
    return sent, headers


@pytest.mark.usefixtures("collector")
def test_what_is_sent_is_the_same_byte_for_byte_but_for_a_header_of_signals() -> None:
    plain, without = all_of(PartitionFold(HERE, PARTITIONS))
    traced, headers = all_of(TracedFold(HERE, PARTITIONS))

    assert traced == plain
    assert without == [HEADERS] * len(headers)
    assert {len(each) for each in headers} == {len(HEADERS) + 1}
    assert {each[-1][0] for each in headers} == {"traceparent"}


def test_an_event_that_brought_signals_is_one_span_below_its_own_context(collector: Collector) -> None:
    fold = TracedFold(HERE, PARTITIONS)
    fold.process(EVENTS)
    fold.confirm(flush := fold.take_flush())

    mine = collector.until("fold form.created", lambda span: span.attributes["success.supplier_id"] == ANNA)
    other = collector.until("fold form.created", lambda span: span.attributes["success.supplier_id"] == BELLE)

    assert (mine.trace, mine.parent) == (TRACE, SPAN)
    assert other.trace != TRACE
    assert other.parent == ""
    assert not flush.dead_letters
    assert len([key for _, key, _ in flush.signals if key == ANNA.encode()]) > 1
    assert len(mine.attributes["success.signal_ids"]) > 1
    assert mine.attributes["success.event_type"] == "form.created"


def test_events_of_which_nothing_came_have_no_span(collector: Collector) -> None:
    fold = TracedFold(HERE, PARTITIONS)
    fold.process(EVENTS)
    flush = fold.take_flush()
    fold.confirm(flush)
    fold.process(
        [event_record(ANNA, "client.active", T0 + n, offset=100 + n, client_id="c") for n in range(99)]
    )
    fold.confirm(fold.take_flush())
    tracing.end(tracing.begin("the last", None, {}))

    collector.until("the last")
    causes = [span for span in collector.spans if span.name.startswith("fold ")]
    assert 2 <= len(causes) <= len(flush.signals)


def test_what_time_brings_is_a_trace_of_its_own(collector: Collector) -> None:
    all_of(TracedFold(HERE, PARTITIONS))

    span = collector.until("fire due")
    assert span.parent == ""
    assert span.trace != TRACE


async def test_a_worker_folds_by_the_traced_one_only_where_it_traces(
    monkeypatch: pytest.MonkeyPatch, collector: Collector
) -> None:
    def fold() -> type[PartitionFold]:
        app = build_app(Settings(), SystemClock())
        handler = app.engine._open_lane(TP(ACTIVITY, HERE))
        assert isinstance(handler, ScoringHandler)
        return type(handler.fold)

    assert collector.port
    assert fold() is TracedFold
    with monkeypatch.context() as without:
        without.setattr(tracing._Running, "tracer", None)
        assert fold() is PartitionFold
