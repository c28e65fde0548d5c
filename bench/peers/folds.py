"""The two functions that all engines of the benchmark run: the product's own scoring, and the small fold."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import groupby
from operator import itemgetter
from typing import Protocol, Self

from bench.engines.small_fold import SmallState
from scoring.health.machine import apply
from scoring.health.state import State, forget_told
from scoring.health.state import decode as decode_state
from scoring.health.state import encode as encode_state
from topics.decoding import ActivityEvent, decode


class Folded(Protocol):
    """What is known of one supplier."""

    def take(self, key: bytes, value: bytes, append_ms: int) -> None:
        """Fold one event, as it came from Kafka."""
        ...

    def pack(self) -> bytes:
        """As bytes, for a changelog or a state store."""
        ...

    @classmethod
    def unpack(cls, packed: bytes) -> Self:
        """What `pack` packed."""
        ...


class FullState:
    """The product's decoding and scoring of one supplier: signals are worked out, and then dropped."""

    __slots__ = ("state",)

    def __init__(self) -> None:
        self.state = State()

    def take(self, key: bytes, value: bytes, append_ms: int) -> None:
        """Decode, check, dedupe and apply one event."""
        event = decode(key, value, (), append_ms)
        if type(event) is ActivityEvent:
            apply(self.state, event.subject, event)

    def pack(self) -> bytes:
        """As bytes; the changes that a health snapshot would have carried are let go."""
        forget_told(self.state)
        return encode_state(self.state)

    @classmethod
    def unpack(cls, packed: bytes) -> FullState:
        """What `pack` packed."""
        folded = cls()
        folded.state = decode_state(packed)
        return folded


FOLDS: dict[str, type[FullState | SmallState]] = {"full": FullState, "small": SmallState}


def packed(
    fold: str,
    log: Iterable[tuple[bytes, bytes, int]],
    known: Callable[[bytes], Folded | None] = lambda _: None,
) -> dict[bytes, bytes]:
    """What a fold makes of (key, value, append time) one after the other: packed states by key.

    `known`: the state of a key before its first event, if there is one.
    """
    new = FOLDS[fold]
    found = {}
    for key, events in groupby(sorted(log, key=itemgetter(0)), itemgetter(0)):
        state = known(key) or new()
        for event in events:
            state.take(*event)
        found[key] = state.pack()
    return found
