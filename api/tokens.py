"""Bearer tokens (JWT): whose they are, by which claims, and signed by whom. api/auth.py asks them of a request."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Literal, cast, get_args
from uuid import UUID

import jwt

from api.issuer import ALGORITHMS, IssuerAwayError, IssuerKeys
from api.problems import RETRY_AFTER_S, Problem

if TYPE_CHECKING:
    from collections.abc import Mapping

    from runtime.keys import Keys
from runtime.settings import Settings
from store.audit import Actor

Role = Literal["supplier", "agent", "service"]
OWN_ALGORITHM = "HS256"
LEEWAY = timedelta(seconds=30)
LONGEST_TOKEN = 16 * 1024
LONGEST_NAME = 200
NOT_THERE = object()


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: `subject` is a supplier's id in canonical form, or an agent's or service's own name."""

    role: Role
    subject: str
    until_s: float | None = field(default=None, compare=False)
    """When the token ends, in seconds since 1970; None without one."""

    @property
    def is_staff(self) -> bool:
        """Whether every supplier's data is open to this caller."""
        return self.role != "supplier"

    @property
    def actor(self) -> Actor:
        """Who they are in the audit log."""
        return Actor(self.role, self.subject)


class TokenError(ValueError):
    """A token can't be accepted; the message says why, without repeating it."""


class Tokens:
    """Reads tokens: signed with our secret, or by the issuer whose keys are at `SUCCESS_JWKS_URL`."""

    def __init__(self, settings: Settings) -> None:
        # With an issuer, our own secret counts only if somebody set one: its embedded default would be a back door.
        self._secrets = None if settings.jwks_url and not settings.jwt_secret else settings.keys("jwt_secret")
        self._keys = IssuerKeys(settings.jwks_url) if settings.jwks_url else None
        self._settings = settings

    async def read(self, token: str) -> Caller:
        """Verify a token and say whose it is.

        TokenError says what is wrong with it; Problem is 403 for a good one whose role may nothing here, and 503 while
        the key that it names is unknown and its issuer away.
        """
        if len(token) > LONGEST_TOKEN:
            raise TokenError(f"the token has more than {LONGEST_TOKEN:,} characters")
        try:
            key, algorithm = await self._key(token)
            claims = verified(token, key, algorithm, self._settings.jwt_audience, self._settings.jwt_issuer)
        except IssuerAwayError as error:
            raise Problem(
                HTTPStatus.SERVICE_UNAVAILABLE,
                "the keys that tokens are signed with can't be fetched now",
                headers={"Retry-After": str(RETRY_AFTER_S)},
            ) from error
        return caller_of(claims, self._settings)

    async def close(self) -> None:
        """Wait for no issuer any longer."""
        if self._keys is not None:
            await self._keys.close()

    async def _key(self, token: str) -> tuple[Any, str]:
        algorithm, kid = header_of(token)
        if algorithm == OWN_ALGORITHM and self._secrets is not None:
            return signing_key(token, self._secrets), OWN_ALGORITHM
        if algorithm in ALGORITHMS and self._keys is not None:
            found = None if kid is None else await self._keys.find(kid, algorithm)
            if found is None:
                raise TokenError("the token names no key of its issuer that fits how it is signed")
            return found, algorithm
        raise TokenError("the token is signed in a way that is not accepted here")


def signing_key(token: str, secrets: Keys) -> str:
    """The one of our secrets that signed a token; the current one if none did."""
    for secret in secrets.every if secrets.previous else ():
        try:
            jwt.PyJWS().decode(token, secret, algorithms=[OWN_ALGORITHM])
        except (jwt.PyJWTError, ValueError, TypeError, RecursionError):
            continue
        return secret
    return secrets.current


def header_of(token: str) -> tuple[str | None, str | None]:
    """The algorithm and key id that a token claims; TokenError if it is none."""
    try:
        header = jwt.get_unverified_header(token)
    except (jwt.PyJWTError, ValueError, TypeError, RecursionError) as error:
        raise TokenError(f"the token is not valid ({type(error).__name__})") from None
    algorithm, kid = header.get("alg"), header.get("kid")
    return (
        algorithm if isinstance(algorithm, str) else None,
        kid if isinstance(kid, str) else None,
    )


def verified(
    token: str, key: Any, algorithm: str, audience: str | None, issuer: str | None
) -> dict[str, Any]:
    """The claims of a token that this key signed, that is for us, in time, and of this issuer; else TokenError."""
    needed = ["exp", *(["aud"] if audience else []), *(["iss"] if issuer else [])]
    try:
        return jwt.decode(
            token,
            key,
            algorithms=[algorithm],
            audience=_listed(audience),
            issuer=issuer,
            leeway=LEEWAY,
            # Without an audience of ours a token of our own secret may name any.
            options={"require": needed, "verify_aud": audience is not None},
        )
    except jwt.ExpiredSignatureError:
        raise TokenError("the token has expired: get a new one") from None
    except jwt.MissingRequiredClaimError as error:
        raise TokenError(f"the token has no `{error.claim}`") from None
    except (jwt.PyJWTError, ValueError, TypeError, RecursionError, OverflowError) as error:
        raise TokenError(f"the token is not valid ({type(error).__name__})") from None


def caller_of(claims: dict[str, Any], settings: Settings) -> Caller:
    """Read role and subject from verified claims, by the settings that say where they stand.

    Raises TokenError without a role or a usable subject, and Problem (403) for a role that nobody has here.
    """
    role = _role(claims, settings)
    until = float(claims["exp"])
    if role != "supplier":
        name = claims.get("sub") or role
        if not isinstance(name, str) or not name.isprintable() or len(name) > LONGEST_NAME:
            raise TokenError("the token's `sub` is no text that somebody could read")
        return Caller(role, name, until)
    claim = settings.jwt_supplier_claim
    try:
        return Caller("supplier", str(UUID(str(claim_at(claims, claim)))), until)
    except ValueError:
        raise TokenError(f"a supplier's token needs their id (a UUID) as `{claim}`") from None


def _role(claims: dict[str, Any], settings: Settings) -> Role:
    asked = [path.strip() for path in settings.jwt_role_claim.split(",")]
    said = next((found for path in asked if (found := claim_at(claims, path)) is not NOT_THERE), None)
    if not isinstance(said, str) or not said:
        raise TokenError(f"the token names no role in `{settings.jwt_role_claim}`")
    role = roles_of(settings.jwt_roles).get(said, said)
    if role not in get_args(Role):
        raise Problem(HTTPStatus.FORBIDDEN, "the token's role is none of supplier, agent, service")
    return cast("Role", role)


def claim_at(claims: Mapping[str, Any], path: str) -> Any:
    """A claim by its name, which may hold dots, or by a path such as `app_metadata.role`; `NOT_THERE` without one."""
    if path in claims:
        return claims[path]
    found: Any = claims
    for step in path.split("."):
        if not isinstance(found, dict) or step not in found:
            return NOT_THERE
        found = found[step]
    return found


def roles_of(rule: str) -> dict[str, str]:
    """What `SUCCESS_JWT_ROLES` maps: foreign role to ours."""
    pairs = [pair.partition("=")[::2] for pair in rule.split(",") if pair.strip()]
    return {foreign.strip(): ours.strip() for foreign, ours in pairs}


def sign(settings: Settings, role: Role, subject: str, lifetime_s: int, now_s: int) -> str:
    """Sign a token with our own secret, as `success token` and the tests do."""
    claims: dict[str, Any] = {"role": role, "sub": subject, "iat": now_s, "exp": now_s + lifetime_s}
    if settings.jwt_audience:
        claims["aud"] = _listed(settings.jwt_audience)
    if settings.jwt_issuer:
        claims["iss"] = settings.jwt_issuer
    return jwt.encode(claims, settings.secret("jwt_secret"), algorithm=OWN_ALGORITHM)


def _listed(audience: str | None) -> list[str] | None:
    return None if audience is None else [each.strip() for each in audience.split(",")]
