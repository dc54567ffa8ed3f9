"""A session with PostgreSQL has its bounds, keeps the password to itself, and takes any text in bulk."""

import logging
import os
import socket
import traceback
from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import Engine, select, text
from sqlalchemy.exc import DBAPIError

from adapters.store import engine as opening
from adapters.store import postgres as postgresql
from adapters.store.engine import Sync, UnreachableError, WriterLock, check_version, open_engine, open_readonly, upgrade
from adapters.store.journal import Journal, read
from adapters.store.postgres import Copy
from adapters.store.tables import journal
from core.events import Anomaly, ExecutionReport
from core.orders import ExecType
from tests.adapters.store.support import Trading
from tests.servers.postgres import Server


@pytest.fixture
def engine(postgres: Server) -> Iterator[Engine]:
    engine = open_engine(postgres.url(postgres.migrated()))
    yield engine
    engine.dispose()


def shown(engine: Engine, *names: str) -> dict[str, object]:
    with engine.connect() as connection:
        return {name: connection.execute(text(f"SHOW {name}")).scalar_one() for name in names}


@pytest.mark.parametrize("sync,commit", [("full", "on"), ("normal", "off")])
def test_durability_is_a_setting(postgres: Server, sync: Sync, commit: str) -> None:
    engine = open_engine(postgres.url(), sync=sync)
    assert shown(engine, "synchronous_commit", "default_transaction_read_only") == {
        "synchronous_commit": commit,
        "default_transaction_read_only": "off",
    }
    engine.dispose()


def test_a_session_has_its_bounds_and_its_name(engine: Engine) -> None:
    expected = {
        "statement_timeout": "10s",
        "lock_timeout": "5s",
        "idle_in_transaction_session_timeout": "1min",
        "application_name": f"execd {os.getpid()} on {socket.gethostname()}"[:63],
    }
    assert shown(engine, *expected) == expected
    with engine.connect() as connection:
        given = postgresql._driver(connection).info.get_parameters()
    expected = {
        "connect_timeout": "5",
        "keepalives_idle": "5",
        "keepalives_interval": "2",
        "keepalives_count": "3",
        "tcp_user_timeout": "11000",
    }
    assert {name: given[name] for name in expected} == expected
    assert "tcp_keepalives_idle=5 " in given["options"]


def test_a_reader_is_bound_to_read(postgres: Server, engine: Engine) -> None:
    reader = open_readonly(postgres.url(engine.url.database or ""))
    assert shown(reader, "default_transaction_read_only") == {"default_transaction_read_only": "on"}
    with reader.connect() as connection, pytest.raises(DBAPIError, match="read-only transaction"):
        connection.execute(text("DELETE FROM meta"))
    reader.dispose()


def test_a_migration_may_take_longer_than_a_statement(postgres: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgresql, "STATEMENT_TIMEOUT_MS", 200)
    monkeypatch.setattr(postgresql._Session, "patience_s", 0.2)
    engine = open_engine(postgres.url())
    long = text("SELECT pg_sleep(0.3)")
    with engine.connect() as connection, pytest.raises(DBAPIError, match=r"statement timeout|no answer"):
        connection.execute(long)
    opening._migrate(engine, lambda config, _: config.attributes["connection"].execute(long), "head")
    with engine.connect() as connection, pytest.raises(DBAPIError, match=r"statement timeout|no answer"):
        connection.execute(long)
    engine.dispose()


# The way in -----------------------------------------------------------------------------------------------------------


def test_a_way_in_that_is_closed_is_said_in_one_sentence(postgres: Server) -> None:
    name = postgres.create()
    closed = {
        postgres.url("nowhere"): 'database "nowhere" does not exist: create it, or check its name',
        postgres.url(name, "nobody"): (
            'role "nobody" does not exist: run deploy/postgres/roles.sql as an administrator, or check the role\'s name'
        ),
        f"postgresql://postgres@/{name}?host=/nowhere": (
            "No such file or directory: see that the server runs and can be reached, and check host and port"
        ),
        "postgresql://postgres@127.0.0.1:1/execd": (
            "Connection refused: see that the server runs and can be reached, and check host and port"
        ),
    }
    uses: list[Callable[[Engine], object]] = [WriterLock, check_version, upgrade]
    for url, said in closed.items():
        for use in uses:
            engine = open_engine(url)
            with pytest.raises(UnreachableError) as caught:
                use(engine)
            where = engine.url.set(drivername="postgresql", query={}).render_as_string()
            assert str(caught.value) == f"{where} cannot be used: {said}"


@pytest.mark.parametrize(
    "password,said", [(None, "no password supplied"), ("s3cret", 'password authentication failed for user "execd"')]
)
def test_a_wrong_password_is_said_and_never_shown(
    trading: Trading, caplog: pytest.LogCaptureFixture, password: str | None, said: str
) -> None:
    caplog.set_level(logging.DEBUG)
    logging.getLogger("psycopg").setLevel(logging.DEBUG)
    engine = open_engine(trading.server.url(trading.name, "execd"), password=password)
    with pytest.raises(UnreachableError, match=f"{said}: check the role and its password$") as caught:
        WriterLock(engine)
    assert "s3cret" not in "".join(traceback.format_exception(caught.value)) + caplog.text + repr(engine)


def test_the_right_password_is_never_shown_either(trading: Trading, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    logging.getLogger("psycopg").setLevel(logging.DEBUG)
    engine = trading.engine("execd")
    with WriterLock(engine), engine.connect() as connection, pytest.raises(DBAPIError) as caught:
        connection.execute(text("SELECT nothing"))
    shown = [repr(engine), str(engine.url), engine.url.render_as_string(hide_password=False), repr(engine.pool)]
    shown += [caplog.text, *traceback.format_exception(caught.value), repr(caught.value.connection_invalidated)]
    with engine.connect() as connection:
        driver = postgresql._driver(connection)
        shown += [repr(driver), driver.info.dsn]
    assert engine.url.password is None
    assert "of the daemon" not in "".join(shown)
    (seen,) = trading.server.sql("SELECT string_agg(query, '') FROM pg_stat_activity WHERE usename = 'execd'")
    assert "of the daemon" not in seen[0]


def test_an_error_shows_no_values_of_a_statement(engine: Engine) -> None:
    with engine.connect() as connection, pytest.raises(DBAPIError) as caught:
        connection.execute(text("SELECT :value::int"), {"value": "a customer's name"})
    assert "a customer's name" not in str(caught.value).replace(str(caught.value.orig), "")


# In bulk --------------------------------------------------------------------------------------------------------------

ODD = ["", "\\N", "\\.", "a\tb\nc\rd", "\\x41", "\"'", "ä \N{SNOWMAN} \U0001f680", "null", "\x01\x7f"]


def test_rows_in_bulk_are_what_they_were(engine: Engine) -> None:
    rows = [(n, -n, word, None, word or None, word, bytes([0, n, 255]) * 8) for n, word in enumerate(ODD)]
    with engine.begin() as connection:
        Copy(journal).run(connection, rows)
        assert connection.execute(select(journal).order_by(journal.c.seq)).all() == rows


def test_events_with_odd_text_are_read_as_they_were_put(engine: Engine) -> None:
    events = [
        *(Anomaly(ts=1, venue=word, cl_ord_id=word, text=word) for word in [*ODD, "\x00", "a\x00b"]),
        ExecutionReport(ts=2, venue="paper", exec_type=ExecType.NEW, cl_ord_id="\x00", exec_id="\x00"),
    ]
    entries = list(enumerate(events, start=1))
    with WriterLock(engine) as lock:
        writer = Journal(lock, threaded=False)
        writer.put(*entries)
        writer.close()
    assert list(read(engine)) == entries
