"""Kafka's jars are run only if they are, byte for byte, those we know."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from embedded import jars
from embedded.errors import StackError


@pytest.fixture
def downloaded(tmp_path: Path) -> list[Path]:
    """Copies of the jars that this machine's stacks run."""
    return [Path(shutil.copy(jar, tmp_path)) for jar in jars.kafka_classpath().split(os.pathsep)]


def test_the_recorded_jars_pass(downloaded: list[Path]) -> None:
    jars.check_jars(downloaded)


def test_a_jar_with_one_byte_changed_is_named_and_nothing_runs(downloaded: list[Path]) -> None:
    victim = downloaded[7]
    content = bytearray(victim.read_bytes())
    content[len(content) // 2] ^= 1
    victim.write_bytes(content)

    with pytest.raises(StackError, match=victim.name):
        jars.check_jars(downloaded)


def test_a_jar_that_nobody_recorded_and_one_that_is_missing_are_named(downloaded: list[Path]) -> None:
    stranger = downloaded[3].rename(downloaded[3].with_name("stranger-1.0.jar"))

    with pytest.raises(StackError, match=rf"stranger-1\.0\.jar.*missing: {downloaded[3].name}"):
        jars.check_jars([*downloaded[:3], stranger, *downloaded[4:]])


def test_what_other_sums_had_passed_is_checked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A listing from before a change of the recorded sums proves nothing."""
    other = tmp_path / "other.sha256"
    other.write_text(jars.SUMS.read_text(encoding="utf-8").replace("a", "b", 1), encoding="utf-8")
    jars.kafka_classpath()
    monkeypatch.setattr(jars, "SUMS", other)

    with pytest.raises(StackError, match="not as recorded"):
        jars.kafka_classpath()
