"""`success preview`: see an email before anyone gets it."""

from __future__ import annotations

import asyncio
import json
import secrets
import tempfile
import webbrowser
from collections.abc import Callable
from dataclasses import replace
from email.message import EmailMessage
from html import escape
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID, uuid4

import click

from agents.letters import invitation
from agents.letters.invitation import TEMPLATES as CALL_TEMPLATES
from agents.letters.invitation import build_invitation
from agents.letters.message import build_message
from agents.letters.render import FOLDERS, Letters, Rendered
from agents.letters.sample import NOW, sample_call, sample_intervention, sample_states, sample_supplier
from agents.letters.smtp import Mailer
from agents.letters.words import variables, vendor
from cli.errors import CommandError, UsageError
from cli.policy import load_configuration
from runtime.clock import SystemClock
from runtime.configuration import Configuration
from runtime.settings import Settings
from scoring.decisions.experiments import template_file
from store.database import Role, open_pool
from store.messages.delivery import Intervention, Supplier, read_supplier


class Sample(NamedTuple):
    """A template in words, and as the message to an address (ValueError if it can't be written to)."""

    rendered: Rendered
    message: Callable[[str], EmailMessage]


class Wanted(NamedTuple):
    """What somebody wants to see: which template, in whose state and words."""

    template: str
    milestone: str | None
    variant: str | None
    locale: str | None
    supplier: str | None
    data: dict[str, Any]


@click.command()
@click.argument("template")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="Write it to this file.")
@click.option("--text", is_flag=True, help="The text part instead of the HTML.")
@click.option("--send-to", metavar="ADDRESS", help="Send it to this address through SUCCESS_SMTP_URL.")
@click.option("--milestone", help="Of milestone_celebration.")
@click.option(
    "--supplier", type=click.UUID, metavar="ID", help="As this supplier would get it now (from Postgres)."
)
@click.option("--locale", metavar="TAG", help="As a reader with this language tag gets it, such as de-AT.")
@click.option("--variant", metavar="NAME", help="A variant of the template, such as short.")
@click.option(
    "--data",
    type=click.Path(dir_okay=False, exists=True, path_type=Path),
    metavar="FILE",
    help='A JSON object of variables to say otherwise, such as {"clientCount": 1200}.',
)
@click.option("--states", is_flag=True, help="All states of the letter on one page.")
def preview(
    template: str,
    out: Path | None,
    text: bool,
    send_to: str | None,
    milestone: str | None,
    supplier: UUID | None,
    locale: str | None,
    variant: str | None,
    data: Path | None,
    states: bool,
) -> None:
    """Render TEMPLATE for a sample supplier: to a file, a browser, or an address.

    TEMPLATE is a name from the policy, such as grow_client_list, or an email about a call, such as call_invitation.
    """
    settings = Settings()
    if not settings.secret_key and not send_to and supplier is None:
        # a sample in a file or a browser has sample links: it needs no stack and no secret
        settings = settings.model_copy(update={"secret_key": secrets.token_urlsafe()})
    configuration = load_configuration(settings)
    letters = Letters.of(configuration)
    wanted = Wanted(template, milestone, variant, locale, str(supplier) if supplier else None, _data(data))
    if states:
        _show(_all_states(wanted, settings, configuration, letters), out)
        return
    sample = _sample(wanted, settings, configuration, letters, None)
    if send_to:
        asyncio.run(_send(settings, template, sample, send_to))
        click.echo(f"sent {template} to {send_to}")
    content = _content(sample.rendered, text)
    if out:
        out.write_text(content, "utf-8")
        click.echo(f"wrote {out}")
    elif text or not sample.rendered.html:
        click.echo(content)
    elif not send_to:
        _open(content)


def _show(page: str, out: Path | None) -> None:
    if out is None:
        _open(page)
    else:
        out.write_text(page, "utf-8")
        click.echo(f"wrote {out}")


def _data(file: Path | None) -> dict[str, Any]:
    if file is None:
        return {}
    try:
        found = json.loads(file.read_bytes())
    except ValueError as error:
        raise UsageError(f"--data {file}: is not JSON ({error})") from None
    if not isinstance(found, dict):
        raise UsageError(f'--data {file}: give an object of variables, such as {{"clientCount": 1200}}')
    return found


def _sample(
    wanted: Wanted, settings: Settings, configuration: Configuration, letters: Letters, state: Supplier | None
) -> Sample:
    if wanted.template in CALL_TEMPLATES:
        return _call(wanted, settings, letters)
    return _intervention(wanted, settings, configuration, letters, state)


def _all_states(wanted: Wanted, settings: Settings, configuration: Configuration, letters: Letters) -> str:
    """One page with the letter in every state, in the language asked for or in all that there are."""
    tags = [wanted.locale] if wanted.locale else ["en-GB", *letters.languages]
    milestones: list[str | None] = [wanted.milestone]
    if wanted.template == "milestone_celebration" and wanted.milestone is None:
        milestones = list(configuration.policy.rules.milestones)
    shown = []
    for tag in tags:
        for milestone in milestones:
            one = wanted._replace(locale=tag, milestone=milestone)
            trigger = None if wanted.template in CALL_TEMPLATES else _row(one, configuration).row.trigger
            states = (
                {"as usual": None}
                if trigger is None
                else sample_states(trigger, tag, configuration.policy, letters)
            )
            for name, state in states.items():
                rendered = _sample(one, settings, configuration, letters, state).rendered
                title = ", ".join(filter(None, (tag, milestone, name)))
                shown.append(_framed(title, rendered))
    style = (
        "body{font:16px sans-serif;margin:16px;background:#8883}main{display:flex;flex-wrap:wrap;gap:16px}"
        "iframe{width:375px;height:760px;border:0;background:#fff}pre{width:375px;white-space:pre-wrap}"
        "h2{font-size:16px;margin:0 0 4px}p{margin:0 0 8px;max-width:375px}"
    )
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(wanted.template)}</title>'
        f"<style>{style}</style></head><body><h1>{escape(wanted.template)}</h1><main>{''.join(shown)}</main></body></html>"
    )


def _framed(title: str, rendered: Rendered) -> str:
    said = f"<h2>{escape(title)}</h2><p><b>{escape(rendered.subject)}</b><br>{escape(rendered.preheader)}</p>"
    if not rendered.html:
        return f"<section>{said}<pre>{escape(rendered.text)}</pre></section>"
    return (
        f'<section>{said}<iframe title="{escape(title)}" srcdoc="{escape(rendered.html)}"></iframe></section>'
    )


def _row(wanted: Wanted, configuration: Configuration) -> Intervention:
    policy = configuration.policy
    if wanted.milestone is not None and wanted.milestone not in policy.rules.milestones:
        raise UsageError(f"--milestone {wanted.milestone}: there are {', '.join(policy.rules.milestones)}")
    try:
        return sample_intervention(wanted.template, policy, wanted.milestone)
    except KeyError:
        names = sorted({trigger.template for trigger in policy.triggers} | set(CALL_TEMPLATES))
        raise UsageError(f"no template is called {wanted.template!r}; there are {', '.join(names)}") from None


def _intervention(
    wanted: Wanted, settings: Settings, configuration: Configuration, letters: Letters, state: Supplier | None
) -> Sample:
    intervention = _row(wanted, configuration)
    channel = intervention.row.channel
    template = template_file(wanted.template, wanted.variant)
    if not letters.has(f"{FOLDERS[channel]}/{template}.txt"):
        raise UsageError(
            f"--variant {wanted.variant}: there is no templates/{FOLDERS[channel]}/{template}.txt"
        )
    supplier, now = state or sample_supplier(intervention.row.trigger, configuration.policy, letters), NOW
    if wanted.supplier is not None and state is None:
        now = SystemClock().now_ms()
        supplier = asyncio.run(_stored(settings, wanted.supplier, now))
    if wanted.locale is not None:
        supplier = replace(supplier, locale=wanted.locale)
    words = _said_otherwise(
        variables(supplier, intervention, now, settings, letters, template), wanted, letters
    )
    if channel == "email":
        rendered = letters.email(template, words)
    else:
        rendered = letters.text(f"{FOLDERS[channel]}/{template}", words)

    def message(address: str) -> EmailMessage:
        now = SystemClock().now_ms()
        return build_message(
            rendered,
            # One of its own each time: the same Message-ID would make mail readers hide the second one.
            row_id=f"preview-{now}",
            template=template,
            recipient=address,
            recipient_name=words["firstName"],
            mail_from=settings.mail_from,
            unsubscribe_url=words["unsubscribeUrl"],
            now_ms=now,
        )

    return Sample(rendered, message)


def _said_otherwise(words: dict[str, Any], wanted: Wanted, letters: Letters) -> dict[str, Any]:
    unknown = wanted.data.keys() - words.keys()
    if unknown:
        raise UsageError(
            f"--data: no variable is called {min(unknown)!r}; there are {', '.join(sorted(words))}"
        )
    if "vendorType" in wanted.data:
        words["vendor"] = vendor(str(wanted.data["vendorType"]), letters, words["voice"].tag)
    return words | wanted.data


async def _stored(settings: Settings, supplier_id: str, now_ms: int) -> Supplier:
    pool = await open_pool(settings.database_url, Role.WRITER, max_size=1)
    try:
        async with pool.connection() as conn:
            found = await read_supplier(conn, supplier_id, now_ms, settings.keys("secret_key"))
    finally:
        await pool.close()
    if found is None:
        raise UsageError(f"--supplier {supplier_id}: nobody is known by that id")
    return found


def _call(wanted: Wanted, settings: Settings, letters: Letters) -> Sample:
    mail = replace(sample_call(wanted.template, letters), locale=wanted.locale)
    words = _said_otherwise(invitation.variables(mail, settings, letters, wanted.template), wanted, letters)

    def message(address: str) -> EmailMessage:
        now = SystemClock().now_ms()
        return build_invitation(replace(mail, id=str(uuid4()), email=address), settings, now, letters)

    return Sample(letters.email(wanted.template, words), message)


def _content(rendered: Rendered, text: bool) -> str:
    if rendered.html and not text:
        return rendered.html
    head = f"Subject: {rendered.subject}\n"
    preheader = f"Preheader: {rendered.preheader}\n" if rendered.preheader else ""
    return f"{head}{preheader}\n{rendered.text}"


def _open(content: str) -> None:
    with tempfile.NamedTemporaryFile("w", suffix=".html", delete=False, encoding="utf-8") as file:
        file.write(content)
    click.echo(f"opening {file.name}")
    if not webbrowser.open(Path(file.name).as_uri()):
        click.echo("no browser answers here; open that file, or name one with --out")


async def _send(settings: Settings, template: str, sample: Sample, address: str) -> None:
    if not sample.rendered.html:
        raise UsageError(f"{template} is not an email: leave out --send-to")
    try:
        message = sample.message(address)
    except ValueError as error:
        raise UsageError(f"{address!r} is no email address ({error})") from None
    async with Mailer.from_settings(settings) as mailer:
        verdict = await mailer.send(settings.mail_return_path, address, message)
    if verdict.outcome != "accepted":
        raise CommandError(f"not sent: {verdict.said}; `success doctor` checks the mail server")
