"""Properties are checked without a clock: a slow machine is not a wrong result. Servers are real, and private."""

from collections.abc import Iterator

import pytest
import redis
from hypothesis import HealthCheck, settings

from adapters.valkey import PrivateValkey
from tests.servers import valkey as servers
from tests.servers.postgres import postgres, postgres_server

__all__ = ["postgres", "postgres_server"]

settings.register_profile("no-clock", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("no-clock")


@pytest.fixture(scope="session")
def _valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateValkey]:
    with servers.running(tmp_path_factory.mktemp("valkey")) as server:
        yield server


@pytest.fixture
def valkey(_valkey: PrivateValkey) -> PrivateValkey:
    """An empty server that the test may fill but not stop; for that, start one with `tests.servers.valkey.running`."""
    with servers.other_hand(_valkey) as hand:
        hand.flushall()
    return _valkey


@pytest.fixture
def hand(valkey: PrivateValkey) -> Iterator[redis.Redis]:
    """Somebody else at that server."""
    with servers.other_hand(valkey) as hand:
        yield hand
