"""Names of a query → columns of the catalogue: their types, and the data representations (casts) that apply."""

from dataclasses import replace

from functions._platform.rest.catalogue.model import Catalogue, Name
from functions._platform.rest.catalogue.model import Column as TableColumn
from functions._platform.rest.plan.model import (
    Column,
    Comparison,
    Condition,
    Order,
    Selected,
    Tree,
    WrittenColumn,
)
from functions._platform.rest.query.tree import Condition as AskedCondition
from functions._platform.rest.query.tree import Field, Filter, OrderTerm, SelectField

JSON_TYPES = frozenset({"json", "jsonb"})


class Columns:
    """The columns of one relation. A name that it does not have is left to PostgreSQL: a computed column, or 42703."""

    def __init__(self, catalogue: Catalogue, relation: Name) -> None:
        self._casts = catalogue.casts
        table = catalogue.tables.get(relation)
        self._columns = table.columns if table else {}

    def selected(self, asked: SelectField) -> Selected:
        column = self._to_json(self._column(asked.field))
        return Selected(column, asked.alias, asked.cast, asked.aggregate, asked.aggregate_cast)

    def condition(self, asked: AskedCondition) -> Condition:
        if isinstance(asked, Filter):
            column = self._column(asked.field)
            return Comparison(self._transformed(column, "text", column.type), asked)
        children = tuple(self.condition(child) for child in asked.children)
        return Tree(asked.operator, children, asked.negated)

    def order(self, asked: OrderTerm) -> Order:
        """``asked`` of this level, not of an embed."""
        return Order(self._column(asked.field), asked.direction, asked.nulls)

    def written(self, name: str, *, defaults: bool) -> WrittenColumn | None:
        """None for an unknown column."""
        column = self._columns.get(name)
        if column is None:
            return None
        transform = self._casts.get(("json", column.declared_type))
        # Only a data representation reads the JSON itself; the type is then its source.
        kind = "json" if transform else column.declared_type
        return WrittenColumn(name, kind, transform, column.default if defaults else None)

    def all(self) -> list[Selected]:
        """``*`` written out."""
        return [
            Selected(self._to_json(_known(column, to_json=False)))
            for column in self._columns.values()
        ]

    @property
    def are_represented(self) -> bool:
        """Whether any column has a data representation for the answer."""
        casts = self._casts
        return bool(casts) and any(
            (column.declared_type, "json") in casts for column in self._columns.values()
        )

    def _column(self, asked: Field) -> Column:
        known = self._columns.get(asked.name)
        if known is None:
            return Column(asked.name, asked.json_path, to_json=True)
        to_json = known.declared_type not in JSON_TYPES
        return replace(_known(known, to_json=to_json), path=asked.json_path)

    def _to_json(self, column: Column) -> Column:
        return self._transformed(column, column.type, "json")

    def _transformed(self, column: Column, source: str, target: str) -> Column:
        transform = self._casts.get((source, target))
        return replace(column, transform=transform) if transform else column


def _known(column: TableColumn, *, to_json: bool) -> Column:
    return Column(column.name, (), to_json, column.declared_type, column.type)
