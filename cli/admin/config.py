"""`success config`: check a folder of rules, policy, words and templates; show what is in force."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import click

from agents.letters.checking import warnings
from cli.admin.versions import COMMANDS, show_version
from cli.in_force import newest_version
from cli.policy import load_configuration, wholly_checked
from runtime.configuration import OUR_TEMPLATES, OURS, template_files
from runtime.settings import Settings

_FOLDER = click.Path(path_type=Path, file_okay=False)


@click.group()
def config() -> None:
    """Rules, policy, words and templates as a folder of files; what it leaves out is ours (docs/rules.md)."""


@config.command()
@click.argument("folder", type=_FOLDER)
def check(folder: Path) -> None:
    """Read FOLDER as a service would, write every letter in every branch, and say what can't work together.

    Exit code 0: it can be put into force (there may be warnings); 2: it can't.
    """
    found = wholly_checked(folder)
    for warning in warnings(found, folder):
        click.echo(f"warning: {warning}")
    click.echo(f"{folder} is right; digest {found.digest}")


@config.command()
@click.option(
    "--files",
    "of_files",
    is_flag=True,
    help="What services would read at their start, were nothing activated.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def show(of_files: bool, as_json: bool) -> None:
    """Say what is in force: its digest, and the version with its author and note, or where each file comes from."""
    entry = None if of_files else asyncio.run(newest_version(Settings()))
    if entry is not None:
        show_version(entry, as_json=as_json)
        return
    found = load_configuration(Settings())
    own = {
        name: path
        for name, path in template_files(found.templates).items()
        if OUR_TEMPLATES not in path.parents
    }
    if as_json:
        files = {name: str(path) for name, path in (dict(found.files) | own).items()}
        click.echo(
            json.dumps(
                {"version": 0, "digest": found.digest, "rules_digest": found.rules.digest, "files": files}
            )
        )
        return
    click.echo(f"digest        {found.digest}")
    click.echo(f"rules         {found.rules.digest}")
    for name, path in found.files.items():
        click.echo(f"{name:<13} {'as shipped' if path == OURS[name] else path}")
    for name, path in own.items():
        click.echo(f"templates/{name}  {path}")


for _command in COMMANDS:
    config.add_command(_command)
