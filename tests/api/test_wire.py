"""What a connection costs before its request has come: slow, endless and too many ones are ended."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvicorn
from starlette.requests import Request
from starlette.responses import PlainTextResponse

from api.bodies import LimitBodies
from api.wire import bounded

PATIENCE_S = 10


async def app(scope: Any, receive: Any, send: Any) -> None:
    body = await Request(scope, receive).body()
    await PlainTextResponse(f"{len(body)} bytes")(scope, receive, send)


@asynccontextmanager
async def serving(**bounds: Any) -> AsyncIterator[int]:
    """A server with these bounds; its port."""
    config = uvicorn.Config(
        LimitBodies(app, 1_000_000),
        port=0,
        http=bounded(**bounds),
        ws="none",
        lifespan="off",
        log_level="critical",
    )
    server = uvicorn.Server(config)
    server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
    running = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
        await asyncio.sleep(0.01)
    yield server.servers[0].sockets[0].getsockname()[1]
    server.should_exit = True
    await running


async def said(reader: asyncio.StreamReader) -> bytes:
    """All that the server says until it closes the line."""
    async with asyncio.timeout(PATIENCE_S):
        return await reader.read()


@pytest.mark.parametrize("sent", [b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: a\r\nX: "])
async def test_a_head_that_does_not_come_in_time_ends_the_connection(sent: bytes) -> None:
    async with serving(head_s=0.1) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(sent)
        assert (await said(reader)).startswith(b"HTTP/1.1 408 ")
        writer.close()


async def test_a_slow_second_request_is_no_way_round_it() -> None:
    async with serving(head_s=0.2) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\n")
        answered = await said(reader)
        assert answered.startswith(b"HTTP/1.1 200 ")
        assert b"HTTP/1.1 408 " in answered
        writer.close()


async def test_an_answer_that_takes_its_time_is_not_hurried() -> None:
    async with serving(head_s=0.1) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 2\r\n\r\na")
        await asyncio.sleep(0.3)
        writer.write(b"b")
        assert (await said(reader)).endswith(b"2 bytes")
        writer.close()


@pytest.mark.parametrize("part", [b"X: " + b"x" * 200_000, b"X: y\r\n" * 40_000], ids=["one", "many"])
async def test_a_head_without_end_is_refused(part: bytes) -> None:
    async with serving() as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n" + part)
        try:
            answer = await said(reader)
        except ConnectionResetError:
            answer = b""  # what was still on its way was not waited for, and the answer went with it
        assert answer == b"" or answer.startswith((b"HTTP/1.1 431 ", b"HTTP/1.1 400 "))
        writer.close()


async def test_one_address_opens_only_so_many_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.wire._is_trusted", lambda *_: False)
    async with serving(most_connections=3) as port:
        lines = [await asyncio.open_connection("127.0.0.1", port) for _ in range(3)]
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        assert (await said(reader)).startswith(b"HTTP/1.1 503 ")
        writer.close()
        for _, each in lines:  # those that are there stay, and make room when they go
            each.write(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        for each, closing in lines:
            assert (await said(each)).endswith(b"0 bytes")
            closing.close()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        assert (await said(reader)).startswith(b"HTTP/1.1 200 ")
        writer.close()
