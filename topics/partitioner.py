"""Which partition a key lives on: Java's default, so that every Kafka client can agree with us."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from aiokafka.partitioner import murmur2

HOW_TO_AGREE = (
    "partition by murmur2 of the key as Java does: librdkafka partitioner=murmur2_random; sarama "
    "NewCustomPartitioner(WithAbsFirst(), WithCustomHashFunction(a murmur2)); franz-go StickyKeyPartitioner(nil); "
    "kafkajs Partitioners.DefaultPartitioner (1.x: JavaCompatiblePartitioner); kafka-python, aiokafka and Java: "
    "leave the partitioner as it is by default"
)
"""What a producer has to set so that its records lie where ours do."""


@lru_cache(maxsize=65_536)
def partition_of(key: bytes, partitions: int) -> int:
    """Partition number in [0, partitions) of a record's key.

    murmur2 as Java's `DefaultPartitioner` and librdkafka's `murmur2_random` work it out. Cached, because the
    hash costs 8 µs in Python and the same suppliers come again and again.
    """
    return int(murmur2(key) & 0x7FFFFFFF) % partitions


@dataclass(frozen=True, slots=True)
class Homes:
    """Which partition each key is at home on: by the count in force where a record lies.

    `grown`: the counts before the present one, oldest first, each with the offset at which it ended on each of its
    partitions. `other`: counts by which somebody may have placed records meanwhile, before or after their time.
    """

    partitions: int
    grown: tuple[tuple[int, Mapping[int, int]], ...] = ()
    other: frozenset[int] = frozenset()

    def of(self, key: bytes) -> int:
        """The partition that new records with this key belong on."""
        return partition_of(key, max(self.partitions, *self.other) if self.other else self.partitions)

    def was_moved(self, key: bytes, partition: int, offset: int) -> bool:
        """Whether a record that was at home where it lies has a new home since, where what it said went as well."""
        return self.of(key) != partition and any(offset < ends.get(partition, 0) for _, ends in self.grown)

    def is_astray(self, key: bytes, partition: int) -> bool:
        """Whether a record at home elsewhere was placed by another count: it is to be moved, not refused."""
        return any(partition_of(key, count) == partition for count in self.other)

    def wrong_partition(self, key: bytes, partition: int) -> str:
        """The reason why a record on this partition is refused; `key` is a supplier's id."""
        return (
            f"wrong_partition: {key.decode()} belongs on partition {self.of(key)} of {self.partitions}, not on "
            f"{partition}; {HOW_TO_AGREE}"
        )
