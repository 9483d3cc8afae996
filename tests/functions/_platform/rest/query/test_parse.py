"""Query strings → trees: a table of each construct, a round trip of any tree, and any bytes at all."""

import sys
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from functions._platform.rest.errors import RestError
from functions._platform.rest.query.parse import MAX_EMBEDS, parse
from functions._platform.rest.query.text import MAX_DEPTH
from functions._platform.rest.query.tree import (
    Condition,
    Field,
    Filter,
    JsonStep,
    Logic,
    OrderTerm,
    Path,
    Query,
    Select,
    SelectField,
    SelectRelation,
    Window,
)

A, B, STAR = Field("a"), Field("b"), Field("*")


def path(*steps: tuple[str | int, bool]) -> tuple[JsonStep, ...]:
    return tuple(JsonStep(key, as_text) for key, as_text in steps)


SELECTS: list[tuple[str, tuple[Select, ...]]] = [
    ("*", (SelectField(STAR),)),
    ("", ()),
    ("a,b", (SelectField(A), SelectField(B))),
    ("a , b", (SelectField(A), SelectField(B))),
    ("x:a", (SelectField(A, "x"),)),
    ("a::text", (SelectField(A, cast="text"),)),
    ("a::double precision", (SelectField(A, cast="double precision"),)),
    ("x:a->b->>0::int", (SelectField(Field("a", path(("b", False), (0, True))), "x", "int"),)),
    ("a->-1", (SelectField(Field("a", path((-1, False)))),)),
    ("a->1x", (SelectField(Field("a", path(("1x", False)))),)),
    ('a->"x,y.z"', (SelectField(Field("a", path(("x,y.z", False)))),)),
    ("a-b", (SelectField(Field("a-b")),)),
    ("größe", (SelectField(Field("größe")),)),
    ('"a.b(c)"', (SelectField(Field("a.b(c)")),)),
    ('"say \\"a\\\\b\\""', (SelectField(Field('say "a\\b"')),)),
    ("Server Today", (SelectField(Field("Server Today")),)),
    ("count()", (SelectField(STAR, aggregate="count"),)),
    ("n:count()::text", (SelectField(STAR, "n", aggregate="count", aggregate_cast="text"),)),
    ("count", (SelectField(Field("count")),)),
    ("a.sum()", (SelectField(A, aggregate="sum"),)),
    ("a::int.max()::text", (SelectField(A, None, "int", "max", "text"),)),
    ("b(*)", (SelectRelation("b", select=(SelectField(STAR),)),)),
    ("b()", (SelectRelation("b"),)),
    ("x:b!inner(a)", (SelectRelation("b", "x", None, "inner", False, (SelectField(A),)),)),
    ("b!fk(a)", (SelectRelation("b", None, "fk", None, False, (SelectField(A),)),)),
    ("b!fk!left(a)", (SelectRelation("b", None, "fk", "left", False, (SelectField(A),)),)),
    ("b!left!fk(a)", (SelectRelation("b", None, "fk", "left", False, (SelectField(A),)),)),
    ("...b(a)", (SelectRelation("b", spread=True, select=(SelectField(A),)),)),
    ("...b!fk!inner()", (SelectRelation("b", None, "fk", "inner", True),)),
    (
        "a,b(c(*),a)",
        (
            SelectField(A),
            SelectRelation(
                "b",
                select=(SelectRelation("c", select=(SelectField(STAR),)), SelectField(A)),
            ),
        ),
    ),
]


@pytest.mark.parametrize(("text", "select"), SELECTS)
def test_select(text: str, select: tuple[Select, ...]):
    assert parse(b"select=" + quote(text, safe="").encode()).select == select


def test_without_select_all_columns_are():
    assert parse(b"").select == (SelectField(STAR),)


OPERATORS = (
    *("eq", "neq", "gt", "gte", "lt", "lte", "like", "ilike", "match", "imatch", "cs", "cd"),
    *("ov", "sl", "sr", "nxr", "nxl", "adj", "isdistinct", "fts", "plfts", "phfts", "wfts"),
)
FILTERS: list[tuple[str, Filter]] = [
    *((f"{operator}.1", Filter(A, operator, "1")) for operator in OPERATORS),
    ("not.eq.1", Filter(A, "eq", "1", negated=True)),
    ("eq.", Filter(A, "eq", "")),
    ("eq.a,b.(c)", Filter(A, "eq", "a,b.(c)")),
    ('eq."a"', Filter(A, "eq", '"a"')),
    ("eq(any).{1,2}", Filter(A, "eq", "{1,2}", quantifier="any")),
    ("not.like(all).{a*,*b}", Filter(A, "like", "{a*,*b}", True, "all")),
    ("fts(english).cat", Filter(A, "fts", "cat", language="english")),
    ("not.wfts(simple).cat dog", Filter(A, "wfts", "cat dog", True, None, "simple")),
    ("in.(1,2)", Filter(A, "in", ("1", "2"))),
    ("in.()", Filter(A, "in", ("",))),
    ('in.("a,b","c\\"d",e f)', Filter(A, "in", ("a,b", 'c"d', "e f"))),
    ('in.("a"b,c)', Filter(A, "in", ('"a"b', "c"))),
    ("not.in.( 1, 2 )", Filter(A, "in", ("1", " 2 "), negated=True)),
    ("is.null", Filter(A, "is", "null")),
    ("is.NULL", Filter(A, "is", "null")),
    ("is.not_null", Filter(A, "is", "not_null")),
    ("not.is.true", Filter(A, "is", "true", negated=True)),
    ("is.unknown", Filter(A, "is", "unknown")),
]


@pytest.mark.parametrize(("text", "expected"), FILTERS)
def test_a_filter(text: str, expected: Filter):
    assert parse(f"a={quote(text)}".encode()).conditions == {(): (expected,)}


LOGIC: list[tuple[str, Path, Condition]] = [
    ("or=(a.eq.1,b.lt.2)", (), Logic("or", (Filter(A, "eq", "1"), Filter(B, "lt", "2")))),
    ("not.and=(a.eq.1)", (), Logic("and", (Filter(A, "eq", "1"),), negated=True)),
    ("x.y.or=(a.eq.1)", ("x", "y"), Logic("or", (Filter(A, "eq", "1"),))),
    ("x.not.or=(a.eq.1)", ("x",), Logic("or", (Filter(A, "eq", "1"),), negated=True)),
    (
        "and=( or ( a.in.( 1,2 ) , b.is.null), not.and(a.not.eq.1))",
        (),
        Logic(
            "and",
            (
                Logic("or", (Filter(A, "in", ("1", "2 ")), Filter(B, "is", "null"))),
                Logic("and", (Filter(A, "eq", "1", negated=True),), negated=True),
            ),
        ),
    ),
    ('or=(a.eq."x,)y")', (), Logic("or", (Filter(A, "eq", "x,)y"),))),
    ("or=(a.cs.{1,2},b.eq.{)", (), Logic("or", (Filter(A, "cs", "{1,2}"), Filter(B, "eq", "{")))),
    (
        "or=(a->k->>0.eq.1)",
        (),
        Logic("or", (Filter(Field("a", path(("k", False), (0, True))), "eq", "1"),)),
    ),
    ("or=(and.eq.1)", (), Logic("or", (Filter(Field("and"), "eq", "1"),))),
    ("or=(order.eq.1)", (), Logic("or", (Filter(Field("order"), "eq", "1"),))),
]


@pytest.mark.parametrize(("text", "at", "expected"), LOGIC)
def test_a_logic_tree(text: str, at: Path, expected: Condition):
    key, _, value = text.partition("=")
    assert parse(f"{key}={quote(value)}".encode()).conditions == {at: (expected,)}


ORDERS: list[tuple[str, tuple[OrderTerm, ...]]] = [
    ("a", (OrderTerm(A),)),
    ("a.asc,b.desc", (OrderTerm(A, "asc"), OrderTerm(B, "desc"))),
    ("a.nullsfirst", (OrderTerm(A, None, "first"),)),
    ("a.desc.nullslast", (OrderTerm(A, "desc", "last"),)),
    ("a->k->>1.desc", (OrderTerm(Field("a", path(("k", False), (1, True))), "desc"),)),
    ("x(a).desc", (OrderTerm(A, "desc", None, "x"),)),
    ("b,x(a->k)", (OrderTerm(B), OrderTerm(Field("a", path(("k", False))), relation="x"))),
    ('"a.b".asc', (OrderTerm(Field("a.b"), "asc"),)),
]


@pytest.mark.parametrize(("text", "expected"), ORDERS)
def test_order(text: str, expected: tuple[OrderTerm, ...]):
    sent = quote(text)
    assert parse(f"order={sent}&x.order={sent}".encode()).order == {
        (): expected,
        ("x",): expected,
    }


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("limit=3", {(): Window(3)}),
        ("offset=3", {(): Window(None, 3)}),
        ("limit=3&offset=2", {(): Window(3, 2)}),
        ("limit=0", {(): Window(0)}),
        ("x.limit=3&x.y.offset=1", {("x",): Window(3), ("x", "y"): Window(None, 1)}),
        ("x.limit=3&x.offset=1", {("x",): Window(3, 1)}),
        ("limit=1&limit=2", {(): Window(2)}),
        ("limit=many", {}),
        ("limit=many&offset=0", {(): Window(0)}),
        ("limit=10&offset=-4", {(): Window(6)}),
        ("limit=4&offset=-4", {(): Window(0)}),
        ("offset=-4", {}),
    ],
)
def test_windows(text: str, expected: dict[Path, Window]):
    assert parse(text.encode()).windows == expected


@pytest.mark.parametrize(
    ("text", "status", "code"),
    [
        ("limit=-1", 416, "PGRST103"),
        ("limit=0&offset=5", 416, "PGRST103"),
        ("limit=3&offset=-4", 416, "PGRST103"),
        ("x.limit=-1", 400, "2201W"),
        ("x.offset=-1", 400, "2201X"),
        ("limit=9223372036854775808", 400, "22003"),
        (f"x.offset={'9' * 10_000}", 400, "22003"),
    ],
)
def test_a_window_that_is_none_is_refused(text: str, status: int, code: str):
    with pytest.raises(RestError) as refused:
        parse(text.encode())
    assert (refused.value.status, refused.value.code) == (status, code)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("columns=a,b", Query(columns=frozenset({"a", "b"}))),
        ('columns="a,b", c', Query(columns=frozenset({"a,b", "c"}))),
        ("on_conflict=a,b", Query(on_conflict=("a", "b"))),
        ("select=a&select=b", Query(select=(SelectField(A),))),
        ("order=a&order=b", Query(order={(): (OrderTerm(A),)})),
        ("a=eq.1;a=lt.2", Query(conditions={(): (Filter(A, "eq", "1"), Filter(A, "lt", "2"))})),
        ("a=eq.x+y%2Bz", Query(conditions={(): (Filter(A, "eq", "x y+z"),)})),
        ("a=eq.%zz", Query(conditions={(): (Filter(A, "eq", "%zz"),)})),
        ("x.y.a->>k=eq.1", Query(conditions={
            ("x", "y"): (Filter(Field("a", path(("k", True))), "eq", "1"),)})),
        ("a.order.x=eq.1", Query(conditions={("a", "order"): (Filter(Field("x"), "eq", "1"),)})),
        ("a&order&select&columns", Query()),
        ("&&", Query()),
        ("a=eq.1&or=(b.eq.2)&b=eq.3", Query(conditions={(): (
            Filter(A, "eq", "1"), Logic("or", (Filter(B, "eq", "2"),)), Filter(B, "eq", "3"))})),
    ],
)  # fmt: skip
def test_whole_query_strings(text: str, expected: Query):
    assert parse(text.encode()) == expected


@pytest.mark.parametrize(
    ("text", "arguments", "conditions"),
    [
        ("a=1&b=x.y", (("a", "1"), ("b", "x.y")), {}),
        ("a=1&a=2", (("a", "1"), ("a", "2")), {}),
        ("a=1&b=eq.2", (("a", "1"),), {(): (Filter(B, "eq", "2"),)}),
        ("a=note.x&b=inn.y", (("a", "note.x"), ("b", "inn.y")), {}),
    ],
)
def test_of_a_call_what_is_no_operator_is_an_argument(text: str, arguments: Any, conditions: Any):
    assert parse(text.encode(), is_call=True) == Query(arguments=arguments, conditions=conditions)


@pytest.mark.parametrize("text", ["a=in.x", "a=is.x", "a=not.x"])
def test_of_a_call_a_broken_operator_is_no_argument(text: str):
    with pytest.raises(RestError, match="failed to parse filter"):
        parse(text.encode(), is_call=True)


names = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1)
values = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
fields = st.builds(
    Field,
    names,
    st.lists(st.builds(JsonStep, st.one_of(names, st.integers(-99, 99)), st.booleans())).map(tuple),
)
select_fields = st.builds(
    SelectField,
    fields.filter(lambda field: not field.json_path or isinstance(field.json_path[-1].key, str)),
    st.none() | names,
    st.none() | st.just("text"),
)
selects = st.recursive(
    select_fields,
    lambda inner: st.builds(
        SelectRelation,
        names.filter(lambda name: name != "count"),
        st.none(),
        st.none() | names,
        st.sampled_from([None, "inner", "left"]),
        st.booleans(),
        st.lists(inner, max_size=3).map(tuple),
    ),
    max_leaves=8,
)
filters = st.one_of(
    st.builds(Filter, fields, st.sampled_from(["eq", "neq", "like", "cs", "fts", "isdistinct"]),
              values, st.booleans()),
    st.builds(Filter, fields, st.just("in"), st.lists(values, min_size=1).map(tuple), st.booleans()),
    st.builds(Filter, fields, st.just("is"), st.sampled_from(["null", "true"]), st.booleans()),
)  # fmt: skip
conditions = st.recursive(
    filters,
    lambda inner: st.builds(
        Logic,
        st.sampled_from(["and", "or"]),
        st.lists(inner, min_size=1, max_size=3).map(tuple),
        st.booleans(),
    ),
    max_leaves=8,
)
orders = st.builds(
    OrderTerm,
    fields,
    st.sampled_from([None, "asc", "desc"]),
    st.sampled_from([None, "first", "last"]),
).filter(lambda term: not term.field.json_path or isinstance(term.field.json_path[-1].key, str))


def quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def printed_field(field: Field) -> str:
    steps = (
        f"->{'>' * step.as_text}{step.key if isinstance(step.key, int) else quoted(step.key)}"
        for step in field.json_path
    )
    return quoted(field.name) + "".join(steps)


def printed_select(item: Select) -> str:
    alias = "" if item.alias is None else f"{quoted(item.alias)}:"
    if isinstance(item, SelectField):
        return f"{alias}{printed_field(item.field)}{'::' + item.cast if item.cast else ''}"
    hint = "" if item.hint is None else f"!{quoted(item.hint)}"
    join = f"!{item.join}" if item.join else ""
    inside = ",".join(map(printed_select, item.select))
    return f"{'...' * item.spread}{quoted(item.relation)}{hint}{join}({inside})"


def printed_operation(one: Filter, value: Callable[[str], str]) -> str:
    if isinstance(one.value, tuple):
        shown = f"({','.join(map(quoted, one.value))})"
    else:
        shown = one.value if one.operator == "is" else value(one.value)
    return f"{'not.' * one.negated}{one.operator}.{shown}"


def printed_condition(condition: Condition) -> str:
    if isinstance(condition, Filter):
        return f"{printed_field(condition.field)}.{printed_operation(condition, quoted)}"
    inside = ",".join(map(printed_condition, condition.children))
    return f"{'not.' * condition.negated}{condition.operator}({inside})"


def printed_order(term: OrderTerm) -> str:
    direction = f".{term.direction}" if term.direction else ""
    nulls = f".nulls{term.nulls}" if term.nulls else ""
    return printed_field(term.field) + direction + nulls


def pair(key: str, value: str) -> str:
    return f"{quote(key, safe='')}={quote(value, safe='')}"


@settings(max_examples=150)
@given(
    st.lists(selects, min_size=1, max_size=4).map(tuple),
    st.lists(conditions, min_size=1, max_size=3).map(tuple),
    st.lists(orders, min_size=1, max_size=3).map(tuple),
)
def test_a_printed_tree_is_parsed_to_itself(
    select: tuple[Select, ...], trees: tuple[Condition, ...], order: tuple[OrderTerm, ...]
):
    sent = [
        pair("select", ",".join(map(printed_select, select))),
        pair("order", ",".join(map(printed_order, order))),
    ]
    for tree in trees:
        if isinstance(tree, Filter):
            key, value = printed_field(tree.field), printed_operation(tree, lambda text: text)
        else:
            key, value = f"{'not.' * tree.negated}{tree.operator}", printed_condition(tree)
            value = value.removeprefix(key)
        sent.append(pair(key, value))
    parsed = parse("&".join(sent).encode())
    assert parsed.select == select
    assert parsed.order == {(): order}
    assert parsed.conditions == {(): trees}


SYNTAX = st.text(st.sampled_from('ab*(),.:!->"\\{}&;=%+ \t1é\0') | st.characters(), max_size=60)


@settings(max_examples=300)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["select", "order", "or", "x.and", "columns", "limit", "a", "a.b"])
            | SYNTAX,
            SYNTAX,
        ),
        max_size=4,
    ),
    st.booleans(),
)
def test_any_text_is_parsed_or_refused(pairs: list[tuple[str, str]], is_call: bool):
    raw = "&".join(f"{key}={value}" for key, value in pairs).encode(errors="surrogatepass")
    _parsed_or_refused(raw, is_call)


@given(st.binary(max_size=60))
def test_any_bytes_are_parsed_or_refused(raw: bytes):
    _parsed_or_refused(raw, False)


def _parsed_or_refused(raw: bytes, is_call: bool) -> None:
    refusal = None
    try:
        parse(raw, is_call=is_call)
    except RestError as error:
        refusal = error
    assert refusal is None or (refusal.status in {400, 416} and refusal.body())


@pytest.mark.parametrize(
    ("raw", "shown"),
    [(b"a=eq.%00", "0x00"), (b"a=eq.\0", "0x00"), (b"a=eq.%ff", "0xff"), (b"%c3%28=eq.1", "0xc3")],
)
def test_text_that_postgresql_cannot_store_is_refused_in_its_words(raw: bytes, shown: str):
    with pytest.raises(RestError) as refused:
        parse(raw)
    assert (refused.value.status, refused.value.code) == (400, "22021")
    assert refused.value.message == f'invalid byte sequence for encoding "UTF8": {shown}'


NESTED = [("select", "a(", ")"), ("or", "(and", ")"), ("or", "(not.or", ")")]


@pytest.mark.parametrize(("key", "opens", "closes"), NESTED)
def test_nesting_is_bounded_and_says_so(key: str, opens: str, closes: str):
    inner = "a.eq.1" if key == "or" else "*"
    deepest = MAX_DEPTH if key == "select" else MAX_DEPTH - 1
    last = "(" if key == "or" else ""
    for depth in (deepest, deepest + 1, 50_000):
        text = f"{key}={opens * depth}{last}{inner}{')' if last else ''}{closes * depth}"
        if depth == deepest:
            parse(text.encode())
            continue
        with pytest.raises(RestError) as refused:
            parse(text.encode())
        assert (refused.value.status, refused.value.code) == (400, "PGRST100")
        assert refused.value.details == f"nested more than {MAX_DEPTH} levels deep"


def test_embeds_are_bounded_in_number():
    """Planning memory: PostgreSQL's grows with the square of the joins."""
    parse(f"select={','.join(['a(b(*))'] * (MAX_EMBEDS // 2))}".encode())
    with pytest.raises(RestError) as refused:
        parse(f"select={','.join(['a(b(*))'] * (MAX_EMBEDS // 2))},c()".encode())
    assert (refused.value.status, refused.value.code) == (400, "PGRST100")
    assert refused.value.details == f"more than {MAX_EMBEDS} embeds"


GROWING = [
    "select=" + "a,",
    "select=" + "x:a->b->>c::text,",
    "select=" + "b!fk(a),",
    "select=" + "a->",
    'select="' + 'a"',
    "select=" + "a-",
    "order=" + "x(a).desc,",
    "order=" + "x(a,",
    "or=(" + "a.eq.1,",
    "or=(" + "a.eq.{,",
    'or=(a.in.("' + '","',
    "a=in.(" + '"x"y,',
    "a=in.(" + '"\\',
    "a" + ".b",
    "a=eq.1&" + "a=eq.1&",
    "or=(" + "not.",
]


@pytest.mark.parametrize("text", GROWING)
def test_work_grows_with_the_length_alone(text: str):
    """Counted in calls, of Python functions and of built-in ones: twice the text is twice the work."""
    start = text[:4]
    once, twice = (_calls(start + text[4:] * times) for times in (200, 400))
    assert twice < 2.2 * once + 200


def _calls(text: str) -> int:
    count = 0

    def counted(frame: Any, event: str, argument: Any) -> None:
        nonlocal count
        count += event in {"call", "c_call"}

    sys.setprofile(counted)
    try:
        parse(text.encode())
    except RestError:
        pass
    finally:
        sys.setprofile(None)
    return count
