"""Market data on its way in: recorded or generated updates at their own time, merged where the reader is behind."""

import asyncio
from collections.abc import Callable, Iterable, Iterator

from adapters.clock import Clock
from core.events import Event
from core.market import Bar, Conflator, Trade, Update, Withdrawal

BURST = 512  # updates merged at once before everyone else gets a turn


class Feed:
    """Plays updates, oldest first, to listeners (paper venues) and, conflated, to the bus."""

    def __init__(
        self,
        updates: Iterable[Update],
        *,
        clock: Clock,
        publish: Callable[[Event], None],
        listeners: Iterable[Callable[[Update], None]] = (),
    ) -> None:
        self.name = "feed"
        self._updates = iter(updates)
        self._clock = clock
        self._publish = publish
        self._listeners = tuple(listeners)
        self._waiting = Conflator()
        self.played = 0

    async def run(self) -> None:
        """Play to the end of the updates. What happened before now is not played again, only what stands of it is."""
        first = self._catch_up(self._clock.now())
        clock, waiting, listeners = self._clock, self._waiting, self._listeners
        if first is None:
            self._flush()
            return
        count = 0
        for update in _chain(first, self._updates):
            if update.ts > clock.now() or count >= BURST:
                self._flush()
                count = 0
                await asyncio.sleep(0)
                await clock.sleep_until(update.ts)
            for listener in listeners:
                listener(update)
            waiting.add(update)
            count += 1
        self._flush()

    def _catch_up(self, now: int) -> Update | None:
        """Skip the past; the first update to play."""
        standing: dict[tuple[type[Update], str], Update] = {}
        first = None
        for update in self._updates:
            if update.ts >= now:
                first = update
                break
            if not isinstance(update, Trade | Bar | Withdrawal):
                standing[type(update), update.symbol] = update
        for update in standing.values():
            for listener in self._listeners:
                listener(update)
            self._waiting.add(update)
        return first

    def _flush(self) -> None:
        for event in self._waiting.take():
            self.played += 1
            self._publish(event)


def _chain(first: Update, rest: Iterator[Update]) -> Iterator[Update]:
    yield first
    yield from rest
