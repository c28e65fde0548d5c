"""What messages do, as it is assumed: measured on nobody (docs/impact.md)."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Effects:
    """What a message does: it is read with a chance, and what is read takes them a part of the way to full interest.

    The defaults are assumptions, meant to be low, and measured on nobody (docs/impact.md). `lift` is of every message;
    `lifts` of those triggers that have one of their own. A lift fades with everything else about their interest.
    """

    read: float = 0.35
    lift: float = 0.06
    lifts: dict[str, float] = field(default_factory=dict)

    def of(self, trigger: str) -> float:
        """The lift of a trigger's message."""
        return self.lifts.get(trigger, self.lift)

    def times(self, factor: float) -> Effects:
        """The same with every lift multiplied; none goes beyond full interest."""
        lifts = {name: min(1.0, lift * factor) for name, lift in self.lifts.items()}
        return Effects(self.read, min(1.0, self.lift * factor), lifts)


NO_EFFECT = Effects(lift=0.0)
