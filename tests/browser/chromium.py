"""Which browser the tests drive: a missing one is a failure that says what to do, never a skip.

`python -m tests.browser.chromium` (`make browser`) installs one where there is none.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
INSTALL = (
    ("apt-get", "update", "-qq"),
    ("apt-get", "install", "-y", "-qq", "--no-install-recommends", "chromium"),
)


class NoBrowserError(Exception):
    """No browser was found; the message says how to get one."""


def find_chromium(own: str) -> str:
    """The path of the browser: `CHROMIUM`, else the system's, else `own`, where Playwright puts its download."""
    named = os.environ.get("CHROMIUM")
    if named:
        if not Path(named).is_file():
            raise NoBrowserError(f"CHROMIUM={named}: there is no such file")
        return named
    found = next((path for path in map(shutil.which, NAMES) if path), None)
    path = found or (own if Path(own).is_file() else None)
    if path is None:
        raise NoBrowserError(
            "there is no Chromium for the browser tests: run `make browser` as root, or "
            "`.venv/bin/playwright install chromium`, or set CHROMIUM to the path of one"
        )
    return path


def installed() -> str:
    """The path of the browser, installed from the distribution's packages if need be and if we may."""
    with sync_playwright() as playwright:
        own = playwright.chromium.executable_path
    try:
        return find_chromium(own)
    except NoBrowserError:
        if os.environ.get("CHROMIUM") or os.geteuid() != 0 or not shutil.which("apt-get"):
            raise
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    for command in INSTALL:
        subprocess.run(command, check=True, env=environment)
    return find_chromium(own)


if __name__ == "__main__":
    try:
        sys.stdout.write(f"browser tests drive {installed()}\n")
    except (NoBrowserError, subprocess.CalledProcessError) as error:
        sys.exit(f"error: {error}")
