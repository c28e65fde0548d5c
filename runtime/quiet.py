"""Logs that say what an error is about to say."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

_quiet: Counter[str] = Counter()
_levels: dict[str, int] = {}


@contextmanager
def without_logs(name: str) -> Iterator[None]:
    """Have a logger say nothing short of critical for a while; the last of several that overlap gives it back."""
    noisy = logging.getLogger(name)
    if not _quiet[name]:
        _levels[name] = noisy.level
    _quiet[name] += 1
    noisy.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        _quiet[name] -= 1
        if not _quiet[name]:
            noisy.setLevel(_levels.pop(name))
