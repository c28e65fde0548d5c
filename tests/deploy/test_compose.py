"""docker-compose.yml without an engine: it fits the specification, and what it starts starts."""

from __future__ import annotations

import gzip
import json
import os
import re
import runpy
import signal
import socket
import subprocess
import sys
import time
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit
from uuid import uuid4

import jsonschema
import psycopg
import pytest
import yaml
from psycopg import sql

from cli.main import COMMANDS
from embedded.registry import Addresses
from runtime.settings import Settings, variable
from tests.conftest import in_own_loop
from tests.reference.topics import delete_topics

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
SERVICES: dict[str, Any] = COMPOSE["services"]
OURS = {name: each for name, each in SERVICES.items() if each["image"].startswith("wedsync-success:")}
RUNNING = ("worker", "deliver", "api")


def schema(name: str) -> Any:
    """A schema of others that is kept beside this file."""
    return json.loads(gzip.decompress((Path(__file__).parent / name).read_bytes()))


def test_it_fits_the_compose_specification() -> None:
    jsonschema.Draft202012Validator(schema("compose-spec.schema.json.gz")).validate(COMPOSE)


def test_it_has_all_parts_and_the_cluster_is_a_profile() -> None:
    always = {name for name, each in SERVICES.items() if "profiles" not in each}
    cluster = {name for name, each in SERVICES.items() if each.get("profiles") == ["cluster"]}

    assert always == {
        *("secrets", "logins", "kafka", "postgres", "mail", "migrate", "worker", "deliver", "api"),
        *("prometheus", "grafana"),
    }
    assert cluster == {"kafka-1", "kafka-2", "kafka-3", "worker-2", "worker-3"}


def test_every_image_is_named_by_an_exact_version() -> None:
    for name, each in SERVICES.items():
        version = each["image"].rpartition(":")[2]
        assert name in OURS or version.count(".") >= 1, each["image"]
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    assert all(each["image"] == f"wedsync-success:${{SUCCESS_VERSION:-{version}}}" for each in OURS.values())


@pytest.mark.parametrize("name", sorted(OURS))
def test_ours_run_with_a_root_that_is_read_only_and_without_privileges(name: str) -> None:
    assert OURS[name]["read_only"] is True
    assert OURS[name]["cap_drop"] == ["ALL"]
    assert OURS[name]["security_opt"] == ["no-new-privileges:true"]
    assert "USER 10001:10001" in (ROOT / "Dockerfile").read_text(encoding="utf-8")


def test_nothing_listens_beyond_this_machine() -> None:
    assert [port for each in SERVICES.values() for port in each.get("ports", ())]
    assert all(port.startswith("127.0.0.1:") for each in SERVICES.values() for port in each.get("ports", ()))


def test_every_setting_is_one_that_we_have() -> None:
    known = {variable(name) for name in Settings.model_fields} | {"SUCCESS_METRICS_PORT"}
    used = {name for each in OURS.values() for name in each.get("environment", {})}

    assert {name for name in used if name.removesuffix("_FILE") not in known} == set()


@pytest.fixture(scope="module")
def installation(stack: Addresses, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """Secrets, logins, database, tables and topics, made by the services that make them, as written."""
    folder = tmp_path_factory.mktemp("compose")
    own = f"t{uuid4().hex[:8]}"
    run("make_secrets.py", folder)
    at = urlsplit(stack.database_url)
    for url in folder.glob("*/database_url"):
        # Names of the test's own, so that no server's logins are touched; the rest is as it was made.
        written = url.read_text()
        assert "@postgres:5432/" in written
        here = re.sub(r"//success_(\w+)_login:", rf"//{own}_\1:", written)
        here = here.replace("@postgres:5432/success", f"@{at.hostname}:{at.port}/{own}")
        url.chmod(0o600)
        url.write_text(stack.database_url if url.parent.name == "postgres" else here)
    run("make_logins.py", folder)
    made = Installation(folder, own, stack, Settings(kafka=stack.kafka, topic_prefix=f"{own}."))
    migrated = subprocess.run(
        [Path(sys.executable).with_name("success"), *OURS["migrate"]["command"]],
        env=made.environment("migrate"),
        cwd=folder,
        capture_output=True,
        check=False,
    )
    assert migrated.returncode == 0, migrated.stderr
    yield made
    in_own_loop(delete_topics(made.settings))
    with psycopg.connect(stack.database_url, autocommit=True) as admin:
        admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(own)))
        for (login,) in admin.execute("SELECT rolname FROM pg_roles WHERE rolname LIKE %s", (f"{own}%",)):
            admin.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(login)))


def run(program: str, folder: Path) -> None:
    """Run what the services `secrets` and `logins` run."""
    subprocess.run([sys.executable, "-P", ROOT / "deploy/compose" / program, folder], check=True, cwd=folder)


class Installation(NamedTuple):
    """What compose made before the services start: `folder` has each one's secrets, `own` is its name."""

    folder: Path
    own: str
    stack: Addresses
    settings: Settings

    def environment(self, name: str) -> dict[str, str]:
        """The variables of a service as written, but for addresses and ports, for which what is here stands."""
        stands_for = {
            "SUCCESS_KAFKA": self.stack.kafka,
            "SUCCESS_SMTP_URL": self.stack.smtp,
            "SUCCESS_PARTITIONS": "2",
            "SUCCESS_PUBLIC_URL": "http://127.0.0.1:8000",
            "SUCCESS_APP_URL": "",
            "SUCCESS_DEVELOPMENT": "true",
            "SUCCESS_METRICS_PORT": str(free_port()),
            "SUCCESS_API_PORT": str(free_port()),
        }
        (own,) = [
            v.partition("-secrets:")[0] for v in OURS[name]["volumes"] if v.endswith(":/run/success:ro")
        ]
        written = {
            key: stands_for.get(key, str(value)).replace("/run/success", str(self.folder / own))
            for key, value in OURS[name]["environment"].items()
        }
        of_the_image = {"PATH": os.environ["PATH"], "SUCCESS_STATE_DIR": str(self.folder / "state")}
        return of_the_image | written | {"SUCCESS_TOPIC_PREFIX": self.settings.topic_prefix}


def free_port() -> int:
    """A port that nobody listens on at the moment."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


class Started(NamedTuple):
    """A service of ours that runs with the command and environment as written."""

    process: subprocess.Popen[bytes]
    environment: dict[str, str]
    log: Path

    def is_healthy(self, check: list[str]) -> bool:
        """Whether the service's own health check says so."""
        assert check[0] == "CMD"
        asked = [sys.executable if part == "python" else part for part in check[1:]]
        return subprocess.run(asked, env=self.environment, capture_output=True, check=False).returncode == 0


@pytest.fixture
def started(request: pytest.FixtureRequest, installation: Installation, tmp_path: Path) -> Iterator[Started]:
    name = request.param
    command = [Path(sys.executable).with_name("success"), *OURS[name]["command"]]
    environment, file = installation.environment(name), tmp_path / "log"
    with file.open("wb") as log:
        process = subprocess.Popen(command, env=environment, cwd=tmp_path, stdout=log, stderr=log)
    yield Started(process, environment, file)
    if process.poll() is None:
        process.kill()
    process.wait()


def test_the_secrets_are_made_once_and_no_service_has_anothers(tmp_path: Path) -> None:
    run("make_secrets.py", tmp_path)
    first = {str(file.relative_to(tmp_path)): file.read_text() for file in tmp_path.glob("*/*")}
    run("make_secrets.py", tmp_path)

    files = [file for file in tmp_path.glob("*/*") if file.is_file()]
    assert {str(file.relative_to(tmp_path)): file.read_text() for file in files} == first
    assert (
        len({urlsplit(text).password for name, text in first.items() if name.endswith("database_url")}) == 5
    )
    assert first["worker/secret_key"] == first["deliver/secret_key"] == first["api/secret_key"]
    assert len(set(first.values())) == len(first) - 2
    assert all(file.stat().st_mode & 0o077 == 0 for file in files)
    for name in RUNNING:
        assert OURS[name]["volumes"] == [f"{name}-secrets:/run/success:ro"]


def test_the_logins_are_those_of_the_page() -> None:
    page = (ROOT / "docs" / "postgres.md").read_text(encoding="utf-8")
    made = runpy.run_path(str(ROOT / "deploy/compose/make_logins.py"))["ROLES"]
    written = {
        login: set(roles.replace(" ", "").split(","))
        for roles, login in re.findall(
            r"^GRANT (success_[\w, ]+) TO success_(\w+)_login;", page, re.MULTILINE
        )
    }
    assert {"owner" if name == "migrate" else name: set(roles) for name, roles in made.items()} == {
        name: roles for name, roles in written.items() if name != "shadow"
    }


@pytest.mark.stack
def test_making_the_logins_again_changes_nothing(installation: Installation) -> None:
    with psycopg.connect(installation.stack.database_url) as admin:
        asked = "SELECT rolname, rolinherit, rolsuper, rolcreaterole FROM pg_roles WHERE rolname LIKE %s ORDER BY 1"
        before = admin.execute(asked, (f"{installation.own}%",)).fetchall()
        run("make_logins.py", installation.folder)
        assert admin.execute(asked, (f"{installation.own}%",)).fetchall() == before
    own = installation.own
    assert before == [
        (f"{own}_api", False, False, False),
        (f"{own}_deliver", False, False, False),
        (f"{own}_owner", True, False, False),
        (f"{own}_worker", False, False, False),
    ]


@pytest.mark.stack
@pytest.mark.parametrize("started", RUNNING, indirect=True)
def test_a_service_runs_as_written_is_found_healthy_and_ends_well_on_sigterm(
    started: Started, request: pytest.FixtureRequest
) -> None:
    check = OURS[request.node.callspec.params["started"]]["healthcheck"]["test"]

    until(lambda: started.is_healthy(check), 60)
    assert started.process.poll() is None, started.log.read_text()
    started.process.send_signal(signal.SIGTERM)

    assert started.process.wait(60) == 0, started.log.read_text()
    assert not started.is_healthy(check)


def until(holds: Callable[[], bool], seconds: float) -> None:
    """Return once it holds."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_every_command_is_one_of_ours() -> None:
    assert {each["command"][0] for name, each in OURS.items() if "entrypoint" not in each} <= set(COMMANDS)
