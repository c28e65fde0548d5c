"""Creating the topics, and keeping their settings as the catalogue says."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import (
    CoordinatorLoadInProgressError,
    GroupCoordinatorNotAvailableError,
    KafkaError,
    for_code,
)

from agents.cluster.describing import ClusterError, Described, describe, settings_of
from agents.cluster.ledger import LEDGER, LEDGER_CONFIG
from agents.cluster.rules_log import RULES, RULES_CONFIG
from agents.engine.connection import client_options
from topics.catalog import TOPICS, full_name

if TYPE_CHECKING:
    from runtime.settings import Settings

STATE = "success.activity-state"
"""Changelog of the scoring agent's table: its own, so no public topic of the catalogue."""

STATE_CONFIG = {
    "cleanup.policy": "compact",
    "message.timestamp.type": "LogAppendTime",
    "max.message.bytes": str(16 * 1024 * 1024),
    # A worker that recovers from a zombie's late write needs the record before it to be there still.
    "min.compaction.lag.ms": str(3600 * 1000),
}

VISIBLE_WITHIN_S = 30.0
POLL_S = 0.1
MAX_REPLICAS = 3

_CHOSEN_BY_OPERATOR = frozenset({"retention.ms"})
FOR_EVER = "-1"
"""A retention that no operator may shorten."""
_NO_ERROR = 0
_ALREADY_EXISTS = 36


class ProvisioningError(ClusterError):
    """The topics can't be brought into order; the message says what to do."""


async def create_topics(settings: Settings) -> list[str]:
    """Create the topics that are missing, bring the settings of the others up to date; safe to run again.

    Returns the full names of those created, once every topic can be written to and workers can form a group. A
    topic keeps the retention time that an operator gave it. Raises ProvisioningError where a topic has another
    number of partitions.
    """
    admin = AIOKafkaAdminClient(**client_options(settings))
    await admin.start()
    try:
        return await _provision(admin, settings)
    finally:
        await admin.close()


def wanted_topics(prefix: str) -> dict[str, dict[str, str]]:
    """Settings of every topic by full name: the public ones, the state's changelog, the ledger and the versions."""
    public = {full_name(prefix, name): topic.config for name, topic in TOPICS.items()}
    return public | {
        full_name(prefix, STATE): STATE_CONFIG,
        full_name(prefix, LEDGER): LEDGER_CONFIG,
        full_name(prefix, RULES): RULES_CONFIG,
    }


async def _provision(admin: AIOKafkaAdminClient, settings: Settings) -> list[str]:
    wanted = wanted_topics(settings.topic_prefix)
    existing = await describe(admin, wanted)
    _check_partitions(existing, settings.partitions)
    brokers = len((await admin.describe_cluster())["brokers"])
    replicas = min(MAX_REPLICAS, brokers)
    topics = {
        name: NewTopic(name, settings.partitions, replicas, topic_configs=config | _durability(replicas))
        for name, config in wanted.items()
    }
    created, found = await _create_until_visible(admin, topics, set(existing))
    _check_partitions(found, settings.partitions)  # somebody else may have created one meanwhile
    await _update_configs(
        admin,
        {name: wanted[name] | _durability(found[name].replicas) for name in wanted if name not in created},
    )
    await _wait_for_groups(admin, f"{settings.topic_prefix}success-worker")
    return created


def _durability(replicas: int) -> dict[str, str]:
    """A write counts when all replicas but one have it (with 1 or 2 replicas: when the leader has it)."""
    return {"min.insync.replicas": str(max(1, replicas - 1))}


def _check_partitions(found: dict[str, Described], wanted: int) -> None:
    for name, topic in found.items():
        if topic.partitions != wanted:
            raise ProvisioningError(
                f"topic {name} has {topic.partitions} partitions and SUCCESS_PARTITIONS is {wanted}: "
                f"set SUCCESS_PARTITIONS={topic.partitions}, or use another SUCCESS_TOPIC_PREFIX; "
                "a supplier's partition follows from the count, so it can't change under stored state"
            )


async def _create_until_visible(
    admin: AIOKafkaAdminClient, topics: dict[str, NewTopic], there: set[str]
) -> tuple[list[str], dict[str, Described]]:
    """Create those topics that are not `there`; the names of those created, and all once each partition has a leader.

    A broker may still show a topic that was deleted a moment ago: one that vanishes is created as well.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + VISIBLE_WITHIN_S
    created = await _create(admin, [topic for name, topic in topics.items() if name not in there])
    while True:
        found = await describe(admin, topics)
        waiting = [name for name in topics if name not in found or not found[name].ready]
        if not waiting:
            return created, found
        if loop.time() > deadline:
            raise ProvisioningError(
                f"topic {waiting[0]} has no leader after {VISIBLE_WITHIN_S:.0f} s: are all brokers up?"
            )
        vanished = there - found.keys()
        created += await _create(admin, [topics[name] for name in sorted(vanished)])
        there -= vanished
        await asyncio.sleep(POLL_S)


async def _create(admin: AIOKafkaAdminClient, missing: list[NewTopic]) -> list[str]:
    if not missing:
        return []
    response: Any = await admin.create_topics(missing)
    created = []
    for name, code, message in response.topic_errors:
        if code == _NO_ERROR:
            created.append(name)
        elif code != _ALREADY_EXISTS:  # another `migrate` was a moment faster: as good
            raise ProvisioningError(f"Kafka won't create topic {name}: {message or for_code(code).__name__}")
    return created


async def _wait_for_groups(admin: AIOKafkaAdminClient, group: str) -> None:
    """Ask for the group's coordinator until there is one: a new Kafka makes its own topic for that when asked first.

    Only a kindness to the first worker, which would wait, and log an error, otherwise: whatever else is wrong with
    groups is the worker's to say.
    """
    deadline = asyncio.get_running_loop().time() + VISIBLE_WITHIN_S
    while asyncio.get_running_loop().time() < deadline:
        try:
            await admin.find_coordinator(group)
        except (GroupCoordinatorNotAvailableError, CoordinatorLoadInProgressError):
            await asyncio.sleep(POLL_S)
        except KafkaError:
            return
        else:
            return


async def _update_configs(admin: AIOKafkaAdminClient, wanted: dict[str, dict[str, str]]) -> None:
    """Set what differs. aiokafka's request replaces all of a topic's settings, so others' are sent along."""
    if not wanted:
        return
    found = await settings_of(admin, wanted)
    current = {
        name: {key: each.value for key, each in settings.items() if each.on_topic}
        for name, settings in found.items()
    }
    changes = []
    for name, config in wanted.items():
        kept = {
            key: value
            for key, value in current[name].items()
            if key in _CHOSEN_BY_OPERATOR and config.get(key) != FOR_EVER
        }
        complete = current[name] | config | kept
        if complete != current[name]:
            changes.append(ConfigResource(ConfigResourceType.TOPIC, name, complete))
    if not changes:
        return
    for response in await admin.alter_configs(changes):
        answer: Any = response
        for code, message, _kind, name in answer.resources:
            if code != _NO_ERROR:
                reason = message or for_code(code).__name__
                raise ProvisioningError(f"Kafka won't change the settings of topic {name}: {reason}")
