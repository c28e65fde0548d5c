"""What a server's log says of a start that failed, for people."""

from __future__ import annotations

from pathlib import Path

from embedded.process import last_words
from embedded.registry import StackRecord, read_record


def test_postgres_own_hint_is_passed_on(tmp_path: Path) -> None:
    log = tmp_path / "postgres.log"
    log.write_text(
        '2026-01-01 UTC [1] FATAL:  lock file "postmaster.pid" already exists\n'
        "2026-01-01 UTC [1] HINT:  Is another postmaster (PID 7) running?\n"
        "2026-01-01 UTC [1] LOG:  database system is shut down\n"
    )
    assert last_words(log) == (
        '2026-01-01 UTC [1] FATAL:  lock file "postmaster.pid" already exists '
        "(Is another postmaster (PID 7) running?)"
    )


def test_ports_of_a_start_that_failed_are_remembered(tmp_path: Path) -> None:
    StackRecord(ports={"kafka": 4711}).save(tmp_path)
    found = read_record(tmp_path)
    assert found is not None
    assert (found.ports, found.addresses(tmp_path)) == ({"kafka": 4711}, None)
