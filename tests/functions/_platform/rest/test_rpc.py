"""Calling functions: arguments from the URL, JSON, forms and raw bodies; overloads; what comes back."""

import pytest

from tests.functions._platform.rest.conftest import Rest


@pytest.mark.parametrize(
    ("path", "body", "result"),
    [
        ("/rpc/add?a=1", None, 11),
        ("/rpc/add?a=1&b=2", None, 3),
        ("/rpc/add?a=1&b=2&c=3", None, 6),
        ("/rpc/add", {"a": 1, "b": 2}, 3),
        ("/rpc/total?numbers=1&numbers=2", None, 3),
        ("/rpc/total?numbers=1", None, 1),
        ("/rpc/total", {"numbers": [1, 2, 3]}, 6),
        ("/rpc/keys", {"b": 1, "a": 2}, ["a", "b"]),
        ("/rpc/by_format?wanted=audio&select=title", None, [{"title": "The Guest"}]),
        ("/rpc/by_format?select=title,authors!books_author(name)", {"wanted": "audio"}, [
            {"title": "The Guest", "authors": {"name": "Bea"}}]),
        ("/rpc/by_format?wanted=paper&id=gt.1", None, []),
        ("/rpc/newest?select=id,title", None, {"id": 3, "title": "Quiet Days"}),
        ("/rpc/edge", None, {"low": 1, "high": 9}),
    ],
)  # fmt: skip
def test_results(rest: Rest, path: str, body: object, result: object):
    answer = rest("GET" if body is None else "POST", path, body)
    assert (answer.status_code, answer.json()) == (200, result)


def test_raw_bodies_are_the_one_unnamed_argument(rest: Rest):
    assert rest("POST", "/rpc/shout", "a€", content_type="text/plain").json() == "A€"
    data = b"\x00\xff\x01"
    answer = rest("POST", "/rpc/weigh", data, content_type="application/octet-stream")
    assert answer.json() == 3
    form = "application/x-www-form-urlencoded"
    assert rest("POST", "/rpc/add", "a=1&b=5", content_type=form).json() == 6
    assert rest("POST", "/rpc/total", "numbers=1&numbers=5", content_type=form).json() == 6


def test_sets_have_windows_order_and_counts(rest: Rest):
    path = "/rpc/by_format?wanted=paper&select=id&order=id.desc&limit=1"
    answer = rest.get(path, prefer="count=exact")
    assert answer.headers["content-range"] == "0-0/1"
    answer = rest.get("/rpc/keys", prefer="count=exact")
    assert answer.status_code == 404, "a raw body needs POST"


def test_void_is_no_content(rest: Rest):
    answer = rest("POST", "/rpc/forget")
    assert (answer.status_code, answer.content) == (204, b"")
    assert "content-length" not in answer.headers


def test_what_writes_is_refused_in_a_get(rest: Rest):
    assert rest("POST", "/rpc/count_up", {"step": 2}).json() == 2
    for method in ("GET", "HEAD"):
        assert rest(method, "/rpc/count_up?step=1").status_code == 405
    assert rest.get("/rpc/count_up?step=1").json()["code"] == "25006"
    assert rest("PATCH", "/rpc/count_up", {"step": 1}).json()["code"] == "PGRST101"


@pytest.mark.parametrize(
    ("path", "status", "code", "hint"),
    [
        ("/rpc/ad?a=1", 404, "PGRST202", None),
        ("/rpc/totals?numbers=1", 404, "PGRST202", "Perhaps you meant to call the function api.total"),
        ("/rpc/add?a=1&d=2", 404, "PGRST202", "Perhaps you meant to call the function api.add(a, b)"),
        ("/rpc/twin?a=1", 300, "PGRST203", "Try renaming the parameters"),
        ("/rpc/add?a=x", 400, "22P02", None),
    ],
)  # fmt: skip
def test_errors(rest: Rest, path: str, status: int, code: str, hint: str | None):
    answer = rest.get(path)
    error = answer.json()
    assert (answer.status_code, error["code"]) == (status, code)
    assert str(error["hint"]).startswith(hint or "")


@pytest.mark.parametrize(
    ("state", "status"),
    [
        ("PT402", 402),
        ("P0001", 400),
        ("42501", 401),
        ("57014", 500),
        ("PT999", 500),
        ("22023", 400),
    ],
)
def test_functions_choose_their_errors(rest: Rest, state: str, status: int):
    answer = rest("POST", "/rpc/fail", {"state": state, "text": "so"})
    assert (answer.status_code, answer.json()["code"]) == (status, state)
    assert answer.json()["message"] == "so"


def test_functions_choose_status_and_headers(rest: Rest):
    headers = (
        '[{"X-A": "1"}, {"Set-Cookie": "a=b"}, {"Set-Cookie": "c=d"}, {"Content-Type": "text/x"}]'
    )
    answer = rest("POST", "/rpc/answer_with", {"status": "418", "headers": headers})
    assert (answer.status_code, answer.json()) == (418, "told")
    assert answer.headers["x-a"] == "1"
    assert answer.headers.get_list("set-cookie") == ["a=b", "c=d"]
    assert answer.headers["content-type"] == "text/x"


@pytest.mark.parametrize(
    ("status", "headers", "code"),
    [
        ("", "{}", "PGRST111"),
        ("", '[{"a": 1}]', "PGRST111"),
        ("", '[{"a": "b\\r\\nSet-Cookie: c"}]', "PGRST111"),
        ("", '[{"a b": "c"}]', "PGRST111"),
        ("", "[" * 5000, "PGRST111"),
        ("none", "", "PGRST112"),
        ("99", "", "PGRST112"),
        ("1" * 30, "", "PGRST112"),
    ],
)
def test_what_is_no_response_is_refused(rest: Rest, status: str, headers: str, code: str):
    """Response splitting among others: the headers come from SQL, which may repeat a caller's text."""
    answer = rest("POST", "/rpc/answer_with", {"status": status, "headers": headers})
    assert (answer.status_code, answer.json()["code"]) == (500, code)


def test_a_status_without_content_has_none(rest: Rest):
    answer = rest("POST", "/rpc/answer_with", {"status": "204", "headers": ""})
    assert (answer.status_code, answer.content) == (204, b"")


def test_max_affected_needs_a_set(rest: Rest):
    prefer = "handling=strict,max-affected=1"
    assert rest.get("/rpc/add?a=1", prefer=prefer).json()["code"] == "PGRST128"
    assert rest.get("/rpc/by_format?wanted=paper", prefer=prefer).status_code == 200


def test_a_body_of_many_keys_is_not_quoted_whole(rest):
    answer = rest("POST", "/rpc/add", {f"k{number}": 1 for number in range(10_000)})
    assert (answer.status_code, answer.json()["code"]) == (404, "PGRST202")
    assert len(answer.content) < 2_000
