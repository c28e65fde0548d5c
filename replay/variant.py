"""What a what-if changes: the policy, and the score's weights."""

from __future__ import annotations

from dataclasses import dataclass

from scoring.policy import Policy


@dataclass(frozen=True)
class Scale:
    is_base: bool = True


@dataclass(frozen=True)
class Variant:
    """One way to score and to write: `policy` None simulates no messages."""

    name: str
    policy: Policy | None = None
    scale: Scale = Scale()
