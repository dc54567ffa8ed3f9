"""The daemon as a service with its books on PostgreSQL: a server that goes and comes in a running day costs nothing.

The roles are those of deploy/postgres: the daemon comes in with a password, and may add to its journal and no more.
"""

import signal
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, Protocol
from urllib.request import urlopen

import psycopg
import pytest
import redis
from typing_extensions import override

from adapters.redis_link import RedisSettings
from adapters.valkey import PrivateValkey
from core.causes import JOURNAL
from daemon.cli import ExitCode
from tests.adapters.store.support import Trading
from tests.daemon.service import Service, acknowledged, command, order, publish, resting, working
from tests.servers.ports import free_port
from tests.servers.postgres import Server, wait_until

PASSWORD = Trading.PASSWORDS["execd"]


class PostgresService(Service):
    """A service whose books are on a server."""

    def __init__(self, folder: Path, trading: Trading, redis: RedisSettings, **changes: Any) -> None:  # noqa: ANN401 - tables
        super().__init__(folder, redis, store={"url": trading.server.url(trading.name, "execd")}, **changes)
        self._trading = trading

    @override
    def start(self, *, ready: bool = True, **environment: str) -> "PostgresService":
        super().start(ready=ready, **{"EXECD_DATABASE_PASSWORD": PASSWORD} | environment)
        return self

    @override
    def rows(self, query: str) -> list[Any]:
        return self._trading.server.sql(query, self._trading.name)


class MakeOnServer(Protocol):
    """Makes services that end with the test."""

    def __call__(self, trading: Trading, name: str = "service", **changes: Any) -> PostgresService: ...  # noqa: ANN401 - tables


@pytest.fixture
def make(tmp_path: Path, valkey: PrivateValkey) -> Iterator[MakeOnServer]:
    """Services that end with the test."""
    with ExitStack() as ends:

        def build(trading: Trading, name: str = "service", **changes: Any) -> PostgresService:  # noqa: ANN401 - tables
            service = PostgresService(tmp_path / name, trading, valkey.settings, **changes)
            ends.callback(service.kill)
            return service

        yield build


@pytest.fixture(scope="module")
def traded(postgres_server: Server) -> str:
    """A database with the roles and rights of deploy/postgres, and this version's tables: one to copy."""
    trading = Trading(postgres_server, postgres_server.create())
    trading.set_up()
    trading.close()
    return trading.name


@pytest.fixture
def trading(postgres: Server, traded: str) -> Trading:
    """A copy of it."""
    trading = Trading(postgres, postgres.create(traded))
    trading.grant()  # a copy has the rights to its tables and not those to itself
    return trading


@pytest.fixture
def idle(make: MakeOnServer, trading: Trading) -> PostgresService:
    """One that has not been started."""
    return make(trading)


@pytest.fixture
def service(idle: PostgresService) -> PostgresService:
    """One that trades."""
    return idle.start()


def accepted(service: Service) -> list[str]:
    return [each["signal_id"] for each in service.events("SignalAccepted")]


# A day ----------------------------------------------------------------------------------------------------------------


def test_a_signal_is_traded_and_every_command_reads_the_books_where_they_are(
    service: PostgresService, hand: redis.Redis
) -> None:
    publish(hand, order("one", qty=30))
    service.until(lambda: acknowledged(hand), "the acknowledgement")
    service.until(lambda: service.events("CostReport"), "its costs")
    (end,) = service.events("ParentEnded")
    assert (end["cum_qty"], end["reason"]) == ("30", "FILLED")
    assert not (service.folder / "execd.db").exists()
    reads = partial(service.execd, EXECD_DATABASE_PASSWORD=PASSWORD)
    said = {words: reads(*words.split()) for words in ("status", "parents", "orders", "fills", "positions", "verify")}
    assert {words: (done.returncode, done.stderr) for words, done in said.items()} == dict.fromkeys(said, (0, ""))
    assert "ACTIVE" in said["status"].stdout
    assert "BUY" in said["orders"].stdout
    assert said["verify"].stdout.startswith("intact up to event ")


def test_a_second_daemon_and_an_upgrade_are_turned_away_while_it_runs(
    service: PostgresService, make: MakeOnServer, trading: Trading
) -> None:
    second = make(trading, "second")
    own = {"EXECD_DATABASE_PASSWORD": PASSWORD}
    owner = {
        "EXECD_DATABASE_PASSWORD": Trading.PASSWORDS["execd_owner"],
        "EXECD_STORE__URL": trading.server.url(trading.name, "execd_owner"),
    }
    for words, environment in ((("run",), own), (("db", "upgrade"), owner)):
        done = command(*words, "--config", str(second.config), **environment)
        assert (done.returncode, len(done.stderr.splitlines())) == (ExitCode.BUSY, 1), done.stderr
        assert f"(server process {_writer(trading)}) writes to {trading.name}: stop it first" in done.stderr
    service.until_state("ACTIVE")


def test_a_second_daemon_in_the_same_folder_is_turned_away_whatever_its_database(
    service: PostgresService, trading: Trading
) -> None:
    other = trading.server.url(trading.server.migrated())
    done = command("run", "--config", str(service.config), EXECD_STORE__URL=other)
    said = (
        f"execd: process {service.pid} works in {service.folder}: stop it first, or give this daemon a data directory"
    )
    assert (done.returncode, done.stderr) == (ExitCode.BUSY, f"{said} of its own\n")
    service.until_state("ACTIVE")
    service.ask("POST", "halt", {})  # its socket is its own still


def _writer(trading: Trading) -> int:
    """The process of the server that holds the writer's lock."""
    locks = "SELECT pid FROM pg_locks JOIN pg_database ON pg_database.oid = database"
    where = f"WHERE locktype = 'advisory' AND granted AND datname = '{trading.name}'"
    ((pid,),) = trading.server.sql(f"{locks} {where}")
    return int(pid)


def test_a_new_database_is_refused_until_its_owner_made_the_tables(make: MakeOnServer, postgres: Server) -> None:
    trading = Trading(postgres, postgres.create())
    trading.grant()
    for role, password in Trading.PASSWORDS.items():
        postgres.sql(f"ALTER ROLE {role} PASSWORD '{password}'")
    service = make(trading)
    config = ("--config", str(service.config))
    refused = command("run", *config, EXECD_DATABASE_PASSWORD=PASSWORD)
    assert (refused.returncode, len(refused.stderr.splitlines())) == (ExitCode.STORE, 1)
    assert "run `execd db upgrade` as the role that owns the tables" in refused.stderr
    refused = command("db", "upgrade", *config, EXECD_DATABASE_PASSWORD=PASSWORD)
    assert (refused.returncode, len(refused.stderr.splitlines())) == (ExitCode.STORE, 1)
    assert "permission denied" in refused.stderr
    done = command(
        "db",
        "upgrade",
        *config,
        EXECD_DATABASE_PASSWORD=Trading.PASSWORDS["execd_owner"],
        EXECD_STORE__URL=postgres.url(trading.name, "execd_owner"),
    )
    assert (done.returncode, done.stderr) == (ExitCode.OK, "")
    trading.grant()
    service.start().until_state("ACTIVE")


def test_without_its_server_it_does_not_start_and_says_why(idle: PostgresService, postgres: Server) -> None:
    postgres.stop()
    done = command("run", "--config", str(idle.config), EXECD_DATABASE_PASSWORD=PASSWORD)
    assert (done.returncode, len(done.stderr.splitlines())) == (ExitCode.STORE, 1)
    assert "see that the server runs and can be reached" in done.stderr


# A server that goes and comes -----------------------------------------------------------------------------------------


def end_sessions(server: Server) -> None:
    """As an administrator does it."""
    server.sql("SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE usename = 'execd'")


@contextmanager
def stopped(server: Server, how: signal.Signals) -> Iterator[None]:
    server._end(how)
    yield
    server.start()


@contextmanager
def killed(server: Server) -> Iterator[None]:
    server.kill()
    yield
    server.start()


@contextmanager
def read_only(server: Server) -> Iterator[None]:
    """For every session, those that stood among them: they are begun anew, as one learns of it at a time of its own."""
    server.sql("ALTER SYSTEM SET default_transaction_read_only = on")
    server.sql("SELECT pg_reload_conf()")
    wait_until(lambda: server.sql("SHOW default_transaction_read_only") == [("on",)])
    end_sessions(server)
    try:
        yield
    finally:
        server.sql("ALTER SYSTEM RESET default_transaction_read_only")
        server.sql("SELECT pg_reload_conf()")


@contextmanager
def crowded(server: Server) -> Iterator[None]:
    """Others take every connection that is not a superuser's."""
    server.sql("ALTER ROLE execd CONNECTION LIMIT 0")
    end_sessions(server)
    with ExitStack() as others:
        with suppress(psycopg.OperationalError):
            while True:
                others.enter_context(
                    server.connect(user="execd_reader", password=Trading.PASSWORDS["execd_reader"], database="postgres")
                )
        server.sql("ALTER ROLE execd CONNECTION LIMIT -1")
        yield


# How it is away, what the daemon says of it, and how `execd status` ends, which reads.
OUTAGES: dict[str, tuple[Callable[[Server], Any], str, ExitCode]] = {
    "restarted in good order": (partial(stopped, how=signal.SIGINT), "cannot be used", ExitCode.STORE),
    "restarted at once": (partial(stopped, how=signal.SIGQUIT), "cannot be used", ExitCode.STORE),
    "killed": (killed, "cannot be used", ExitCode.STORE),
    "read-only": (read_only, "point the URL to the server that takes writes", ExitCode.OK),
    "without a free connection": (crowded, "end what else is connected", ExitCode.STORE),
}


@pytest.mark.parametrize("outage", OUTAGES)
def test_while_the_server_is_away_trading_pauses_and_every_signal_acts_once(
    service: PostgresService, postgres: Server, hand: redis.Redis, outage: str
) -> None:
    away, said, code = OUTAGES[outage]
    publish(hand, *resting(2), *(order(f"before-{i}", qty=5) for i in range(3)))
    working(service, 2)
    service.until(lambda: acknowledged(hand) and len(service.events("ParentEnded")) == 3, "three ends")
    pid, entered = service.pid, len(service.venue("Entered"))
    with away(postgres):
        publish(hand, order("first", qty=5))  # the database is missed when something has to be written
        service.until(lambda: JOURNAL in service.causes(), "the pause")
        service.until(lambda: said in trouble(service), "why it is away")
        publish(hand, *(order(f"during-{i}", qty=5) for i in range(5)))
        service.until(lambda: service.ask("GET", "live")["orders"] == [], "nothing works")
        status = service.execd("status", EXECD_DATABASE_PASSWORD=PASSWORD)
        assert (status.returncode, len(status.stderr.splitlines())) == (code, code != ExitCode.OK)
        assert "held back by         journal: " in status.stdout
        assert service.venue("Entered")[entered:] == [], "an order left that is not on record"
    publish(hand, *(order(f"after-{i}", qty=5) for i in range(5)))
    service.until_state("ACTIVE")
    goes_on(service, hand, 16)
    assert service.pid == pid


def goes_on(service: PostgresService, hand: redis.Redis, signals: int) -> None:
    """Every signal has acted once, what works works again, and the books are whole."""
    service.until(lambda: len(service.events("SignalAccepted")) == signals, "every signal")
    service.until(lambda: len(service.events("ParentEnded")) == signals - 2, "every end")
    service.until(lambda: acknowledged(hand), "the acknowledgements")
    working(service, 2)
    assert max(Counter(accepted(service)).values()) == 1
    sent = Counter(fact["order"]["cl_ord_id"] for fact in service.venue("Entered"))
    assert max(sent.values()) == 1
    executed = {fact["exec_id"] for fact in service.venue("Executed")}
    assert {fact["exec_id"] for fact in service.events("FillBooked")} == executed
    assert {end["reason"] for end in service.events("ParentEnded")} == {"FILLED"}
    assert service.events("OrderDenied") == service.events("BreakFound") == []
    assert service.execd("verify", EXECD_DATABASE_PASSWORD=PASSWORD).returncode == ExitCode.OK


def trouble(service: Service) -> str:
    """Why the database takes nothing, as of the last attempt."""
    return str(service.status()["journal"]["trouble"])


def test_a_frozen_server_pauses_trading_until_it_has_written_what_waits(
    service: PostgresService, postgres: Server, hand: redis.Redis
) -> None:
    publish(hand, *resting(2))
    working(service, 2)
    service.until(lambda: acknowledged(hand), "the acknowledgements")
    entered = len(service.venue("Entered"))
    postgres.freeze()
    publish(hand, *(order(f"during-{i}", qty=5) for i in range(5)))
    service.until(lambda: "backlog" in service.causes(), "the pause")
    service.until(lambda: service.status()["journal"]["age_s"] > 3, "some seconds")
    assert service.status()["state"] == "HALTED"
    assert len(service.venue("Entered")) == entered, "an order left that is not on record"
    halt = service.execd("halt", "--text", "enough")  # by its own way, for which the database is not needed
    assert (halt.returncode, halt.stderr) == (ExitCode.OK, "")
    assert service.causes() >= {"backlog", "kill"}
    postgres.thaw()
    service.until(lambda: service.causes() == {"kill"}, "the end of the pause")
    assert service.execd("resume").returncode == ExitCode.OK
    service.until(lambda: len(accepted(service)) == 7, "every signal")
    assert max(Counter(accepted(service)).values()) == 1


def test_a_daemon_that_is_killed_acts_once_for_each_signal(service: PostgresService, hand: redis.Redis) -> None:
    for life in range(2):
        publish(hand, *(order(f"s{life * 15 + i}", qty=10 + i) for i in range(15)))
        service.until(lambda life=life: len(accepted(service)) > life * 15, "some of them")  # type: ignore[misc]
        assert service.kill() == -signal.SIGKILL
        service.start()
    service.until(lambda: acknowledged(hand), "the acknowledgements")
    service.until(lambda: len(service.events("ParentEnded")) == 30, "every end")
    assert Counter(accepted(service)) == Counter(f"s{i}" for i in range(30))
    assert service.stop() == ExitCode.OK


# Secrets --------------------------------------------------------------------------------------------------------------


def test_the_passwords_are_nowhere(make: MakeOnServer, trading: Trading, postgres: Server, hand: redis.Redis) -> None:
    secret, port = "correct-horse-battery", free_port()
    postgres.sql(f"ALTER ROLE execd PASSWORD '{secret}'")
    try:
        service = make(trading, http={"port": port})
        refused = command("run", "--config", str(service.config), EXECD_DATABASE_PASSWORD=f"wrong-{secret}")
        assert refused.returncode == ExitCode.STORE
        service.start(EXECD_DATABASE_PASSWORD=secret)
        postgres.sql("ALTER ROLE execd PASSWORD 'another'")
        end_sessions(postgres)
        publish(hand, order("one"))
        service.until(lambda: "check the role and its password" in trouble(service), "a refusal")
        said = [refused.stderr, str(service.status()), *(_page(port, name) for name in ("metrics", "status"))]
        said += [done.stdout + done.stderr for done in _commands(service, secret)]
        postgres.sql(f"ALTER ROLE execd PASSWORD '{secret}'")
        service.until_state("ACTIVE")
        said += [done.stdout + done.stderr for done in _commands(service, secret)]
        assert service.stop() == ExitCode.OK
        said += [str(row) for row in service.rows("SELECT payload FROM journal")]
    finally:
        postgres.sql(f"ALTER ROLE execd PASSWORD '{PASSWORD}'")
    for text in said:
        assert secret not in text
    for file in service.folder.rglob("*"):
        if file.is_file() and not file.is_socket():
            assert secret.encode() not in file.read_bytes(), file


def _page(port: int, name: str) -> str:
    with urlopen(f"http://127.0.0.1:{port}/{name}", timeout=10) as answer:
        return str(answer.read().decode())


def _commands(service: Service, password: str) -> "list[Any]":
    return [service.execd(*words, EXECD_DATABASE_PASSWORD=password) for words in (("status", "--json"), ("orders",))]
