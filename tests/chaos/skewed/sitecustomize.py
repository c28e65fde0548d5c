"""A wall clock that a test moves, for processes that are started with this folder in PYTHONPATH.

Python imports this before anything else. `CHAOS_CLOCK` names a file of eight bytes: by how many seconds the clock is
wrong (a double of this machine). It is read at each look, so that a running process's clock jumps.
"""

import mmap
import os
import struct
import time
from pathlib import Path

_file = os.environ.get("CHAOS_CLOCK")
if _file:
    with Path(_file).open("rb") as _opened:
        _wrong_by = mmap.mmap(_opened.fileno(), 8, access=mmap.ACCESS_READ)
    _time, _time_ns = time.time, time.time_ns

    def _shifted() -> float:
        return _time() + float(struct.unpack_from("d", _wrong_by)[0])

    def _shifted_ns() -> int:
        return _time_ns() + int(struct.unpack_from("d", _wrong_by)[0] * 1e9)

    time.time, time.time_ns = _shifted, _shifted_ns
