"""Stops that are held: how each follows prices and where it fires, as the triggers and the exposure share them."""

from collections.abc import Iterator
from decimal import Decimal

import msgspec

from core.events import StopSet
from core.signals import StopSignal
from core.units import ZERO

GAP_MAX = Decimal("0.2")  # of yesterday's last price: a larger one over night may be a split


Shown = tuple[Decimal | None, Decimal, Decimal | None, Decimal]  # a quote: bid, its size, ask, its size


class Stop(msgspec.Struct):
    """One that is held. `extreme` is the best price since it was set, as far as two in a row have shown it."""

    order: StopSet
    extreme: Decimal
    day: str = ""  # of `newest`
    newest: Decimal | None = None
    earlier: Decimal | None = None  # the price before it, of the same day
    shown: Shown | None = None  # the quote when a price was last seen
    close: Decimal | None = None  # the last one of the day before, until the day's first two were compared with it
    suspended: bool = False
    fired: int | None = None  # when, ns
    takes_back: tuple[str, ...] = ()
    asked: int | None = None  # when its exit was asked for, ns
    attempts: int = 0  # exits that were asked for
    exits: tuple[str, ...] = ()  # parents of the newest one that are not over
    said: str = ""  # what was last heard of that one
    taken_back: bool = False  # by a person
    not_before: int = 0  # ns, it fires no earlier

    @property
    def sign(self) -> int:
        """The sign of what it closes."""
        return -self.order.side.sign

    @property
    def stop_px(self) -> Decimal:
        """Where it fires now."""
        return stop_px(self.order, self.sign, self.extreme)

    @property
    def is_held(self) -> bool:
        """Whether it waits for its price: it has not fired and is not suspended."""
        return self.fired is None and not self.suspended

    @property
    def is_beyond(self) -> bool:
        """Whether two prices in a row have reached it."""
        pair, at = (self.earlier, self.newest), self.stop_px
        return all(price is not None and self.sign * (price - at) <= 0 for price in pair)

    @property
    def has_gap(self) -> bool:
        """Whether both of a day's first two prices are far from those of the day before."""
        close, pair = self.close, (self.earlier, self.newest)
        return close is not None and all(p is not None and abs(p - close) > GAP_MAX * close for p in pair)

    def see(self, price: Decimal, day: str) -> None:
        """Follow a price."""
        if day != self.day:
            self.day, self.close, self.newest = day, self.newest, None
        elif self.earlier is not None:
            self.close = None
        self.earlier, self.newest = self.newest, price
        if self.earlier is not None:
            pair = (
                (self.extreme, min(self.earlier, price)) if self.sign > 0 else (self.extreme, max(self.earlier, price))
            )
            self.extreme = max(pair) if self.sign > 0 else min(pair)


class Stops:
    """All of them, one of each strategy and symbol. The triggers change them, the exposure reads them."""

    __slots__ = ("_found", "moved")

    def __init__(self) -> None:
        self._found: dict[str, dict[str, Stop]] = {}  # by symbol and strategy
        self.moved: dict[str, None] = {}  # symbols whose stops are not what they were when this was last emptied

    def __iter__(self) -> Iterator[Stop]:
        return (stop for stops in self._found.values() for stop in stops.values())

    def __len__(self) -> int:
        return sum(map(len, self._found.values()))

    def __getitem__(self, key: tuple[str, str]) -> Stop:
        strategy, symbol = key
        return self._found[symbol][strategy]

    def get(self, strategy: str, symbol: str) -> Stop | None:
        """A strategy's stop in a symbol."""
        return self._found.get(symbol, {}).get(strategy)

    def of(self, symbol: str) -> list[Stop]:
        """Everybody's in a symbol."""
        return list(self._found.get(symbol, {}).values())

    def put(self, stop: Stop) -> None:
        """Hold a stop, in the place of an earlier one."""
        self._found.setdefault(stop.order.symbol, {})[stop.order.strategy] = stop
        self.moved[stop.order.symbol] = None

    def see(self, stop: Stop, price: Decimal, day: str) -> None:
        """Let one follow a price."""
        before = stop.extreme
        stop.see(price, day)
        if stop.extreme != before:
            self.moved[stop.order.symbol] = None

    def suspend(self, strategy: str, symbol: str) -> None:
        """One no longer fires."""
        self[strategy, symbol].suspended = True
        self.moved[symbol] = None

    def drop(self, strategy: str, symbol: str) -> None:
        """One is over."""
        stops = self._found[symbol]
        del stops[strategy]
        if not stops:
            del self._found[symbol]
        self.moved[symbol] = None


def stop_px(order: StopSignal | StopSet, sign: int, extreme: Decimal) -> Decimal:
    """Where a stop fires that closes a position of that sign."""
    if order.stop_px is not None:
        return order.stop_px
    if order.trail is not None:
        return extreme - sign * order.trail
    return extreme * (1 - sign * (order.trail_fraction or ZERO))
