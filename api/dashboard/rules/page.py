"""What is in force and why, every version before it, and what each says otherwise."""

from __future__ import annotations

from dataclasses import asdict
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

from fastapi import APIRouter, Path, Request
from starlette.responses import Response

from api.dashboard.rendering import PageRoute, csv_of, each, page
from api.dashboard.rules.told import told
from api.dashboard.session import SignedIn
from api.problems import Problem
from api.services import InServices, Services
from replay.impact.canary_live import OfVersion, of_version
from runtime.versions import documents, documents_of
from store import canary, drafts
from store import versions as store

if TYPE_CHECKING:
    from psycopg import AsyncConnection

    from api.auth import Caller

router = APIRouter(route_class=PageRoute, include_in_schema=False)

MOST_LISTED = 100
TRIGGER_COLUMNS = ("name", "on", "channel", "template", "kind", "delay_ms", "most", "priority")
HISTORY_COLUMNS = (
    "number", "digest", "author", "note", "copy_of", "partitions", "limits", "created_at", "in_force_at",
)  # fmt: skip
FORECAST_COLUMNS = ("what", "name", "expected", "seen", "low", "high", "stands", "others", "others_stand")
DIFFERENCE_COLUMNS = ("place", "was", "is")
Number = Annotated[int, Path(ge=1, le=2**31 - 1)]


class History(NamedTuple):
    """All versions, the newest first, and the numbers of those that are in force somewhere."""

    entries: list[store.Entry]
    in_force: list[int]

    @property
    def everywhere(self) -> store.Entry | None:
        """That in force for everybody; None if it is what the settings name."""
        return next(
            (one for one in self.entries if one.number in self.in_force and one.partitions is None), None
        )

    @property
    def elsewhere(self) -> list[store.Entry]:
        """Those in force on some partitions."""
        return [one for one in self.entries if one.number in self.in_force and one.partitions is not None]

    @property
    def newest(self) -> int:
        """The greatest number that was given; 0 before the first."""
        return self.entries[0].number if self.entries else 0


async def look(services: Services, agent: Caller) -> History:
    """The history as of now; what this service takes for in force is brought up to it."""
    async with services.writer_pool.connection() as conn:
        await services.in_force.refresh(conn)
    async with services.transaction(agent) as conn:
        return History(await store.history(conn), await store.in_force(conn))


def may_change(services: Services, agent: Caller) -> bool:
    """Whether this agent may put rules into force from here (SUCCESS_RULES_EDITORS)."""
    return agent.subject in services.settings.editors()


def check_editor(services: Services, agent: Caller) -> None:
    """Refuse (403) who may not, with what to do instead."""
    if not may_change(services, agent):
        raise Problem(
            HTTPStatus.FORBIDDEN,
            f"{agent.subject} may look at the rules and not change them: `success config` does it, or whoever runs "
            "this service names them in SUCCESS_RULES_EDITORS",
        )


def not_understood(services: Services, history: History) -> str | None:
    """A sentence, where this program is too old for what is in force and goes on by what was before."""
    wanted = history.everywhere.number if history.everywhere else 0
    number = services.in_force.current.number
    if wanted == number:
        return None
    return (
        f"this program can't use version {wanted} and goes on by {called(services, number)}: bring it up to the "
        "newest release"
    )


def called(services: Services, number: int | None) -> str:
    """A version in words; what was before the first is what the settings name."""
    if number:
        return f"version {number}"
    own = services.settings.config_dir or services.settings.policy
    return f"what {own} says" if own else "what ships"


@router.get("/dashboard/rules")
async def rules(request: Request, agent: SignedIn, services: InServices) -> Response:
    """What is in force, since when, by whom and why; the history."""
    history = await look(services, agent)
    async with services.transaction(agent) as conn:
        authors = await drafts.authors(conn)
        forecast = await _beside_its_forecast(conn, services, history)
    return page(
        request,
        "rules",
        forecast=forecast,
        history=history,
        most=MOST_LISTED,
        given=called(services, None),
        digest=services.configuration.digest,
        not_understood=not_understood(services, history),
        policy=services.policy,
        editor=may_change(services, agent),
        drafts=authors,
    )


@router.get("/dashboard/rules/policy.csv")
async def policy_csv(agent: SignedIn, services: InServices) -> Response:
    """The triggers of the policy in force as a table."""
    await look(services, agent)
    return csv_of("policy", TRIGGER_COLUMNS, each(one.model_dump() for one in services.policy.triggers))


@router.get("/dashboard/rules/forecast.csv")
async def forecast_csv(agent: SignedIn, services: InServices) -> Response:
    """What was expected of the version that the page compares with its forecast, and what came, as a table."""
    history = await look(services, agent)
    async with services.transaction(agent) as conn:
        found = await _beside_its_forecast(conn, services, history)
    lines = found.compared.lines if found else []
    return csv_of("forecast", FORECAST_COLUMNS, each(asdict(one) for one in lines))


@router.get("/dashboard/rules/history.csv")
async def history_csv(agent: SignedIn, services: InServices) -> Response:
    """All versions as a table."""
    history = await look(services, agent)
    return csv_of("history", HISTORY_COLUMNS, each(asdict(one) for one in history.entries))


@router.get("/dashboard/rules/versions/{number}")
async def version(request: Request, agent: SignedIn, services: InServices, number: Number) -> Response:
    """A version: who put it into force and why, and what it says otherwise than the one before it."""
    history = await look(services, agent)
    async with services.transaction(agent) as conn:
        stored, before, was = await _with_the_one_before(conn, services, number)
    return page(
        request,
        "rules_version",
        history=history,
        entry=next(one for one in history.entries if one.number == number),
        before=before,
        before_called=called(services, before),
        told=told(was, documents(stored.version, stored.words)),
        editor=may_change(services, agent),
    )


@router.get("/dashboard/rules/versions/{number}/differences.csv")
async def differences_csv(agent: SignedIn, services: InServices, number: Number) -> Response:
    """What a version says otherwise than the one before it, as a table; of words how many lines."""
    async with services.transaction(agent) as conn:
        stored, _, was = await _with_the_one_before(conn, services, number)
    found = told(was, documents(stored.version, stored.words))
    lines: list[dict[str, Any]] = [{"place": one.place, "was": one.was, "is": one.now} for one in found.lines]
    lines += [
        {"place": one.name, "was": f"{one.taken} lines", "is": f"{one.added} lines"} for one in found.words
    ]
    return csv_of(f"version-{number}", DIFFERENCE_COLUMNS, each(lines))


async def _beside_its_forecast(
    conn: AsyncConnection, services: Services, history: History
) -> OfVersion | None:
    """The newest version that has a forecast, as long as it is in force somewhere."""
    number = await canary.newest_with_a_forecast(conn)
    if number not in history.in_force:
        return None
    return await of_version(conn, number, services.settings.partitions, services.clock.now_ms())


async def stored_version(conn: AsyncConnection, number: int) -> store.Stored:
    """A version; a page that says so where there is none."""
    stored = await store.one(conn, number)
    if stored is None:
        raise Problem(HTTPStatus.NOT_FOUND, f"there is no version {number}")
    return stored


async def documents_in_force(conn: AsyncConnection, services: Services, number: int | None) -> dict[str, Any]:
    """All that a version says; of none what the settings name."""
    if not number:
        return documents_of(services.given)
    stored = await stored_version(conn, number)
    return documents(stored.version, stored.words)


async def _with_the_one_before(
    conn: AsyncConnection, services: Services, number: int
) -> tuple[store.Stored, int | None, dict[str, Any]]:
    stored = await stored_version(conn, number)
    before = await store.before(conn, number)
    return stored, before, await documents_in_force(conn, services, before)
