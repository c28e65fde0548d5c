"""What the topic of versions says, as a fold takes it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agents.health.timeline import Step

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agents.cluster.rules_log import RulesLog
    from agents.health.fold import PartitionFold
    from scoring.health.rules import Rules


def tell(fold: PartitionFold, log: RulesLog, candidates: Sequence[Rules]) -> None:
    """Tell a fold what a log of the versions says of its partition; `candidates`: what it may have begun with."""
    switches = log.switches(fold.partition)
    steps = [Step(log.policy(each.version).rules, each.offset, each.through) for each in switches]
    others = [*candidates]
    if 0 in log.versions:
        others.append(log.policy(0).rules)

    def look_up(version: int) -> Rules | None:
        return log.policy(version).rules if version in log.versions else None

    fold.learn(steps, switches[0].before if switches else "", others, look_up)
