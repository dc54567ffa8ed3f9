"""What is kept of every event: the conflated market on the tape, everything else in the journal, one sequence for both.

An outside event and all that follows from it become durable together or not at all. Half a cascade on record would be
folded at the next start and never decided to its end: a signal that was accepted and has no parent, a child without a
verdict. So events are gathered until the bus has come to rest, and only then handed to the journal.
"""

import asyncio

from adapters.store.journal import Journal
from adapters.store.tape import TapeWriter
from core.events import Event, MarketData


class Recorder:
    """The bus's tap; `durable` is what the sender waits for."""

    __slots__ = ("_cascade", "_journal", "_tape", "_waiters")

    def __init__(self, journal: Journal, tape: TapeWriter) -> None:
        self._journal = journal
        self._tape = tape
        self._cascade: list[tuple[int, Event]] = []
        self._waiters: list[asyncio.Future[None]] = []  # for the present cascade to end

    def record(self, seq: int, event: Event) -> None:
        """Take one event."""
        if type(event) is MarketData:
            self._tape.put(seq, event)
        else:
            self._cascade.append((seq, event))

    def seal(self) -> None:
        """The bus is at rest: what was gathered is whole."""
        if not self._cascade:
            return
        cascade, self._cascade = self._cascade, []
        self._journal.put(*cascade)
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():  # cancelled
                waiter.set_result(None)

    async def durable(self, seq: int) -> None:
        """Return once everything up to `seq` is durable; raises JournalError if it cannot be."""
        while self._cascade and seq >= self._cascade[0][0]:
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            await waiter
        await self._journal.durable(seq)
