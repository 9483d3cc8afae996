"""Settings of the roles that requests run as: a session takes over those of its login role only."""

from collections import defaultdict

ISOLATION = "default_transaction_isolation"


def query(server_version: int) -> str:
    """The settings that the login role may set, of the roles that it may become."""
    # Before PostgreSQL 15 there is no GRANT SET ON PARAMETER.
    granted = (
        "has_parameter_privilege(settings.name, 'set')" if server_version >= 150000 else "false"
    )
    return f"""
    select coalesce(json_agg(json_build_array(roles.rolname, lines.name, lines.value)), '[]')
    from pg_roles as roles
    cross join lateral (
        select split_part(line, '=', 1) as name, substr(line, strpos(line, '=') + 1) as value
        from unnest(roles.rolconfig) as line
    ) as lines
    join pg_settings as settings on settings.name = lines.name
    where pg_has_role(roles.oid, 'member') and (settings.context = 'user' or {granted})
    """  # noqa: S608 - constants


def read_roles(rows: list[list[str]]) -> tuple[dict[str, dict[str, str]], dict[str, str]]:
    """(role → settings, role → isolation level)"""
    settings: dict[str, dict[str, str]] = defaultdict(dict)
    isolation: dict[str, str] = {}
    for role, name, value in rows:
        if name == ISOLATION:
            isolation[role] = isolation_level(value)
        else:
            settings[role][name] = value
    return dict(settings), isolation


def isolation_level(value: str) -> str:
    """PostgreSQL has no "read uncommitted" of its own."""
    level = value.lower()
    return level if level in ("repeatable read", "serializable") else "read committed"
