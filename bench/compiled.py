"""The product with a compiled hot path, as `make compiled` leaves its wheel unpacked."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "build" / "compiled"


class StaleBuildError(Exception):
    """What was compiled is not what is measured beside it."""


def compiled_product(folder: Path = FOLDER) -> Path | None:
    """Where the compiled product is, to be put before everything on Python's path; None if it was not made.

    Raises `StaleBuildError` when it was made of other sources than those here.
    """
    if not list(folder.glob("scoring/*.so")):
        return None
    for copied in folder.rglob("*.py"):
        source = ROOT / copied.relative_to(folder)
        if not source.exists() or source.read_bytes() != copied.read_bytes():
            raise StaleBuildError(f"{copied} is not what is in {source} now: `make compiled` makes it anew")
    return folder
