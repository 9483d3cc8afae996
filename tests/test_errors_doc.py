"""docs/ERRORS.md against its sources: exception classes, ``code=`` overrides, SQLSTATEs, classes of failed attempts."""

import ast
import importlib
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import psycopg
import pytest

from functions._shared.errors import FunctionError, GenerationFailed

PROJECT = Path(__file__).parent.parent
PAGE = (PROJECT / "docs" / "ERRORS.md").read_text()
SQL = "\n".join(path.read_text() for path in sorted((PROJECT / "sql").glob("*.sql")))
CODE = re.compile(r"[A-Z]+(_[A-Z]+)+")


def parsed() -> list[tuple[ModuleType, ast.Module]]:
    """Every module of functions/, imported and parsed: found by walking, so that a moved file is found as well."""
    found = []
    for path in sorted((PROJECT / "functions").rglob("*.py")):
        if path.name != "__main__.py":
            name = ".".join(path.relative_to(PROJECT).with_suffix("").parts)
            module = importlib.import_module(name.removesuffix(".__init__"))
            found.append((module, ast.parse(path.read_text())))
    return found


MODULES = parsed()


def table(heading: str) -> list[tuple[str, str]]:
    """The first two cells of each row below a heading, the first without its backticks."""
    section = PAGE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)` \| ([^|]+) \| [^|]+ \| [^|]+ \|$", section, re.MULTILINE)
    assert len(rows) == len(re.findall(r"^\| `", section, re.MULTILINE)), "a row is malformed"
    return rows


def subclasses(base: type[FunctionError]) -> Iterator[type[FunctionError]]:
    yield base
    for each in base.__subclasses__():
        yield from subclasses(each)


def provider_classes() -> dict[str, object]:
    """The one table from class of a provider's failure to its consequence."""
    [failures] = [module for module, _ in MODULES if module.__name__.endswith("provider.failures")]
    return dict(failures.CLASSES)


def words(node: ast.AST | None) -> set[str]:
    """The string constants below a node."""
    return {
        each.value
        for each in (ast.walk(node) if node else ())
        if isinstance(each, ast.Constant) and isinstance(each.value, str)
    }


def override(value: ast.expr, module: ModuleType, tree: ast.Module) -> set[str]:
    """The codes that ``code=<value>`` may stand for; empty where it passes on what another place has chosen."""
    match value:
        case ast.Constant(value=str(code)):
            return {code}
        case ast.Name(id=name) if isinstance(vars(module).get(name), str):
            return {vars(module)[name]}
        case ast.Name() | ast.Attribute():
            return set()  # a parameter, or another error's: the constants of the module have it
        case ast.JoinedStr(values=[ast.Constant(value=prefix), ast.FormattedValue()]):
            [maker] = [
                function
                for function in ast.walk(tree)
                if isinstance(function, ast.FunctionDef) and value in set(ast.walk(function))
            ]
            return {
                f"{prefix}{suffix}"
                for call in ast.walk(tree)
                if isinstance(call, ast.Call) and getattr(call.func, "id", "") == maker.name
                for suffix in words(call.args[-1])
            }
    raise AssertionError(f"{module.__name__}:{value.lineno}: which code is it?")


def codes() -> dict[str, set[int]]:
    """Code → the statuses it comes with."""
    found: dict[str, set[int]] = {}
    for kind in subclasses(FunctionError):
        found.setdefault(kind.code, set()).add(kind.status)
    found[GenerationFailed.code] |= {each.status for each in provider_classes().values()}
    kinds = {kind.__name__: kind for kind in subclasses(FunctionError)}
    for module, tree in MODULES:
        for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
            kind = kinds.get(ast.unparse(call.func).rpartition(".")[2])
            for keyword in call.keywords:
                if kind and keyword.arg == "code":
                    for code in override(keyword.value, module, tree):
                        found.setdefault(code, set()).add(kind.status)
        # Codes that are named at the top of a module and reach their error through a variable.
        for name, value in vars(module).items():
            if name.isupper() and isinstance(value, str) and value.startswith("UNAUTHORIZED_"):
                found.setdefault(value, set()).add(401)
    return found


def sqlstates() -> set[str]:
    """Every SQLSTATE that sql/ raises; a condition's name counts as its SQLSTATE."""
    named = set(re.findall(r"errcode\s*=\s*'(\w+)'|raise\s+sqlstate\s+'(\w+)'", SQL))
    states = {first or second for first, second in named}
    return {
        getattr(psycopg.errors, state.title().replace("_", "")).sqlstate
        if state.islower()
        else state
        for state in states
    }


def job_classes() -> set[str]:
    """The provider's classes, what handlers and the worker give, and what SQL gives where they give none."""
    found = set(provider_classes())
    for _, tree in MODULES:
        for node in ast.walk(tree):
            if isinstance(node, ast.keyword) and node.arg == "error_class":
                found |= words(node.value)
            if isinstance(node, ast.Assign) and "error_class" in map(ast.unparse, node.targets):
                found |= words(node.value) if isinstance(node.value, ast.IfExp) else set()
    by_default = re.findall(r"'class',\s*('\w+'|coalesce\(.*?\bend\s*\))", SQL, re.DOTALL)
    assert len(by_default) == 2, "complete_jobs and requeue_expired"
    for given in by_default:
        found |= set(re.findall(r"(?:then|else|^)\s*'(\w+)'", given))
    return found


@pytest.mark.parametrize(
    ("heading", "sources"),
    [
        ("HTTP codes", codes),
        ("SQLSTATEs of the stored functions", sqlstates),
        ("Error classes of a job", job_classes),
    ],
)
def test_each_error_has_one_row_and_each_row_a_source(heading, sources):
    documented = [first for first, _ in table(heading)]
    assert sorted(documented) == sorted(sources())


def test_the_statuses_are_those_of_the_code():
    statuses = {code: set(map(int, cell.split(","))) for code, cell in table("HTTP codes")}
    assert statuses == codes()


def test_postgrest_answers_with_the_number_in_the_sqlstate():
    for state, status in table("SQLSTATEs of the stored functions"):
        assert status == (state[2:] if state.startswith("PT") else "400")


def test_the_classes_that_are_retried_are_those_of_the_table_of_failures():
    documented = dict(table("Error classes of a job"))
    for name, consequence in provider_classes().items():
        assert documented[name] == ("yes" if consequence.retry else "no"), name


def test_a_code_is_upper_case_and_found_where_it_is_given():
    found = codes()
    assert all(
        CODE.fullmatch(code) or code in {"FORBIDDEN", "CONFLICT", "UNAVAILABLE"} for code in found
    )
    # One of each way a code may be given: a class, a keyword, a constant, a suffix.
    assert {
        "NOT_FOUND",
        "QUOTA_EXCEEDED",
        "UNAUTHORIZED_LEGACY_JWT",
        "UNAUTHORIZED_JWT_ROLE",
    } <= set(found)
