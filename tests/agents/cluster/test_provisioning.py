"""Topics on a real Kafka: created once, kept as the catalogue says."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import (
    GroupAuthorizationFailedError,
    GroupCoordinatorNotAvailableError,
    MessageSizeTooLargeError,
)

from agents.cluster import provisioning
from agents.cluster.describing import describe
from agents.cluster.ledger import LEDGER
from agents.cluster.provisioning import STATE, ProvisioningError, create_topics, wanted_topics
from agents.cluster.rules_log import RULES
from agents.engine.connection import client_options
from topics.catalog import ACTIVITY, HEALTH, MAX_ACTIVITY_BYTES, TOPICS, full_name
from topics.decoding import MAX_VALUE_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.stack


@pytest.fixture
def other(settings):
    """Settings with a prefix under which no topic is yet (removed with those of `settings`)."""
    return settings.model_copy(update={"topic_prefix": f"{settings.topic_prefix}other."})


async def configs(settings, names: list[str]) -> dict[str, dict[str, str]]:
    admin = AIOKafkaAdminClient(**client_options(settings))
    await admin.start()
    try:
        answers: Any = await admin.describe_configs(
            [ConfigResource(ConfigResourceType.TOPIC, n) for n in names]
        )
        return {
            name: {entry[0]: entry[1] for entry in entries}
            for answer in answers
            for _code, _message, _kind, name, entries in answer.resources
        }
    finally:
        await admin.close()


async def configs_when(settings, names: list[str], ready: Callable[[dict[str, dict[str, str]]], bool]) -> Any:
    """The topics' settings once `ready`: brokers learn of changes a moment after the controller."""
    async with asyncio.timeout(30):
        while not ready(found := await configs(settings, names)):  # noqa: ASYNC110 - no event tells of it
            await asyncio.sleep(0.05)
    return found


async def change(settings, name: str, config: dict[str, str]) -> None:
    """Set a topic's settings, all others back to default, and wait until it shows."""
    admin = AIOKafkaAdminClient(**client_options(settings))
    await admin.start()
    try:
        await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, name, config)])
    finally:
        await admin.close()
    await configs_when(settings, [name], lambda found: found[name] | config == found[name])


async def test_all_topics_and_the_states_changelog_are_created_with_their_settings(other):
    created = await create_topics(other)
    assert created == [full_name(other.topic_prefix, name) for name in [*TOPICS, STATE, LEDGER, RULES]]
    wanted = wanted_topics(other.topic_prefix)
    await configs_when(
        other, created, lambda now: all(now[name] | wanted[name] == now[name] for name in wanted)
    )


async def test_all_topics_have_the_same_number_of_partitions(other):
    created = await create_topics(other)
    admin = AIOKafkaAdminClient(**client_options(other))
    await admin.start()
    try:
        described = await admin.describe_topics(created)
    finally:
        await admin.close()
    assert {len(topic["partitions"]) for topic in described} == {other.partitions}


async def test_creating_again_changes_nothing(other):
    created = await create_topics(other)
    before = await configs(other, created)
    assert await create_topics(other) == []
    assert await configs(other, created) == before


async def test_two_at_once_create_each_topic_once(other):
    made = await asyncio.gather(create_topics(other), create_topics(other))
    assert sorted(made[0] + made[1]) == sorted(wanted_topics(other.topic_prefix))


async def test_a_topic_that_a_broker_still_shows_after_its_deletion_is_created_all_the_same(
    other, monkeypatch
):
    await create_topics(other)
    admin = AIOKafkaAdminClient(**client_options(other))
    await admin.start()
    health = full_name(other.topic_prefix, HEALTH)
    before = await describe(admin, wanted_topics(other.topic_prefix))
    await admin.delete_topics([health])
    async with asyncio.timeout(30):
        while await describe(admin, [health]):  # noqa: ASYNC110 - brokers learn of it a moment after the controller
            await asyncio.sleep(0.05)
    await admin.close()
    answers = [before, {name: before[name] for name in before if name != health}]

    async def late(asking, names):
        return answers.pop(0) if answers else await describe(asking, names)

    monkeypatch.setattr(provisioning, "describe", late)
    assert await create_topics(other) == [health]


async def test_settings_are_brought_up_to_date_and_an_operators_own_are_left(other):
    health, activity = (full_name(other.topic_prefix, name) for name in (HEALTH, ACTIVITY))
    await create_topics(other)
    await change(other, health, {"cleanup.policy": "delete", "segment.ms": "3600000"})
    await change(other, activity, {"retention.ms": "864000000"})
    assert await create_topics(other) == []
    wanted = TOPICS[HEALTH].config
    found = await configs_when(other, [health, activity], lambda now: now[health] | wanted == now[health])
    assert found[health]["segment.ms"] == "3600000"
    assert found[activity]["retention.ms"] == "864000000"
    largest = str(MAX_ACTIVITY_BYTES)
    await configs_when(other, [activity], lambda now: now[activity]["max.message.bytes"] == largest)


async def test_another_number_of_partitions_is_an_error_that_says_what_to_do(other):
    await create_topics(other)
    wider = other.model_copy(update={"partitions": other.partitions + 1})
    with pytest.raises(ProvisioningError, match=f"set SUCCESS_PARTITIONS={other.partitions}"):
        await create_topics(wider)


async def test_kafka_takes_values_a_little_over_a_mebibyte_so_that_the_refusal_is_ours(settings):
    activity = full_name(settings.topic_prefix, ACTIVITY)
    producer = AIOKafkaProducer(**client_options(settings), max_request_size=1 << 22)
    await producer.start()
    try:
        headers = [("content-type", b"application/cloudevents+json")]
        sent = await producer.send_and_wait(
            activity, b"x" * (MAX_VALUE_BYTES + 1000), b"k" * 36, headers=headers
        )
        assert sent.timestamp_type == 1  # LogAppendTime
        with pytest.raises(MessageSizeTooLargeError):
            await producer.send_and_wait(activity, b"x" * (2 * MAX_VALUE_BYTES))
    finally:
        await producer.stop()


async def test_topics_count_as_made_once_workers_can_form_a_group(settings, monkeypatch):
    asked = []

    async def find_coordinator(_admin: AIOKafkaAdminClient, group: str) -> int:
        asked.append(group)
        if len(asked) < 3:
            raise GroupCoordinatorNotAvailableError
        return 1

    monkeypatch.setattr(AIOKafkaAdminClient, "find_coordinator", find_coordinator)
    await create_topics(settings)
    assert len(asked) == 3, "a new Kafka has none until somebody has asked for one"


async def test_a_kafka_that_won_t_tell_of_groups_still_gets_its_topics(settings, monkeypatch):
    async def find_coordinator(_admin: AIOKafkaAdminClient, _group: str) -> int:
        raise GroupAuthorizationFailedError

    monkeypatch.setattr(AIOKafkaAdminClient, "find_coordinator", find_coordinator)
    assert await create_topics(settings) == []
