"""Credentials → role and claims: keys, tokens of any role, and each refusal in upstream's words."""

import json
import time
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from jose import jwk, jws, jwt
from starlette.requests import Request

from functions._local.defaults import local_environment, sign_key
from functions._platform.rest.access import access_of
from functions._platform.rest.errors import RestError
from functions._shared.auth.access import Access
from functions._shared.auth.authenticator import Authenticator
from functions._shared.auth.signing_keys import SigningKeys
from functions._shared.local_keys import LOCAL_JWT_SECRET, PUBLISHABLE_KEY, SECRET_KEY
from functions._shared.settings import Settings
from tests.conftest import user_token
from tests.functions._shared.auth.test_tokens import PRIVATE, public

AccessBy = Callable[..., Awaitable[Access]]
NOW = int(time.time())


def service(**environ: str) -> AccessBy:
    """``access_of`` for requests with the given headers, all in one process."""
    settings = Settings.from_env(local_environment(environ) | environ)
    keys = SigningKeys(httpx.AsyncClient(), None, settings.supabase_jwks)
    resources = SimpleNamespace(settings=settings, auth=Authenticator(settings, keys))

    async def access(**headers: str) -> Access:
        raw = [(name.encode(), value.encode()) for name, value in headers.items()]
        scope = {"type": "http", "method": "GET", "headers": raw, "client": ("192.0.2.1", 1)}
        return await access_of(Request({**scope, "state": {"resources": resources}}))

    return access


@pytest.fixture
def access() -> AccessBy:
    return service()


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


def signed(claims: Any, secret: str = LOCAL_JWT_SECRET, algorithm: str = "HS256") -> str:
    return jws.sign(json.dumps(claims).encode(), secret, algorithm=algorithm)


ANONYMOUS = Access("anon", '{"role":"anon"}')
SERVICE = Access("service_role", '{"role":"service_role"}')
ANON_KEY, SERVICE_KEY = (sign_key(LOCAL_JWT_SECRET, role) for role in ("anon", "service_role"))


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, ANONYMOUS),
        ({"authorization": "Basic eDp5"}, ANONYMOUS),
        ({"apikey": ""}, ANONYMOUS),
        ({"apikey": ANON_KEY}, ANONYMOUS),
        ({"apikey": PUBLISHABLE_KEY}, ANONYMOUS),
        ({"apikey": PUBLISHABLE_KEY, **bearer(PUBLISHABLE_KEY)}, ANONYMOUS),
        (bearer(ANON_KEY), ANONYMOUS),
        ({"apikey": SERVICE_KEY}, SERVICE),
        ({"apikey": SECRET_KEY}, SERVICE),
        ({"apikey": SECRET_KEY, **bearer(PUBLISHABLE_KEY)}, SERVICE),
        ({"apikey": ANON_KEY, **bearer(SERVICE_KEY)}, SERVICE),
        ({"apikey": SECRET_KEY, **bearer(ANON_KEY)}, ANONYMOUS),
    ],
)
async def test_keys(access: AccessBy, headers: dict[str, str], expected: Access):
    assert await access(**headers) == expected


async def test_a_token_is_its_role_and_its_claims(access: AccessBy):
    claims = {"role": "editor", "sub": "someone", "exp": NOW + 3600, "app": {"teams": ["é", 1.5]}}
    for _ in range(2):
        found = await access(apikey=PUBLISHABLE_KEY, **bearer(signed(claims)))
        assert found.role == "editor"
        assert json.loads(found.claims_json) == claims


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
async def test_the_scheme_may_be_in_any_case(access: AccessBy, scheme: str):
    found = await access(authorization=f"{scheme}  {user_token()}")
    assert found.role == "authenticated"


@pytest.mark.parametrize("algorithm", ["ES256", "RS256"])
async def test_signing_keys_count_as_well_as_the_secret(algorithm: str):
    access = service(SUPABASE_JWKS=json.dumps({"keys": [public(algorithm, "k")]}))
    token = jwt.encode({"role": "x"}, PRIVATE[algorithm], algorithm, headers={"kid": "k"})
    assert (await access(**bearer(token))).role == "x"
    confused = jwk.construct(PRIVATE[algorithm], algorithm).public_key().to_pem().decode()
    with pytest.raises(RestError, match="No suitable key"):
        await access(**bearer(_hmac_signed(confused)))


def _hmac_signed(secret: str) -> str:
    """HS256 by a public key's text (algorithm confusion), which the library itself would refuse to make."""
    key = jwk.construct(secret.replace("-----", "+++++"), "HS256")
    key.prepared_key = secret.encode()
    return str(jws.sign(b'{"role":"service_role"}', key, algorithm="HS256"))


async def test_without_a_role_a_token_is_anonymous_and_keeps_its_claims(access: AccessBy):
    found = await access(**bearer(signed({"id": 1})))
    assert found == Access("anon", '{"id":1,"role":"anon"}')


@pytest.mark.parametrize(("claim", "role"), [(1, "1"), (None, "null"), (["a"], '["a"]'), ("", "")])
async def test_a_role_of_another_type_is_its_json(access: AccessBy, claim: object, role: str):
    found = await access(**bearer(signed({"role": claim})))
    assert (found.role, json.loads(found.claims_json)) == (role, {"role": role})


@pytest.mark.parametrize("role", ["none", "a\0b", "\ud800"])
async def test_a_role_that_is_none_is_refused(access: AccessBy, role: str):
    with pytest.raises(RestError) as refused:
        await access(**bearer(signed({"role": role})))
    error = refused.value
    assert (error.status, error.code) == (401, "22023")
    assert error.message == f'role "{role}" does not exist'
    assert error.response().headers["www-authenticate"] == "Bearer"


async def test_the_anonymous_role_is_a_setting():
    access = service(PGRST_DB_ANON_ROLE="visitor")
    alone = {"apikey": signed({"role": "anon"})}
    for headers in ({}, {"apikey": PUBLISHABLE_KEY}, alone, bearer(ANON_KEY), bearer(signed({}))):
        assert await access(**headers) == Access("visitor", '{"role":"visitor"}')


async def test_without_an_anonymous_role_a_role_must_be_named():
    access = service(PGRST_DB_ANON_ROLE="")
    for headers in ({}, {"apikey": PUBLISHABLE_KEY}, bearer(signed({}))):
        with pytest.raises(RestError) as refused:
            await access(**headers)
        error = refused.value
        assert (error.status, error.code) == (401, "PGRST302")
        assert error.message == "Anonymous access is disabled"
        assert error.headers == {"WWW-Authenticate": "Bearer"}
    assert (await access(**bearer(user_token()))).role == "authenticated"


DECODED = "None of the keys was able to decode the JWT"
NONE_ALGORITHM = "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.e30."


@pytest.mark.parametrize(
    ("token", "message", "details"),
    [
        ("", "Empty JWT is sent in Authorization header", None),
        ("x", "Expected 3 parts in JWT; got 1", None),
        ("x.y", "Expected 3 parts in JWT; got 2", None),
        ("a.b.c.d.e", "Expected 3 parts in JWT; got 5", None),
        ("x.y.z", "JWT cryptographic operation failed", None),
        (NONE_ALGORITHM, "Wrong or unsupported encoding algorithm",
         "JWT is unsecured but expected 'alg' was not 'none'"),
        (signed({}, "another-secret-with-at-least-32-characters"),
         "No suitable key or wrong key type", DECODED),
        (signed({}, algorithm="HS512"), "No suitable key or wrong key type", DECODED),
        (user_token()[:-3], "No suitable key or wrong key type", DECODED),
    ],
)  # fmt: skip
async def test_a_token_that_cannot_be_decoded(
    access: AccessBy, token: str, message: str, details: str | None
):
    error = await _refused(access, token)
    assert (error.status, error.code, error.message) == (401, "PGRST301", message)
    assert (error.details, error.hint) == (details, None)
    challenge = f'Bearer error="invalid_token", error_description="{message}"'
    assert error.headers == {"WWW-Authenticate": challenge}


@pytest.mark.parametrize(
    ("claims", "message"),
    [
        ({"exp": NOW - 60}, "JWT expired"),
        ({"exp": 1.5}, "JWT expired"),
        ({"exp": 1e300}, "JWT expired"),
        ({"nbf": NOW + 3600}, "JWT not yet valid"),
        ({"iat": NOW + 3600}, "JWT issued at future"),
        ({"exp": "soon"}, "The JWT 'exp' claim must be a number"),
        ({"exp": True}, "The JWT 'exp' claim must be a number"),
        ({"nbf": []}, "The JWT 'nbf' claim must be a number"),
        ({"iat": {}}, "The JWT 'iat' claim must be a number"),
        ({"aud": 1}, "The JWT 'aud' claim must be a string or an array of strings"),
        ({"aud": ["a", 1]}, "The JWT 'aud' claim must be a string or an array of strings"),
        ({"exp": 1, "aud": 1}, "JWT expired"),
        ([], "Parsing claims failed"),
        ("text", "Parsing claims failed"),
    ],
)
async def test_claims_that_do_not_hold(access: AccessBy, claims: Any, message: str):
    token = signed(claims)
    for _ in range(2):
        error = await _refused(access, token)
        assert (error.status, error.code, error.message) == (401, "PGRST303", message)
        assert message in error.headers["WWW-Authenticate"]


@pytest.mark.parametrize(
    "claims",
    [
        {"exp": None, "nbf": None, "iat": None, "aud": None},
        {"exp": float(NOW + 3600), "nbf": 1e300, "iat": 0.5, "aud": []},
        {"aud": "anybody"},
        {"aud": ["a", "b"]},
    ],
)
async def test_claims_that_hold(access: AccessBy, claims: dict[str, Any]):
    assert (await access(**bearer(signed({"role": "x", **claims})))).role == "x"


async def test_clocks_may_differ_by_half_a_minute(access: AccessBy):
    now = int(time.time())
    token = signed({"role": "x", "exp": now - 10, "nbf": now + 10, "iat": now + 10})
    assert (await access(**bearer(token))).role == "x"


async def test_a_token_that_expires_is_refused_though_it_was_accepted(
    access: AccessBy, monkeypatch: pytest.MonkeyPatch
):
    token = signed({"role": "x", "exp": int(time.time()) + 60})
    assert (await access(**bearer(token))).role == "x"
    monkeypatch.setattr("functions._platform.rest.access.LEEWAY_S", -7200)
    assert (await _refused(access, token)).message == "JWT expired"


async def test_an_unknown_key_is_refused(access: AccessBy):
    with pytest.raises(RestError) as refused:
        await access(apikey="sb_secret_unknown")
    error = refused.value
    assert (error.status, error.code, error.message) == (401, "PGRST301", "Invalid API key")


async def test_guesses_are_throttled_and_valid_credentials_pass():
    access = service(AUTH_FAILURES_PER_MINUTE="2")
    expired = signed({"exp": 1})
    assert (await _refused(access, expired)).code == "PGRST303"
    for guess in range(2):
        assert (await _refused(access, f"a.b.{guess}")).code == "PGRST301"
    error = await _refused(access, "a.b.c")
    assert (error.status, error.code) == (429, "RATE_LIMIT_EXCEEDED")
    assert 0 < int(error.headers["Retry-After"]) <= 60
    assert (await access(**bearer(user_token()))).role == "authenticated"
    assert (await access(apikey=SECRET_KEY)).role == "service_role"
    assert await access() == ANONYMOUS
    assert (await _refused(access, expired)).code == "PGRST303"


async def _refused(access: AccessBy, token: str) -> RestError:
    with pytest.raises(RestError) as refused:
        await access(**bearer(token))
    return refused.value
