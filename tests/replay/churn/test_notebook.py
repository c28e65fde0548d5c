"""The analysts' notebook runs, from the archive to the impact, as a reader would run it."""

from __future__ import annotations

import os
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).parents[3]
NOTEBOOK = ROOT / "notebooks" / "analysts.ipynb"


def test_the_notebook_runs_from_end_to_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("MPLBACKEND", "module://matplotlib_inline.backend_inline")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setenv("MPLCONFIGDIR", os.fspath(tmp_path / "matplotlib"))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    NotebookClient(notebook, timeout=250, resources={"metadata": {"path": str(ROOT)}}).execute()

    printed = [
        output.get("text", "") + output.get("data", {}).get("text/plain", "")
        for cell in notebook.cells
        if cell.cell_type == "code"
        for output in cell.outputs
    ]
    text = "\n".join(printed)
    assert "days since the last login" in text
    assert "horizon:" in text
    assert "truth:" in text
    assert "seen with half held out:" in text


def test_what_is_stored_names_no_machine() -> None:
    text = NOTEBOOK.read_text("utf-8")
    assert "/tmp/" not in text  # noqa: S108 - looked for, not used
    assert "/home/" not in text
    assert "/work/" not in text
