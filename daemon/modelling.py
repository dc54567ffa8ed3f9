"""The risk model of a run: made of the file of daily returns beside the event loop, again whenever the file changes.

Who makes it takes his time in a thread, and may hang there with the file's server; the loop and the gate never wait. A
file that cannot be used changes nothing: the model before it goes on, older by a day each day, which makes the regime
worse by itself. Without any model nothing is opened.

A file is read once it has stood still, the same at two looks in a row, and as long as it stands so it is read no more,
whether it was used or refused. What is wrong with the way to it, and not with its content, is tried again at each look.
"""

import asyncio
import datetime as dt
from collections.abc import Callable
from functools import partial
from pathlib import Path
from stat import S_ISREG

import msgspec
import structlog

from adapters.aside import aside
from adapters.clock import Clock
from adapters.market.columns import TapeError
from adapters.market.returns import read_returns
from core.events import Event, RiskModelSet
from core.instruments import Instruments
from core.units import NS_PER_S
from daemon.config import RiskConfig
from risk.scenarios import ScenarioModel, jump
from risk.shortfall import ScenarioError
from risk.tail import Prepared, TailRisk, prepare

PATIENCE_S = 30.0  # how long a look may take before it is said, and a start goes on without a model
AHEAD_MAX = dt.timedelta(days=1)  # of the newest day before the date in UTC: in the east it is tomorrow already

_log = structlog.get_logger()


class UnsettledError(OSError):
    """The file is being written: it says nothing yet."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"{path.name} has just changed: it is read once it stands still")


class Stamp(msgspec.Struct, frozen=True):
    """What a file shows of a change of its content, without being read."""

    ino: int
    mtime_ns: int
    ctime_ns: int
    size: int


class Look(msgspec.Struct, frozen=True):
    """What a look at the file found: its model, why there is none, or None where the model in force is its model."""

    stamp: Stamp | None  # None: it has none
    found: Prepared | Exception | None


def stamp_of(path: Path) -> Stamp:
    """The stamp of a file; raises OSError, or TapeError for a pipe and the like, which one may read for ever."""
    stat = path.stat()
    if not S_ISREG(stat.st_mode):
        raise TapeError(f"{path.name} is no regular file: write the returns to one, and name it in risk.returns")
    return Stamp(stat.st_ino, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_size)


class Modeller:
    """Sets the model of one `TailRisk`."""

    name = "risk model"

    def __init__(
        self,
        settings: RiskConfig,
        instruments: Instruments,
        tail: TailRisk,
        publish: Callable[[Event], None],
        clock: Clock,
        *,
        threaded: bool,
    ) -> None:
        self.error = ""  # why the newest file is not used
        self._settings = settings
        self._path = Path(settings.returns)
        self._instruments = instruments
        self._tail = tail
        self._publish = publish
        self._clock = clock
        self._threaded = threaded
        self._used: Stamp | None = None  # the model in force was made of it
        self._refused: Look | None = None  # the last whose content was refused
        self._seen: Stamp | None = None  # at the last look
        self._looking: asyncio.Future[Look] | None = None  # a look that is under way

    async def begin(self) -> None:
        """Set the first model, of the file as it stands.

        A live run goes on without one where there is none within `PATIENCE_S`. In a simulation, where somebody looks
        on, raises what is wrong with the file.
        """
        if self._threaded:
            await self._step(at_once=True)
            return
        look = self._look(at_once=True)
        if isinstance(look.found, Exception):
            raise look.found
        self._take(look)

    async def run(self) -> None:
        """Set another one whenever the file has changed."""
        while True:
            if self._looking is None:
                await asyncio.sleep(self._settings.check_s)
            await self._step(at_once=False)

    async def _step(self, *, at_once: bool) -> None:
        """Look, or wait on for the look that is under way: one that takes long is said, and used when it is done."""
        if self._looking is None:
            self._looking = aside(partial(self._look, at_once=at_once), self.name)
        await asyncio.wait({self._looking}, timeout=PATIENCE_S)
        if not self._looking.done():
            self._say(TimeoutError(f"it takes more than {PATIENCE_S:g} s to read, and is used when that is done"))
            return
        looked, self._looking = self._looking, None
        self._take(looked.result())

    def _take(self, look: Look) -> None:
        self._seen, found = look.stamp, look.found
        if isinstance(found, Exception):
            if not isinstance(found, OSError):  # which is no fault of the content
                self._refused = look
            self._say(found)
            return
        if found is not None:
            self._set(found)
            self._used = look.stamp
        self.error = ""

    def _set(self, prepared: Prepared) -> None:
        before, model, regime = self._tail.model, prepared.model, prepared.regime
        self._tail.offer(prepared)
        self._publish(
            RiskModelSet(
                ts=self._clock.now(),
                version=model.version,
                date=model.date.isoformat(),
                symbols=len(model.symbols),
                scenarios=model.plain.shape[1],
                recent=tuple(each.name for each in regime.recent),
                proxies=tuple(proxy.symbol for proxy in model.proxies),
            )
        )
        self._warn(model, before)

    def _warn(self, model: ScenarioModel, before: ScenarioModel | None) -> None:
        """What is used, and still not as it should be."""
        if before is not None and model.date < before.date:
            _log.warning("the returns end earlier than before", date=str(model.date), before=str(before.date))
        missing = sorted(each.symbol for each in self._instruments if each.symbol not in set(model.symbols))
        if missing:
            _log.warning("instruments without scenarios take no order that opens", symbols=missing)
        for proxy in model.proxies:
            _log.warning("days were filled by the sector", symbol=proxy.symbol, days=proxy.days, sector=proxy.sector)

    def _say(self, error: Exception) -> None:
        """Keep why the file is not used, and say it once, not at each look."""
        said = f"{self._path}: {_described(error)}"
        if said != self.error:
            tell = _log.warning if isinstance(error, UnsettledError) else _log.error  # the former ends by itself
            tell("the returns are not used", error=said)
        self.error = said

    # In the thread ----------------------------------------------------------------------------------------------------

    def _look(self, *, at_once: bool) -> Look:
        """Read a file that is not known yet, `at_once` or where it stands still. What is wrong is found, not raised."""
        stamp = None
        try:
            stamp = stamp_of(self._path)
            if stamp == self._used:
                return Look(stamp, None)
            if self._refused is not None and stamp == self._refused.stamp:
                return self._refused
            if not at_once and stamp != self._seen:
                return Look(stamp, UnsettledError(self._path))
            found = self._made()
            after = stamp_of(self._path)
        except Exception as error:  # noqa: BLE001 - whatever it is, the daemon trades on
            return Look(stamp, error)
        return Look(after, found if after == stamp else UnsettledError(self._path))

    def _made(self) -> Prepared | Exception:
        """The model, or why there is none."""
        try:
            return self._prepare()
        except Exception as error:  # noqa: BLE001 - a library may raise anything over a file
            return error

    def _prepare(self) -> Prepared:
        settings = self._settings
        prepared = prepare(
            read_returns(self._path),
            window=settings.window,
            decay=settings.decay,
            sectors={each.symbol: each.sector for each in self._instruments if each.sector},
            allowed=frozenset(map(jump, settings.allowed)),
            correlation=settings.correlation,
        )
        today = dt.datetime.fromtimestamp(self._clock.now() // NS_PER_S, dt.UTC).date()
        if prepared.model.date > today + AHEAD_MAX:
            raise ScenarioError(f"{prepared.model.date} lies in the future of {today}: correct the dates, or the clock")
        return prepared


def _described(error: Exception) -> str:
    if isinstance(error, TapeError | ScenarioError):
        return str(error)
    if isinstance(error, OSError):
        return error.strerror or str(error)
    return f"{type(error).__name__}: {error}"  # nobody wrote it to be read
