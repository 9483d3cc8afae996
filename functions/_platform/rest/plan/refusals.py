"""The errors that describe what the catalogue has instead: PGRST200 to 203 and 205."""

from collections.abc import Iterable, Mapping, Sequence, Set

from functions._platform.rest import errors
from functions._platform.rest.catalogue.model import (
    Catalogue,
    Computed,
    ForeignKey,
    Name,
    Relationship,
    Routine,
)
from functions._platform.rest.catalogue.nearest import function_hint, relationship_hint, table_hint
from functions._platform.rest.errors import RestError
from functions._platform.rest.query.tree import SelectRelation

CARDINALITIES = {
    "M2O": "many-to-one",
    "O2M": "one-to-many",
    "O2O": "one-to-one",
    "M2M": "many-to-many",
}
RAW_PARAMETERS = {
    "text/plain": "text",
    "text/xml": "xml",
    "application/octet-stream": "bytea",
}
"""Content type of a body without names → the type of the one parameter that takes it."""
MAX_NAMED = 100
"""Arguments that an error names: no function has more (FUNC_MAX_ARGS), but a body of ten megabytes a million."""


def no_table(catalogue: Catalogue, relation: Name) -> RestError:
    hint = table_hint(catalogue, relation.schema, relation.name)
    return errors.no_table(relation.schema, relation.name, hint)


def no_relationship(catalogue: Catalogue, origin: Name, asked: SelectRelation) -> RestError:
    suggestion = relationship_hint(catalogue, origin.schema, origin.name, asked.relation)
    return errors.no_relationship(
        origin.name, asked.relation, origin.schema, asked.hint, suggestion
    )


def ambiguous_relationship(
    origin: Name, asked: SelectRelation, found: Sequence[Relationship]
) -> RestError:
    return errors.ambiguous_relationship(
        origin.name, asked.relation, [*map(_described, found)], [*map(_disambiguated, found)]
    )


def _described(relationship: Relationship) -> Mapping[str, str]:
    if isinstance(relationship, Computed):
        return {}
    origin, target = relationship.table.name, relationship.foreign_table.name
    return {
        "cardinality": CARDINALITIES[relationship.cardinality],
        "embedding": f"{origin} with {target}",
        "relationship": _columns(relationship),
    }


def _columns(key: ForeignKey) -> str:
    if key.junction:
        between = key.junction
        source = _listed(column for _, column in between.source)
        target = _listed(column for _, column in between.target)
        return (
            f"{between.table.name} using {between.source_constraint}{source}"
            f" and {between.target_constraint}{target}"
        )
    own = _listed(column for column, _ in key.pairs)
    theirs = _listed(column for _, column in key.pairs)
    return f"{key.constraint} using {key.table.name}{own} and {key.foreign_table.name}{theirs}"


def _disambiguated(relationship: Relationship) -> str:
    if isinstance(relationship, Computed):
        return ""
    junction = relationship.junction
    hint = junction.table.name if junction else relationship.constraint
    return f"'{relationship.foreign_table.name}!{hint}'"


def _listed(columns: Iterable[str]) -> str:
    return f"({', '.join(columns)})"


def no_function(
    catalogue: Catalogue, function: Name, names: Set[str], content_type: str | None
) -> RestError:
    """``content_type``: of a POST's body, None for GET and HEAD."""
    qualified = f"{function.schema}.{function.name}"
    raw = RAW_PARAMETERS.get(content_type or "")
    if raw:
        details = f" with a single unnamed {raw} parameter"
        return errors.no_function(qualified, "", details, None)
    told = ", ".join(sorted(names)[:MAX_NAMED])
    searched = f"({told})" if names else " without parameters"
    details = f" with parameter{'s' if len(names) > 1 else ''} {told}" if names else searched
    if content_type == "application/json":
        details += " or with a single unnamed json/jsonb parameter"
    hint = None
    if len(names) <= MAX_NAMED:
        hint = function_hint(catalogue, function.schema, function.name, names)
    return errors.no_function(qualified, searched, details, hint)


def ambiguous_function(found: Sequence[Routine]) -> RestError:
    return errors.ambiguous_function([*map(_signature, found)])


def _signature(routine: Routine) -> str:
    parameters = ", ".join(f"{each.name} => {each.type}" for each in routine.parameters)
    return f"{routine.name.schema}.{routine.name.name}({parameters})"
