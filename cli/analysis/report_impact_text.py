"""The impact report for people: what was seen, how sure that is, and what it would take to see more."""

from __future__ import annotations

import sys
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

FULL_WIDTH = 120


def show_live(said: dict[str, Any]) -> None:
    """Print the report on a database."""
    console = _console()
    if "everybody" not in said:
        console.print(said["says"])
        return
    console.print(
        f"[bold]Real data[/bold], {said['since'][:10]} to {said['until'][:10]}: {said['suppliers']:,} suppliers who "
        f"could be watched for 30 days; holdout {said['holdout']:.0%}"
    )
    for note in said["notes"]:
        console.print(f"  note: {escape(note)}")
    console.print(_comparisons(said))
    _conclude(console, said, said["suppliers"])
    _needs(console, said, weeks=True)


def show_simulated(said: dict[str, Any]) -> None:
    """Print the simulated experiment."""
    console = _console()
    effects, experiment, truth, wanted = (
        said[key] for key in ("assumed_effects", "experiment", "truth", "needed_effect")
    )
    console.print(
        f"[bold]SIMULATION[/bold]: {said['suppliers']:,} simulated suppliers for 30 days. How they respond to messages "
        "is assumed, not measured:"
    )
    console.print(
        f"  {effects['read']:.0%} of messages are read; what is read takes them {effects['lift']:.1%} of the way to "
        "full interest, which then fades\n"
    )
    low, high = truth["interval"]
    console.print("[bold]What the policy does to them[/bold] (the same people with and without its messages)")
    console.print(
        f"  30-day churn {truth['without']:.2%} without, {truth['with_messages']:.2%} with {truth['messages']:.1f} "
        f"messages a supplier: {truth['reduction']:.1%} fewer leave (95 % interval {low:.1%} to {high:.1%})"
    )
    target = experiment["target_reduction"]
    verdict = "reached" if low >= target else "not reached" if high < target else "not certain either way"
    console.print(f"  the specification's {target:.0%} fewer: {verdict} under these assumptions")
    if wanted["factor"] is None:
        console.print(
            f"  no lift reaches {target:.0%} as long as {effects['read']:.0%} are read: the most is "
            f"{wanted['reduction']:.1%}\n"
        )
    else:
        console.print(
            f"  {target:.0%} would need a lift of about {wanted['lift']:.0%} a message read, {wanted['factor']:g} "
            f"times the assumed one ({wanted['reduction']:.1%} in this population)\n"
        )
    console.print(f"[bold]What an experiment with {experiment['holdout']:.0%} held out sees of it[/bold]")
    console.print(_comparisons(experiment))
    _conclude(console, experiment, said["suppliers"])
    _needs(console, experiment, weeks=False)


def _console() -> Console:
    return Console(width=None if sys.stdout.isatty() else FULL_WIDTH, highlight=False, soft_wrap=True)


def _comparisons(said: dict[str, Any]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("30-day churn of", "treated", "holdout", "difference (95 %)", "fewer leave (95 %)", "says"):
        left = title in {"30-day churn of", "says"}
        table.add_column(title, justify="left" if left else "right", no_wrap=True)
    rows = [
        ("everybody", said["everybody"]),
        ("a message was due", said["reached"]),
    ]
    rows += [(f"  first {name}", each) for name, each in said["by_first_message"].items()]
    for name, each in rows:
        table.add_row(
            name, _share(each["treated"]), _share(each["holdout"]), _points(each), _fewer(each), _says(each)
        )
    return table


def _says(each: dict[str, Any]) -> str:
    low, high = each["difference"]["interval"]
    if not each["treated"]["n"] or not each["holdout"]["n"]:
        return "nothing to compare"
    return "fewer leave" if high < 0 else "more leave" if low > 0 else "can't be told"


def _share(group: dict[str, Any]) -> str:
    return f"{group['hits']:,}/{group['n']:,}" + (f" {group['share']:.1%}" if group["n"] else "")


def _points(each: dict[str, Any]) -> str:
    low, high = each["difference"]["interval"]
    if not each["treated"]["n"] or not each["holdout"]["n"]:
        return "-"
    return f"{100 * each['difference']['value']:+.1f} ({100 * low:+.1f} to {100 * high:+.1f})"


def _fewer(each: dict[str, Any]) -> str:
    if each["reduction"] is None:
        return "-"
    low, high = each["reduction"]["interval"]
    return f"{each['reduction']['value']:.0%} ({low:.0%} to {high:.0%})"


def _conclude(console: Console, said: dict[str, Any], people: int) -> None:
    reduction = said["everybody"]["reduction"]
    target = said["target_reduction"]
    if reduction is not None and said["everybody"]["treated"]["n"]:
        low, high = reduction["interval"]
        if low >= target:
            verdict = f"yes: at least {target:.0%} fewer of the treated leave"
        elif high < target:
            verdict = f"no: less than {target:.0%}, whatever chance did"
        else:
            verdict = f"can't be told: {low:.0%} to {high:.0%} are all compatible with what was seen"
        console.print(
            "Everybody counts in the group that chance put them into, whether a message reached them or not (intention "
            "to treat). The lines per first message are many looks at few people: one in twenty strays by chance."
        )
        console.print(f"\n{target:.0%} fewer within 30 days? {verdict}")
    smallest = said["smallest_reduction_visible"]
    if smallest is not None:
        console.print(
            f"{people:,} suppliers, so divided, would show a reduction by {smallest:.0%} or more in 4 of 5 such "
            "experiments"
        )


def _needs(console: Console, said: dict[str, Any], *, weeks: bool) -> None:
    base = said["churn_without_messages"]
    console.print(
        f"\nTo see {said['target_reduction']:.0%} fewer than {base:.1%} leave within 30 days "
        f"(power {said['power']:.0%}, 5 % error):"
    )
    for need in said["needed_to_see_target"]:
        if need["people"] is None:
            console.print(f"  holdout {need['holdout']:.0%}: can't be seen while nobody leaves")
            continue
        when = ""
        if weeks:
            when = (
                "; weeks: unknown, nobody new comes"
                if need["weeks"] is None
                else f", {need['weeks']:g} weeks"
            )
        console.print(f"  holdout {need['holdout']:.0%}: {need['people']:,.0f} suppliers{when}")
