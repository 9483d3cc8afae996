"""Custom media types and data representations: what aggregates and casts make of rows and domains."""

from typing import Any

from functions._platform.rest.catalogue.model import Handler, Name

HANDLERS = r"""
with media_types as (
    select oid, typname, typnamespace
    from pg_type
    where typtype = 'd' and (typname ~ '^[A-Za-z0-9.-]+/[A-Za-z0-9.\+-]+$' or typname = '*/*')
)
select coalesce(json_agg(
    json_build_array(
        spaces.nspname, routines.proname, media_types.typname,
        case when routines.prokind = 'f' then spaces.nspname else argument_schema.nspname end,
        case when routines.prokind = 'f' then routines.proname else argument.typname end,
        routines.prokind = 'a'
    )
    order by spaces.nspname, routines.proname, routines.oid
), '[]')
from media_types
join pg_proc as routines on routines.prorettype = media_types.oid
join pg_namespace as spaces on spaces.oid = routines.pronamespace
left join pg_type as argument on argument.oid = routines.proargtypes[0]
left join pg_namespace as argument_schema on argument_schema.oid = argument.typnamespace
left join pg_class as relations on relations.oid = argument.typrelid
where
    routines.pronamespace in (select oid from exposed)
    and (
        routines.prokind = 'f' and not routines.proretset
        or routines.prokind = 'a' and routines.pronargs = 1
        and (argument.oid = 'anyelement'::regtype or relations.relkind in ('r', 'v', 'm', 'f', 'p'))
    )
"""
CASTS = """
select coalesce(json_agg(
    json_build_array(
        casts.castsource::regtype::text, casts.casttarget::regtype::text, spaces.nspname, routines.proname
    )
), '[]')
from pg_cast as casts
join pg_type as source on source.oid = casts.castsource
join pg_type as target on target.oid = casts.casttarget
join pg_proc as routines on routines.oid = casts.castfunc
join pg_namespace as spaces on spaces.oid = routines.pronamespace
where
    casts.castcontext = 'i'
    and has_function_privilege(routines.oid, 'execute')
    and (
        source.typtype = 'd' and target.oid in ('json'::regtype, 'text'::regtype)
        or target.typtype = 'd' and source.oid in ('json'::regtype, 'text'::regtype)
    )
"""

ANY_RELATION = ("pg_catalog", "anyelement")


def read_handlers(rows: list[list[Any]]) -> tuple[Handler, ...]:
    return tuple(
        Handler(
            function=Name(schema, function),
            media_type=media_type.lower(),
            relation=None if (of_schema, of) == ANY_RELATION else Name(of_schema, of),
            is_aggregate=is_aggregate,
        )
        for schema, function, media_type, of_schema, of, is_aggregate in rows
    )


def read_casts(rows: list[list[Any]]) -> dict[tuple[str, str], Name]:
    return {(source, target): Name(schema, function) for source, target, schema, function in rows}
