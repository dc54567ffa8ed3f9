"""Opening the database: durability, one writer at a time, and the revision of its tables.

A daemon opens in this order: `open_engine`, `WriterLock`, `prepare`, then the journal, which writes through the lock.
Whoever only looks uses `open_readonly`, which cannot disturb it.
"""

import fcntl
import os
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self
from urllib.parse import quote

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import URL, Connection, Engine, create_engine, event, func, make_url, select
from sqlalchemy.exc import ArgumentError
from sqlalchemy.pool import StaticPool

from adapters.store import postgres, tables
from adapters.store.faults import StoreLockedError, UnreachableError

__all__ = [
    "SchemaError",
    "StoreLockedError",
    "Sync",
    "UnreachableError",
    "WriterLock",
    "check_version",
    "downgrade",
    "open_engine",
    "open_readonly",
    "prepare",
    "upgrade",
]

FOLDER_LOCK = "execd.lock"  # in the data directory
BUSY_TIMEOUT_MS = 5_000  # a backup or a snapshot may hold the database for that long

Sync = Literal["full", "normal"]
"""What a commit survives: `full` a loss of power, `normal` a killed process.

On PostgreSQL that process is the daemon. A killed server forgets up to a second of `normal` commits; the daemon writes
them again if it still runs (see `Journal`).
"""


class SchemaError(Exception):
    """The database's tables are not those of this version, or this role may not use them."""


def open_engine(url: str, *, sync: Sync = "full", password: str | None = None) -> Engine:
    """The database for its one writer: `sqlite:///FILE` or `postgresql://ROLE@HOST/DATABASE`.

    `sqlite://` is a database in memory, for tests and simulations. PostgreSQL is connected to when it is first used:
    whatever uses it raises UnreachableError where there is no way in. libpq's parameters go behind a question mark
    (`?sslmode=verify-full`), those of `postgres.PARAMETERS`. Raises ValueError for any other URL, for one that holds a
    password, and for one that sets anything else.
    """
    parsed = _parse(url)
    if parsed.get_backend_name() == "postgresql":
        return postgres.open_postgres(parsed, password=password, sync=sync)
    if _file(parsed) is None:  # one connection, shared, or else each thread would see a database of its own
        engine = create_engine(parsed, poolclass=StaticPool, connect_args={"check_same_thread": False})
    else:
        engine = create_engine(parsed)
    pragmas = ("journal_mode=WAL", f"synchronous={sync.upper()}", "foreign_keys=OFF")
    _on_connect(engine, *pragmas)
    return engine


def open_readonly(url: str, *, password: str | None = None) -> Engine:
    """The database for whoever looks, as `open_engine`; raises FileNotFoundError where a file is none."""
    parsed = _parse(url)
    if parsed.get_backend_name() == "postgresql":
        return postgres.open_postgres(parsed, password=password, sync=None)
    path = _file(parsed)
    if path is None:
        raise ValueError("a database in memory cannot be opened twice: use the engine that made it")
    if not path.exists():
        raise FileNotFoundError(f"there is no database {path}: start the daemon once, or name another one")
    uri = URL.create(parsed.drivername, database=f"file:{quote(str(path))}", query={"mode": "ro", "uri": "true"})
    engine = create_engine(uri)
    _on_connect(engine, "query_only=ON")
    return engine


def check_url(url: str) -> None:
    """Raise ValueError for a URL that names no database for execd, or holds a password."""
    _parse(url)


def _parse(url: str) -> URL:
    """The URL in one spelling; what is wrong with it is said without repeating it, for it may hold a password."""
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):  # no URL at all, or a port that is no number
        raise ValueError(f"the database's URL cannot be read: {_URLS}") from None
    if parsed.drivername == "postgres":  # libpq's other name for it
        parsed = parsed.set(drivername="postgresql")
    if parsed.get_backend_name() not in {"sqlite", "postgresql"}:
        raise ValueError(f"{parsed.drivername} is not a database for execd: {_URLS}")
    if parsed.password is not None or "password" in parsed.query:
        raise ValueError("the database's URL holds a password: take it out, and hand the password over on its own")
    if parsed.get_backend_name() == "postgresql":
        postgres.check_parameters(parsed)
    elif parsed.query:
        raise ValueError("the database's URL says more than the name of a file: write sqlite:///FILE")
    return parsed


_URLS = "write sqlite:///FILE or postgresql://ROLE@HOST/DATABASE"


def _on_connect(engine: Engine, *pragmas: str) -> None:
    def configure(connection: Any, _record: object) -> None:  # noqa: ANN401 - the driver's own connection
        for pragma in (f"busy_timeout={BUSY_TIMEOUT_MS}", *pragmas):
            connection.execute(f"PRAGMA {pragma}")

    event.listen(engine, "connect", configure)


def _file(url: URL) -> Path | None:
    """The file of an SQLite database, by one name however it was reached; None in memory."""
    return None if url.database in {None, "", ":memory:"} else Path(str(url.database)).resolve()


class WriterLock:
    """The right to write, held until released or until its process ends, however it ends; and the way to use it.

    For an SQLite file it is a lock on a file beside it, and a database in memory needs none. On PostgreSQL it is a lock
    of the very session that writes: whoever loses one loses the other. With a `folder` it is the right to that, too.
    Raises StoreLockedError where another holds it.
    """

    __slots__ = ("_fds", "_session", "engine")

    def __init__(self, engine: Engine, folder: Path | None = None) -> None:
        self.engine = engine  # for those who read
        self._fds: list[int] = []
        self._session: postgres.LockedSession | None = None
        try:
            if engine.dialect.name == "postgresql":
                self._session = postgres.LockedSession(engine)
            elif (path := _file(engine.url)) is not None:
                self._fds.append(_lock(Path(f"{path}.lock"), f"writes to {path}", "a database"))
            if folder is not None:
                self._fds.append(_lock(folder / FOLDER_LOCK, f"works in {folder}", "a data directory"))
        except BaseException:
            self.release()
            raise

    def begin(self) -> AbstractContextManager[Connection]:
        """A transaction that nobody but the holder can commit.

        On PostgreSQL one that fails ends its session; the next one has a new session, which has taken the lock again.
        """
        return self.engine.begin() if self._session is None else self._session.begin()

    @property
    def session(self) -> int:
        """The number of the session that `begin` used last; a new one cannot know what an earlier one committed."""
        return 0 if self._session is None else self._session.number

    def release(self) -> None:
        """Let another one write; harmless when repeated."""
        if self._session is not None:
            self._session.release()
        while self._fds:
            os.close(self._fds.pop())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def _lock(file: Path, does: str, needs: str) -> int:
    """The open lock file. It stays when released: to remove it would let two hold two of them."""
    fd = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.read(fd, 20).decode(errors="replace").strip() or "unknown"
        os.close(fd)
        raise StoreLockedError(
            f"process {holder} {does}: stop it first, or give this daemon {needs} of its own"
        ) from None
    os.ftruncate(fd, 0)
    os.write(fd, b"%d\n" % os.getpid())
    return fd


# Revisions ------------------------------------------------------------------------------------------------------------

# The package beside ours, in a checkout as in an installed wheel.
_MIGRATIONS = Path(__file__).resolve().parents[2] / "migrations"


def prepare(engine: Engine) -> None:
    """Make sure, at a daemon's start and under its lock, that it can work with the tables; SchemaError if it cannot.

    SQLite's are brought to this version. On PostgreSQL a daemon's role may not do that: there they are only checked,
    and so is what the role may do with them.
    """
    if engine.dialect.name == "sqlite":
        upgrade(engine)
        return
    check_version(engine)
    with engine.connect() as connection:
        missing = [
            f"{right} {name}"
            for name, rights in tables.RIGHTS.items()
            for right in rights
            if not connection.scalar(select(func.has_table_privilege(name, right)))
        ]
        role = connection.scalar(select(func.current_user()))
    if missing:
        raise SchemaError(
            f"role {role} may not {', '.join(missing)}: run deploy/postgres/roles.sql again as an administrator"
        )


def upgrade(engine: Engine) -> None:
    """Bring the tables, absent or old ones, to this version's; all or nothing. SchemaError if they are newer."""
    _migrate(engine, command.upgrade, "head")


def downgrade(engine: Engine, revision: str) -> None:
    """Take the tables back to a revision ("base": none); loses what the older ones cannot hold."""
    _migrate(engine, command.downgrade, revision)


def check_version(engine: Engine) -> None:
    """Raise SchemaError unless the tables are exactly this version's."""
    script = ScriptDirectory.from_config(_config())
    with engine.connect() as connection:
        found = _known_revision(connection, script)
    if found != script.get_current_head():
        raise SchemaError(
            f"database is at revision {found or 'none'}, which is older than this version: "
            f"{_UPGRADE[engine.dialect.name]}"
        )


_UPGRADE = {
    "sqlite": "start the daemon once, it upgrades the database",
    "postgresql": "run `execd db upgrade` as the role that owns the tables, then deploy/postgres/roles.sql",
}


def _migrate(engine: Engine, step: Any, revision: str) -> None:  # noqa: ANN401 - one of alembic's commands
    config = _config()
    with engine.connect() as connection:
        if connection.dialect.name == "sqlite":
            connection.exec_driver_sql("BEGIN IMMEDIATE")  # the driver begins no transaction of its own for DDL
        else:
            postgres.wait_for_ever(connection)  # a table of years takes as long as it takes
        _known_revision(connection, ScriptDirectory.from_config(config))
        config.attributes["connection"] = connection
        step(config, revision)
        connection.commit()


def _known_revision(connection: Connection, script: ScriptDirectory) -> str | None:
    found = MigrationContext.configure(connection).get_current_revision()
    if found is not None and found not in {revision.revision for revision in script.walk_revisions()}:
        raise SchemaError(
            f"database is at revision {found}, which this version does not know: "
            "install the newer execd or restore a backup"
        )
    return found


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config
