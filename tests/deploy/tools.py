"""Programs of others that the tests ask: a missing one is a failure that says what to do, never a skip.

`python -m tests.deploy.tools` (`make tools`) fetches those that no package of Python has; hadolint and kubectl are in
the environment.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

FOLDER = Path(__file__).parents[2] / ".success" / "tools"
DEBIAN = {
    "prometheus": "prometheus",
    "promtool": "prometheus",
    "systemd-analyze": "systemd",
    "initdb": "postgresql",
    "postgres": "postgresql",
}
"""Which package of Debian has a program; it is unpacked into a folder of ours, and nothing is installed or started."""


class NoToolError(Exception):
    """A program is missing; the message says how to get it."""


def tool(name: str) -> str:
    """The path of a program: that of the environment, else the system's, else the one that `make tools` fetched."""
    places = [Path(sys.executable).parent, os.environ.get("PATH", ""), FOLDER / "usr" / "bin"]
    for root in (Path("/"), FOLDER):
        # Debian keeps a server's programs out of PATH, by version.
        places += sorted(root.glob("usr/lib/postgresql/*/bin"), key=lambda path: -int(path.parent.name))
    if found := shutil.which(name, path=os.pathsep.join(map(str, places))):
        return found
    source = DEBIAN.get(name)
    how = f"install {source}, or run `make tools` where there is apt-get" if source else "run `make develop`"
    raise NoToolError(f"there is no {name} for the tests: {how}")


def fetch(name: str) -> str:
    """The path of a program of `DEBIAN`, fetched if it is missing and apt-get is there."""
    try:
        return tool(name)
    except NoToolError:
        if not shutil.which("apt-get"):
            raise
    if os.geteuid() == 0:
        subprocess.run(["apt-get", "update", "-qq"], check=True)
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["apt-get", "download", "-qq", _package(DEBIAN[name])], cwd=folder, check=True)
        (package,) = Path(folder).glob("*.deb")
        FOLDER.mkdir(parents=True, exist_ok=True)
        subprocess.run(["dpkg-deb", "-x", package, FOLDER], check=True)
    return tool(name)


def _package(name: str) -> str:
    """The package itself where Debian has an empty one, which names the version."""
    asked = subprocess.run(["apt-cache", "depends", name], capture_output=True, text=True, check=True)
    return next(iter(re.findall(rf"Depends: ({name}-\d+)$", asked.stdout, re.MULTILINE)), name)


if __name__ == "__main__":
    try:
        for each in DEBIAN if sys.platform == "linux" else ("prometheus", "promtool"):
            sys.stdout.write(f"tests ask {fetch(each)}\n")
    except (NoToolError, subprocess.CalledProcessError) as error:
        sys.exit(f"error: {error}")
