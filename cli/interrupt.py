"""How a command that has started a stack ends when it is told to."""

from __future__ import annotations

import signal
from types import FrameType


def end_as_by_ctrl_c() -> None:
    """Have SIGTERM (`timeout`, a service manager) and SIGHUP (a closed terminal) do what Ctrl-C does.

    Otherwise they would end this process at once, and leave its Kafka, Postgres and services behind. What is ignored
    (`nohup`) stays so.
    """
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _interrupt)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    # A script's `success run FILE &` is deaf to Ctrl-C.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        raise KeyboardInterrupt
    signal.raise_signal(signal.SIGINT)
