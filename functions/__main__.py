"""``python -m functions``: serve the gateway on EDGE_HOST:EDGE_PORT or EDGE_SOCKET, with settings validated first."""

import gc


def main() -> int:
    """Serve until a stop signal; the exit code, 1 where a setting is invalid.

    Garbage collection: importing makes half a million objects and no garbage, so it goes without (0.1 s of a start).
    """
    gc.disable()
    from functions.gateway.serve import serve

    gc.enable()
    return serve()


if __name__ == "__main__":
    raise SystemExit(main())
