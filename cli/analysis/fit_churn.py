"""`success fit-churn`: fits the churn model on an activity log and says how well it does, against three baselines."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from cli.errors import CommandError, UsageError

FULL_WIDTH = 120


@click.command(name="fit-churn")
@click.argument("log", type=click.Path(path_type=Path), required=False)
@click.option(
    "--map",
    "mapping",
    multiple=True,
    metavar="FILE|ROLE=COLUMN",
    help="How to read a CSV: user=…, timestamp=…, event=…, item=…, EVENT=login|churn|return|ignore; or a TOML file.",
)
@click.option(
    "--horizon", type=click.FloatRange(1), help="Days within which leaving is foreseen (a CSV only)."
)
@click.option("--simulated", is_flag=True, help="Fit on the simulated population instead of a LOG.")
@click.option(
    "--suppliers", type=click.IntRange(50), default=3000, show_default=True, help="With --simulated."
)
@click.option("--seed", type=int, default=1, show_default=True, help="Of the simulation and the intervals.")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="Write the model there.")
@click.option("--anyway", is_flag=True, help="Write it also if it ranks worse than chance or the last login.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def fit_churn(
    log: Path | None,
    mapping: tuple[str, ...],
    horizon: float | None,
    simulated: bool,
    suppliers: int,
    seed: int,
    out: Path | None,
    anyway: bool,
    as_json: bool,
) -> None:
    """Fit the churn model on LOG and measure it on the log's later part.

    LOG is a recorded file of ours (JSON Lines), an archive of `success export`, or anybody's activity log as CSV. Its
    earlier part fits, its later part measures: AUC and Brier score, against BG/NBD, days since the last login, the
    health score and event frequency. --out writes the coefficients for `success config activate --churn`, unless
    the model ranks the later part worse than chance, or than days since the last login.
    """
    # scikit-learn and pandas take a second to import: only this command pays for it
    from replay.churn.fit import fit_and_evaluate  # noqa: PLC0415
    from replay.churn.model_file import model_toml  # noqa: PLC0415
    from replay.churn.read import read_log, simulated_log  # noqa: PLC0415
    from replay.log.activity_log import LogError  # noqa: PLC0415

    if (log is None) == (not simulated):
        raise UsageError("give either a LOG or --simulated")
    try:
        activity = simulated_log(suppliers, seed) if log is None else read_log(log, mapping, horizon)
        evaluation = fit_and_evaluate(activity, _origin(activity.name, simulated), seed=seed)
    except LogError as error:
        raise UsageError(str(error)) from error
    worse = evaluation.worse_than()
    refused = out is not None and worse is not None and not anyway
    if out is not None and not refused:
        made_by = f"success fit-churn {shlex.join(sys.argv[2:])}"
        try:
            out.write_text(model_toml(evaluation, made_by), encoding="utf-8")
        except OSError as error:
            raise CommandError(f"can't write {out}: {error.strerror}") from error
    if as_json:
        written = None if refused or out is None else str(out)
        click.echo(json.dumps(evaluation.as_json() | {"written": written, "worse_than": worse}))
    else:
        _show(evaluation.as_json(), None if refused else out)
    if refused:
        raise CommandError(
            f"{out} is not written: on the later part the model ranks worse than {worse}; --anyway writes it"
        )


def _origin(name: str, simulated: bool) -> str:
    return (
        f"fitted on a simulated population ({name}), on no real supplier"
        if simulated
        else f"fitted on {name}"
    )


def _show(said: dict[str, object], out: Path | None) -> None:
    console = Console(width=None if sys.stdout.isatty() else FULL_WIDTH, highlight=False)
    numbers = json.loads(json.dumps(said))
    console.print(
        f"{numbers['log']}: {numbers['users']:,} users, {numbers['events']:,} events, {numbers['days']:g} days; "
        f"leaving = {numbers['leaving']}, foreseen {numbers['horizon_days']:g} days ahead"
    )
    for note in numbers["notes"]:
        console.print(f"  {note}")
    earlier, later = numbers["fitted_on"], numbers["measured_on"]
    console.print(
        f"fitted on {earlier['moments']:,} moments of {earlier['users']:,} users that were over at "
        f"{numbers['split_at']}, measured on {later['moments']:,} of {later['users']:,} users from then on "
        f"({later['before_leaving']:,} before leaving)\n"
    )
    ranking = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("ranks who leaves by", "AUC", "95 % interval", "model ahead by", "Brier"):
        ranking.add_column(title, justify="left" if title.startswith("ranks") else "right")
    for each in numbers["rankings"]:
        ahead = each["model_ahead"]
        ranking.add_row(
            each["name"],
            f"{each['auc']:.3f}",
            f"{each['low']:.3f} to {each['high']:.3f}",
            f"{ahead[0]:+.3f} to {ahead[1]:+.3f}" if ahead else "",
            f"{each['brier']:.4f}",
        )
    console.print(ranking)
    calibration = Table(box=None, pad_edge=False, header_style="bold", title_justify="left")
    for title in ("fifth by prediction", "moments", "predicted", "left"):
        calibration.add_column(title, justify="right")
    for number, each in enumerate(numbers["calibration"]["bins"], start=1):
        calibration.add_row(
            str(number), f"{each['samples']:,}", f"{each['predicted']:.1%}", f"{each['observed']:.1%}"
        )
    console.print()
    console.print(calibration)
    brier = numbers["calibration"]
    console.print(
        f"Brier score {brier['brier']:.4f}; saying the earlier share to everybody: {brier['brier_of_base_rate']:.4f}\n"
    )
    weights = Table(box=None, pad_edge=False, header_style="bold")
    weights.add_column("signal")
    weights.add_column("weight", justify="right")
    for name, weight in sorted(numbers["model"]["weights"].items(), key=lambda each: -abs(each[1])):
        weights.add_row(name, f"{weight:+.3f}")
    weights.add_row("(intercept)", f"{numbers['model']['intercept']:+.3f}")
    console.print(weights)
    if out is not None:
        console.print(f"\nwrote {out}")
