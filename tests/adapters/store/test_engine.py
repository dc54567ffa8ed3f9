"""One writer at a time, readers that disturb nobody, and no database of another version."""

import os
import re
import subprocess
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, inspect, text
from sqlalchemy.exc import DBAPIError

from adapters.store.engine import (
    SchemaError,
    StoreLockedError,
    Sync,
    WriterLock,
    check_url,
    check_version,
    downgrade,
    open_engine,
    open_readonly,
    prepare,
    upgrade,
)
from adapters.store.journal import Journal, read
from adapters.store.postgres import PARAMETERS
from tests.adapters.store import examples
from tests.servers.postgres import Server

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def file_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/a b#%25.db"


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, file_url: str) -> str:
    """Of a new database without tables."""
    if request.param == "sqlite":
        return file_url
    server: Server = request.getfixturevalue("postgres")
    return server.url(server.create())


@pytest.fixture
def engine(url: str) -> Iterator[Engine]:
    engine = open_engine(url)
    yield engine
    engine.dispose()


@pytest.fixture
def file_engine(file_url: str) -> Iterator[Engine]:
    engine = open_engine(file_url)
    yield engine
    engine.dispose()


def pragma(engine: Engine, name: str) -> object:
    with engine.connect() as connection:
        return connection.exec_driver_sql(f"PRAGMA {name}").scalar_one()


# Opening --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sync,level", [("full", 2), ("normal", 1)])
def test_durability_is_a_setting_of_a_file(file_url: str, sync: Sync, level: int) -> None:
    engine = open_engine(file_url, sync=sync)
    expected = {"synchronous": level, "journal_mode": "wal", "busy_timeout": 5000, "foreign_keys": 0}
    assert {name: pragma(engine, name) for name in expected} == expected
    engine.dispose()


def test_a_reader_sees_what_is_committed_and_cannot_write(url: str, engine: Engine) -> None:
    upgrade(engine)
    reader = open_readonly(url)
    check_version(reader)
    with WriterLock(engine) as lock:
        journal = Journal(lock, threaded=False)
        for seq, event in examples.ENTRIES:
            journal.put((seq, event))
        assert list(read(reader)) == []
        journal.flush()
        assert list(read(reader)) == examples.ENTRIES
    with reader.connect() as connection, pytest.raises(DBAPIError, match=r"read-?only"):
        connection.execute(text("DELETE FROM journal"))
    reader.dispose()


def test_a_reader_that_is_reading_does_not_hold_up_the_writer(url: str, engine: Engine) -> None:
    upgrade(engine)
    reader = open_readonly(url)
    with reader.connect().execution_options(isolation_level="SERIALIZABLE") as connection:
        if reader.dialect.name == "sqlite":
            connection.exec_driver_sql("BEGIN")
        assert connection.execute(text("SELECT count(*) FROM journal")).scalar_one() == 0
        with WriterLock(engine) as lock:
            journal = Journal(lock, threaded=False)
            journal.put(examples.ENTRIES[0])
            journal.flush()
        assert connection.execute(text("SELECT count(*) FROM journal")).scalar_one() == 0  # its own picture
    reader.dispose()


def test_a_database_that_the_daemon_left_can_be_read(url: str, engine: Engine) -> None:
    upgrade(engine)
    engine.dispose()
    reader = open_readonly(url)
    check_version(reader)
    reader.dispose()


def test_looking_at_a_file_that_is_not_there_makes_none(file_url: str, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="start the daemon once"):
        open_readonly(file_url)
    with pytest.raises(ValueError, match="in memory"):
        open_readonly("sqlite://")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "url,said",
    [
        (
            "mysql://db/execd",
            "mysql is not a database for execd: write sqlite:///FILE or postgresql://ROLE@HOST/DATABASE",
        ),
        ("execd.db", "the database's URL cannot be read: write sqlite:///FILE or postgresql://ROLE@HOST/DATABASE"),
        ("postgresql://execd@db:port/execd", "the database's URL cannot be read: write"),
        ("postgresql://execd:secret@db/execd", "the database's URL holds a password: take it out"),
        ("postgresql://execd@db/execd?password=secret", "the database's URL holds a password: take it out"),
        ("postgresql://execd:secret@db:port/execd", "the database's URL cannot be read: write"),
        (
            "postgresql://execd@db/execd?sslmode=require&options=-c%20fsync=off&connect_timeout=60",
            "the database's URL sets connect_timeout, options: leave that out",
        ),
        (
            "postgresql://execd@db/execd?sslmode=require&sslpassword=secret",
            "the database's URL sets sslpassword: leave that out; it may set channel_binding, ",
        ),
        ("postgresql://execd@db/execd?pasword=secret", "the database's URL sets pasword: leave that out; "),
        ("sqlite:///execd.db?key=secret", "the database's URL says more than the name of a file: write sqlite:///FILE"),
    ],
)
def test_a_url_that_cannot_be_used_is_refused_without_repeating_it(url: str, said: str) -> None:
    for opening in (check_url, open_engine, open_readonly):
        with pytest.raises(ValueError, match=f"^{re.escape(said)}") as caught:
            opening(url)
        assert "secret" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("prefix", ["postgres", "postgresql", "postgresql+psycopg", "postgresql+psycopg2"])
def test_every_spelling_of_postgresql_is_opened_by_one_driver(prefix: str) -> None:
    engine = open_engine(f"{prefix}://execd@db/execd")
    assert str(engine.url) == "postgresql+psycopg://execd@db/execd"


def test_what_secures_the_way_may_be_said() -> None:
    for name in PARAMETERS:
        check_url(f"postgresql://execd@db/execd?{name}=1")
        open_engine(f"postgresql://execd@db/execd?{name}=1").dispose()


# One writer -----------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("impatient")
def test_a_second_writer_is_refused_until_the_first_lets_go(engine: Engine) -> None:
    with WriterLock(engine) as first:
        with pytest.raises(StoreLockedError, match=rf"\b{os.getpid()} .*writes to .*: stop it first"):
            WriterLock(engine)
        first.release()
        first.release()
        with WriterLock(engine):
            pass


def test_a_second_name_of_the_file_does_not_help(file_engine: Engine, tmp_path: Path) -> None:
    upgrade(file_engine)
    (tmp_path / "other.db").symlink_to(tmp_path / "a b#%.db")
    with WriterLock(file_engine), pytest.raises(StoreLockedError):
        WriterLock(open_engine(f"sqlite:///{tmp_path}/other.db"))


_HOLD = """
import sys
from adapters.store.engine import WriterLock, open_engine
lock = WriterLock(open_engine(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


@pytest.mark.usefixtures("impatient")
def test_the_lock_of_a_killed_process_is_free(url: str, engine: Engine) -> None:
    command = [sys.executable, "-c", _HOLD, url]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(StoreLockedError, match=rf"\b{other.pid} "):
            WriterLock(engine)
        other.kill()
        other.wait()
        WriterLock(engine).release()


@pytest.mark.usefixtures("impatient")
def test_the_right_to_a_folder_is_anothers_whatever_the_database(engine: Engine, tmp_path: Path) -> None:
    other = open_engine("sqlite://")
    with WriterLock(other, tmp_path):
        with pytest.raises(StoreLockedError, match=rf"^process {os.getpid()} works in {tmp_path}: stop it first"):
            WriterLock(engine, tmp_path)
        WriterLock(engine).release()  # whoever is turned away keeps nothing
    WriterLock(engine, tmp_path).release()
    other.dispose()


def test_a_database_in_memory_needs_no_lock() -> None:
    engine = open_engine("sqlite://")
    with WriterLock(engine), WriterLock(engine):
        engine.dispose()


# Revisions ------------------------------------------------------------------------------------------------------------


def test_a_newer_database_is_refused_and_left_alone(engine: Engine) -> None:
    upgrade(engine)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    for act in (upgrade, prepare, check_version, lambda e: downgrade(e, "base")):
        with pytest.raises(SchemaError, match="revision 9999, which this version does not know: install the newer"):
            act(engine)
    assert inspect(engine).has_table("journal")


def test_an_older_file_is_upgraded_by_the_daemon_alone(file_engine: Engine) -> None:
    with pytest.raises(SchemaError, match="revision none, which is older than this version: start the daemon once"):
        check_version(file_engine)
    prepare(file_engine)
    check_version(file_engine)
    prepare(file_engine)  # nothing to do
    check_version(file_engine)


def test_an_older_database_of_a_server_is_upgraded_by_its_owner_alone(postgres: Server) -> None:
    engine = open_engine(postgres.url(postgres.create()))
    for check in (check_version, prepare):
        with pytest.raises(
            SchemaError, match="revision none, which is older than this version: run `execd db upgrade`"
        ):
            check(engine)
    upgrade(engine)
    prepare(engine)
    upgrade(engine)  # nothing to do
    prepare(engine)
    engine.dispose()


def test_an_upgrade_that_fails_half_way_leaves_nothing(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE orders (mine INTEGER)"))
    with pytest.raises(DBAPIError, match=r'orders"? already exists'):
        upgrade(engine)
    assert inspect(engine).get_table_names() == ["orders"]
    with engine.begin() as connection:
        connection.execute(text("DROP TABLE orders"))
    upgrade(engine)
    check_version(engine)
