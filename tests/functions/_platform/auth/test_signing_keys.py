"""Access tokens signed with keys of one's own (ES256, RS256), their publication, and rotation."""

import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jose import jwk, jwt

from functions._shared.settings import Settings, SettingsError
from tests.functions._platform.auth.help import told

BASE = {
    "SUPABASE_URL": "http://127.0.0.1:54321",
    "SUPABASE_DB_URL": "postgresql://localhost/postgres",
    "SUPABASE_SERVICE_ROLE_KEY": "x" * 40,
}


def ec_key(key_id: str) -> dict[str, Any]:
    return {
        **jwk.construct(ec.generate_private_key(ec.SECP256R1()), "ES256").to_dict(),
        "kid": key_id,
    }


def rsa_key(key_id: str) -> dict[str, Any]:
    return {
        **jwk.construct(rsa.generate_private_key(65537, 2048), "RS256").to_dict(),
        "kid": key_id,
    }


ONE, TWO, RSA = ec_key("one"), ec_key("two"), rsa_key("three")


def published(auth) -> Any:
    answer = auth.call("GET", "/.well-known/jwks.json")
    assert answer.headers["cache-control"] == "public, max-age=600"
    return answer.json()


@pytest.mark.parametrize(("key", "algorithm"), [(ONE, "ES256"), (RSA, "RS256")])
def test_the_first_key_signs_and_is_published(start_auth, key, algorithm):
    auth = start_auth(SUPABASE_SIGNING_KEYS=json.dumps([key, TWO]))
    session = auth.sign_up()
    header = jwt.get_unverified_header(session["access_token"])
    assert (header["alg"], header["kid"], header["typ"]) == (algorithm, key["kid"], "JWT")
    keys = published(auth)
    assert [one["kid"] for one in keys["keys"]] == [key["kid"], "two"]
    for one in keys["keys"]:
        assert not {"d", "p", "q", "dp", "dq", "qi", "k"} & one.keys()
        assert (one["use"], one["key_ops"]) == ("sig", ["verify"])
    claims = jwt.decode(session["access_token"], keys, [algorithm], audience="authenticated")
    assert claims["sub"] == session["user"]["id"]


def test_its_tokens_are_accepted_here_without_asking_anybody(start_auth):
    auth = start_auth(SUPABASE_SIGNING_KEYS=json.dumps([ONE]))
    session = auth.sign_up()
    assert auth.user(session["access_token"]).json() == session["user"]
    body = {"prompt": "a cat", "model_id": "flux-schnell"}
    started = auth.edge.post("start-generation", body, session["access_token"])
    assert started.status_code == 200, started.text


def test_a_symmetric_secret_is_never_listed(auth):
    assert published(auth) == {"keys": []}


def test_rotation(start_auth):
    """The secret, then a key, then another: sessions go on, and tokens of a removed key do not."""
    before, one, two, after = (
        start_auth(**({"SUPABASE_SIGNING_KEYS": json.dumps(keys)} if keys else {}))
        for keys in ([], [ONE], [TWO, ONE], [TWO])
    )
    by_secret = before.sign_up()
    assert one.user(by_secret["access_token"]).status_code == 200
    by_one = one.refresh(by_secret["refresh_token"]).json()
    assert two.user(by_one["access_token"]).status_code == 200
    by_two = two.refresh(by_one["refresh_token"]).json()
    assert jwt.get_unverified_header(by_two["access_token"])["kid"] == "two"
    assert told(after.user(by_one["access_token"])) == (403, "bad_jwt")
    assert after.user(by_two["access_token"]).status_code == 200


@pytest.mark.parametrize(
    ("value", "what"),
    [
        ("nonsense", "must be such as"),
        ("{}", "must be such as"),
        ("[1]", "must be such as"),
        (json.dumps([{**ONE, "kid": ""}]), "key id"),
        (json.dumps([{name: ONE[name] for name in ONE if name != "d"}]), "private keys"),
        (json.dumps([ONE, ONE]), "twice"),
        (json.dumps([{**ONE, "crv": "P-384"}]), "kinds"),
        (json.dumps([{**ONE, "alg": "HS256"}]), "kinds"),
        (json.dumps([{"kty": "oct", "k": "c2VjcmV0", "kid": "x"}]), "kinds"),
        (json.dumps([{**ONE, "d": "c2VjcmV0c2VjcmV0"}]), ""),
        (json.dumps([{**ONE, "x": 7}]), "must be such as"),
    ],
)
def test_a_key_that_cannot_sign_stops_the_start(value, what):
    with pytest.raises(SettingsError) as refused:
        Settings.from_env({**BASE, "SUPABASE_SIGNING_KEYS": value})
    assert "SUPABASE_SIGNING_KEYS" in str(refused.value)
    assert what in str(refused.value)
    assert ONE["d"] not in str(refused.value)


def test_no_private_key_is_shown():
    settings = Settings.from_env({**BASE, "SUPABASE_SIGNING_KEYS": json.dumps([ONE])})
    assert ONE["d"] not in repr(settings)
    assert ONE["d"] not in repr(settings.supabase_signing_keys)


def test_auth_wants_something_to_sign_with():
    with pytest.raises(SettingsError, match="SUPABASE_JWT_SECRET or SUPABASE_SIGNING_KEYS"):
        Settings.from_env({**BASE, "SERVE": "auth"})
    Settings.from_env({**BASE, "SERVE": "auth", "SUPABASE_SIGNING_KEYS": json.dumps([ONE])})


def test_a_gateway_that_is_auth_itself_fetches_no_keys():
    upstream = {**BASE, "SUPABASE_JWT_SECRET": "x" * 40, "SUPABASE_UPSTREAM_URL": "https://x.test"}
    assert Settings.from_env({**upstream, "SERVE": "auth"}).jwks_url is None
    assert Settings.from_env(upstream).jwks_url


def test_a_verifier_finds_the_keys_by_discovery(start_auth):
    """OpenID Connect Discovery: from the claim iss of a token to its key."""
    auth = start_auth(SUPABASE_SIGNING_KEYS=json.dumps([ONE]))
    issuer = jwt.get_unverified_claims(auth.sign_up()["access_token"])["iss"]
    discovered = auth.call("GET", "/.well-known/openid-configuration").json()
    assert discovered["issuer"] == issuer
    assert discovered["jwks_uri"] == f"{issuer}/.well-known/jwks.json"
    assert "ES256" in discovered["id_token_signing_alg_values_supported"]
