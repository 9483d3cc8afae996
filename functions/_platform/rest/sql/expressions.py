"""Columns, conditions and orders of one level as SQL."""

from functions._platform.rest.catalogue.model import Name
from functions._platform.rest.errors import RestError
from functions._platform.rest.plan.model import (
    Column,
    Comparison,
    Condition,
    EmbedIsNull,
    Order,
    Selected,
    Tree,
)
from functions._platform.rest.query.tree import Filter
from functions._platform.rest.sql.fragment import (
    TEXT_ARRAY,
    Fragment,
    bound,
    bound_array,
    joined,
    qualified,
    quoted,
)

OPERATORS = {
    "eq": "=", "gte": ">=", "gt": ">", "lte": "<=", "lt": "<", "neq": "<>", "like": "like", "ilike": "ilike",
    "match": "~", "imatch": "~*", "cs": "@>", "cd": "<@", "ov": "&&", "sl": "<<", "sr": ">>", "nxr": "&<",
    "nxl": "&>", "adj": "-|-", "isdistinct": "is distinct from",
}  # fmt: skip
PATTERNS = frozenset({"like", "ilike"})
"""Their wildcard is ``*`` in a URL, where ``%`` would have to be encoded."""
TEXT_SEARCH = {
    "fts": "to_tsquery",
    "plfts": "plainto_tsquery",
    "phfts": "phraseto_tsquery",
    "wfts": "websearch_to_tsquery",
}
IS = {
    "null": "null",
    "not_null": "not null",
    "true": "true",
    "false": "false",
    "unknown": "unknown",
}
EMPTY_LIST = ("",)
"""``in.()``"""


def column(of: Name, name: str) -> str:
    """``of``: a table, or an alias as a Name without schema."""
    return f"{qualified(of)}.{'*' if name == '*' else quoted(name)}"


def value_of(of: Name, field: Column) -> Fragment:
    """A column with its JSON path, without its data representation."""
    if field.whole_row:
        return [quoted(of.name)]
    plain = column(of, field.name)
    if not field.path:
        return [plain]
    pieces: Fragment = [f"to_jsonb({plain})" if field.to_json else plain]
    for step in field.path:
        pieces.append("->>" if step.as_text else "->")
        pieces.append(bound(str(step.key)))
        if isinstance(step.key, int):
            pieces.append("::int")
    return pieces


def selected(of: Name, field: Selected) -> Fragment:
    pieces = value_of(of, field.column)
    if field.column.transform:
        pieces = [qualified(field.column.transform), "(", *pieces, ")"]
    pieces = aggregated(_cast(pieces, field.cast), field.aggregate, field.aggregate_cast)
    return [*pieces, " as ", quoted(field.alias)] if field.alias is not None else pieces


def aggregated(pieces: Fragment, aggregate: str | None, cast: str | None) -> Fragment:
    return _cast([aggregate, "(", *pieces, ")"], cast) if aggregate else pieces


def _cast(pieces: Fragment, to: str | None) -> Fragment:
    return ["cast(", *pieces, " as ", _type(to), ")"] if to else pieces


def _type(name: str) -> str:
    """Not quoted: "int" would be a type's name, int is an alias of one. The parser admits letters, digits, ``_``, ``$``
    and blanks; a word that begins with ``$`` is a parameter or opens a dollar-quoted string (SQL injection).
    """
    for word in name.split():
        if word.startswith("$") or word[0].isdigit():
            raise RestError(400, "42601", f'syntax error at or near "{word}"')
    return name


def ordered(of: Name, terms: list[Order]) -> Fragment:
    return [" order by ", *joined(", ", (_order(of, term) for term in terms))] if terms else []


def _order(of: Name, term: Order) -> Fragment:
    pieces = value_of(Name("", term.embed) if term.embed else of, term.column)
    if term.direction:
        pieces.append(f" {term.direction}")
    if term.nulls:
        pieces.append(f" nulls {term.nulls}")
    return pieces


def condition(of: Name, asked: Condition) -> Fragment:
    if isinstance(asked, Tree):
        children = (condition(of, child) for child in asked.children)
        negation = "not " if asked.negated else ""
        return [f"{negation}(", *joined(f" {asked.operator} ", children), ")"]
    if isinstance(asked, EmbedIsNull):
        # "is null" of a row is true also where all its columns are null.
        return [quoted(asked.embed), f" is {'' if asked.negated else 'not '}distinct from null"]
    return _comparison(of, asked)


def _comparison(of: Name, asked: Comparison) -> Fragment:
    told, field = asked.filter, asked.column
    left = value_of(of, field)
    if told.operator in TEXT_SEARCH:
        language = _language(told)
        if field.base_type != "tsvector":
            left = ["to_tsvector(", *language, *left, ")"]
        right: Fragment = [
            " @@ ",
            TEXT_SEARCH[told.operator],
            "(",
            *_language(told),
            bound(_one(told)),
            ")",
        ]
    elif told.operator == "is":
        right = [" is ", IS[_one(told)]]
    elif told.operator == "in":
        right = [" = any(", *_list(field, told.value), ")"]
    else:
        right = [f" {OPERATORS[told.operator]} ", *_operand(field, told)]
    return ["not ", *left, *right] if told.negated else [*left, *right]


def _language(told: Filter) -> Fragment:
    return [bound(told.language), ", "] if told.language else []


def _one(told: Filter) -> str:
    assert isinstance(told.value, str)
    return told.value


def _operand(field: Column, told: Filter) -> Fragment:
    text = _one(told)
    if told.operator in PATTERNS:
        operand: Fragment = [bound(text.replace("*", "%"))]
    elif field.transform and told.operator != "isdistinct":
        operand = [qualified(field.transform), "(", bound(text), ")"]
    else:
        operand = [bound(text)]
    return [told.quantifier, "(", *operand, ")"] if told.quantifier else operand


def _list(field: Column, values: str | tuple[str, ...]) -> Fragment:
    if values == EMPTY_LIST:
        return ["'{}'"]
    if field.transform:
        literal = bound_array(values, TEXT_ARRAY)
        return ["select ", qualified(field.transform), "(unnest(", literal, "))"]
    return [bound_array(values)]
