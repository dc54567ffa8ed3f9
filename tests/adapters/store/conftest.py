"""Tests of the store run on both databases, and those that they opened are closed behind them."""

from collections.abc import Iterator

import pytest

from adapters.store import postgres as postgresql
from tests.adapters.store.support import DATABASES, Trading
from tests.servers.postgres import Server


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    DATABASES.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def both(request: pytest.FixtureRequest) -> Iterator[None]:
    """`database` makes SQLite databases in one run of the test, and PostgreSQL databases in another."""
    server = request.getfixturevalue("postgres") if request.param == "postgresql" else None
    assert server is None or isinstance(server, Server)
    DATABASES.server = server
    yield
    DATABASES.close()
    DATABASES.server = None


@pytest.fixture(scope="session")
def traded(postgres_server: Server) -> str:
    """A database with the roles and rights of deploy/postgres, and this version's tables: one to copy."""
    trading = Trading(postgres_server, postgres_server.create())
    trading.set_up()
    trading.close()
    return trading.name


@pytest.fixture
def trading(postgres: Server, traded: str) -> Iterator[Trading]:
    """A database with the roles and rights of deploy/postgres, and this version's tables."""
    trading = Trading(postgres, postgres.create(traded))
    trading.grant()  # a copy has the rights to its tables and not those to itself
    yield trading
    trading.close()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who finds the writer's lock taken does not wait for it as long as usual."""
    monkeypatch.setattr(postgresql, "LOCK_PATIENCE_MS", 100)
