"""A key lives on the partition that Java's clients choose."""

from __future__ import annotations

import pytest
from aiokafka.partitioner import DefaultPartitioner
from hypothesis import given
from hypothesis import strategies as st

from topics.partitioner import partition_of

# org.apache.kafka.common.utils.UtilsTest.testMurmur2
JAVA_HASHES = {
    b"21": -973932308,
    b"foobar": -790332482,
    b"a-little-bit-long-string": -985981536,
    b"a-little-bit-longer-string": -1486304829,
    b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
    b"abc": 479470107,
}


@pytest.mark.parametrize(("key", "java_hash"), JAVA_HASHES.items())
@pytest.mark.parametrize("partitions", [1, 7, 8, 1000])
def test_partitions_are_javas(key, java_hash, partitions):
    assert partition_of(key, partitions) == (java_hash & 0x7FFFFFFF) % partitions


@given(st.binary(max_size=64), st.integers(1, 64))
def test_aiokafka_chooses_the_same_by_default(key, partitions):
    everywhere = list(range(partitions))
    assert partition_of(key, partitions) == DefaultPartitioner()(key, everywhere, everywhere)
