"""An intake that keeps what sources hand in, and pauses and commits when a test says so."""

import asyncio

from adapters.signals.source import SignalEvent


class RecordingIntake:
    """Implements `adapters.signals.source.Intake`.

    `commits` are the numbers of events that were published when somebody waited for durability; `hold` and `pause` make
    those who ask for it wait.
    """

    def __init__(self) -> None:
        self.published: list[SignalEvent] = []
        self.commits: list[int] = []
        self._came = asyncio.Event()
        self._open = asyncio.Event()
        self._durable = asyncio.Event()
        self._open.set()
        self._durable.set()

    def pause(self) -> None:
        """A pause begins."""
        self._open.clear()

    def admit(self) -> None:
        """It ends."""
        self._open.set()

    def hold(self) -> None:
        """Nothing becomes durable."""
        self._durable.clear()

    def release(self) -> None:
        """Everything does."""
        self._durable.set()

    async def admitted(self) -> None:
        await self._open.wait()

    def publish(self, event: SignalEvent) -> None:
        self.published.append(event)
        self._came.set()

    async def committed(self) -> None:
        self.commits.append(len(self.published))
        await self._durable.wait()

    async def until(self, number: int) -> None:
        """Return once so many events were published."""
        while len(self.published) < number:
            self._came.clear()
            await self._came.wait()
