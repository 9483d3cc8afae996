"""Where /verify may lead: open redirects, patterns, and what is appended."""

import pytest

from functions._local.defaults import local_environment
from functions._platform.auth.errors import AuthError
from functions._platform.auth.mailed.globs import matches as glob_matches
from functions._platform.auth.mailed.redirects import is_allowed, with_code, with_error
from functions._shared.settings import Settings
from tests.functions._platform.auth.help import new_address
from tests.functions._platform.auth.mails import SITE, follow, newest, query

ALLOWED = "https://app.example/**,https://*.preview.example/back,myapp://callback,https://x.example:8443/a?"


def settings(**environ: str) -> Settings:
    return Settings.from_env(local_environment({"SITE_URL": "https://site.example", **environ}))


@pytest.mark.parametrize(
    "url",
    [
        "https://site.example",
        "https://site.example/any/page?a=b#part",
        "https://SITE.example/",
        "https://site.example:443/",
        "https://app.example/",
        "https://app.example/a/b.c?d=e#f",
        "https://one.preview.example/back",
        "https://x.example:8443/ab",
        "myapp://callback",
        "http://127.0.0.1:5173/back",
        "http://[::1]:3000/",
    ],
)
def test_allowed(url: str):
    assert is_allowed(settings(ADDITIONAL_REDIRECT_URLS=ALLOWED), url)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "/relative",
        "//evil.example/",
        "site.example",
        "http://site.example",
        "https://site.example:444/",
        "https://site.example.evil.example/",
        "https://site.example@evil.example/",
        "https://evil.example/?https://site.example",
        "https://evil.example/#https://app.example/",
        "https://evil.example\\@app.example/",
        "https://app.example@evil.example/",
        "https://a:b@site.example/",
        "https://app.example\t.evil.example/",
        "https:/\n/app.example/",
        "https://two.one.preview.example/back",
        "https://one.preview.example/back/more",
        "https://x.example:8443/a",
        "myapp://other",
        "javascript:alert(1)",
        "data:text/html,x",
        "http://2130706433/",
        "http://10.0.0.1/",
        "intent://127.0.0.1#Intent;package=evil.example;end",
        "ftp://127.0.0.1/",
        "https://app.example:999999/",
        "https://app.example/" + "a" * 2000,
    ],
)
def test_refused(url: str):
    assert not is_allowed(settings(ADDITIONAL_REDIRECT_URLS=ALLOWED), url)


@pytest.mark.parametrize("pattern", ["**", "https://**", "javascript:**", "http*://*"])
@pytest.mark.parametrize("url", ["javascript:alert(1)", "https://site.example@evil.example/"])
def test_a_careless_pattern_opens_neither_scripts_nor_credentials(pattern: str, url: str):
    assert not is_allowed(settings(ADDITIONAL_REDIRECT_URLS=pattern), url)


def test_on_loopback_any_port_is_the_site():
    local = settings(SITE_URL="http://localhost:3000")
    assert is_allowed(local, "http://localhost:5173/")
    assert not is_allowed(local, "https://localhost:5173/")


@pytest.mark.parametrize(
    ("pattern", "text", "matches"),
    [
        ("a*c", "abbc", True),
        ("a*c", "ab.c", False),
        ("a**c", "ab./c", True),
        ("a?c", "abc", True),
        ("a?c", "a/c", False),
        ("a[b-d]e", "ace", True),
        ("a[!b-d]e", "ace", False),
        ("a[!b-d]e", "aze", True),
        ("{one,two}.x", "two.x", True),
        ("{one,two}.x", "six.x", False),
        ("{a,b{c,d}}e", "bde", True),
        ("{a,b{c,d}}e", "be", False),
        ("a[z-a]", "az", False),
        ("{**.a,*}/x", "p.q.a/x", True),
        ("a\\*c", "a*c", True),
        ("a\\*c", "abc", False),
        ("a.c", "abc", False),
        ("(a|b)+", "a", False),
        ("a}b,c", "a}b,c", True),
    ],
)
def test_patterns(pattern: str, text: str, matches: bool):
    assert glob_matches(pattern, text) is matches


def test_a_pattern_takes_no_time_to_fail():
    """ReDoS: as a regular expression this one backtracks for hours, beyond the test's time-out."""
    assert not glob_matches("**a**a**a**a**a**b", "a" * 2000)


def test_a_code_joins_the_query():
    assert with_code("https://a.example/b?c=d&e=#f", "x") == "https://a.example/b?c=d&code=x&e=#f"


def test_an_error_replaces_the_fragment():
    error = AuthError(403, "otp_expired", "Too late & gone")
    told = "error=access_denied&error_code=otp_expired&error_description=Too+late+%26+gone"
    assert with_error("https://a.example/?b=c#d", error, pkce=False) == (
        f"https://a.example/?b=c#{told}&sb="
    )
    assert with_error("https://a.example/", error, pkce=True) == (
        f"https://a.example/?{told}#{told}&sb="
    )


@pytest.mark.parametrize(
    ("named", "reached"),
    [
        ("https://app.example/back?a=1&b=2", "https://app.example/back?a=1&b=2"),
        ("https://evil.example/", SITE),
    ],
)
def test_redirect_to_of_the_request_is_in_the_mail_and_followed(start_auth, named, reached):
    auth = start_auth(ADDITIONAL_REDIRECT_URLS="https://app.example/**")
    email = new_address()
    auth.post("/otp", {"email": email}, params={"redirect_to": named})
    link = newest(auth, email)["link"]
    assert query(link)["redirect_to"] == reached
    assert follow(auth, link).startswith(f"{reached}#access_token=")


def test_a_link_whose_redirect_to_was_changed_leads_to_the_site(auth):
    email = new_address()
    auth.post("/otp", {"email": email})
    link = newest(auth, email)["link"].partition("&redirect_to=")[0]
    address = follow(auth, f"{link}&redirect_to=https://evil.example/")
    assert address.startswith(f"{SITE}#access_token=")
