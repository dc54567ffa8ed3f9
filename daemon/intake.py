"""Where sources hand their signals in: not during a pause, and acknowledged once what they caused is durable."""

from collections.abc import Awaitable, Callable

from core.events import SignalDead, SignalReceived
from daemon.bus import Bus, Handled
from daemon.recorder import Recorder


class Intake:
    """Serves `adapters.signals.source.Intake` over bus, halts and journal."""

    __slots__ = ("_admitted", "_bus", "_recorder", "counts")

    def __init__(self, bus: Bus, recorder: Recorder, admitted: Callable[[], Awaitable[None]]) -> None:
        self._bus = bus
        self._recorder = recorder
        self._admitted = admitted
        self.counts: dict[str, Handled] = {}  # by source

    async def admitted(self) -> None:
        """Return once no pause holds signals at their source."""
        await self._admitted()

    def publish(self, event: SignalReceived | SignalDead) -> None:
        """Hand over what arrived."""
        before = self.counts.get(event.source)
        self.counts[event.source] = Handled(before.number + 1 if before else 1, event.ts)
        self._bus.publish(event)

    async def committed(self) -> None:
        """Return once all that was published so far, and all that it caused, is durable; raises JournalError."""
        await self._bus.settled()
        await self._recorder.durable(self._bus.seq)
