"""The processes that a replay shares its partitions among."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import psutil

from replay.simulator.simulate import population
from tests.replay.logs import MONDAY, archive_of, logs_of

PARENT = """
import json, multiprocessing, sys, time
from pathlib import Path
from replay.again.engine import Job, run
from replay.again.variant import Variant
from replay.log.source import ArchiveSource

def tell_and_hang(_count):
    print(json.dumps([child.pid for child in multiprocessing.active_children()]), flush=True)
    time.sleep(600)

run(Job(ArchiveSource(Path(sys.argv[1])), (Variant("base"),), None), 2, tell_and_hang)
"""


def test_they_end_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    folder = archive_of(tmp_path / "archive", logs_of(population(12, 10, 3, MONDAY)))
    parent = subprocess.Popen([sys.executable, "-c", PARENT, str(folder)], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    children = [psutil.Process(pid) for pid in json.loads(parent.stdout.readline())]
    assert len(children) == 2

    parent.kill()
    parent.wait()
    parent.stdout.close()

    left = psutil.wait_procs(children, timeout=60)[1]
    for child in left:
        child.kill()
    assert not left
