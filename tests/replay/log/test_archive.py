"""The archive: lossless, whole files only, readable by others."""

from __future__ import annotations

import duckdb
import pandas as pd
import pytest

from replay.log import archive
from replay.log.archive import ArchivedRecord
from replay.log.kafka_log import LogError
from scoring.time import DAY, HOUR
from tests.replay.logs import MONDAY
from topics.catalog import ACTIVITY

AWKWARD = [
    ArchivedRecord(b"key", b"value", (), 0, MONDAY, 1),
    ArchivedRecord(
        None, b"\x00\xff not text", (("content-type", b"a/b"), ("content-type", b"again")), 1, MONDAY, 1
    ),
    ArchivedRecord(b"", None, (("empty", b""), ("null", None)), 2, MONDAY + 1, 1),
    ArchivedRecord(b"\xfe", b"", (), 5, MONDAY + DAY, 1),
]
"""As strange as Kafka takes them, with a hole in the offsets and a midnight in between."""


@pytest.fixture
def folder(tmp_path):
    archive.write(tmp_path, ACTIVITY, 1, 3, AWKWARD, 0, 6)
    return tmp_path


def all_of(folder, partition=1):
    return [record for batch in archive.read(folder, ACTIVITY, partition) for record in batch]


def test_every_record_comes_back_as_it_came(folder):
    assert all_of(folder) == AWKWARD


def test_each_day_has_a_folder_and_each_file_says_its_offsets(folder):
    files = sorted(str(path.relative_to(folder)) for path in folder.glob("topic=*/day=*/*.parquet"))
    assert files == [
        "topic=supplier.activity/day=2026-01-05/00001-000000000000000-000000000000005.parquet",
        "topic=supplier.activity/day=2026-01-06/00001-000000000000005-000000000000006.parquet",
    ]
    assert archive.positions(folder, ACTIVITY) == {1: 6}
    assert archive.partition_count(folder, ACTIVITY) == 3


def test_duckdb_reads_it_with_topic_and_day_as_columns(folder):
    files = duckdb.read_parquet(str(folder / "topic=*/*/*.parquet"), hive_partitioning=True)
    found = files.project('topic, day::text, "offset", key, value, len(headers)').order('"offset"').fetchall()
    assert found == [
        ("supplier.activity", "2026-01-05", 0, b"key", b"value", 0),
        ("supplier.activity", "2026-01-05", 1, None, b"\x00\xff not text", 2),
        ("supplier.activity", "2026-01-05", 2, b"", None, 2),
        ("supplier.activity", "2026-01-06", 5, b"\xfe", b"", 0),
    ]


def test_pandas_reads_it(folder):
    frame = pd.read_parquet(folder / "topic=supplier.activity").sort_values("offset")
    assert list(frame["offset"]) == [0, 1, 2, 5]
    assert list(frame["value"]) == [b"value", b"\x00\xff not text", None, b""]
    assert frame["timestamp"].iloc[0] == pd.Timestamp("2026-01-05T09:00:00Z")


def test_a_file_that_was_not_finished_is_no_part_of_it_and_is_cleared_away(folder):
    left = (
        folder
        / "topic=supplier.activity/day=2026-01-06/00001-000000000000006-000000000000009.parquet.unfinished"
    )
    left.write_bytes(b"PAR1 half")
    assert archive.positions(folder, ACTIVITY) == {1: 6}
    with archive.locked(folder):
        assert not left.exists()
    assert all_of(folder) == AWKWARD


def test_only_one_export_at_a_time(folder):
    with archive.locked(folder), pytest.raises(LogError, match="another export"), archive.locked(folder):
        pass


def test_offsets_that_are_missing_between_files_are_named(folder):
    later = [ArchivedRecord(b"key", b"value", (), 9, MONDAY + DAY + HOUR, 1)]
    archive.write(folder, ACTIVITY, 1, 3, later, 9, 10)
    with pytest.raises(LogError, match="lacks the offsets 6 to 9"):
        all_of(folder)


def test_a_strange_file_is_named(folder):
    (folder / "topic=supplier.activity/day=2026-01-06/notes.parquet").write_bytes(b"")
    with pytest.raises(LogError, match=r"notes\.parquet is no file of an archive"):
        archive.positions(folder, ACTIVITY)
