"""Tokens signed with the project's keys: which are believed, when keys are asked for, who has guessed too often."""

import hmac
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jose import jwe, jwk, jwt
from pydantic import SecretStr
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from functions._shared import signing_keys, tokens
from functions._shared.errors import TooManyRequests
from functions._shared.failed_attempts import FailedAttempts
from functions._shared.settings import LOCAL_JWT_SECRET
from scripts.postgres import free_port
from scripts.stack import bound, serving
from tests.conftest import Edge, user_token

BODY = {"prompt": "a cat", "model_id": "black-forest-labs/flux-schnell"}
CLAIMS = {
    "sub": "11111111-1111-4111-8111-111111111111",
    "role": "authenticated",
    "aud": "authenticated",
    "exp": 4102444800,
}


def make_key(algorithm: str) -> str:
    made: Any = (
        ec.generate_private_key(ec.SECP256R1())
        if algorithm == "ES256"
        else rsa.generate_private_key(public_exponent=65537, key_size=2048)
    )
    return made.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()


PRIVATE = {algorithm: make_key(algorithm) for algorithm in ("ES256", "RS256")}


def public(algorithm: str, key_id: str) -> dict[str, Any]:
    key = jwk.construct(PRIVATE[algorithm], algorithm).public_key().to_dict()
    return {**key, "kid": key_id, "use": "sig", "alg": algorithm}


def sign(algorithm: str, key_id: str | None = None, headers=None, **claims: Any) -> str:
    names = {"kid": key_id or algorithm, **(headers or {})}
    return jwt.encode({**CLAIMS, **claims}, PRIVATE[algorithm], algorithm=algorithm, headers=names)


@dataclass
class Auth:
    """What Supabase Auth publishes, on a port of its own."""

    url: str = ""
    keys: list[dict[str, Any]] = field(
        default_factory=lambda: [public("ES256", "ES256"), public("RS256", "RS256")]
    )
    asked: int = 0
    answer: Any = None

    async def jwks(self, request: Request) -> JSONResponse:
        self.asked += 1
        return self.answer or JSONResponse({"keys": self.keys})


@pytest.fixture
def auth() -> Iterator[Auth]:
    auth = Auth()
    app = Starlette(routes=[Route("/jwks.json", auth.jwks)])
    with bound("127.0.0.1", free_port(), "auth") as listener, serving(app, listener):
        auth.url = f"http://127.0.0.1:{listener.getsockname()[1]}/jwks.json"
        yield auth


@pytest.fixture
def edge(start_edge, auth: Auth) -> Edge:
    return start_edge(SUPABASE_JWKS_URL=auth.url)


def status(edge: Edge, token: str) -> int:
    return int(edge.post("start-generation", BODY, token).status_code)


@pytest.mark.parametrize("algorithm", ["ES256", "RS256"])
def test_a_token_of_the_projects_own_key_is_believed(edge: Edge, auth: Auth, db, algorithm):
    for _ in range(3):
        assert status(edge, sign(algorithm)) == 200
    assert auth.asked == 1
    users = db.execute("select distinct user_id::text as id from image_generations").fetchall()
    assert users == [{"id": CLAIMS["sub"]}]


def test_the_secret_signs_also_where_a_key_id_is_named(edge: Edge, auth: Auth):
    token = jwt.encode(CLAIMS, LOCAL_JWT_SECRET, algorithm="HS256", headers={"kid": "ES256"})
    assert status(edge, token) == 200
    assert auth.asked == 0


def test_keys_may_be_given_in_the_settings(start_edge, auth: Auth):
    keys = JSONResponse({"keys": [public("ES256", "given")]}).body.decode()
    edge = start_edge(SUPABASE_JWKS=keys, SUPABASE_JWKS_URL=auth.url)
    assert status(edge, sign("ES256", "given")) == 200
    assert auth.asked == 0


PUBLIC_PEM = jwk.construct(PRIVATE["RS256"], "RS256").public_key().to_pem().decode()
OTHERS_KEY = make_key("ES256")


def hs256_with_the_public_key() -> str:
    # The library refuses to sign so, which an attacker's does not.
    key = jwk.construct(PUBLIC_PEM.replace("-----", "").replace("\n", ""), "HS256")
    unsigned = jwt.encode(CLAIMS, "x", algorithm="HS256").rpartition(".")[0]
    signature = tokens.jwt.jws.base64url_encode(key.sign(unsigned.encode())).decode()
    return f"{unsigned}.{signature}"


BAD = {
    "another key": lambda: jwt.encode(CLAIMS, OTHERS_KEY, "ES256", {"kid": "ES256"}),
    "an unknown key id": lambda: sign("ES256", "unknown"),
    "no key id": lambda: jwt.encode(CLAIMS, PRIVATE["ES256"], "ES256"),
    "a key id that is no text": lambda: sign("ES256", headers={"kid": 7}),
    "the RSA key for ES256": lambda: sign("ES256", "RS256"),
    "the EC key for RS256": lambda: sign("RS256", "ES256"),
    "the public key as a secret": hs256_with_the_public_key,
    "a key of its own": lambda: sign("ES256", headers={"jwk": public("ES256", "ES256")}),
    "an address for keys": lambda: sign("ES256", headers={"jku": "http://127.0.0.1/"}),
    "a critical extension": lambda: sign("ES256", headers={"crit": ["b64"]}),
    "expired": lambda: sign("ES256", exp=int(time.time()) - tokens.LEEWAY_S - 5),
    "not yet valid": lambda: sign("ES256", nbf=int(time.time()) + tokens.LEEWAY_S + 60),
    "another audience": lambda: sign("ES256", aud="partner"),
    "an audience that is no text": lambda: sign("ES256", aud=7),
    "a list as its role": lambda: sign("ES256", role=["authenticated"]),
    "claims that are no object": lambda: tokens.jwt.jws.sign(b"[1]", PRIVATE["ES256"], {"kid": "ES256"}, "ES256"),
    "encrypted, and unfolding to much": lambda: jwe.encrypt(
        bytes(10_000_000), "k" * 32, jwe.ALGORITHMS.A256GCM, jwe.ALGORITHMS.DIR, jwe.ZIPS.DEF
    ).decode(),
    "deeply nested claims": lambda: tokens.jwt.jws.sign(
        b'{"a":' * 2000 + b"1" + b"}" * 2000, PRIVATE["ES256"], {"kid": "ES256"}, "ES256"
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_a_token_that_is_not_the_projects_is_401(edge: Edge, case):
    answer = edge.post("start-generation", BODY, BAD[case]())
    assert answer.status_code == 401
    assert answer.json()["code"].startswith("UNAUTHORIZED_")
    assert answer.headers["sb-error-code"] == answer.json()["code"]
    assert "x-relay-error" not in answer.headers


@pytest.mark.parametrize("audience", [["authenticated"], ["partner", "authenticated"]])
def test_one_of_several_audiences_will_do(edge: Edge, audience):
    assert status(edge, sign("ES256", aud=audience)) == 200


@pytest.mark.parametrize(
    ("token", "code"),
    [
        (jwt.encode(CLAIMS, "x" * 40, "HS256"), "UNAUTHORIZED_LEGACY_JWT"),
        (jwt.encode(CLAIMS, OTHERS_KEY, "ES256", {"kid": "ES256"}), "UNAUTHORIZED_ASYMMETRIC_JWT"),
        (jwt.encode(CLAIMS, "x" * 40, "HS512"), "UNAUTHORIZED_UNSUPPORTED_TOKEN_ALGORITHM"),
        ("rubbish", "UNAUTHORIZED_INVALID_JWT_FORMAT"),
    ],
)
def test_refusals_have_the_platforms_codes(edge: Edge, token, code):
    assert edge.post("start-generation", BODY, token).json()["code"] == code


def test_unknown_key_ids_are_asked_for_rarely(edge: Edge, auth: Auth):
    for number in range(5):
        assert status(edge, sign("ES256", f"made-up-{number}")) == 401
    assert auth.asked == 1


def test_a_new_key_is_found_and_an_old_one_is_kept_while_auth_is_down(
    edge: Edge, auth: Auth, monkeypatch
):
    assert status(edge, sign("ES256")) == 200
    auth.keys.append(public("ES256", "new"))
    assert status(edge, sign("ES256", "new")) == 401, "asked a moment ago"
    monkeypatch.setattr(signing_keys, "ASK_AGAIN_S", 0.0)
    assert status(edge, sign("ES256", "new")) == 200
    monkeypatch.setattr(signing_keys, "FRESH_S", 0.0)
    auth.answer = JSONResponse({"message": "down"}, status_code=503)
    assert status(edge, sign("ES256", "new", exp=4102444801)) == 200
    auth.answer = JSONResponse([1, 2])
    assert status(edge, sign("ES256", "new", exp=4102444802)) == 200


def test_while_auth_has_never_answered_it_is_503(start_edge):
    edge = start_edge(SUPABASE_JWKS_URL=f"http://127.0.0.1:{free_port()}/jwks.json")
    answer = edge.post("start-generation", BODY, sign("ES256"))
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert status(edge, edge.user_token()) == 200, "the secret needs no keys"


def test_many_refused_tokens_of_one_address_are_429(start_edge):
    edge = start_edge(AUTH_FAILURES_PER_MINUTE="3")
    good = edge.user_token()
    assert status(edge, good) == 200
    for number in range(3):
        assert status(edge, f"sb_secret_{number}") == 401
    answer = edge.post("start-generation", BODY, "sb_secret_4")
    assert (answer.status_code, answer.json()["code"]) == (429, "RATE_LIMIT_EXCEEDED")
    assert 1 <= int(answer.headers["retry-after"]) <= 60
    assert status(edge, user_token()) == 429, "one not seen before may be guessed too"
    assert status(edge, good) == 200


def test_a_verified_token_is_looked_at_again_once_it_has_expired(edge: Edge, monkeypatch):
    verified = []
    verify = tokens.Tokens.verify

    async def counted(self: tokens.Tokens, token: str) -> tokens.Caller:
        verified.append(token)
        return await verify(self, token)

    monkeypatch.setattr(tokens.Tokens, "verify", counted)
    token = sign("ES256", exp=int(time.time()) + 5)
    for _ in range(3):
        assert status(edge, token) == 200
    assert verified == [token]
    monkeypatch.setattr(tokens, "LEEWAY_S", -100)
    assert status(edge, token) == 401
    assert verified == [token] * 2


def test_every_opaque_key_is_compared_in_constant_time(start_edge, monkeypatch):
    """So that no answer comes sooner for a key that is nearly right, or the first of several."""
    edge = start_edge(
        ALLOW_ANON="false",
        SUPABASE_SECRET_KEYS='{"a": "sb_secret_aaaa", "b": "sb_secret_bbbb"}',
        SUPABASE_PUBLISHABLE_KEYS='{"a": "sb_publishable_aaaa"}',
    )
    compared = []
    compare_digest = hmac.compare_digest

    def counted(known: bytes, given: bytes) -> bool:
        compared.append(known)
        return compare_digest(known, given)

    monkeypatch.setattr("functions._shared.auth.hmac.compare_digest", counted)
    for key, expected in (("sb_publishable_aaaa", 401), ("sb_secret_bbbc", 401), ("sb_x", 401)):
        compared.clear()
        assert status(edge, key) == expected
        assert sorted(compared) == [b"sb_publishable_aaaa", b"sb_secret_aaaa", b"sb_secret_bbbb"]


async def test_no_more_tokens_are_remembered_than_there_is_room_for(monkeypatch):
    monkeypatch.setattr(tokens, "MAX_KNOWN", 2)
    keys = signing_keys.SigningKeys(httpx.AsyncClient(), None, {})
    remembered = tokens.Tokens(SecretStr(LOCAL_JWT_SECRET), keys)
    given = [user_token(padding=number) for number in range(5)]
    for token in given:
        await remembered.verify(token)
    assert [remembered.known(token) is not None for token in given] == [False] * 3 + [True] * 2


def test_callers_without_an_address_are_not_counted_together():
    failed = FailedAttempts(1)
    for _ in range(3):
        failed.note("")
        failed.note("10.0.0.1")
    failed.check("")
    with pytest.raises(TooManyRequests):
        failed.check("10.0.0.1")
