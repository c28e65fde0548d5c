"""What a list of suppliers is narrowed by, ordered by and shows: as addresses carry it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date
from http import HTTPStatus
from typing import Annotated, Literal
from urllib.parse import parse_qsl, urlencode

from fastapi import Depends, Query, Request

from api.auth import Caller
from api.problems import Problem
from api.services import Services
from store import audit
from store.dashboard.lists import ORDERS, Wanted
from store.dashboard.population import BANDS

PAGE, CSV_PAGE = 50, 1000
Level = Literal["critical", "at_risk", "new", "healthy"]
LEVELS = ("critical", "at_risk", "new", "healthy")
COLUMNS = {
    "level": "Level",
    "score": "Score",
    "next": "If nothing happens",
    "churn": "Churn",
    "plan": "Plan",
    "trade": "Trade",
    "login": "Last login",
    "week": "Signed up",
    "owner": "Owner",
    "tags": "Tags",
    "email": "Address",
    "phone": "Phone",
}
"""What a list may show beside the name."""
USUAL = ("level", "score", "next", "churn", "plan", "login", "week", "owner", "tags")
SORTS = {
    "weight": "most at stake",
    "name": "name",
    "score": "lowest score",
    "-score": "highest score",
    "since": "newest change of level",
    "-since": "longest at their level",
    "week": "newest sign-up",
    "-week": "oldest sign-up",
    "-name": "name, backwards",
    "-weight": "least at stake",
}
LONGEST = 200
NOBODY = "-"
"""The owner of those who are in nobody's book, in addresses."""


@dataclass(frozen=True, slots=True)
class Filters:
    """A list as its address says it; empty is everybody, by weight, with the usual columns."""

    q: str = ""
    level: str = ""
    band: str = ""
    week: str = ""
    plan: str = ""
    trade: str = ""
    tag: str = ""
    owner: str = ""
    sort: str = ""
    col: str = ""

    @property
    def narrowed(self) -> bool:
        """Whether anything but the order and the columns is said."""
        return replace(self, sort="", col="") != Filters()

    @property
    def order(self) -> str:
        """A name of `ORDERS`, perhaps turned round."""
        return self.sort or "weight"

    @property
    def columns(self) -> tuple[str, ...]:
        """What is shown beside the name."""
        return tuple(self.col.split(",")) if self.col else USUAL

    def turned(self, order: str) -> Filters:
        """The same list in this order; turned round if it is in this order already."""
        again = order == self.order
        return replace(self, sort=f"-{order}" if again else order)

    def query(self, **more: str) -> str:
        """The address's query, with `more`; empty parts are left out."""
        said = {name: getattr(self, name) for name in self.__slots__} | more
        return urlencode({name: value for name, value in said.items() if value})

    def kept(self) -> Filters:
        """What a view keeps of it: not whom somebody searched for."""
        return replace(self, q="")

    def wanted(self) -> Wanted:
        """As the store takes it."""
        known = self.week not in {"", "unknown"}
        return Wanted(
            level=self.level or None,
            band=int(self.band) if self.band else None,
            cohort=date.fromisoformat(self.week) if known else None,
            unknown_cohort=self.week == "unknown",
            plan=self.plan or None,
            trade=self.trade or None,
            tag=self.tag or None,
            owner={"": None, NOBODY: ""}.get(self.owner, self.owner),
        )


def checked(said: dict[str, str]) -> Filters:
    """A list of what an address says; 422 for what a list can't be."""
    found = Filters(
        **{
            name: value.replace("\x00", "")[:LONGEST]
            for name, value in said.items()
            if name in Filters.__slots__
        }
    )
    found = replace(
        found, q=found.q.strip(), col=",".join(name for name in COLUMNS if name in found.col.split(","))
    )
    if found.col.split(",") == list(USUAL):
        found = replace(found, col="")
    if found.level not in {"", *LEVELS} or found.sort.removeprefix("-") not in {"", *ORDERS}:
        raise _nobody_knows()
    try:
        wanted = found.wanted()
    except ValueError:
        raise _nobody_knows() from None
    if wanted.band is not None and wanted.band not in BANDS:
        raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "a score lies between 0 and 100")
    return found


def of_text(query: str) -> Filters:
    """A list of a query as a form or a kept view has it."""
    try:
        return checked(dict(parse_qsl(query, max_num_fields=40)))
    except ValueError:
        raise _nobody_knows() from None


def _of_address(request: Request, q: Annotated[str, Query(max_length=LONGEST)] = "") -> Filters:
    said = dict(request.query_params) | {"q": q, "col": ",".join(request.query_params.getlist("col"))}
    return checked(said)


InAddress = Annotated[Filters, Depends(_of_address)]
"""A handler's parameter: the list of its address."""


async def log_export(services: Services, agent: Caller, table: str, request: Request) -> None:
    """Note a download of many suppliers' data."""
    filters = {name: value for name, value in request.query_params.items() if name != "q"}
    async with services.transaction(agent) as conn:
        actor = agent.actor
        await audit.log(
            conn, actor, "dashboard.export", None, services.clock.now_ms(), table=table, filters=filters
        )


def _nobody_knows() -> Problem:
    return Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "this address has a filter that nobody knows")
