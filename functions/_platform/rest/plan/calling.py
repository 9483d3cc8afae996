"""Which overload of a function a call means, by the names of its arguments; PGRST202, PGRST203."""

from collections.abc import Iterable, Set
from typing import NamedTuple

from functions._platform.rest.catalogue.model import Catalogue, Name, Routine
from functions._platform.rest.plan import refusals
from functions._platform.rest.plan.model import Arguments, Call, Read
from functions._platform.rest.plan.returning import filtered, returned

SINGLE = {
    "application/json": ("json", "jsonb"),
    "text/plain": ("text",),
    "text/xml": ("xml",),
    "application/octet-stream": ("bytea",),
}
"""Content type of a POST → types of a single unnamed parameter that takes the whole body."""
RAW = frozenset(SINGLE) - {"application/json"}
"""Bodies that have no names, so they fit no other function."""


class Asked(NamedTuple):
    """``names``: of the arguments. ``content_type``: of a POST's body, None for GET and HEAD."""

    function: Name
    names: Set[str]
    content_type: str | None


def find_routine(catalogue: Catalogue, asked: Asked) -> Routine:
    """Raises RestError."""
    overloads = catalogue.routines.get(asked.function, ())
    found = [routine for routine in overloads if _fits(routine, asked)] or [
        routine for routine in overloads if _takes_body(routine, asked)
    ]
    if len(found) == 1:
        return found[0]
    if found:
        raise refusals.ambiguous_function(found)
    raise refusals.no_function(catalogue, asked.function, asked.names, asked.content_type)


def relation_of(routine: Routine) -> Name:
    """What a call's answer is read as: the returned table, whose relationships and columns then apply."""
    schema = routine.name.schema
    return Name(schema, routine.returns.name) if routine.returns_composite else routine.name


def plan_call(
    routine: Routine, read: Read, names: Set[str], arguments: Arguments | None, *, is_object: bool
) -> Call:
    single = len(routine.parameters) == 1 and not routine.parameters[0].name
    given = tuple(each for each in routine.parameters if single or each.name in names)
    columns = returned(read, ()), filtered(read)
    return Call(routine, given, arguments, is_object, single, *columns)


def arguments_of(routine: Routine, pairs: Iterable[tuple[str, str]]) -> Arguments:
    """Texts by name; of a repeated name the last counts, but all of a variadic parameter."""
    variadic = {parameter.name for parameter in routine.parameters if parameter.variadic}
    arguments: dict[str, str | tuple[str, ...]] = {}
    for name, text in pairs:
        before = arguments.get(name, ())
        if name in variadic and not isinstance(before, str):
            arguments[name] = (*before, text)
        else:
            arguments[name] = text
    return arguments


def _fits(routine: Routine, asked: Asked) -> bool:
    if not routine.parameters:
        return not asked.names and asked.content_type not in RAW
    required = {each.name for each in routine.parameters if each.required}
    optional = {each.name for each in routine.parameters if not each.required}
    return required <= asked.names <= required | optional


def _takes_body(routine: Routine, asked: Asked) -> bool:
    if asked.content_type is None or len(routine.parameters) != 1:
        return False
    parameter = routine.parameters[0]
    return not parameter.name and parameter.type in SINGLE.get(asked.content_type, ())
