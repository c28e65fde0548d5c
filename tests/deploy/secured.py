"""Servers as others run them: Kafka by SASL_SSL and mTLS with ACLs, Postgres by TLS alone, a relay with STARTTLS.

Names and logins are those of the pages; what may be done under which login is read from there.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import ssl
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import psycopg
import trustme
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult
from confluent_kafka import KafkaException
from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

import store
from embedded.kafka import Kafka, as_property
from embedded.postgres import UNPRIVILEGED_USER
from embedded.process import Command, free_port, group_of, let_pass
from embedded.training import aot_options
from tests.chaos.servers import notify
from tests.deploy.tools import tool

ROOT = Path(store.__file__).parents[1]
ADMIN = "admin"
NAMED = "127.1"
"""This machine, by a name that our code doesn't know it by: the mailer checks no certificate on its own machine."""


class Authority:
    """An authority of the test's own, and what it signed, as files."""

    def __init__(self, folder: Path) -> None:
        self._ca, self._folder = trustme.CA(), folder
        folder.mkdir()
        self.file = folder / "ca.pem"
        self._ca.cert_pem.write_to_path(self.file)

    def sign(self, name: str, *hosts: str) -> Certificate:
        """A certificate for these hosts, or of a client of this name (`CN`)."""
        made = self._ca.issue_cert(*(hosts or ["client.example.com"]), common_name=name)
        chain = b"".join(each.bytes() for each in made.cert_chain_pems)
        key = load_pem_private_key(made.private_key_pem.bytes(), None)
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        files = Certificate(*(self._folder / f"{name}.{kind}" for kind in ("crt", "key", "pem")))
        files.certificate.write_bytes(chain)
        files.both.write_bytes(pem + chain)
        files.key.write_bytes(pem)
        files.key.chmod(0o600)  # libpq takes no other
        return files


@dataclass(frozen=True)
class Certificate:
    """PEM files: the certificate, its key, and both in one, as Kafka wants them."""

    certificate: Path
    key: Path
    both: Path


# Kafka ------------------------------------------------------------------------------------------------------------


class SecuredKafka(Kafka):
    """Clients come by SASL_SSL (SCRAM-SHA-512 or PLAIN), or with a certificate, whose CN is their name.

    The broker itself, its controller and `ADMIN` have certificates; only `ADMIN` may do everything.
    """

    def __init__(self, folder: Path, authority: Authority, plain: dict[str, str]) -> None:
        own = as_property(authority.sign(ADMIN, "localhost").both)
        ports = {name: free_port() for name in ("CLIENTS", "MTLS", "CONTROLLER")}
        self.by_login, self.by_certificate = (f"localhost:{ports[name]}" for name in ("CLIENTS", "MTLS"))
        module = "org.apache.kafka.common.security"
        users = " ".join(f'user_{name}="{password}"' for name, password in plain.items())
        super().__init__(
            folder,
            notify,
            {
                "listeners": ",".join(f"{name}://127.0.0.1:{port}" for name, port in ports.items()),
                "advertised.listeners": f"CLIENTS://{self.by_login},MTLS://{self.by_certificate}",
                "listener.security.protocol.map": "CLIENTS:SASL_SSL,MTLS:SSL,CONTROLLER:SSL",
                "inter.broker.listener.name": "MTLS",
                "controller.quorum.voters": f"1@localhost:{ports['CONTROLLER']}",
                "ssl.keystore.type": "PEM",
                "ssl.keystore.location": own,
                "ssl.truststore.type": "PEM",
                "ssl.truststore.location": as_property(authority.file),
                "listener.name.mtls.ssl.client.auth": "required",
                "listener.name.controller.ssl.client.auth": "required",
                "ssl.principal.mapping.rules": "RULE:^.*CN=([^,]+).*$/$1/",
                "listener.name.clients.sasl.enabled.mechanisms": "SCRAM-SHA-512,PLAIN",
                "listener.name.clients.scram-sha-512.sasl.jaas.config": f"{module}.scram.ScramLoginModule required;",
                "listener.name.clients.plain.sasl.jaas.config": (
                    f"{module}.plain.PlainLoginModule required {users};"
                ),
                "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
                "super.users": f"User:{ADMIN}",
            },
        )
        self._folder, self._authority = authority.file.parent, authority

    def is_ready(self, port: int) -> bool:
        """Whether it names itself to the administrator."""
        del port
        try:
            return bool(self.admin().list_topics(timeout=2).brokers)
        except KafkaException:
            return False

    def command(self, port: int, jvm_options: Sequence[str] | None = None) -> Command:
        """Compiled quickly: it lives for a minute."""
        return super().command(port, [*(jvm_options or aot_options()), "-XX:TieredStopAtLevel=1"])

    def admin(self) -> AdminClient:
        """Who may do everything."""
        return AdminClient(
            {
                "bootstrap.servers": self.by_certificate,
                "security.protocol": "SSL",
                "ssl.ca.location": str(self._authority.file),
                "ssl.certificate.location": str(self._folder / f"{ADMIN}.crt"),
                "ssl.key.location": str(self._folder / f"{ADMIN}.key"),
                "broker.address.family": "v4",
                "log_level": 0,
            }
        )

    def let_in(self, passwords: dict[str, str]) -> None:
        """Give these users their passwords."""
        info = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4096)
        users = [
            UserScramCredentialUpsertion(user, info, password.encode())
            for user, password in passwords.items()
        ]
        admin = self.admin()
        for done in admin.alter_user_scram_credentials(users).values():
            done.result(30)

    def allow(self, rights: dict[str, list[Right]]) -> None:
        """Give these users their rights, and nobody else any."""
        bindings = {
            AclBinding(
                right.resource,
                right.name,
                right.pattern,
                f"User:{user}",
                "*",
                operation,
                AclPermissionType.ALLOW,
            )
            for user, some in rights.items()
            for right in some
            for operation in right.operations
        }
        admin = self.admin()
        for done in admin.create_acls(list(bindings)).values():
            done.result(30)


@dataclass(frozen=True)
class Right:
    """What may be done with a topic or a group, or with all whose names begin so."""

    resource: ResourceType
    pattern: ResourcePatternType
    name: str
    operations: Sequence[AclOperation]


def rights_of_the_page() -> dict[str, list[Right]]:
    """The rows of docs/operating.md by the login that they name, without a prefix (`P`)."""
    page = (ROOT / "docs/operating.md").read_text("utf-8")
    table = page.partition("## Rights in Kafka")[2].partition("\n## ")[0]
    found: dict[str, list[Right]] = {}
    login = ""
    for row in re.findall(r"^\| *(.*?) *\| *(.*?) *\| *(.*?) *\|$", table, re.MULTILINE)[2:]:
        login = row[0] or login
        resource = ResourceType.GROUP if row[1].startswith("group") else ResourceType.TOPIC
        names = re.findall(r"`P([\w.*-]+)`", row[1])
        assert names, row
        operations = [operation(word) for word in row[2].split(", ")]
        for name in names:
            begins = name.endswith(("*", "-"))
            pattern = ResourcePatternType.PREFIXED if begins else ResourcePatternType.LITERAL
            found.setdefault(login, []).append(Right(resource, pattern, name.rstrip("*"), operations))
    return found


def rights_of_the_commands() -> dict[str, list[Right]]:
    """What the page's `kafka-acls.sh` gives, by user."""
    page = (ROOT / "docs/operating.md").read_text("utf-8").replace("\\\n", " ")
    found: dict[str, list[Right]] = {}
    for line in re.findall(r"^kafka-acls\.sh .*$", page, re.MULTILINE):
        options = re.findall(r"--([\w-]+)(?: ([^-\s]\S*))?", line)
        given = {name: [value for option, value in options if option == name] for name, _ in options}
        pattern = ResourcePatternType[given.get("resource-pattern-type", ["literal"])[0].upper()]
        resource = ResourceType.GROUP if "group" in given else ResourceType.TOPIC
        found.setdefault(given["allow-principal"][0].removeprefix("User:"), []).extend(
            Right(resource, pattern, name, [operation(word) for word in given["operation"]])
            for name in given.get("group", given.get("topic", []))
        )
    return found


def operation(word: str) -> AclOperation:
    """As Kafka's documentation writes it, `DescribeConfigs`."""
    return AclOperation[re.sub(r"(?<=[a-z])(?=[A-Z])", "_", word).upper()]


# Postgres ---------------------------------------------------------------------------------------------------------

HBA = """\
hostssl all postgres 127.0.0.1/32 cert
hostssl success success_shadow_login 127.0.0.1/32 cert
hostssl success,nowhere all 127.0.0.1/32 scram-sha-256
"""


class SecuredPostgres:
    """The system's, for the embedded one has no TLS: hostssl alone, with passwords or certificates."""

    title = "PostgreSQL"

    def __init__(self, folder: Path, authority: Authority) -> None:
        self.cluster, self.log = folder / "postgres", folder / "logs" / "postgres.log"
        self._user = UNPRIVILEGED_USER if os.geteuid() == 0 else None
        self._authority = authority
        self._server = authority.sign("postgres-server", "localhost")
        self._admin = authority.sign("postgres")

    def prepare(self) -> None:
        """Make the cluster, and let nobody in but so."""
        for folder in (self.cluster.parent, Path(tool("postgres")).resolve().parent):
            let_pass(folder)
        self.cluster.mkdir(mode=0o700)
        if self._user:
            shutil.chown(self.cluster, self._user)
        subprocess.run(
            [tool("initdb"), "-D", self.cluster, "--username=postgres", "--encoding=UTF8", "--locale=C", "--no-sync"],
            check=True, capture_output=True, cwd=self.cluster, user=self._user, group=group_of(self._user),
            extra_groups=None if self._user is None else [],
        )  # fmt: skip
        for source, name in (
            (self._server.certificate, "server.crt"),
            (self._server.key, "server.key"),
            (self._authority.file, "root.crt"),
        ):
            file = self.cluster / name
            shutil.copy(source, file)
            file.chmod(0o600)
            if self._user:
                shutil.chown(file, self._user)
        (self.cluster / "pg_hba.conf").write_text(HBA)

    def command(self, port: int) -> Command:
        """The server listening on `port`."""
        options = {
            "listen_addresses": "127.0.0.1",
            "port": port,
            "unix_socket_directories": "",
            "fsync": "off",
            "ssl": "on",
            "ssl_ca_file": "root.crt",
            "password_encryption": "scram-sha-256",
        }
        flags = [f"--{name}={value}" for name, value in options.items()]
        return Command(
            [tool("postgres"), "-D", self.cluster, *flags], self.log, str(self.cluster), self._user
        )

    def is_ready(self, port: int) -> bool:
        """Whether it lets the administrator in."""
        try:
            psycopg.connect(self.admin_url(port), connect_timeout=3).close()
        except psycopg.OperationalError:
            return False
        return True

    def admin_url(self, port: int) -> str:
        """Of the superuser."""
        own = f"&sslcert={self._admin.certificate}&sslkey={self._admin.key}"
        return f"postgresql://postgres@localhost:{port}/postgres?{self.verified}{own}"

    @property
    def verified(self) -> str:
        """What the pages say to put behind a URL."""
        return f"sslmode=verify-full&sslrootcert={self._authority.file}"


def make_logins(admin_url: str) -> dict[str, str]:
    """Run the statements of docs/postgres.md; the passwords by login."""
    page = (ROOT / "docs/postgres.md").read_text("utf-8")
    [block] = re.findall(r"```sql\n(.*?)```", page, re.DOTALL)
    passwords = {name: secrets.token_urlsafe(24) for name in re.findall(r"CREATE ROLE (\w+)", block)}
    for name, password in passwords.items():
        block = re.sub(rf"(CREATE ROLE {name} .*)'change me'", rf"\1'{password}'", block)
    assert "change me" not in block
    with psycopg.connect(admin_url, autocommit=True) as admin:
        admin.execute((ROOT / "store/roles.sql").read_bytes())
        for statement in filter(str.strip, block.split(";")):
            admin.execute(statement.encode())
    return passwords


# Mail -------------------------------------------------------------------------------------------------------------


class Relay:
    """Takes mail of one sender, from who has logged in, which goes over TLS alone."""

    LOGIN, PASSWORD = "success", "right, with @ and :"

    def __init__(self, authority: Authority, sender: str) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        own = authority.sign("relay", NAMED)
        context.load_cert_chain(own.certificate, own.key)
        self.port, self._sender = free_port(), sender
        self.accepted: list[str] = []
        """Whom it was to bring mail to."""
        self._controller = Controller(
            self,
            hostname="127.0.0.1",
            port=self.port,
            tls_context=context,
            require_starttls=True,
            auth_required=True,
            authenticator=self._authenticate,
        )

    def __enter__(self) -> Self:
        self._controller.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._controller.stop()

    def _authenticate(self, *given: Any) -> AuthResult:
        data = given[-1]
        known = (data.login, data.password) == (self.LOGIN.encode(), self.PASSWORD.encode())
        return AuthResult(success=known, handled=False)

    async def handle_MAIL(  # noqa: N802 - aiosmtpd's name
        self, _server: Any, _session: Any, envelope: Any, address: str, options: Any
    ) -> str:
        """Take one sender."""
        if address != self._sender:
            return "553 5.7.1 you may not send from there"
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return "250 OK"

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:  # noqa: N802 - aiosmtpd's name
        """Note to whom."""
        self.accepted += envelope.rcpt_tos
        return "250 OK"
