"""A service in a loop, or absurdly much of anything, is one supplier's affair: nothing grows too large to be sent."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain

import orjson
import pytest

from agents.cluster.provisioning import STATE_CONFIG
from agents.engine.producer import RECORD_BYTES
from agents.health import fold as fold_module
from agents.health.fold import MOST_CHANGES, MOST_WAITING, PartitionFold
from agents.health.outgoing import Flush
from agents.health.slices import at_once
from agents.health.state_codec import META_KEY
from runtime.settings import Settings
from scoring.health.events import MOST_CLIENTS, MOST_JOURNEYS
from tests.agents.health.records import PARTITIONS, T0, FakeRecord, event_record, numbered, suppliers_of
from tests.agents.workers import ANNA, BELLE, ends, now_ms, running, send, values
from tests.reference.logs import read
from topics.catalog import ACTIVITY, DEAD_LETTERS, HEALTH, MAX_HEALTH_BYTES
from topics.envelope import MAX_ID_CHARS

LOOPED = 40_000
CLIENTS = [f"7b2d4f10-8f3e-4c0a-9a51-{number:012d}" for number in range(MOST_CLIENTS)]


def back_and_forth(supplier: str, number: int, at: int) -> list[FakeRecord]:
    """Events each of which changes the score."""
    kinds = ("client.active", "client.removed")
    return [event_record(supplier, kinds[n % 2], at + n, client_id="c") for n in range(number)]


def with_id(record: FakeRecord, identity: str) -> FakeRecord:
    record.value = orjson.dumps(orjson.loads(record.value or b"") | {"id": identity})
    return record


def imports(supplier: str, clients: Sequence[str], at: int = T0) -> list[FakeRecord]:
    """All of these clients, 10,000 an event."""
    chunks = [clients[start : start + 10_000] for start in range(0, len(clients), 10_000)]
    return [event_record(supplier, "client.imported", at, client_ids=chunk) for chunk in chunks]


def flushes(fold: PartitionFold, records: Sequence[FakeRecord]) -> Iterator[Flush]:
    """Fold as the agent does: whatever makes a snapshot as large as may be is flushed before anything else is read."""
    incoming, more = iter(numbered(records)), True
    while more:
        more = at_once(fold.processing(incoming))
        if fold.full or not more:
            flush = fold.take_flush()
            fold.confirm(flush)
            yield flush


def refusals(records: Sequence[FakeRecord]) -> list[tuple[int, str]]:
    """(offset, reason) of those that a fold refuses."""
    fold = PartitionFold(0, PARTITIONS)
    fold.process(numbered(records))
    headers = [dict(letter[2]) for letter in fold.take_flush().dead_letters]
    return [(int(each["offset"]), each["error"].decode()) for each in headers]


def changes_of(health: Sequence[bytes]) -> list[list[int]]:
    """The `seq` of every change, a list a snapshot."""
    return [[change["seq"] for change in orjson.loads(value)["data"]["changes"]] for value in health]


def test_what_one_supplier_does_in_a_loop_goes_out_in_snapshots_of_bounded_size() -> None:
    records = [*back_and_forth(ANNA, 3_000, T0), event_record(BELLE, at=T0)]
    fold = PartitionFold(0, PARTITIONS)
    sent = list(flushes(fold, records))
    theirs = changes_of([value for flush in sent for key, value in flush.health if key == ANNA.encode()])
    assert list(chain.from_iterable(theirs)) == list(range(1, 3_001))
    assert max(len(each) for each in theirs) <= MOST_CHANGES + MOST_WAITING
    assert fold.watermark == 3_000
    at_once_folded = PartitionFold(0, PARTITIONS)
    at_once_folded.process(records)
    [last] = [flush for flush in sent if flush.watermark == 3_000]
    assert dict(last.changelog)[BELLE.encode()] == dict(at_once_folded.take_flush().changelog)[BELLE.encode()]


def test_when_very_many_suppliers_have_changed_they_are_flushed_before_more_is_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fold_module, "READ_AT_ONCE", 10)
    suppliers = suppliers_of(0, 100)
    records = numbered([event_record(supplier) for supplier in suppliers])
    fold, touched = PartitionFold(0, PARTITIONS, capacity=30), []
    incoming, more = iter(records), True
    while more:
        more = at_once(fold.processing(incoming))
        assert fold.full is (len(fold._touched) >= 30)
        if fold.full or not more:
            flush = fold.take_flush()
            fold.confirm(flush)
            touched.append(len(flush.health))
            assert len(fold._suppliers.decoded) <= 30
    assert touched == [30, 30, 30, 10]
    assert fold.supplier_ids() == set(suppliers)


def test_an_event_with_an_absurdly_long_id_is_refused() -> None:
    fine = with_id(event_record(ANNA), "é" * MAX_ID_CHARS)
    [(offset, reason)] = refusals([fine, with_id(event_record(ANNA), "é" * (MAX_ID_CHARS + 1))])
    assert offset == 1
    assert reason.startswith("wrong_field: id: ")


def test_clients_beyond_the_most_that_a_supplier_can_have_are_refused_and_the_known_ones_go_on() -> None:
    full = imports(ANNA, CLIENTS)
    records = [
        *full,
        event_record(ANNA, "client.active", client_id="one too many"),
        event_record(ANNA, "client.active", client_id=CLIENTS[0]),
        event_record(ANNA, "client.imported", client_ids=[CLIENTS[1], "one too many"]),
        event_record(ANNA, "form.sent", form_id="f", client_id="one too many"),
        event_record(BELLE, "client.active", client_id="one too many"),
        event_record(ANNA, "client.removed", client_id=CLIENTS[2]),
        event_record(ANNA, "form.completed", form_id="f", client_id="one too many"),
        event_record(ANNA, "journey.email_opened", journey_id="j", message_id="m", client_id="another"),
    ]
    refused = refusals(records)
    assert [offset - len(full) for offset, _ in refused] == [0, 2, 7]
    assert all(reason.startswith("too_many: a supplier can have 100,000 clients") for _, reason in refused)


def test_so_are_journeys() -> None:
    full = [event_record(ANNA, "journey.activated", journey_id=f"j{n}") for n in range(MOST_JOURNEYS)]
    records = [
        *full,
        event_record(ANNA, "journey.activated", journey_id="one too many"),
        event_record(ANNA, "journey.deactivated", journey_id="j0"),
        event_record(ANNA, "journey.created", journey_id="one too many"),
    ]
    [(offset, reason)] = refusals(records)
    assert offset == MOST_JOURNEYS
    assert reason.startswith("too_many: a supplier can have 10,000 journeys")


def test_refusals_are_in_the_order_of_the_log_whichever_is_found_first() -> None:
    full = imports(ANNA, CLIENTS)
    records = [*full, event_record(ANNA, "client.active", client_id="x"), event_record(BELLE, "form.created")]
    assert [offset for offset, _ in refusals(records)] == [len(full), len(full) + 1]


@pytest.mark.parametrize("kind", ["client.active", "client.imported"])
def test_long_ids_of_clients_are_told_apart_and_known_again_but_not_kept(kind: str) -> None:
    names = ["x" * 500_000 + tail for tail in "ab"]
    data = [{"client_ids": [name]} if kind == "client.imported" else {"client_id": name} for name in names]
    fold = PartitionFold(0, PARTITIONS)
    fold.process(numbered([event_record(ANNA, kind, **each) for each in [*data, data[0]]]))
    flush = fold.take_flush()
    fold.confirm(flush)
    assert orjson.loads(flush.health[0][1])["data"]["clients"]["known"] == 2
    assert len(dict(flush.changelog)[ANNA.encode()]) < 1_000
    fold.process([event_record(ANNA, "client.removed", client_id=names[1], offset=3)])
    assert orjson.loads(fold.take_flush().health[0][1])["data"]["clients"]["known"] == 1


def test_the_largest_state_fits_into_one_batch_pages_and_all() -> None:
    fold = PartitionFold(0, PARTITIONS)
    clients = [f"{number:012d}" + "é" * 24 for number in range(MOST_CLIENTS)]
    actives = [event_record(ANNA, "client.active", client_id=client) for client in clients]
    journeys = [
        event_record(ANNA, "journey.activated", journey_id=f"{n:012d}" + "é" * 24)
        for n in range(MOST_JOURNEYS)
    ]
    fold.process(numbered([*actives, *journeys]))
    *theirs, (meta, _) = fold.take_flush().changelog
    assert meta == META_KEY
    size = sum(len(key) + len(value) + RECORD_BYTES for key, value in theirs)
    assert 5_000_000 < size < int(STATE_CONFIG["max.message.bytes"]) * 0.7


@pytest.mark.stack
async def test_neither_stops_a_worker_and_what_is_behind_is_processed(settings: Settings) -> None:
    at = now_ms() - 60_000
    too_long = with_id(event_record(ANNA, at=at), "x" * 1_048_200)
    crowd = imports(ANNA, [*CLIENTS, "x"], at)
    loop = [with_id(each, f"{n:0300d}") for n, each in enumerate(back_and_forth(BELLE, LOOPED, at))]
    behind = event_record(ANNA, "form.created", at, form_id="f")
    await send(settings, None, [too_long, *crowd, *loop, behind])
    async with running(settings) as worker:
        await worker.processed(ACTIVITY, 0, (await ends(settings))[0] - 1)
        assert len(await values(settings, DEAD_LETTERS)) == 2
        [health] = [records for records in await read(settings, HEALTH) if records]
        theirs = [record.value for record in health if record.key == BELLE.encode()]
        assert list(chain.from_iterable(changes_of(theirs))) == list(range(1, LOOPED + 1))
        assert sum(map(len, theirs)) > MAX_HEALTH_BYTES
        assert (
            orjson.loads([r.value for r in health if r.key == ANNA.encode()][-1])["data"]["forms"]["created"]
            == 1
        )
