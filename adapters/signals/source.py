"""The seam to whoever sends signals: bytes in, events out, acknowledged once what they caused is durable."""

import asyncio
from collections.abc import Iterable
from typing import Protocol

from core.events import SignalDead, SignalReceived
from core.signals import KEPT, BadSignal, parse

SignalEvent = SignalReceived | SignalDead


class Intake(Protocol):
    """Where a source hands signals in."""

    async def admitted(self) -> None:
        """Return once no pause of the daemon holds signals at their source."""
        ...

    def publish(self, event: SignalEvent) -> None:
        """Hand over what arrived."""
        ...

    async def committed(self) -> None:
        """Return once all that was published so far, and all that it caused, is durable."""
        ...


class Source(Protocol):
    """One way in which signals arrive.

    `run` may raise, for instance when its server is away: it is started again, and must then lose nothing that its
    transport still has. What it received and did not acknowledge comes again; the sizer knows repeats.
    """

    name: str

    async def run(self, intake: Intake) -> None:
        """Hand in what arrives until there is nothing more to come; a source without an end runs for ever."""
        ...


def events_of(message: bytes, *, source: str, now: int) -> list[SignalEvent]:
    """The events of one message, one per signal; what is no signal becomes a dead letter."""
    return [
        SignalDead(ts=now, source=source, reason=signal.reason, text=signal.text)
        if isinstance(signal, BadSignal)
        else SignalReceived(ts=now, source=source, signal=signal)
        for signal in parse(message)
    ]


def dead(source: str, reason: str, message: bytes, *, now: int) -> SignalDead:
    """The dead letter of a message that its source cannot even hand to the parser."""
    return SignalDead(ts=now, source=source, reason=reason, text=message[:KEPT].decode("utf-8", "replace"))


async def hand_in(intake: Intake, events: Iterable[SignalEvent]) -> None:
    """Publish one by one: a halt does not wait for a batch, and a pause that begins within one holds the rest."""
    for event in events:
        await intake.admitted()
        intake.publish(event)
        await asyncio.sleep(0)
