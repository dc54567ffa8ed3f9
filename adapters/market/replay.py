"""Recorded days of a market as the updates that were seen then, in their order."""

import datetime as dt
from collections.abc import Iterator
from itertools import repeat
from pathlib import Path

import msgspec
import numpy as np

from adapters.market.columns import Table, TapeError, column_names, read_table
from adapters.market.layouts import LAYOUTS, Layout, Recording, Source
from core.calendar import CALENDARS
from core.market import Bar, Depth, Quote, SecurityStatus, Trade, Update, Withdrawal
from core.units import NS_PER_S

_QUARTER_HOUR_NS = 900 * NS_PER_S  # no zone's date changes inside one


class TapeSpec(msgspec.Struct, frozen=True):
    """Which files hold a symbol's tape, and which date of them is wanted (None: all)."""

    symbol: str
    date: dt.date | None
    file: Path
    trades: Path | None = None


class Flags(msgspec.Struct, frozen=True):
    """What looks wrong on a tape and is kept all the same, in counts.

    `suspicious` counts prints that the vendor marks so (the one thing that is left out), a price without a size or the
    reverse in a quote, and bars whose range does not hold their own prices.
    """

    crossed: int
    locked: int
    suspicious: int


class Tape:
    """The recorded updates of one symbol: `dates` it covers, and `filter`, in words which prints count as volume."""

    __slots__ = ("_recording", "dates", "filter", "flags", "symbol")

    def __init__(self, symbol: str, dates: list[dt.date], filter_: str, recording: Recording) -> None:
        self.symbol = symbol
        self.dates = dates
        self.filter = filter_
        self.flags = _flags(recording)
        self._recording = recording

    @property
    def end(self) -> int:
        """Time of the last update, ns UTC."""
        told = self._recording
        columns = (told.quotes, told.trades, told.depths, told.withdrawals, told.statuses, told.bars)
        return max(column.ts[-1] for column in columns if column.ts)

    def updates(self) -> Iterator[Update]:
        """All updates by time; each call starts anew."""
        quotes, trades = self._recording.quotes, self._recording.trades
        depths, gone, statuses = self._recording.depths, self._recording.withdrawals, self._recording.statuses
        bars, symbol = self._recording.bars, repeat(self.symbol)
        columns = (quotes.bid, quotes.bid_size, quotes.ask, quotes.ask_size)
        bids, asks = (zip(*(zip(*level, strict=True) for level in side), strict=True) for side in depths.sides)
        streams: tuple[Iterator[Update], ...] = (
            map(Quote, quotes.ts, symbol, *columns),
            map(Trade, trades.ts, symbol, trades.price, trades.size, trades.aggressor),
            map(Depth, depths.ts, symbol, bids, asks),
            map(Withdrawal, gone.ts, symbol, gone.side, gone.price, gone.size, gone.since),
            map(SecurityStatus, statuses.ts, symbol, statuses.halted),
            map(Bar, bars.ts, symbol, bars.begin, bars.open, bars.high, bars.low, bars.close, bars.volume),
        )
        for turn in self._recording.turns:
            yield next(streams[turn])


def parse_tape_argument(text: str) -> TapeSpec:
    """Read `SYMBOL[@YYYY-MM-DD]=FILE[,TRADES]`; ValueError says what is wrong with it."""
    name, equals, files = text.partition("=")
    symbol, at, day = name.partition("@")
    paths = files.split(",")
    if not equals or not symbol or len(paths) > 2 or not all(paths):  # noqa: PLR2004 - quotes and trades
        raise ValueError(f"{text!r} is not SYMBOL[@YYYY-MM-DD]=FILE[,TRADES]")
    try:
        date = dt.date.fromisoformat(day) if at else None
    except ValueError:
        raise ValueError(f"{text!r}: {day!r} is not a date, write it as YYYY-MM-DD") from None
    return TapeSpec(symbol, date, Path(paths[0]), Path(paths[1]) if len(paths) > 1 else None)


def open_tape(spec: TapeSpec) -> Tape:
    """Read and check the whole tape; TapeError names file, row and reason, OSError a file that cannot be opened."""
    layout = _layout_of(spec.file, column_names(spec.file))
    recording = layout.read(
        Source(spec.symbol, spec.date, _read(spec.file, layout.first, layout), _second(layout, spec.trades))
    )
    if not recording.turns:
        raise TapeError(f"{spec.file.name}: nothing of {spec.symbol} on {spec.date or 'any date'}")
    words = layout.filter if spec.trades or not layout.second else "no prints: quotes only"
    return Tape(spec.symbol, _dates(layout, recording), words, recording)


def _layout_of(file: Path, names: list[str]) -> Layout:
    for layout in LAYOUTS:
        if set(layout.first) <= set(names):
            return layout
    nearest = max(LAYOUTS, key=lambda layout: len(set(layout.first) & set(names)))
    missing = ", ".join(name for name in nearest.first if name not in names)
    raise TapeError(f"{file.name}: no known layout; as {nearest.name} it lacks the columns {missing}")


def _second(layout: Layout, file: Path | None) -> Table | None:
    if file is None:
        return None
    if not layout.second:
        raise TapeError(f"{file.name}: {layout.name} is one file, give no second one")
    names = column_names(file)
    if missing := [name for name in layout.second if name not in names]:
        raise TapeError(f"{file.name}: as trades of {layout.name} it lacks the columns {', '.join(missing)}")
    return _read(file, layout.second, layout)


def _read(file: Path, wanted: tuple[str, ...], layout: Layout) -> Table:
    """A file's wanted columns and those of the layout's optional ones that it has."""
    names = column_names(file)
    return read_table(file, [*wanted, *(name for name in layout.optional if name in names)])


def _dates(layout: Layout, recording: Recording) -> list[dt.date]:
    calendar = CALENDARS[layout.calendar]
    times = np.array(recording.quotes.ts + recording.trades.ts, dtype=np.int64)
    starts = np.unique(times // _QUARTER_HOUR_NS) * _QUARTER_HOUR_NS
    return sorted({calendar.date_of(ts) for ts in starts.tolist()})


def _flags(recording: Recording) -> Flags:
    both = [
        (bid, ask)
        for bid, ask in zip(recording.quotes.bid, recording.quotes.ask, strict=True)
        if bid is not None and ask is not None
    ]
    crossed, locked = sum(bid > ask for bid, ask in both), sum(bid == ask for bid, ask in both)
    return Flags(crossed=crossed, locked=locked, suspicious=recording.suspicious)
