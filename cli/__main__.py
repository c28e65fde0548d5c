"""Where the program `success` begins: it runs our own code only.

Our packages have plain names (`agents`, `store`, …), which another distribution or a folder may bear too. We look at
that before anything of ours is imported; and no process that we start looks for modules in its working directory.
"""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import NoReturn

PACKAGES = (
    "topics",
    "scoring",
    "agents",
    "store",
    "runtime",
    "embedded",
    "api",
    "cli",
    "replay",
    "templates",
)
MARK = '__distribution__ = "wedsync-success"'
"""A line of each package's `__init__.py`."""
WRONG = 2


def stranger() -> str | None:
    """The first of our packages' names that somebody else's package has, with its place, as a sentence; else None."""
    for name in PACKAGES:
        spec = find_spec(name)
        place = Path(spec.origin) if spec and spec.origin else None
        if place is None or MARK not in place.read_text(encoding="utf-8", errors="replace"):
            where = f"{place.parent} is not ours{_whose(name)}" if place else "ours is not to be found"
            return (
                f"the package `{name}` of wedsync-success is hidden by another: {where}; install wedsync-success in "
                "an environment of its own (uv tool install, pipx), and leave PYTHONPATH unset"
            )
    return None


def _whose(name: str) -> str:
    from importlib.metadata import packages_distributions  # noqa: PLC0415 - slow, and for an error only

    others = [each for each in packages_distributions().get(name, []) if each != "wedsync-success"]
    return f" (it came with {', '.join(sorted(set(others)))})" if others else ""


def main() -> NoReturn:
    """Run `success`, unless one of our packages is somebody else's: exit code 2 then."""
    os.environ.setdefault("PYTHONSAFEPATH", "1")  # for all that we start, and what they start
    complaint = stranger()
    if complaint is not None:
        sys.stderr.write(f"error: {complaint}\n")
        sys.exit(WRONG)
    from cli.main import main as run  # noqa: PLC0415 - not before we know that it is ours

    run()


if __name__ == "__main__":
    main()
