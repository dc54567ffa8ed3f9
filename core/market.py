"""Market data: raw quotes and trades, and their conflation per symbol into one event that loses no volume.

A feed may be faster than its readers. What waits is merged: the newest quote wins, trades are summed, extremes are
kept, so that volume and notional over any interval are exact however much was merged. Readers that keep up get one
event per instant of the tape.
"""

from decimal import Decimal

import msgspec

from core.events import MarketData
from core.orders import Side
from core.units import ZERO


class Quote(msgspec.Struct, frozen=True, gc=False):
    """Best bid and offer of a symbol. A side that is empty has price and size None and zero."""

    ts: int
    symbol: str
    bid: Decimal | None
    bid_size: Decimal
    ask: Decimal | None
    ask_size: Decimal


class Trade(msgspec.Struct, frozen=True, gc=False):
    """A print on the tape. `aggressor` is the side that took liquidity, None where the feed does not say."""

    ts: int
    symbol: str
    price: Decimal
    size: Decimal
    aggressor: Side | None = None


class Bar(msgspec.Struct, frozen=True, gc=False):
    """What was traded from `begin` to `ts`, where the prints themselves are not known."""

    ts: int
    symbol: str
    begin: int
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal


class Depth(msgspec.Struct, frozen=True):
    """What a feed shows behind the best bid and offer: price and size of each level, best first; size zero: empty.

    It comes before the quote of its moment, and stands until the next.
    """

    ts: int
    symbol: str
    bids: tuple[tuple[Decimal, Decimal], ...]
    asks: tuple[tuple[Decimal, Decimal], ...]


class Withdrawal(msgspec.Struct, frozen=True, gc=False):
    """An order that rested on `side` since `since` (ns UTC) was taken back, in part or as a whole, without trading.

    Only a feed of every order message has it. It shortens the queue of those alone who came later than `since`.
    """

    ts: int
    symbol: str
    side: Side
    price: Decimal
    size: Decimal
    since: int


class SecurityStatus(msgspec.Struct, frozen=True, gc=False):
    """Trading in a symbol is halted from now on, or goes on."""

    ts: int
    symbol: str
    halted: bool


Update = Quote | Trade | Bar | Depth | Withdrawal | SecurityStatus


def part_of(update: Update, share: Decimal) -> Update:
    """The same at a venue that has only a part of what is displayed, traded and withdrawn."""
    replace = msgspec.structs.replace
    match update:
        case Quote():
            return replace(update, bid_size=update.bid_size * share, ask_size=update.ask_size * share)
        case Trade() | Withdrawal():
            return replace(update, size=update.size * share)
        case Bar():
            return replace(update, volume=update.volume * share)
        case Depth():
            bids, asks = (tuple((price, size * share) for price, size in side) for side in (update.bids, update.asks))
            return replace(update, bids=bids, asks=asks)
        case SecurityStatus():
            return update


class Pending:
    """What has happened to one symbol since its last `MarketData`: mutable, emptied by `take`."""

    __slots__ = (
        "ask",
        "ask_size",
        "bid",
        "bid_size",
        "high",
        "last",
        "low",
        "notional",
        "symbol",
        "trades",
        "ts",
        "volume",
    )

    def __init__(self, symbol: str) -> None:
        self.symbol = symbol
        self.ts = 0
        self.bid: Decimal | None = None
        self.ask: Decimal | None = None
        self.bid_size = self.ask_size = ZERO
        self.last: Decimal | None = None
        self._clear()

    def _clear(self) -> None:
        self.high: Decimal | None = None
        self.low: Decimal | None = None
        self.volume = self.notional = ZERO
        self.trades = 0

    def add(self, update: Quote | Trade | Bar) -> None:
        """Merge one raw update. A bar is one trade of its volume at the mean of its four prices."""
        self.ts = update.ts
        if type(update) is Quote:
            self.bid, self.bid_size = update.bid, update.bid_size
            self.ask, self.ask_size = update.ask, update.ask_size
            return
        if type(update) is Bar:
            high, low, self.last, size = update.high, update.low, update.close, update.volume
            self.notional += size * (update.open + high + low + update.close) / 4
        else:
            assert type(update) is Trade
            high = low = self.last = update.price
            size = update.size
            self.notional += size * high
        self.high = high if self.high is None or high > self.high else self.high
        self.low = low if self.low is None or low < self.low else self.low
        self.volume += size
        self.trades += 1

    def take(self) -> MarketData:
        """The merged event; the sums start again from zero, the quote and the last price stand."""
        event = MarketData(
            ts=self.ts,
            symbol=self.symbol,
            bid=self.bid,
            bid_size=self.bid_size,
            ask=self.ask,
            ask_size=self.ask_size,
            last=self.last,
            high=self.high,
            low=self.low,
            volume=self.volume,
            notional=self.notional,
            trades=self.trades,
        )
        self._clear()
        return event


class Conflator:
    """Raw updates in, at most one waiting `MarketData` per symbol out, in the order in which symbols began to wait."""

    __slots__ = ("_state", "_waiting")

    def __init__(self) -> None:
        self._state: dict[str, Pending] = {}
        self._waiting: dict[str, None] = {}  # an ordered set: iteration order reaches effects

    def add(self, update: Update) -> None:
        """Merge one raw update into what waits for its symbol; the rest of the book and halts are for venues alone.

        One with a NaN or an infinity in it is passed over, as if it had not come: the symbol's price grows old.
        """
        if not isinstance(update, Quote | Trade | Bar) or not _has_numbers(update):
            return
        pending = self._state.get(update.symbol)
        if pending is None:
            pending = self._state[update.symbol] = Pending(update.symbol)
        pending.add(update)
        self._waiting[update.symbol] = None

    def take(self) -> list[MarketData]:
        """All waiting events; empty afterwards."""
        events = [self._state[symbol].take() for symbol in self._waiting]
        self._waiting.clear()
        return events

    def __len__(self) -> int:
        return len(self._waiting)


def _has_numbers(update: Quote | Trade | Bar) -> bool:
    """Whether it can be compared and summed: a NaN would raise in whoever compares it first."""
    if type(update) is Quote:
        bid, ask = update.bid, update.ask
        return (bid is None or bid.is_finite()) and (ask is None or ask.is_finite())
    if type(update) is Trade:
        return update.price.is_finite() and update.size.is_finite()
    assert type(update) is Bar
    return all(each.is_finite() for each in (update.open, update.high, update.low, update.close, update.volume))
