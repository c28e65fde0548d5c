"""A replay goes over to other rules where live scoring did: the same signals, id for id and byte for byte."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import orjson
import pytest

from agents.cluster.rules_log import RulesLog, Switch
from agents.health.fold import GRACE_MS, PartitionFold
from agents.health.telling import tell
from replay.again import tables
from replay.again.engine import Job, run
from replay.again.explain import explain
from replay.again.variant import Variant, base
from replay.log import archive
from replay.log.source import ArchiveSource
from replay.simulator.simulate import population
from runtime.configuration import load
from runtime.versions import version_of
from scoring.health import rules_file
from scoring.health.rules import SHIPPED
from scoring.time import DAY, HOUR
from tests.forms import seeds
from tests.replay.logs import MONDAY, PARTITIONS, archive_of, logs_of
from topics.catalog import ACTIVITY

END = MONDAY + 60 * DAY
STRICT = (
    rules_file.DEFAULT.read_text("utf-8")
    .replace("at_risk = 40 ", "at_risk = 50 ")
    .replace("healthy = 70 ", "healthy = 80 ")
    .replace('after = "7d"', 'after = "5d"')
    + '[[milestone]]\nname = "first_send"\nnumber = 9\nevent = "form.sent"\n'
    + '[[condition]]\nname = "quiet"\nnumber = 9\nsince = "last_client_activity"\nafter = "3d"\n'
)


class Written(NamedTuple):
    """A record of the topic of versions."""

    offset: int
    value: bytes


def rules_of(logs: Any, folder: Path, seed: int) -> RulesLog:
    """Two versions, and each partition's switch to them at a place of its own; one never goes over to the second."""
    folder.mkdir()
    (folder / "rules.toml").write_text(STRICT, "utf-8")
    rng = Random(seed)  # noqa: S311 - a test, not a secret
    values = [version_of(load(), 0, "").record(), version_of(load(folder), 1, "").record()]
    values.append(version_of(load(), 2, "").record())
    for number in (1, 2):
        for partition, records in enumerate(logs[ACTIVITY]):
            if number == 2 and partition == 0:
                continue
            place = len(records) * number // 3 + rng.randrange(len(records) // 4)
            through = max(record.timestamp for record in records[:place]) - GRACE_MS + rng.randrange(HOUR)
            values.append(
                Switch(number, partition, place, through, SHIPPED.digest if number == 1 else "").record()
            )
    log = RulesLog()
    log.take([Written(number, value) for number, value in enumerate(values)])
    return log


def folded(logs: Any, log: RulesLog, until: int) -> tuple[dict[str, bytes], dict[str, Any]]:
    signals, changes = {}, {}
    for partition, records in enumerate(logs[ACTIVITY]):
        fold = PartitionFold(partition, PARTITIONS, is_told=True)
        fold.recover({})
        tell(fold, log, [SHIPPED])
        for start in range(0, len(records), 50):
            fold.process(records[start : start + 50])
        for _ in fold.bringing_up():
            pass
        fold.fire_due(until)
        flush = fold.take_flush()
        signals |= {orjson.loads(value)["id"]: value for _, _, value in flush.signals}
        for _, value in flush.health:
            changes |= {change["id"]: change for change in orjson.loads(value)["data"]["changes"]}
    return signals, changes


@pytest.mark.parametrize("seed", seeds(4))
def test_an_archive_across_versions_gives_what_the_live_fold_gave(tmp_path: Path, seed: int) -> None:
    logs = logs_of(population(14, 40, seed, MONDAY))
    log = rules_of(logs, tmp_path / "strict", seed)
    signals, changes = folded(logs, log, END)
    folder = archive_of(tmp_path / "archive", logs)
    archive.note_rules(folder, log)
    variants = (Variant("base", follows=True),)
    run(Job(ArchiveSource(folder), variants, tmp_path / "out", until=END), 1)
    found = tables.connect(tmp_path / "out")
    of_a_switch = [value for value in signals.values() if b'"rules:' in value]
    assert len(of_a_switch) > 5
    assert {orjson.loads(value)["data"]["config_version"] for value in signals.values()} == {0, 1, 2}
    assert dict(found.execute("SELECT id, value FROM base.signals").fetchall()) == signals
    rows = found.execute("SELECT id, seq, score, level FROM base.changes").fetchall()
    assert {row[0]: row[1:4] for row in rows} == {
        key: (change["seq"], change["score"], change["level"]) for key, change in changes.items()
    }


def test_messages_are_simulated_by_what_was_in_force_and_none_for_the_switch(tmp_path: Path) -> None:
    logs = logs_of(population(14, 40, 9, MONDAY))
    log = rules_of(logs, tmp_path / "strict", 9)
    folder = archive_of(tmp_path / "archive", logs)
    archive.note_rules(folder, log)
    run(Job(ArchiveSource(folder), (base(),), tmp_path / "out", until=END), 1)
    found = tables.connect(tmp_path / "out")
    changed = found.execute(
        "SELECT DISTINCT m.status FROM base.messages m JOIN base.signals s ON s.id = m.signal_id "
        "WHERE m.reason = 'rules_changed'"
    ).fetchall()
    assert changed == [("suppressed",)]


def test_an_explanation_across_versions_ends_where_the_replay_does_and_names_the_switch(
    tmp_path: Path,
) -> None:
    logs = logs_of(population(10, 40, 3, MONDAY))
    log = rules_of(logs, tmp_path / "strict", 3)
    folder = archive_of(tmp_path / "archive", logs)
    archive.note_rules(folder, log)
    run(Job(ArchiveSource(folder), (Variant("base", follows=True),), tmp_path / "out", until=END), 1)
    found = tables.connect(tmp_path / "out")
    rows = found.execute("SELECT supplier_id, sum, score, level FROM base.suppliers").fetchall()
    assert rows
    for supplier_id, total, score, level in rows:
        told = explain(ArchiveSource(folder), supplier_id, END, follows=True)
        assert told.state is not None
        assert (told.state["sum"], told.state["score"], told.state["level"]) == (total, score, level)


def test_a_draft_counts_from_the_beginning_whatever_was_in_force(tmp_path: Path) -> None:
    logs = logs_of(population(8, 30, 4, MONDAY))
    log = rules_of(logs, tmp_path / "strict", 4)
    with_rules, without = archive_of(tmp_path / "a", logs), archive_of(tmp_path / "b", logs)
    archive.note_rules(with_rules, log)
    found = []
    for name, folder in (("one", with_rules), ("two", without)):
        run(Job(ArchiveSource(folder), (Variant("base"),), tmp_path / name, until=END), 1)
        query = "SELECT id, value FROM base.signals ORDER BY id"
        found.append(tables.connect(tmp_path / name).execute(query).fetchall())
    assert found[0] == found[1]


def test_an_explanation_that_ends_before_any_switch_knows_of_none(tmp_path: Path) -> None:
    logs = logs_of(population(10, 40, 3, MONDAY))
    log = rules_of(logs, tmp_path / "strict", 3)
    folder = archive_of(tmp_path / "archive", logs)
    archive.note_rules(folder, log)
    until = MONDAY + 5 * DAY
    suppliers = {record.key.decode() for records in logs[ACTIVITY] for record in records if record.key}
    for supplier_id in suppliers:
        told, plain = (
            explain(ArchiveSource(folder), supplier_id, until, follows=each) for each in (True, False)
        )
        assert told.state == plain.state
