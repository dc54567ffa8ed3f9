"""Opening the database: durability, one writer at a time, and the revision of its tables.

A daemon opens in this order: `open_engine`, `WriterLock`, `upgrade`, then the journal. Whoever only looks uses
`open_readonly`, which cannot disturb it.
"""

import fcntl
import os
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self
from urllib.parse import quote

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.pool import StaticPool

BUSY_TIMEOUT_MS = 5_000  # a backup or a snapshot may hold the database for that long

Sync = Literal["full", "normal"]
"""What a commit survives: `full` a loss of power, `normal` a killed process."""


class SchemaError(Exception):
    """The database's tables are not those of this version."""


class StoreLockedError(Exception):
    """Another process writes to this database."""


def open_engine(url: str, *, sync: Sync = "full") -> Engine:
    """The database for its one writer. `sqlite://` is a database in memory, for tests and simulations."""
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite":
        return create_engine(parsed)
    if _file(parsed) is None:  # one connection, shared, or else each thread would see a database of its own
        engine = create_engine(parsed, poolclass=StaticPool, connect_args={"check_same_thread": False})
    else:
        engine = create_engine(parsed)
    pragmas = ("journal_mode=WAL", f"synchronous={sync.upper()}", "foreign_keys=OFF")
    _on_connect(engine, *pragmas)
    return engine


def open_readonly(url: str) -> Engine:
    """The database for whoever looks; raises FileNotFoundError where there is none."""
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite":
        return create_engine(parsed, execution_options={"postgresql_readonly": True})
    path = _file(parsed)
    if path is None:
        raise ValueError("a database in memory cannot be opened twice: use the engine that made it")
    if not path.exists():
        raise FileNotFoundError(f"there is no database {path}: start the daemon once, or name another one")
    uri = URL.create(parsed.drivername, database=f"file:{quote(str(path))}", query={"mode": "ro", "uri": "true"})
    engine = create_engine(uri)
    _on_connect(engine, "query_only=ON")
    return engine


def _on_connect(engine: Engine, *pragmas: str) -> None:
    def configure(connection: Any, _record: object) -> None:  # noqa: ANN401 - the driver's own connection
        for pragma in (f"busy_timeout={BUSY_TIMEOUT_MS}", *pragmas):
            connection.execute(f"PRAGMA {pragma}")

    event.listen(engine, "connect", configure)


def _file(url: URL) -> Path | None:
    """The file of an SQLite database, by one name however it was reached; None in memory."""
    return None if url.database in {None, "", ":memory:"} else Path(str(url.database)).resolve()


class WriterLock:
    """Held by the one writer of an SQLite file, until released or until its process ends, however it ends.

    Raises StoreLockedError where another one holds it. Other databases are locked elsewhere: here this does nothing.
    """

    __slots__ = ("_fd",)

    def __init__(self, engine: Engine) -> None:
        self._fd: int | None = None
        path = _file(engine.url) if engine.dialect.name == "sqlite" else None
        if path is not None:
            self._fd = _lock(path)

    def release(self) -> None:
        """Let another one write; harmless when repeated."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def _lock(database: Path) -> int:
    """The open lock file beside the database. It stays when released: to remove it would let two hold two of them."""
    fd = os.open(f"{database}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.read(fd, 20).decode(errors="replace").strip() or "unknown"
        os.close(fd)
        raise StoreLockedError(
            f"process {holder} writes to {database}: stop it first, or give this daemon a database of its own"
        ) from None
    os.ftruncate(fd, 0)
    os.write(fd, b"%d\n" % os.getpid())
    return fd


# Revisions ------------------------------------------------------------------------------------------------------------

# The package beside ours, in a checkout as in an installed wheel.
_MIGRATIONS = Path(__file__).resolve().parents[2] / "migrations"


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
            "start the daemon once, it upgrades the database"
        )


def _migrate(engine: Engine, step: Any, revision: str) -> None:  # noqa: ANN401 - one of alembic's commands
    config = _config()
    with engine.connect() as connection:
        if connection.dialect.name == "sqlite":
            connection.exec_driver_sql("BEGIN IMMEDIATE")  # the driver begins no transaction of its own for DDL
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
