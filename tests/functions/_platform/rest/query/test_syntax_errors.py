"""PGRST100's texts, which clients show: where a text went wrong, what was found, and what could have stood there."""

from urllib.parse import quote

import pytest

from functions._platform.rest.errors import RestError
from functions._platform.rest.query.parse import parse

ITEM_END = '"::", ".", ")", "," or end of input'
TERM_END = 'delimiter (.), "," or end of input'
NAME = "field name (* or [a..z0..9_$])"
IN_NAME = 'letter, digit, "-"'
ARROWS = '"->>", "->"'
IS = "isVal: (null, not_null, true, false, unknown)"
KEY = "any non reserved character different from: .,>()"
OPERATOR = "operator (eq, gt, ...)"
CONDITION = "negation operator (not) or logic operator (and, or)"
AGGREGATE = '"sum", "avg", "count", "max" or "min"'

ERRORS = [
    ("select", "a,", 3, f'unexpected end of input expecting "...", {NAME}, "*" or "count()"'),
    ("select", "a,,b", 3, f'unexpected "," expecting "...", {NAME}, "*" or "count()"'),
    ("select", "a b!c", 4, f"unexpected '!' expecting {IN_NAME}, {ARROWS}, {ITEM_END}"),
    ("select", "a::", 4, "unexpected end of input expecting letter or digit"),
    ("select", "a:b:c", 4, 'unexpected "c" expecting "::"'),
    ("select", "a->", 4, f'unexpected end of input expecting "-", digit or {KEY}'),
    ("select", "a->>-x", 6, 'unexpected "x" expecting digit'),
    (
        "select",
        "a->>-1x",
        7,
        'unexpected \'x\' expecting digit, "->", "::", ".", "," or end of input',
    ),
    ("select", "a->b-(c)", 6, 'unexpected "(" expecting ">"'),
    ("select", '"a', 3, 'unexpected end of input expecting "\\\\" or "\\""'),
    ("select", '"a\\', 4, "unexpected end of input"),
    ("select", "a.median()", 3, f'unexpected "m" expecting {AGGREGATE}'),
    ("select", "a.sum(", 6, 'unexpected end of input expecting "()"'),
    ("select", "a.s", 3, 'unexpected end of input expecting "sum"'),
    ("select", "a.m", 3, f'unexpected "m" expecting {AGGREGATE}'),
    ("select", "b(a", 4, f"unexpected end of input expecting {IN_NAME}, {ARROWS}, {ITEM_END}"),
    ("select", "b(a,c", 6, 'unexpected end of input expecting "," or ")"'),
    ("select", "b(c(*)", 7, 'unexpected end of input expecting "," or ")"'),
    ("select", "b(a,c) d", 8, 'unexpected "d" expecting ","'),
    ("select", "b(c:)", 5, f'unexpected ")" expecting ":" or {NAME}'),
    ("select", "b(!)", 3, f'unexpected "!" expecting "...", {NAME}, "*", "count()" or ")"'),
    ("select", "b(.)", 3, f'unexpected ")" expecting "...", {NAME}, "*", "count()" or ")"'),
    ("select", "a,.b", 3, f'unexpected "." expecting "...", {NAME}, "*" or "count()"'),
    ("select", "a,*b", 4, 'unexpected \'b\' expecting ")", "," or end of input'),
    ("select", "b!(a)", 2, f"unexpected '!' expecting {IN_NAME}, {ARROWS}, {ITEM_END}"),
    ("select", "count(a)", 6, f"unexpected '(' expecting {IN_NAME}, {ARROWS}, {ITEM_END}"),
    ("select", "a,...b", 7, f'unexpected end of input expecting {IN_NAME}, "!" or "("'),
    ("select", "a,...b!", 8, f'unexpected end of input expecting "left", "inner" or {NAME}'),
    ("select", "a,...b->c(d)", 9, "unexpected '>'"),
    ("select", "a(b[1])", 4, f"unexpected '[' expecting {IN_NAME}, {ARROWS}, {ITEM_END}"),
    ("select", "é(a,ñ!", 6, f"unexpected '!' expecting {IN_NAME}, {ARROWS}, {ITEM_END}"),
    ("select", "a\t!", 9, f"unexpected '!' expecting {ITEM_END}"),
    ("order", "", 1, f"unexpected end of input expecting {NAME}"),
    ("order", "a,", 3, f"unexpected end of input expecting {NAME}"),
    ("order", "a.up", 3, 'unexpected "u" expecting "asc", "desc", "nullsfirst" or "nullslast"'),
    ("order", "a.des", 3, 'unexpected "d" expecting "asc", "desc", "nullsfirst" or "nullslast"'),
    ("order", "a.desc.first", 8, 'unexpected "f" expecting "nullsfirst" or "nullslast"'),
    ("order", "a.nullslastly", 12, "unexpected 'l' expecting \",\" or end of input"),
    ("order", "x(a.desc", 2, f"unexpected '(' expecting {IN_NAME}, {ARROWS}, {TERM_END}"),
    ("order", "a b.desc!", 9, f"unexpected '!' expecting {TERM_END}"),
    ("order", "a->.desc", 4, f'unexpected "." expecting "-", digit or {KEY}'),
    ("order", '"a', 3, 'unexpected end of input expecting "\\\\" or "\\""'),
    ("order", "-a", 1, f'unexpected "-" expecting {NAME}'),
    ("a", "", 1, f'unexpected end of input expecting "not" or {OPERATOR}'),
    ("a", "1", 1, f'unexpected "1" expecting "not" or {OPERATOR}'),
    ("a", "equal.1", 3, f'unexpected "u" expecting {OPERATOR}'),
    ("a", "eq", 3, f"unexpected end of input expecting {OPERATOR}"),
    ("a", "eq(some).1", 4, f'unexpected "s" expecting {OPERATOR}'),
    ("a", "eq(anything).1", 7, f'unexpected "t" expecting {OPERATOR}'),
    ("a", "not", 4, "unexpected end of input expecting delimiter (.)"),
    ("a", "not.1", 5, f'unexpected "1" expecting {OPERATOR}'),
    ("a", "nottrue", 4, 'unexpected "t" expecting delimiter (.)'),
    ("a", "in.1", 4, 'unexpected "1" expecting "("'),
    ("a", "in.(1", 6, 'unexpected end of input expecting "," or ")"'),
    ("a", "in.(", 5, 'unexpected end of input expecting "\\"", "," or ")"'),
    ("a", "is.1", 4, f'unexpected "1" expecting {IS}'),
    ("a", "is.nul", 7, f"unexpected end of input expecting {IS}"),
    ("a", "is.nothing", 7, f'unexpected "h" expecting {IS}'),
    ("a", "isdistinct", 11, f"unexpected end of input expecting {OPERATOR}"),
    ("a", "fts(.x", 5, f'unexpected "." expecting {OPERATOR}'),
    ("a", "fts(a-b).x", 6, f'unexpected "-" expecting {OPERATOR}'),
    ("", "eq.1", 1, f"unexpected end of input expecting {NAME}"),
    ("a.", "eq.1", 3, f"unexpected end of input expecting {NAME}"),
    ('"a', "eq.1", 3, 'unexpected end of input expecting "\\\\" or "\\""'),
    ("a->", "eq.1", 4, f'unexpected end of input expecting "-", digit or {KEY}'),
    ("a-", "eq.1", 3, 'unexpected end of input expecting ">", letter or digit'),
    ("or", "", 3, 'unexpected end of input expecting "("'),
    ("or", "()", 4, f'unexpected ")" expecting {NAME}, {CONDITION}'),
    ("or", "(a)", 5, f'unexpected ")" expecting {IN_NAME}, {ARROWS} or delimiter (.)'),
    ("or", "(a.eq.1", 10, 'unexpected end of input expecting "," or ")"'),
    ("or", "(a.eq.1,", 11, f"unexpected end of input expecting {NAME}, {CONDITION}"),
    ("or", "(a.eq.1,)", 11, f'unexpected ")" expecting {NAME}, {CONDITION}'),
    ("or", "(a.1)", 6, f'unexpected "1" expecting "not" or {OPERATOR}'),
    ("or", "(a.in.1)", 9, 'unexpected "1" expecting "("'),
    ("or", "(a.is.nullx)", 13, 'unexpected "x" expecting "," or ")"'),
    ("or", "(a.is.null )", 14, 'unexpected ")" expecting ","'),
    ("or", "(not.a.eq.1)", 8, 'unexpected "." expecting logic operator (and, or)'),
    ("or", "(nota)", 8, f'unexpected ")" expecting {IN_NAME}, {ARROWS} or delimiter (.)'),
    ("or", "(xor(a.eq.1))", 7, f'unexpected "(" expecting {IN_NAME}, {ARROWS} or delimiter (.)'),
    ("or", "(ore)", 6, 'unexpected "e" expecting "("'),
    ("or", "(a->.eq.1)", 7, f'unexpected "." expecting "-", digit or {KEY}'),
    ("or", '(a.eq."1"', 12, 'unexpected end of input expecting "," or ")"'),
    ("columns", "a,", 3, f"unexpected end of input expecting {NAME}"),
    ("columns", 'a b,"c', 7, 'unexpected end of input expecting "\\\\" or "\\""'),
    ("on_conflict", "", 1, f"unexpected end of input expecting {NAME}"),
    ("on_conflict", "a,,b", 3, f'unexpected "," expecting {NAME}'),
    ("order", "a\nb", 2, f"unexpected '\\n' expecting {IN_NAME}, {ARROWS}, {TERM_END}"),
]
WHAT = {
    "select": "select parameter",
    "order": "order",
    "or": "logic tree",
    "columns": "columns parameter",
    "on_conflict": "on_conflict parameter",
}


@pytest.mark.parametrize(("key", "value", "column", "details"), ERRORS)
def test_a_syntax_error_says_where_and_what(key: str, value: str, column: int, details: str):
    with pytest.raises(RestError) as refused:
        parse(f"{quote(key, safe='')}={quote(value, safe='')}".encode())
    error = refused.value
    what, text = WHAT.get(key, "filter"), value
    if key not in WHAT and key != "a":
        what, text = "tree path", key
    assert (error.status, error.code, error.details) == (400, "PGRST100", details)
    assert error.message == f'"failed to parse {what} ({text})" (line 1, column {column})'
    assert error.hint is None


def test_lines_and_tabs_are_counted_as_upstream_counts_them():
    with pytest.raises(RestError, match=r"\(line 2, column 9\)"):
        parse(b"select=" + quote('"a\nb",\t!').encode())
