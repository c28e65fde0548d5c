"""Long computations in slices: a generator that pauses now and then, run in one go or with the event loop between."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from typing import Any, TypeVar

T = TypeVar("T")

SLICE = 60
"""Suppliers a slice: some 5 ms to fire their timers, 4 ms to encode them. All partitions' slices take turns, and
whatever waits for a broker's answer waits for a turn as well: long ones make for late signals."""


def at_once(steps: Generator[Any, None, T]) -> T:
    """The result, without a pause."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]


async def in_slices(steps: Generator[Any, None, T]) -> T:
    """The result; whatever else the event loop has to do goes on in the pauses."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]
        await asyncio.sleep(0)
