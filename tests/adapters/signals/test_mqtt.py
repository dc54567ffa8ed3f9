"""A signal over MQTT acts once and is never lost, in both versions of the protocol: against a real broker."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal

import aiomqtt
import pytest

from adapters.signals import mqtt
from adapters.signals.mqtt import MqttSettings, MqttSource
from core.events import SignalDead, SignalReceived
from core.units import NS_PER_S
from daemon.supervise import end
from tests.adapters.signals.lines import line, signal
from tests.clocks import ManualClock
from tests.fakes.intake import RecordingIntake
from tests.servers.mosquitto import Mosquitto, needs_mosquitto

pytestmark = needs_mosquitto

TOPIC = "execd/signals"
NOW = 100_000 * NS_PER_S
Version = Literal["5", "3.1.1"]
both = pytest.mark.parametrize("version", ["5", "3.1.1"])


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    broker = Mosquitto(tmp_path / "mosquitto")
    broker.start()
    yield broker
    broker.stop()


def source(broker: Mosquitto, version: Version = "5", **settings: Any) -> MqttSource:  # noqa: ANN401 - one field
    given = MqttSettings(host="127.0.0.1", port=broker.port, version=version, **settings)
    return MqttSource(given, str, clock=ManualClock(NOW))


async def publish(broker: Mosquitto, *messages: bytes, retain: bool = False, qos: int = 1) -> None:
    async with aiomqtt.Client("127.0.0.1", broker.port) as client:
        for message in messages:
            await client.publish(TOPIC, message, qos=qos, retain=retain)


@asynccontextmanager
async def receiving(made: MqttSource, intake: RecordingIntake) -> AsyncIterator["asyncio.Task[None]"]:
    task = asyncio.create_task(made.run(intake))
    try:
        async with asyncio.timeout(10):
            yield task
    finally:
        await end([task])
    raised = None if task.cancelled() else task.exception()
    if raised is not None and not isinstance(raised, ConnectionError):
        raise raised


async def subscribed(broker: Mosquitto, version: Version) -> None:
    """A session exists at the broker, which keeps what comes from now on."""
    intake = RecordingIntake()
    async with receiving(source(broker, version), intake):
        while not intake.published:
            await publish(broker, line("probe"))
            await asyncio.sleep(0.05)
        while len(intake.commits) < len(intake.published):
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.2)  # the acknowledgements travel: nothing tells that they have arrived


def ids(intake: RecordingIntake) -> list[str]:
    found = [event.signal.signal_id for event in intake.published if isinstance(event, SignalReceived)]
    return [each for each in found if each != "probe"]


@both
async def test_what_is_published_is_handed_in(broker: Mosquitto, version: Version) -> None:
    await subscribed(broker, version)
    await publish(broker, line("1"), b"nonsense", b"[" + line("2") + b"]")
    intake = RecordingIntake()
    async with receiving(source(broker, version), intake):
        await intake.until(3)
    assert intake.published[0] == SignalReceived(ts=NOW, source="mqtt:execd/signals", signal=signal("1"))
    assert isinstance(intake.published[1], SignalDead)
    assert ids(intake) == ["1", "2"]


@both
async def test_what_is_sent_while_nobody_is_here_waits_at_the_broker(broker: Mosquitto, version: Version) -> None:
    await subscribed(broker, version)
    await publish(broker, *(line(str(number)) for number in range(10)))
    intake = RecordingIntake()
    async with receiving(source(broker, version), intake):
        await intake.until(10)
    assert ids(intake) == [str(number) for number in range(10)]


@both
async def test_what_was_not_durable_comes_again_and_what_was_does_not(broker: Mosquitto, version: Version) -> None:
    await subscribed(broker, version)
    crashed = RecordingIntake()
    crashed.hold()
    await publish(broker, line("1"), line("2"))
    async with receiving(source(broker, version), crashed):
        await crashed.until(1)
    again = RecordingIntake()
    async with receiving(source(broker, version), again):
        await again.until(2)
        while len(again.commits) < 2:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.2)  # as above
    assert ids(again) == ["1", "2"]
    third = RecordingIntake()
    async with receiving(source(broker, version), third):
        await publish(broker, line("3"))
        await third.until(1)
    assert ids(third) == ["3"]


@both
async def test_a_broker_that_drops_raises_and_loses_nothing(broker: Mosquitto, version: Version) -> None:
    await subscribed(broker, version)
    intake = RecordingIntake()
    async with receiving(source(broker, version), intake) as task:
        await publish(broker, line("1"))
        await intake.until(1)
        broker.stop()
        with pytest.raises(ConnectionError, match="mqtt:execd/signals"):
            await task
    broker.start()
    await publish(broker, line("2"))
    async with receiving(source(broker, version), intake):
        while "2" not in ids(intake):
            await asyncio.sleep(0.01)
    assert sorted(set(ids(intake))) == ["1", "2"]


async def test_a_broker_that_is_not_there_raises(broker: Mosquitto) -> None:
    broker.stop()
    with pytest.raises(ConnectionError):
        await source(broker).run(RecordingIntake())


@both
async def test_a_retained_message_that_is_old_is_refused_and_a_fresh_one_acts(
    broker: Mosquitto, version: Version
) -> None:
    old, fresh = NOW - 3_600 * NS_PER_S, NOW - NS_PER_S
    for ts, expected in ((old, SignalDead), (fresh, SignalReceived)):
        await publish(broker, line("kept", ts), retain=True)
        intake = RecordingIntake()
        async with receiving(source(broker, version, client_id=f"t{ts}"), intake):
            await intake.until(1)
        (event,) = intake.published
        assert type(event) is expected
        if isinstance(event, SignalDead):
            assert event.reason == "retained by the broker, and 3,600 s old"


@both
async def test_an_old_signal_that_was_not_retained_is_the_sizers_business(broker: Mosquitto, version: Version) -> None:
    await subscribed(broker, version)
    await publish(broker, line("late", NOW - 3_600 * NS_PER_S))
    intake = RecordingIntake()
    async with receiving(source(broker, version), intake):
        await intake.until(1)
    assert ids(intake) == ["late"]


@both
async def test_a_pause_leaves_messages_at_the_broker(broker: Mosquitto, version: Version) -> None:
    await subscribed(broker, version)
    intake = RecordingIntake()
    intake.pause()
    await publish(broker, *(line(str(number)) for number in range(50)))
    async with receiving(source(broker, version), intake):
        await asyncio.sleep(0.2)  # nothing can be waited for: nothing must come
        assert intake.published == []
        intake.admit()
        await intake.until(50)
    assert ids(intake) == [str(number) for number in range(50)]


class Watched(MqttSource):
    """A source whose client can be looked at."""

    made: aiomqtt.Client

    def _client(self) -> aiomqtt.Client:
        self.made = super()._client()
        return self.made

    def waiting(self, qos: int) -> int:
        """Messages that came and were not taken."""
        inbox: Any = self.made._queue
        return [message.qos for message in inbox._queue].count(qos)


@both
async def test_during_a_pause_what_the_broker_does_not_keep_is_bounded_and_what_it_keeps_is_not_lost(
    broker: Mosquitto, version: Version, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mqtt, "LOSSY_MAX", 20)
    await subscribed(broker, version)
    made = Watched(MqttSettings(host="127.0.0.1", port=broker.port, version=version), str, clock=ManualClock(NOW))
    intake = RecordingIntake()
    intake.pause()
    async with receiving(made, intake):
        while not hasattr(made, "made"):
            await asyncio.sleep(0.01)
        kept = [f"kept{number}" for number in range(10)]
        async with aiomqtt.Client("127.0.0.1", broker.port) as client:
            for number in range(200):
                await client.publish(TOPIC, line(f"lossy{number}"), qos=0)
            for name in kept:
                await client.publish(TOPIC, line(name), qos=1)
        while made.waiting(1) < len(kept):
            await asyncio.sleep(0.01)
        assert made.waiting(0) == 20
        intake.admit()
        while ids(intake)[-1:] != kept[-1:]:
            await asyncio.sleep(0.01)
    assert [name for name in ids(intake) if name in kept] == kept
    assert len(ids(intake)) == 20 + len(kept) + 1  # and one was on its way
