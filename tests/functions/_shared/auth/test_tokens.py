"""Tokens signed with the project's keys: which are believed, when keys are asked for, who has guessed too often."""

import asyncio
import hmac
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any
from uuid import NAMESPACE_URL, uuid5

import httpx
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jose import jwe, jwk, jws, jwt
from jose.utils import base64url_encode
from pydantic import SecretStr
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from functions._shared.auth import signing_keys, tokens
from functions._shared.auth.throttle import FailedAttempts
from functions._shared.errors import Unauthorized, Unavailable
from functions._shared.local_keys import LOCAL_JWT_SECRET
from scripts.postgres import free_port
from scripts.stack import bound, serving
from tests.conftest import Edge, user_token
from tests.help import BODY, eventually

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
    reached: threading.Event = field(default_factory=threading.Event)
    hold: threading.Event = field(default_factory=threading.Event)
    """Not set: a question waits for its answer."""

    async def jwks(self, request: Request) -> JSONResponse:
        self.asked += 1
        self.reached.set()
        await asyncio.to_thread(self.hold.wait, 30)
        return self.answer or JSONResponse({"keys": self.keys})


@pytest.fixture
def auth() -> Iterator[Auth]:
    auth = Auth()
    auth.hold.set()
    app = Starlette(routes=[Route("/jwks.json", auth.jwks)])
    with bound("127.0.0.1", free_port(), "auth") as listener, serving(app, listener):
        auth.url = f"http://127.0.0.1:{listener.getsockname()[1]}/jwks.json"
        yield auth
        auth.hold.set()


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
    signature = base64url_encode(key.sign(unsigned.encode())).decode()
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
    "claims that are no object": lambda: jws.sign(b"[1]", PRIVATE["ES256"], {"kid": "ES256"}, "ES256"),
    "encrypted, and unfolding to much": lambda: jwe.encrypt(
        bytes(10_000_000), "k" * 32, jwe.ALGORITHMS.A256GCM, jwe.ALGORITHMS.DIR, jwe.ZIPS.DEF
    ).decode(),
    "deeply nested claims": lambda: jws.sign(
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
    monkeypatch.setattr(signing_keys, "FETCH_INTERVAL_S", 0.0)
    assert status(edge, sign("ES256", "new")) == 200
    monkeypatch.setattr(signing_keys, "TTL_S", 0.0)
    auth.answer = JSONResponse({"message": "down"}, status_code=503)
    assert status(edge, sign("ES256", "new", exp=4102444801)) == 200
    auth.answer = JSONResponse([1, 2])
    assert status(edge, sign("ES256", "new", exp=4102444802)) == 200


def test_a_new_key_is_not_refused_while_auth_is_down(edge: Edge, auth: Auth, monkeypatch):
    """It may well be the project's; and nobody is told to slow down for it."""
    noted: list[str] = []
    monkeypatch.setattr(FailedAttempts, "note", lambda _, address: noted.append(address))
    assert status(edge, sign("ES256")) == 200
    auth.answer = JSONResponse({"message": "down"}, status_code=503)
    monkeypatch.setattr(signing_keys, "FETCH_INTERVAL_S", 0.0)
    assert status(edge, sign("ES256", "new")) == 503
    monkeypatch.setattr(signing_keys, "FETCH_INTERVAL_S", 60.0)
    assert status(edge, sign("ES256", "newer")) == 503
    assert status(edge, sign("ES256", "ES256", exp=4102444809)) == 200
    assert noted == []


def test_whoever_comes_while_keys_are_asked_for_waits_for_them(edge: Edge, auth: Auth, monkeypatch):
    wanted = []
    find = signing_keys.SigningKeys.find

    async def counted(self: signing_keys.SigningKeys, key_id: str) -> Any:
        wanted.append(key_id)
        return await find(self, key_id)

    monkeypatch.setattr(signing_keys.SigningKeys, "find", counted)
    auth.hold.clear()
    with ThreadPoolExecutor(4) as clients:
        tokens = [sign("ES256", exp=CLAIMS["exp"] + number) for number in range(4)]
        answers = [clients.submit(status, edge, token) for token in tokens]
        eventually(lambda: len(wanted) == 4)
        auth.hold.set()
        assert [answer.result() for answer in answers] == [200] * 4
    assert auth.asked == 1


# A key that is taken out of the project


def make_old(edge_keys: pytest.MonkeyPatch, seconds: float) -> None:
    """As if so much time had gone by since the keys were fetched."""
    monotonic = time.monotonic
    edge_keys.setattr(signing_keys.time, "monotonic", lambda: monotonic() + seconds)


@pytest.mark.parametrize("seconds", [2000.0, 700.0], ids=["after an idle time", "in use"])
def test_a_token_does_not_outlive_its_key(edge: Edge, auth: Auth, monkeypatch, seconds):
    first, second = sign("ES256"), sign("RS256")
    assert [status(edge, first), status(edge, second)] == [200, 200]
    auth.keys.pop(0)
    assert status(edge, first) == 200, "asked a moment ago"
    make_old(monkeypatch, seconds)
    if seconds < signing_keys.STALE_S:
        # The keys are asked for beside the request, which does not wait for them.
        assert status(edge, second) == 200
        eventually(lambda: auth.asked == 2)
        eventually(lambda: status(edge, first) != 200)
    answer = edge.post("start-generation", BODY, first)
    assert (answer.status_code, answer.json()["code"]) == (401, "UNAUTHORIZED_ASYMMETRIC_JWT")
    assert status(edge, second) == 200
    assert auth.asked == 2


def test_known_tokens_do_not_wait_for_an_auth_that_hangs(edge: Edge, auth: Auth, monkeypatch):
    token = sign("ES256")
    assert status(edge, token) == 200
    auth.hold.clear()
    auth.reached.clear()
    make_old(monkeypatch, 700.0)
    for _ in range(3):
        assert status(edge, token) == 200
    assert auth.reached.wait(30)
    assert status(edge, token) == 200
    auth.hold.set()


def test_a_key_that_was_replaced_under_its_own_id_is_another(edge: Edge, auth: Auth, monkeypatch):
    token = sign("ES256")
    assert status(edge, token) == 200
    other = jwk.construct(OTHERS_KEY, "ES256").public_key().to_dict()
    auth.keys[0] = {**public("ES256", "ES256"), "x": other["x"], "y": other["y"]}
    make_old(monkeypatch, 2000.0)
    assert status(edge, token) == 401
    assert status(edge, jwt.encode(CLAIMS, OTHERS_KEY, "ES256", {"kid": "ES256"})) == 200


# What a JWKS may hold


ES = public("ES256", "odd")
RSA = public("RS256", "odd")


@pytest.mark.parametrize(
    "odd",
    [
        *("text", 7, None, [], {}, {"kid": "odd"}, {"kid": "odd", "kty": "EC"}),
        *({**ES, "kid": kid} for kid in (7, None, ["odd"], {})),
        *({**ES, "kty": kty} for kty in (7, ["EC"], {}, "oct", "OKP", "RSA")),
        *({**ES, "crv": crv} for crv in (7, None, "P-384", "P-1", ["P-256"])),
        *({**ES, "alg": alg} for alg in (7, ["ES256"], "ES384", "HS256")),
        *({**ES, "x": x} for x in (5, 10**12, None, ["a"], "", "é", "!", ES["y"])),
        *({**RSA, "n": n} for n in (5, 10**12, None, "", "AQ")),
        *({**RSA, "e": e} for e in (65537, None, "", "AA")),
        {**ES, "use": "enc"},
    ],
)
def test_a_key_that_is_none_is_left_out(odd):
    keys = signing_keys._by_id({"keys": [odd, public("ES256", "good")]})
    assert [*keys] == ["good"]


@pytest.mark.parametrize(
    "answer",
    [b"", b"nonsense", b"[1]", b"[" * 5000, b'{"keys": 7}', b'{"keys": [' + b" " * 300_000 + b"]}"],
)
async def test_an_answer_that_is_no_jwks_leaves_the_keys(answer, caplog):
    good = httpx.Response(200, json={"keys": [public("ES256", "ES256")]})
    answers = [good, httpx.Response(200, content=answer)]
    transport = httpx.MockTransport(lambda _: answers.pop(0))
    async with httpx.AsyncClient(transport=transport) as http:
        keys = signing_keys.SigningKeys(http, "https://auth.example/jwks.json", {})
        found = await keys.find("ES256")
        keys._fetch_began = float("-inf")
        with pytest.raises(Unavailable):
            await keys.find("unknown")
        assert await keys.find("ES256") is found is not None
    assert [line.levelname for line in caplog.records if "signing keys" in line.message] == [
        "WARNING"
    ]


# HS256 switched off


def test_without_a_secret_tokens_signed_with_one_are_refused(start_edge, auth: Auth):
    edge = start_edge(
        SUPABASE_JWT_SECRET="",
        SUPABASE_JWKS_URL=auth.url,
        SUPABASE_SERVICE_ROLE_KEY="sb_secret_own_0123456789",
        SUPABASE_ANON_KEY="",
        SUPABASE_PUBLISHABLE_KEYS="",
        SUPABASE_SECRET_KEYS="",
        SERVE="storage",
    )
    for secret in (LOCAL_JWT_SECRET, "", "None"):
        answer = edge.post("start-generation", BODY, jwt.encode(CLAIMS, secret or "x", "HS256"))
        told = (answer.status_code, answer.json()["code"], answer.json()["error"])
        code = "UNAUTHORIZED_UNSUPPORTED_TOKEN_ALGORITHM"
        assert told == (401, code, "Unsupported JWT algorithm HS256")
    assert status(edge, sign("ES256")) == 200
    assert edge.post("process-jobs", {}, "sb_secret_own_0123456789").status_code == 200


# Tokens of a third party


def test_a_third_partys_users_are_let_in_by_settings(start_edge, auth: Auth, db):
    edge = start_edge(
        SUPABASE_JWKS_URL=auth.url,
        JWT_AUDIENCES="authenticated my-app",
        JWT_ROLES="admin,editor",
        JWT_TEXT_SUBJECTS="true",
    )
    iss = "https://third.example"
    for claims in (
        {"aud": "my-app"},
        {"role": "editor"},
        {"aud": ["x", "my-app"], "role": "admin"},
    ):
        assert status(edge, sign("ES256", **claims)) == 200
    for number in range(2):
        assert (
            status(edge, sign("ES256", sub="user_2abcDEF", iss=iss, aud="my-app", n=number)) == 200
        )
    assert status(edge, sign("ES256", sub="user_2abcDEF", iss="https://other.example")) == 200
    users = db.execute(
        "select user_id, count(*)::int as n from image_generations where user_id <> %s group by 1",
        (CLAIMS["sub"],),
    ).fetchall()
    made = {
        uuid5(uuid5(NAMESPACE_URL, iss), "user_2abcDEF"): 2,
        uuid5(uuid5(NAMESPACE_URL, "https://other.example"), "user_2abcDEF"): 1,
    }
    assert {row["user_id"]: row["n"] for row in users} == made
    for claims in (
        {"aud": "another"},
        {"role": "owner"},
        {"role": "postgres"},
        {"sub": "a\0b"},
        {"iss": 7, "sub": "x"},
    ):
        assert status(edge, sign("ES256", **claims)) == 401
    answer = edge.post("process-jobs", {}, sign("ES256", role="admin"))
    assert (answer.status_code, answer.json()["code"]) == (403, "FORBIDDEN")


def test_a_claim_about_another_token_makes_no_token_bad(edge: Edge):
    """An ID token's at_hash is of the access token that came with it, which nobody sends."""
    assert status(edge, sign("ES256", at_hash="MTIzNDU2Nzg5MDEyMzQ1Ng")) == 200


def test_while_auth_has_never_answered_it_is_503(start_edge):
    edge = start_edge(SUPABASE_JWKS_URL=f"http://127.0.0.1:{free_port()}/jwks.json")
    answer = edge.post("start-generation", BODY, sign("ES256"))
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert status(edge, edge.user_token()) == 200, "the secret needs no keys"


def test_a_verified_tokens_validity_is_checked_each_time_its_signature_once(
    edge: Edge, monkeypatch
):
    verified = []
    verify = tokens.Tokens.verify

    async def counted(self: tokens.Tokens, token: str) -> tokens.Claims:
        verified.append(token)
        return await verify(self, token)

    monkeypatch.setattr(tokens.Tokens, "verify", counted)
    token = sign("ES256", exp=int(time.time()) + 5)
    for _ in range(3):
        assert status(edge, token) == 200
    assert verified == [token]
    monkeypatch.setattr(tokens, "LEEWAY_S", -100)
    assert status(edge, token) == 401
    assert verified == [token]


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

    monkeypatch.setattr("functions._shared.auth.authenticator.hmac.compare_digest", counted)
    keys = [edge.anon_key, edge.service_role_key]
    keys += ["sb_publishable_aaaa", "sb_secret_aaaa", "sb_secret_bbbb"]
    for key, expected in (("sb_publishable_aaaa", 401), ("sb_secret_bbbc", 401), ("sb_x", 401)):
        compared.clear()
        assert status(edge, key) == expected
        assert sorted(compared) == sorted(key.encode() for key in keys)


RULES = tokens.Rules(frozenset({"authenticated"}), frozenset(), text_subjects=False)


def checker(secret: str | None = LOCAL_JWT_SECRET) -> tokens.Tokens:
    keys = signing_keys.SigningKeys(httpx.AsyncClient(), None, {})
    return tokens.Tokens(SecretStr(secret) if secret else None, keys)


async def test_no_more_tokens_are_remembered_than_there_is_room_for(monkeypatch):
    monkeypatch.setattr(tokens, "MAX_VERIFIED", 2)
    remembered = checker()
    given = [user_token(padding=number) for number in range(5)]
    for token in given:
        await remembered.verify(token)
    assert [await remembered.cached(token) is not None for token in given] == [False] * 3 + [
        True
    ] * 2


async def test_no_more_refusals_are_remembered_than_there_is_room_for(monkeypatch):
    """By their digests: what a stranger sends takes no room of its own size."""
    monkeypatch.setattr(tokens, "MAX_REFUSED", 2)
    remembered = checker()
    for number in range(5):
        with pytest.raises(Unauthorized):
            await remembered.verify(user_token("x" * 40, padding="y" * number * 100))
    assert {len(digest) for digest in remembered._refused} == {32}
    assert len(remembered._refused) == 2


async def test_what_was_refused_is_not_verified_again(monkeypatch):
    verified = []
    verify = jws.verify
    monkeypatch.setattr(
        tokens.jws, "verify", lambda *given: (verified.append(given[0]), verify(*given))[1]
    )
    checked = checker()
    forged, expired = user_token("x" * 40), user_token(exp=1)
    for _ in range(3):
        with pytest.raises(Unauthorized, match="Invalid JWT"):
            await checked.verify(forged)
        with pytest.raises(Unauthorized, match="JWT expired"):
            RULES.caller(await checked.cached(expired) or await checked.verify(expired))
    assert verified == [forged, expired]
    monkeypatch.setattr(tokens, "REFUSED_TTL_S", -1.0)
    other = user_token("y" * 40)
    for _ in range(2):
        with pytest.raises(Unauthorized):
            await checked.verify(other)
    assert verified == [forged, expired, other, other], "a key may be put right under its old id"


async def test_a_token_that_is_not_valid_yet_is_not_remembered_as_bad(monkeypatch):
    checked = checker()
    soon = user_token(nbf=int(time.time()) + 3600)
    claims = await checked.verify(soon)
    with pytest.raises(tokens.OutsideValidity):
        RULES.caller(claims)
    monkeypatch.setattr(tokens, "LEEWAY_S", 4000)
    assert RULES.caller(await checked.cached(soon) or {})
