"""The two forms of tests: the short one for each change (`make test`), the long one for releases (`make test-long`)."""

from __future__ import annotations

import os

LONG = bool(os.environ.get("SUCCESS_LONG_TESTS"))
SHORTER, LONGER, LEAST = 4, 5, 25
FEWEST_SEEDS = 2


def examples(usual: int) -> int:
    """How many examples a property is tried on: a part of the usual number in the short form, many times it else."""
    return usual * LONGER if LONG else min(usual, max(LEAST, usual // SHORTER))


def seeds(usual: int) -> range:
    """The seeds of a test that draws its own cases: a part of the usual ones in the short form, all of them else."""
    return range(usual) if LONG else range(min(usual, max(FEWEST_SEEDS, usual // SHORTER)))
