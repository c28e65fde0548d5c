"""Beside a Kafka, a Postgres and a relay that are secured: two commands and one file of settings, as the pages say."""

from __future__ import annotations

import asyncio
import json
import os
import re
import secrets
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import psycopg
import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import ResourceType
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from agents.engine.failure import RefusedError
from agents.worker import InProcessWorker
from api.auth import sign
from cli.admin.doctor import doctor
from cli.admin.doctor.doctor import Finding, examine
from runtime.clock import SystemClock
from runtime.settings import Settings
from tests.agents.delivery.mail_server import MailServer
from tests.browser.serving import free_ports
from tests.chaos.servers import Server
from tests.deploy.secured import (
    NAMED,
    ROOT,
    Authority,
    Relay,
    SecuredKafka,
    SecuredPostgres,
    make_logins,
    rights_of_the_commands,
    rights_of_the_page,
)
from topics.catalog import PROFILES
from topics.time import format_time

pytestmark = [pytest.mark.stack, pytest.mark.timeout(300)]

UNITS = ROOT / "deploy" / "systemd"
PATIENCE_S = 120
BOUNCES = "bounces@mail.example.com"
ROWS = {
    "product": ["product teams"],
    "worker": ["worker"],
    "deliver": ["deliver"],
    "api": ["API"],
    "other": ["API"],
    "alone": ["worker"],
}
"""The rows of the page's table that a user of Kafka has."""
OURS = ("worker", "deliver", "api")
SUCCESS = (sys.executable, "-c", "from cli.main import main; main()")
DOCTOR = "each of these, for `success doctor`"


@dataclass
class Place:
    """The servers, and what lies in /etc/success."""

    folder: Path
    kafka: SecuredKafka
    postgres: SecuredPostgres
    postgres_port: int
    relay: Relay
    authority: Authority
    stranger: Authority
    passwords: dict[str, str]
    """Of Kafka's users."""
    logins: dict[str, str]
    """Passwords of Postgres' logins."""

    def database_url(self, login: str, password: str | None = None, host: str = "localhost") -> str:
        secret = password or quote(self.logins[login], safe="")
        return f"postgresql://{login}:{secret}@{host}:{self.postgres_port}/success?{self.postgres.verified}"

    def smtp_url(self, password: str = Relay.PASSWORD, host: str = NAMED) -> str:
        return f"smtp://{Relay.LOGIN}:{quote(password, safe='')}@{host}:{self.relay.port}"

    def by_certificate(self, user: str, authority: Authority | None = None) -> dict[str, Any]:
        own = (authority or self.authority).sign(user)
        return {
            "kafka": self.kafka.by_certificate,
            "kafka_security_protocol": "SSL",
            "kafka_ssl_certfile": own.certificate,
            "kafka_ssl_keyfile": own.key,
        }

    def with_certificate(self, login: str, authority: Authority | None = None) -> str:
        own = (authority or self.authority).sign(login)
        return f"{self.database_url(login, 'none')}&sslcert={own.certificate}&sslkey={own.key}"

    @property
    def file(self) -> Path:
        return self.folder / "success.env"

    def with_the_file(self, *command: str) -> list[str]:
        """As the page has it."""
        return ["sh", "-c", f'set -a; . {self.file}; exec "$@"', "sh", *command]

    def environment(self) -> dict[str, str]:
        """What the file says, and what the units say beside it."""
        said = subprocess.run(
            self.with_the_file("env", "-0"), env=self.bare(), capture_output=True, text=True, check=True
        ).stdout
        return dict(line.split("=", 1) for line in said.split("\0") if "=" in line)

    def bare(self) -> dict[str, str]:
        return {"PATH": os.environ["PATH"], "SUCCESS_STATE_DIR": str(self.folder)}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """Servers as their administrators leave them, the file, and the first of the two commands."""
    folder = tmp_path_factory.mktemp("secured")
    authority, stranger = Authority(folder / "ours"), Authority(folder / "theirs")
    passwords = {user: secrets.token_urlsafe(24) for user in ("success", "nobody", *ROWS)}
    kafka = SecuredKafka(folder, authority, {"success": passwords["success"]})
    postgres = SecuredPostgres(folder, authority)
    servers = [Server(kafka), Server(postgres)]
    with ExitStack() as cleanup:
        for each in servers:
            cleanup.callback(each.kill)
        with ThreadPoolExecutor(len(servers)) as pool:
            list(pool.map(Server.start, servers))
        kafka.let_in(passwords)
        page = rights_of_the_page()
        rights = {user: [right for row in rows for right in page[row]] for user, rows in ROWS.items()}
        rights["alone"] = [right for right in rights["alone"] if right.resource != ResourceType.GROUP]
        kafka.allow(rights | rights_of_the_commands())
        logins = make_logins(postgres.admin_url(servers[1].port))
        with psycopg.connect(postgres.admin_url(servers[1].port), autocommit=True) as admin:
            logins["stranger"] = secrets.token_urlsafe(24)
            admin.execute(f"CREATE ROLE stranger LOGIN PASSWORD '{logins['stranger']}'".encode())
        relay = cleanup.enter_context(Relay(authority, BOUNCES))
        made = Place(folder, kafka, postgres, servers[1].port, relay, authority, stranger, passwords, logins)
        write_the_file(made)
        migrated = success(made, *command_of("migrate"))
        assert migrated.returncode == 0, migrated.stderr
        yield made


@pytest.fixture
def settings(place: Place, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """The file's."""
    for name, value in place.environment().items():
        monkeypatch.setenv(name, value)
    return Settings()


def write_the_file(place: Place) -> None:
    """The example with its values filled in, and the files that it names."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    files = {
        "kafka_password": place.passwords["success"],
        "ca.pem": place.authority.file.read_text(),
        "database_url": place.database_url("success_api_login"),
        "owner_database_url": place.database_url("success_owner_login"),
        "smtp_url": place.smtp_url(),
        "all_ca.pem": place.authority.file.read_text(),
        "dkim.pem": pem.decode(),
        **{name: secrets.token_urlsafe(48) for name in ("jwt_secret", "secret_key", "webhook_secret")},
    }
    example = (UNITS / "success.env.example").read_text("utf-8")
    assert set(re.findall(r"=/etc/success/(\S+)$", example, re.MULTILINE)) == files.keys()
    for name, content in files.items():
        (place.folder / name).write_text(content)
    filled = re.sub(r"^#(?=[A-Z_]+=)", "", example, flags=re.MULTILINE).replace(
        "/etc/success", str(place.folder)
    )
    place.file.write_text(re.sub(r"(?<=SUCCESS_KAFKA=).*", place.kafka.by_login, filled))


def command_of(service: str) -> list[str]:
    """What its unit starts, after `success`."""
    [unit] = [path for path in UNITS.glob("*.service") if re.fullmatch(rf"success-{service}@?", path.stem)]
    [command] = re.findall(
        r"^ExecStart=/opt/success/bin/success (.*)$", unit.read_text("utf-8"), re.MULTILINE
    )
    return command.split()


def success(place: Place, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        place.with_the_file(*SUCCESS, *arguments),
        env=place.bare(), capture_output=True, text=True, check=False, cwd=ROOT,
    )  # fmt: skip


@contextmanager
def services(place: Place, of: Callable[[str], dict[str, str]]) -> Iterator[str]:
    """Worker, delivery and API, ready, each with the environment that `of` gives it; the API's address."""
    ports = dict(zip(OURS, free_ports(len(OURS)), strict=True))
    [api_port] = free_ports(1)
    with ExitStack() as cleanup:
        processes = {}
        for name, port in ports.items():
            log = cleanup.enter_context((place.folder / f"{name}.log").open("w"))
            own = {"SUCCESS_METRICS_PORT": str(port), "SUCCESS_API_PORT": str(api_port)}
            processes[name] = subprocess.Popen(
                [*SUCCESS, *command_of(name)], env=of(name) | own, stdout=log, stderr=log, cwd=ROOT
            )
            cleanup.callback(processes[name].kill)

        def logs() -> str:
            return "\n".join((place.folder / f"{name}.log").read_text() for name in OURS)

        for name, port in ports.items():
            until(lambda name=name, port=port: is_ready(processes[name], port), logs)
        yield f"http://127.0.0.1:{api_port}"
        for process in processes.values():
            process.send_signal(signal.SIGTERM)
        assert [process.wait(60) for process in processes.values()] == [0, 0, 0], logs()
        assert "AuthorizationFailed" not in logs(), logs()


def is_ready(process: subprocess.Popen[bytes], port: int) -> bool:
    assert process.poll() is None
    try:
        return httpx.get(f"http://127.0.0.1:{port}/readyz", timeout=10).status_code == 200
    except httpx.TransportError:
        return False


def until(holds: Callable[[], bool], said: Callable[[], str]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline, said()
        time.sleep(0.05)


def sign_up(place: Place, settings: Settings, api: str) -> str:
    """A supplier's profile by the product's own client, their first form through the API; their address."""
    supplier = str(uuid.uuid4())
    address = f"{supplier}@example.com"
    producer = Producer(
        {
            "bootstrap.servers": place.kafka.by_login,
            "security.protocol": "SASL_SSL",
            "sasl.mechanism": "SCRAM-SHA-512",
            "sasl.username": "product",
            "sasl.password": place.passwords["product"],
            "ssl.ca.location": str(place.authority.file),
            "partitioner": "murmur2_random",
            "broker.address.family": "v4",
        }
    )
    profile = {"id": supplier, "email": address, "first_name": "Emma", "timezone": "Europe/London"}
    failed: list[Any] = []
    producer.produce(
        PROFILES,
        json.dumps(profile).encode(),
        supplier.encode(),
        on_delivery=lambda error, _: failed.append(error),
    )
    producer.flush(30)
    assert failed == [None]
    event = {
        "specversion": "1.0",
        "id": "e1",
        "source": "/product",
        "type": "form.created",
        "subject": supplier,
        "time": format_time(time.time_ns() // 1_000_000),
        "data": {"form_id": "f1"},
    }
    token = sign(settings, "service", "product", 600, int(time.time()))
    answer = httpx.post(
        f"{api}/api/events",
        content=json.dumps(event),
        headers={"Authorization": f"Bearer {token}", "Content-Type": "application/cloudevents+json"},
        timeout=60,
    )
    assert answer.status_code == 202, answer.text
    return address


def letter_and_outcome(place: Place, address: str) -> None:
    """Wait for the letter at the relay, and for the event that tells of it in Kafka."""
    supplier = address.partition("@")[0]
    asked = "SELECT count(*) > 0 AND bool_and(published_at IS NOT NULL) FROM outbox WHERE key = %s"
    with psycopg.connect(place.database_url("success_owner_login"), autocommit=True) as owner:
        until(lambda: address in place.relay.accepted, lambda: "no letter")
        until(lambda: owner.execute(asked, [supplier]).fetchone() == (True,), lambda: "nothing published")


def test_two_commands_and_one_file_of_settings(place: Place, settings: Settings) -> None:
    with psycopg.connect(settings.owner_database_url()) as owner:
        asked = "SELECT rolsuper, rolcreaterole, rolcreatedb FROM pg_roles WHERE rolname = current_user"
        assert owner.execute(asked).fetchone() == (False, False, False)
    environment = place.environment()
    with services(place, lambda _name: environment) as api:
        letter_and_outcome(place, sign_up(place, settings, api))
        looked = success(place, "doctor", "--json")
    found = json.loads(looked.stdout)
    assert [check for check in found["checks"] if not check["ok"] or check["mend"]] == []
    assert (looked.returncode, found["ok"], looked.stderr) == (0, True, "")


def test_each_service_needs_no_more_rights_than_the_page_says(
    place: Place, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = {f"SUCCESS_{name}_FILE" for name in ("KAFKA_SASL_PASSWORD", "DATABASE_URL", "MIGRATE_DATABASE_URL")}
    shared = {name: value for name, value in place.environment().items() if name not in own}

    def of(name: str) -> dict[str, str]:
        return {
            **shared,
            "SUCCESS_KAFKA_SASL_USERNAME": name,
            "SUCCESS_KAFKA_SASL_PASSWORD": place.passwords[name],
            "SUCCESS_DATABASE_URL": place.database_url(f"success_{name}_login"),
        }

    with services(place, of) as api:
        letter_and_outcome(place, sign_up(place, settings, api))
    place.kafka.allow({name: rights_of_the_page()[DOCTOR] for name in OURS})
    for name in OURS:
        for variable in own:
            monkeypatch.delenv(variable, raising=False)
        for variable, value in of(name).items():
            monkeypatch.setenv(variable, value)
        assert [finding for finding in examine() if not finding.ok or finding.mend] == [], name


async def test_a_worker_that_may_not_join_its_group_says_so(place: Place, settings: Settings) -> None:
    alone = {"kafka_sasl_username": "alone", "kafka_sasl_password": place.passwords["alone"]}
    worker = InProcessWorker(settings.model_copy(update=alone), SystemClock())
    with pytest.raises(RefusedError, match=r"into the group success-worker: docs/operating\.md"):
        await worker.start()
    await worker.stop()


Case = tuple[str | None, str, dict[str, Any]]
"""Which fault, a word of what to do, and the settings that bring it about."""


def told(settings: Settings, check: Callable[[Settings], Awaitable[Finding]], cases: dict[str, Case]) -> None:
    """Ask all at once, and compare."""

    async def ask() -> list[Finding]:
        changed = [settings.model_copy(update=case[2]) for case in cases.values()]
        return await asyncio.gather(
            *(doctor._checked("it", check(each), "the server", "kafka") for each in changed)
        )

    found = dict(zip(cases, asyncio.run(ask()), strict=True))
    wrong = {
        name: (found[name].found, found[name].mend)
        for name, (fault, word, _) in cases.items()
        if (found[name].ok, found[name].fault) != (fault is None, fault) or word not in str(found[name].mend)
    }
    assert wrong == {}


def test_doctor_says_which_of_kafka(place: Place, settings: Settings) -> None:
    def user(name: str) -> dict[str, Any]:
        return {"kafka_sasl_username": name, "kafka_sasl_password": place.passwords.get(name, "wrong")}

    by_certificate = place.by_certificate("success")
    without = {"kafka_ssl_certfile": None, "kafka_ssl_keyfile": None}
    protocol, cafile = "SUCCESS_KAFKA_SECURITY_PROTOCOL to", "SUCCESS_KAFKA_SSL_CAFILE"
    cases: dict[str, Case] = {
        "SCRAM": (None, "", {}),
        "PLAIN": (None, "", {"kafka_sasl_mechanism": "PLAIN"}),
        "a certificate": (None, "", by_certificate),
        "a wrong password": ("password", "_PASSWORD", {"kafka_sasl_password": "wrong"}),
        "an unknown user": ("password", "SASL_USERNAME", user("who")),
        "another mechanism": ("protocol", "_MECHANISM", {"kafka_sasl_mechanism": "SCRAM-SHA-256"}),
        "in the clear": ("protocol", protocol, {"kafka_security_protocol": "SASL_PLAINTEXT"}),
        "in the clear, no login": ("protocol", protocol, {"kafka_security_protocol": "PLAINTEXT"}),
        "no login": ("protocol", f"{protocol} SASL_SSL", {"kafka_security_protocol": "SSL"}),
        "another authority": ("certificate", cafile, {"kafka_ssl_cafile": place.stranger.file}),
        "another name": ("certificate", cafile, {"kafka": f"127.0.0.1:{place.kafka.by_login.rpartition(':')[2]}"}),
        "no certificate": ("certificate", "SUCCESS_KAFKA_SSL_CERTFILE", by_certificate | without),
        "a login, no certificate": (
            "certificate", "SUCCESS_KAFKA_SSL_CERTFILE", {"kafka": place.kafka.by_certificate}
        ),
        "a certificate of another authority": (
            "certificate", "SUCCESS_KAFKA_SSL_CERTFILE", place.by_certificate("success", place.stranger)
        ),
        "no right": ("ACL", "docs/operating.md", user("nobody")),
        "not every right": ("ACL", "docs/operating.md", user("other")),
        "a certificate, no right": ("ACL", "docs/operating.md", place.by_certificate("nobody")),
        "another host": ("network", "DNS", {"kafka": "no-such-host.invalid:9093"}),
        "another port": ("network", "port", {"kafka": f"localhost:{free_ports(1)[0]}"}),
    }  # fmt: skip
    told(settings, doctor.check_kafka, cases)


def test_doctor_says_which_of_postgres(place: Place, settings: Settings) -> None:
    url, sslmode = place.database_url("success_api_login"), "sslmode=verify-full&sslrootcert="
    shadow = "success_shadow_login"
    cases: dict[str, Case] = {
        name: (fault, word, {"database_url": changed})
        for name, (fault, word, changed) in {
            "a password": (None, "", url),
            "a certificate": (None, "", place.with_certificate(shadow)),
            "a wrong password": ("password", "_FILE", place.database_url("success_api_login", "wrong")),
            "an unknown user": ("password", "docs/postgres.md", place.database_url("who", "wrong")),
            "in the clear": ("protocol", sslmode, f"{url.partition('?')[0]}?sslmode=disable"),
            "another authority": (
                "certificate", sslmode, url.replace(str(place.authority.file), str(place.stranger.file))
            ),
            "no authority's file": (
                "certificate", sslmode, url.replace(str(place.authority.file), "/nowhere/ca.pem")
            ),
            "another name": ("certificate", sslmode, url.replace("@localhost", "@127.0.0.1")),
            "no certificate": ("certificate", "sslcert=", place.database_url(shadow)),
            "a certificate of another authority": (
                "certificate", "sslcert=", place.with_certificate(shadow, place.stranger)
            ),
            "another database": ("protocol", "at the end of the URL", url.replace("/success?", "/nowhere?")),
            "not let in": ("ACL", "pg_hba.conf", url.replace("/success?", "/postgres?")),
            "no right": ("ACL", "docs/postgres.md", place.database_url("stranger")),
            "another host": ("network", "SUCCESS_DATABASE_URL", url.replace("@localhost", "@no-such-host.invalid")),
            "another port": (
                "network", "port", url.replace(f":{place.postgres_port}/", f":{free_ports(1)[0]}/")
            ),
        }.items()
    }  # fmt: skip
    told(settings, doctor.check_postgres, cases)


def test_doctor_says_which_of_the_relay(
    place: Place, settings: Settings, mail_server: MailServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, port = place.smtp_url(), str(place.relay.port)
    tls_port = place.kafka.by_certificate.rpartition(":")[2]
    without_tls = mail_server.url.rpartition(":")[2]
    cases: dict[str, Case] = {
        name: (fault, word, {"smtp_url": changed})
        for name, (fault, word, changed) in {
            "a password": (None, "", url),
            "a wrong password": ("password", "SUCCESS_SMTP_URL", place.smtp_url("wrong")),
            "no password": ("password", "put user and password", f"smtp://{NAMED}:{port}"),
            "TLS from the start": ("protocol", "use smtp://", url.replace("smtp:", "smtps:")),
            "no STARTTLS": ("protocol", "switch STARTTLS on", url.replace(port, without_tls)),
            "another name": ("certificate", "SSL_CERT_FILE", place.smtp_url(host="127.0.1")),
            "another host": ("network", "DNS", place.smtp_url(host="no-such-host.invalid")),
            "another port": ("network", "port", url.replace(port, str(free_ports(1)[0]))),
        }.items()
    }
    cases["another sender"] = ("ACL", "SUCCESS_MAIL_RETURN_PATH", {"mail_return_path": "boss@else.example"})
    told(settings, doctor.check_smtp, cases)
    monkeypatch.setenv("SSL_CERT_FILE", str(place.stranger.file))
    told(settings, doctor.check_smtp, {"another authority": ("certificate", "SSL_CERT_FILE", {})})
    monkeypatch.setattr(doctor, "TIMEOUT_S", 3.0)  # a server with TLS from the start says nothing to wait for
    silent = {"smtp_url": url.replace(port, tls_port)}
    told(settings, doctor.check_smtp, {"TLS from the start": ("protocol", "use smtps://", silent)})
