"""Which errors pass by themselves, and what is said of each."""

import sqlite3
from pathlib import Path

import psycopg
import pytest
from psycopg import errors
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from adapters.store import faults
from adapters.store.faults import UnreachableError

# Everything that a PostgreSQL server can answer.
ANSWERS = [kind for kind in vars(errors).values() if isinstance(kind, type) and getattr(kind, "sqlstate", None)]


def test_of_all_that_a_server_can_answer_these_pass_and_nothing_else() -> None:
    assert len(ANSWERS) > 200
    assert {kind.__name__ for kind in ANSWERS if faults.passes(kind("said"))} == {
        "AdminShutdown",
        "CannotConnectNow",
        "ConnectionDoesNotExist",
        "ConnectionException",
        "ConnectionFailure",
        "CrashShutdown",
        "DeadlockDetected",
        "IdleInTransactionSessionTimeout",
        "IdleSessionTimeout",
        "LockNotAvailable",
        "QueryCanceled",
        "ReadOnlySqlTransaction",
        "SerializationFailure",
        "SqlclientUnableToEstablishSqlconnection",
        "SqlserverRejectedEstablishmentOfSqlconnection",
        "TooManyConnections",
        "TransactionResolutionUnknown",
    }


def test_a_connection_that_fails_without_a_word_passes_and_a_wrong_use_of_the_driver_does_not() -> None:
    lost = psycopg.OperationalError("consuming input failed: server closed the connection unexpectedly\n\tThis means")
    assert faults.passes(lost)
    assert faults.passes(OperationalError("SELECT 1", None, lost))
    assert faults.passes(UnreachableError("x cannot be used: Connection refused: start it"))
    assert faults.passes(PoolTimeoutError("QueuePool limit reached"))
    assert not faults.passes(psycopg.InterfaceError("the cursor is closed"))
    assert not faults.passes(psycopg.DataError("NUL"))
    assert not faults.passes(OSError("disk is full"))


def test_a_file_that_is_held_passes_and_a_broken_one_does_not(tmp_path: Path) -> None:
    first, second = (sqlite3.connect(tmp_path / "a.db", timeout=0, isolation_level=None) for _ in range(2))
    first.execute("BEGIN IMMEDIATE")
    with pytest.raises(sqlite3.OperationalError) as held:
        second.execute("BEGIN IMMEDIATE")
    assert faults.passes(held.value)
    assert faults.describe(held.value) == ("database is locked: another program holds it, try again when that is done")
    for connection in (first, second):
        connection.close()
    (tmp_path / "b.db").write_bytes(b"no database at all" * 100)
    broken = sqlite3.connect(tmp_path / "b.db")
    with pytest.raises(sqlite3.DatabaseError) as caught:
        broken.execute("SELECT * FROM t")
    broken.close()
    assert not faults.passes(caught.value)
    assert faults.describe(caught.value) == ("file is not a database: restore a backup, and keep this one as evidence")
    assert not faults.passes(sqlite3.ProgrammingError("made by the module: has no code"))


@pytest.mark.parametrize(
    "error,said",
    [
        (
            DBAPIError(
                "INSERT INTO t VALUES ('secret')", None, errors.DiskFull("could not extend file: No space left")
            ),
            "could not extend file: No space left: make room on the server's disk and start again",
        ),
        (
            psycopg.OperationalError("server closed the connection unexpectedly\n\tThis probably means"),
            (
                "server closed the connection unexpectedly: "
                "see that the server runs and can be reached, and check host and port"
            ),
        ),
        (
            errors.DeadlockDetected("deadlock detected"),
            "deadlock detected: it should pass, see to the server if it does not",
        ),
        (errors.UniqueViolation("duplicate key"), "duplicate key: repair the database and restart"),
        (
            psycopg.OperationalError(
                'connection failed: connection to server on socket "/a/.s.PGSQL.5432" failed: '
                "FATAL:  the database system is starting up\nMultiple connection attempts failed"
            ),
            "the database system is starting up: wait until the server is up",
        ),
        (UnreachableError("x cannot be used: it is away: start it"), "x cannot be used: it is away: start it"),
    ],
)
def test_an_error_is_described_in_one_sentence_that_says_what_to_do(error: Exception, said: str) -> None:
    assert faults.describe(error) == said
