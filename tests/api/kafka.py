"""What stands on a topic."""

from __future__ import annotations

from typing import Any

from bench.logs.reading import read_topic
from runtime.settings import Settings
from topics.catalog import full_name


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
