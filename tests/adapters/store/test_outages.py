"""A database that goes away comes back to a journal without a gap, a double or a stranger, whatever went on then."""

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from pathlib import Path

import psutil
import psycopg
import pytest
from sqlalchemy import Engine, delete, text

from adapters.store import engine as opening
from adapters.store import journal as journals
from adapters.store import postgres as postgresql
from adapters.store import writer as writers
from adapters.store.engine import StoreLockedError, Sync, UnreachableError, WriterLock, open_engine, upgrade
from adapters.store.journal import Journal, read, tail, verify
from adapters.store.projections import project
from adapters.store.tables import journal as journal_table
from adapters.store.tables import metadata
from adapters.store.upserts import apply
from adapters.store.writer import JournalError
from core.events import Event, TimeAdvanced
from core.orders import OrdStatus
from tests.adapters.store import examples
from tests.adapters.store.support import Trading, contents, database
from tests.servers.postgres import Server, wait_until


class Daemon:
    """The part of a daemon that writes, and what it has put."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.lock = WriterLock(self.engine)
        self.journal = Journal(self.lock, threaded=True)
        self.put: list[tuple[int, Event]] = []

    def trade(self, orders: int) -> None:
        """Approve, acknowledge and fill so many orders, each in a group of its own."""
        for _ in range(orders):
            seq = len(self.put)
            cl_ord_id = f"P1C{seq}A1"
            events = [
                examples.approved(seq, cl_ord_id),
                examples.updated(seq, cl_ord_id, OrdStatus.FILLED, examples.QTY),
                examples.filled(seq, cl_ord_id, f"e{seq}"),
                examples.position(seq),
            ]
            group = list(enumerate(events, start=seq + 1))
            self.put += group
            self.journal.put(*group)

    def is_whole(self) -> bool:
        """All that was put is on record once, in order and chained, and so are the tables drawn from it."""
        self.journal.flush()
        assert verify(self.engine) == (self.journal.last_seq, self.journal.tail_hash)
        drawn = database()  # a plain one, in memory
        with drawn.begin() as connection:
            apply(connection, [write for seq, event in self.put for write in project(seq, event)])
        assert contents(self.engine, without="journal") == contents(drawn, without="journal")
        return list(read(self.engine)) == self.put

    def end(self) -> None:
        with suppress(JournalError):
            self.journal.close()
        self.lock.release()
        self.engine.dispose()


@contextmanager
def running(url: str, sync: Sync = "full", password: str | None = None) -> Iterator[Daemon]:
    daemon = Daemon(open_engine(url, sync=sync, password=password))
    try:
        yield daemon
    finally:
        daemon.end()


def running_as_execd(trading: Trading) -> AbstractContextManager[Daemon]:
    """With the rights that it has where it trades."""
    return running(trading.server.url(trading.name, "execd"), password=trading.PASSWORDS["execd"])


@pytest.fixture
def name(postgres: Server) -> str:
    """A database with tables."""
    return postgres.migrated()


@pytest.fixture
def daemon(postgres: Server, name: str) -> Iterator[Daemon]:
    with running(postgres.url(name)) as daemon:
        yield daemon


def backend(daemon: Daemon) -> int:
    """The server's process that the daemon writes through."""
    session = daemon.lock._session
    assert session is not None
    assert session._backend is not None
    return session._backend[0]


def terminate(server: Server, pid: int) -> None:
    """As an administrator does it; returns once the session is gone."""
    server.sql(f"SELECT pg_terminate_backend({pid}, 10000)")


# The server goes and comes --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sync", ["full", "normal"])
@pytest.mark.parametrize("ending", [Server.stop, Server.kill])
def test_a_server_that_ends_while_it_writes_loses_nothing_and_gets_nothing_twice(
    postgres: Server, name: str, ending: Callable[[Server], None], sync: Sync
) -> None:
    with running(postgres.url(name), sync) as daemon:
        for _ in range(4):
            durable = daemon.journal.durable_seq
            daemon.trade(400)
            wait_until(lambda durable=durable: daemon.journal.durable_seq > durable)  # type: ignore[misc]
            ending(postgres)
            daemon.trade(50)
            wait_until(lambda: daemon.journal.trouble)
            postgres.start()
        assert daemon.is_whole()
        assert (daemon.journal.trouble, daemon.journal.age_s, daemon.journal.depth) == ("", 0.0, 0)


def test_while_it_is_away_the_journal_says_why_and_how_long_and_that_it_lives(postgres: Server, daemon: Daemon) -> None:
    assert (daemon.journal.trouble, daemon.journal.age_s) == ("", 0.0)
    postgres.stop()
    daemon.trade(1)
    wait_until(lambda: "cannot be used" in daemon.journal.trouble)
    where = daemon.engine.url.set(drivername="postgresql", query={}).render_as_string()
    assert daemon.journal.trouble == (
        f"{where} cannot be used: No such file or directory: "
        "see that the server runs and can be reached, and check host and port"
    )
    age, beat = daemon.journal.age_s, daemon.journal.beat
    wait_until(lambda: daemon.journal.beat > beat)
    assert daemon.journal.age_s > age > 0
    postgres.start()
    assert daemon.is_whole()


def test_a_frozen_server_goes_on_where_it_stood(postgres: Server, daemon: Daemon) -> None:
    daemon.trade(10)
    daemon.journal.flush()
    postgres.freeze()
    daemon.trade(10)
    wait_until(lambda: daemon.journal.age_s > 0.2)
    assert (daemon.journal.depth, daemon.journal.trouble) == (40, "")
    postgres.thaw()
    assert daemon.is_whole()


def test_a_server_that_is_frozen_for_too_long_is_hung_up_on_and_tried_again(
    postgres: Server, daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgresql._Session, "patience_s", 0.1)
    postgres.freeze()
    daemon.trade(10)
    wait_until(lambda: daemon.journal.trouble)
    assert daemon.journal.trouble.startswith("no answer on this connection within 0 s: see that the server runs")
    postgres.thaw()
    assert daemon.is_whole()


def test_a_server_that_takes_no_connection_is_waited_for(
    postgres: Server, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgresql, "CONNECT_TIMEOUT_S", 2)  # libpq takes less for two
    with running(postgres.url(name)) as daemon:
        terminate(postgres, backend(daemon))
        postgres.freeze()
        daemon.trade(10)
        wait_until(lambda: "connection timeout expired" in daemon.journal.trouble)
        postgres.thaw()
        assert daemon.is_whole()


# The session ends -----------------------------------------------------------------------------------------------------


def test_a_session_that_an_administrator_ends_is_replaced(postgres: Server, daemon: Daemon) -> None:
    for _ in range(3):
        daemon.trade(5)
        daemon.journal.flush()
        terminate(postgres, backend(daemon))
    assert daemon.is_whole()


@pytest.mark.parametrize("committed", [True, False])
def test_a_session_that_ends_between_commit_and_its_answer_leaves_no_doubt(
    postgres: Server, daemon: Daemon, monkeypatch: pytest.MonkeyPatch, *, committed: bool
) -> None:
    daemon.trade(5)
    daemon.journal.flush()
    commit, lost = daemon.engine.dialect.do_commit, list[int]()

    def lose(connection: object) -> None:
        """The server does as it is told, or not, and the answer never comes."""
        if committed:
            commit(connection)  # type: ignore[arg-type]
        if not lost:
            lost.append(tail(daemon.engine)[0])
            terminate(postgres, backend(daemon))
        commit(connection)  # type: ignore[arg-type]
        connection.execute("SELECT 1")  # type: ignore[attr-defined]

    monkeypatch.setattr(daemon.engine.dialect, "do_commit", lose)
    daemon.trade(1)
    wait_until(lambda: daemon.journal.trouble or daemon.journal.depth == 0)
    monkeypatch.undo()
    daemon.trade(5)
    assert daemon.is_whole()
    assert lost == [24 if committed else 20]


def test_the_lock_of_our_own_lost_session_is_waited_for(trading: Trading, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgresql, "LOCK_PATIENCE_MS", 50)
    monkeypatch.setattr(postgresql._Session, "patience_s", 1.0)
    with running_as_execd(trading) as daemon:
        stuck = psutil.Process(backend(daemon))
        stuck.suspend()
        daemon.trade(10)
        wait_until(lambda: "lock timeout" in daemon.journal.trouble)
        stuck.resume()
        assert daemon.is_whole()
        assert backend(daemon) != stuck.pid


def test_our_own_lost_session_is_ended_where_the_server_still_believes_in_it(
    trading: Trading, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgresql, "STATEMENT_TIMEOUT_MS", 0)
    monkeypatch.setattr(postgresql, "LOCK_TIMEOUT_MS", 0)
    monkeypatch.setattr(postgresql, "LOCK_PATIENCE_MS", 50)
    monkeypatch.setattr(postgresql._Session, "patience_s", 0.2)
    with running_as_execd(trading) as daemon, trading.server.connect(trading.name) as holder:
        holder.execute("BEGIN; LOCK TABLE journal")
        lost = backend(daemon)
        daemon.trade(10)
        wait_until(lambda: backend(daemon) != lost)
        monkeypatch.undo()
        holder.execute("COMMIT")
        assert daemon.is_whole()


# Others ---------------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("impatient")
def test_a_second_daemon_is_refused_while_the_first_one_writes(postgres: Server, daemon: Daemon, name: str) -> None:
    other = open_engine(postgres.url(name))
    pids = rf"execd {os.getpid()} on .* \(server process {backend(daemon)}\)"
    with pytest.raises(StoreLockedError, match=f"^{pids} writes to {name}: stop it first"):
        WriterLock(other)
    other.dispose()
    daemon.trade(5)
    assert daemon.is_whole()


@pytest.mark.usefixtures("impatient")
def test_who_lost_the_session_to_a_second_daemon_writes_no_more(postgres: Server, daemon: Daemon, name: str) -> None:
    terminate(postgres, backend(daemon))
    with running(postgres.url(name)) as second:
        second.trade(1)
        second.journal.flush()
        daemon.trade(5)
        with pytest.raises(JournalError, match=rf"^the journal is no longer ours: execd {os.getpid()} on ") as caught:
            daemon.journal.flush()
        assert isinstance(caught.value.__cause__, JournalError)
        assert isinstance(caught.value.__cause__.__cause__, StoreLockedError)
        assert second.is_whole()


def test_what_a_second_daemon_wrote_while_we_were_away_ends_the_run(
    postgres: Server, daemon: Daemon, name: str
) -> None:
    daemon.trade(1)
    daemon.journal.flush()
    terminate(postgres, backend(daemon))
    with running(postgres.url(name)) as second:
        second.journal.put((9, TimeAdvanced(ts=9)))
        second.journal.flush()
    daemon.trade(5)
    with pytest.raises(
        JournalError, match="the journal ends at seq 9 in a hash that is not ours, where 4 was committed"
    ):
        daemon.journal.flush()
    assert tail(daemon.engine)[0] == 9


def forget(engine: Engine, behind: int) -> None:
    """What a server does that dies without having written out its last commits, or a standby that lags behind."""
    with engine.begin() as connection:
        for table in metadata.sorted_tables:
            condition = journal_table.c.seq > behind if table is journal_table else text("true")
            connection.execute(delete(table).where(condition))


def test_commits_that_a_server_forgot_are_written_again(
    postgres: Server, daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journals, "KEPT_S", 60.0)
    daemon.journal._kept_s = 60.0
    for _ in range(3):
        daemon.trade(2)
        daemon.journal.flush()
    for behind in (20, 8, 0):
        terminate(postgres, backend(daemon))
        forget(daemon.engine, behind)
        daemon.trade(1)
        daemon.journal.flush()
        assert list(read(daemon.engine)) == daemon.put
    assert daemon.is_whole()


def test_commits_that_were_forgotten_and_are_no_longer_at_hand_end_the_run(postgres: Server, daemon: Daemon) -> None:
    daemon.journal._kept_s = 0.0
    for _ in range(3):
        daemon.trade(1)
        daemon.journal.flush()
    terminate(postgres, backend(daemon))
    forget(daemon.engine, 8)
    daemon.trade(1)
    with pytest.raises(
        JournalError, match=r"the journal ends at seq 8 .*, where 12 was committed.* server was put back"
    ):
        daemon.journal.flush()
    assert tail(daemon.engine)[0] == 8


# Up, and unable -------------------------------------------------------------------------------------------------------


def wait_out(daemon: Daemon, said: str, heal: Callable[[], object]) -> None:
    """Write into a database that cannot take it; then it can."""
    daemon.trade(5)
    wait_until(lambda: said in daemon.journal.trouble)
    heal()
    assert daemon.is_whole()
    assert daemon.journal.trouble == ""


def test_a_role_without_free_connections_is_waited_for(postgres: Server, trading: Trading) -> None:
    with running_as_execd(trading) as daemon:
        postgres.sql("ALTER ROLE execd CONNECTION LIMIT 0")
        terminate(postgres, backend(daemon))
        said = 'too many connections for role "execd": end what else is connected'
        wait_out(daemon, said, lambda: postgres.sql("ALTER ROLE execd CONNECTION LIMIT -1"))


def test_a_server_without_free_connections_says_so_at_the_start(postgres: Server, name: str) -> None:
    engine = open_engine(postgres.url(name))
    with ExitStack() as stack:
        with suppress(psycopg.OperationalError):
            while True:
                stack.enter_context(postgres.connect())
        with pytest.raises(UnreachableError, match="too many clients already: end what else is connected, or raise"):
            WriterLock(engine)
    engine.dispose()


def test_a_server_that_is_read_only_for_a_while_is_waited_for(postgres: Server, daemon: Daemon, name: str) -> None:
    postgres.sql(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    terminate(postgres, backend(daemon))
    said = "cannot execute COPY FROM in a read-only transaction: point the URL to the server that takes writes"
    wait_out(daemon, said, lambda: postgres.sql(f"ALTER DATABASE {name} RESET default_transaction_read_only"))


def test_a_table_that_somebody_holds_is_waited_for(
    postgres: Server, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgresql, "LOCK_TIMEOUT_MS", 20)
    with running(postgres.url(name)) as daemon, postgres.connect(name) as holder:
        holder.execute("BEGIN; LOCK TABLE journal")
        wait_out(daemon, "canceling statement due to lock timeout", lambda: holder.execute("COMMIT"))


def test_a_statement_that_takes_too_long_is_tried_again(
    postgres: Server, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgresql, "STATEMENT_TIMEOUT_MS", 50)
    with running(postgres.url(name)) as daemon, postgres.connect(name) as holder:
        holder.execute("BEGIN; LOCK TABLE journal")
        wait_out(daemon, "canceling statement due to statement timeout", lambda: holder.execute("COMMIT"))


def test_a_password_that_was_changed_while_we_were_away_is_waited_for(postgres: Server, trading: Trading) -> None:
    with running_as_execd(trading) as daemon:
        postgres.sql("ALTER ROLE execd PASSWORD 'another one'")
        terminate(postgres, backend(daemon))
        said = 'password authentication failed for user "execd": check the role and its password'
        wait_out(daemon, said, lambda: postgres.sql(f"ALTER ROLE execd PASSWORD '{trading.PASSWORDS['execd']}'"))


def test_a_file_that_another_process_holds_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "BUSY_TIMEOUT_MS", 1)
    url = f"sqlite:///{tmp_path}/execd.db"
    engine = open_engine(url)
    upgrade(engine)
    with running(url) as daemon, engine.connect() as holder:
        holder.exec_driver_sql("BEGIN IMMEDIATE")
        wait_out(daemon, "database is locked: another program holds it, try again when that is done", holder.rollback)
    engine.dispose()


# The end --------------------------------------------------------------------------------------------------------------


def test_a_run_that_ends_while_the_server_is_away_ends_in_time_and_says_what_is_lost(
    postgres: Server, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writers, "FLUSH_TIMEOUT_S", 0.1)
    daemon = Daemon(open_engine(postgres.url(name)))
    postgres.stop()
    daemon.trade(2)
    wait_until(lambda: daemon.journal.trouble)
    with pytest.raises(
        JournalError, match=r"8 events could not be written within 0 s \(postgresql://.* cannot be used"
    ):
        daemon.journal.close()
    daemon.lock.release()
    postgres.start()
    with running(postgres.url(name)) as second:  # nothing of the first one holds it up
        assert second.journal.last_seq == 0
    daemon.engine.dispose()
