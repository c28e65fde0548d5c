"""A library is quiet while anybody asks for it, and as it was afterwards."""

from __future__ import annotations

import logging
from contextlib import ExitStack

from runtime.quiet import without_logs


def test_the_last_of_those_that_overlap_gives_the_level_back() -> None:
    logger = logging.getLogger("tests.noisy")
    logger.setLevel(logging.INFO)
    first, second = ExitStack(), ExitStack()
    first.enter_context(without_logs(logger.name))
    second.enter_context(without_logs(logger.name))
    first.close()
    assert logger.level == logging.CRITICAL
    second.close()
    assert logger.level == logging.INFO
