"""A simulated population gives the naive implementation's answers, signal for signal.

`SUCCESS_LONG_TESTS=1` takes 1,000 suppliers over 90 days.
"""

from __future__ import annotations

import os
from collections import defaultdict
from typing import TYPE_CHECKING

from replay.simulator.simulate import population
from tests.reference.compare import difference, plain
from tests.reference.events import event_of_line
from tests.reference.history import DAY
from tests.reference.naive import NaiveSupplier
from tests.scoring.health.suppliers import MIDNIGHT, MachineSupplier

if TYPE_CHECKING:
    from tests.reference.events import Event

SUPPLIERS, DAYS = (1000, 90) if os.environ.get("SUCCESS_LONG_TESTS") else (24, 60)


def test_machine_equals_naive_on_a_simulated_population() -> None:
    histories: defaultdict[str, list[Event]] = defaultdict(list)
    for line in population(SUPPLIERS, DAYS, 11, MIDNIGHT):
        if (found := event_of_line(line)) is not None:
            histories[found[0]].append(found[1])
    assert len(histories) > 0.95 * SUPPLIERS
    for supplier, events in histories.items():
        machine, naive = MachineSupplier(supplier), NaiveSupplier(supplier)
        end = MIDNIGHT + DAYS * DAY
        of_machine = [signal for event in events for signal in machine.apply(event)] + machine.advance(end)
        of_naive = [signal for event in events for signal in naive.apply(event)] + naive.advance(end)
        assert difference(plain(of_machine), plain(of_naive)) is None, supplier
        assert difference(machine.snapshot(), naive.snapshot()) is None, supplier
