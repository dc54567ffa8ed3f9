"""A clock that stands still until a test moves it."""

import asyncio
import heapq
from collections.abc import Awaitable, Callable
from itertools import count
from typing import TypeVar

Result = TypeVar("Result")

PATIENCE = 100  # settlings of work that has no timer
TURNS = 20  # of the loop: more than any chain of wake-ups in the code under test is long


async def settle() -> None:
    """Let every task run that can, without time passing."""
    for _ in range(TURNS):
        await asyncio.sleep(0)


class ManualClock:
    """Implements `adapters.clock.Clock`; time passes in `advance` and `run` only."""

    def __init__(self, now: int = 0) -> None:
        self._now = now
        self._numbers = count()
        self._timers: list[tuple[int, int, Callable[[], None]]] = []

    def now(self) -> int:
        return self._now

    async def sleep_until(self, ts: int) -> None:
        if ts > self._now:
            woken = asyncio.get_running_loop().create_future()
            self.call_at(ts, lambda: None if woken.done() else woken.set_result(None))
            await woken

    def call_at(self, ts: int, callback: Callable[[], None]) -> None:
        heapq.heappush(self._timers, (ts, next(self._numbers), callback))

    async def advance(self, ts: int) -> None:
        """Move to `ts` through every timer on the way, in order; tasks run as far as they can in between."""
        await settle()
        while self._timers and self._timers[0][0] <= ts:
            await self._fire()
        self._now = max(self._now, ts)
        await settle()

    async def run(self, work: Awaitable[Result]) -> Result:
        """Move from timer to timer until `work` is done; fails where no timer is left to wait for."""
        task = asyncio.ensure_future(work)
        idle = 0
        await settle()
        while not task.done():
            if self._timers:
                await self._fire()
                idle = 0
            else:  # it may only have yielded again and again
                await settle()
                idle += 1
                assert idle < PATIENCE, "the work waits for something that no timer brings"
        return task.result()

    async def _fire(self) -> None:
        due, _, callback = heapq.heappop(self._timers)
        self._now = max(self._now, due)
        callback()
        await settle()
