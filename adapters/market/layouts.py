"""Layouts of recorded market data: how each vendor's columns become quotes and trades.

A layout is known by the names of its columns. All prices become exact; a quote's side without price or size is empty.
Prints that the vendor marks as suspicious are left out and counted, everything else is kept as recorded.
"""

import datetime as dt
from collections.abc import Callable, Sequence
from decimal import Decimal

import msgspec
import numpy as np
from numpy.typing import NDArray

from adapters.market.columns import Column, Rows, Table, TapeError
from core.calendar import CALENDARS, Session
from core.orders import Side
from core.units import NS_PER_MS, NS_PER_S, ZERO, ceil_to

NEW_YORK = CALENDARS["XNYS"]
UTC = CALENDARS["24x7"]
USD_1E4 = -4  # exponent of prices that are stored as integers of 1e-4 USD
LOBSTER_DUMMY = 9_999_999_999  # stands for the price of an empty side, in 1e-4 USD
LOBSTER_EXECUTIONS = (4, 5)  # of visible and of hidden orders
LOBSTER_WITHDRAWALS = (2, 3)  # in part, as a whole
LOBSTER_HALT = 7  # its price says which: -1 halted, 0 quoted but not yet traded, 1 traded again
LOBSTER_TOUCH = ("bid1", "bsz1", "ask1", "asz1")
LOBSTER_LEVELS = [(f"bid{n}", f"bsz{n}", f"ask{n}", f"asz{n}") for n in range(2, 11)]  # behind it: ten are sold at most
BAR_NS = 60 * NS_PER_S
BAR_SHARE_SHOWN = Decimal("0.1")  # of a bar's volume on each side of its quote: a stated, conservative stand-in
BAR_HALF_SPREAD_MIN, BAR_HALF_SPREAD = Decimal("0.01"), Decimal("0.1")  # USD; of the bar's range

_OPEN_NS = (NEW_YORK.open.hour * 3_600 + NEW_YORK.open.minute * 60) * NS_PER_S
_ANY_LAST = np.iinfo(np.int64).max


class Quotes(msgspec.Struct, frozen=True):
    """Columns of quotes, as `core.market.Quote` has them."""

    ts: list[int] = []
    bid: list[Decimal | None] = []
    bid_size: list[Decimal] = []
    ask: list[Decimal | None] = []
    ask_size: list[Decimal] = []
    odd: int = 0  # sides with a price but no size, or the reverse


class Trades(msgspec.Struct, frozen=True):
    """Columns of trades, as `core.market.Trade` has them."""

    ts: list[int] = []
    price: list[Decimal] = []
    size: list[Decimal] = []
    aggressor: list[Side | None] = []


class Depths(msgspec.Struct, frozen=True):
    """Columns of what is shown behind the touch: on either side, bids first, prices and sizes of each level."""

    ts: list[int] = []
    sides: tuple[list[tuple[list[Decimal], list[Decimal]]], list[tuple[list[Decimal], list[Decimal]]]] = ([], [])


class Withdrawals(msgspec.Struct, frozen=True):
    """Columns of withdrawals, as `core.market.Withdrawal` has them."""

    ts: list[int] = []
    side: list[Side] = []
    price: list[Decimal] = []
    size: list[Decimal] = []
    since: list[int] = []


class Statuses(msgspec.Struct, frozen=True):
    """Columns of halts and their ends, as `core.market.SecurityStatus` has them."""

    ts: list[int] = []
    halted: list[bool] = []


class Bars(msgspec.Struct, frozen=True):
    """Columns of bars, as `core.market.Bar` has them."""

    ts: list[int] = []
    begin: list[int] = []
    open: list[Decimal] = []
    high: list[Decimal] = []
    low: list[Decimal] = []
    close: list[Decimal] = []
    volume: list[Decimal] = []


class Recording(msgspec.Struct, frozen=True):
    """The columns of a tape and `turns`: whose turn it is, update by update.

    0 for a quote, 1 for a trade, 2 for a depth, 3 for a withdrawal, 4 for a status, 5 for a bar.
    """

    quotes: Quotes
    trades: Trades
    turns: bytes
    suspicious: int
    depths: Depths = Depths()
    withdrawals: Withdrawals = Withdrawals()
    statuses: Statuses = Statuses()
    bars: Bars = Bars()


class Source(msgspec.Struct, frozen=True):
    """What a layout reads: the tables of one symbol, narrowed to one date where one is given."""

    symbol: str
    date: dt.date | None
    first: Table
    second: Table | None = None

    def fail(self, what: str) -> TapeError:
        """The error for the source as a whole."""
        return TapeError(f"{self.first.file}: {what}")


class Layout(msgspec.Struct, frozen=True, kw_only=True):
    """One vendor's columns. `second` names those of the file of trades, empty where one file holds everything."""

    name: str
    first: tuple[str, ...]
    second: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()  # columns that either file may have besides
    calendar: str  # whose dates the tape is cut into
    filter: str  # which prints count as volume
    read: Callable[[Source], Recording]


def lobster(source: Source) -> Recording:
    """Order messages and the book after each of them; quote and depth are emitted where they changed."""
    if source.date is None:
        raise source.fail("LOBSTER files carry no date: say SYMBOL@YYYY-MM-DD=FILE")
    table = _without_dummies(source.first)
    ts = _new_york_ts(source, np.full(len(table), _yyyymmdd(source.date)), table.times("ts_ns", 1), table)
    rows = _chosen(table, ts, ts >= 0)
    kinds = table.ints("type")[rows]
    prints = rows[np.isin(kinds, LOBSTER_EXECUTIONS)]
    shows = _changed(table, rows, LOBSTER_TOUCH)
    quotes = _quotes(table, ts, shows, LOBSTER_TOUCH, USD_1E4)
    trades = Trades(
        ts=ts[prints].tolist(),
        price=table.positive("px", prints, USD_1E4),
        size=table.positive("size", prints),
        aggressor=table.choice("dir", prints, {1: Side.SELL, -1: Side.BUY}),  # dir is the side of the resting order
    )
    gone = rows[np.isin(kinds, LOBSTER_WITHDRAWALS)]
    withdrawals = Withdrawals(
        ts=ts[gone].tolist(),
        side=table.choice("dir", gone, {1: Side.BUY, -1: Side.SELL}),
        price=table.positive("px", gone, USD_1E4),
        size=table.positive("size", gone),
        since=_joined(table, ts, rows[kinds == 1], gone),
    )
    levels = [level for level in LOBSTER_LEVELS if set(level) <= set(table.columns)]
    deeper = _changed(table, rows, [name for level in levels for name in level]) if levels else rows[:0]
    bids, asks = (
        [(table.exact(level[n], deeper, USD_1E4), table.exact(level[n + 1], deeper)) for level in levels]
        for n in (0, 2)
    )
    depths = Depths(ts=ts[deeper].tolist(), sides=(bids, asks))
    status = rows[kinds == LOBSTER_HALT]
    statuses = Statuses(ts=ts[status].tolist(), halted=table.choice("px", status, {-1: True, 0: True, 1: False}))
    # a row's book is the one after its message: what happened comes first
    turns = _turns(shows * 3 + 2, prints * 3, deeper * 3 + 1, gone * 3, status * 3)
    return Recording(quotes, trades, turns, quotes.odd, depths, withdrawals, statuses)


def lean(source: Source) -> Recording:
    """States of the national best bid and offer, and the prints of all venues."""
    table = source.first
    ts = _new_york_ts(source, table.ints("date"), table.times("ms", NS_PER_MS), table)
    rows = _chosen(table, ts, ts >= 0)
    quotes = _quotes(table, ts, rows, ("bid", "bsz", "ask", "asz"), USD_1E4)
    if source.second is None:
        return _recording(quotes, Trades(), ts[rows], rows[:0])
    table = source.second
    trade_ts = _new_york_ts(source, table.ints("date"), table.times("ms", NS_PER_MS), table)
    marked = (trade_ts >= 0) & (table.ints("susp") != 0)
    prints = _chosen(table, trade_ts, (trade_ts >= 0) & ~marked)
    trades = Trades(
        ts=trade_ts[prints].tolist(),
        price=table.positive("px", prints, USD_1E4),
        size=table.positive("sz", prints),
        aggressor=[None] * len(prints),
    )
    return _recording(quotes, trades, ts[rows], trade_ts[prints], odd=int(marked.sum()))


def bars(source: Source) -> Recording:
    """Each bar at its end, where it is known, and behind it a quote that stands in for what nobody recorded.

    Bid and ask lie around the close by half a spread: a cent, or a tenth of the bar's range where that is more.
    """
    table = source.first
    hhmm = table.ints("hhmm")
    minutes = hhmm // 100 * 60 + hhmm % 100
    late = np.flatnonzero((hhmm < 0) | (hhmm >= 2_400) | (hhmm % 100 >= 60))  # noqa: PLR2004 - hours and minutes
    if len(late):
        table.fail(int(late[0]), f"hhmm is {hhmm[late[0]]}, not a time of day")
    ours = table.columns["sym"] == source.symbol
    if not ours.any():
        raise source.fail(f"holds no bar of {source.symbol}, only of {', '.join(sorted(set(table.columns['sym'])))}")
    ts = _new_york_ts(source, table.ints("date"), minutes * (60 * NS_PER_S), table, whole_day=True)
    rows = _chosen(table, ts, (ts >= 0) & ours)
    prices = [table.positive(name, rows, USD_1E4) for name in ("open", "high", "low", "close")]
    volume = table.exact("volume", rows)
    shown = [size * BAR_SHARE_SHOWN for size in volume]
    half = [_half_spread(high, low) for high, low in zip(prices[1], prices[2], strict=True)]
    market = list(zip(prices[3], half, volume, strict=True))
    bid = [close - off if size and close > off else None for close, off, size in market]
    ask = [close + off if size else None for close, off, size in market]
    bid_size = [size if price else ZERO for price, size in zip(bid, shown, strict=True)]
    quotes = Quotes(ts[rows].tolist(), bid, bid_size, ask, shown)
    traded = rows[[bool(size) for size in volume]]
    columns = ([price for price, size in zip(each, volume, strict=True) if size] for each in (*prices, volume))
    ends = ts[traded].tolist()
    bars = Bars(ends, [end - BAR_NS for end in ends], *columns)
    odd = sum(high < max(o, low, c) or low > min(o, c) for o, high, low, c in zip(*prices, strict=True))
    none = rows[:0]
    turns = _turns(rows * 2 + 1, none, none, none, none, traded * 2)
    return Recording(quotes, Trades(), turns, odd, bars=bars)


def binance(source: Source) -> Recording:
    """Quotes and trades of one venue in one file, at the time of their receipt: spot quotes have no other."""
    table = source.first
    ts = table.times("local_ns", 1)
    rows = _chosen(table, ts, _on_utc_date(source.date, ts))
    kinds = np.array(table.choice("kind", rows, {0: 0, 1: 1}), dtype=np.int64)
    shows, prints = rows[kinds == 0], rows[kinds == 1]
    quotes = _quotes(table, ts, shows, ("bid_or_px", "bsz_or_qty", "ask", "asz"))
    trades = Trades(
        ts=ts[prints].tolist(),
        price=table.positive("bid_or_px", prints),
        size=table.positive("bsz_or_qty", prints),
        aggressor=table.choice("aggressor", prints, {1: Side.BUY, -1: Side.SELL}),
    )
    return _recording(quotes, trades, shows, prints)


def gemini(source: Source) -> Recording:
    """One quote a second and the venue's trades, UTC seconds."""
    return _two_files(
        source,
        source.first.times("ts", NS_PER_S),
        ("bid", "bsz", "ask", "asz"),
        lambda trades: trades.seconds("time_seconds"),
        lambda trades, rows: trades.choice("is_buyer_maker", rows, {1: Side.SELL, 0: Side.BUY}),
    )


def plain(source: Source) -> Recording:
    """Quotes and trades with times in ns UTC and prices as they are."""
    return _two_files(
        source,
        source.first.times("ts", 1),
        ("bid", "bid_size", "ask", "ask_size"),
        lambda trades: trades.times("ts", 1),
        _plain_aggressors,
    )


# In the order in which they are tried: the first whose columns are all there.
LAYOUTS: tuple[Layout, ...] = (
    Layout(
        name="LOBSTER",
        first=("ts_ns", "type", "order_id", "size", "px", "dir", "ask1", "asz1", "bid1", "bsz1"),
        optional=tuple(name for level in LOBSTER_LEVELS for name in level),
        calendar="XNYS",
        filter="LOBSTER types 4 and 5 (visible and hidden executions), regular hours",
        read=lobster,
    ),
    Layout(
        name="NBBO",
        first=("date", "ms", "bid", "bsz", "ask", "asz"),
        second=("date", "ms", "px", "sz", "susp"),
        calendar="XNYS",
        filter="all venues incl. D but prints marked suspicious, regular hours 09:30-16:00 New York (half days 13:00)",
        read=lean,
    ),
    Layout(
        name="one-minute bars",
        first=("sym", "date", "hhmm", "open", "high", "low", "close", "volume"),
        calendar="XNYS",
        filter="the volume of every one-minute bar incl. the auctions, at the mean of open, high, low and close",
        read=bars,
    ),
    Layout(
        name="Binance",
        first=("local_ns", "kind", "bid_or_px", "bsz_or_qty", "ask", "asz", "aggressor"),
        calendar="24x7",
        filter="all trades of the venue, by time of receipt",
        read=binance,
    ),
    Layout(
        name="Gemini",
        first=("ts", "bid", "bsz", "ask", "asz"),
        second=("time_seconds", "price", "size", "is_buyer_maker"),
        calendar="24x7",
        filter="all trades of the venue",
        read=gemini,
    ),
    Layout(
        name="plain",
        first=("ts", "bid", "bid_size", "ask", "ask_size"),
        second=("ts", "price", "size"),
        optional=("aggressor",),
        calendar="24x7",
        filter="all prints of the file of trades",
        read=plain,
    ),
)


def _half_spread(high: Decimal, low: Decimal) -> Decimal:
    return max(BAR_HALF_SPREAD_MIN, ceil_to((high - low) * BAR_HALF_SPREAD, BAR_HALF_SPREAD_MIN))


def _two_files(
    source: Source,
    ts: Rows,
    sides: tuple[str, str, str, str],
    trade_times: Callable[[Table], Rows],
    aggressors: Callable[[Table, Rows], list[Side | None]],
) -> Recording:
    rows = _chosen(source.first, ts, _on_utc_date(source.date, ts))
    quotes = _quotes(source.first, ts, rows, sides)
    table = source.second
    if table is None:
        return _recording(quotes, Trades(), ts[rows], rows[:0])
    trade_ts = trade_times(table)
    prints = _chosen(table, trade_ts, _on_utc_date(source.date, trade_ts))
    trades = Trades(
        ts=trade_ts[prints].tolist(),
        price=table.positive("price", prints),
        size=table.positive("size", prints),
        aggressor=aggressors(table, prints),
    )
    return _recording(quotes, trades, ts[rows], trade_ts[prints])


def _plain_aggressors(trades: Table, rows: Rows) -> list[Side | None]:
    if "aggressor" not in trades.columns:
        return [None] * len(rows)
    return trades.choice("aggressor", rows, {"BUY": Side.BUY, "SELL": Side.SELL, "": None})


def _recording(quotes: Quotes, trades: Trades, quote_places: Rows, trade_places: Rows, odd: int = 0) -> Recording:
    """Put quotes and trades in one order by their places on the tape; at the same place quotes come first."""
    return Recording(quotes, trades, _turns(quote_places, trade_places), suspicious=quotes.odd + odd)


def _turns(*places: Rows) -> bytes:
    """Whose turn it is, by the places of each kind of update on the tape; at the same place the first kind's."""
    kinds = np.repeat(np.arange(len(places), dtype=np.uint8), [len(each) for each in places])
    return kinds[np.argsort(np.concatenate(places), kind="stable")].tobytes()


def _changed(table: Table, rows: Rows, names: Sequence[str]) -> Rows:
    """Those of the rows where one of the columns differs from the row before; the first of them does."""
    shown = np.stack([table.ints(name)[rows] for name in names])
    changed = np.ones(len(rows), dtype=bool)
    changed[1:] = (shown[:, 1:] != shown[:, :-1]).any(axis=0)
    return rows[changed]


def _joined(table: Table, ts: Rows, joins: Rows, rows: Rows) -> list[int]:
    """When the orders of `rows` joined the book, 0 where that was before the tape.

    An order that joined outside the levels of the file has no message of it. The venue's numbers rise with time, so it
    joined no earlier than the last known order with a smaller number, and that is when it is said to have.
    """
    numbers = table.ints("order_id")
    by_number = joins[np.argsort(numbers[joins], kind="stable")]
    places = np.searchsorted(numbers[by_number], numbers[rows], side="right")
    since: list[int] = np.concatenate(([0], ts[by_number]))[places].tolist()
    return since


def _quotes(table: Table, ts: Rows, rows: Rows, names: tuple[str, str, str, str], exponent: int = 0) -> Quotes:
    bid, bid_size, ask, ask_size = names
    bids, bid_sizes, odd_bids = _side(table, rows, bid, bid_size, exponent)
    asks, ask_sizes, odd_asks = _side(table, rows, ask, ask_size, exponent)
    return Quotes(ts[rows].tolist(), bids, bid_sizes, asks, ask_sizes, odd=odd_bids + odd_asks)


def _side(
    table: Table, rows: Rows, price: str, size: str, exponent: int
) -> tuple[list[Decimal | None], list[Decimal], int]:
    prices, sizes = table.exact(price, rows, exponent), table.exact(size, rows)
    if all(prices) and all(sizes):
        return list[Decimal | None](prices), sizes, 0
    both = [bool(p and s) for p, s in zip(prices, sizes, strict=True)]
    odd = sum(bool(p) != bool(s) for p, s in zip(prices, sizes, strict=True))
    shown = [p if full else None for p, full in zip(prices, both, strict=True)]
    return shown, [s if full else ZERO for s, full in zip(sizes, both, strict=True)], odd


def _without_dummies(table: Table) -> Table:
    """LOBSTER's book with price 0 where a side is empty."""
    columns = dict(table.columns)
    sides = (names for level in (LOBSTER_TOUCH, *LOBSTER_LEVELS) for names in (level[:2], level[2:]))
    for price, size in sides:
        if price not in columns or size not in columns:
            continue
        prices = table.ints(price)
        columns[price] = np.where((prices <= 0) | (prices >= LOBSTER_DUMMY), 0, prices)
        columns[size] = np.where(columns[price] == 0, 0, table.ints(size))
    return Table(table.file, columns)


def _chosen(table: Table, ts: Column, mask: NDArray[np.bool_]) -> Rows:
    """The rows of the mask, whose times must not go backwards."""
    rows: Rows = np.flatnonzero(mask).astype(np.int64)
    back = np.flatnonzero(np.diff(ts[rows]) < 0)
    if len(back):
        before, row = int(rows[back[0]]), int(rows[back[0] + 1])
        table.fail(row, f"time goes backwards, by {(ts[before] - ts[row]) / NS_PER_S} s")
    return rows


def _on_utc_date(date: dt.date | None, ts: Rows) -> NDArray[np.bool_]:
    if date is None:
        return np.ones(len(ts), dtype=bool)
    session = UTC.session_on(date)
    if session is None:
        raise TapeError(f"{date} is outside the years that are known, {UTC.years[0]} to {UTC.years[1]}")
    return (ts >= session.open) & (ts < session.close)


def _new_york_ts(source: Source, days: Rows, since_midnight: Rows, table: Table, *, whole_day: bool = False) -> Rows:
    """Times in ns UTC; -1 for a row outside the chosen date or, unless `whole_day`, outside regular hours."""
    ts = np.full(len(days), -1, dtype=np.int64)
    for day in np.unique(days).tolist():
        rows = np.flatnonzero(days == day)
        session = _session(table, int(rows[0]), day)
        if source.date not in {None, session.date}:
            continue
        # New York changes its clocks on Sundays at two: on a trading day midnight is 9.5 h before the open
        times = session.open - _OPEN_NS + since_midnight[rows]
        first, last = (0, _ANY_LAST) if whole_day else (session.open, session.close)
        ts[rows] = np.where((times >= first) & (times < last), times, -1)
    return ts


def _session(table: Table, row: int, yyyymmdd: int) -> Session:
    try:
        day = dt.date(yyyymmdd // 10_000, yyyymmdd // 100 % 100, yyyymmdd % 100)
    except ValueError:
        table.fail(row, f"{yyyymmdd} is not a date")
    session = NEW_YORK.session_on(day)
    if session is None:
        table.fail(row, f"New York does not trade on {day}")
    return session


def _yyyymmdd(day: dt.date) -> int:
    return day.year * 10_000 + day.month * 100 + day.day
