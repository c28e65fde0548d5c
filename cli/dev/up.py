"""`success up`: the embedded stack."""

from __future__ import annotations

import json
import os
import shlex
import time
from pathlib import Path

import click

from embedded.registry import Addresses
from embedded.stack import Stack

ADDRESS_VARIABLES = ("SUCCESS_KAFKA", "SUCCESS_DATABASE_URL", "SUCCESS_SMTP_URL")


def default_data_dir() -> Path:
    """`SUCCESS_STATE_DIR`, else `.success` in the current folder."""
    return Path(os.environ.get("SUCCESS_STATE_DIR") or ".success")


@click.command()
@click.option(
    "--data",
    type=click.Path(path_type=Path, file_okay=False),
    help="Its folder; default SUCCESS_STATE_DIR, else .success.",
)
@click.option("--ephemeral", is_flag=True, help="Free ports and a folder that `success down` throws away.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def up(data: Path | None, ephemeral: bool, as_json: bool) -> None:
    """Start Kafka, Postgres and an SMTP sink on this machine, and return when they answer.

    They stay up, detached from this terminal; `success down` stops them. Where one runs already it is reused.
    """
    started = time.monotonic()
    folder = data if data or ephemeral else default_data_dir()
    stack = Stack(folder, ephemeral, notify=lambda line: click.echo(line, err=True))
    addresses = stack.start()
    warn_of_other_addresses(addresses)
    if as_json:
        click.echo(json.dumps({"addresses": addresses.as_json()}))
        return
    click.echo(f"ready after {time.monotonic() - started:.1f} s")
    for name, address in addresses.as_json().items():
        click.echo(f"  {name:<13} {address}")
    is_default = stack.data_dir == default_data_dir().resolve()
    click.echo(
        "stop it with: success down" + ("" if is_default else f" --data {shlex.quote(str(stack.data_dir))}")
    )


def warn_of_other_addresses(addresses: Addresses) -> None:
    """Say so when the environment points the other commands elsewhere."""
    ours = addresses.as_env()
    others = [name for name in ADDRESS_VARIABLES if os.environ.get(name, ours[name]) != ours[name]]
    if others:
        click.echo(
            f"note: {', '.join(others)} in the environment point elsewhere, and other commands go there",
            err=True,
        )
