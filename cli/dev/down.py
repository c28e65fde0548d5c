"""`success down`: stop the embedded stack."""

from __future__ import annotations

import json
from pathlib import Path

import click

from cli.dev.up import default_data_dir
from embedded.stack import Stack


@click.command()
@click.option(
    "--data",
    type=click.Path(path_type=Path, file_okay=False),
    help="Its folder; default SUCCESS_STATE_DIR, else .success.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def down(data: Path | None, as_json: bool) -> None:
    """Stop the stack that lives in the folder, and nothing else. A lasting one keeps its data."""
    folder = (data or default_data_dir()).resolve()
    stopped = Stack(folder).stop()
    if as_json:
        click.echo(json.dumps({"stopped": stopped}))
    else:
        click.echo(f"stopped the stack in {folder}" if stopped else f"no stack runs in {folder}")
