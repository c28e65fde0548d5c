"""Topics that a test has to itself, and what stands on one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.logs.reading import read_topic
from embedded.registry import Addresses
from runtime.settings import Settings
from tests.conftest import own_settings
from topics.catalog import full_name


@pytest.fixture(name="settings")
def own_topics(stack: Addresses, tmp_path: Path) -> Iterator[Settings]:
    """Settings with topics, and a database, that no other test has."""
    with own_settings(stack, tmp_path / "state") as own:
        yield own.model_copy(update={"metrics_port": own.api_port})


async def records(settings: Settings, topic: str) -> list[Any]:
    """All records of a topic of this test's own (catalogue name), partition by partition."""
    return await Published(settings, topic).since_then()


class Published:
    """What is published on a topic after `now`; before that, all of it."""

    def __init__(self, settings: Settings, topic: str) -> None:
        self._settings = settings
        self._topic = full_name(settings.topic_prefix, topic)
        self._seen: list[int] = []

    async def now(self) -> Published:
        """Leave out what is there now."""
        self._seen = [len(partition) for partition in await read_topic(self._settings, self._topic)]
        return self

    async def since_then(self) -> list[Any]:
        """The records, partition by partition."""
        log = await read_topic(self._settings, self._topic)
        seen = self._seen or [0] * len(log)
        return [record for partition, skip in zip(log, seen, strict=True) for record in partition[skip:]]
