"""One of the processes that `bench.delivery` measures: says when it is up, waits for the start, delivers."""

from __future__ import annotations

import asyncio
import sys

from bench.delivery import deliver
from runtime.settings import Settings

if __name__ == "__main__":
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.read()
    asyncio.run(deliver(Settings()))
