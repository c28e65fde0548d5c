"""What the topic of versions says: the first switch of a partition counts, and no older version replaces a newer."""

from __future__ import annotations

from dataclasses import dataclass

from agents.cluster.rules_log import RulesLog, Switch
from runtime.configuration import load
from runtime.versions import version_of, with_partitions


@dataclass
class Written:
    """A record of the topic."""

    offset: int
    value: bytes | None


def log_of(*values: bytes | None) -> RulesLog:
    log = RulesLog()
    log.take([Written(number, value) for number, value in enumerate(values)])  # type: ignore[list-item]
    return log


def version(number: int, partitions: tuple[int, ...] | None = None) -> bytes:
    return with_partitions(version_of(load(), number, "2026-01-05T09:00:00.000Z"), partitions).record()


def switch(number: int, offset: int, partition: int = 0, **more: object) -> Switch:
    return Switch(number, partition, offset, 1_767_603_600_000, **more)  # type: ignore[arg-type]


def test_a_switch_says_where_and_through_when() -> None:
    assert (
        switch(1, 40)
        .record()
        .startswith(b'{"version":1,"partition":0,"offset":40,"through":"2026-01-05T09:00:00.000Z"')
    )
    assert log_of(version(1), switch(1, 40).record()).switches(0) == [switch(1, 40)]


def test_the_first_switch_of_a_partition_to_a_version_counts() -> None:
    log = log_of(
        version(1), switch(1, 40).record(), switch(1, 50).record(), switch(1, 60, partition=1).record()
    )
    assert [one.offset for one in log.switches(0)] == [40]
    assert [one.offset for one in log.switches(1)] == [60]


def test_an_older_version_never_replaces_a_newer() -> None:
    log = log_of(version(1), version(2), switch(2, 40).record(), switch(1, 50).record())
    assert [one.version for one in log.switches(0)] == [2]


def test_what_a_worker_wrote_that_had_lost_the_partition_gives_way_to_its_successors() -> None:
    late = switch(1, 40, by="old", read=1)
    own = switch(1, 70, by="new", read=1)  # it had read the version, and no switch, when it took over
    log = log_of(version(1), late.record(), own.record())
    assert [one.by for one in log.switches(0)] == ["new"]
    knew = switch(1, 70, by="new", read=2)  # it had read the switch as well
    assert [one.by for one in log_of(version(1), late.record(), knew.record()).switches(0)] == ["old"]


def test_a_version_may_be_in_force_on_some_partitions_first_and_then_on_all() -> None:
    log = log_of(version(1), version(2, (1,)))
    assert [log.wanted(partition).number for partition in (0, 1)] == [1, 2]  # type: ignore[union-attr]
    log = log_of(version(1), version(2, (1,)), version(2))
    assert log.wanted(0).number == 2  # type: ignore[union-attr]


def test_what_is_not_understood_counts_for_nothing() -> None:
    log = log_of(b"{", None, b'{"version": "x"}', switch(1, 40).record(), version(1))
    assert (sorted(log.versions), log.switches(0), log.position) == ([1], [], 5)
