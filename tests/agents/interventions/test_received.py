"""Reading signals back: the fast way and the models agree about every record, whatever is wrong with it."""

from __future__ import annotations

import copy
import json
from functools import reduce
from operator import getitem
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from agents.health.fold import PartitionFold
from agents.interventions import received
from agents.interventions.received import PlacedRecord, SignalRecord, read_signal
from bench.logs.events import activity
from scoring.time import DAY
from tests.agents.health.records import FakeRecord
from topics.catalog import CONDITIONS, HEALTH, MILESTONES, RISK_CHANGES

if TYPE_CHECKING:
    from collections.abc import Iterator

ODD: tuple[Any, ...] = (
    None, "", " ", "x", "x\n", "first_form\n", "a\x00b", "é", -1, 0, 1, 1.0, 1.5, 101, 1e30, 10**30, True, [], {},
    [None], ["x\n"], {"x": None}, {"x": "x"}, "critical", "critical\n", "2026-01-05T09:00:00.000Z",
    "2026-01-05T09:00:00.000Z\n", "2026-01-05 09:00:00.000Z", "2026-01-05t09:00:00z", "2026-01-05T09:00:00+0200",
    "2026-02-29T09:00:00.000Z", "2028-02-29T09:00:00.000Z", "2026-04-31T09:00:00.000Z", "1969-12-31T23:59:59.000Z",
    "9999-01-01T00:00:00.000Z", "2026-01-05T24:00:00.000Z", "{00000000-0000-4000-8000-000000000000}",
    "00000000-0000-4000-8000-000000000000\n", "success.risk.changed",
)  # fmt: skip
START = 1_780_000_000_000
SUPPLIERS = 40


def sent() -> dict[str, list[PlacedRecord]]:
    """Real snapshots and signals of a partition, by topic."""
    fold = PartitionFold(0, 1)
    log = activity(1_500, SUPPLIERS, 3, START, 50 * DAY)
    fold.process(FakeRecord(key, value, offset, START + 51 * DAY) for offset, (key, value) in enumerate(log))
    fold.fire_due(START + 60 * DAY)
    flush = fold.take_flush()
    found = {HEALTH: [placed(HEALTH, key, value) for key, value in flush.health]}
    for topic, key, value in flush.signals:
        found.setdefault(topic, []).append(placed(topic, key, value))
    return found


def placed(topic: str, key: bytes, value: bytes) -> PlacedRecord:
    return PlacedRecord(key, value, (), 0, 0, topic, 0)


SENT = sent()


def oddities(event: Any) -> Iterator[Any]:
    """The event with one place odd, or without it, or with something more, for every place."""
    for path in paths(event):
        for odd in ODD:
            changed = copy.deepcopy(event)
            place = reduce(getitem, path[:-1], changed)
            place[path[-1]] = odd
            yield changed
        changed = copy.deepcopy(event)
        del reduce(getitem, path[:-1], changed)[path[-1]]
        yield changed
    yield event | {"more": "x"}
    yield event | {"data": event["data"] | {"more": {"x": [1]}}}


def shortened(value: Any) -> Any:
    """The same with one entry of each list, as all are alike."""
    if isinstance(value, dict):
        return {key: shortened(inner) for key, inner in value.items()}
    return [shortened(value[0])] if isinstance(value, list) and value else value


def paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where something stands in a JSON value; of a list the first place."""
    if path:
        yield path
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from paths(inner, (*path, key))
    elif isinstance(value, list) and value:
        yield from paths(value[0], (*path, 0))


def by_model(topic: str, record: PlacedRecord) -> object:
    """What the models say of it, the fast way left out."""
    return received._judged(topic, record, record.value or b"")


@pytest.mark.parametrize("topic", [HEALTH, RISK_CHANGES, MILESTONES, CONDITIONS])
def test_whatever_we_send_is_read_the_fast_way_and_as_the_models_read_it(topic):
    for record in SENT[topic]:
        assert received._decoded(topic, record.value) is not None
        read = read_signal(topic, record)
        assert isinstance(read, SignalRecord)
        assert read == by_model(topic, record)


@pytest.mark.parametrize("topic", [HEALTH, RISK_CHANGES, MILESTONES, CONDITIONS])
def test_whatever_is_odd_in_any_place_gets_the_verdict_of_the_models(topic):
    largest = max(SENT[topic], key=lambda record: len(record.value))
    for changed in oddities(shortened(orjson.loads(largest.value))):
        value = json.dumps(changed).encode()
        record = placed(topic, largest.key, value)
        assert read_signal(topic, record) == by_model(topic, record), value


@pytest.mark.parametrize(
    "value",
    [b"", b"null", b"[]", b"{", b'{"data":' + b"[" * 200 + b"]" * 200 + b"}", b"\xff", b'"\\ud800"'],
)
def test_what_is_no_event_at_all_gets_the_verdict_of_the_models(value):
    record = placed(HEALTH, b"k", value)
    assert read_signal(HEALTH, record) == by_model(HEALTH, record)
