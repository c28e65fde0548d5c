"""How far this machine's clock is from the brokers', measured by when they say that they appended what we sent."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable

SAMPLES = 32
"""The last acks; the one that took the shortest tells most."""
WORTH_SAYING_MS = 2_000

logger = logging.getLogger(__name__)


class ClockSkew:
    """Our clock minus the brokers', as of the last acks.

    An ack says when the broker appended a batch: after we sent it and before we heard of it. Half of that round trip is
    the most by which the estimate can be wrong.
    """

    def __init__(self, now_ms: Callable[[], int]) -> None:
        self.now_ms = now_ms
        """This machine's clock."""
        self.ms = 0
        """How much it is ahead; 0 until something was sent."""
        self._samples: deque[tuple[int, int]] = deque(maxlen=SAMPLES)
        self._said = False

    @property
    def known(self) -> bool:
        """Whether anything was sent yet."""
        return bool(self._samples)

    def broker_now_ms(self) -> int:
        """The time by the brokers' clock."""
        return self.now_ms() - self.ms

    def note(self, sent_ms: int, appended_ms: int) -> None:
        """Something that was sent at `sent_ms` was appended at `appended_ms`, and we heard of it now."""
        round_trip = self.now_ms() - sent_ms
        if round_trip < 0:
            self._samples.clear()  # the clock was set back meanwhile
            return
        sample = round_trip, sent_ms + round_trip // 2 - appended_ms
        if any(abs(sample[1] - skew) > (sample[0] + took) // 2 + 1 for took, skew in self._samples):
            self._samples.clear()  # they can't all be true: a clock was set
        self._samples.append(sample)
        shortest, skew = min(self._samples)
        self.ms = skew if abs(skew) > shortest // 2 else 0
        self._say()

    def _say(self) -> None:
        off = abs(self.ms) >= WORTH_SAYING_MS
        if off and not self._said:
            logger.warning(
                "this machine's clock is %.1f s %s of the brokers': theirs counts; keep clocks in step (NTP)",
                abs(self.ms) / 1000,
                "ahead" if self.ms > 0 else "short",
            )
        self._said = off
