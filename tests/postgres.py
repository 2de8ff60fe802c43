"""A real PostgreSQL for tests: its own cluster, started once, reached by TCP with a password.

Its files lie in a folder of their own and not in pytest's: PostgreSQL refuses to run as root, and
the user it then runs as may not enter root's folders.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import psycopg
import pytest

from core.settings import Settings
from jobs.database import Database
from tests.waiting import PATIENCE_S, eventually

USER, PASSWORD, DATABASE = "subtitles", "s3cret/ p@ss", "postgres"


def programs() -> Path | None:
    """Folder of initdb and postgres; Debian keeps them out of the PATH."""
    found = shutil.which("initdb")
    folders = [Path(found).resolve().parent] if found else []
    folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((folder for folder in folders if (folder / "postgres").exists()), None)


class PostgresServer:
    """One cluster; it may be stopped and started, and keeps port and data."""

    def __init__(self, folder: Path, programs: Path, user: str | None) -> None:
        self.folder = folder
        self._programs = programs
        self._user = user
        self._process: subprocess.Popen[bytes] | None = None
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port: int = free.getsockname()[1]

    def create(self) -> None:
        password = self.folder / "password"
        password.write_text(PASSWORD)
        if self._user is not None:
            for path in (self.folder, password):
                shutil.chown(path, self._user)
        subprocess.run(
            [
                *(self._programs / "initdb", "--pgdata", self.folder / "data"),
                *("--username", USER, "--pwfile", password, "--auth", "scram-sha-256"),
                *("--encoding", "UTF8", "--locale", "C", "--no-sync"),
            ],
            check=True,
            capture_output=True,
            user=self._user,
            group=self._user,
            cwd=self.folder,
        )

    def start(self) -> None:
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    *(self._programs / "postgres", "-D", self.folder / "data"),
                    *("-h", "127.0.0.1", "-p", str(self.port), "-k", self.folder, "-F"),
                ],
                stdout=log,
                stderr=log,
                user=self._user,
                group=self._user,
                cwd=self.folder,
            )
        eventually(lambda: not self.running or self._ready(), f"{self.folder / 'log'}: it answers")
        assert self.running, (self.folder / "log").read_text()

    def stop(self) -> None:
        """Every connection is cut."""
        assert self._process is not None
        self._process.send_signal(signal.SIGINT)
        self._process.wait(PATIENCE_S)

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def connect(self) -> psycopg.Connection:
        """Past the app, for what tests do to the database."""
        return psycopg.connect(
            host="127.0.0.1",
            port=self.port,
            user=USER,
            password=PASSWORD,
            dbname=DATABASE,
            autocommit=True,
        )

    def url(self, password: str = PASSWORD) -> str:
        return f"postgresql://{USER}:{quote(password, safe='')}@127.0.0.1:{self.port}/{DATABASE}"

    def empty(self) -> None:
        """Cut every other connection and drop all tables: faster than a new database each time."""
        with self.connect() as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE usename = current_user AND pid <> pg_backend_pid()"
            )
            connection.execute("DROP SCHEMA public CASCADE")
            connection.execute("CREATE SCHEMA public")

    def _ready(self) -> bool:
        try:
            self.connect().close()
        except psycopg.OperationalError:
            return False
        return True


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """The running server; a test that stops it starts it again."""
    found = programs()
    if found is None:
        pytest.skip("no PostgreSQL here (make test says how to install it)")
    user = "postgres" if os.getuid() == 0 else None
    if user is not None and user not in {entry.pw_name for entry in pwd.getpwall()}:
        pytest.skip("PostgreSQL does not run as root, and there is no user postgres")
    folder = Path(tempfile.mkdtemp(prefix="postgres-"))
    server = PostgresServer(folder, found, user)
    try:
        server.create()
        server.start()
        yield server
        server.stop()
    finally:
        shutil.rmtree(folder)


@pytest.fixture
def postgres_url(postgres: PostgresServer) -> str:
    """Address of an empty database."""
    postgres.empty()
    return postgres.url()


DATABASES = ("sqlite", pytest.param("postgresql", marks=pytest.mark.process))


@pytest.fixture(params=DATABASES)
def database_settings(request: pytest.FixtureRequest, tmp_path: Path) -> Settings:
    """Settings with an empty data directory and an empty database of each kind."""
    url = request.getfixturevalue("postgres_url") if request.param == "postgresql" else None
    return Settings(data_dir=tmp_path / "data", database_url=url)


@pytest.fixture
def database(database_settings: Settings) -> Iterator[Database]:
    database = Database.open(database_settings)
    yield database
    database.close()
