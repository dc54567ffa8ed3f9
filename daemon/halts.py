"""Stopping and letting go: the acts behind `TradingHalted` and `TradingResumed`, whoever asks for them.

A *kill* stands until an operator resumes, over restarts too; `resume` is refused while anything still asks for the halt
(the key, the file), and asks the venues before it lets go. Whatever else is an operator's to end, it ends as well. A
*pause* of the infrastructure (`core.causes`, those that end by themselves) ends once contact has been back for a while
and the venues were reconciled; every new loss of contact begins the wait anew. Meanwhile sources keep their signals:
`admitted` is what they wait for.

On a bus with tasks what is published is folded later: `_on` remembers what was asked for meanwhile.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from math import isfinite

import msgspec
import structlog

from adapters.clock import Clock
from core.causes import CAUSES, KILL, REDIS, Release
from core.events import TradingHalted, TradingResumed
from core.trading import halted
from daemon.bus import Bus
from daemon.standing import Standing

RETRY_S = 2.0  # between two attempts to reconcile with a venue that cannot be reached
WAIT_S_MAX = 3_600  # of a setting

_BY_WATCH = {Release.ITSELF, Release.CAUGHT_UP}

_log = structlog.get_logger()


class HaltSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How trading is stopped from outside, and when a pause ends. Seconds are the machine's, on any clock."""

    key: str = "execd:halt"  # in Redis: any value halts
    file: str = ""  # that it exists halts; empty: HALT in the data directory
    release_after_s: float = 30.0  # contact must have been back for that long
    drain_s: float = 10.0  # how long a halt may take until nothing works at the venues, then it is an alert
    feed_age_s_max: float = 60.0  # no quote of any instrument in session for that long: market data is stale

    def __post_init__(self) -> None:
        for name in ("release_after_s", "drain_s", "feed_age_s_max"):
            value = getattr(self, name)
            if not (isfinite(value) and 0 < value <= WAIT_S_MAX):
                raise ValueError(f"{name} = {value}: seconds between 0 and {WAIT_S_MAX:,} belong here")
        if not self.key:
            raise ValueError("key = '': the name of a key belongs here")


class Refused(Exception):  # noqa: N818 - it reads as what happened
    """An operator's act was refused; the message says why and what to do."""


Obstacle = Callable[[], str]
"""Why trading must not be resumed now, empty where nothing is in the way."""


class Halts:
    """Publishes halts and their ends; folds them to know which are live."""

    def __init__(
        self,
        settings: HaltSettings,
        *,
        clock: Clock,
        bus: Bus,
        recall: Callable[[], None],
        reconcile: Callable[[], Awaitable[object]],
        durable: Callable[[], Awaitable[object]],
        obstacles: Iterable[Obstacle] = (),
        standing: Standing | None = None,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._bus = bus
        self._recall = recall
        self._reconcile = reconcile
        self._durable = durable  # once all that was published is on record
        self._obstacles = tuple(obstacles)
        self._standing = standing  # None: a simulation, whose halts end with it
        self._away: dict[str, str] = {}  # causes whose watch has no contact now, and what it says
        self._on: dict[str, bool] = {}  # causes whose halt, or end, was published and is not folded yet
        self._releases: dict[str, asyncio.Task[None]] = {}
        self._kills: set[asyncio.Task[None]] = set()
        self._forgetting: asyncio.Task[None] | None = None
        self._admitted = asyncio.Event()
        self._admitted.set()
        self.live: dict[str, TradingHalted] = {}  # by cause
        self.heard_ns = 0  # of the machine's monotonic clock: when the last kill was heard

    # folds

    def halt(self, event: TradingHalted) -> None:
        """A cause is live."""
        self.live[event.cause] = event
        self._folded(event.cause, on=True)

    def resume(self, event: TradingResumed) -> None:
        """A cause has ended."""
        self.live.pop(event.cause, None)
        self._folded(event.cause, on=False)

    # snapshots

    def dump(self) -> dict[str, object]:
        """State for a snapshot."""
        return {"live": [msgspec.to_builtins(event) for event in self.live.values()]}

    def load(self, dumped: dict[str, object]) -> None:
        """State from a snapshot."""
        events = msgspec.convert(dumped["live"], list[TradingHalted])
        self.live = {event.cause: event for event in events}
        self._settle()

    # acts

    def kill(self, text: str, by: str = "", heard_ns: int | None = None) -> "asyncio.Task[None]":
        """Stop everything and take everything back, until somebody resumes; done when it is folded, and on disk.

        From here on nothing leaves but the request to cancel everything, which comes before all else.
        """
        self.heard_ns = time.monotonic_ns() if heard_ns is None else heard_ns
        _log.error("halted", by=by, text=text)
        self._recall()
        task = asyncio.get_running_loop().create_task(self._kill(text, by))
        self._kills.add(task)
        task.add_done_callback(self._kills.discard)
        return task

    async def _kill(self, text: str, by: str) -> None:
        halt = halted(KILL, self._clock.now(), text=text, by=by)
        self._bus.publish(halt)
        await self._bus.settled()
        if self._standing is not None:
            try:
                await self._standing.put(halt)
            except OSError as error:  # the journal may still have it
                _log.error("the halt is not in its file", error=str(error))

    def away(self, cause: str, text: str) -> None:
        """A watch has lost contact: pause."""
        self._stop_release(cause)
        before = self._away.get(cause)
        self._away[cause] = text
        if before is None and not self._is_on(cause):
            _log.warning("paused", cause=cause, text=text)
            self._on[cause] = True
            self._bus.publish(halted(cause, self._clock.now(), text=text))

    def back(self, cause: str) -> None:
        """A watch has contact: the pause, if there is one, ends after a while, and not before the venues agree.

        One that was only a backlog ends at once: nothing was out of sight.
        """
        was_away = self._away.pop(cause, None) is not None
        if not (was_away or self._is_on(cause)) or cause in self._releases:
            return
        if CAUSES[cause].release is Release.CAUGHT_UP:
            self._end(cause)
        else:
            self._releases[cause] = asyncio.get_running_loop().create_task(self._release(cause))

    def release_unwatched(self, watched: set[str]) -> None:
        """Pauses on record that nobody watches any more, because they are no longer configured, end as others do."""
        for cause in list(self.live):
            if cause in CAUSES and CAUSES[cause].release in _BY_WATCH and cause not in watched:
                self.back(cause)

    async def resume_trading(self, by: str) -> None:
        """End what an operator ends; raises Refused where a halt is asked for, or it is not known how things stand."""
        ends = {cause: event for cause, event in self.live.items() if _is_operators(cause)}
        if not ends:
            raise Refused(f"nobody has halted trading; what holds it back: {self.in_words()}")
        self._check_obstacles()
        try:
            await self._reconcile()
        except OSError as error:
            raise Refused(f"not everybody can be asked how things stand: {error}") from error
        self._check_obstacles()
        if self._kills or any(self.live.get(cause) is not event for cause, event in ends.items()):  # it was not meant
            raise Refused("somebody else has halted or resumed trading this moment: see `execd status`")
        _log.warning("resumed", by=by)
        for cause in ends:  # what was tripped meanwhile was not meant, and stands
            self._end(cause, by)
        self._forgetting = asyncio.get_running_loop().create_task(self._forget())

    def _check_obstacles(self) -> None:
        for obstacle in self._obstacles:
            if reason := obstacle():
                raise Refused(reason)

    async def _forget(self) -> None:
        """The halt no longer stands over a restart, once its end does."""
        try:
            await self._durable()
            if self._standing is not None and not self._kills and KILL not in self.live:
                self._standing.clear()
        except Exception as error:  # noqa: BLE001 - then it stands, which is the safe side
            _log.error("the halt's end does not stand: a restart is halted", error=str(error))

    async def resumed(self) -> None:
        """Return once the end of the last kill is on record, and stands over a restart."""
        if self._forgetting is not None:
            await asyncio.shield(self._forgetting)

    async def admitted(self) -> None:
        """Return once no pause holds signals at their source."""
        await self._admitted.wait()

    def in_words(self) -> str:
        """The live causes, for people."""
        return ", ".join(sorted(self.live)) or "nothing"

    def close(self) -> None:
        """Let pauses stand as they are."""
        for cause in list(self._releases):
            self._stop_release(cause)

    async def _release(self, cause: str) -> None:
        await asyncio.sleep(self._settings.release_after_s)
        while True:
            try:
                await self._reconcile()
                break
            except Exception as error:  # noqa: BLE001 - whatever it is, the pause goes on, and somebody hears why
                _log.error("pause goes on: not everybody can be asked", cause=cause, error=str(error))
                await asyncio.sleep(RETRY_S)
        del self._releases[cause]
        _log.warning("pause over", cause=cause)
        self._end(cause)

    def _end(self, cause: str, by: str = "execd") -> None:
        self._on[cause] = False
        self._bus.publish(TradingResumed(ts=self._clock.now(), cause=cause, by=by))

    def _is_on(self, cause: str) -> bool:
        return self._on.get(cause, cause in self.live)

    def _folded(self, cause: str, *, on: bool) -> None:
        if self._on.get(cause) is on:
            del self._on[cause]
        self._settle()

    def _stop_release(self, cause: str) -> None:
        release = self._releases.pop(cause, None)
        if release is not None:
            release.cancel()

    def _settle(self) -> None:
        held = any(CAUSES[name].holds_signals for name in self.live if name in CAUSES)
        if held:
            self._admitted.clear()
        else:
            self._admitted.set()


def _is_operators(cause: str) -> bool:
    return cause in CAUSES and CAUSES[cause].release is Release.OPERATOR


class Heard:
    """What the watch over key and file tells, as acts; the latch opens once each is folded."""

    def __init__(self, halts: Halts, bus: Bus) -> None:
        self._halts = halts
        self._bus = bus
        self._waiting: set[asyncio.Task[None]] = set()

    def stop(self, text: str, heard_ns: int, folded: Callable[[], None]) -> None:
        """Serves `adapters.halt.Listener`."""
        self._halts.kill(text, heard_ns=heard_ns)
        self._when_settled(folded)  # behind the kill's own task

    def away(self, text: str, folded: Callable[[], None]) -> None:
        """Serves `adapters.halt.Listener`."""
        self._halts.away(REDIS, text)
        self._when_settled(folded)

    def back(self) -> None:
        """Serves `adapters.halt.Listener`."""
        self._halts.back(REDIS)

    def _when_settled(self, folded: Callable[[], None]) -> None:
        async def wait() -> None:
            await self._bus.settled()
            folded()

        task = asyncio.get_running_loop().create_task(wait())
        self._waiting.add(task)
        task.add_done_callback(self._waiting.discard)
