"""Which partition a key lives on: Java's default, so that every Kafka client can agree with us."""

from __future__ import annotations

from functools import lru_cache

from aiokafka.partitioner import murmur2


@lru_cache(maxsize=65_536)
def partition_of(key: bytes, partitions: int) -> int:
    """Partition number in [0, partitions) of a record's key.

    murmur2 as Java's `DefaultPartitioner` and librdkafka's `murmur2_random` work it out. Cached, because the
    hash costs 8 µs in Python and the same suppliers come again and again.
    """
    return int(murmur2(key) & 0x7FFFFFFF) % partitions
