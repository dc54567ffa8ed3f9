"""PostgreSQL's side of the store: how it is opened, the one session that may write, and rows in bulk.

Every wait has an end. The server ends statements, waits for locks and forgotten transactions; the network ends silent
connections; and where a server neither answers nor goes away, we hang up ourselves.
"""

import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from threading import Lock
from typing import Any

import psycopg
from psycopg.abc import RV, PQGen
from sqlalchemy import URL, Connection, Engine, Table, create_engine, event, func, select, text
from sqlalchemy.dialects import postgresql
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import DBAPIError
from typing_extensions import override

from adapters.store import faults
from adapters.store.faults import StoreLockedError, UnreachableError

CONNECT_TIMEOUT_S = 5  # for each address; a server that is up answers in milliseconds
STATEMENT_TIMEOUT_MS = 10_000  # a full batch takes 20 ms; what takes this long waits for what somebody must see to
LOCK_TIMEOUT_MS = 5_000  # for a table or a row; a migration, or a person's transaction, may hold it for a while
IDLE_TIMEOUT_MS = 60_000  # a transaction of ours is idle only while this process is stopped, and must not block others
ANSWER_TIMEOUT_S = 15.0  # above the server's own limits: it is stopped, or something on the way swallows its answers
KEEPALIVE_IDLE_S = 5  # of silence; with three probes a peer that is gone is noticed within
KEEPALIVE_INTERVAL_S = 2  # some 11 seconds,
KEEPALIVE_PROBES = 3  # by us as by the server, which then frees a dead daemon's lock
SEND_TIMEOUT_MS = 11_000  # the same for what was sent and not acknowledged
POOL_SIZE = 2  # sessions: the journal's and a snapshot's
POOL_EXTRA = 3  # more for questions, closed after use
POOL_TIMEOUT_S = 10  # a session of the pool is free again within milliseconds

# What a URL may say besides role, host and database: where the server is and how the way there is secured. No secret.
PARAMETERS = frozenset(
    {
        *("host", "hostaddr", "port", "service", "target_session_attrs", "load_balance_hosts", "passfile"),
        *("sslmode", "sslnegotiation", "sslrootcert", "sslcert", "sslkey", "sslcrl", "sslcrldir", "sslsni"),
        *("ssl_min_protocol_version", "ssl_max_protocol_version", "channel_binding", "require_auth"),
        *("gssencmode", "krbsrvname", "gsslib"),
    }
)

WRITER_KEY = int.from_bytes(b"execd")  # of the advisory lock; PostgreSQL keeps them apart by database
LOCK_PATIENCE_MS = 1_000  # the server may not have noticed yet that the last writer's session ended

_DURABLE = {"full": "on", "normal": "off"}  # synchronous_commit
_LOCK_NOT_AVAILABLE = "55P03"


_CONNECTION = {
    "connect_timeout": CONNECT_TIMEOUT_S,
    "keepalives_idle": KEEPALIVE_IDLE_S,
    "keepalives_interval": KEEPALIVE_INTERVAL_S,
    "keepalives_count": KEEPALIVE_PROBES,
    "tcp_user_timeout": SEND_TIMEOUT_MS,
}
_OURS = frozenset({*_CONNECTION, "application_name", "options"})


def check_parameters(url: URL) -> None:
    """Raise ValueError for parameters that are set here, and for those that are none of ours: they may be secrets."""
    if taken := sorted(_OURS & url.query.keys()):
        raise ValueError(
            f"the database's URL sets {', '.join(taken)}: leave that out, it is set to what execd relies on"
        )
    if unknown := sorted(url.query.keys() - PARAMETERS):
        raise ValueError(
            f"the database's URL sets {', '.join(unknown)}: leave that out; it may set {', '.join(sorted(PARAMETERS))}"
        )


def open_postgres(url: URL, *, password: str | None, sync: str | None) -> Engine:
    """The database, for writing as durably as `sync` says, or where that is None for reading alone."""
    session = {
        "statement_timeout": STATEMENT_TIMEOUT_MS,
        "lock_timeout": LOCK_TIMEOUT_MS,
        "idle_in_transaction_session_timeout": IDLE_TIMEOUT_MS,
        "tcp_keepalives_idle": KEEPALIVE_IDLE_S,
        "tcp_keepalives_interval": KEEPALIVE_INTERVAL_S,
        "tcp_keepalives_count": KEEPALIVE_PROBES,
        **({"default_transaction_read_only": "on"} if sync is None else {"synchronous_commit": _DURABLE[sync]}),
    }
    given = {
        **_CONNECTION,
        "application_name": f"execd {os.getpid()} on {socket.gethostname()}",
        "options": " ".join(f"-c {name}={value}" for name, value in session.items()),
    }
    engine = create_engine(
        url.set(drivername="postgresql+psycopg"),
        connect_args=given,
        hide_parameters=True,
        pool_size=POOL_SIZE,
        max_overflow=POOL_EXTRA,
        pool_timeout=POOL_TIMEOUT_S,
        pool_pre_ping=True,
    )

    def connect(_dialect: object, _record: object, _args: object, parameters: dict[str, Any]) -> _Session:
        if password is not None:  # it joins the others here and nowhere else: no URL, no repr and no log ever holds it
            parameters = parameters | {"password": password}
        return _Session.connect(**parameters)

    event.listen(engine, "do_connect", connect)
    event.listen(engine, "handle_error", _unreachable, retval=True)
    return engine


def wait_for_ever(connection: Connection) -> None:
    """Put no bound on statements of this session, which is closed behind them. Waits for locks keep theirs."""
    driver = _driver(connection)
    assert isinstance(driver, _Session)
    driver.patience_s = None
    connection.detach()
    connection.execute(text("SET LOCAL statement_timeout = 0"))


class _Session(psycopg.Connection[Any]):
    """A connection that ends when the server does not answer within `patience_s`; None waits for ever."""

    patience_s: float | None = ANSWER_TIMEOUT_S

    @override
    def wait(self, gen: PQGen[RV], interval: float = 0.1, timeout: float | None = None) -> RV:
        try:
            return super().wait(gen, interval, timeout or self.patience_s)
        except psycopg.errors._WaitTimeout as error:  # noqa: SLF001 - psycopg names it in `wait`'s own documentation
            self.close()  # what the server does now, it does without us
            raise psycopg.OperationalError(f"no answer on this connection within {self.patience_s:.0f} s") from error


def _unreachable(context: ExceptionContext) -> UnreachableError | None:
    """In place of SQLAlchemy's error, where there is no session yet."""
    if context.connection is not None or context.engine is None or context.is_pre_ping:
        return None
    where = context.engine.url.set(drivername="postgresql", query={}).render_as_string()
    return UnreachableError(f"{where} cannot be used: {faults.describe(context.original_exception)}")


# The one session that may write ---------------------------------------------------------------------------------------


class LockedSession:
    """The session that holds the database's advisory lock; opened again when it is lost. Raises StoreLockedError.

    Lock and session end together on the server, and a session's transaction ends before its lock is free: whoever holds
    the lock knows that no earlier writer can commit any more, not even by a COMMIT that is still on its way.
    """

    __slots__ = ("_backend", "_busy", "_connection", "_engine", "_released", "number")

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._busy = Lock()
        self._released = False
        self._backend: tuple[int, object] | None = None  # process id and start of the last session's server process
        self._connection: Connection | None = None
        self.number = 0  # of sessions so far: a new one must not assume what an earlier one has committed
        with self._busy:
            self._open()

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        """A transaction, committed at the end. Whatever is raised ends the session; the next can see what it did."""
        with self._busy:
            connection = self._connection or self._open()
            try:
                transaction = connection.begin()
                yield connection
                transaction.commit()
            except BaseException:
                self._drop()
                raise
            finally:
                if self._released:
                    self._drop()

    def release(self) -> None:
        """End the session, or let the transaction that is under way be its last; never waits."""
        self._released = True
        if self._busy.acquire(blocking=False):
            self._drop()
            self._busy.release()

    def _open(self) -> Connection:
        if self._released:
            raise StoreLockedError("this process has given the database up")
        connection = self._engine.connect()
        try:
            self._backend = _lock(connection, self._backend)
        except BaseException:
            _hang_up(connection)
            raise
        self.number += 1
        self._connection = connection
        return connection

    def _drop(self) -> None:
        if self._connection is not None:
            _hang_up(self._connection)
            self._connection = None


def _lock(connection: Connection, ours: tuple[int, object] | None) -> tuple[int, object]:
    """Take the lock; returns the session's server process."""
    try:
        with connection.begin():
            connection.execute(text(f"SET LOCAL lock_timeout = {LOCK_PATIENCE_MS}"))
            connection.execute(select(func.pg_advisory_lock(WRITER_KEY)))
            row = connection.execute(_OURSELVES).one()
            return row.pid, row.backend_start
    except DBAPIError as error:
        if faults.sqlstate(error) != _LOCK_NOT_AVAILABLE:
            raise
        with connection.begin():
            holder = connection.execute(_HOLDER, {"key": WRITER_KEY}).first()
            if holder is None:
                raise  # it has just gone
            if (holder.pid, holder.backend_start) != ours:
                raise StoreLockedError(
                    f"{holder.application_name or 'somebody else'} (server process {holder.pid}) writes to "
                    f"{connection.engine.url.database}: stop it first, or give this daemon a database of its own"
                ) from error
            # the last session of ours, whose end of the line the server still believes in
            connection.execute(select(func.pg_terminate_backend(holder.pid)))
        raise


_OURSELVES = text("SELECT pid, backend_start FROM pg_stat_activity WHERE pid = pg_backend_pid()")
_HOLDER = text("""
    SELECT pid, backend_start, application_name
    FROM pg_locks JOIN pg_stat_activity USING (pid) JOIN pg_database ON pg_database.oid = pg_locks.database
    WHERE locktype = 'advisory' AND granted AND objsubid = 1 AND pg_database.datname = current_database()
      AND (classid::bigint << 32) + objid::bigint = :key
""")


def _hang_up(connection: Connection) -> None:
    """Close a session without a word to the server, which rolls back what was open."""
    connection.invalidate()
    connection.close()


# Rows in bulk ---------------------------------------------------------------------------------------------------------


class Copy:
    """Rows of a table by COPY: for many of them two thirds of the cost of an INSERT, for few the same."""

    __slots__ = ("_sql", "_types")

    def __init__(self, table: Table) -> None:
        dialect = postgresql.dialect()  # type: ignore[no-untyped-call]  # ships half typed
        self._types = [column.type.compile(dialect).lower() for column in table.columns]
        self._sql = f"COPY {table.name} ({', '.join(table.columns.keys())}) FROM STDIN (FORMAT BINARY)"

    def run(self, connection: Connection, rows: Sequence[tuple[Any, ...]]) -> None:
        """Add the rows, values in the order of the table's columns."""
        with _driver(connection).cursor() as cursor, cursor.copy(self._sql) as copy:
            copy.set_types(self._types)
            for row in rows:
                copy.write_row(row)


def execute(connection: Connection, sql: str, values: tuple[Any, ...]) -> None:
    """Run a statement with the server's own placeholders, `$1` and on.

    Any other kind is taken apart by psycopg, long ones at each run: two thirds of the time of a statement of many rows.
    """
    with psycopg.RawCursor(_driver(connection)) as cursor:
        cursor.execute(sql.encode(), values)


def _driver(connection: Connection) -> psycopg.Connection[Any]:
    driver = connection.connection.driver_connection
    assert isinstance(driver, psycopg.Connection)
    return driver
