"""`success token`: signs a token of the API for development."""

from __future__ import annotations

import time
from typing import Literal, cast
from uuid import UUID

import click

from api.auth import sign
from api.dashboard.sign_in import login_link
from cli.errors import UsageError
from runtime.settings import Settings

DEFAULT_HOURS = 12


@click.command()
@click.option("--supplier", metavar="ID", help="A supplier's token; ID is their UUID.")
@click.option("--role", type=click.Choice(["agent", "service"]), help="An agent's or a service's token.")
@click.option("--name", help="With --role: who it is, as the audit log will say; default the role.")
@click.option("--login", is_flag=True, help="With --role agent: a link that opens the dashboard once.")
@click.option(
    "--hours", type=click.FloatRange(min=0, min_open=True), default=DEFAULT_HOURS, show_default=True
)
def token(supplier: str | None, role: str | None, name: str | None, login: bool, hours: float) -> None:
    """Print a JWT signed with SUCCESS_JWT_SECRET; use it as `Authorization: Bearer …`.

    With --login it prints an address instead: open it in a browser within ten minutes.
    """
    if (supplier is None) == (role is None):
        raise UsageError("give either --supplier ID or --role agent|service")
    if login and role != "agent":
        raise UsageError("--login goes with --role agent")
    settings = Settings()
    if login and not settings.is_development():
        raise UsageError(
            "links sign in on a development machine only (the embedded stack, or SUCCESS_DEVELOPMENT=true); "
            "elsewhere agents sign in by OIDC: set SUCCESS_OIDC_ISSUER"
        )
    if login:
        click.echo(login_link(settings, name or "agent"))
        return
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
