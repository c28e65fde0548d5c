"""How a command of ours starts another one."""

from __future__ import annotations

import sys


def success(*arguments: str) -> list[str]:
    """The command line of `success` with these arguments, by this very Python and installation.

    `-P`: no module is looked for in the folder that we happen to be in.
    """
    return [sys.executable, "-P", "-m", "cli", *arguments]
