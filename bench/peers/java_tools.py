"""Kafka Streams without a JDK: its jars and the Eclipse compiler from Maven Central, on the JRE of a wheel."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from hashlib import sha256
from pathlib import Path

import jgo

from embedded.jars import KAFKA_VERSION, _trust_what_the_system_trusts, cache_dir, java

ECJ_VERSION = "3.43.0"
COORDINATES = (
    f"org.apache.kafka:kafka-streams:{KAFKA_VERSION}+org.slf4j:slf4j-simple:1.7.36"
    f"+org.eclipse.jdt:ecj:{ECJ_VERSION}"
)
SOURCE = Path(__file__).parent / "java" / "SmallFold.java"


def command() -> list[str]:
    """Java with all that `SmallFold` needs on its class path; what is missing is fetched and compiled first."""
    jars = os.pathsep.join(_jars())
    classes = _compiled(jars)
    return [
        str(java()),
        "-cp",
        os.pathsep.join([str(classes), jars]),
        "-Dorg.slf4j.simpleLogger.defaultLogLevel=error",
        "--enable-native-access=ALL-UNNAMED",
        "--sun-misc-unsafe-memory-access=allow",
        "SmallFold",
    ]


def _jars() -> list[str]:
    listing = cache_dir() / f"kafka-streams-{KAFKA_VERSION}-ecj-{ECJ_VERSION}.json"
    if listing.exists():
        known: list[str] = json.loads(listing.read_text(encoding="utf-8"))
        if all(Path(jar).exists() for jar in known):
            return known
    _trust_what_the_system_trusts()
    environment = jgo.build(COORDINATES, cache_dir=cache_dir() / "jars")
    jars = [str(jar) for jar in [*environment.class_path_jars, *environment.module_path_jars]]
    listing.write_text(json.dumps(jars, indent=1), encoding="utf-8")
    return jars


def _compiled(jars: str) -> Path:
    """The folder of the compiled classes, one a version of the source."""
    digest = sha256(SOURCE.read_bytes() + jars.encode()).hexdigest()[:16]
    folder = cache_dir() / "bench-classes" / digest
    if (folder / "SmallFold.class").exists():
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as fresh:
        compiler = [str(java()), "-cp", jars, "org.eclipse.jdt.internal.compiler.batch.Main"]
        options = ["-17", "-nowarn", "-proc:none", "-cp", jars, "-d", fresh, str(SOURCE)]
        done = subprocess.run(  # noqa: S603 - our own command
            [*compiler, *options], capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise RuntimeError(f"{SOURCE} does not compile:\n{done.stdout}{done.stderr}")
        for made in sorted(Path(fresh).iterdir(), key=lambda path: path.name == "SmallFold.class"):
            made.replace(folder / made.name)
    return folder
