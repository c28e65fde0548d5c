"""The file of a snapshot: what is written is read, and whatever is wrong with it is found."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from random import Random

import msgspec
import pytest

from agents import snapshot_file
from agents.snapshot_file import BLOCK_RECORDS, Snapshot, SnapshotHeader, SnapshotRefusedError, write

ROOT = Path(__file__).parents[2]
RNG = Random(5)  # noqa: S311 - a test
RECORDS = {b"supplier-%d" % number: RNG.randbytes(number % 40) for number in range(2 * BLOCK_RECORDS + 7)}
HEADER = SnapshotHeader(
    cluster="c",
    topic="t",
    partition=3,
    partitions=8,
    offset=41,
    append_ms=1_780_000_000_000,
    records=len(RECORDS),
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A snapshot of `RECORDS`."""
    path = tmp_path / "folder" / "3.snapshot"
    save(path)
    return path


def save(path: Path, header: SnapshotHeader = HEADER) -> None:
    write(path, header, list(RECORDS), list(RECORDS.values()))


def read_header(path: Path) -> SnapshotHeader:
    with Snapshot(path) as snapshot:
        return snapshot.header


def read(path: Path) -> dict[bytes, bytes]:
    with Snapshot(path) as snapshot:
        return snapshot.read()


def test_what_is_written_is_read(path: Path) -> None:
    assert read_header(path) == HEADER
    assert read(path) == RECORDS


def test_a_partition_without_suppliers_is_written_too(tmp_path: Path) -> None:
    empty = msgspec.structs.replace(HEADER, records=0)
    write(tmp_path / "3.snapshot", empty, [], [])
    assert read(tmp_path / "3.snapshot") == {}


def test_a_file_cut_off_anywhere_is_refused(path: Path) -> None:
    whole = path.read_bytes()
    for length in sorted({0, 10, 25, 60, *(RNG.randrange(len(whole)) for _ in range(60)), len(whole) - 1}):
        path.write_bytes(whole[:length])
        with pytest.raises(SnapshotRefusedError):
            read(path)


def test_a_file_with_one_wrong_bit_anywhere_is_refused(path: Path) -> None:
    whole = path.read_bytes()
    for place in [*range(40), *(RNG.randrange(len(whole)) for _ in range(100))]:
        damaged = bytearray(whole)
        damaged[place] ^= 1 << RNG.randrange(8)
        path.write_bytes(damaged)
        with pytest.raises(SnapshotRefusedError):
            read(path)


@pytest.mark.parametrize(
    ("changes", "said"), [({"format": 2}, "has format 2"), ({"schema": 7}, "schema version 7")]
)
def test_another_format_or_schema_is_refused(tmp_path: Path, changes: dict[str, int], said: str) -> None:
    path = tmp_path / "3.snapshot"
    save(path, msgspec.structs.replace(HEADER, **changes))
    with pytest.raises(SnapshotRefusedError, match=said):
        read_header(path)


def test_a_failed_write_leaves_the_old_one_and_nothing_else(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def disk_full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(snapshot_file.os, "fsync", disk_full)
    with pytest.raises(OSError, match="No space"):
        save(path, msgspec.structs.replace(HEADER, offset=99))
    assert read(path) == RECORDS
    assert list(path.parent.iterdir()) == [path]


WRITE_ON = """
import sys
from pathlib import Path
from agents.snapshot_file import write
from tests.agents.test_snapshot_file import HEADER
import msgspec
for number in range(1, 10_000):
    values = [b"%d" % number * 50] * 5_000
    header = msgspec.structs.replace(HEADER, offset=number, records=len(values))
    write(Path(sys.argv[1]), header, [b"%d" % key for key in range(len(values))], values)
    print(number, flush=True)
"""


@pytest.mark.parametrize("seed", range(4))
def test_a_process_killed_while_it_writes_leaves_a_whole_snapshot(tmp_path: Path, seed: int) -> None:
    path = tmp_path / "3.snapshot"
    command = [sys.executable, "-c", WRITE_ON, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout is not None
        for _ in range(3):
            written = int(process.stdout.readline())
        time.sleep(Random(seed).uniform(0, 0.05))  # noqa: S311 - a test
        process.kill()
    with Snapshot(path) as snapshot:
        number = snapshot.header.offset
        assert number >= written
        assert set(snapshot.read().values()) == {b"%d" % number * 50}


def test_whoever_has_opened_one_reads_it_although_another_takes_its_place(path: Path) -> None:
    with Snapshot(path) as opened:
        write(path, msgspec.structs.replace(HEADER, offset=99, records=0), [], [])
        assert opened.header == HEADER
        assert opened.read() == RECORDS
    assert read_header(path).offset == 99


def test_only_the_owner_may_read_it(path: Path) -> None:
    assert path.stat().st_mode & 0o077 == 0
