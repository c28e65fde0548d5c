"""With `make test-compiled` the compiled modules are what is tested; else the sources are."""

from __future__ import annotations

import sys
from pathlib import Path

import agents.fold
import scoring.machine
import topics.decoding


def test_all_of_the_hot_path_is_of_one_kind() -> None:
    places = [Path(module.__file__ or "") for module in (agents.fold, scoring.machine, topics.decoding)]
    compiled = any(Path(place).match("build/compiled") for place in sys.path)
    assert {place.suffix for place in places} == ({".so"} if compiled else {".py"})
