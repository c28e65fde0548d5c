"""Rows of *Today*: calls to make and calls that are suggested, each with what an agent needs before they dial."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

from api.dashboard.today import reachable, saying
from api.dashboard.today.calling import Called, call_list, churn_reasons, snapshot_of
from api.dashboard.today.priority import Priority, is_asked, not_to_do, priority
from api.dashboard.words import Names
from scoring.zones import zone_or
from store.dashboard import population, tasks

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import date, datetime

    from psycopg import AsyncConnection

    from api.services import Services
    from scoring.decisions.policy import Policy

PAGE = 100
MOST_PAGES = 5
"""How far down the team's tasks are read at most."""
PUT_OFF_DAYS = (1, 3, 7, 14)


@dataclass(frozen=True, slots=True)
class Line:
    """A call to make (`task`, a row of the store's tasks), or one that is suggested (`task` is None)."""

    facts: dict[str, Any]
    priority: Priority
    reach: reachable.Reach
    channel: str
    why: str
    help: str
    opening: tuple[saying.Said, ...]
    task: dict[str, Any] | None = None
    kind: str = "suggested"
    """`asked` by the supplier, `added` by an agent, `offer` of the engine, or `suggested`."""
    due: date | None = None
    due_words: str = ""
    overdue: bool = False
    against: str | None = None
    """Why it makes no sense now."""
    later: bool = False
    """It is put off."""


async def team_lines(
    conn: AsyncConnection, now: datetime, services: Services, wanted: int
) -> tuple[list[Line], bool]:
    """Everybody's calls to make, most urgent first, and whether there are more.

    What people asked for comes first in the index, then the engine's by risk x value; see `call_list`.
    """
    found: list[Line] = []
    after = population.Place()
    for _ in range(MOST_PAGES):
        page = await tasks.team(conn, after, now, PAGE)
        found += [line for line in await _lines(conn, page, now, services) if line.against is None]
        if len(page) < PAGE:
            break
        after = population.Place(page[-1]["weight"], page[-1]["id"])
        if len(found) > wanted:
            break
    lines = _in_order(_one_each(found))
    return lines[:wanted], len(lines) > wanted


async def own_lines(conn: AsyncConnection, now: datetime, services: Services, owner: str) -> list[Line]:
    """The calls to make to an agent's own suppliers, those put off at the end."""
    found = await _lines(conn, await tasks.of_owner(conn, owner), now, services)
    return _in_order(_one_each(line for line in found if line.against is None))


@dataclass(frozen=True, slots=True)
class ToDo:
    """What a supplier's page shows of calls to make (`_tasks.html`); also those that make no sense now."""

    lines: list[Line]
    owner: str | None
    put_off: list[tuple[str, str]]
    new_id: UUID = field(default_factory=uuid4)


async def to_do(conn: AsyncConnection, supplier_id: str, now: datetime, services: Services) -> ToDo:
    """All calls to make to one supplier, and whose book they are in."""
    lines = await _lines(conn, await tasks.of_supplier(conn, supplier_id), now, services)
    owner = lines[0].facts["owner"] if lines else await tasks.owner(conn, supplier_id)
    return ToDo(lines, owner, put_off_choices(now, services.policy))


def put_off_choices(now: datetime, policy: Policy) -> list[tuple[str, str]]:
    """To when a task can be put off: the days that a form sends, and the words of its button."""
    return [(str(days), reachable.put_off_words(now, days, policy.calls)) for days in PUT_OFF_DAYS]


async def suggested_lines(
    conn: AsyncConnection, now: datetime, services: Services, wanted: int, owner: str | None = None
) -> list[Line]:
    """Calls that nobody has as a task, most urgent first; of `owner`'s suppliers only, if given."""
    called: list[Called] = await call_list(conn, now, services.policy, wanted, owner)
    return [line_of(facts, urgency, now, services) for facts, urgency in called]


async def _lines(
    conn: AsyncConnection, found: list[dict[str, Any]], now: datetime, services: Services
) -> list[Line]:
    facts = await population.call_facts(conn, sorted({task["supplier_id"] for task in found}))
    by_id = {row["id"]: row for row in facts}
    return [
        line_of(
            by_id[task["supplier_id"]],
            priority(by_id[task["supplier_id"]], now, services.policy.hours),
            now,
            services,
            task,
        )
        for task in found
        if task["supplier_id"] in by_id
    ]


def line_of(
    facts: dict[str, Any],
    urgency: Priority,
    now: datetime,
    services: Services,
    task: dict[str, Any] | None = None,
) -> Line:
    """One row, of somebody's `call_facts` and a task of theirs (None: a call to them is suggested)."""
    policy = services.policy
    zone = zone_or(facts["timezone"], policy.hours.zone)
    life = saying.life_of(facts, snapshot_of(facts), policy.rules, task["tries"] if task else 0)
    names = Names.of(services.letters)
    reasons = churn_reasons(facts["facts"], names)[:2]
    otherwise = ", ".join(name for name, _ in reasons).lower()
    about: dict[str, Any] = {
        "facts": facts,
        "priority": urgency,
        "reach": reachable.reach(now, facts["timezone"], policy.hours, policy.calls, names.busy_days),
        "channel": reachable.channel(facts),
        "why": saying.why(life, now, zone, otherwise),
        "help": saying.help_of(life),
        "opening": saying.opening(life, now, zone.key, services.letters, facts["locale"]),
    }
    if task is None:
        return Line(**about)
    due = reachable.due_day(task, policy.calls)
    return Line(
        **about,
        task=task,
        kind="asked" if is_asked(task) else "added" if task["added_by"] else "offer",
        due=due,
        due_words=reachable.due_words(due, now, policy.calls),
        overdue=due < now.astimezone(zone_or(policy.calls.zone, policy.hours.zone)).date(),
        against=not_to_do(task, facts, now),
        later=task["snoozed_until"] is not None and task["snoozed_until"] > now,
    )


def _one_each(lines: Iterable[Line]) -> list[Line]:
    """One line a supplier: who asked has not to be offered a call beside it."""
    found: dict[str, Line] = {}
    for line in lines:
        found.setdefault(line.facts["id"], line)
    return list(found.values())


def _in_order(lines: Iterable[Line]) -> list[Line]:
    """What is put off last; who can be reached now first; what was promised by its day, the rest by urgency."""

    def place(line: Line) -> tuple[bool, bool, bool, bool, int, float, str]:
        promised = line.kind != "offer" or bool(line.facts["owner"])
        day = line.due.toordinal() if line.due and (promised or line.later) else 0
        reach, score = line.reach, line.priority.score
        return line.later, not reach.ever, not reach.now, not promised, day, -score, line.facts["id"]

    return sorted(lines, key=place)
