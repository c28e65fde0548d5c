"""The suppliers of a partition: the state of each as the state topic has it, some of them decoded."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import islice, takewhile

from agents.engine.record import Record
from agents.health.state_codec import StateHeader
from agents.health.stored_supplier import is_supplier, read
from scoring.health.state import State
from scoring.time import MINUTE, SECOND
from topics.decoding import ActivityEvent
from topics.partitioner import partition_of

OWED_MS = 14 * MINUTE + 30 * SECOND
"""How long a snapshot may wait that nobody acts on: it is out within 15 minutes, flush and tick included."""
MOST_OWED = 10_000
"""Of a partition; of more the oldest go out earlier, so that a worker that stops, which owes nothing, stops soon."""


@dataclass(slots=True)
class Supplier:
    """A supplier whose state is decoded."""

    id: str
    state: State
    touched: bool = False
    waiting: list[tuple[ActivityEvent, int, Record]] = field(default_factory=list)
    """Events of the batch that were read and not folded yet, each with its index in it and the record it was in."""


@dataclass(slots=True)
class Suppliers:
    """Whoever is known in a partition: `encoded` has what was flushed of each, `decoded` the states at work."""

    partition: int
    partitions: int
    encoded: dict[bytes, bytes] = field(default_factory=dict)
    """The newest changelog value of each key, pages and the partition's meta among them."""
    decoded: dict[str, Supplier] = field(default_factory=dict)
    """The least recently touched first, as far as flushes have put them in order."""

    def get(self, supplier_id: str) -> Supplier | None:
        """The supplier, decoded from now on, a new one if they are at home here; None if they belong elsewhere."""
        return self.decoded.get(supplier_id) or self.load(supplier_id)

    def load(self, supplier_id: str) -> Supplier | None:
        """The same for one who is not decoded yet."""
        key = supplier_id.encode()
        state = read(self.encoded, key)
        if state is None:
            if partition_of(key, self.partitions) != self.partition:
                return None
            state = State()
        supplier = self.decoded[supplier_id] = Supplier(supplier_id, state)
        return supplier

    def look_at(self, supplier_id: str) -> Supplier | None:
        """A supplier who is known, without keeping them decoded."""
        supplier = self.decoded.get(supplier_id)
        if supplier is None and (state := read(self.encoded, supplier_id.encode())) is not None:
            supplier = Supplier(supplier_id, state)
        return supplier

    def holds(self, supplier_id: str, offset: int, epoch: int) -> bool:
        """Whether a flush that was cut short had already written their state up to `offset`."""
        raw = self.encoded.get(supplier_id.encode())
        if raw is None:
            return False
        header = StateHeader.of(raw)
        return header.epoch == epoch and header.offset >= offset

    def knows(self, supplier_id: str) -> bool:
        """Whether there was ever an event of them here."""
        return supplier_id in self.decoded or supplier_id.encode() in self.encoded

    def ids(self) -> list[str]:
        """Of everybody who is known."""
        flushed = [key.decode() for key in self.encoded if is_supplier(key)]
        return flushed + [each for each in self.decoded if each.encode() not in self.encoded]

    def let_go(self, touched: Iterable[Supplier], capacity: int) -> None:
        """Keep at most `capacity` decoded; those who were just touched go last."""
        if len(self.decoded) <= capacity:
            return
        for supplier in touched:
            if supplier.id in self.decoded:
                self.decoded[supplier.id] = self.decoded.pop(supplier.id)
        for supplier_id in list(islice(self.decoded, len(self.decoded) - capacity)):
            del self.decoded[supplier_id]


@dataclass(slots=True)
class Owed:
    """Of whom a snapshot waits on which nobody acts, and since when on the worker's clock (ms); the oldest first."""

    since: dict[str, int] = field(default_factory=dict)

    def by(self) -> int | None:
        """When the first of them is to be sent; None if none waits."""
        return next(iter(self.since.values())) + OWED_MS if self.since else None

    def late(self, now_ms: int | None) -> list[str]:
        """Those that are to wait no longer; all of them without a clock."""
        if now_ms is None:
            return list(self.since)
        late = takewhile(lambda each: each[1] + OWED_MS <= now_ms, self.since.items())
        number = max(sum(1 for _ in late), len(self.since) - MOST_OWED)
        return list(islice(self.since, number))
