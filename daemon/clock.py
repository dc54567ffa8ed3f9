"""Three clocks behind one seam: the system's, one that runs faster, and one that jumps from event to event.

Nothing in the pure packages asks for the time; edges ask one of these. The simulated clock keeps whole nanoseconds: it
moves only when everything that could run has run, and then to the next moment that anybody waits for. It replaces the
selector of the event loop, so unmodified asyncio code, its time-outs included, runs in virtual time.
"""

import asyncio
import selectors
import time
from collections.abc import Callable
from functools import partial
from heapq import heappop, heappush
from typing import Protocol

import adapters.clock
from core.units import NS_PER_S

CLOCK_STEP_S_MAX = 1.0  # how far the wall clock may lie before the newest event on record
SCALE_MAX = 100_000  # a day in less than a second: faster than any daemon can follow


class ClockError(RuntimeError):
    """The machine's time contradicts the journal."""


class Clock(adapters.clock.Clock, Protocol):
    """What the daemon needs of time, beyond what edges may ask."""

    def not_before(self, ts: int) -> None:
        """Time goes on from `ts`, the newest event on record, or later; raises ClockError where it cannot."""
        ...


class SystemClock:
    """The machine's clock.

    The wall's time at the start, moved on by the monotonic clock, so a stepped wall clock cannot make time run back.
    """

    __slots__ = ("_armed", "_count", "_origin", "_scale", "_started", "_waiting")

    def __init__(self) -> None:
        self._origin = time.time_ns()
        self._started = time.monotonic_ns()
        self._scale = 1
        self._waiting: list[tuple[int, int, Callable[[], object]]] = []
        self._count = 0
        self._armed: int | None = None  # when the loop wakes next

    def now(self) -> int:
        """Now, ns UTC."""
        return self._origin + (time.monotonic_ns() - self._started) * self._scale

    def not_before(self, ts: int) -> None:
        """Go on from the newest event on record; a wall clock that lies far before it is refused."""
        behind = max(ts - self.now(), 0)
        if behind > CLOCK_STEP_S_MAX * NS_PER_S:
            raise ClockError(
                f"the newest event on record is {behind / NS_PER_S:,.0f} s in the future: check this machine's clock"
            )
        self._origin += behind

    async def sleep_until(self, ts: int) -> None:
        """Return once `now() >= ts`; timers may fire early, so every wake looks again."""
        while (left := ts - self.now()) > 0:  # noqa: ASYNC110 - nothing but time is waited for
            await asyncio.sleep(left / NS_PER_S / self._scale)

    def call_at(self, ts: int, callback: Callable[[], None]) -> None:
        """Call back once `now() >= ts`, in the order of `ts` and then of asking, which a loop does not keep."""
        self._count += 1
        heappush(self._waiting, (ts, self._count, callback))
        self._arm(ts)

    def _arm(self, ts: int) -> None:
        """Wake at `ts` or earlier: one timer of the loop is enough, the one for the earliest."""
        if self._armed is None or ts < self._armed:
            self._armed = ts
            left = max(ts - self.now(), 0)
            asyncio.get_running_loop().call_later(left / NS_PER_S / self._scale, self._wake, ts)

    def _wake(self, armed: int) -> None:
        if armed != self._armed:
            return  # an earlier wake came between, and armed anew
        self._armed = None
        now = self.now()  # once: a callback that is due by then waits for the next wake
        try:
            while self._waiting and self._waiting[0][0] <= now:
                heappop(self._waiting)[2]()
        finally:
            if self._waiting:  # a callback that raises does not cost the others theirs
                self._arm(self._waiting[0][0])


class ScaledClock(SystemClock):
    """A clock that runs `scale` times as fast as the system's, from `origin` (ns UTC) at the first look on."""

    __slots__ = ("_runs",)

    def __init__(self, origin: int, scale: int) -> None:
        super().__init__()
        if not 1 <= scale <= SCALE_MAX:
            raise ValueError(f"clock scale {scale} is not between 1 and {SCALE_MAX:,}")
        self._origin, self._scale = origin, scale
        self._runs = False  # what comes before the first look, recovery above all, takes no market time

    def now(self) -> int:
        """Now, ns UTC."""
        if not self._runs:
            self._runs = True
            self._started = time.monotonic_ns()
        return super().now()

    def not_before(self, ts: int) -> None:
        """Go on from `ts` where it is later."""
        self._origin = max(self.now(), ts)
        self._started = time.monotonic_ns()


class SimulatedClock(selectors.BaseSelector):
    """Virtual time, ns; also the selector of its event loop (`simulated_loop`).

    It has no file descriptors: a simulation does no I/O that waits.
    """

    def __init__(self, origin: int) -> None:
        self._now = origin
        self._origin = origin
        self._waiting: list[tuple[int, int, Callable[[], object]]] = []
        self._count = 0
        self._keys: dict[int, selectors.SelectorKey] = {}

    def now(self) -> int:
        """Virtual now, ns UTC."""
        return self._now

    def not_before(self, ts: int) -> None:
        """Jump to `ts` where it is later."""
        self._now = max(self._now, ts)

    def seconds(self) -> float:
        """Virtual seconds since the origin: the loop's own time, small enough for a float to be exact to the ns."""
        return (self._now - self._origin) / NS_PER_S

    async def sleep_until(self, ts: int) -> None:
        """Return at `ts`, virtual time; at once where it has passed."""
        if ts <= self._now:
            return
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.call_at(ts, partial(_wake, woken))
        await woken

    def call_at(self, ts: int, callback: Callable[[], object]) -> None:
        """Call back at `ts`, in the order of `ts` and then of asking."""
        self._count += 1
        heappush(self._waiting, (ts, self._count, callback))

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Nothing is runnable now: move to the next moment. Called by the event loop with its own timers' wait."""
        if timeout is not None and timeout <= 0:
            return []
        own = self._waiting[0][0] if self._waiting else None
        loops = None if timeout is None else self._now + max(1, round(timeout * NS_PER_S))
        target = min((ts for ts in (own, loops) if ts is not None), default=None)
        if target is None:
            raise RuntimeError("the simulation waits for something that will never happen")
        self._now = max(self._now, target)
        loop = asyncio.get_running_loop()
        while self._waiting and self._waiting[0][0] <= self._now:
            loop.call_soon(heappop(self._waiting)[2])
        return []

    # the loop registers its self-pipe here; nothing ever comes through it

    def register(self, fileobj: object, events: int, data: object = None) -> selectors.SelectorKey:
        """Remember a file object; it is never polled."""
        fd = fileobj if isinstance(fileobj, int) else fileobj.fileno()  # type: ignore[attr-defined]
        key = self._keys[fd] = selectors.SelectorKey(fileobj, fd, events, data)  # type: ignore[arg-type]
        return key

    def unregister(self, fileobj: object) -> selectors.SelectorKey:
        """Forget a file object."""
        fd = fileobj if isinstance(fileobj, int) else fileobj.fileno()  # type: ignore[attr-defined]
        return self._keys.pop(fd)

    def get_map(self) -> dict[int, selectors.SelectorKey]:  # type: ignore[override]
        """The registered file objects."""
        return self._keys


def _wake(waiter: "asyncio.Future[None]") -> None:
    if not waiter.done():  # its task was cancelled meanwhile
        waiter.set_result(None)


class _SimulatedLoop(asyncio.SelectorEventLoop):
    def __init__(self, clock: SimulatedClock) -> None:
        super().__init__(clock)
        self._execd_clock = clock

    def time(self) -> float:
        return self._execd_clock.seconds()


def simulated_loop(clock: SimulatedClock) -> asyncio.AbstractEventLoop:
    """An event loop in `clock`'s virtual time."""
    return _SimulatedLoop(clock)
