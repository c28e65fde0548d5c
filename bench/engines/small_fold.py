"""The small fold: counts, days and a score, as short as the benchmarks of stream processors are.

`bench/peers/java/SmallFold.java` is the same fold; both pack a supplier into the same bytes.
"""

from __future__ import annotations

import struct

import msgspec

from topics.time import parse_time

DAY = 86_400_000
KINDS = (
    "supplier.signed_up",
    "supplier.logged_in",
    "client.active",
    "client.imported",
    "client.removed",
    "form.created",
    "form.sent",
    "form.completed",
    "journey.created",
    "journey.activated",
    "journey.email_sent",
    "journey.email_opened",
    "template.used",
    "payment.received",
    "plan.changed",
)
"""What `bench.logs.events` makes; anything else is passed over."""

_KIND = {kind: number for number, kind in enumerate(KINDS)}
_LOGIN, _SENT, _COMPLETED, _MAILED, _OPENED = 1, 6, 7, 10, 11
_KEY_FEATURES = (3, 5, 8, 12)
_REMEMBERED_DAYS = 63
_DAYS = (1 << _REMEMBERED_DAYS) - 1
_MONTH = (1 << 30) - 1
_PACKED = struct.Struct(f">qqqqd{len(KINDS)}i")
_LOGIN_POINTS = ((3, 30.0), (7, 20.0), (14, 10.0), (30, 5.0))


class _Event(msgspec.Struct):
    type: str
    time: str


_decode = msgspec.json.Decoder(_Event).decode


class SmallState:
    """What the small fold remembers of a supplier."""

    __slots__ = ("clock", "counts", "days", "last_day", "last_login", "score")

    def __init__(self) -> None:
        self.clock = self.last_login = self.last_day = self.days = 0
        self.score = 0.0
        self.counts = [0] * len(KINDS)

    def take(self, key: bytes, value: bytes, append_ms: int) -> None:
        """Fold one event, as it came from Kafka."""
        del key, append_ms
        event = _decode(value)
        kind = _KIND.get(event.type)
        if kind is None:
            return
        at = parse_time(event.time)
        self.counts[kind] += 1
        self.clock = max(self.clock, at)
        if kind == _LOGIN:
            self.last_login = max(self.last_login, at)
        ahead = at // DAY - self.last_day
        if ahead > 0:
            self.last_day += ahead
            self.days = (self.days << ahead | 1) & _DAYS if ahead < _REMEMBERED_DAYS else 1
        elif ahead > -_REMEMBERED_DAYS:
            self.days |= 1 << -ahead
        self.score = self._login_points() + self._use_points()

    def _login_points(self) -> float:
        away = (self.clock - self.last_login) // DAY
        for days, points in _LOGIN_POINTS:
            if away < days:
                return points
        return 0.0

    def _use_points(self) -> float:
        counts = self.counts
        used = sum(1 for kind in _KEY_FEATURES if counts[kind])
        forms = min(1.0, counts[_COMPLETED] / counts[_SENT]) if counts[_SENT] else 0.0
        emails = min(1.0, counts[_OPENED] / counts[_MAILED]) if counts[_MAILED] else 0.0
        return used * 6.25 + (self.days & _MONTH).bit_count() / 30 * 25 + forms * 10 + emails * 10

    def pack(self) -> bytes:
        """As bytes."""
        return _PACKED.pack(self.clock, self.last_login, self.last_day, self.days, self.score, *self.counts)

    @classmethod
    def unpack(cls, packed: bytes) -> SmallState:
        """The state that `pack` packed."""
        state = cls()
        state.clock, state.last_login, state.last_day, state.days, state.score, *state.counts = (
            _PACKED.unpack(packed)
        )
        return state
