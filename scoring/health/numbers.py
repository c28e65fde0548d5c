"""The named numbers and texts of a state that rules may compare, and which events move each.

None of them is an age: what time alone changes is a condition's `since` and `after`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from scoring.health.expressions import Kind

ANY: frozenset[str] = frozenset({"*"})
"""Moved by whatever moves the score."""
OF_KNOWN_CLIENTS = frozenset({"clients_known", "plan_clients_percent"})
"""Those that follow from how many clients are known, and the plan."""
_PLAN = frozenset({"supplier.signed_up", "plan.changed"})
_CANCELLED = frozenset({"supplier.cancelled", "supplier.reactivated"})
_SWITCHED = frozenset({"journey.activated", "journey.deactivated"})


@dataclass(frozen=True)
class Number:
    """One name: what it is, for people; the Python source that reads it off a state `s`; the events that move it."""

    kind: Kind
    means: str
    source: str
    moved_by: frozenset[str]


def numbers(
    event_types: Iterable[str],
    features: Mapping[str, tuple[int, tuple[str, ...]]],
    client_events: frozenset[str],
    limits: Mapping[str, Mapping[str, int]],
) -> dict[str, Number]:
    """Every name.

    `features`: name -> (bit, its event types); `client_events`: those that make clients known or active; `limits`: plan
    -> what it holds of clients and forms.
    """
    found = {
        "plan": Number("text", "the plan that the activity events say; '' if none", "(s.plan or '')", _PLAN),
        "level": Number("text", "'critical', 'at_risk' or 'healthy'", "s.level", ANY),
        "score": Number("number", "the displayed score, 0 to 100", "s.score", ANY),
        "signed_up": Number(
            "truth",
            "whether they signed up",
            "(s.signed_up_at is not None)",
            frozenset({"supplier.signed_up"}),
        ),
        "cancelled": Number(
            "truth", "whether they cancelled and did not come back", "s.cancelled", _CANCELLED
        ),
        "clients_known": Number("number", "known clients", "len(s.clients)", client_events),
        "clients_active": Number(
            "number", "clients active within 30 days", "s.active_clients", client_events
        ),
        "journeys_active": Number(
            "number", "journeys that are switched on", "sum(on for _, on in s.journeys.values())", _SWITCHED
        ),
        "features_used": Number(
            "number",
            "key features ever used",
            f"(s.features & {sum(bit for bit, _ in features.values())}).bit_count()",
            frozenset(kind for _, kinds in features.values() for kind in kinds),
        ),
    }
    for name, (bit, kinds) in features.items():
        count = " + ".join(f"s.counts.get({kind!r}, 0)" for kind in kinds)
        found[name] = Number(
            "number",
            f"how often {' or '.join(kinds)} came; at least 1 once the feature is used",
            f"(({count}) or (1 if s.features & {bit} else 0))",
            frozenset(kinds),
        )
    for kind in event_types:
        found.setdefault(
            kind.replace(".", "_"),
            Number("number", f"how often {kind} came", f"s.counts.get({kind!r}, 0)", frozenset({kind})),
        )
    for what, held, moved in (
        ("clients", "len(s.clients)", client_events),
        ("forms", "s.counts.get('form.created', 0)", frozenset({"form.created"})),
    ):
        of_plans = {plan: held_by[what] for plan, held_by in limits.items() if held_by.get(what)}
        found[f"plan_{what}_percent"] = Number(
            "number",
            f"{what} in percent of what the plan holds; 0 where it has no limit",
            f"(100 * {held} / {of_plans!r}[s.plan] if s.plan in {of_plans!r} else 0)",
            moved | _PLAN,
        )
    return found


def as_table(found: Mapping[str, Number]) -> str:
    """The names for people, in Markdown."""
    rows = (f"| `{name}` | {number.kind} | {number.means} |" for name, number in sorted(found.items()))
    return "\n".join(["| name | | what it is |", "|---|---|---|", *rows])
