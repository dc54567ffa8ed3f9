"""Signals from an MQTT topic: QoS 1, acknowledged by hand once what they caused is durable.

The broker keeps the session of this client while it is away and sends again what was not acknowledged. A retained
message comes anew with each subscription, however old it is: one that is older than `retained_age_s_max` is refused.

The broker keeps nothing that was published with QoS 0: during a pause `LOSSY_MAX` of them wait here, more are lost.
"""

import asyncio
import ssl
from typing import Any, Literal

import msgspec
import structlog
from aiomqtt import Client, Message, MqttError, ProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from adapters.clock import Clock
from adapters.password import Password
from adapters.signals.source import Intake, SignalEvent, dead, events_of, hand_in
from core.events import SignalReceived
from core.units import NS_PER_S

IN_FLIGHT = (
    100  # messages that the broker may send ahead of their acknowledgements (v5; v3.1.1 leaves it to the broker)
)
LOSSY_MAX = 1_000  # messages that wait here before one of QoS 0 is lost
SESSION_S = 7 * 86_400  # how long the broker keeps what was sent while we were away: the horizon of de-duplication
DEADLINE_S = 5.0  # for an answer of the broker
KEEPALIVE_S = 15  # a broker that is silent for half as long again is gone


_log = structlog.get_logger()


class _Inbox(asyncio.Queue[Message]):
    """What came and was not taken yet. Of QoS 1 all of it, which the broker bounds; of QoS 0 what there is room for."""

    _full = False

    def put_nowait(self, item: Message) -> None:
        """Take a message, or lose it."""
        if item.qos == 0 and self.qsize() >= LOSSY_MAX:
            if not self._full:  # said once for as long as it is full
                _log.warning("signals of QoS 0 are lost", waiting=self.qsize())
            self._full = True
            return
        self._full &= not self.empty()
        super().put_nowait(item)


class MqttSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[signals.mqtt] - a topic of an MQTT broker; without a host there is none."""

    host: str = ""
    port: int = 1883
    topic: str = "execd/signals"
    version: Literal["5", "3.1.1"] = "5"
    username: str = ""  # its password is the credential mqtt_password
    client_id: str = "execd"  # the broker keeps a session by this name: one for each daemon
    tls: bool = False
    ca_file: str = ""  # whom to trust instead of the system's authorities
    retained_age_s_max: float = 60.0  # an older retained message is refused

    def __post_init__(self) -> None:
        if not 0 < self.port < 65_536:  # noqa: PLR2004 - ports
            raise ValueError(f"port = {self.port}: a port belongs here")
        if self.host and not self.client_id:
            raise ValueError("client_id = '': the broker needs a name to keep the session under")
        if not self.retained_age_s_max >= 0:
            raise ValueError(f"retained_age_s_max = {self.retained_age_s_max}: seconds, zero or more, belong here")


class MqttSource:
    """Subscribes to one topic."""

    def __init__(self, settings: MqttSettings, password: Password, *, clock: Clock) -> None:
        self.name = f"mqtt:{settings.topic}"
        self._settings = settings
        self._password = password
        self._clock = clock

    async def run(self, intake: Intake) -> None:
        """Receive for ever; raises OSError when the broker is away."""
        try:
            async with self._client() as client:
                await client.subscribe(self._settings.topic, qos=1)
                async for message in client.messages:
                    await self._take(intake, client, message)
        except MqttError as error:
            raise ConnectionError(f"{self.name}: {error}") from error

    def _client(self) -> Client:
        settings = self._settings
        client = Client(
            settings.host,
            settings.port,
            identifier=settings.client_id,
            username=settings.username or None,
            password=self._password() or None,
            timeout=DEADLINE_S,
            keepalive=KEEPALIVE_S,
            queue_type=_Inbox,
            tls_context=ssl.create_default_context(cafile=settings.ca_file or None) if settings.tls else None,
            **_session(settings.version),
        )
        client._client.manual_ack_set(on=True)  # noqa: SLF001 - aiomqtt acknowledges on receipt otherwise
        return client

    async def _take(self, intake: Intake, client: Client, message: Message) -> None:
        await intake.admitted()
        await hand_in(intake, self._events(message))
        await intake.committed()
        client._client.ack(message.mid, message.qos)  # noqa: SLF001 - as above

    def _events(self, message: Message) -> list[SignalEvent]:
        now = self._clock.now()
        payload = bytes(message.payload)
        events = events_of(payload, source=self.name, now=now)
        if not message.retain:
            return events
        oldest = now - int(self._settings.retained_age_s_max * NS_PER_S)
        return [
            dead(
                self.name,
                f"retained by the broker, and {(now - event.signal.ts) / NS_PER_S:,.0f} s old",
                payload,
                now=now,
            )
            if isinstance(event, SignalReceived) and event.signal.ts < oldest
            else event
            for event in events
        ]


def _session(version: str) -> dict[str, Any]:
    """What makes the broker keep the session, as each version of the protocol says it."""
    if version == "3.1.1":
        return {"protocol": ProtocolVersion.V311, "clean_session": False}
    properties: Any = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]  # ships half typed
    properties.SessionExpiryInterval = SESSION_S
    properties.ReceiveMaximum = IN_FLIGHT
    return {"protocol": ProtocolVersion.V5, "clean_start": False, "properties": properties}
