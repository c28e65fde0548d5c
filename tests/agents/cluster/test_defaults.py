"""On a broker with Kafka's own defaults, which makes a topic when it is asked for: looking makes none."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from aiokafka import AIOKafkaProducer
from click.testing import CliRunner

from agents.cluster.describing import asking, describe
from agents.cluster.identity import TopicsNotReadyError, check_topics
from agents.cluster.provisioning import wanted_topics
from agents.engine.connection import client_options
from api.dashboard.fresh.lag import lag
from cli.admin.doctor.doctor import doctor
from cli.admin.migrate import migrate
from embedded.stack import Stack
from replay.log.kafka_log import KafkaLog, LogError
from runtime.settings import Settings
from tests.conftest import SECRETS
from topics.catalog import ACTIVITY

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.stack

OURS = ("auto.create.topics.enable", "num.partitions", "message.max.bytes", "log.retention.ms")
PARTITIONS = 3


@pytest.fixture(scope="module")
def defaults(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """Settings of a stack whose Kafka has its own defaults."""
    stack = Stack(ephemeral=True, kafka_properties=dict.fromkeys(OURS))
    try:
        addresses = stack.start()
        yield Settings(
            kafka=addresses.kafka,
            database_url=addresses.database_url,
            smtp_url=addresses.smtp,
            partitions=PARTITIONS,
            state_dir=tmp_path_factory.mktemp("state") / "none",
            **SECRETS,
        )
    finally:
        stack.stop()


async def topics_of(settings: Settings) -> set[str]:
    async with asking(settings) as admin:
        return set(await admin.list_topics())


async def publish_to_nowhere(settings: Settings) -> None:
    """What a producer of ours asks before it sends."""
    async with AIOKafkaProducer(**client_options(settings)) as producer:
        await producer.client.add_topic(ACTIVITY)
        assert ACTIVITY not in producer.client.cluster.topics()


def test_whoever_only_asks_makes_no_topic_and_migrate_then_makes_them_as_wanted(
    defaults: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name, value in defaults.as_env().items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    answer = CliRunner().invoke(doctor)
    assert "run `success migrate`" in answer.output
    with pytest.raises(TopicsNotReadyError, match="run `success migrate`"):
        asyncio.run(check_topics(defaults))
    asyncio.run(lag(defaults))
    asyncio.run(publish_to_nowhere(defaults))
    with KafkaLog(defaults) as log, pytest.raises(LogError, match="there is no topic"):
        log.bounds(ACTIVITY)
    assert {name for name in asyncio.run(topics_of(defaults)) if not name.startswith("__")} == set()

    made = CliRunner().invoke(migrate, catch_exceptions=False)
    assert made.exit_code == 0, made.output

    async def counts() -> dict[str, int]:
        async with asking(defaults) as admin:
            found = await describe(admin, wanted_topics(""))
        return {name: topic.partitions for name, topic in found.items()}

    assert asyncio.run(counts()) == dict.fromkeys(wanted_topics(""), PARTITIONS)
    assert CliRunner().invoke(doctor).exit_code == 0
