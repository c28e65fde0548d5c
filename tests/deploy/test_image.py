"""The Dockerfile without an engine: linted, and its steps done in a clean folder (`make test-long`)."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.deploy.tools import tool

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
UV = shutil.which("uv") or str(ROOT / ".success/uv/bin/uv")
MOST_MB = 120


def test_hadolint_finds_nothing() -> None:
    done = subprocess.run(
        [tool("hadolint"), ROOT / "Dockerfile"], capture_output=True, text=True, check=False
    )

    assert (done.returncode, done.stdout) == (0, "")


def copied(folder: Path) -> None:
    """What `COPY . .` copies: the build's context, as .dockerignore leaves it."""
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    for name in (line[1:] for line in lines if line.startswith("!")):
        source, target = ROOT / name, folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, target)


def synced(home: Path, place: Path, extra: str = "") -> None:
    """Do the steps that install, for this build argument."""
    steps = re.findall(r"^RUN uv (sync .*)$", DOCKERFILE, re.MULTILINE)
    assert len(steps) == 2
    environment = os.environ | {"UV_PROJECT_ENVIRONMENT": str(place), "UV_LINK_MODE": "copy", "EXTRA": extra}
    for step in steps:
        subprocess.run(f"{UV} {step} --quiet", shell=True, cwd=home, env=environment, check=True)  # noqa: S602


@pytest.mark.long
@pytest.mark.timeout(300)
def test_the_steps_of_the_build_give_a_small_installation_of_the_services(tmp_path: Path) -> None:
    home, place = tmp_path / "build", tmp_path / "success"
    copied(home)
    synced(home, place)
    assert not list(place.glob("lib/*/site-packages/opentelemetry/sdk"))
    [prune] = re.findall(r"^RUN (find (?:.*\\\n)+.*)$", DOCKERFILE, re.MULTILINE)
    [languages] = re.findall(r'^ARG LANGUAGES="(.*)"$', DOCKERFILE, re.MULTILINE)
    own = os.environ | {"LANGUAGES": languages}
    subprocess.run(prune.replace("/opt/success", str(place)), shell=True, env=own, check=True)  # noqa: S602

    size = sum(file.stat().st_size for file in place.rglob("*") if file.is_file() and not file.is_symlink())
    assert size < MOST_MB * 1_000_000
    shutil.rmtree(home)  # the image has the installation only
    for command in ("worker", "deliver", "api", "migrate"):
        done = subprocess.run(
            [place / "bin/success", command, "--help"], cwd=tmp_path, capture_output=True, check=False
        )
        assert done.returncode == 0, done.stderr
    spoken = (
        "from agents.letters.locales import BASE, Voice, is_installed; from agents.letters.render import ours; "
        "assert all(map(is_installed, ours().languages)) and not is_installed('fr'); "
        "print(Voice('de', 'de-AT').day(0, None), Voice().day(0, None), Voice(BASE, 'en-US').day(0, None), "
        "Voice('de', 'de').place('Europe/Vienna'))"
    )
    done = subprocess.run(
        [place / "bin/python", "-c", spoken], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    said = done.stdout.replace("\N{NO-BREAK SPACE}", " ")
    assert said == "Donnerstag, 1. Jänner Thursday 1 January Thursday, January 1 Wien\n", done.stderr


@pytest.mark.long
@pytest.mark.timeout(300)
def test_an_image_for_traced_services_has_what_they_need(tmp_path: Path) -> None:
    home, place = tmp_path / "build", tmp_path / "success"
    copied(home)
    synced(home, place, "traces")

    code = "from runtime.tracing import is_on, traced\nwith traced('worker'): assert is_on()"
    told = os.environ | {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}
    done = subprocess.run(
        [place / "bin/python", "-c", code], cwd=tmp_path, env=told, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
