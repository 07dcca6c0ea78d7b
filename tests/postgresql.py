"""A PostgreSQL server of the tests' own, which listens on a socket in its own folder and nowhere else."""

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from itertools import count
from pathlib import Path

import pytest

PROGRAMS = os.pathsep.join(
    (os.environ.get("PATH", ""), *map(str, Path("/").glob("usr/lib/postgresql/*/bin")))
)
INITDB, PG_CTL = (shutil.which(name, path=PROGRAMS) for name in ("initdb", "pg_ctl"))


@dataclass(frozen=True)
class Server:
    """A server that runs.

    Attributes:
        folder: Of its socket.
        numbers: Of its databases.
    """

    folder: Path
    numbers: Iterator[int] = field(default_factory=count)

    def new_database(self) -> str:
        """The address of another database, empty."""
        import psycopg

        name = f"study{next(self.numbers)}"
        with psycopg.connect(
            host=str(self.folder), user="tests", dbname="postgres", autocommit=True
        ) as server:
            server.execute(f"create database {name}".encode())
        return f"postgresql://tests@/{name}?host={self.folder}"


@contextmanager
def running_server() -> Iterator[Server]:
    """Start a server, which ends with the block; the test is skipped where it or its driver is missing."""
    if INITDB is None or PG_CTL is None or find_spec("psycopg") is None:
        pytest.skip(
            "no PostgreSQL server or driver here: apt-get install postgresql, pip install 'psycopg[binary]'"
        )
    # Not in pytest's folder, which only its user may enter; and the path of a socket must be short.
    with tempfile.TemporaryDirectory(prefix="ofa-nas-", dir="/tmp") as name:
        folder = Path(name)
        user = None
        if os.geteuid() == 0:  # whom PostgreSQL refuses
            user = "nobody"
            shutil.chown(folder, user, pwd.getpwnam(user).pw_gid)

        def run(*command: str) -> None:
            done = subprocess.run(
                command,
                cwd=folder,
                user=user,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 0, done.stderr

        data, log = str(folder / "data"), str(folder / "log")
        run(INITDB, "-D", data, "-U", "tests", "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync")
        options = f"-c listen_addresses= -c unix_socket_directories={folder} -c fsync=off"
        run(PG_CTL, "-D", data, "-l", log, "-o", options, "-w", "start")
        try:
            yield Server(folder)
        finally:
            run(PG_CTL, "-D", data, "-m", "immediate", "-w", "stop")
