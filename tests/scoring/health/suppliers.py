"""One supplier for tests that tell a story: the machine or the naive implementation behind the same face."""

from __future__ import annotations

from typing import Any, Protocol

from scoring.health import machine
from scoring.health.snapshot import snapshot
from scoring.health.state import State, decode, encode
from tests.reference.events import Event, event
from tests.reference.history import DAY
from tests.reference.naive import NaiveSupplier

SUPPLIER = "7d0f4c1e-5a0b-4a8e-9b57-0c6f6a1f2d10"
MONDAY_9 = 1_767_603_600_000  # 2026-01-05T09:00:00.000Z
MIDNIGHT = 1_767_571_200_000  # 2026-01-05T00:00:00.000Z


class Implementation(Protocol):
    """What both implementations can do."""

    def apply(self, event: Event) -> list[Any]:
        """Count an event."""

    def advance(self, to_ms: int) -> list[Any]:
        """Let time pass."""

    def snapshot(self) -> dict[str, Any]:
        """The data of `success.health.updated`."""


class MachineSupplier:
    """The scoring machine with its state, stored and read between any two steps."""

    def __init__(self, supplier_id: str) -> None:
        self.id = supplier_id
        self.state = State()

    def apply(self, event: Event) -> list[Any]:
        """Count an event."""
        self.state = decode(encode(self.state))
        return machine.apply(self.state, self.id, event)

    def advance(self, to_ms: int) -> list[Any]:
        """Let time pass."""
        self.state = decode(encode(self.state))
        return machine.advance(self.state, self.id, to_ms)

    def snapshot(self) -> dict[str, Any]:
        """The data of `success.health.updated`."""
        return snapshot(self.state, supplier_id=self.id)


IMPLEMENTATIONS = {"machine": MachineSupplier, "naive": NaiveSupplier}


class Story:
    """Tell what happens; times are given as ms after the start. Keeps all signals."""

    def __init__(self, implementation: str = "machine", start: int = MONDAY_9) -> None:
        self.supplier: Implementation = IMPLEMENTATIONS[implementation](SUPPLIER)
        self.start = start
        self.signals: list[Any] = []
        self.told = 0

    def happens(self, event_type: str, at: int = 0, *, times: int = 1, **data: Any) -> list[Any]:
        """So many events of this type at start + `at`; returns the signals they bring."""
        brought: list[Any] = []
        for _ in range(times):
            self.told += 1
            brought += self.arrives(event(event_type, self.start + at, f"e{self.told}", **data))
        return brought

    def arrives(self, made: Event) -> list[Any]:
        """An event made elsewhere."""
        signals = self.supplier.apply(made)
        self.signals += signals
        return signals

    def silence(self, until: int) -> list[Any]:
        """Nothing happens until start + `until`; returns the signals that time brings."""
        signals = self.supplier.advance(self.start + until)
        self.signals += signals
        return signals

    def imports(self, count: int, at: int = 0, first: int = 0) -> list[Any]:
        """Import so many clients, numbered from `first`: c0, c1 and so on."""
        return self.happens("client.imported", at, client_ids=[f"c{first + n}" for n in range(count)])

    def active(self, count: int, at: int = 0, first: int = 0) -> None:
        """So many clients become active, one event each."""
        for number in range(first, first + count):
            self.happens("client.active", at, client_id=f"c{number}")

    def uses_all_features(self, at: int = 0) -> None:
        """Use the key features other than importing: 18.75 points."""
        self.happens("form.created", at)
        self.happens("journey.created", at)
        self.happens("template.used", at)

    @property
    def now(self) -> dict[str, Any]:
        """The snapshot."""
        return self.supplier.snapshot()

    def of(self, name: str) -> list[Any]:
        """The conditions or milestones of this name so far."""
        return [s for s in self.signals if name in {s.data.get("condition"), s.data.get("milestone")}]

    def when(self, name: str) -> list[int]:
        """When they occurred, in ms after the start."""
        return [signal.at - self.start for signal in self.of(name)]

    def risk_changes(self) -> list[tuple[str | None, str, int]]:
        """(previous, level, ms after the start) of every risk change so far."""
        changes = [s for s in self.signals if s.type == "success.risk.changed"]
        return [(s.data["previous"], s.data["level"], s.at - self.start) for s in changes]


def days(count: float) -> int:
    """So many days in ms."""
    return int(count * DAY)
