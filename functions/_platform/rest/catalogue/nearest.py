"""Fuzzy matching for the hints of errors: the name that a client probably meant.

n-gram cosine similarity selects candidates, the normalised Levenshtein distance ranks them, as in the FuzzySet
algorithm that upstream uses: another measure would give other hints.
"""

import math
from collections import Counter
from collections.abc import Collection, Iterable
from functools import lru_cache

from functions._platform.rest.catalogue.model import Catalogue, Name, Routine

LEAST = 0.33
"""The smallest score of a suggestion."""
LEAST_OF_NAMES = 0.75
"""The same for names of tables and functions: a guess must not reveal names that resemble it little."""
LARGEST_SCHEMA = 500
"""Schemas with as many tables or more get no hint, as upstream: comparing with each name would cost too much."""
CANDIDATES = 50
GRAM_SIZES = (3, 2)
"""The second is tried only if the first gives nothing."""


def table_hint(catalogue: Catalogue, schema: str, table: str) -> str | None:
    """Of PGRST205."""
    names = [name.name for name in catalogue.tables if name.schema == schema]
    if len(names) >= LARGEST_SCHEMA:
        return None
    found = nearest(table, names, LEAST_OF_NAMES)
    return None if found is None else f"Perhaps you meant the table '{schema}.{found}'"


def relationship_hint(catalogue: Catalogue, schema: str, parent: str, child: str) -> str | None:
    """Of PGRST200. None where both exist: then the request's own hint is wrong."""
    table = Name(schema, parent)
    children = _children(catalogue, table, schema)
    if children or catalogue.relationships.get(table) == ():
        found = nearest(child, children, LEAST)
        if found is None or found.lower() == child.lower():
            return None
        return f"Perhaps you meant '{found}' instead of '{child}'."
    parents = {
        table.name for table in catalogue.relationships if _children(catalogue, table, schema)
    }
    found = nearest(parent, parents, LEAST)
    return None if found is None else f"Perhaps you meant '{found}' instead of '{parent}'."


def function_hint(
    catalogue: Catalogue, schema: str, function: str, arguments: Iterable[str]
) -> str | None:
    """Of PGRST202: of a known name the overload whose parameters are the nearest, else the nearest name."""
    overloads = catalogue.routines.get(Name(schema, function), ())
    if overloads:
        signatures = [_signature(_parameter_names(routine)) for routine in overloads]
        found = nearest(_signature(arguments), signatures, LEAST)
        found = None if found is None else function + found
    else:
        names = [name.name for name in catalogue.routines if name.schema == schema]
        found = nearest(function, names, LEAST_OF_NAMES)
    return None if found is None else f"Perhaps you meant to call the function {schema}.{found}"


def nearest(text: str, names: Collection[str], least: float) -> str | None:
    """The one of ``names`` that resembles ``text`` most, letter case aside; None if no score reaches ``least``."""
    by_key: dict[str, str] = {}
    for name in names:
        by_key.setdefault(name.lower(), name)
    wanted = text.lower()
    if wanted in by_key:
        return by_key[wanted]
    if len(wanted) * least > max(map(len, by_key), default=0):
        return None  # too far from every name: the distance is at least the difference of lengths
    for size in GRAM_SIZES:
        scores = [
            (_similarity(wanted, key), key)
            for key in _candidates(wanted, by_key, size)
            if min(len(wanted), len(key)) >= least * max(len(wanted), len(key))
        ]
        score, key = max(scores, key=lambda scored: scored[0], default=(0.0, ""))
        if scores and score >= least:
            return by_key[key]
    return None


def _children(catalogue: Catalogue, parent: Name, schema: str) -> list[str]:
    related = catalogue.relationships.get(parent, ())
    return [each.foreign_table.name for each in related if each.foreign_table.schema == schema]


def _parameter_names(routine: Routine) -> list[str]:
    return [parameter.name for parameter in routine.parameters]


def _signature(names: Iterable[str]) -> str:
    return f"({', '.join(sorted(names))})"


def _candidates(wanted: str, keys: Iterable[str], size: int) -> list[str]:
    """Keys that share an n-gram with ``wanted``, the most similar by cosine first."""
    own = _grams(wanted, size)
    scored: list[tuple[float, str]] = []
    for key in keys:
        grams = _grams_of_name(key, size)
        if dot := sum(count * grams[gram] for gram, count in own.items()):
            scored.append((dot / (_norm(own) * _norm(grams)), key))
    scored.sort(key=lambda each: -each[0])
    return [key for _, key in scored[:CANDIDATES]]


def _grams(text: str, size: int) -> Counter[str]:
    """Substrings of ``size`` characters, each with its number of occurrences; hyphens mark both ends."""
    letters = "".join(
        letter for letter in text if letter.isalnum() or letter.isspace() or letter == ","
    )
    enclosed = f"-{letters}-"
    return Counter(enclosed[at : at + size] for at in range(len(enclosed) - size + 1))


@lru_cache(maxsize=8192)
def _grams_of_name(name: str, size: int) -> Counter[str]:
    return _grams(name, size)


def _norm(grams: Counter[str]) -> float:
    return math.sqrt(sum(count * count for count in grams.values()))


def _similarity(one: str, other: str) -> float:
    """1 − Levenshtein distance / length of the longer."""
    row = list(range(len(other) + 1))
    for at, letter in enumerate(one, 1):
        diagonal, row[0] = row[0], at
        for to, against in enumerate(other, 1):
            diagonal, row[to] = (
                row[to],
                min(row[to] + 1, row[to - 1] + 1, diagonal + (letter != against)),
            )
    return 1 - row[-1] / max(len(one), len(other), 1)
