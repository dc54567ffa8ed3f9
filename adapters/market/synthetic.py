"""A seeded synthetic market: busy and volatile at the open and the close, calm at noon, exact in ticks and lots.

Each instrument has its own generator, derived from the seed and the symbol: adding one changes none of the others.
Per step of the session one quote is shown; the trades of the step happen at its bid or ask before the next quote.
"""

import hashlib
from collections.abc import Iterator
from decimal import Decimal
from itertools import repeat

import msgspec
import numpy as np
from numpy.typing import NDArray

from adapters.market.merge import in_time_order
from core.calendar import Session
from core.instruments import Instrument, Instruments
from core.market import Quote, Trade, Update
from core.orders import Side
from core.units import NS_PER_S

DEFAULT_ADV = Decimal(1_000_000)
DEFAULT_VOLATILITY = 0.02  # standard deviation of a day's return, as a fraction
LOTS_MAX = 2**53  # lots in a day: beyond, float64 no longer counts them one by one

# Volume and variance at the fraction x of the session are 0.6 + 1.2 (2x - 1)^2 times their mean: 3 to 1 over noon.
_NOON, _ENDS = 0.6, 1.2
_OPEN_SPREAD = 3.0  # the spread at the open, in base spreads on top of the base
_OPEN_SPREAD_S = 900.0  # in which that excess falls to 1/e
_SPREAD_NOISE = 0.35  # standard deviation of the logarithm of the spread
_SIZE_NOISE = 0.6  # standard deviation of the logarithm of a displayed size
_SHOWN_TRADES = 3.0  # a displayed size in mean sizes of a trade
_FLOW_TILT = 0.15  # how much more often than a half the aggressor's side is that of the price's next move

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class SyntheticSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the market behaves; `start_prices` by symbol, others are drawn from `start_range`."""

    daily_drift: float = 0.0005  # expected return of a day, as a fraction
    spread_ticks: float = 2.0  # the usual spread away from the open
    trades_per_step: float = 1.0  # mean over the day
    start_prices: dict[str, Decimal] = {}
    start_range: tuple[float, float] = (20.0, 300.0)

    def __post_init__(self) -> None:
        if not (self.trades_per_step > 0 and self.spread_ticks > 0):
            raise ValueError("a synthetic market needs trades_per_step and spread_ticks above zero")
        if not (0 < self.start_range[0] <= self.start_range[1] and all(p > 0 for p in self.start_prices.values())):
            raise ValueError("start prices must be above zero, and start_range must rise")


class SyntheticMarket:
    """Quotes and trades of all instruments over one session; the same seed tells the same, in every process."""

    __slots__ = ("_instruments", "_seed", "_session", "_settings", "_step_ns")

    def __init__(
        self,
        instruments: Instruments,
        session: Session,
        seed: int,
        *,
        step_s: float = 5.0,
        settings: SyntheticSettings | None = None,
    ) -> None:
        self._instruments = instruments
        self._session = session
        self._seed = seed
        self._settings = SyntheticSettings() if settings is None else settings
        self._step_ns = round(step_s * NS_PER_S)
        if not NS_PER_S // 1_000 <= self._step_ns <= session.close - session.open:
            raise ValueError(f"a step of {step_s} s: it must be 1 ms at least and fit into the session")
        for instrument in instruments:
            _check(instrument)

    def updates(self) -> Iterator[Update]:
        """All updates by time, from a first quote of every instrument at the open; each call starts anew."""
        return in_time_order([self._updates_of(instrument) for instrument in self._instruments])

    def _updates_of(self, instrument: Instrument) -> Iterator[Update]:
        dice = _dice(self._seed, instrument.symbol)
        steps = (self._session.close - self._session.open) // self._step_ns
        activity = _activity(steps)
        ticks, returns = _mid_ticks(instrument, self._settings, activity, dice)
        bid, ask = _bid_and_ask(ticks, self._spreads(steps, dice))
        counts = dice.poisson(self._settings.trades_per_step * activity)
        mean_lots = _adv_lots(instrument) / (self._settings.trades_per_step * steps)
        step, ts, lots = self._trades(counts, mean_lots, dice)
        buys = dice.random(len(step)) < 0.5 + _FLOW_TILT * np.sign(returns[step])
        told = _Told(instrument)
        opens = self._session.open + np.arange(steps, dtype=np.int64) * self._step_ns
        quotes = told.quotes(opens, (bid, ask), _shown(steps, mean_lots, dice))
        trades = told.trades(ts, np.where(buys, ask[step], bid[step]), lots, buys)
        return in_time_order([quotes, trades])

    def _spreads(self, steps: int, dice: np.random.Generator) -> Floats:
        elapsed_s = np.arange(steps) * (self._step_ns / NS_PER_S)
        usual = self._settings.spread_ticks * (1.0 + _OPEN_SPREAD * np.exp(-elapsed_s / _OPEN_SPREAD_S))
        spreads: Floats = usual * np.exp(_SPREAD_NOISE * dice.standard_normal(steps))
        return spreads

    def _trades(self, counts: Ints, mean_lots: float, dice: np.random.Generator) -> tuple[Ints, Ints, Ints]:
        """Step, time and lots of each trade; times lie inside their step, after its quote and before the next."""
        step = np.repeat(np.arange(len(counts), dtype=np.int64), counts)
        inside = 1 + (dice.random(len(step)) * (self._step_ns - 1)).astype(np.int64)
        ts = np.sort(self._session.open + step * self._step_ns + inside)
        # rounding the running sum keeps the day's volume where rounding each trade to a lot would not
        ends = np.floor(np.cumsum(dice.exponential(mean_lots, len(step))))
        lots = np.diff(ends, prepend=0.0).astype(np.int64)
        some = lots > 0
        return step[some], ts[some], lots[some]


def _check(instrument: Instrument) -> None:
    lots = _adv_lots(instrument)
    if not 0 < lots <= LOTS_MAX:
        raise ValueError(f"{instrument.symbol}: adv is {lots:g} lots, it must be above 0 and at most {LOTS_MAX}")


def _adv_lots(instrument: Instrument) -> float:
    return float((DEFAULT_ADV if instrument.adv is None else instrument.adv) / instrument.lot)


def _dice(seed: int, symbol: str) -> np.random.Generator:
    digest = hashlib.sha256(symbol.encode()).digest()
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, int.from_bytes(digest)])))


def _activity(steps: int) -> Floats:
    """How busy each step is relative to the mean: a U."""
    x = (np.arange(steps) + 0.5) / steps
    shape: Floats = _NOON + _ENDS * (2.0 * x - 1.0) ** 2
    activity: Floats = shape / shape.mean()
    return activity


def _mid_ticks(
    instrument: Instrument, settings: SyntheticSettings, activity: Floats, dice: np.random.Generator
) -> tuple[Floats, Floats]:
    """The middle of the market in ticks at each step, and the log return from each step to the next."""
    drawn = dice.uniform(*settings.start_range)
    start = float(settings.start_prices.get(instrument.symbol, drawn))
    daily = DEFAULT_VOLATILITY if instrument.volatility is None else instrument.volatility
    deviation = daily * np.sqrt(activity / len(activity))
    drift = settings.daily_drift / len(activity) - deviation**2 / 2.0
    returns = drift + deviation * dice.standard_normal(len(activity))
    before = np.concatenate(([0.0], np.cumsum(returns)[:-1]))
    return start / float(instrument.tick) * np.exp(before), returns


def _bid_and_ask(mid: Floats, spread: Floats) -> tuple[Ints, Ints]:
    ticks = np.maximum(np.rint(spread), 1.0).astype(np.int64)
    bid = np.maximum(np.rint(mid - ticks / 2.0), 1.0).astype(np.int64)
    return bid, bid + ticks


def _shown(steps: int, mean_lots: float, dice: np.random.Generator) -> tuple[Ints, Ints]:
    lots = _SHOWN_TRADES * mean_lots * np.exp(_SIZE_NOISE * dice.standard_normal((2, steps)))
    bid_size, ask_size = np.maximum(np.rint(lots), 1.0).astype(np.int64)
    return bid_size, ask_size


class _Multiples(dict[int, Decimal]):
    """Whole numbers to multiples of a tick or a lot, each worked out once."""

    def __init__(self, step: Decimal) -> None:
        super().__init__()
        self._step = step

    def __missing__(self, count: int) -> Decimal:
        self[count] = value = count * self._step
        return value

    def of(self, counts: Ints) -> Iterator[Decimal]:
        """The multiples for an array of counts."""
        return map(self.__getitem__, counts.tolist())


class _Told:
    """One instrument's arrays of ticks and lots as exact updates."""

    __slots__ = ("_prices", "_sizes", "_symbol")

    def __init__(self, instrument: Instrument) -> None:
        self._symbol = instrument.symbol
        self._prices = _Multiples(instrument.tick)
        self._sizes = _Multiples(instrument.lot)

    def quotes(self, ts: Ints, ticks: tuple[Ints, Ints], lots: tuple[Ints, Ints]) -> Iterator[Update]:
        """Quotes from bids and asks."""
        bid, ask = map(self._prices.of, ticks)
        bid_size, ask_size = map(self._sizes.of, lots)
        return map(Quote, ts.tolist(), repeat(self._symbol), bid, bid_size, ask, ask_size)

    def trades(self, ts: Ints, ticks: Ints, lots: Ints, buys: NDArray[np.bool_]) -> Iterator[Update]:
        """Trades, with the side that took."""
        takers = [Side.BUY if buy else Side.SELL for buy in buys.tolist()]
        return map(Trade, ts.tolist(), repeat(self._symbol), self._prices.of(ticks), self._sizes.of(lots), takers)
