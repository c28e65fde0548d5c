"""Topics that a test has to itself, and their end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agents.cluster.describing import asking

if TYPE_CHECKING:
    from runtime.settings import Settings


async def delete_topics(settings: Settings) -> None:
    """Delete all topics with the prefix, changelogs included, so that the broker stays light."""
    async with asking(settings) as admin:
        mine = [topic for topic in await admin.list_topics() if settings.topic_prefix in topic]
        if mine:
            await admin.delete_topics(mine)
