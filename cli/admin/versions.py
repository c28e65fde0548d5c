"""`success config activate`, `rollback`, `history`, `diff`, `compare`: versions of the configuration."""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from agents.cluster.describing import ClusterError
from agents.letters.checking import checked
from cli.admin.shared import actor, json_option, now_ms, writing
from cli.errors import CommandError, UsageError
from cli.in_force import in_force, newest_version
from cli.policy import changed, load_configuration, wholly_checked
from runtime.settings import Settings
from runtime.versions import differences, documents, documents_of
from scoring.decisions.forecast import forecast_of
from store import versions as store

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from agents.acts.versions import Act
    from runtime.configuration import Configuration
    from scoring.decisions.forecast import Forecast

FOLDER = click.Path(path_type=Path, file_okay=False)
_note = click.option("--note", required=True, metavar="TEXT", help="Why, for the history.")
_author = click.option("--author", metavar="WHO", help="Whose decision it is (default: your login name).")
_LONGEST_SHOWN = 60


class _Partitions(click.ParamType):
    name = "0,3"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, ...]:
        """Numbers of partitions; a usage error that says what is wrong."""
        if isinstance(value, tuple):
            return value
        parts = [part.strip() for part in str(value).split(",")]
        if not all(part.isdigit() and len(part) < 7 for part in parts):  # noqa: PLR2004 - more than there can be
            self.fail("write partitions as numbers with commas between them, such as 0,3", param, ctx)
        return tuple(sorted({int(part) for part in parts}))


class _Limit(click.ParamType):
    name = "NAME=MOST"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, int]:
        """What is limited, and the most there may be of it; a usage error that says what is wrong."""
        if isinstance(value, tuple):
            return value
        name, _, most = str(value).partition("=")
        if name not in store.LIMITED or not most.isdigit() or len(most) >= 7:  # noqa: PLR2004 - more than there can be
            self.fail(f"write one of {', '.join(store.LIMITED)} and a number, such as bounces=10", param, ctx)
        return name, int(most)


@click.command()
@click.argument("folder", type=FOLDER, required=False)
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="NAME=VALUE",
    help="Without FOLDER: this otherwise, as in replay.",
)
@click.option(
    "--churn",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Without FOLDER: this model, which fit-churn wrote.",
)
@_note
@_author
@click.option(
    "--partitions", type=_Partitions(), help="Put it into force on these partitions only, to see how it does."
)
@click.option(
    "--limit",
    "limits",
    type=_Limit(),
    multiple=True,
    help="Take it back once its messages brought more complaints, bounces, unsubscribes or failures than that.",
)
@click.option(
    "--forecast",
    "forecast_file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Keep with it what `success replay --config FOLDER --json` wrote there, for `success config compare`.",
)
@json_option
def activate(
    folder: Path | None,
    settings: tuple[str, ...],
    churn: Path | None,
    note: str,
    author: str | None,
    partitions: tuple[int, ...] | None,
    limits: tuple[tuple[str, int], ...],
    forecast_file: Path | None,
    as_json: bool,
) -> None:
    """Check FOLDER and put it into force in all running services, within seconds and without a restart.

    What it leaves out is stored as it ships today: a later release changes nothing in force. Without FOLDER it is what
    is in force, with what a what-if (--set) or fit-churn (--churn) found on top.
    """
    if (folder is None) == (not settings and churn is None):
        raise UsageError("give FOLDER, or --set and --churn, which change what is in force")
    found = wholly_checked(folder) if folder else changed(asyncio.run(in_force(Settings())), settings, churn)
    forecast = None if forecast_file is None else _forecast(forecast_file)
    act, waiting = _act(note, author), _run(_waiting_for_nobody(Settings(), found))
    for trigger, rows in waiting.items() if not as_json else ():
        click.echo(f"{rows} messages of {trigger} wait, which goes: they will be suppressed as paused")
    stored = _run(_activate(Settings(), found, act, partitions, dict(limits) or None, forecast))
    if as_json:
        click.echo(json.dumps(_said(stored) | {"orphans": waiting}))
        return
    where = "" if partitions is None else f" on partitions {', '.join(map(str, partitions))}"
    click.echo(f"version {stored.version.number} is in force{where}; digest {stored.version.digest}")


@click.command()
@click.argument("number", type=click.IntRange(min=1))
@_note
@_author
@json_option
def rollback(number: int, note: str, author: str | None, as_json: bool) -> None:
    """Put version NUMBER into force again, as a new version."""
    stored = _run(_rollback(Settings(), number, _act(note, author)))
    if as_json:
        click.echo(json.dumps(_said(stored)))
        return
    click.echo(
        f"version {stored.version.number} is in force: version {number} again; digest {stored.version.digest}"
    )


@click.command()
@json_option
def history(as_json: bool) -> None:
    """List what was put into force, when, by whom and why, the newest first."""
    entries = _run(_history(Settings()))
    if as_json:
        click.echo(json.dumps({"versions": [_line(entry) for entry in entries]}))
        return
    if not entries:
        click.echo("nothing was activated yet: what ships, or SUCCESS_CONFIG_DIR, is in force")
    for entry in entries:
        where = "" if entry.partitions is None else f"  on partitions {', '.join(map(str, entry.partitions))}"
        again = f" (version {entry.copy_of} again)" if entry.copy_of else ""
        watched = f"  until more than {_limits(entry.limits)}" if entry.limits else ""
        lost = "" if entry.in_force_at else "  never got into force"
        click.echo(
            f"{entry.number:>4}  {entry.created_at:%Y-%m-%d %H:%M}  {entry.digest[:12]}  {entry.author}: "
            f"{entry.note}{again}{where}{watched}{lost}"
        )


@click.command()
@click.argument("folder", type=FOLDER, required=False)
@json_option
def diff(folder: Path | None, as_json: bool) -> None:
    """Say what FOLDER (default: SUCCESS_CONFIG_DIR, or what ships) says otherwise than what is in force."""
    settings = Settings()
    draft = checked(folder) if folder is not None else load_configuration(settings)
    now = _documents_in_force(settings)
    found = list(differences(now, documents_of(draft)))
    if as_json:
        changes = [{"place": place, "was": was, "is": new} for place, was, new in found]
        click.echo(json.dumps({"differences": changes}))
        return
    if not found:
        click.echo("nothing: it is what is in force")
    for place, was, new in found:
        click.echo(f"{place}: {_short(was)} -> {_short(new)}")


@click.command()
@click.argument("number", metavar="[VERSION]", type=click.IntRange(min=1), required=False)
@json_option
def compare(number: int | None, as_json: bool) -> None:
    """Say whether VERSION behaves as forecast (default: the newest that was activated with --forecast).

    What was expected of it beside what came of it where it is in force, and beside the other partitions meanwhile.
    """
    from cli.admin.versions_compared import compared, show  # noqa: PLC0415 - only who compares

    number, partitions, found = _run(compared(Settings(), number))
    if as_json:
        click.echo(json.dumps({"version": number, "partitions": partitions, **found.as_json()}))
        return
    show(number, partitions, found)


COMMANDS = (activate, rollback, history, diff, compare)


def show_version(stored: store.Stored, *, as_json: bool) -> None:
    """Print a version."""
    if as_json:
        click.echo(json.dumps(_said(stored)))
        return
    version = stored.version
    click.echo(f"version       {version.number}")
    click.echo(f"digest        {version.digest}")
    click.echo(f"rules         {version.compiled().rules.digest}")
    click.echo(f"since         {version.at}")
    click.echo(f"author        {stored.author}")
    click.echo(f"note          {stored.note}")
    if version.partitions is not None:
        click.echo(f"partitions    {', '.join(map(str, version.partitions))}")
    if stored.limits:
        click.echo(f"limits        {_limits(stored.limits)}")


def activate_files(settings: Settings, note: str) -> int | None:
    """Put what the settings name (SUCCESS_CONFIG_DIR, SUCCESS_POLICY) into force unless it ever was; its number."""
    if settings.config_dir is None and settings.policy is None:
        return None
    found = load_configuration(settings)
    settings = settings.model_copy(update={"database_url": settings.owner_database_url()})

    async def once() -> int | None:
        async with writing(settings) as pool:
            from agents.acts import versions as acts  # noqa: PLC0415

            await acts.reconcile(settings, pool, now_ms())
            async with pool.connection() as conn:
                if await store.was_activated(conn, found.digest, found.source_digest):
                    return None
            act = _act(note, "success migrate")
            try:
                return (await acts.activate(settings, pool, found, found, act)).version.number
            except acts.OldWorkersError as error:  # an upgrade needs no stop
                click.echo(f"configuration: not put into force yet: {error}", err=True)
                return None

    number: int | None = _run(once())
    return number


def _act(note: str, author: str | None) -> Act:
    from agents.acts.versions import Act  # noqa: PLC0415 - only who acts

    if not note.strip():
        raise UsageError("--note says why; it can't be empty")
    who = actor(author)
    return Act(who, author or who.id, note.strip(), now_ms())


async def _waiting_for_nobody(settings: Settings, found: Configuration) -> dict[str, int]:
    """How many messages wait for each trigger that this configuration has no more."""
    async with writing(settings) as pool, pool.connection() as conn:
        return await store.waiting_for_nobody(conn, [trigger.name for trigger in found.policy.triggers])


async def _activate(
    settings: Settings,
    found: Configuration,
    act: Act,
    partitions: tuple[int, ...] | None,
    limits: dict[str, int] | None,
    forecast: Forecast | None,
) -> store.Stored:
    from agents.acts import versions as acts  # noqa: PLC0415 - only who acts

    async with writing(settings) as pool:
        before = load_configuration(settings)
        return await acts.activate(settings, pool, found, before, act, partitions, limits, forecast)


async def _rollback(settings: Settings, number: int, act: Act) -> store.Stored:
    from agents.acts import versions as acts  # noqa: PLC0415 - only who acts

    async with writing(settings) as pool:
        return await acts.rollback(settings, pool, number, load_configuration(settings), act)


async def _history(settings: Settings) -> list[store.Entry]:
    async with writing(settings) as pool, pool.connection() as conn:
        return await store.history(conn)


def _run(work: Coroutine[Any, Any, Any]) -> Any:
    try:
        return asyncio.run(work)
    except ClusterError as error:
        raise CommandError(str(error)) from error


def _documents_in_force(settings: Settings) -> dict[str, Any]:
    stored = asyncio.run(newest_version(settings))
    if stored is None:
        return documents_of(load_configuration(settings))
    return documents(stored.version, stored.words)


def _said(stored: store.Stored) -> dict[str, Any]:
    version = stored.version
    return {
        "version": version.number,
        "digest": version.digest,
        "author": stored.author,
        "note": stored.note,
        "at": version.at,
        "copy_of": stored.copy_of,
        "partitions": version.partitions,
        "limits": stored.limits,
        "forecast": stored.forecast is not None,
    }


def _forecast(path: Path) -> Forecast:
    try:
        return forecast_of(json.loads(path.read_text("utf-8")))
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"--forecast {path}: can't be read ({error})") from error
    except ValueError as error:  # no JSON, or no forecast
        raise UsageError(f"--forecast {path}: {error}") from error


def _limits(limits: dict[str, int]) -> str:
    return ", ".join(f"{most} {name}" for name, most in limits.items())


def _line(entry: store.Entry) -> dict[str, Any]:
    said = asdict(entry)
    return said | {
        name: said[name] and said[name].isoformat().replace("+00:00", "Z")
        for name in ("created_at", "in_force_at")
    }


def _short(value: Any) -> str:
    if value is None:
        return "nothing"
    text = " ".join(str(value).split()) if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}…"
