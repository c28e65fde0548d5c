"""The policy that is tried, read against the rules that are in force where a supplier lives.

The policy stays as its file says, or nobody could tell what the rows of its digest are; whether a condition still holds
is asked of the rules that live scoring goes by, which follow each version.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from scoring.decisions.policy import Policy, PolicyError
from topics.partitioner import partition_of

if TYPE_CHECKING:
    from agents.cluster.rules_log import RulesLog

logger = logging.getLogger("success.rules")


class PolicyInForce:
    """Asks `log`, which grows as versions go into force, each time; `policy` has the rules from before the first."""

    def __init__(self, policy: Policy, name: str, log: RulesLog, partitions: int) -> None:
        self._policy = policy
        self._name = name
        self._log = log
        self._partitions = partitions
        self._read: dict[int, Policy] = {}

    def of(self, supplier_id: str) -> Policy:
        """The policy, with the rules that score this supplier."""
        version = self._log.wanted(partition_of(supplier_id.encode(), self._partitions))
        if version is None:
            return self._policy
        if version.number not in self._read:
            self._read[version.number] = self._read_against(version.number)
        return self._read[version.number]

    def _read_against(self, number: int) -> Policy:
        try:
            read = Policy.parse(self._policy.document(), self._name, self._log.policy(number).rules)
        except PolicyError as error:
            logger.warning(
                "version %d is in force, with which %s can't be read: it decides by the rules from before (%s)",
                number,
                self._name,
                error,
            )
            return self._policy
        logger.info("version %d is in force: %s decides by its rules", number, self._name)
        return read
