"""The seam to whoever sends signals: bytes in, events out, acknowledged once what they caused is durable."""

from collections.abc import Callable
from typing import Protocol

from core.events import SignalDead, SignalReceived
from core.signals import BadSignal, parse

Publish = Callable[[SignalReceived | SignalDead], None]


class Source(Protocol):
    """One way in which signals arrive."""

    name: str

    async def run(self, publish: Publish) -> None:
        """Publish what arrives until there is nothing more to come; a source without an end runs for ever."""
        ...


def events_of(message: bytes, *, source: str, now: int) -> list[SignalReceived | SignalDead]:
    """The events of one message, one per signal; what is no signal becomes a dead letter."""
    return [
        SignalDead(ts=now, source=source, reason=signal.reason, text=signal.text)
        if isinstance(signal, BadSignal)
        else SignalReceived(ts=now, source=source, signal=signal)
        for signal in parse(message)
    ]
