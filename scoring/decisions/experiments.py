"""Who is compared with whom: the holdout, and the variants of a template.

Pure, and the same for ever: everything follows from a hash of the supplier's id and the policy's salt, so that a
replay, a second process or a rebuilt database puts them into the same group.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from itertools import accumulate

from scoring.decisions.policy import BASE_VARIANT, Policy, Trigger

HOLDOUT = "holdout"
"""The experiment of who gets nothing, and the name of its group that gets nothing."""
TREATED = "treated"
"""The group of the holdout experiment that gets its messages."""
_UNIT = 2**64


@dataclass(frozen=True, slots=True)
class Assignment:
    """A supplier's groups for one trigger: of the holdout, if there is one, and the trigger's variant."""

    held_out: bool
    holdout_runs: bool
    trigger: str
    variant: str | None
    """None: the trigger has no variants; `BASE_VARIANT` is the template itself."""

    def groups(self) -> dict[str, str]:
        """Every experiment they are part of: its name -> their group."""
        mine = {HOLDOUT: HOLDOUT if self.held_out else TREATED} if self.holdout_runs else {}
        return mine | ({self.trigger: self.variant} if self.variant else {})

    def columns(self) -> tuple[str | None, str | None]:
        """The experiment and variant for the row's columns: what made this message differ from another's."""
        groups = self.groups()
        if self.variant and not self.held_out:
            return self.trigger, self.variant
        return (HOLDOUT, groups[HOLDOUT]) if HOLDOUT in groups else (None, None)


def assign(supplier_id: str, trigger: Trigger, policy: Policy) -> Assignment:
    """Put a supplier into their groups."""
    holdout = policy.holdout
    held_out = share_of(f"{holdout.salt}:holdout:{supplier_id}") < holdout.share
    return Assignment(
        held_out, holdout.share > 0, trigger.name, _variant(supplier_id, trigger, policy.experiments.salt)
    )


def share_of(text: str) -> float:
    """Hash a text to a number in [0, 1), evenly."""
    return int.from_bytes(sha256(text.encode()).digest()[:8]) / _UNIT


def template_file(template: str, variant: str | None) -> str:
    """Name the template that a variant is written in: `<template>.<variant>`, or the template itself."""
    return template if variant in {None, BASE_VARIANT} else f"{template}.{variant}"


def _variant(supplier_id: str, trigger: Trigger, salt: str) -> str | None:
    """Pick a variant by its weight; the order of the table in the file does not matter."""
    weights = sorted(trigger.variants.items())
    total = sum(weight for _, weight in weights)
    if not total:
        return None
    point = share_of(f"{salt}:{trigger.name}:{supplier_id}") * total
    ends = accumulate(weight for _, weight in weights)
    return next(name for (name, _), end in zip(weights, ends, strict=True) if point < end)
