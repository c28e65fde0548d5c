"""What stands on a topic."""

from __future__ import annotations

from typing import Any

from bench.reading import read_topic
from runtime.settings import Settings
from topics.catalog import full_name


async def records(settings: Settings, topic: str) -> list[Any]:
    """All records of a topic of this test's own (catalogue name), partition by partition."""
    log = await read_topic(settings, full_name(settings.topic_prefix, topic))
    return [record for partition in log for record in partition]
