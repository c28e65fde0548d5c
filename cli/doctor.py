"""`success doctor`: what is wrong with Kafka, Postgres, the mail server and the settings, and how to mend it."""

from __future__ import annotations

import asyncio
import difflib
import json
import os
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, get_args

import click

from agents.dkim_signing import Signer, unsafe_mail
from cli.errors import UsageError, one_line
from runtime.settings import PREFIX, Secret, Settings, SettingsError, variable

if TYPE_CHECKING:
    from collections.abc import Awaitable

TIMEOUT_S = 15.0
FAILED, WRONG_SETTINGS = 1, 2
TEST_VARIABLES = {"SUCCESS_LONG_TESTS", "SUCCESS_LONG_EXAMPLES"}


@dataclass(frozen=True)
class Finding:
    """The outcome of one check: `mend` says what to do, None where nothing is to be done."""

    name: str
    ok: bool
    found: str
    mend: str | None = None


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
        *_files(settings),
        *_mail(settings),
        *asyncio.run(_servers(settings)),
    ]


def _unknown_variables() -> list[Finding]:
    """Variables that look like ours and are none, most likely misspelt."""
    known = {variable(name) for name in Settings.model_fields}
    findings = []
    for name in sorted(os.environ):
        if name.startswith(PREFIX) and name not in known | TEST_VARIABLES:
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


def _files(settings: Settings) -> list[Finding]:
    """The policies and the key that settings name, where a service would refuse to start with them."""
    from cli.policy import load_policy  # noqa: PLC0415 - templates take their time

    findings = []
    for name in ("policy", "shadow_policy"):
        file = getattr(settings, name)
        if file is None:
            continue
        try:
            load_policy(settings.model_copy(update={"policy": file}))
        except UsageError as error:
            findings.append(
                Finding("policy", False, f"{variable(name)}: {error.format_message()}", "see docs/policy.md")
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


async def _servers(settings: Settings) -> list[Finding]:
    checks = [
        ("Kafka", check_kafka, settings.kafka, "kafka"),
        ("Postgres", check_postgres, _without_password(settings.database_url), "database_url"),
        ("mail server", check_smtp, _without_password(settings.smtp_url), "smtp_url"),
    ]
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
    except TimeoutError:
        return Finding(title, False, f"{where} did not answer within {TIMEOUT_S:.0f} s", mend)
    except ConnectionError:
        return Finding(title, False, f"{where} does not answer", mend)
    except Exception as error:  # noqa: BLE001 - each library has its own; to find out is what we are here for
        reason = one_line(str(error)) or type(error).__name__
        return Finding(title, False, f"{where} can't be used: {reason}", mend)


async def check_kafka(settings: Settings) -> Finding:
    """Brokers answer, and every topic is there with the partition count of the settings."""
    from aiokafka.admin import AIOKafkaAdminClient  # noqa: PLC0415 - `success up` needs none of these
    from aiokafka.errors import KafkaConnectionError  # noqa: PLC0415

    from agents.kafka import client_options  # noqa: PLC0415
    from runtime.quiet import without_logs  # noqa: PLC0415
    from topics.catalog import TOPICS, full_name  # noqa: PLC0415

    admin = AIOKafkaAdminClient(**client_options(settings))
    try:
        with without_logs("aiokafka"):  # what it says, the finding says
            await admin.start()
    except KafkaConnectionError as error:
        raise ConnectionError(str(error)) from error
    try:
        brokers = len((await admin.describe_cluster())["brokers"])
        wanted = [full_name(settings.topic_prefix, name) for name in TOPICS]
        there = set(await admin.list_topics())
        described = await admin.describe_topics([topic for topic in wanted if topic in there])
    finally:
        await admin.close()
    found = f"{settings.kafka}: {brokers} broker{'s' if brokers != 1 else ''}"
    missing = [topic for topic in wanted if topic not in there]
    if missing:
        return Finding("Kafka", False, f"{found}; no topic {', '.join(missing)}", "run `success migrate`")
    counts = {topic["topic"]: len(topic["partitions"]) for topic in described}
    other = [f"{topic} ({count})" for topic, count in counts.items() if count != settings.partitions]
    if other:
        return Finding(
            "Kafka",
            False,
            f"{found}; {variable('partitions')} is {settings.partitions}, not so: {', '.join(other)}",
            f"set {variable('partitions')} to what the topics have: all of them must have the same number",
        )
    return Finding("Kafka", True, f"{found}, {len(wanted)} topics of {settings.partitions} partitions")


async def check_postgres(settings: Settings) -> Finding:
    """We can log in, and the services' roles and the tables are there."""
    import psycopg  # noqa: PLC0415 - see above

    from store.database import Role  # noqa: PLC0415

    async with await psycopg.AsyncConnection.connect(settings.database_url, connect_timeout=10) as conn:
        version = conn.info.parameter_status("server_version")
        row = await (
            await conn.execute(
                "select to_regclass('public.success_interventions') is not null"
                " and exists (select from pg_roles where rolname = %s)",
                [Role.WRITER],
            )
        ).fetchone()
    found = f"{_without_password(settings.database_url)}: PostgreSQL {version}"
    if row is None or not row[0]:
        return Finding("Postgres", False, f"{found}; the tables are missing", "run `success migrate`")
    return Finding("Postgres", True, f"{found}, tables are there")


async def check_smtp(settings: Settings) -> Finding:
    """The mail server greets, and lets us in where the URL has a user."""
    import aiosmtplib  # noqa: PLC0415 - see above

    from agents.mail import MailServer  # noqa: PLC0415

    server = MailServer.from_url(settings.smtp_url)
    client = aiosmtplib.SMTP(
        hostname=server.host,
        port=server.port,
        use_tls=server.tls,
        username=server.username,
        password=server.password,
        timeout=TIMEOUT_S / 2,
    )
    async with client:
        await client.noop()
    return Finding("mail server", True, f"{_without_password(settings.smtp_url)} answers")


def _without_password(url: str) -> str:
    """The URL for people: what stands between the user and the host is left out."""
    head, at, tail = url.rpartition("@")
    scheme, slashes, user = head.partition("://")
    return f"{scheme}{slashes}{user.partition(':')[0]}{at}{tail}" if at else url
