"""Function calls."""

from functions._platform.rest.catalogue.model import Name, Parameter
from functions._platform.rest.plan.model import Call, WrittenColumn
from functions._platform.rest.sql.body import ROWS, rows
from functions._platform.rest.sql.expressions import column
from functions._platform.rest.sql.fragment import (
    BYTEA,
    TEXT,
    TEXT_ARRAY,
    Body,
    Fragment,
    bound,
    bound_array,
    joined,
    qualified,
    quoted,
)

CALL, SCALAR = "pgrst_call", "pgrst_scalar"
EVERYTHING = ("*",)


def call(plan: Call) -> Fragment:
    """``select … from function(…)``; a scalar result is the column ``SCALAR``."""
    shown = f"{CALL}.{SCALAR}" if is_scalar(plan) else _returned(plan)
    return [f"select {shown} ", *_from(plan)]


def is_scalar(plan: Call) -> bool:
    return not plan.routine.returns_composite


def _from(plan: Call) -> Fragment:
    if plan.single:
        return ["from ", *_called(plan, _single(plan))]
    if not plan.parameters:
        return ["from ", *_called(plan, [])]
    if plan.arguments is not None:
        arguments = [_argument(given, plan.arguments[given.name]) for given in plan.parameters]
        return ["from ", *_called(plan, joined(", ", arguments))]
    columns = [WrittenColumn(given.name, given.cast_type, None, None) for given in plan.parameters]
    arguments = [_named(given, [f"{ROWS}.{quoted(given.name)}"]) for given in plan.parameters]
    return [
        *rows(columns, is_object=plan.is_object, one=True),
        ", lateral ",
        *_called(plan, joined(", ", arguments)),
    ]


def _called(plan: Call, arguments: Fragment) -> Fragment:
    called: Fragment = [qualified(plan.routine.name), "(", *arguments, ")"]
    if is_scalar(plan):
        return ["(select ", *called, f" {SCALAR}) {CALL}"]
    return [*called, f" {CALL}"]


def _single(plan: Call) -> Fragment:
    """The body as the one argument, of the parameter's own type: json, jsonb, text, xml or bytea."""
    kind = plan.parameters[0].type
    return [Body(BYTEA)] if kind == "bytea" else [Body(TEXT), f"::{kind}"]


def _argument(given: Parameter, value: str | tuple[str, ...]) -> Fragment:
    literal = bound(value) if isinstance(value, str) else bound_array(value, TEXT_ARRAY)
    return _named(given, [literal, f"::{given.cast_type}"])


def _named(given: Parameter, value: Fragment) -> Fragment:
    return [f"{'variadic ' if given.variadic else ''}{quoted(given.name)} := ", *value]


def _returned(plan: Call) -> str:
    """What the answer selects and filters; everything where that is not known."""
    if not plan.returning:
        return "*"
    of = Name("", CALL)
    if plan.returning == EVERYTHING:
        return column(of, "*")
    names = sorted({*plan.returning, *plan.filtered})
    return ", ".join(column(of, name) for name in names)
