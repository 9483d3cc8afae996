"""The query string of a request → ``Query``."""

from functions._platform.rest.query.tree import Query


def parse(query_string: bytes, *, is_call: bool = False) -> Query:
    """Parse the raw query string. ``is_call``: of GET and HEAD /rpc, where a value that is no operator expression is
    an argument of the function.

    Raises RestError 400 (PGRST100; 22021 for text that PostgreSQL cannot store), 416 (PGRST103) for a negative limit.
    """
    raise NotImplementedError
