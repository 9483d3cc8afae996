"""``make up``: the local stack in the foreground until SIGINT or SIGTERM. ``make env``: its settings."""

import shlex
import sys
import time

from functions._local.defaults import address_of, local_environment, uses_sandbox
from functions._shared.settings import Settings, SettingsError, read_environment
from functions.gateway.routing import served_by
from scripts.interrupts import catch_signals
from scripts.postgres import StartError, admin_url, data_home
from scripts.stack import local_stack

NAMES = {
    "API_URL": "API URL",
    "DB_URL": "DB URL",
    "DB_ADMIN_URL": "DB admin URL",
    "ANON_KEY": "anon key",
    "SERVICE_ROLE_KEY": "service_role key",
    "JWT_SECRET": "JWT secret",
}


def status(settings: Settings) -> dict[str, str]:
    """Addresses and keys of the stack, under the names of ``supabase status -o env``."""
    anon, secret = settings.supabase_anon_key, settings.supabase_jwt_secret
    return {
        "API_URL": address_of(settings.edge_host, settings.edge_port),
        "DB_URL": settings.supabase_db_url.get_secret_value(),
        "DB_ADMIN_URL": admin_url(
            data_home(settings.edge_data_dir) / "postgres", settings.edge_db_port
        ),
        "ANON_KEY": anon.get_secret_value() if anon else "",
        "SERVICE_ROLE_KEY": settings.supabase_service_role_key.get_secret_value(),
        "JWT_SECRET": secret.get_secret_value() if secret else "",
    }


def example_app(settings: Settings) -> dict[str, str]:
    """What a newcomer opens first."""
    if "example" not in settings.serve:
        return {}
    return {"open": f"{address_of(settings.edge_host, settings.edge_port)}/"}


def operators(settings: Settings) -> dict[str, str]:
    """Where operators look, and with which key."""
    url = f"{address_of(settings.edge_host, settings.edge_port)}/operate"
    return {
        "operators": url,
        **{
            f"key of {key.operator.name}": key.secret.get_secret_value()
            for key in settings.operator_keys
        },
    }


def by_place(settings: Settings) -> dict[str, list[str]]:
    """Where services of Supabase's are served from → their paths, for people."""
    places: dict[str, list[str]] = {}
    for service, place in served_by(settings).items():
        name = {"here": "served here", "upstream": "passed on"}.get(place, place)
        places.setdefault(name, []).append(f"/{service}/v1")
    return places


def sign_in(settings: Settings) -> dict[str, str]:
    """Where users sign in from, and where their mail lands."""
    if "auth" not in settings.serve:
        return {}
    url = address_of(settings.edge_host, settings.edge_port)
    mail = f"{url}/mailbox" if settings.uses_local_keys else "not sent: SMTP_HOST is not set"
    return {
        "sign in": f"{url}/auth/v1, or make token EMAIL=you@example.com",
        "mail": settings.smtp_host or mail,
    }


def up() -> int:
    catch_signals()
    environ = read_environment()
    try:
        with local_stack(environ) as settings:
            named = {NAMES[name]: value for name, value in status(settings).items()}
            for name, value in {
                **example_app(settings),
                **operators(settings),
                **named,
                **sign_in(settings),
            }.items():
                print(f"{name:>16}: {value}")
            print(
                f"{'pictures':>16}: {'the sandbox draws them' if uses_sandbox(environ) else 'Replicate'}"
            )
            for place, services in by_place(settings).items():
                print(f"{place:>16}: {', '.join(services)}")
            print("Ready. Ctrl-C stops it; the data stays.", flush=True)
            while True:
                # Not signal.pause: a signal just before it is a lost wake-up, and the stack would run on.
                time.sleep(1)
    except StartError as error:
        print(f"Cannot start: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nStopped.")
        return 0


def env() -> int:
    try:
        settings = Settings.from_env(local_environment(read_environment()))
    except SettingsError as error:
        print(error, file=sys.stderr)
        return 1
    for name, value in status(settings).items():
        print(f"{name}={shlex.quote(value)}")
    return 0


if __name__ == "__main__":
    raise SystemExit(env() if sys.argv[1:] == ["env"] else up())
