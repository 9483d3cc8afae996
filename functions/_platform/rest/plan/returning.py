"""Which columns a writing statement or a call must return, for the answer and its embeds to be read from them."""

from functions._platform.rest.catalogue.model import Computed, ForeignKey
from functions._platform.rest.plan.model import Comparison, Condition, EmbedIsNull, Read, Tree

EVERYTHING = ("*",)


def returned(read: Read, primary_key: tuple[str, ...]) -> tuple[str, ...]:
    """Sorted. The key is for the Location header."""
    names = {field.column.name for field in read.select}
    related = [child.relationship for child in read.children]
    # A computed relationship takes the whole row. Beside "*" further columns would be ambiguous.
    if "*" in names or any(isinstance(each, Computed) for each in related):
        return EVERYTHING
    names.update(primary_key)
    for key in related:
        if isinstance(key, ForeignKey):
            pairs = key.junction.source if key.junction else key.pairs
            names.update(own for own, _ in pairs)
    return tuple(sorted(names))


def filtered(read: Read) -> frozenset[str]:
    """Columns that conditions of any level look at."""
    names = frozenset[str]().union(*(_columns(condition) for condition in read.where))
    return names.union(*(filtered(child) for child in read.children))


def _columns(condition: Condition) -> frozenset[str]:
    if isinstance(condition, Comparison):
        return frozenset({condition.column.name})
    if isinstance(condition, EmbedIsNull):
        return frozenset()
    assert isinstance(condition, Tree)
    return frozenset[str]().union(*map(_columns, condition.children))
