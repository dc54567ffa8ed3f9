"""Watches over what the daemon cannot trade without: the journal and the market's data. What is away pauses trading.

The event loop is watched too: what keeps it from giving turns delays every order, and is in no stage's time.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Iterable
from typing import Protocol

from adapters.clock import Clock
from adapters.gateway import Gateway
from core.calendar import CALENDARS
from core.causes import BACKLOG, FEED, JOURNAL
from core.events import AccountReported, VenueAway
from core.instruments import Instruments
from core.units import NS_PER_S
from daemon.halts import Halts
from daemon.metrics import Histogram

JOURNAL_LOOK_S = 0.05
SLOW_S = 0.25  # an event that waits longer for its commit: approvals pause
CALM_S = 0.1  # and go on once none waits for so long
FEED_LOOK_S = 1.0
LOOP_LOOK_S = 0.1


class Store(Protocol):
    """The part of the journal that is watched."""

    @property
    def age_s(self) -> float:
        """How long the oldest event that is not committed has waited."""
        ...

    @property
    def trouble(self) -> str:
        """Why the database takes nothing; empty where it does."""
        ...


class JournalWatch:
    """Pauses trading while what is decided does not become durable, or not soon enough."""

    name = "journal watch"

    def __init__(self, journal: Store, halts: Halts) -> None:
        self._journal = journal
        self._halts = halts

    async def run(self) -> None:
        """Look for ever."""
        while True:
            self.look()
            await asyncio.sleep(JOURNAL_LOOK_S)

    def look(self) -> None:
        """One look."""
        age_s, trouble = self._journal.age_s, self._journal.trouble
        if trouble:
            self._halts.away(JOURNAL, trouble)
        else:
            self._halts.back(JOURNAL)
        if age_s > SLOW_S:
            self._halts.away(BACKLOG, f"an event has waited {age_s * 1_000:,.0f} ms for the database")
        elif age_s < CALM_S:
            self._halts.back(BACKLOG)


class FeedWatch:
    """Pauses trading while no market data comes although a session is open. `played` counts what came."""

    name = "feed watch"

    def __init__(
        self,
        instruments: Instruments,
        halts: Halts,
        *,
        age_s_max: float,
        now: Callable[[], int],
        played: Callable[[], int],
    ) -> None:
        self._calendars = [CALENDARS[name] for name in sorted(_names(instruments))]
        self._halts = halts
        self._age_s_max = age_s_max
        self._now = now
        self._played = played

    async def run(self) -> None:
        """Look for ever."""
        time = asyncio.get_running_loop().time
        seen, since = self._played(), time()
        while True:
            await asyncio.sleep(FEED_LOOK_S)
            if self._played() != seen or not self._is_open():
                seen, since = self._played(), time()
                self._halts.back(FEED)
            elif time() - since > self._age_s_max:
                self._halts.away(FEED, f"no market data for {time() - since:,.0f} s")

    def _is_open(self) -> bool:
        return any(calendar.session_at(self._now()) is not None for calendar in self._calendars)


class AccountWatch:
    """Hears from each venue how the account stands, every so many seconds of the run's clock, and says who is away.

    Who was away may have executed what nobody told us: its books are compared with ours before it counts as back.
    """

    name = "account watch"

    def __init__(
        self,
        gateways: dict[str, Gateway],
        publish: Callable[[AccountReported | VenueAway], None],
        *,
        clock: Clock,
        every_s: float,
        compare: Callable[[str], Awaitable[object]],
    ) -> None:
        self._gateways = gateways
        self._publish = publish
        self._clock = clock
        self._every_ns = int(every_s * NS_PER_S)
        self._compare = compare
        self.away: set[str] = set()  # of which that was said

    async def run(self) -> None:
        """Ask for ever; raises OSError where a venue cannot be asked. At the start reconciliation asks."""
        while True:
            await self._clock.sleep_until(self._clock.now() + self._every_ns)
            await self.look()

    async def look(self) -> None:
        """Ask each of them once; raises the OSError of the first that cannot be asked, once all others were."""
        failed: OSError | None = None
        for name, gateway in self._gateways.items():
            try:
                if name in self.away:
                    await self._compare(name)
                self._publish(await gateway.account())
                self.away.discard(name)
            except OSError as error:
                failed = failed or error
                if name not in self.away:
                    self._publish(VenueAway(ts=self._clock.now(), venue=name, text=str(error)))
                self.away.add(name)
        if failed is not None:
            raise failed


class BooksWatch:
    """Compares our books with each venue's, every so many seconds of the run's clock; with none that is `away`."""

    name = "books watch"

    def __init__(
        self,
        venues: Collection[str],
        compare: Callable[[str], Awaitable[object]],
        *,
        clock: Clock,
        every_s: float,
        away: Collection[str],
    ) -> None:
        self._venues = venues
        self._compare = compare
        self._clock = clock
        self._every_ns = int(every_s * NS_PER_S)
        self._away = away

    async def run(self) -> None:
        """Compare for ever; raises OSError where somebody cannot be asked. At the start reconciliation compares."""
        while True:
            await self._clock.sleep_until(self._clock.now() + self._every_ns)
            await self.look()

    async def look(self) -> None:
        """Compare with each of them once; raises the first OSError, once all others were."""
        failed: OSError | None = None
        for name in self._venues:
            if name in self._away:
                continue  # its return is waited for already
            try:
                await self._compare(name)
            except OSError as error:
                failed = failed or error
        if failed is not None:
            raise failed


class LoopWatch:
    """Measures how late the event loop gives turns. `now_ns` is the machine's monotonic clock."""

    name = "loop watch"

    def __init__(self, late: Histogram, now_ns: Callable[[], int] = time.monotonic_ns) -> None:
        self._late = late
        self._now_ns = now_ns

    async def run(self) -> None:
        """Look for ever."""
        while True:
            due = self._now_ns() + int(LOOP_LOOK_S * NS_PER_S)
            await asyncio.sleep(LOOP_LOOK_S)
            self._late.observe(max(self._now_ns() - due, 0))


def _names(instruments: Instruments) -> Iterable[str]:
    return {instrument.calendar for instrument in instruments}
