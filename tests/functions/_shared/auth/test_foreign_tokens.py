"""What a token's sender may put into it: whatever it is, the answer is 401 with a code for its cause, never a 500."""

import hmac

import pytest
from jose.utils import base64url_encode

from functions._shared.auth.throttle import FailedAttempts
from functions._shared.local_keys import LOCAL_JWT_SECRET
from tests.conftest import Edge, user_token
from tests.help import BODY

NONE_ALLOWED = "Invalid JWT: its {} is none of those allowed here"


@pytest.mark.parametrize(
    ("token", "code", "text"),
    [
        (user_token(exp=1), "JWT_EXPIRED", "JWT expired"),
        (user_token(nbf=4102444800), "JWT_NOT_YET_VALID", "JWT not yet valid"),
        (user_token("x" * 40), "LEGACY_JWT", "Invalid JWT"),
        (user_token("x" * 40, exp=1), "LEGACY_JWT", "Invalid JWT"),
        (user_token(role="admin"), "JWT_ROLE", NONE_ALLOWED.format("role")),
        (user_token(aud="partner"), "JWT_AUDIENCE", NONE_ALLOWED.format("audience")),
        (user_token(sub="user_2a"), "JWT_SUBJECT", "Invalid JWT: its subject is no user's id"),
        (user_token(iat="soon"), "JWT_CLAIMS", "Invalid JWT: iat is no time"),
        ("sb_secret_unknown", "INVALID_API_KEY", "Invalid API key"),
        ("x.y", "INVALID_JWT_FORMAT", "Invalid JWT format"),
    ],
)
def test_each_cause_has_its_code_and_its_words(idle_edge: Edge, token, code, text):
    answer = idle_edge.post("start-generation", BODY, token)
    assert (answer.status_code, answer.json()["error"]) == (401, text)
    assert answer.json()["code"] == answer.headers["sb-error-code"] == f"UNAUTHORIZED_{code}"


def test_a_good_key_without_a_user_is_told_so(start_edge):
    edge = start_edge(ALLOW_ANON="false")
    for key in (edge.anon_key, edge.service_role_key):
        answer = edge.post("start-generation", BODY, key)
        told = (answer.status_code, answer.json()["code"], answer.json()["error"])
        assert told == (401, "UNAUTHORIZED_NO_USER", "Unauthorized")


def raw(header: str, claims: str = "{}", key: str = "x") -> str:
    """A token of any text, signed with ``key``."""
    unsigned = b".".join(base64url_encode(part.encode()) for part in (header, claims))
    return (
        unsigned + b"." + base64url_encode(hmac.digest(key.encode(), unsigned, "sha256"))
    ).decode()


def signed(claims: str) -> str:
    return raw('{"alg":"HS256"}', claims, LOCAL_JWT_SECRET)


GOOD = '"role":"authenticated","aud":"authenticated","sub":"11111111-1111-4111-8111-111111111111"'
HALF = r'"\ud800"'
"""Of a surrogate pair: text that no encoding takes."""
NO_TEXT = ["7", "null", "true", "[]", "{}", '["x"]', '[["x"]]', '""', HALF, r'"\u0000"']
NO_TIME = [
    *("1e400", "-1e400", "Infinity", "-Infinity", "NaN", "9" * 400, "9" * 5000, "-1"),
    *("true", "null", "[1]", "{}", '"4102444800"'),
]
NO_OBJECT = ["[]", "7", "null", '"x"', "", "{", "[" * 3000]
FOREIGN = {
    "alg": [raw(f'{{"alg":{value}}}') for value in [*NO_TEXT, '["HS256"]']],
    "kid": [raw(f'{{"alg":"ES256","kid":{value}}}') for value in NO_TEXT],
    "header": [raw(value) for value in [*NO_OBJECT, '{"alg":"HS256","a":' + "[" * 3000]],
    "claims": [signed(value) for value in [*NO_OBJECT, '{"a":' * 1500 + "1" + "}" * 1500]],
    **{
        name: [signed(f'{{{GOOD},"{name}":{value}}}') for value in NO_TIME]
        for name in ("exp", "nbf", "iat")
    },
    "role": [
        signed(f'{{{GOOD},"role":{value}}}')
        for value in [*NO_TEXT, '["authenticated"]', '{"authenticated":1}', '"Service_Role"']
    ],
    "aud": [
        signed(f'{{{GOOD},"aud":{value}}}')
        for value in [*NO_TEXT, '{"authenticated":1}', '[["authenticated"]]', "[7]"]
    ],
    "sub": [signed(f'{{{GOOD},"sub":{value}}}') for value in [*NO_TEXT, '"' + "1" * 5000 + '"']],
}
CASES = {
    f"{name} {number}": token
    for name, tokens in FOREIGN.items()
    for number, token in enumerate(tokens)
}


def test_foreign_values_are_401_counted_and_not_logged(start_edge, monkeypatch, caplog):
    noted: list[str] = []
    monkeypatch.setattr(FailedAttempts, "note", lambda _, address: noted.append(address))
    edge = start_edge()
    answers = {name: edge.post("start-generation", BODY, token) for name, token in CASES.items()}
    statuses = {name: answer.status_code for name, answer in answers.items()}
    assert statuses == dict.fromkeys(CASES, 401)
    codes = {answer.json()["code"].partition("_")[0] for answer in answers.values()}
    assert codes == {"UNAUTHORIZED"}
    assert noted == ["127.0.0.1"] * len(CASES)
    assert [line for line in caplog.records if line.name.startswith("functions")] == []
