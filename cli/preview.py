"""`success preview`: see an email before anyone gets it."""

from __future__ import annotations

import asyncio
import secrets
import tempfile
import webbrowser
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from agents.letter import variables
from agents.mail import Mailer
from agents.message import build_message
from agents.render import FOLDERS, Rendered, render_email, render_text
from agents.sample import NOW, sample_intervention, sample_supplier
from cli.errors import CommandError, UsageError
from runtime.clock import SystemClock
from runtime.settings import Settings
from scoring.policy import Policy
from scoring.signals import MILESTONES

if TYPE_CHECKING:
    from store.delivery import Intervention


@click.command()
@click.argument("template")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="Write it to this file.")
@click.option("--text", is_flag=True, help="The text part instead of the HTML.")
@click.option("--send-to", metavar="ADDRESS", help="Send it to this address through SUCCESS_SMTP_URL.")
@click.option("--milestone", type=click.Choice(MILESTONES), help="Of milestone_celebration.")
def preview(template: str, out: Path | None, text: bool, send_to: str | None, milestone: str | None) -> None:
    """Render TEMPLATE for a sample supplier: to a file, a browser, or an address.

    TEMPLATE is a name from the policy, such as grow_client_list.
    """
    settings = Settings()
    if not settings.secret_key and not send_to:
        # a sample in a file or a browser has sample links: it needs no stack and no secret
        settings = settings.model_copy(update={"secret_key": secrets.token_urlsafe()})
    policy = Policy.load(settings.policy)
    try:
        intervention = sample_intervention(template, policy, milestone)
    except KeyError:
        names = ", ".join(sorted({trigger.template for trigger in policy.triggers}))
        raise UsageError(f"no template is called {template!r}; there are {names}") from None
    words = variables(sample_supplier(intervention.row.trigger), intervention, NOW, settings)
    rendered = _render(intervention, words)
    if send_to:
        asyncio.run(_send(settings, intervention, words, rendered, send_to))
        click.echo(f"sent {template} to {send_to}")
    content = _content(rendered, text)
    if out:
        out.write_text(content, "utf-8")
        click.echo(f"wrote {out}")
    elif text or not rendered.html:
        click.echo(content)
    elif not send_to:
        _open(content)


def _render(intervention: Intervention, words: dict[str, Any]) -> Rendered:
    template = intervention.template or ""
    if intervention.row.channel == "email":
        return render_email(template, words)
    return render_text(f"{FOLDERS[intervention.row.channel]}/{template}", words)


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


async def _send(
    settings: Settings, intervention: Intervention, words: dict[str, Any], rendered: Rendered, address: str
) -> None:
    if not rendered.html:
        raise UsageError(f"{intervention.template} is not an email: leave out --send-to")
    now = SystemClock().now_ms()
    # A preview of its own each time: the sample row's Message-ID would make mail readers hide the second one.
    row = replace(intervention.row, id=f"preview-{now}")
    try:
        message = build_message(
            rendered,
            row_id=row.id,
            template=intervention.template or "",
            recipient=address,
            recipient_name=words["firstName"],
            mail_from=settings.mail_from,
            unsubscribe_url=words["unsubscribeUrl"],
            now_ms=now,
        )
    except ValueError as error:
        raise UsageError(f"{address!r} is no email address ({error})") from None
    async with Mailer.from_settings(settings) as mailer:
        verdict = await mailer.send(settings.mail_return_path, address, message)
    if verdict.outcome != "accepted":
        raise CommandError(f"not sent: {verdict.said}; `success doctor` checks the mail server")
