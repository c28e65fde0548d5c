"""Topics as an operator's tool makes them: the doctor and the worker name each setting that has to be mended."""

from __future__ import annotations

import asyncio

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from click.testing import CliRunner

from agents.cluster.checks import faults_of, wrong_settings
from agents.cluster.describing import Setting
from agents.cluster.provisioning import create_topics, wanted_topics
from agents.engine.failure import RefusedError
from agents.worker import InProcessWorker
from cli.admin.doctor.doctor import doctor
from runtime.clock import SystemClock
from runtime.settings import Settings
from tests.agents.health.records import event_record
from tests.agents.workers import ANNA, now_ms, running
from topics.catalog import ACTIVITY, HEALTH, PROFILES, TOPICS, full_name
from topics.partitioner import partition_of


@pytest.mark.stack
async def test_topics_with_kafkas_own_settings_are_named_and_refused_until_migrate_has_mended_them(
    settings: Settings,
) -> None:
    other = settings.model_copy(update={"topic_prefix": f"{settings.topic_prefix}operator."})
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka)
    await admin.start()
    operators = {
        full_name(other.topic_prefix, ACTIVITY): {"max.message.bytes": "1048588"},
        full_name(other.topic_prefix, PROFILES): {},
    }
    await admin.create_topics([NewTopic(name, 4, 1, topic_configs=more) for name, more in operators.items()])
    missing = [NewTopic(name, 4, 1, topic_configs=c) for name, c in wanted_topics(other.topic_prefix).items()]
    await admin.create_topics([topic for topic in missing if topic.name not in operators])
    await admin.close()
    activity, profiles = operators
    async with asyncio.timeout(30):
        while any(fault.found.startswith("no topic") for fault in await faults_of(other)):  # noqa: ASYNC110 - as below
            await asyncio.sleep(0.05)
    found = [fault.found for fault in await faults_of(other)]
    assert f"{activity}: message.timestamp.type is CreateTime, needed is LogAppendTime" in found
    assert any(each.startswith(f"{activity}: max.message.bytes is 1048588, needed is ") for each in found)
    assert f"{profiles}: cleanup.policy is delete, needed is compact" in found
    with pytest.raises(RefusedError, match=r"max\.message\.bytes is 1048588.*`success migrate` sets it"):
        await InProcessWorker(other, SystemClock()).start()
    await create_topics(other)
    async with asyncio.timeout(30):
        while await faults_of(other):  # noqa: ASYNC110 - brokers learn of changes a moment after the controller
            await asyncio.sleep(0.05)
    async with running(other):
        pass


def in_force(name: str, **changed: str) -> dict[str, Setting]:
    values = TOPICS[name].config | {key.replace("_", "."): value for key, value in changed.items()}
    return {key: Setting(value, on_topic=True) for key, value in values.items()}


@pytest.mark.parametrize(
    ("name", "changed", "fault"),
    [
        (ACTIVITY, {}, None),
        (ACTIVITY, {"max_message_bytes": "99999999"}, None),
        (ACTIVITY, {"retention_ms": "-1"}, None),
        (ACTIVITY, {"retention_ms": "604800000"}, None),
        (ACTIVITY, {"retention_ms": "604799999"}, "retention.ms is 604799999, needed is 604800000 or more"),
        (ACTIVITY, {"cleanup_policy": "compact"}, "cleanup.policy is compact, needed is delete"),
        (PROFILES, {"max_compaction_lag_ms": "1"}, None),
        (PROFILES, {"max_compaction_lag_ms": "9223372036854775807"}, "needed is 604800000 or less"),
        (HEALTH, {"min_compaction_lag_ms": "0"}, "min.compaction.lag.ms is 0, needed is 604800000 or more"),
    ],
)
def test_a_setting_may_be_better_than_needed_but_not_worse(
    name: str, changed: dict[str, str], fault: str | None
) -> None:
    found = [each.found for each in wrong_settings(name, in_force(name, **changed), TOPICS[name].config)]
    assert bool(found) == (fault is not None)
    assert all(fault in each for each in found if fault)


def test_a_short_retention_is_the_operators_to_answer_for_and_stops_nobody() -> None:
    [fault] = wrong_settings(ACTIVITY, in_force(ACTIVITY, retention_ms="1000"), TOPICS[ACTIVITY].config)
    assert not fault.stops


@pytest.mark.stack
async def test_the_doctor_shows_that_somebody_publishes_by_another_partitioner(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in settings.as_env().items():
        monkeypatch.setenv(name, value)
    activity = full_name(settings.topic_prefix, ACTIVITY)
    elsewhere = (partition_of(ANNA.encode(), settings.partitions) + 1) % settings.partitions
    record = event_record(ANNA, at=now_ms())
    async with running(settings) as worker:
        async with AIOKafkaProducer(bootstrap_servers=settings.kafka) as producer:
            await producer.send_and_wait(activity, record.value, key=record.key, partition=elsewhere)
        await worker.processed(ACTIVITY, elsewhere, 0)
    said = await asyncio.to_thread(CliRunner().invoke, doctor, [])
    assert said.exit_code == 1
    assert "1 of the newest 1 dead letters say wrong_partition" in said.output
    for client in ("librdkafka", "sarama", "franz-go", "kafka-python", "Java", "kafkajs"):
        assert client in said.output
