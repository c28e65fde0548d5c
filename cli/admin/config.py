"""`success config`: check a folder of rules, policy, words and templates; show what is in force."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import click

from cli.admin.versions import COMMANDS, show_version
from cli.in_force import newest_version
from cli.policy import load_configuration, wholly_checked
from runtime.configuration import OUR_TEMPLATES, OURS, Configuration, template_files
from runtime.settings import Settings
from scoring.decisions.policy import Policy

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


def warnings(found: Configuration, folder: Path) -> Iterator[str]:
    """What is allowed and yet can hardly be meant."""
    yield from _of_caps(found.policy)
    policy, rules = found.policy, found.rules
    heard = {on.partition("@")[0] for trigger in policy.triggers for on in trigger.on}
    for kind, names in (("condition", rules.condition_names), ("milestone", tuple(rules.milestones))):
        for name in names:
            if f"{kind}:{name}" not in heard:
                yield f"{kind} {name}: no trigger of the policy listens to it, so nothing is sent for it"
    ours = template_files([OUR_TEMPLATES])
    named = {one.template for one in policy.triggers}
    for name in template_files([folder / "templates"]) if (folder / "templates").is_dir() else ():
        stem = Path(name).name.partition(".")[0]
        if name not in ours and not stem.startswith("_") and stem not in named:
            yield f"templates/{name}: no trigger names it, and it replaces none of ours"


def _of_caps(policy: Policy) -> Iterator[str]:
    caps, spacing = policy.caps, policy.spacing
    if caps.positive > caps.total:
        yield f"[caps]: positive = {caps.positive} can't be reached, total = {caps.total} comes first"
    if caps.total > 1 and (caps.total - 1) * spacing.emails_ms > caps.window_ms:
        yield f"[caps] and [spacing]: total = {caps.total} emails don't fit into `window` with `emails` between them"
    for trigger in policy.triggers:
        most = caps.positive if trigger.kind == "positive" else caps.total
        if min(most, caps.total) == 0:
            yield f"trigger {trigger.name}: [caps] lets none of its messages out"
        elif trigger.most is not None and trigger.most > most and trigger.within_ms <= caps.window_ms:
            yield f"trigger {trigger.name}: max = {trigger.most} can't be reached, [caps] allow {most}"
