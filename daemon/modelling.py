"""The risk model of a run: made of the file of daily returns beside the event loop, again whenever the file changes.

Who makes it takes his time in a thread; the gate never waits. A file that cannot be used changes nothing: the model
before it goes on, older by a day each day, which makes the regime worse by itself. Without any model nothing is opened.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path

import structlog

from adapters.clock import Clock
from adapters.market.columns import TapeError
from adapters.market.returns import read_returns
from core.events import Event, RiskModelSet
from core.instruments import Instruments
from daemon.config import RiskConfig
from risk.scenarios import jump
from risk.shortfall import ScenarioError
from risk.tail import Prepared, TailRisk, prepare

UNUSABLE = (TapeError, ScenarioError, OSError)

_log = structlog.get_logger()


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
        self._stamp: tuple[int, int] | None = None

    async def begin(self) -> None:
        """Set the first model. In a simulation, where somebody looks on, raises what is wrong with the file."""
        try:
            await self.refresh()
        except UNUSABLE as error:
            if not self._threaded:
                raise
            self._failed(error)

    async def run(self) -> None:
        """Set another one whenever the file has changed."""
        while True:
            await asyncio.sleep(self._settings.check_s)
            try:
                if self._stamped() != self._stamp:
                    await self.refresh()
            except UNUSABLE as error:
                self._failed(error)

    async def refresh(self) -> None:
        """Set the model of the file as it is now; raises what is `UNUSABLE`."""
        self._stamp = self._stamped()  # before it is read: what changes meanwhile is seen at the next look
        prepared = await asyncio.to_thread(self._prepare) if self._threaded else self._prepare()
        model, regime = prepared.model, prepared.regime
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
        self.error = ""
        missing = sorted(each.symbol for each in self._instruments if each.symbol not in set(model.symbols))
        if missing:
            _log.warning("instruments without scenarios take no order that opens", symbols=missing)
        for proxy in model.proxies:
            _log.warning("days were filled by the sector", symbol=proxy.symbol, days=proxy.days, sector=proxy.sector)

    def _prepare(self) -> Prepared:
        settings = self._settings
        return prepare(
            read_returns(self._path),
            window=settings.window,
            decay=settings.decay,
            sectors={each.symbol: each.sector for each in self._instruments if each.sector},
            allowed=frozenset(map(jump, settings.allowed)),
            correlation=settings.correlation,
        )

    def _stamped(self) -> tuple[int, int]:
        stat = self._path.stat()
        return stat.st_mtime_ns, stat.st_size

    def _failed(self, error: Exception) -> None:
        """Say it once, not at each look."""
        said = f"{self._path}: {error}" if not isinstance(error, OSError) else str(error)
        if said != self.error:
            _log.error("the returns cannot be used", error=said)
        self.error = said
