"""The page for teams that publish: generated parts are current, examples are taken, snippets work as they stand."""

from __future__ import annotations

import asyncio
import json
import os
import re
import socket
import sys
import time
from pathlib import Path

import pytest
import uvicorn

from api.app import build_app
from api.tokens import sign
from runtime.settings import Settings
from tests.cli.admin.test_publish import records
from topics.activity_types import PLAIN, ActivityType
from topics.catalog import ACTIVITY, full_name
from topics.decoding import ActivityEvent, decode
from topics.partitioner import partition_of
from topics.schemas.generate import BEGIN, END, EVENTS_PAGE, events_page, example

PAGE = EVENTS_PAGE.read_text("utf-8")
TRIED = re.compile(r"<!-- tried -->\n```(\w+)\n(.*?)```", re.DOTALL)
SUPPLIER = "7d0f4c1e-5a0b-4a8e-9b57-0c6f6a1f2d10"


def test_the_types_are_those_of_the_models() -> None:
    between = PAGE.partition(BEGIN)[2].partition(END)[0]
    assert between == events_page(), "run `python -m topics.schemas.generate`"


@pytest.mark.parametrize("kind", PLAIN.types.values(), ids=PLAIN.types)
def test_each_example_is_taken(kind: ActivityType) -> None:
    event = example(kind)
    verdict = decode(event["subject"].encode(), json.dumps(event).encode(), (), 1 << 50)
    assert isinstance(verdict, ActivityEvent)
    assert verdict.type == kind.name
    assert json.dumps(event) in PAGE


async def run(program: list[str], **environment: str) -> str:
    process = await asyncio.create_subprocess_exec(
        *program,
        env=os.environ | environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await asyncio.wait_for(process.communicate(), 90)
    assert process.returncode == 0, err.decode()
    return out.decode()


@pytest.mark.stack
async def test_the_snippets_publish_as_they_stand(settings: Settings, tmp_path: Path) -> None:
    topic = full_name(settings.topic_prefix, ACTIVITY)
    token = sign(settings, "service", "forms", 600, int(time.time()))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = uvicorn.Server(uvicorn.Config(build_app(settings), log_level="error"))
        serving = asyncio.create_task(server.serve([listening]))
        ran = []
        for language, text in TRIED.findall(PAGE):
            api = f"http://127.0.0.1:{listening.getsockname()[1]}"
            file = tmp_path / f"snippet{len(ran)}"
            file.write_text(text)
            program = {"python": sys.executable, "sh": "sh"}[language]
            ran.append(
                await run([program, str(file)], KAFKA=settings.kafka, TOPIC=topic, API=api, TOKEN=token)
            )
        server.should_exit = True
        await serving
    assert json.loads(ran[0]) == {"accepted": 1}
    found = await records(settings, ACTIVITY)
    assert {json.loads(record.value)["id"] for record in found} == {"4711", "4712", "4713"}
    for record in found:
        assert record.key == SUPPLIER.encode()
        assert record.partition == partition_of(record.key, settings.partitions)
        headers = [(name, value) for name, value in record.headers]
        assert isinstance(decode(record.key, record.value, headers, record.timestamp), ActivityEvent)
