"""Tokens of other issuers: Supabase's by configuration, keys that rotate, and issuers that are slow, away or odd."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from api import issuer as keys
from api.app import build_app
from api.problems import Problem
from api.tokens import TokenError, Tokens
from runtime.settings import Settings
from tests.api.conftest import running
from tests.api.issuer import AUDIENCE, ISSUER, Issuer, issuing, signed
from tests.api.test_auth_and_problems import assert_problem

SARAH = "11111111-1111-4111-8111-111111111111"
SECRET = "super-secret-jwt-token-with-at-least-32-characters-long"
SUPABASE = {"jwt_audience": AUDIENCE, "jwt_issuer": ISSUER, "jwt_roles": "authenticated=supplier"}
RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC_KEY = ec.generate_private_key(ec.SECP256R1())


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    with issuing() as made:
        yield made


@asynccontextmanager
async def reading(issuer: Issuer, **more: Any) -> AsyncIterator[Tokens]:
    """A reader of this issuer's tokens."""
    tokens = Tokens(Settings(jwks_url=issuer.address, **(SUPABASE | more)))
    yield tokens
    await tokens.close()


async def test_a_stock_supabase_token_of_the_shared_secret_is_a_suppliers() -> None:
    tokens = Tokens(Settings(jwt_secret=SECRET, **SUPABASE))
    caller = await tokens.read(signed(SECRET, "HS256", kid=None))
    assert (caller.role, caller.subject) == ("supplier", SARAH)


@pytest.mark.parametrize(("key", "algorithm"), [(EC_KEY, "ES256"), (RSA_KEY, "RS256")])
async def test_a_stock_supabase_token_of_a_signing_key_is_a_suppliers(
    issuer: Issuer, key: Any, algorithm: str
) -> None:
    issuer.publish(key, "one", alg=algorithm, key_ops=["verify"], ext=True)
    async with reading(issuer) as tokens:
        caller = await tokens.read(signed(key, algorithm))
        assert (caller.role, caller.subject) == ("supplier", SARAH)
        for role in ("anon", "service_role"):
            with pytest.raises(Problem) as refused:
                await tokens.read(signed(key, algorithm, role=role))
            assert refused.value.status == 403


async def test_role_and_supplier_are_read_where_the_settings_say(issuer: Issuer) -> None:
    issuer.publish(EC_KEY, "one")
    placed = {
        "jwt_role_claim": "app_metadata.role, role",
        "jwt_supplier_claim": "app_metadata.supplier_id",
        "jwt_roles": "authenticated=supplier, support=agent",
    }
    async with reading(issuer, **placed) as tokens:
        agent = await tokens.read(signed(EC_KEY, "ES256", app_metadata={"role": "support"}))
        assert (agent.role, agent.subject) == ("agent", SARAH)
        other = SARAH.replace("1", "2")
        supplier = await tokens.read(signed(EC_KEY, "ES256", app_metadata={"supplier_id": other}))
        assert (supplier.role, supplier.subject) == ("supplier", other)
        with pytest.raises(TokenError, match="supplier_id"):
            await tokens.read(signed(EC_KEY, "ES256"))
    async with reading(issuer, jwt_role_claim="https://wedsync.example/role") as tokens:
        named = signed(EC_KEY, "ES256", **{"https://wedsync.example/role": "service"})
        assert (await tokens.read(named)).role == "service"


@pytest.mark.parametrize("missing", ["exp", "aud", "iss"])
async def test_end_audience_and_issuer_must_be_there(issuer: Issuer, missing: str) -> None:
    issuer.publish(EC_KEY, "one")
    async with reading(issuer) as tokens:
        with pytest.raises(TokenError, match=f"`{missing}`"):
            await tokens.read(signed(EC_KEY, "ES256", **{missing: None}))


async def test_a_token_for_somebody_else_or_by_somebody_else_is_refused(issuer: Issuer) -> None:
    issuer.publish(EC_KEY, "one")
    async with reading(issuer) as tokens:
        for wrong in ({"aud": "elsewhere"}, {"iss": f"{ISSUER}/"}, {"exp": 1}):
            with pytest.raises(TokenError):
                await tokens.read(signed(EC_KEY, "ES256", **wrong))


@pytest.mark.parametrize("algorithm", ["ES256", "PS256", "RS256"])
async def test_an_algorithm_that_does_not_fit_the_key_is_refused(issuer: Issuer, algorithm: str) -> None:
    """Whatever the header claims, and also the key's own `alg`."""
    issuer.publish(RSA_KEY, "rsa", alg="RS512")
    issuer.publish(EC_KEY, "ec")
    signer, kid = (EC_KEY, "rsa") if algorithm == "ES256" else (RSA_KEY, "ec")
    async with reading(issuer) as tokens:
        for named in (kid, "rsa"):
            with pytest.raises(TokenError):
                await tokens.read(signed(signer, algorithm, named))


@pytest.mark.filterwarnings("ignore::jwt.InsecureKeyLengthWarning")
async def test_keys_too_weak_or_symmetric_or_for_encryption_are_not_used(issuer: Issuer) -> None:
    weak = rsa.generate_private_key(public_exponent=65537, key_size=1024)  # noqa: S505 - it is to be refused
    issuer.publish(weak, "weak")
    issuer.publish(EC_KEY, "enc", use="enc")
    issuer.keys.append({"kty": "oct", "kid": "secret", "k": "c2VjcmV0" * 8, "alg": "HS256"})
    issuer.keys += ["key", {"kty": "RSA", "kid": "torn"}, {"kty": "EC", "crv": ["P-256"], "kid": "odd"}]
    good = ed25519.Ed25519PrivateKey.generate()
    issuer.publish(good, "good")
    async with reading(issuer) as tokens:
        assert (await tokens.read(signed(good, "EdDSA", "good"))).role == "supplier"
        for token in (
            signed(weak, "RS256", "weak"),
            signed(EC_KEY, "ES256", "enc"),
            signed(b"secret" * 8, "HS256", "secret"),
        ):
            with pytest.raises(TokenError):
                await tokens.read(token)


async def test_an_issuers_keys_replace_our_secret(issuer: Issuer) -> None:
    """With SUCCESS_JWKS_URL alone the embedded stack's public secret opens nothing."""
    async with reading(issuer) as tokens:
        with pytest.raises(TokenError):
            await tokens.read(signed("embedded-stack-only, public to everybody", "HS256", role="service"))


async def test_an_issuers_keys_rotate(issuer: Issuer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A new key counts as soon as it is looked for, a withdrawn one no longer than until the next look."""
    old, new = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    issuer.publish(old, "old")
    async with reading(issuer) as tokens:
        assert await tokens.read(signed(old, "ES256", "old"))
        with pytest.raises(TokenError):  # looked for a moment ago
            await tokens.read(signed(new, "ES256", "new"))
        monkeypatch.setattr(keys, "LOOK_AGAIN_S", -1)
        issuer.publish(new, "new")
        assert await tokens.read(signed(new, "ES256", "new"))
        issuer.keys.pop(0)
        monkeypatch.setattr(keys, "REFRESH_S", -1)
        await tokens.read(signed(old, "ES256", "old"))  # which starts the next look
        await tokens._keys._start()
        with pytest.raises(TokenError):
            await tokens.read(signed(old, "ES256", "old"))


async def test_a_token_whose_key_is_known_waits_for_no_issuer(
    issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though it hangs, the kept keys are old, and eight tokens with invented key ids wait for it."""
    issuer.publish(EC_KEY, "one")
    async with reading(issuer) as tokens:
        await tokens.read(signed(EC_KEY, "ES256"))
        monkeypatch.setattr(keys, "LOOK_AGAIN_S", -1)
        monkeypatch.setattr(keys, "REFRESH_S", -1)
        issuer.goes_on.clear()
        invented = [
            asyncio.create_task(tokens.read(signed(EC_KEY, "ES256", f"invented {number}")))
            for number in range(8)
        ]
        await asyncio.sleep(0)
        for _ in range(20):
            assert (await tokens.read(signed(EC_KEY, "ES256"))).subject == SARAH
        assert not any(task.done() for task in invented)
        assert issuer.asked <= 2  # the eight share one question
        await tokens.close()  # as at SIGTERM: nobody is left waiting
        refused = await asyncio.gather(*invented, return_exceptions=True)
        assert all(isinstance(each, Problem) for each in refused)


@pytest.mark.parametrize(
    "says",
    [b"<!doctype html><title>502</title>", b"[" * 100_000, b'{"keys": {}}', b"{}", b"x" * 400_000, b""],
    ids=["html", "nested", "no list", "no keys", "long", "nothing"],
)
async def test_an_issuer_that_talks_nonsense_is_as_good_as_away(
    issuer: Issuer, says: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    issuer.publish(EC_KEY, "one")
    async with reading(issuer) as tokens:
        await tokens.read(signed(EC_KEY, "ES256"))
        monkeypatch.setattr(keys, "LOOK_AGAIN_S", -1)
        issuer.says = says
        with pytest.raises(Problem) as refused:
            await tokens.read(signed(EC_KEY, "ES256", "two"))
        assert refused.value.status == 503
        assert (await tokens.read(signed(EC_KEY, "ES256"))).subject == SARAH  # the known key stays


async def test_an_issuer_that_hangs_is_503_in_time(issuer: Issuer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys, "FETCH_S", 0.2)
    issuer.goes_on.clear()
    async with reading(issuer) as tokens:
        for _ in range(2):
            with pytest.raises(Problem) as refused:
                await tokens.read(signed(EC_KEY, "ES256"))
            assert refused.value.status == 503
        assert issuer.asked <= 1  # the second did not ask again at once


@pytest.mark.stack
async def test_over_http_an_issuer_that_is_away_is_503(settings: Settings, clock) -> None:
    away = settings.model_copy(update={"jwks_url": "http://127.0.0.1:1/keys", **SUPABASE})
    bearer = {"Authorization": f"Bearer {signed(EC_KEY, 'ES256')}"}
    async with running(build_app(away, clock)) as client:
        answer = await client.get(f"/api/health/score/{SARAH}", headers=bearer)
    assert_problem(answer, 503)
    assert answer.headers["retry-after"]


async def test_a_token_signed_before_the_secret_was_rotated_is_still_read() -> None:
    old = signed(SECRET, "HS256", kid=None)
    rotated = Settings(
        jwt_secret="today's secret, which is long enough too", jwt_secret_previous=SECRET, **SUPABASE
    )
    assert (await Tokens(rotated).read(old)).subject == SARAH
    assert (
        await Tokens(rotated).read(signed(rotated.secret("jwt_secret"), "HS256", kid=None))
    ).subject == SARAH
    with pytest.raises(TokenError):
        await Tokens(rotated.model_copy(update={"jwt_secret_previous": None})).read(old)
