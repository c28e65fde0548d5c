"""An open-loop load generator for one endpoint: reads its order as JSON on standard input, prints what it saw.

Requests leave at their due times over connections that stay open, whether or not earlier ones were answered; one
that finds every connection busy waits, and that wait counts.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import Any

OK = b"HTTP/1.1 200"
PATIENCE_S = 10.0


class Connection:
    """One HTTP/1.1 connection, one request at a time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def get(self, request: bytes) -> bool:
        """Send a request and read its answer; whether it was 200."""
        self._writer.write(request)
        head = await self._reader.readuntil(b"\r\n\r\n")
        for line in head.lower().split(b"\r\n"):
            if line.startswith(b"content-length:"):
                await self._reader.readexactly(int(line.partition(b":")[2]))
        return head.startswith(OK)

    def close(self) -> None:
        """Close it."""
        self._writer.close()


async def load(order: dict[str, Any]) -> dict[str, Any]:
    """Ask as ordered; latencies in ms from the moment each request was due."""
    requests = [
        f"GET /api/health/score/{who} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {token}\r\n\r\n".encode()
        for who, token in order["targets"]
    ]
    free: asyncio.Queue[Connection] = asyncio.Queue()
    connections = [
        Connection(*await asyncio.open_connection("127.0.0.1", order["port"]))
        for _ in range(order["connections"])
    ]
    for each in connections:
        free.put_nowait(each)
    took: list[float] = []
    errors = 0

    async def ask(request: bytes, due: float) -> None:
        nonlocal errors
        connection = await free.get()
        try:
            async with asyncio.timeout(PATIENCE_S):
                good = await connection.get(request)
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            errors += 1
            return
        free.put_nowait(connection)
        took.append((time.perf_counter() - due) * 1000)
        errors += not good

    began = time.perf_counter()
    asking = []
    for number in range(order["rate"] * order["seconds"]):
        due = began + number / order["rate"]
        pause = due - time.perf_counter()
        if pause > 0:
            await asyncio.sleep(pause)
        asking.append(asyncio.create_task(ask(requests[number % len(requests)], due)))
    await asyncio.gather(*asking)
    for each in connections:
        each.close()
    took.sort()
    return {
        "answered": len(took),
        "errors": errors,
        **{f"p{share}": took[min(len(took) - 1, len(took) * share // 100)] for share in (50, 90, 99)},
        "max": took[-1],
    }


if __name__ == "__main__":
    json.dump(asyncio.run(load(json.load(sys.stdin))), sys.stdout)
