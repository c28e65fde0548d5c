"""`success token`: signs a token of the API for development."""

from __future__ import annotations

import time
from typing import Literal, cast
from uuid import UUID

import click

from api.auth import sign
from cli.errors import UsageError
from runtime.settings import Settings

DEFAULT_HOURS = 12


@click.command()
@click.option("--supplier", metavar="ID", help="A supplier's token; ID is her UUID.")
@click.option("--role", type=click.Choice(["agent", "service"]), help="An agent's or a service's token.")
@click.option("--name", help="With --role: who it is, as the audit log will say; default the role.")
@click.option(
    "--hours", type=click.FloatRange(min=0, min_open=True), default=DEFAULT_HOURS, show_default=True
)
def token(supplier: str | None, role: str | None, name: str | None, hours: float) -> None:
    """Print a JWT signed with SUCCESS_JWT_SECRET; use it as `Authorization: Bearer …`."""
    if (supplier is None) == (role is None):
        raise UsageError("give either --supplier ID or --role agent|service")
    settings = Settings()
    lifetime_s, now_s = int(hours * 3600), int(time.time())
    if supplier is None:
        staff = cast("Literal['agent', 'service']", role)
        click.echo(sign(settings, staff, name or staff, lifetime_s, now_s))
        return
    if name is not None:
        raise UsageError("--name goes with --role")
    try:
        subject = str(UUID(supplier))
    except ValueError:
        raise UsageError(f"--supplier needs a supplier's id, a UUID; {supplier!r} is none") from None
    click.echo(sign(settings, "supplier", subject, lifetime_s, now_s))
