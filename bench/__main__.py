"""`make bench`: the worker's speed with the cost of each layer. The other benchmarks are modules of their own."""

from __future__ import annotations

from bench.worker import main

main()
