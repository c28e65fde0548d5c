"""Pages for people behind the links of emails: plain HTML that needs neither scripts nor cookies, in their language."""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from fastapi.responses import HTMLResponse

from agents.letters.locales import kept_together_in, lookup

if TYPE_CHECKING:
    from fastapi import Request

    from agents.letters.render import Letters

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
_MOST_LANGUAGES = 10


def page(
    letters: Letters, name: str, tag: str | None, status: HTTPStatus = HTTPStatus.OK, **variables: Any
) -> HTMLResponse:
    """Render `templates/pages/<name>.html` for a reader with the language tag `tag`."""
    voice = letters.voice(f"pages/{name}.html", tag)
    template = letters.environment_of(voice.written).get_template(f"pages/{name}.html")
    html = template.render(voice=voice, lang=voice.tag, **variables)
    return HTMLResponse(kept_together_in(html), status_code=status, headers=HEADERS)


def asked_language(letters: Letters, request: Request) -> str | None:
    """What a browser asks for, where we don't know who reads: the first of its languages that there is."""
    wanted = re.split(r"\s*,\s*", request.headers.get("accept-language", ""))[:_MOST_LANGUAGES]
    tags = [each.partition(";")[0].strip() for each in wanted]
    ours = {"en", *(each.partition("-")[0].lower() for each in letters.languages)}
    return next((tag for tag in tags if lookup(tag) and tag.partition("-")[0].lower() in ours), None)
