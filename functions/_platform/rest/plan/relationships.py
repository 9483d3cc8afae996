"""Which relationship an embed means, by its target and hint; PGRST200 and PGRST201 where none or several do."""

from functions._platform.rest.catalogue.model import (
    Catalogue,
    Computed,
    ForeignKey,
    Name,
    Relationship,
)
from functions._platform.rest.plan import refusals
from functions._platform.rest.query.tree import SelectRelation


def find_relationship(catalogue: Catalogue, origin: Name, asked: SelectRelation) -> Relationship:
    """The one relationship of ``origin`` that ``asked`` means. Raises RestError."""
    found = [
        relationship
        for relationship in catalogue.relationships.get(origin, ())
        if relationship.foreign_table.schema == origin.schema and _is_meant(relationship, asked)
    ]
    if len(found) == 1:
        return found[0]
    if found:
        raise refusals.ambiguous_relationship(origin, asked, found)
    raise refusals.no_relationship(catalogue, origin, asked)


def is_to_one(relationship: Relationship) -> bool:
    if isinstance(relationship, Computed):
        return relationship.to_one
    return relationship.cardinality in {"M2O", "O2O"}


def _is_meant(relationship: Relationship, asked: SelectRelation) -> bool:
    target, hint = asked.relation, asked.hint
    if isinstance(relationship, Computed):
        return target == relationship.function.name
    names_table = target == relationship.foreign_table.name
    if relationship.is_self:
        return _is_meant_of_itself(relationship, asked)
    if hint is None:
        # A view has the foreign keys of its base tables: their names stand for the tables alone.
        return names_table or (
            not relationship.foreign_is_view
            and target in {_constraint(relationship), _own_column(relationship)}
        )
    return names_table and hint in {
        _constraint(relationship),
        _own_column(relationship),
        _foreign_column(relationship),
        _junction(relationship),
    }


def _is_meant_of_itself(relationship: ForeignKey, asked: SelectRelation) -> bool:
    """A foreign key to its own table: its column means the parent, its table the children."""
    names_table = asked.relation == relationship.foreign_table.name
    if asked.hint is not None:
        return (
            names_table
            and relationship.cardinality == "O2M"
            and asked.hint == _foreign_column(relationship)
        )
    if relationship.cardinality == "O2M":
        return names_table
    return relationship.cardinality == "M2O" and asked.relation == _own_column(relationship)


def _constraint(relationship: ForeignKey) -> str | None:
    return None if relationship.cardinality == "M2M" else relationship.constraint


def _own_column(relationship: ForeignKey) -> str | None:
    return relationship.pairs[0][0] if len(relationship.pairs) == 1 else None


def _foreign_column(relationship: ForeignKey) -> str | None:
    return relationship.pairs[0][1] if len(relationship.pairs) == 1 else None


def _junction(relationship: ForeignKey) -> str | None:
    return relationship.junction.table.name if relationship.junction else None
