"""Types and validators of settings, and error messages that name an invalid one without showing its value.

Files, secret stores and docker's ``--env-file`` leave a newline behind a value, or quotes around it. Surrounding blanks
are stripped; invisible characters inside are refused at start, as they would fail later, after a picture is paid for.
"""

import ipaddress
import json
import re
import unicodedata
from collections.abc import Mapping
from typing import Annotated, Any

import psycopg
from jose import jwk
from psycopg.conninfo import conninfo_to_dict
from pydantic import BeforeValidator, Field, Json, SecretStr, ValidationError

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

SERVABLE = frozenset({"auth", "example", "realtime", "rest", "storage"})
"""Services that SERVE may name; example is the app at /, which uses the others."""

EMPTY_IS_A_VALUE = frozenset(
    {"PGRST_DB_ANON_ROLE", "PGRST_DB_EXTRA_SEARCH_PATH", "PGRST_DB_MAX_ROWS"}
)
"""Settings whose empty value means none, as in PostgREST, where the absent one has a default."""

LOOPBACK: tuple[Network, ...] = (
    ipaddress.ip_network("127.0.0.0/8"),
    ipaddress.ip_network("::1/128"),
)

QUOTES = ("''", '""', "``", "‘’", "“”", "„“", "«»")
UNSEEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
"""Unicode's categories: control, format (a byte order mark, zero width), surrogate, line and paragraph separator."""
LAYOUT = frozenset("\n\r\t")
VISIBLE = re.compile(r"[!-~]*")
ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://(?:\[[0-9a-f:.]+\]|[a-z0-9_.-]+)(?::\d{1,5})?")
HOST_NAME = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_])?")
NO_ROLES = frozenset(
    {"anon", "service_role", "postgres", "authenticator", "dashboard_user", "pgbouncer"}
    | {"root", "public", "none"}
)
"""Names that JWT_ROLES must not hold: privileged roles, and none of users (privilege escalation)."""
OF_THE_SERVER = ("pg_", "supabase_", "rds", "cloudsql", "azure_")
"""Prefixes of roles that belong to PostgreSQL or its host."""


def given(environ: Mapping[str, str]) -> dict[str, str]:
    """The variables that are set: an empty or blank one counts as absent, unless it is in EMPTY_IS_A_VALUE."""
    return {
        name: value.strip()
        for name, value in environ.items()
        if value.strip() or name in EMPTY_IS_A_VALUE
    }


def plain(value: object, *, lines: bool) -> object:
    """A text, stripped; ``lines``: line breaks are allowed. Raises ValueError (quotes, invisible characters)."""
    if not isinstance(value, str):
        return value
    value = value.strip()
    if len(value) > 1 and value[0] + value[-1] in QUOTES:
        raise ValueError("must not have quotes around it")
    for character in value:
        if unicodedata.category(character) in UNSEEN and not (lines and character in LAYOUT):
            raise ValueError("must not have a line break or another invisible character in it")
    return value


def _credential(value: object) -> object:
    value = plain(value, lines=False)
    if isinstance(value, str) and not VISIBLE.fullmatch(value):
        raise ValueError(
            "must have no blanks in it, and no letters beyond ASCII: headers take none"
        )
    return value


def _words(value: object) -> object:
    return frozenset(_split(value)) if isinstance(value, str) else value


def _roles(value: object) -> object:
    roles = _words(value)
    if isinstance(roles, frozenset):
        for role in roles:
            name = role.lower()
            if name in NO_ROLES or name.startswith(OF_THE_SERVER):
                raise ValueError(f"must not name {role[:63]}, which is no role of users")
    return roles


def _services(value: object) -> object:
    services = _words(value)
    if isinstance(services, frozenset) and not services <= SERVABLE:
        raise ValueError(f"may name {', '.join(sorted(SERVABLE))} and nothing else")
    return services


def _networks(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        networks = tuple(ipaddress.ip_network(word, strict=False) for word in sorted(_split(value)))
    except ValueError:
        raise ValueError("must be networks or addresses, such as 10.0.0.0/8 ::1") from None
    if any(network.prefixlen == 0 for network in networks):
        # Spoofing: all of X-Forwarded-For would be trusted, also what the client wrote itself.
        raise ValueError("must name your proxies' networks, not the whole internet")
    return networks


def _origins(value: object) -> object:
    if not isinstance(value, str):
        return value
    origins = frozenset(_serialised(word) for word in _split(value))
    if origins == {"*"}:
        return origins
    for origin in origins:
        if not ORIGIN.fullmatch(origin):
            raise ValueError("must be *, or origins such as https://app.example.com")
    return origins


def _serialised(origin: str) -> str:
    """As browsers serialise an origin: lower case, without a default port or a trailing slash."""
    origin = origin.lower().removesuffix("/")
    scheme, _, _ = origin.partition("://")
    return origin.removesuffix({"http": ":80", "https": ":443"}.get(scheme, "/"))


def _split(value: str) -> set[str]:
    return set(value.replace(",", " ").split())


def _host_name(value: object) -> object:
    if isinstance(value, str) and not HOST_NAME.fullmatch(value):
        raise ValueError("must be a host name alone, such as functions.example.com")
    return value


def postgres_address(secret: SecretStr | None) -> SecretStr | None:
    try:
        if secret:
            conninfo_to_dict(secret.get_secret_value())
    except psycopg.ProgrammingError:
        raise ValueError("must be such as postgresql://user:password@host:5432/database") from None
    return secret


def private_jwks(text: str) -> list[tuple[dict[str, Any], str]]:
    """A JSON array of private JWKs, each with its algorithm. Raises ValueError without quoting any of them."""
    try:
        keys = json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError(_PRIVATE_JWKS) from None
    if not isinstance(keys, list) or not all(isinstance(key, dict) for key in keys):
        raise ValueError(_PRIVATE_JWKS)
    found = [(key, _algorithm(key)) for key in keys]
    if len({key["kid"] for key in keys}) < len(keys):
        raise ValueError("must not have a kid twice")
    return found


_PRIVATE_JWKS = (
    'must be such as [{"kty": "EC", "crv": "P-256", "kid": "…", "d": "…", "x": "…", "y": "…"}]'
)


def _algorithm(key: Mapping[str, Any]) -> str:
    """The algorithm of a private JWK, which is tried: a key that cannot sign must stop the start."""
    algorithm = {"EC": "ES256", "RSA": "RS256"}.get(str(key.get("kty")), "")
    named = key.get("alg", algorithm)
    if not algorithm or named != algorithm or (algorithm == "ES256" and key.get("crv") != "P-256"):
        raise ValueError("must hold keys of the kinds EC (P-256, ES256) and RSA (RS256) only")
    if not isinstance(key.get("kid"), str) or not key["kid"] or "d" not in key:
        raise ValueError("must hold private keys (d), each with a key id (kid)")
    try:
        jwk.construct(dict(key), algorithm).sign(b"")
    except Exception:  # noqa: BLE001 - whatever the parser meets; its text may quote the key
        raise ValueError(_PRIVATE_JWKS) from None
    return algorithm


def _names(value: object) -> object:
    """Names as they are, blanks and quotes inside included, divided by commas."""
    if isinstance(value, str):
        return tuple(name.strip() for name in value.split(",") if name.strip())
    return value


Names = Annotated[tuple[str, ...], BeforeValidator(_names)]
"""Database identifiers in their order, unquoted, as PostgREST reads them."""
Words = Annotated[frozenset[str], BeforeValidator(_words)]
Services = Annotated[frozenset[str], BeforeValidator(_services)]
Roles = Annotated[frozenset[str], BeforeValidator(_roles)]
Networks = Annotated[tuple[Network, ...], BeforeValidator(_networks)]
Origins = Annotated[frozenset[str], BeforeValidator(_origins)]
HostName = Annotated[str, BeforeValidator(_host_name)]
Credential = Annotated[SecretStr, BeforeValidator(_credential)]
"""A secret that is sent in an HTTP header: visible ASCII."""
Keys = Annotated[Json[dict[str, Credential]], Field(default_factory=dict)]

_MUST_BE: Mapping[str, str] = {
    "int_parsing": "must be a whole number",
    "int_parsing_size": "must be a smaller number",
    "int_from_float": "must be a whole number",
    "float_parsing": "must be a number",
    "finite_number": "must be a number",
    "bool_parsing": "must be true or false",
    "greater_than": "must be more than {gt}",
    "greater_than_equal": "must be {ge} or more",
    "less_than_equal": "must be {le} or less",
    "literal_error": "must be {expected}",
    "url_parsing": "must be an address such as https://project.example.com",
    "url_scheme": "must be an address that begins with https:// or http://",
    "url_too_long": "must be a shorter address",
    "json_invalid": "must be JSON",
    "dict_type": "must be a JSON object",
    "string_type": "must be a JSON object of texts",
    "value_error": "{error}",
}
"""Pydantic's error types → messages for people who do not know pydantic."""


def in_words(error: ValidationError) -> str:
    """Each invalid setting and what it must be, in one line."""
    problems = error.errors(include_url=False, include_input=False)
    return f"{'; '.join(map(_one, problems))} (.env.example lists them all)"


def _one(problem: Any) -> str:
    name = str(problem["loc"][0]) if problem["loc"] else ""
    if problem["type"] == "missing":
        return f"{name} is not set"
    context = {key: str(value) for key, value in problem.get("ctx", {}).items()}
    if "expected" in context:
        context["expected"] = context["expected"].replace("'", "")
    words = _MUST_BE.get(problem["type"], problem["msg"]).format_map(context)
    return f"{name} {words}".strip()
