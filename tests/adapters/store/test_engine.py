"""One writer at a time, readers that disturb nobody, and no database of another version."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, inspect, text
from sqlalchemy.exc import OperationalError

from adapters.store.engine import (
    SchemaError,
    StoreLockedError,
    Sync,
    WriterLock,
    check_version,
    downgrade,
    open_engine,
    open_readonly,
    upgrade,
)
from adapters.store.journal import Journal, read
from tests.adapters.store import examples

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/a b#%25.db"


@pytest.fixture
def engine(url: str) -> Iterator[Engine]:
    engine = open_engine(url)
    yield engine
    engine.dispose()


def pragma(engine: Engine, name: str) -> object:
    with engine.connect() as connection:
        return connection.exec_driver_sql(f"PRAGMA {name}").scalar_one()


# Opening --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sync,level", [("full", 2), ("normal", 1)])
def test_durability_is_a_setting(url: str, sync: Sync, level: int) -> None:
    engine = open_engine(url, sync=sync)
    expected = {"synchronous": level, "journal_mode": "wal", "busy_timeout": 5000, "foreign_keys": 0}
    assert {name: pragma(engine, name) for name in expected} == expected
    engine.dispose()


def test_a_reader_sees_what_is_committed_and_cannot_write(url: str, engine: Engine) -> None:
    upgrade(engine)
    journal = Journal(engine, threaded=False)
    reader = open_readonly(url)
    check_version(reader)
    for seq, event in examples.ENTRIES:
        journal.put((seq, event))
    assert list(read(reader)) == []
    journal.flush()
    assert list(read(reader)) == examples.ENTRIES
    with reader.connect() as connection, pytest.raises(OperationalError, match="readonly"):
        connection.execute(text("DELETE FROM journal"))
    reader.dispose()


def test_a_reader_that_is_reading_does_not_hold_up_the_writer(url: str, engine: Engine) -> None:
    upgrade(engine)
    reader = open_readonly(url)
    with reader.connect() as connection:
        connection.exec_driver_sql("BEGIN")
        assert connection.execute(text("SELECT count(*) FROM journal")).scalar_one() == 0
        journal = Journal(engine, threaded=False)
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


def test_looking_at_a_database_that_is_not_there_makes_none(url: str, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="start the daemon once"):
        open_readonly(url)
    with pytest.raises(ValueError, match="in memory"):
        open_readonly("sqlite://")
    assert list(tmp_path.iterdir()) == []


# One writer -----------------------------------------------------------------------------------------------------------


def test_a_second_writer_is_refused_until_the_first_lets_go(engine: Engine) -> None:
    with WriterLock(engine) as first:
        with pytest.raises(StoreLockedError, match=rf"process {os.getpid()} writes to .*: stop it first"):
            WriterLock(engine)
        first.release()
        with WriterLock(engine):
            pass


def test_a_second_name_of_the_database_does_not_help(engine: Engine, tmp_path: Path) -> None:
    upgrade(engine)
    (tmp_path / "other.db").symlink_to(tmp_path / "a b#%.db")
    with WriterLock(engine), pytest.raises(StoreLockedError):
        WriterLock(open_engine(f"sqlite:///{tmp_path}/other.db"))


_HOLD = """
import sys
from adapters.store.engine import WriterLock, open_engine
lock = WriterLock(open_engine(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


def test_the_lock_of_a_killed_process_is_free(url: str, engine: Engine) -> None:
    command = [sys.executable, "-c", _HOLD, url]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(StoreLockedError, match=f"process {other.pid} "):
            WriterLock(engine)
        other.kill()
        other.wait()
        WriterLock(engine).release()


def test_a_database_in_memory_needs_no_lock() -> None:
    engine = open_engine("sqlite://")
    with WriterLock(engine), WriterLock(engine):
        engine.dispose()


# Revisions ------------------------------------------------------------------------------------------------------------


def test_a_newer_database_is_refused_and_left_alone(engine: Engine) -> None:
    upgrade(engine)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    for act in (upgrade, check_version, lambda e: downgrade(e, "base")):
        with pytest.raises(SchemaError, match="revision 9999, which this version does not know: install the newer"):
            act(engine)
    assert inspect(engine).has_table("journal")


def test_an_older_database_is_upgraded_by_the_daemon_alone(engine: Engine) -> None:
    with pytest.raises(SchemaError, match="revision none, which is older"):
        check_version(engine)
    upgrade(engine)
    check_version(engine)
    upgrade(engine)  # nothing to do
    check_version(engine)


def test_an_upgrade_that_fails_half_way_leaves_nothing(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE orders (mine INTEGER)"))
    with pytest.raises(OperationalError, match="orders already exists"):
        upgrade(engine)
    assert inspect(engine).get_table_names() == ["orders"]
    with engine.begin() as connection:
        connection.execute(text("DROP TABLE orders"))
    upgrade(engine)
    check_version(engine)
