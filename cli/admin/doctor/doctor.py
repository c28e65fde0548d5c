"""`success doctor`: what is wrong with Kafka, Postgres, the mail server and the settings, and how to mend it."""

from __future__ import annotations

import asyncio
import difflib
import json
import os
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, get_args

import click

from agents.letters.dkim_signing import Signer, unsafe_mail
from cli.admin.doctor.faults import (
    Fault,
    FaultError,
    Kind,
    kafka_error,
    kafka_fault,
    keys_fault,
    postgres_fault,
    smtp_fault,
)
from cli.errors import one_line
from runtime.settings import PREFIX, Secret, Settings, SettingsError, secret_settings, variable
from scoring.zones import data_version

if TYPE_CHECKING:
    from collections.abc import Awaitable

TIMEOUT_S = 15.0
FAILED, WRONG_SETTINGS = 1, 2
OF_TESTS = ("SUCCESS_LONG_", "SUCCESS_TEST_")


@dataclass(frozen=True)
class Finding:
    """The outcome of one check: `mend` says what to do, None where nothing is to be done."""

    name: str
    ok: bool
    found: str
    mend: str | None = None
    fault: Kind | None = None
    """Of a server: which of network, protocol, certificate, password or ACL is wrong."""


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_context
def doctor(context: click.Context, as_json: bool) -> None:
    """Check Kafka, Postgres, the mail server and the settings; changes nothing, sends nothing.

    Exits with 0 if all is well, 1 if something isn't, 2 if the settings can't be read.
    """
    findings = examine()
    if as_json:
        checks = [asdict(finding) for finding in findings]
        click.echo(json.dumps({"ok": all(finding.ok for finding in findings), "checks": checks}))
    else:
        for finding in findings:
            _print(finding)
    wrong = {finding.name for finding in findings if not finding.ok}
    if "settings" in wrong:
        context.exit(WRONG_SETTINGS)
    context.exit(FAILED if wrong else 0)


def _print(finding: Finding) -> None:
    mark = click.style("ok   ", fg="green") if finding.ok else click.style("wrong", fg="red", bold=True)
    click.echo(f"{mark}  {finding.name:<12} {finding.found}")
    if finding.mend:
        click.echo(f"{'':<20} → {finding.mend}")


def examine() -> list[Finding]:
    """All checks; those of servers need settings that can be read."""
    try:
        settings = Settings()
    except SettingsError as error:
        return [Finding("settings", False, str(error), "see docs/settings.md"), *_unknown_variables()]
    found = [Finding("settings", True, f"read; state in {settings.state_dir.absolute()}")]
    return [
        *found,
        *_unknown_variables(),
        _secrets(settings),
        _zones(),
        *_files(settings),
        *_mail(settings),
        *_buttons(settings),
        *asyncio.run(_servers(settings)),
    ]


def _unknown_variables() -> list[Finding]:
    """Variables that look like ours and are none, most likely misspelt."""
    known = {variable(name) for name in Settings.model_fields}
    known |= {f"{variable(name)}_FILE" for name in secret_settings()}
    findings = []
    for name in sorted(os.environ):
        if name.startswith(PREFIX) and name not in known and not name.startswith(OF_TESTS):
            near = difflib.get_close_matches(name, known, n=1)
            mend = f"did you mean {near[0]}?" if near else "remove it; docs/settings.md lists them all"
            findings.append(Finding("settings", False, f"{name} is no setting", mend))
    return findings


def _secrets(settings: Settings) -> Finding:
    missing = []
    for name in get_args(Secret):
        if name == "jwt_secret" and settings.jwks_url:
            continue
        try:
            settings.secret(name)
        except SettingsError:
            missing.append(variable(name))
    if missing:
        return Finding(
            "secrets",
            False,
            f"{', '.join(missing)} not set, and no embedded stack runs at these addresses",
            "set each to a long random text, or start the embedded stack with `success up`",
        )
    return Finding("secrets", True, "each is set, or the embedded stack's default")


def _zones() -> Finding:
    """Which civil time quiet hours and calls go by; governments change it several times a year."""
    version = data_version()
    years = datetime.now(UTC).year - int(version[:4])
    age = {0: "of this year", 1: "of last year"}.get(years, f"{years} years old")
    found = f"IANA {version}, {age}, shipped with the package tzdata; this machine's own data is not used"
    if years > 1:
        return Finding("time zones", False, found, "install a newer tzdata: letters may leave at night")
    return Finding("time zones", True, found)


def _codecs() -> Finding:
    """Whether records of every compression can be read here."""
    from agents.engine.unpacking import CodecsMissingError, check_codecs  # noqa: PLC0415 - `success up` needs none

    try:
        check_codecs()
    except CodecsMissingError as error:
        return Finding(
            "compression", False, str(error), "install it: `pip install --force-reinstall cramjam`"
        )
    return Finding("compression", True, "gzip, snappy, lz4 and zstd are read")


def _files(settings: Settings) -> list[Finding]:
    """The configuration, policies and key that settings name, where a service would refuse to start with them."""
    from agents.letters.checking import checked  # noqa: PLC0415 - templates take their time

    named = {"config_dir": (settings.config_dir, settings.policy), "policy": (None, settings.policy)}
    named["shadow_policy"] = (None, settings.shadow_policy)
    findings = []
    for name, files in named.items():
        if getattr(settings, name) is None:
            continue
        try:
            checked(*files)
        except SettingsError as error:
            findings.append(
                Finding(
                    "configuration", False, f"{variable(name)}: {error}", "see docs/rules.md, docs/policy.md"
                )
            )
    try:
        Signer.from_settings(settings)
    except SettingsError as error:
        findings.append(Finding("DKIM key", False, str(error), "see docs/settings.md"))
    return findings


def _mail(settings: Settings) -> list[Finding]:
    """What keeps mail servers from trusting one-click unsubscribing."""
    findings = []
    for problem in unsafe_mail(settings):
        found, _, mend = problem.partition(": ")
        findings.append(Finding("unsubscribe", False, found, mend))
    return findings


def _buttons(settings: Settings) -> list[Finding]:
    """Whether the buttons of emails lead anywhere."""
    if settings.knows_the_product():
        return []
    name = variable("app_url")
    found = f"{name} is not set: buttons of emails and tips lead to pages that this engine does not have"
    return [
        Finding(
            "buttons",
            False,
            found,
            f"set {name} to the product's own address, such as https://app.example.com",
        )
    ]


async def _servers(settings: Settings) -> list[Finding]:
    checks = [
        ("Kafka", check_kafka, settings.kafka, "kafka"),
        ("dead letters", check_dead_letters, settings.kafka, "kafka"),
        ("Postgres", check_postgres, _without_password(settings.database_url), "database_url"),
        ("clock", check_clock, _without_password(settings.database_url), "database_url"),
        ("mail server", check_smtp, _without_password(settings.smtp_url), "smtp_url"),
    ]
    if settings.jwks_url:
        checks.append(("JWKS URL", check_keys, settings.jwks_url, "jwks_url"))
    return list(
        await asyncio.gather(
            *(_checked(title, check(settings), where, setting) for title, check, where, setting in checks)
        )
    )


async def _checked(title: str, check: Awaitable[Finding], where: str, setting: str) -> Finding:
    """The check's finding; any way of not being there becomes one as well."""
    mend = f"start the embedded stack with `success up`, or set {variable(setting)}"
    try:
        async with asyncio.timeout(TIMEOUT_S):
            return await check
    except FaultError as error:
        return _faulty(title, where, error.fault)
    except TimeoutError:
        return Finding(title, False, f"{where} did not answer within {TIMEOUT_S:.0f} s", mend)
    except Exception as error:  # noqa: BLE001 - each library has its own; to find out is what we are here for
        if fault := kafka_error(error):
            return _faulty(title, where, fault)
        reason = one_line(str(error)) or type(error).__name__
        return Finding(title, False, f"{where} can't be used: {reason}", mend)


def _faulty(title: str, where: str, fault: Fault) -> Finding:
    return Finding(title, False, f"{where}: {fault}", fault.mend, fault.kind)


async def check_kafka(settings: Settings) -> Finding:
    """Brokers answer, and every topic is there as it has to be: partitions, settings, and the log that was read."""
    from agents.cluster.checks import faults_of  # noqa: PLC0415 - `success up` needs none of these
    from agents.cluster.describing import asking  # noqa: PLC0415
    from agents.cluster.provisioning import wanted_topics  # noqa: PLC0415

    if barred := await kafka_fault(settings):
        raise FaultError(barred)
    async with asking(settings) as admin:
        brokers = len((await admin.describe_cluster())["brokers"])
    found = f"{settings.kafka}: {brokers} broker{'s' if brokers != 1 else ''}"
    faults = await faults_of(settings)
    if faults:
        mend = "; ".join(dict.fromkeys(fault.mend for fault in faults))
        return Finding("Kafka", False, "; ".join([found, *(fault.found for fault in faults)]), mend)
    topics = len(wanted_topics(settings.topic_prefix))
    return Finding("Kafka", True, f"{found}, {topics} topics of {settings.partitions} partitions")


async def check_dead_letters(settings: Settings) -> Finding:
    """Nobody publishes to partitions that their keys do not belong on."""
    from agents.cluster.checks import misplaced, wrong_partition_letters  # noqa: PLC0415 - as above
    from runtime.quiet import without_logs  # noqa: PLC0415

    if barred := await kafka_fault(settings):
        raise FaultError(barred)
    with without_logs("aiokafka"):
        wrong, looked_at = await wrong_partition_letters(settings)
    if wrong:
        fault = misplaced(wrong, looked_at)
        return Finding("dead letters", False, fault.found, fault.mend)
    return Finding("dead letters", True, "none of the newest says wrong_partition")


async def check_postgres(settings: Settings) -> Finding:
    """We can log in, and the services' roles and the schema are this version's."""
    import psycopg  # noqa: PLC0415 - see above

    from store.database import DatabaseError, Role, check_usable  # noqa: PLC0415

    problem = None
    try:
        async with await psycopg.AsyncConnection.connect(settings.database_url, connect_timeout=10) as conn:
            version = conn.info.parameter_status("server_version")
            row = await (
                await conn.execute(
                    "select to_regclass('public.success_interventions') is not null"
                    " and exists (select from pg_roles where rolname = %s),"
                    " exists (select from pg_roles where rolname = %s and pg_has_role(oid, 'member')),"
                    " (select min(rolname::text) from pg_roles"
                    "  where rolname = any(%s) and pg_has_role(oid, 'member'))",
                    [Role.WRITER, Role.OWNER, [Role.WRITER, Role.READER, Role.API]],
                )
            ).fetchone()
            if row is not None and row[0] and row[2]:
                try:
                    await check_usable(conn, row[2])
                except DatabaseError as error:
                    problem = one_line(str(error))
    except psycopg.Error as error:
        raise FaultError(postgres_fault(error)) from error
    found = f"{_without_password(settings.database_url)}: PostgreSQL {version}"
    if row is not None and row[1] and not settings.is_development():
        return Finding(
            "Postgres",
            False,
            f"{found}; this login is the owner or can become it",
            "give each service a login of its own (docs/postgres.md), and SUCCESS_MIGRATE_DATABASE_URL the owner's",
        )
    if row is None or not row[0]:
        return Finding("Postgres", False, f"{found}; the tables are missing", "run `success migrate`")
    if not row[2]:
        mend = "grant it what docs/postgres.md says for its service"
        said = f"{found}; ACL: this login may take none of the services' roles"
        return Finding("Postgres", False, said, mend, "ACL")
    if problem is not None:
        said, _, mend = problem.partition(": ")
        return Finding("Postgres", False, f"{found}; {said}", mend or None)
    return Finding("Postgres", True, f"{found}, the schema is this version's")


async def check_clock(settings: Settings) -> Finding:
    """Our clock is in step with the database's; a worker measures its own against the brokers'."""
    import psycopg  # noqa: PLC0415 - see above

    from cli.admin.doctor.clocks import WORTH_SAYING_S, ahead_s  # noqa: PLC0415

    try:
        ahead = await ahead_s(settings)
    except psycopg.Error as error:
        raise FaultError(postgres_fault(error)) from error
    if abs(ahead) < WORTH_SAYING_S:
        return Finding("clock", True, f"within {WORTH_SAYING_S:g} s of Postgres'")
    words = "ahead of" if ahead > 0 else "behind"
    found = f"this machine's clock is {abs(ahead):.1f} s {words} Postgres'"
    return Finding("clock", False, found, "keep clocks in step (NTP), here and on the servers")


async def check_smtp(settings: Settings) -> Finding:
    """The mail server greets, lets us in where the URL has a user, and would take mail from our return path."""
    import aiosmtplib  # noqa: PLC0415 - see above

    from agents.letters.smtp import MailServer  # noqa: PLC0415

    server = MailServer.from_url(settings.smtp_url)
    client = server.client(timeout=TIMEOUT_S / 3)
    try:
        async with client:
            await client.mail(settings.mail_return_path)  # taken back at once: nothing is sent
            await client.rset()
    except (aiosmtplib.SMTPException, OSError) as error:
        fault = await smtp_fault(error, server.host, server.port, tls=server.tls)
        raise FaultError(fault) from error
    return Finding("mail server", True, f"{_without_password(settings.smtp_url)} answers")


async def check_keys(settings: Settings) -> Finding:
    """The issuer publishes keys that tokens can be checked with."""
    from api.issuer import IssuerAwayError, fetch_object  # noqa: PLC0415 - see above

    url = settings.jwks_url or ""
    try:
        keys = (await fetch_object(url)).get("keys")
    except IssuerAwayError as error:
        raise FaultError(keys_fault(error, url)) from error
    if not isinstance(keys, list) or not keys:
        said = "it publishes no list `keys`"
        raise FaultError(Fault("protocol", said, "check SUCCESS_JWKS_URL: the issuer's `jwks_uri` is meant"))
    return Finding("JWKS URL", True, f"{url}: {len(keys)} keys")


def _without_password(url: str) -> str:
    """The URL for people, without what may hold a password: between the user and the host, and in the query."""
    head, at, tail = url.partition("?")[0].rpartition("@")
    scheme, slashes, user = head.partition("://")
    return f"{scheme}{slashes}{user.partition(':')[0]}{at}{tail}" if at else tail
