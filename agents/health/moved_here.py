"""Events that another count of partitions had brought elsewhere, and that were sent to their home."""

from __future__ import annotations

from agents.engine.record import DeadLetter, Record

MOVED = "success-moved"
"""Header of an event that was sent to its home: `partition:offset` where it had lain."""
MOST_ORIGIN_BYTES = 32
"""Of that header: two numbers. Another is not ours, and Python refuses to read numbers of thousands of digits."""


def moved_from(record: Record, partition: int) -> DeadLetter:
    """The record (key, value, headers) as it goes to its home, with where it lay."""
    origin = b"%d:%d" % (partition, record.offset)
    return record.key, record.value, [*record.headers, (MOVED, origin)]


def came_before(record: Record, moved: dict[int, int]) -> bool:
    """Whether a record was moved here once more: its lane was read again, after a crash or in a rebuild.

    `moved`: partition → offset there of the last record that was moved here from it; it is kept up to date.
    """
    origins = [value for name, value in record.headers if name == MOVED and value]
    if not origins:
        return False
    partition, _, offset = origins[-1].partition(b":")
    if not (partition.isdigit() and offset.isdigit() and len(origins[-1]) <= MOST_ORIGIN_BYTES):
        return False
    if int(offset) <= moved.get(int(partition), -1):
        return True
    moved[int(partition)] = int(offset)
    return False
