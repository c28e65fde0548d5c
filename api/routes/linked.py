"""What the pages behind signed links have in common: who holds the link, the hit that counts, the form that came."""

from __future__ import annotations

import hmac
import ipaddress
import logging
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import parse_qs

from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from psycopg import InterfaceError, OperationalError
from psycopg_pool import PoolTimeout

from agents.letters.links import Linked, verify
from api.auth import Caller
from api.pages import asked_language, page
from api.problems import RETRY_AFTER_S
from api.services import services as services_of
from scoring.decisions.feedback import Hit, HitKind, Rules
from store.messages import feedback
from store.people import reader as store
from store.people.reader import Reader

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from fastapi import Request, Response

    from agents.letters.links import Action
    from api.services import Services

logger = logging.getLogger(__name__)

HTML: dict[str, Any] = {"content": {"text/html": {"schema": {"type": "string"}}}}
NO_SUCH_LINK: dict[int | str, dict[str, Any]] = {
    HTTPStatus.NOT_FOUND: {"description": "The link is none of ours, or is spoilt."} | HTML,
    HTTPStatus.UNPROCESSABLE_ENTITY: {"description": "What was asked for is not understood."} | HTML,
    HTTPStatus.SERVICE_UNAVAILABLE: {"description": "Something of ours is away; `Retry-After` says when."}
    | HTML,
}
LONGEST_FORM = 64 * 1024


class LinkRoute(APIRoute):
    """A route whose errors are pages too: in the browser's language, since nobody may be known just now."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Wrap the framework's own handler."""
        handler = super().get_route_handler()

        async def handled(request: Request) -> Response:
            try:
                return await handler(request)
            except RequestValidationError:
                return _unknown(request, "not_understood", HTTPStatus.UNPROCESSABLE_ENTITY)
            except (OperationalError, InterfaceError, PoolTimeout) as error:
                logger.warning(
                    "a link's page failed because Postgres is away: %s", " ".join(str(error).split())
                )
                return away(request, HTTPStatus.SERVICE_UNAVAILABLE)
            except Exception:
                # The server logs it and hangs up; what it says before that is a page here.
                request.state.error_page = away
                raise

        return handled


class Held(NamedTuple):
    """A link that is one of ours, and who holds it."""

    linked: Linked
    reader: Reader


def themselves(linked: Linked) -> Caller:
    """Whoever holds a link of theirs acts as the supplier themselves, under the same row-level security."""
    return Caller("supplier", linked.supplier_id)


async def held(services: Services, action: Action, token: str) -> Held | None:
    """What a link of this kind says; None if it is spoilt, or nobody is known by its id any more."""
    linked = verify(action, token, services.settings.keys("secret_key"))
    reader = linked and await reader_of(services, linked)
    return Held(linked, reader) if linked and reader else None


async def reader_of(services: Services, linked: Linked) -> Reader | None:
    """Who reads, None if nobody is known by that id any more."""
    async with services.transaction(themselves(linked)) as conn:
        return await store.find(conn, linked.supplier_id)


def show(
    services: Services,
    name: str,
    reader: Reader | None,
    status: HTTPStatus = HTTPStatus.OK,
    **variables: Any,
) -> Response:
    """A page in the reader's language."""
    return page(services.letters, name, None if reader is None else reader.locale, status, **variables)


def gone(services: Services, request: Request) -> Response:
    """The page for a link that is spoilt or old; in the browser's language, since nobody is known."""
    places = services.letters.places(services.settings.product_url())
    home = places.address("/dashboard") if services.settings.knows_the_product() else ""
    tag = asked_language(services.letters, request)
    return page(services.letters, "gone", tag, HTTPStatus.NOT_FOUND, home=home)


def away(request: Request, status: HTTPStatus, _detail: str = "") -> Response:
    """The page for what fails on our side."""
    answer = _unknown(request, "away", status)
    answer.headers["Retry-After"] = str(RETRY_AFTER_S)
    return answer


def _unknown(request: Request, name: str, status: HTTPStatus) -> Response:
    letters = services_of(request).letters
    return page(letters, name, asked_language(letters, request), status)


async def count(services: Services, request: Request, linked: Linked, kind: HitKind, where: str) -> None:
    """Keep a hit. They get their picture or page all the same while Postgres is away."""
    settings = services.settings
    hit = Hit(
        kind,
        services.clock.now_ms(),
        request.headers.get("user-agent", ""),
        request.method,
        _short(where),
    )
    network = _network_hash(request.client.host if request.client else "", settings.secret("secret_key"))
    try:
        async with services.transaction(themselves(linked)) as conn:
            await feedback.note_hit(conn, *linked, hit, network, Rules.load())
    except (OperationalError, InterfaceError, PoolTimeout) as error:
        logger.warning("a hit on intervention %s is lost: %s", linked.intervention_id, error)


async def form_of(request: Request) -> dict[str, str]:
    """The fields of a form, the first value of each; empty for one far too long."""
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > LONGEST_FORM:
            return {}
    return {name: values[0] for name, values in parse_qs(body.decode("utf-8", "replace")).items()}


def _short(where: str) -> str:
    """Tell links of a message apart without repeating what a long one says."""
    return where if len(where) <= feedback.LONGEST_TEXT else where[: feedback.LONGEST_TEXT]


def _network_hash(address: str, key: str) -> bytes | None:
    """A keyed hash of the caller's network (/24 or /48); no address of anybody is kept."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return None
    network = ipaddress.ip_network((address, 24 if parsed.version == 4 else 48), strict=False)  # noqa: PLR2004
    return hmac.digest(key.encode(), b"network\0" + str(network).encode(), "sha256")[:16]
