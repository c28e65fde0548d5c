"""A consumer of ours stops, whatever became of the broker that it was reading from."""

from __future__ import annotations

import asyncio

import pytest
from aiokafka import TopicPartition
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaConnectionError
from aiokafka.protocol.fetch import FetchRequest

from agents.engine.connection import consumer_of
from topics.catalog import ACTIVITY, full_name

pytestmark = pytest.mark.stack


async def test_it_stops_in_the_rest_after_a_fetch_that_failed(settings, monkeypatch):
    """Aiokafka alone rests where `stop` ends with CancelledError and leaves the connections open."""
    failed, send = asyncio.Event(), AIOKafkaClient.send

    async def failing(self, node_id, request):
        if isinstance(request, FetchRequest):
            failed.set()
            raise KafkaConnectionError("the broker has gone")
        return await send(self, node_id, request)

    monkeypatch.setattr(AIOKafkaClient, "send", failing)
    consumer = consumer_of(settings, auto_offset_reset="earliest")
    await consumer.start()
    consumer.assign([TopicPartition(full_name(settings.topic_prefix, ACTIVITY), 0)])
    reading = asyncio.create_task(consumer.getmany(timeout_ms=10_000))
    await asyncio.wait_for(failed.wait(), 30)
    await asyncio.sleep(0)
    reading.cancel()

    await consumer.stop()

    connections = consumer._client._conns.values()
    assert connections
    assert not any(each.connected() for each in connections)
