"""Three roles with what each needs: the owner changes tables, the daemon cannot change the journal, a reader reads."""

import os
from collections import defaultdict

import pytest
from hypothesis import given, settings
from sqlalchemy import Engine, Executable, delete, insert, select, text
from sqlalchemy.exc import DBAPIError

from adapters.store import queries, snapshots
from adapters.store.engine import (
    SchemaError,
    StoreLockedError,
    UnreachableError,
    WriterLock,
    check_version,
    downgrade,
    open_engine,
    prepare,
)
from adapters.store.journal import Journal, read, verify
from adapters.store.projections import Op, project
from adapters.store.tables import CHANGED, RIGHTS, metadata
from adapters.store.writer import JournalError
from core.events import Event, SignalDead, TimeAdvanced
from tests.adapters.store import examples
from tests.adapters.store.support import SEQUENCES, Trading, contents, journaled
from tests.servers.postgres import Server

Granted = dict[str, set[str]]
EVERYTHING = {name: set(rights) for name, rights in RIGHTS.items()} | {"alembic_version": {"SELECT"}}


def granted(trading: Trading, role: str) -> Granted:
    """What a role may do with which table."""
    rows = trading.server.sql(
        "SELECT table_name, privilege_type, grantee FROM information_schema.role_table_grants", trading.name
    )
    found: defaultdict[str, set[str]] = defaultdict(set)
    for table, right, grantee in rows:
        if grantee in {role, "PUBLIC"}:
            found[table].add(right)
    return {table: rights for table, rights in found.items() if table in EVERYTHING}


def refused(engine: Engine, statement: str | Executable) -> None:
    with engine.connect() as connection, pytest.raises(DBAPIError, match=r"permission denied|must be owner|read-only"):
        connection.execute(text(statement) if isinstance(statement, str) else statement)


def test_each_role_is_granted_what_it_needs_and_nothing_more(trading: Trading) -> None:
    assert granted(trading, "execd") == EVERYTHING
    assert granted(trading, "execd_reader") == {table: {"SELECT"} for table in EVERYTHING}


@settings(max_examples=100)
@given(SEQUENCES)
def test_only_tables_that_change_are_written_twice(entries: list[tuple[int, Event]]) -> None:
    writes = [write for seq, event in entries for write in project(seq, event)]
    assert {table for table, op, _ in writes if op is Op.UPSERT} <= CHANGED


def test_the_daemon_can_do_all_of_its_work(trading: Trading) -> None:
    engine = trading.engine("execd")
    entries = [
        *examples.ENTRIES,
        (16, examples.busted(22, "P1C1A1", "e1")),
        (17, SignalDead(ts=23, source="redis", reason="not JSON", text="{")),
    ]
    with WriterLock(engine) as lock:
        prepare(engine)
        journal = Journal(lock, threaded=True)
        for entry in entries:
            journal.put(entry)
        journal.flush()
        for seq in (15, 16, 17):
            snapshots.save(engine, snapshots.Snapshot(seq, seq, journal.tail_hash, {}))
        journal.close()
    found, notes = snapshots.load_latest(engine)
    assert (found, notes) == (snapshots.Snapshot(17, 17, journal.tail_hash, {}), [])
    assert list(read(engine)) == entries
    assert queries.recorded_executions(engine, "paper", ["e1", "e2"]) == {"e1"}
    expected = contents(journaled(entries), without="snapshots")
    assert contents(engine, without="snapshots") == expected


def test_the_daemon_cannot_change_what_is_in_the_journal(trading: Trading) -> None:
    daemon = trading.engine("execd")
    refused(daemon, "UPDATE journal SET payload = '{}'")
    refused(daemon, "DELETE FROM journal")
    refused(daemon, "TRUNCATE journal")


def test_the_daemon_cannot_change_a_table_or_empty_it(trading: Trading) -> None:
    daemon = trading.engine("execd")
    for table in EVERYTHING:
        refused(daemon, f"ALTER TABLE {table} ADD COLUMN x text")
        refused(daemon, f"ALTER TABLE {table} OWNER TO execd")
        refused(daemon, f"DROP TABLE {table}")
        refused(daemon, f"TRUNCATE {table}")


def test_the_daemon_makes_no_tables_and_no_migrations(trading: Trading) -> None:
    daemon = trading.engine("execd")
    refused(daemon, "CREATE TABLE mine (x text)")
    refused(daemon, "CREATE TEMP TABLE mine (x text)")
    refused(daemon, "UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(DBAPIError, match="must be owner"):
        downgrade(daemon, "base")
    check_version(daemon)


def test_a_reader_reads_everything_and_changes_nothing(trading: Trading) -> None:
    with WriterLock(trading.engine("execd")) as lock:
        journal = Journal(lock, threaded=False)
        journal.put(*examples.ENTRIES)
        journal.close()
    reader = trading.engine("execd_reader")
    check_version(reader)
    assert verify(reader) == (15, journal.tail_hash)
    assert contents(reader) == contents(journaled(examples.ENTRIES))
    assert [row["cl_ord_id"] for row in queries.orders(reader)] == ["P1C1A1"]
    insistent = open_engine(trading.server.url(trading.name, "execd_reader"), password="of the reader")
    for engine in (reader, insistent):
        for table in metadata.sorted_tables:
            refused(engine, insert(table).from_select(table.columns.keys(), select(table)))
            refused(engine, delete(table))
        refused(engine, "UPDATE meta SET value = ''")
        refused(engine, "TRUNCATE journal")
        refused(engine, "CREATE TABLE mine (x text)")
    insistent.dispose()


def test_nobody_else_comes_in(trading: Trading) -> None:
    trading.server.sql("DROP ROLE IF EXISTS stranger; CREATE ROLE stranger LOGIN")
    stranger = open_engine(trading.server.url(trading.name, "stranger"))
    said = f'permission denied for database "{trading.name}": run deploy/postgres/roles.sql as an administrator'
    with pytest.raises(UnreachableError, match=said):
        check_version(stranger)


# The script -----------------------------------------------------------------------------------------------------------


def test_a_table_of_a_later_revision_can_be_read_and_added_to(trading: Trading) -> None:
    with trading.engine("execd_owner").begin() as connection:
        connection.execute(text("CREATE TABLE later (x text)"))
    daemon, reader = trading.engine("execd"), trading.engine("execd_reader")
    with daemon.begin() as connection:
        connection.execute(text("INSERT INTO later VALUES ('1')"))
    with reader.connect() as connection:
        assert connection.execute(text("SELECT x FROM later")).scalars().all() == ["1"]
    refused(daemon, "UPDATE later SET x = '2'")
    refused(daemon, "DELETE FROM later")
    refused(reader, "INSERT INTO later VALUES ('1')")


def test_it_can_be_run_again_and_takes_back_what_somebody_granted(trading: Trading) -> None:
    for statement in (
        "GRANT ALL ON journal TO execd, execd_reader",
        "GRANT DELETE ON orders TO PUBLIC",
        "GRANT CREATE ON SCHEMA public TO execd",
        f"GRANT ALL ON DATABASE {trading.name} TO PUBLIC",
    ):
        trading.server.sql(statement, trading.name)
    trading.grant()
    test_each_role_is_granted_what_it_needs_and_nothing_more(trading)
    test_the_daemon_makes_no_tables_and_no_migrations(trading)


@pytest.mark.usefixtures("traded")
def test_it_gives_the_owner_tables_that_somebody_else_made(postgres: Server) -> None:
    trading = Trading(postgres, postgres.migrated())
    trading.grant()
    test_each_role_is_granted_what_it_needs_and_nothing_more(trading)
    downgrade(trading.engine("execd_owner"), "base")
    trading.close()


def test_it_names_no_password() -> None:
    statements = [line for line in Trading.SCRIPT.read_text().splitlines() if not line.startswith("--")]
    assert not any("password" in line.lower() for line in statements)


# The start of a daemon ------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("traded")
def test_a_daemon_does_not_start_without_tables_and_says_who_makes_them(postgres: Server) -> None:
    trading = Trading(postgres, postgres.create())
    trading.grant()
    with pytest.raises(
        SchemaError, match=r"revision none, .*: run `execd db upgrade` as the role that owns the tables"
    ):
        prepare(trading.engine("execd"))
    trading.close()


def test_a_daemon_does_not_start_with_less_than_its_rights(trading: Trading) -> None:
    trading.server.sql("REVOKE UPDATE ON orders, meta FROM execd", trading.name)
    said = r"^role execd may not UPDATE meta, UPDATE orders: run deploy/postgres/roles.sql again as an administrator$"
    with pytest.raises(SchemaError, match=said):
        prepare(trading.engine("execd"))


def test_a_daemon_that_loses_a_right_while_it_runs_stops(trading: Trading) -> None:
    with WriterLock(trading.engine("execd")) as lock:
        journal = Journal(lock, threaded=True)
        trading.server.sql("REVOKE INSERT ON journal FROM execd", trading.name)
        journal.put((1, TimeAdvanced(ts=1)))
        said = "permission denied for table journal.*: run deploy/postgres/roles.sql as an administrator"
        with pytest.raises(JournalError, match=said):
            journal.flush()
        with pytest.raises(JournalError, match=said):
            journal.close()


@pytest.mark.usefixtures("impatient")
def test_the_owner_does_not_migrate_under_a_daemon_that_runs(trading: Trading) -> None:
    said = rf"^execd {os.getpid()} on .* \(server process \d+\) writes to {trading.name}: stop it first"
    with WriterLock(trading.engine("execd")), pytest.raises(StoreLockedError, match=said):
        WriterLock(trading.engine("execd_owner"))
