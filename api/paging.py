"""Windows of time and pages of what lies in them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Query, Request

from scoring.time import DAY

LONGEST_DAYS = 400
"""As long as the topics keep events."""
DEFAULT_DAYS = 30
MOST = 1000
DEFAULT_LIMIT = 500


@dataclass(frozen=True, slots=True)
class Page:
    """What was asked for: the last `days` days, `limit` entries after the one with this `seq`."""

    days: int
    limit: int
    after: int

    def since(self, now_ms: int) -> int:
        """The start of the window in ms."""
        return now_ms - self.days * DAY


async def _page(
    days: Annotated[int, Query(ge=1, le=LONGEST_DAYS, description="How far back, in days.")] = DEFAULT_DAYS,
    limit: Annotated[int, Query(ge=1, le=MOST, description="Entries a page.")] = DEFAULT_LIMIT,
    cursor: Annotated[
        str, Query(pattern=r"^[0-9]{1,18}$", description="`nextCursor` of the page before.")
    ] = "0",
) -> Page:
    return Page(days, limit, int(cursor))


InPage = Annotated[Page, Depends(_page)]
"""A handler's parameter: `?days=&limit=&cursor=`."""


def link_to_next(request: Request, cursor: str | None) -> dict[str, str]:
    """The `Link` header that leads to the next page (RFC 8288); none on the last one."""
    if cursor is None:
        return {}
    # Relative, so that it holds behind any proxy.
    url = request.url.include_query_params(cursor=cursor)
    return {"Link": f'<{url.path}?{url.query}>; rel="next"'}
