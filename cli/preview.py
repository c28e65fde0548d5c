"""`success preview`: see an email before anyone gets it."""

from __future__ import annotations

import asyncio
import secrets
import tempfile
import webbrowser
from collections.abc import Callable
from dataclasses import replace
from email.message import EmailMessage
from pathlib import Path
from typing import NamedTuple

import click

from agents import invitation
from agents.invitation import TEMPLATES as CALL_TEMPLATES
from agents.invitation import build_invitation
from agents.letter import variables
from agents.mail import Mailer
from agents.message import build_message
from agents.render import FOLDERS, Rendered, render_email, render_text
from agents.sample import NOW, sample_call, sample_intervention, sample_supplier
from cli.errors import CommandError, UsageError
from runtime.clock import SystemClock
from runtime.settings import Settings
from scoring.policy import Policy
from scoring.signals import MILESTONES


class Sample(NamedTuple):
    """A template in words, and as the message to an address (ValueError if it can't be written to)."""

    rendered: Rendered
    message: Callable[[str], EmailMessage]


@click.command()
@click.argument("template")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="Write it to this file.")
@click.option("--text", is_flag=True, help="The text part instead of the HTML.")
@click.option("--send-to", metavar="ADDRESS", help="Send it to this address through SUCCESS_SMTP_URL.")
@click.option("--milestone", type=click.Choice(MILESTONES), help="Of milestone_celebration.")
def preview(template: str, out: Path | None, text: bool, send_to: str | None, milestone: str | None) -> None:
    """Render TEMPLATE for a sample supplier: to a file, a browser, or an address.

    TEMPLATE is a name from the policy, such as grow_client_list, or an email about a call, such as call_invitation.
    """
    settings = Settings()
    if not settings.secret_key and not send_to:
        # a sample in a file or a browser has sample links: it needs no stack and no secret
        settings = settings.model_copy(update={"secret_key": secrets.token_urlsafe()})
    is_call = template in CALL_TEMPLATES
    sample = _call(template, settings) if is_call else _intervention(template, milestone, settings)
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


def _intervention(template: str, milestone: str | None, settings: Settings) -> Sample:
    policy = Policy.load(settings.policy)
    try:
        intervention = sample_intervention(template, policy, milestone)
    except KeyError:
        names = sorted({trigger.template for trigger in policy.triggers} | set(CALL_TEMPLATES))
        raise UsageError(f"no template is called {template!r}; there are {', '.join(names)}") from None
    words = variables(sample_supplier(intervention.row.trigger), intervention, NOW, settings)
    if intervention.row.channel == "email":
        rendered = render_email(template, words)
    else:
        rendered = render_text(f"{FOLDERS[intervention.row.channel]}/{template}", words)

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


def _call(template: str, settings: Settings) -> Sample:
    mail = sample_call(template)

    def message(address: str) -> EmailMessage:
        now = SystemClock().now_ms()
        return build_invitation(replace(mail, id=f"preview-{now}", email=address), settings, now)

    return Sample(render_email(template, invitation.variables(mail, settings)), message)


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
