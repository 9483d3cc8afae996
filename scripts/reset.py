"""``make reset``: delete the local stack's data. Refuses while the stack runs (file lock)."""

import shutil
import sys

from functions._local.defaults import local_environment
from functions._shared.settings import Settings, SettingsError, read_environment
from scripts.postgres import StartError, cluster, data_home
from scripts.stack import locked


def main() -> int:
    try:
        settings = Settings.from_env(local_environment(read_environment()))
        folder = settings.edge_data_dir
        with locked(folder):
            cluster(folder, settings.edge_db_port, settings.postgres_bin).stop_leftover()
            for name in ("postgres", "storage", "demo"):
                shutil.rmtree(folder / name, ignore_errors=True)
            if (home := data_home(folder)) != folder.absolute():
                shutil.rmtree(home, ignore_errors=True)
    except (SettingsError, StartError) as error:
        print(f"Nothing wiped: {error}", file=sys.stderr)
        return 1
    print(f"Wiped the data in {folder}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
