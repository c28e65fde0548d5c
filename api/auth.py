"""Who asks: bearer tokens (JWT) with the roles supplier, agent and service; api/tokens.py reads them.

No token or a bad one is 401, a role that may not is 403, and another supplier's data does not exist: 404.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine
from http import HTTPStatus
from typing import Annotated, Any
from uuid import UUID

from fastapi import Depends, Path, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from api.limits import Limits
from api.problems import Problem
from api.tokens import OWN_ALGORITHM, Caller, Role, TokenError, Tokens, sign

__all__ = ["OWN_ALGORITHM", "Caller", "Role", "TokenError", "Tokens", "sign"]

logger = logging.getLogger(__name__)

_CHALLENGE = {"WWW-Authenticate": "Bearer"}
_bearer = HTTPBearer(auto_error=False, bearerFormat="JWT", description="`role`: supplier, agent or service.")


async def authenticated(
    request: Request, credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]
) -> Caller:
    """Say who asks; 401 without a good token, 429 for who asks too often."""
    if credentials is None:
        raise Problem(
            HTTPStatus.UNAUTHORIZED, "send a token: `Authorization: Bearer <JWT>`", headers=_CHALLENGE
        )
    tokens: Tokens = request.app.state.tokens
    limits: Limits = request.app.state.limits
    try:
        caller = await tokens.read(credentials.credentials)
    except TokenError as error:
        raise Problem(
            HTTPStatus.UNAUTHORIZED,
            str(error),
            headers={"WWW-Authenticate": 'Bearer error="invalid_token"'},
        ) from None
    await limits.count(request.scope, f"{caller.role} {caller.subject}")
    return caller


AnyCaller = Annotated[Caller, Depends(authenticated)]
"""A handler's parameter: whoever asks with a good token."""


def allow(*roles: Role) -> Callable[[Caller], Coroutine[Any, Any, Caller]]:
    """Make a dependency that lets these roles through; 403 for the others."""

    async def allowed(caller: AnyCaller) -> Caller:
        if caller.role not in roles:
            raise Problem(
                HTTPStatus.FORBIDDEN, f"this needs the role {' or '.join(roles)}, not {caller.role}"
            )
        return caller

    return allowed


Staff = Annotated[Caller, Depends(allow("agent", "service"))]
"""A handler's parameter: an agent or a service."""
ServiceOnly = Annotated[Caller, Depends(allow("service"))]
"""A handler's parameter: one of the product's own services."""


def no_such_supplier() -> Problem:
    """Answer for a supplier whom nobody knows, or who is none of the caller's business: they look the same."""
    return Problem(HTTPStatus.NOT_FOUND, "there is no such supplier")


def own(caller: Caller, supplier_id: UUID | str) -> str:
    """Give a supplier's id in canonical form if it is the caller's business; 404 otherwise."""
    canonical = str(UUID(str(supplier_id)))
    if not caller.is_staff and caller.subject != canonical:
        raise no_such_supplier()
    return canonical


async def _own_supplier(
    request: Request, caller: AnyCaller, supplier_id: Annotated[UUID, Path(alias="supplierId")]
) -> str:
    if caller.role == "agent":
        logger.info("opened: %s of supplier %s by agent %s", _route(request), supplier_id, caller.subject)
    return own(caller, supplier_id)


def _route(request: Request) -> str:
    return str(getattr(request.scope.get("route"), "path", ""))


OwnSupplier = Annotated[str, Depends(_own_supplier)]
"""A handler's parameter: the path's `{supplierId}`, which is the caller's own or open to his role."""
