"""The service manager's view of the daemon: ready, stopping, and alive as long as everything that must move moves.

The watchdog is fed only while the sequencer takes events, the journal's thread shows signs of life, also while its
database is away, and the watch over the halt key looks. A process of which one of them hangs is ended and recovers.
"""

import asyncio
import time
from collections.abc import Callable
from typing import NamedTuple

import structlog

from adapters import notify
from daemon.bus import Bus

ALIVE_S = 3.0  # the longest between two signs of life of a part that is well
JOURNAL_ALIVE_S = 30.0  # and of the journal's, which may wait for a database: above the 15 s of one answer
STATUS_S = 5.0  # between two lines for whoever looks, where the manager wants no signs of life


class Beat(NamedTuple):
    """The pulse of a part; both in seconds, `last` of the machine's monotonic clock."""

    last: Callable[[], float]
    alive_s: float = ALIVE_S


_log = structlog.get_logger()


class Notifier:
    """Feeds the watchdog of the service manager, where there is one. `words` is the daemon's state for people."""

    name = "notifier"

    def __init__(self, bus: Bus, beats: dict[str, Beat], words: Callable[[], str]) -> None:
        self._bus = bus
        self._beats = beats
        self._words = words

    async def run(self) -> None:
        """Tell until the run ends, if anybody listens."""
        if not notify.tell("READY=1"):
            return
        every_s = notify.watchdog_s()
        try:
            while True:
                hanging = await self._hanging()
                state = f"STATUS={self._words()}"
                if hanging:
                    notify.tell(f"{state}, no sign of life: {hanging}")
                else:
                    notify.tell(*(["WATCHDOG=1"] if every_s is not None else []), state)
                await asyncio.sleep(STATUS_S if every_s is None else every_s / 3)
        except asyncio.CancelledError:  # the run ends, and closing the books may take longer than an interval
            notify.tell("STOPPING=1", "STATUS=stopping")
            raise

    def hanging(self) -> list[str]:
        """The parts that have shown no sign of life for too long."""
        now = time.monotonic()
        return [name for name, beat in self._beats.items() if now - beat.last() > beat.alive_s]

    async def _hanging(self) -> str:
        """All of them, the sequencer too, for people and on the log."""
        found = [*self.hanging(), *([] if await self._sequencer_moves() else ["sequencer"])]
        if found:
            _log.error("no sign of life", parts=found)
        return ", ".join(found)

    async def _sequencer_moves(self) -> bool:
        try:
            async with asyncio.timeout(ALIVE_S):
                await self._bus.settled()
        except TimeoutError:
            return False
        return True
