"""Pages for people behind the links of emails: plain HTML that needs neither scripts nor cookies."""

from __future__ import annotations

from functools import cache
from http import HTTPStatus
from pathlib import Path
from typing import Any

from fastapi.responses import HTMLResponse
from jinja2 import FileSystemLoader, StrictUndefined
from jinja2.sandbox import ImmutableSandboxedEnvironment

import templates

HEADERS = {
    # The address holds a token: it goes to no other site and into no cache.
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Robots-Tag": "noindex, nofollow",
}


def page(name: str, status: HTTPStatus = HTTPStatus.OK, **variables: Any) -> HTMLResponse:
    """Render `templates/pages/<name>.html`."""
    html = _environment().get_template(f"pages/{name}.html").render(**variables)
    return HTMLResponse(html, status_code=status, headers=HEADERS)


@cache
def _environment() -> ImmutableSandboxedEnvironment:
    return ImmutableSandboxedEnvironment(
        loader=FileSystemLoader(Path(templates.__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
