"""A log whose partitions have grown, replayed from the topics and from an archive: what ran live, id for id."""

from __future__ import annotations

import asyncio

import pytest

from agents.growing import grow
from replay.again.explain import explain
from replay.log.kafka_log import LogError
from replay.log.offsets import Offsets
from replay.log.source import ArchiveSource, KafkaSource
from runtime.settings import Settings
from tests.agents.test_growing import (
    MORE,
    PARTITIONS,
    VENUE,
    forms,
    grown_with_everything_in_between,
    live,
    publish_by,
    score_all,
    wider,
)
from tests.replay.again.test_live import replayed, sent, signals, success

pytestmark = [pytest.mark.stack, pytest.mark.timeout(600)]


def test_events_count_where_they_lay_under_each_count(settings: Settings, tmp_path) -> None:
    archive = tmp_path / "archive"
    asyncio.run(grown_with_everything_in_between(settings))
    assert success(wider(settings), "export", "--out", str(archive)).returncode == 0
    asyncio.run(grow(wider(settings), 9))
    grown = wider(settings, 9)
    asyncio.run(publish_by(grown, forms(1), MORE))
    asyncio.run(publish_by(grown, forms(1), PARTITIONS))
    asyncio.run(publish_by(grown, forms(1), 9))
    asyncio.run(score_all(grown))
    done = success(grown, "export", "--out", str(archive))
    assert done.returncode == 0, done.stderr
    expected = sent(grown)
    for number, source in enumerate((KafkaSource(grown), ArchiveSource(archive))):
        outcome, connection = replayed(source, tmp_path / f"out{number}")
        assert signals(connection) == expected
        assert not outcome.refused
    newest = asyncio.run(live(grown))[1]
    told = explain(KafkaSource(grown), VENUE)
    assert told.state is not None
    assert told.state["seq"] == newest[VENUE]["seq"]
    with pytest.raises(LogError, match="choose times"):
        explain(KafkaSource(grown), VENUE, offsets=Offsets(first=1))
