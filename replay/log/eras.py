"""Which part of a log was written under which number of partitions, where it has grown.

A partition's suppliers of today may have lived on any of the partitions there were before: what is theirs lies there up
to where that count ended, and on their own partition from there on.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from replay.log.kafka_log import Bounds, LogError
from topics.catalog import ACTIVITY
from topics.partitioner import Homes


class Era(NamedTuple):
    """Offsets [start, end) of a partition, which `homes` judges."""

    partition: int
    homes: Homes
    start: int
    end: int


def earlier_eras(homes: Homes, bounds: Mapping[int, Bounds]) -> list[Era]:
    """What was written under the counts before the present one, in the order in which it has to be read.

    LogError where that is no longer there.
    """
    eras = []
    counts = [count for count, _ in homes.grown] + [homes.partitions]
    begun: dict[int, int] = {}
    for number, (count, ends) in enumerate(homes.grown):
        known = frozenset(counts[: number + 2]) - {count}
        for partition in range(count):
            start, end = begun.get(partition, 0), min(ends.get(partition, 0), bounds[partition].end)
            if start < min(end, bounds[partition].begin):
                raise LogError(
                    f"partition {partition} of {ACTIVITY} begins at offset {bounds[partition].begin:,}, after the "
                    "topics have grown: replay an archive that holds everything, for those who moved"
                )
            if start < end:
                eras.append(Era(partition, Homes(count, (), known), start, end))
            begun[partition] = max(start, end)
    return eras


def present_era(homes: Homes, partition: int, held: Bounds) -> Era:
    """What was written under the present count."""
    start = max((ends.get(partition, 0) for _, ends in homes.grown), default=0)
    return Era(partition, homes, start, held.end)
