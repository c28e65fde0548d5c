"""Who of a live database belongs to which group, and since when the groups are what they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from scoring.decisions.experiments import HOLDOUT, TREATED, assign
from scoring.decisions.policy import Policy


class Decided(Protocol):
    """`store.messages.impact.Decided`."""

    @property
    def supplier_id(self) -> str:
        """Whose."""
        ...

    @property
    def group(self) -> str:
        """`holdout` or `treated`."""
        ...

    @property
    def first_at(self) -> int:
        """In ms."""
        ...

    @property
    def last_at(self) -> int:
        """In ms."""
        ...


def in_holdout(supplier_id: str, policy: Policy) -> bool:
    """Whether the policy's holdout takes them in: by the hash of their id, whatever has been sent."""
    return assign(supplier_id, policy.triggers[0], policy).held_out


def beginning(decided: Sequence[Decided], policy: Policy, otherwise: int) -> tuple[int, list[str]]:
    """When the present groups began (ms), and what to say about it.

    That is the first decision under a holdout, unless some were made under other groups (another salt or share): then
    right behind the last of those. `otherwise`, where there was none.
    """
    if not policy.holdout.share:
        note = (
            "the policy has no holdout ([holdout] share = 0): nobody is held out, so nothing can be said about whether "
            "messages work; what follows says what a holdout would need"
        )
        return otherwise, [note]
    others = [each for each in decided if (each.group == HOLDOUT) is not in_holdout(each.supplier_id, policy)]
    if others:
        begun = max(each.last_at for each in others) + 1
        note = (
            f"messages to {len({each.supplier_id for each in others}):,} suppliers were decided with another holdout: "
            "only what came after the last of them is compared"
        )
        return begun, [note]
    firsts = [each.first_at for each in decided if each.group in {HOLDOUT, TREATED}]
    if not firsts:
        return otherwise, ["no message has been decided under the holdout yet"]
    return min(firsts), []
