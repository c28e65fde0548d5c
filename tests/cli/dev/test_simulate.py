"""`success simulate`: to a file, to standard output, to Kafka; wrong use says what to do."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import orjson
import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from click.testing import CliRunner, Result

from cli.dev.simulate import simulate
from cli.main import run
from replay.simulator.simulate import population
from topics.catalog import ACTIVITY, PROFILES, full_name
from topics.time import parse_time

if TYPE_CHECKING:
    from pathlib import Path

    from runtime.settings import Settings

SMALL = ["--suppliers", "5", "--days", "20", "--seed", "3"]
START = parse_time("2026-01-05T00:00:00Z")


def simulated(*options: str) -> Result:
    return CliRunner().invoke(simulate, [*SMALL, *options], standalone_mode=False)


def expected() -> list[dict[str, Any]]:
    return list(population(5, 20, 3, START))


def test_out_writes_the_population_to_a_file(tmp_path: Path) -> None:
    out = tmp_path / "population.jsonl"
    result = simulated("--start", "2026-01-05", "--out", str(out))
    assert [orjson.loads(line) for line in out.read_bytes().splitlines()] == expected()
    assert "of 5 suppliers" in result.stdout


def test_out_dash_writes_lines_only_to_standard_output() -> None:
    result = simulated("--start", "2026-01-05T00:00:00Z", "--out", "-")
    assert [orjson.loads(line) for line in result.stdout_bytes.splitlines()] == expected()


def test_json_tells_what_was_made(tmp_path: Path) -> None:
    result = simulated("--start", "2026-01-05", "--out", str(tmp_path / "p.jsonl"), "--json")
    profiles = sum("profile" in line for line in expected())
    assert json.loads(result.stdout) == {
        "events": len(expected()) - profiles,
        "profiles": profiles,
        "suppliers": 5,
        "start": "2026-01-05T00:00:00.000Z",
        "end": "2026-01-25T00:00:00.000Z",
    }


@pytest.mark.parametrize(
    ("options", "hint"),
    [
        (["--start", "soon", "--out", "-"], "such as 2026-01-05"),
        (["--start", "2999-01-01"], "--out"),
        (["--out", "/nowhere/at/all.jsonl"], "can't write /nowhere/at/all.jsonl"),
        (["--out", "-", "--json"], "give --out a file"),
        (["--suppliers", "0"], "--suppliers"),
    ],
)
def test_wrong_use_is_one_line_and_exit_code_2(
    options: list[str], hint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["simulate", *options]) == 2
    complaint = capsys.readouterr().err
    assert hint in complaint
    assert complaint.count("\n") == 1


@pytest.mark.stack
async def test_without_out_it_publishes_every_line_in_each_suppliers_order(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SUCCESS_KAFKA", settings.kafka)
    monkeypatch.setenv("SUCCESS_TOPIC_PREFIX", settings.topic_prefix)
    result = await asyncio.to_thread(simulated, "--start", "2026-01-05")
    assert result.exception is None
    published = await records(settings, ACTIVITY)
    lines = expected()
    for supplier in {line["profile"]["id"] for line in lines if "profile" in line}:
        told = [line for line in lines if line.get("subject") == supplier]
        assert [orjson.loads(value) for key, value in published if key == supplier.encode()] == told
    profiles = [orjson.loads(value) for _, value in await records(settings, PROFILES)]
    told = [line["profile"]["id"] for line in lines if "profile" in line]
    assert sorted(profile["id"] for profile in profiles) == sorted(told)


async def records(settings: Settings, topic: str) -> list[tuple[bytes, bytes]]:
    """All (key, value) on a topic, partition by partition in order."""
    name = full_name(settings.topic_prefix, topic)
    consumer = AIOKafkaConsumer(bootstrap_servers=settings.kafka, auto_offset_reset="earliest")
    await consumer.start()
    try:
        partitions = [TopicPartition(name, number) for number in range(settings.partitions)]
        consumer.assign(partitions)
        ends = await consumer.end_offsets(partitions)
        found: list[tuple[bytes, bytes]] = []
        while any([await consumer.position(partition) < end for partition, end in ends.items()]):
            for batch in (await consumer.getmany(timeout_ms=500)).values():
                found += [(record.key, record.value) for record in batch]
        return found
    finally:
        await consumer.stop()
