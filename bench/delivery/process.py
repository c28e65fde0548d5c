"""One of the processes that `bench.delivery.bench` measures: says when it is up, waits for the start, delivers.

Its last line is the CPU time that delivering took, in seconds: unlike the rate, that means something on a busy machine.
"""

from __future__ import annotations

import asyncio
import sys
import time

from bench.delivery.bench import deliver
from runtime.settings import Settings

if __name__ == "__main__":
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.read()
    began = time.process_time()
    asyncio.run(deliver(Settings()))
    sys.stdout.write(f"{time.process_time() - began}\n")
