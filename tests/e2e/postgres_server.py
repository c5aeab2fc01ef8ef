"""A PostgreSQL of Debian's packages in a temporary folder, for the tests that run many tasks at once."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

from tests.e2e.airflow_settings import free_ports, inherited_environment
from tests.e2e.debian import install_package
from tests.e2e.process_group import GUARD_OF_THIS_PROCESS, ProcessGroup

SETTINGS = """
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
max_connections = 200
fsync = off
synchronous_commit = off
full_page_writes = off
jit = off
autovacuum = off
"""


def find_binaries() -> Path | None:
    """The folder of the newest PostgreSQL installed, or None."""
    if (on_path := shutil.which("postgres")) is not None:
        return Path(on_path).resolve().parent
    folders = [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/postgres")]
    return max(folders, key=lambda folder: float(folder.parent.name), default=None)


def install_postgresql() -> Path:
    """Find PostgreSQL's programs, installing Debian's package where there are none and that is allowed."""
    if (binaries := find_binaries()) is not None:
        return binaries
    install_package("postgresql")
    if (binaries := find_binaries()) is None:
        raise RuntimeError("PostgreSQL was installed but its programs were not found")
    return binaries


class PostgresServer:
    """One PostgreSQL with one empty database `airflow`, on a free port, without passwords, for this machine only."""

    def __init__(self) -> None:
        self.port = free_ports(1)[0]
        self._folder: Path | None = None
        self._process: ProcessGroup | None = None
        # PostgreSQL refuses to run as root
        self._user = "postgres" if os.geteuid() == 0 else None

    @property
    def url(self) -> str:
        """Where SQLAlchemy finds the database."""
        return f"postgresql+psycopg2://airflow@127.0.0.1:{self.port}/airflow"

    def start(self, timeout: float = 30.0) -> None:
        """Make the cluster and its database, and wait until it accepts connections."""
        binaries = install_postgresql()
        self._folder = Path(tempfile.mkdtemp(prefix="postgresql-"))
        GUARD_OF_THIS_PROCESS.tell("remove", self._folder)
        data = self._folder / "data"
        if self._user is not None:
            shutil.chown(self._folder, self._user)
        self._as_user([binaries / "initdb", "-D", data, "-U", "airflow", "--auth=trust", "--no-sync"])
        with (data / "postgresql.conf").open("a") as configuration:
            configuration.write(f"{SETTINGS}port = {self.port}\n")
        self._as_user([binaries / "postgres", "--single", "-D", data, "postgres"], text="CREATE DATABASE airflow\n")
        self._launch(timeout)

    def restart(self, timeout: float = 30.0) -> None:
        """Stop it as an administrator does who can't wait, and start it again on the same data."""
        if self._process is not None:
            self._process.end(timeout)
        self._launch(timeout)

    def _launch(self, timeout: float) -> None:
        if self._folder is None:
            raise RuntimeError("PostgreSQL has no data yet")
        binaries, data = install_postgresql(), self._folder / "data"
        self._process = ProcessGroup.of_command(
            "postgresql",
            [str(binaries / "postgres"), "-D", str(data)],
            log=self._folder / "postgresql.log",
            environment=inherited_environment(),
            folder=self._folder,
            user=self._user,
            stop_signal=signal.SIGINT,
        )
        self._wait_until_open(self._process, timeout)

    def _as_user(self, command: list[str | Path], text: str | None = None) -> None:
        """Run one of PostgreSQL's programs to its end, as a user it accepts."""
        identity = None if self._user is None else pwd.getpwnam(self._user)
        done = subprocess.run(
            [str(part) for part in command],
            input=text or "",
            text=True,
            capture_output=True,
            cwd=self._folder,
            user=None if identity is None else identity.pw_uid,
            group=None if identity is None else identity.pw_gid,
            extra_groups=None if identity is None else [],
        )
        if done.returncode != 0:
            raise RuntimeError(f"{command[0]} failed: {done.stdout}{done.stderr}")

    def _wait_until_open(self, process: ProcessGroup, timeout: float) -> None:
        deadline = time.monotonic() + timeout
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0 and "ready to accept" in process.text():
                    return
            if process.exit_code is not None or time.monotonic() > deadline:
                raise RuntimeError(f"PostgreSQL did not start:\n{process.text()}")
            time.sleep(0.05)

    def stop(self) -> None:
        """End PostgreSQL and remove its folder."""
        if self._process is not None:
            self._process.end()
            self._process = None
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            GUARD_OF_THIS_PROCESS.tell("keep", self._folder)
            self._folder = None
