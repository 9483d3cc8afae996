"""Strategies for requests: query strings of the library's names, with hostile texts wherever a text may stand."""

from typing import Any, NamedTuple
from urllib.parse import quote

from hypothesis import strategies as st

HOSTILE = st.text(st.sampled_from("'\"\\;-/*$1()[]{},.:!<>=%&|@ \naE_é😀"), max_size=8)
COLUMNS = [
    "id", "title", "author_id", "price", "copies", "tags", "data", "format", "lent", "words", "by_line", "name",
    "born", "country", "colour", "book_id", "shade", "owner",
]  # fmt: skip
RELATIONS = [
    "books", "authors", "covers", "shelves", "placements", "countries", "titles", "inks", "notes", "counters",
    'odd "table" (ünïcode)',
]  # fmt: skip
EMBEDS = {
    "books": {
        "authors!books_author": "authors", "editor_id": "authors", "covers": "covers", "shelves": "shelves",
        "siblings": "books",
    },
    "authors": {"countries": "countries", "books!author_id": "books"},
    "covers": {"books": "books"},
    "shelves": {"parent": "shelves", "books": "books"},
    "countries": {"authors": "authors"},
    "titles": {"authors": "authors"},
}  # fmt: skip
"""Relation → what may be embedded into it → the relation that this reads."""
FUNCTIONS = [
    "add?a=1", "add?a='&b=\"", "total?numbers=1&numbers='", "by_format?wanted='", "newest?", "edge?", "keys?",
    "whoami?", "twin?a=1",
]  # fmt: skip
OPERATORS = [
    "eq", "neq", "gt", "gte", "lt", "lte", "like", "ilike", "match", "imatch", "is", "in", "cs", "cd", "ov", "sl", "sr",
    "nxr", "nxl", "adj", "isdistinct", "fts", "plfts(english)", "phfts", "wfts", "eq(any)", "like(all)", "gt(all)",
]  # fmt: skip
SAMPLES = [
    "1", "null", "true", "{1,2}", "(1,2)", "[2020-01-01,2021-01-01)", "*a*", "a | b", "9" * 30, "1e400", "NaN",
]  # fmt: skip
VALUES = st.sampled_from(SAMPLES) | HOSTILE


def double_quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


NAMES = st.sampled_from(COLUMNS) | st.sampled_from(COLUMNS) | HOSTILE.map(double_quoted)
FIELDS = st.builds(
    str.__add__,
    NAMES,
    st.sampled_from(["", "", "->pages", "->in->0->>lang", "->>x's", "->-1"]),
)
CASTS = st.sampled_from(["", "::text", "::int", "::json", "::regclass", "::nothing"])
AGGREGATES = st.sampled_from(["", "", "", ".sum()", ".count()", ".max()::text"])
ALIASES = st.sampled_from(["", "", "x:"]) | HOSTILE.map(double_quoted).map("{}:".format)
ITEMS = st.builds("{}{}{}{}".format, ALIASES, FIELDS, CASTS, AGGREGATES) | st.sampled_from(
    ["count()", "*"]
)


def selects(relation: str, depth: int) -> st.SearchStrategy[str]:
    """An item of the select list of ``relation``: a column or, down to ``depth``, an embed."""
    embeds = EMBEDS.get(relation, {})
    if not embeds or not depth:
        return ITEMS
    inner = st.sampled_from([*embeds]).flatmap(
        lambda name: st.builds(
            "{}{}{}({})".format,
            st.sampled_from(["", "", "...", "x:"]) | HOSTILE.map(double_quoted).map("{}:".format),
            st.just(name),
            st.sampled_from(["", "", "!inner", "!left"]),
            st.lists(selects(embeds[name], depth - 1), max_size=3).map(",".join),
        )
    )
    return ITEMS | inner


OPERATIONS = st.builds(
    "{}{}.{}".format, st.sampled_from(["", "", "not."]), st.sampled_from(OPERATORS), VALUES
)
TREES = st.recursive(
    st.builds("{}.{}".format, FIELDS, OPERATIONS),
    lambda inner: st.builds(
        "{}({})".format,
        st.sampled_from(["and", "or", "not.and"]),
        st.lists(inner, min_size=1, max_size=3).map(",".join),
    ),
    max_leaves=4,
)
ORDERS = st.builds(
    "{}{}{}".format,
    FIELDS | st.builds("{}({})".format, st.sampled_from(["authors", "covers", "x"]), FIELDS),
    st.sampled_from(["", ".asc", ".desc"]),
    st.sampled_from(["", ".nullsfirst", ".nullslast"]),
)
PATHS = st.sampled_from(["", "", "", "", "", "authors.", "x."])
NUMBERS = st.sampled_from(["0", "1", "5", "-1", "x", "9" * 20, str(2**63)])


def pair(key: str, value: str) -> str:
    return f"{quote(key, safe='', errors='replace')}={quote(value, safe='', errors='replace')}"


PAIRS = st.one_of(
    st.builds(pair, st.builds(str.__add__, PATHS, FIELDS), OPERATIONS),
    st.builds(pair, st.builds(str.__add__, PATHS, st.sampled_from(["and", "or", "not.or"])), TREES.map("({})".format)),
    st.builds(pair, st.builds(str.__add__, PATHS, st.just("order")), st.lists(ORDERS, min_size=1).map(",".join)),
    st.builds(pair, st.builds(str.__add__, PATHS, st.sampled_from(["limit", "offset"])), NUMBERS),
    st.builds(pair, st.sampled_from(["columns", "on_conflict"]), st.lists(NAMES, min_size=1, max_size=3).map(",".join)),
)  # fmt: skip


def joined(arguments: list[str], select: list[str], pairs: list[str]) -> str:
    chosen = [pair("select", ",".join(select))] if select else []
    return "&".join([*arguments, *chosen, *pairs])


class Target(NamedTuple):
    """``methods``: those that it has."""

    path: str
    methods: tuple[str, ...]
    relation: str


TABLES = st.sampled_from(RELATIONS).map(
    lambda name: Target(f"/{quote(name)}", ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"), name)
)
ROUTINES = st.sampled_from(FUNCTIONS).map(
    lambda name: Target(f"/rpc/{name}", ("GET", "HEAD", "POST"), "books")
)
NOTHING = HOSTILE.map(lambda name: Target(f"/{quote(name, safe='')}", ("GET", "POST"), ""))


class Asked(NamedTuple):
    method: str
    path: str
    query: str


def asked(target: Target) -> st.SearchStrategy[Asked]:
    path, _, arguments = target.path.partition("?")
    query = st.builds(
        joined,
        st.just([arguments] if arguments else []),
        st.lists(selects(target.relation, 3), max_size=4),
        st.lists(PAIRS, max_size=2),
    )
    return st.builds(Asked, st.sampled_from(target.methods), st.just(path), query)


REQUESTS = st.one_of(TABLES, TABLES, TABLES, ROUTINES, ROUTINES, NOTHING).flatmap(asked)
SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()) | VALUES
)
KEYS = ["id", "title", "tags", "data", "copies", "a", "b", "numbers", "wanted", "shade", "name"]
ROWS = st.dictionaries(
    st.sampled_from(KEYS) | HOSTILE,
    SCALARS | st.lists(SCALARS, max_size=2) | st.dictionaries(st.text(), SCALARS, max_size=2),
    max_size=4,
)
BODIES: st.SearchStrategy[Any] = ROWS | st.lists(ROWS, max_size=3) | SCALARS
PREFERENCES = st.lists(
    st.sampled_from([
        "return=representation", "return=headers-only", "count=exact", "count=planned", "count=estimated",
        "resolution=merge-duplicates", "resolution=ignore-duplicates", "missing=default", "handling=strict",
        "max-affected=1", "timezone=UTC", "nonsense",
    ]),
    max_size=4,
).map(",".join)  # fmt: skip
ACCEPTED = st.sampled_from([
    "*/*", "application/json", "text/csv", "application/vnd.pgrst.object+json", "application/geo+json",
    "application/vnd.pgrst.array+json;nulls=stripped", "application/vnd.pgrst.plan+json; options=verbose", "text/html",
    "application/vnd.library+json", ";,/", "application/vnd.pgrst.plan;for=\"",
])  # fmt: skip
CONTENT_TYPES = st.sampled_from([
    "application/json", "text/csv", "application/x-www-form-urlencoded", "text/plain", "application/octet-stream", "x",
])  # fmt: skip
