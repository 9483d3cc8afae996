"""Functions of the exposed schemas that can be called at /rpc."""

from collections import defaultdict
from typing import Any, Literal

from functions._platform.rest.catalogue.model import Name, Parameter, Routine
from functions._platform.rest.catalogue.roles import ISOLATION, isolation_level

HOISTED = ("statement_timeout", "plan_filter.statement_cost_limit")
"""Settings of a function that must hold before its call begins. Upstream's default of db-hoisted-tx-settings; the
isolation level is its third."""

QUERY = """
with candidates as (
    select routines.*
    from pg_proc as routines
    where
        routines.prokind = 'f' and routines.pronamespace in (select oid from exposed)
        and (
            -- Parameters are passed by name; a single one without a name takes the whole body.
            routines.proargnames is not null
            or routines.pronargs = 0
            or routines.pronargs = 1 and routines.proargtypes[0] = any (
                array['bytea', 'json', 'jsonb', 'text', 'xml']::regtype[]
            )
        )
),
inputs as (
    select
        candidates.oid,
        names.name,
        names.mode,
        -- proargnames and proargmodes count OUT parameters too, proargtypes does not.
        row_number() over (partition by candidates.oid order by names.position) as position
    from candidates
    cross join unnest(candidates.proargnames, candidates.proargmodes)
        with ordinality as names (name, mode, position)
    where coalesce(names.mode, 'i') in ('i', 'b', 'v')
),
parameters as (
    select
        candidates.oid,
        json_agg(
            json_build_array(
                coalesce(inputs.name, ''),
                types.type::regtype::text,
                types.position <= candidates.pronargs - candidates.pronargdefaults,
                coalesce(inputs.mode = 'v', false),
                case types.type
                    when 'bit'::regtype then 'bit varying'
                    when 'bit[]'::regtype then 'bit varying[]'
                    when 'bpchar'::regtype then 'character varying'
                    when 'bpchar[]'::regtype then 'character varying[]'
                    else types.type::regtype::text
                end
            )
            order by types.position
        ) as parameters
    from candidates
    cross join unnest(candidates.proargtypes) with ordinality as types (type, position)
    left join inputs on inputs.oid = candidates.oid and inputs.position = types.position
    group by candidates.oid
)
select coalesce(json_agg(
    json_build_array(
        candidates.oid::bigint, spaces.nspname, candidates.proname, comments.description,
        coalesce(parameters.parameters, '[]'),
        result_schema.nspname, coalesce(rows.relname, result.typname),
        candidates.proretset,
        result.typtype = 'c' or coalesce(candidates.proargmodes::text[] && '{t,b,o}', false),
        domains.oid is not null,
        candidates.provolatile,
        coalesce(to_json(candidates.proconfig), '[]')
    )
), '[]')
from candidates
join pg_namespace as spaces on spaces.oid = candidates.pronamespace
left join domains on domains.oid = candidates.prorettype
join pg_type as result on result.oid = coalesce(domains.base, candidates.prorettype)
join pg_namespace as result_schema on result_schema.oid = result.typnamespace
left join pg_class as rows on rows.oid = result.typrelid
left join parameters on parameters.oid = candidates.oid
left join pg_description as comments
    on comments.classoid = 'pg_proc'::regclass and comments.objoid = candidates.oid
where result.oid <> 'trigger'::regtype
"""

VOLATILITIES: dict[str, Literal["volatile", "stable", "immutable"]] = {
    "i": "immutable",
    "s": "stable",
    "v": "volatile",
}


def read_routines(rows: list[list[Any]]) -> dict[Name, tuple[Routine, ...]]:
    found: dict[Name, list[Routine]] = defaultdict(list)
    for row in rows:
        routine = _routine(*row)
        found[routine.name].append(routine)
    return {name: tuple(sorted(overloads, key=_order)) for name, overloads in found.items()}


def _routine(
    oid: int,
    schema: str,
    name: str,
    description: str | None,
    parameters: list[list[Any]],
    result_schema: str,
    result: str,
    returns_set: bool,
    is_composite: bool,
    is_domain: bool,
    volatility: str,
    config: list[str],
) -> Routine:
    returns = Name(result_schema, result)
    settings = [(key, value) for key, _, value in (line.partition("=") for line in config)]
    isolation = dict(settings).get(ISOLATION)
    return Routine(
        oid=oid,
        name=Name(schema, name),
        parameters=tuple(Parameter(*parameter) for parameter in parameters),
        returns=returns,
        returns_set=returns_set,
        returns_composite=is_composite,
        returns_void=returns == ("pg_catalog", "void") and not returns_set,
        is_alias=is_composite and is_domain,
        volatility=VOLATILITIES[volatility],
        description=description,
        isolation=None if isolation is None else isolation_level(isolation),
        settings=tuple((key, value) for key, value in settings if key in HOISTED),
    )


def _order(routine: Routine) -> tuple[Any, ...]:
    return (
        len(routine.parameters),
        routine.description is not None,
        routine.description or "",
        [(each.name, each.type, each.cast_type, each.required) for each in routine.parameters],
    )
