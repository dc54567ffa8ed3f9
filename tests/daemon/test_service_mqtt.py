"""The daemon as a service before a real MQTT broker: a signal acts once, whoever goes and comes meanwhile."""

import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from paho.mqtt import publish as mqtt

from adapters.valkey import PrivateValkey
from daemon.cli import ExitCode
from tests.daemon.service import OPEN, Make, Service, order
from tests.servers.mosquitto import Mosquitto, needs_mosquitto
from tests.servers.valkey import entries

pytestmark = needs_mosquitto

TOPIC, SOURCE = "execd/signals", "mqtt:execd/signals"
HOUR_NS = 3_600 * 1_000_000_000
PASSWORD = "battery-staple"


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    broker = Mosquitto(tmp_path / "mosquitto")
    broker.start()
    yield broker
    broker.stop()


@pytest.fixture(params=["5", "3.1.1"])
def idle(make: Make, valkey: PrivateValkey, broker: Mosquitto, request: pytest.FixtureRequest) -> Service:
    """One that has never been started, for each version of the protocol."""
    settings = {"host": "127.0.0.1", "port": broker.port, "version": request.param, "username": "execd"}
    return make("service", valkey.settings, signals={"mqtt": settings})


@pytest.fixture
def service(idle: Service, broker: Mosquitto) -> Service:
    """One that has subscribed."""
    idle.start(EXECD_MQTT_PASSWORD=PASSWORD)

    def arrived() -> bool:
        send(broker, order("probe", qty=1))
        return bool(accepted(idle))

    idle.until(arrived, "the subscription")
    return idle


def send(broker: Mosquitto, *messages: bytes, retain: bool = False) -> None:
    """Publish, and return once the broker has taken everything."""
    mqtt.multiple([(TOPIC, message, 1, retain) for message in messages], "127.0.0.1", broker.port)


def accepted(service: Service) -> list[str]:
    return [each["signal_id"] for each in service.events("SignalAccepted")]


def acted_once(service: Service, *expected: str) -> None:
    """Return once all of them have acted, and ended, each once."""
    service.until(lambda: set(accepted(service)) - {"probe"} == set(expected), "every signal")
    found = Counter(accepted(service))
    assert max(found.values()) == 1
    service.until(lambda: len(service.events("ParentEnded")) == len(found), "every end")
    assert len({fact["order"]["parent_id"] for fact in service.venue("Entered")}) == len(found)


def up(service: Service) -> bool:
    """Whether the edge works."""
    return "" in [actor["error"] for actor in service.status()["actors"] if actor["name"] == SOURCE]


def test_a_signal_is_traded_once_however_often_it_is_published_and_a_broker_that_restarts_loses_none(
    service: Service, broker: Mosquitto
) -> None:
    send(broker, order("one", qty=5), order("one", qty=5))
    acted_once(service, "one")
    broker.stop()
    service.until(lambda: not up(service), "the loss")
    service.until_state("ACTIVE")  # the way in is away, and not what trading needs
    broker.start()
    send(broker, *(order(f"s{i}", qty=1) for i in range(10)), order("one", qty=5))
    acted_once(service, "one", *(f"s{i}" for i in range(10)))
    service.until(lambda: up(service), "the edge")


def test_what_is_published_while_the_daemon_is_dead_waits_and_acts_once(service: Service, broker: Mosquitto) -> None:
    for life in range(2):
        assert service.kill() == -signal.SIGKILL
        send(broker, *(order(f"s{life}-{i}", qty=1) for i in range(5)))
        broker.stop()  # it keeps what it was given on disk
        broker.start()
        service.start()
    acted_once(service, *(f"s{life}-{i}" for life in range(2) for i in range(5)))


def test_a_stale_retained_message_is_a_dead_letter_and_a_fresh_one_acts_once(
    idle: Service, broker: Mosquitto, hand: redis.Redis
) -> None:
    stale = order("stale", qty=5).replace(str(OPEN + 1).encode(), str(OPEN - HOUR_NS).encode())
    send(broker, stale, retain=True)
    idle.start(EXECD_MQTT_PASSWORD=PASSWORD)
    idle.until(lambda: entries(hand, "execd:signals:dead"), "a dead letter")
    ((_, letter),) = entries(hand, "execd:signals:dead")
    assert letter["text"] == stale.decode()
    (dead,) = idle.events("SignalDead")
    assert dead["reason"].startswith("retained by the broker, and 3,6")

    send(broker, order("fresh", qty=5), retain=True)
    acted_once(idle, "fresh")
    assert idle.stop() == ExitCode.OK
    idle.start(EXECD_MQTT_PASSWORD=PASSWORD)
    idle.until(lambda: idle.events("SignalIgnored"), "the retained one, once more")
    assert {each["reason"] for each in idle.events("SignalIgnored")} == {"DUPLICATE"}
    acted_once(idle, "fresh")
    for file in idle.folder.rglob("*"):
        if file.is_file() and not file.is_socket():
            assert PASSWORD.encode() not in file.read_bytes(), file
