"""What an error of the database means: whether it passes by itself, and what a person can do about it.

An error passes where the same transaction may be tried again and nothing else needs to change: the server is away,
full, read-only or slow to answer. Whatever is not known to pass does not.
"""

import sqlite3

import psycopg
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError


class StoreLockedError(Exception):
    """Another process writes to this database."""


class UnreachableError(SQLAlchemyError):
    """There is no session with the database, and so nothing was done."""


RAISED = (DBAPIError, psycopg.Error, UnreachableError, PoolTimeoutError)
"""What using a database raises: through SQLAlchemy, or through psycopg where it is called directly."""

# PostgreSQL by SQLSTATE. The session is given up in any case: the next one finds out what was committed.
_PASSING = frozenset(
    {
        *("08000", "08001", "08003", "08004", "08006", "08007"),  # the connection
        "25006",  # read-only: a standby, until it is promoted
        "25P03",  # idle within a transaction: this process was stopped for a while
        *("40001", "40P01"),  # serialization, deadlock
        "53300",  # too many connections
        *("55P03", "57014"),  # waited too long for a lock, or altogether
        *("57P01", "57P02", "57P03", "57P05"),  # the server goes down, crashed, comes up; the session was ended
    }
)
_PASSING_SQLITE = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})  # another process holds the file for long

_ROLES = "run deploy/postgres/roles.sql as an administrator"
_RESTORE = "restore a backup, and keep this one as evidence"
_WAIT = "wait until the server is up"
_ROOM = "end what else is connected, or raise the server's max_connections"
_RIGHTS = "check the rights to the data directory"
# What to do, by what the database says; the first that fits.
_REMEDIES = {
    "password": "check the role and its password",
    "no pg_hba.conf entry": "let this role and host in, in the server's pg_hba.conf",
    "permission denied": _ROLES,
    "too many": _ROOM,
    "connection slots": _ROOM,
    "the database system is": _WAIT,
    'role "': f"{_ROLES}, or check the role's name",
    'database "': "create it, or check its name",
    "read-only transaction": "point the URL to the server that takes writes",
    "No space left": "make room on the server's disk and start again",
    "is full": "make room on the disk and start again",
    "I/O error": "see whether the disk is sound and has room",
    "locked": "another program holds it, try again when that is done",
    "unable to open": _RIGHTS,
    "readonly": _RIGHTS,
    "malformed": _RESTORE,
    "not a database": _RESTORE,
    "invalid page": _RESTORE,
}
_REACH = "see that the server runs and can be reached, and check host and port"
_PASSES = "it should pass, see to the server if it does not"
_REPAIR = "repair the database and restart"


def passes(error: BaseException) -> bool:
    """Whether the same may be tried again as it is: it was not done, or the journal's tail tells whether it was."""
    cause = _cause(error)
    if isinstance(cause, psycopg.Error):
        return cause.sqlstate in _PASSING if cause.sqlstate else _is_of_the_line(cause)
    if isinstance(cause, sqlite3.Error):
        return getattr(cause, "sqlite_errorcode", 0) & 0xFF in _PASSING_SQLITE  # the module's own errors have no code
    return isinstance(cause, UnreachableError | PoolTimeoutError)


def words(error: BaseException) -> str:
    """What the database said, in one line and without the statement."""
    cause = _cause(error)
    if isinstance(cause, psycopg.Error):
        said = cause.diag.message_primary or str(cause).partition("\n")[0].rpartition(" failed: ")[2]
        return " ".join(said.removeprefix("FATAL:").split())
    return " ".join(str(cause).split())


def remedy(error: BaseException) -> str:
    """What to do about it."""
    said = words(error)
    for part, advice in _REMEDIES.items():
        if part in said:
            return advice
    if _is_of_the_line(_cause(error)):
        return _REACH
    return _PASSES if passes(error) else _REPAIR


def describe(error: BaseException) -> str:
    """What the database said, and what to do about it."""
    return str(error) if isinstance(error, UnreachableError) else f"{words(error)}: {remedy(error)}"


def sqlstate(error: BaseException) -> str | None:
    """PostgreSQL's name for the error; None where it gave none."""
    cause = _cause(error)
    return cause.sqlstate if isinstance(cause, psycopg.Error) else None


def _is_of_the_line(cause: BaseException) -> bool:
    """Whether it is the connection that failed: the server said nothing, or could not be asked."""
    return isinstance(cause, psycopg.OperationalError) and cause.sqlstate is None


def _cause(error: BaseException) -> BaseException:
    """The driver's own error."""
    return error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
