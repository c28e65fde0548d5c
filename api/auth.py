"""Who asks: bearer tokens (JWT) with the roles supplier, agent and service.

No token or a bad one is 401, a role that may not is 403, and another supplier's data does not exist: 404.
"""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from datetime import timedelta
from http import HTTPStatus
from typing import Annotated, Any, Literal, cast, get_args
from uuid import UUID

import jwt
from fastapi import Depends, Path, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from api.limits import Limits
from api.problems import Problem
from runtime.settings import Settings

# The embedded stack's public secret is short; how to make a good one of your own is in docs/settings.md.
warnings.filterwarnings("ignore", category=jwt.InsecureKeyLengthWarning)

Role = Literal["supplier", "agent", "service"]
OWN_ALGORITHM = "HS256"
JWKS_ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
LEEWAY = timedelta(seconds=30)
KEYS_KEPT_S = 300
_CHALLENGE = {"WWW-Authenticate": "Bearer"}
_bearer = HTTPBearer(auto_error=False, bearerFormat="JWT", description="`role`: supplier, agent or service.")


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: `subject` is a supplier's id in canonical form, or an agent's or service's own name."""

    role: Role
    subject: str

    @property
    def is_staff(self) -> bool:
        """Whether every supplier's data is open to this caller."""
        return self.role != "supplier"


class TokenError(ValueError):
    """A token can't be accepted; the message says why, without repeating it."""


class Tokens:
    """Reads tokens: signed with our secret, or by the issuer whose keys are at `SUCCESS_JWKS_URL`."""

    def __init__(self, settings: Settings) -> None:
        # With an issuer, our own secret counts only if somebody set one: its embedded default would be a back door.
        self._secret = (
            None if settings.jwks_url and not settings.jwt_secret else settings.secret("jwt_secret")
        )
        # A key that is not among those at hand is fetched (at most every 30 s, whoever makes key ids up); one that was
        # withdrawn counts no longer than this.
        self._keys = (
            jwt.PyJWKClient(settings.jwks_url, cache_keys=False, lifespan=KEYS_KEPT_S)
            if settings.jwks_url
            else None
        )

    async def read(self, token: str) -> Caller:
        """Verify a token and say whose it is; TokenError says what is wrong with it."""
        try:
            key, algorithms = await self._key(token)
            claims = jwt.decode(
                token, key, algorithms=algorithms, leeway=LEEWAY, options={"verify_aud": False}
            )
        except jwt.ExpiredSignatureError:
            raise TokenError("the token has expired: get a new one") from None
        except jwt.PyJWKClientConnectionError as error:
            raise Problem(
                HTTPStatus.SERVICE_UNAVAILABLE, "the keys that tokens are signed with can't be fetched now"
            ) from error
        except jwt.PyJWTError as error:
            raise TokenError(f"the token is not valid ({type(error).__name__})") from None
        return caller_of(claims)

    async def _key(self, token: str) -> tuple[Any, list[str]]:
        algorithm = jwt.get_unverified_header(token).get("alg")
        if algorithm == OWN_ALGORITHM and self._secret is not None:
            return self._secret, [OWN_ALGORITHM]
        if algorithm in JWKS_ALGORITHMS and self._keys is not None:
            # It may fetch the issuer's keys, and blocks while it does.
            found = await asyncio.to_thread(self._keys.get_signing_key_from_jwt, token)
            return found.key, [algorithm]
        raise TokenError("the token is signed in a way that is not accepted here")


def caller_of(claims: dict[str, Any]) -> Caller:
    """Read role and subject from verified claims."""
    role, subject = claims.get("role"), claims.get("sub")
    if role not in get_args(Role):
        raise TokenError("the token's role is none of supplier, agent, service")
    if role != "supplier":
        name = str(subject or role)
        if not name.isprintable():  # it goes to Postgres and into the audit log, which take no NUL
            raise TokenError("the token's `sub` holds characters that nobody can read")
        return Caller(cast("Role", role), name)
    try:
        return Caller("supplier", str(UUID(str(subject))))
    except ValueError:
        raise TokenError("a supplier's token needs her id (a UUID) as `sub`") from None


def sign(settings: Settings, role: Role, subject: str, lifetime_s: int, now_s: int) -> str:
    """Sign a token with our own secret, as `success token` and the tests do."""
    claims = {"role": role, "sub": subject, "iat": now_s, "exp": now_s + lifetime_s}
    return jwt.encode(claims, settings.secret("jwt_secret"), algorithm=OWN_ALGORITHM)


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


async def _own_supplier(caller: AnyCaller, supplier_id: Annotated[UUID, Path(alias="supplierId")]) -> str:
    return own(caller, supplier_id)


OwnSupplier = Annotated[str, Depends(_own_supplier)]
"""A handler's parameter: the path's `{supplierId}`, which is the caller's own or open to his role."""
