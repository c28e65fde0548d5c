"""Kafka's folder is formatted by its own tool once on a machine, and then as the tool did it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from embedded import kafka as embedded
from embedded.kafka import FEATURES, Kafka


def formatted(folder: Path, **options: str) -> tuple[bytes, dict[str, str]]:
    """The features of a folder that was formatted, and its ids."""
    kafka = Kafka(folder, lambda _line: None, options)
    kafka.format_if_needed()
    assert kafka._is_formatted()
    lines = (kafka.log_dir / "meta.properties").read_text().splitlines()
    ids = dict(line.split("=", 1) for line in lines if not line.startswith("#"))
    return (kafka.log_dir / FEATURES).read_bytes(), ids


def test_the_second_folder_is_like_the_first_and_a_cluster_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "features_cache", lambda: tmp_path / "features")
    features, ids = formatted(tmp_path / "first")

    monkeypatch.setattr(subprocess, "run", None)  # the tool is not asked again
    again, others = formatted(tmp_path / "second")

    assert again == features
    assert others.keys() == ids.keys()
    assert {name for name in ids if ids[name] == others[name]} == {"node.id", "version"}
    assert {len(others[name]) for name in ("cluster.id", "directory.id")} == {22}


def test_a_node_has_its_own_number(tmp_path: Path) -> None:
    formatted(tmp_path / "first")  # whoever was first on this machine

    assert formatted(tmp_path / "second", **{"node.id": "3"})[1]["node.id"] == "3"
