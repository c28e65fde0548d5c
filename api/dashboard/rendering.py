"""How the dashboard's pages are made: templates, times, numbers, errors as pages, tables as CSV."""

from __future__ import annotations

import csv
import gzip
import io
import re
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from functools import cache
from http import HTTPStatus
from pathlib import Path
from string import ascii_lowercase
from typing import Any
from urllib.parse import urlencode

import orjson
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape
from psycopg import InterfaceError, OperationalError
from psycopg_pool import PoolTimeout
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response, StreamingResponse

import templates
from agents.letters.locales import BASE
from agents.letters.render import READER
from api.answers import takes_gzip
from api.dashboard import words
from api.dashboard.assets import asset_address
from api.dashboard.fresh.first_steps import first_steps
from api.dashboard.fresh.freshness import readings
from api.dashboard.session import Session, csrf_token
from api.problems import Problem
from api.services import services
from scoring.time import duration_text
from store.times import to_time

HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    ),
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Robots-Tag": "noindex, nofollow",
}
WITH_A_FRAME = {"Content-Security-Policy": f"{HEADERS['Content-Security-Policy']}; frame-src 'self'"}
"""For a page with a frame of ours."""
IN_A_FRAME = HEADERS | {
    "Content-Security-Policy": (
        "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; form-action 'none'; base-uri 'none'; "
        "frame-ancestors 'self'"
    )
}
"""For a letter in that frame: it can do nothing, and loads nothing."""
_VARIES = "Accept-Encoding, Sec-Fetch-Site"
_MINUTE, _HOUR, _DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
NONE = "\N{EN DASH}"
"""What stands where there is nothing."""
ONE_DECIMAL_BELOW = 10
_RISKY = re.compile(r"[\s\x00-\x1f=+\-@|%\uff1d\uff0b\uff0d\uff20\ufeff\u200b-\u200f\u2060]")
"""What a cell of a spreadsheet must not begin with: a formula's signs, also as wide letters, and what hides one."""


class PageRoute(APIRoute):
    """A route whose errors are pages for people, with the same words as the API's problems."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Wrap the framework's own handler."""
        handler = super().get_route_handler()

        async def handled(request: Request) -> Response:
            try:
                return await handler(request)
            except Problem as problem:
                if problem.status < HTTPStatus.BAD_REQUEST or problem.status == HTTPStatus.UNAUTHORIZED:
                    raise  # to the login
                return error_page(request, HTTPStatus(problem.status), problem.detail)
            except RequestValidationError:
                detail = "an address or form had a value that it can't have; go back and try again"
                return error_page(request, HTTPStatus.UNPROCESSABLE_ENTITY, detail)
            except (OperationalError, InterfaceError, PoolTimeout):
                detail = "the database does not answer; load this page again in a moment"
                return error_page(request, HTTPStatus.SERVICE_UNAVAILABLE, detail)
            except Exception:
                # The server logs it and hangs up; what it says before that is a page here.
                request.state.error_page = error_page
                raise

        return handled


def page(
    request: Request, template: str, code: HTTPStatus = HTTPStatus.OK, /, **variables: Any
) -> HTMLResponse:
    """Render `templates/dashboard/<template>.html`."""
    session: Session | None = getattr(request.state, "session", None)
    here = services(request)
    now, fresh, letters = to_time(here.clock.now_ms()), readings(request).newest, here.letters
    reader = letters.data(READER, BASE) if fresh.begun else {}
    known = {
        "request": request,
        "path": request.url.path,
        "csrf": csrf_token(request),
        "agent": session.agent if session else None,
        "brand": letters.brand,
        "fresh": fresh,
        "now": now,
        "first_steps": first_steps(here.settings, fresh.begun, now, reader) if fresh.begun else None,
        "said": words.SAID.get(request.query_params.get("said", "")),
    }
    html = _environment().get_template(f"dashboard/{template}.html").render(known | variables)
    if _may_pack(request):
        packed = gzip.compress(html.encode(), compresslevel=5, mtime=0)
        return HTMLResponse(packed, code, HEADERS | {"Content-Encoding": "gzip", "Vary": _VARIES})
    return HTMLResponse(html, code, HEADERS | {"Vary": _VARIES})


def _may_pack(request: Request) -> bool:
    """Whether a page may be packed: it was asked for from here, or by hand, and by who unpacks it.

    The length of a packed page tells whoever listens how much its parts are alike. Another site that makes a browser
    ask for addresses of its choice could find out by that, letter by letter, what else is on the page (BREACH).
    """
    return request.headers.get("sec-fetch-site") in {"same-origin", "none"} and takes_gzip(request)


def error_page(request: Request, status: HTTPStatus, detail: str) -> HTMLResponse:
    """A page that says what went wrong; for a part that htmx asked for, the words alone."""
    name = "_error" if request.headers.get("hx-request") == "true" else "error"
    return page(request, name, status, status=status, detail=detail)


def csv_of(name: str, columns: Sequence[str], lines: AsyncIterator[Mapping[str, Any]]) -> StreamingResponse:
    """A table as a CSV file (UTF-8, RFC 4180): `columns` of each line, times in ISO 8601."""

    async def text() -> AsyncIterator[str]:
        yield "\ufeff" + _csv_line(columns)  # spreadsheets take it for UTF-8 by this mark
        async for line in lines:
            yield _csv_line([line.get(column) for column in columns])

    headers = {
        "Content-Disposition": f'attachment; filename="{name}.csv"',
        "Cache-Control": "no-store",
        "X-Content-Type-Options": "nosniff",
    }
    return StreamingResponse(text(), media_type="text/csv; charset=utf-8", headers=headers)


async def each(lines: Iterable[Mapping[str, Any]]) -> AsyncIterator[Mapping[str, Any]]:
    """What is in memory, as `csv_of` takes it."""
    for line in lines:
        yield line


def _csv_line(values: Sequence[Any]) -> str:
    line = io.StringIO()
    csv.writer(line).writerow([_csv_value(value) for value in values])
    return line.getvalue()


def _csv_value(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    if isinstance(value, str) and _RISKY.match(value):
        return f"'{value}"  # a name that a spreadsheet would take for a formula
    return "" if value is None else value


# what templates say ----------------------------------------------------------------------------------


def address(path: str, **query: Any) -> str:
    """An address within the dashboard; parameters that say nothing are left out."""
    said = {name: value for name, value in query.items() if value not in {None, ""}}
    return path + (f"?{urlencode(said)}" if said else "")


def relative(at: datetime, now: datetime) -> str:
    """How long ago, or how soon: `3 min ago`, `in 2 h`, `12 d ago`."""
    distance = abs(now - at)
    if distance < _MINUTE:
        return "now"
    if at > now:
        distance = -(-distance // _MINUTE) * _MINUTE  # up to the full minute: the day beside it says the same
    if distance < _HOUR:
        amount = f"{distance // _MINUTE} min"
    elif distance < 2 * _DAY:
        amount = f"{distance // _HOUR} h"
    else:
        amount = f"{distance // _DAY} d"
    return f"{amount} ago" if at <= now else f"in {amount}"


def exact(at: datetime) -> str:
    """`Mon 19 Jan 2026, 09:00 UTC`."""
    return f"{at.astimezone(UTC):%a} {at.astimezone(UTC).day} {at.astimezone(UTC):%b %Y, %H:%M} UTC"


def when(at: datetime | None, now: datetime) -> Markup:
    """A `<time>`: relative in words, exact on hover and in print."""
    if at is None:
        return Markup('<span class="none">{}</span>').format(NONE)
    return Markup('<time datetime="{}" title="{}">{}</time>').format(
        at.astimezone(UTC).isoformat(), exact(at), relative(at, now)
    )


def number(value: float | None) -> str:
    """`12,345`; a dash for none."""
    return NONE if value is None else f"{value:,.0f}"


def about(value: float) -> str:
    """What is expected of a count: `9.3`, `1,401`."""
    return f"{value:,.1f}" if value < ONE_DECIMAL_BELOW else number(value)


def points(value: float) -> str:
    """`+6`, `-2.5`: a change of points, with a typographic minus."""
    rounded = round(value, 1)
    text = f"{abs(rounded):g}"
    return "±0" if rounded == 0 else f"+{text}" if rounded > 0 else f"\N{MINUS SIGN}{text}"


def percent(value: float | None, digits: int = 0) -> str:
    """`12 %`, of a share; a dash for none."""
    return NONE if value is None else f"{value * 100:.{digits}f}\N{NARROW NO-BREAK SPACE}%"


def span(milliseconds: int) -> str:
    """`7 days`, `20 h`: a duration of the policy."""
    text = duration_text(milliseconds)
    amount = text.rstrip(ascii_lowercase)
    unit = text.removeprefix(amount)
    name = {"d": "day" if amount == "1" else "days"}.get(unit, unit)
    return f"{amount}\N{NO-BREAK SPACE}{name}"


def day_name(day: date | str) -> str:
    """`5 Jan 2026`, of a day or of a time as topics write it."""
    if isinstance(day, str):
        day = date.fromisoformat(day[:10])
    return f"{day.day} {day:%b %Y}"


def tomorrow(now: datetime) -> str:
    """The least day of a field for days to come, UTC."""
    return (now.astimezone(UTC).date() + timedelta(days=1)).isoformat()


def sentence(said: str) -> Markup:
    """What a program says, as a sentence; what is in backticks as code."""
    is_file = "." in said.partition(" ")[0].rstrip(".:,")
    text = f"{said if is_file else said[:1].upper() + said[1:]}."
    parts = text.split("`")
    if len(parts) % 2 == 0:
        return escape(text)  # one that has no end
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if at % 2 else part for at, part in enumerate(parts)
    )


def as_json(value: Any) -> Markup:
    """JSON for a `<script type="application/json">`: nothing in it can end the element."""
    text = orjson.dumps(value).decode()
    return Markup(text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e"))  # noqa: S704


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(templates.__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "number": number,
        "about": about,
        "points": points,
        "percent": percent,
        "span": span,
        "day": day_name,
        "exact": exact,
        "json": as_json,
        "sentence": sentence,
        "phrase": words.phrase,
        "template_name": words.template_name,
    }
    environment.globals |= {
        "when": when,
        "tomorrow": tomorrow,
        "address": address,
        "asset": asset_address,
        "words": words,
    }
    return environment
