"""One symbol's market as we watch it, and the place of our orders in it.

Nobody tells us where in a queue an order of ours stands: what is displayed, printed and withdrawn lets it be counted.
The rules stand in `adapters.brokers.matching`, which asks here what is displayed, how much of it is free, and how much
is `ahead` of an order.
"""

import math
from collections.abc import Iterator, Sequence
from decimal import Decimal

from adapters.brokers.facts import Entered, Executed
from core.calendar import CALENDARS
from core.instruments import Instrument
from core.market import Quote, Withdrawal
from core.orders import OrdStatus, OrdType, Side
from core.units import NS_PER_S, ZERO

MINUTE_NS = 60 * NS_PER_S
HALF_LIFE_NS = 1_800 * NS_PER_S  # of our pressure: on the careful side of a book's, the impact of a day's order lasts
_FIRST = Decimal("-Infinity")  # where a MARKET order ranks among prices
_UNTAKEN = (ZERO, ZERO)


class VenueOrder:
    """One order as the venue knows it. `ahead` is the queue before it, counted at `queued`; None while unknown."""

    __slots__ = (
        "ahead",
        "cum_qty",
        "entered",
        "executions",
        "expires",
        "limit",
        "ord_status",
        "order",
        "order_id",
        "queued",
        "rank",
        "taking",
    )

    def __init__(self, entered: Entered, number: int) -> None:
        order = self.order = entered.order
        self.order_id = entered.order_id
        self.entered = entered.ts
        self.expires = entered.expires
        self.limit = order.price if order.ord_type is OrdType.LIMIT else None
        best_first = _FIRST if self.limit is None else -order.side.sign * self.limit
        self.rank = (best_first, number)
        self.cum_qty = ZERO
        self.ord_status = OrdStatus.NEW
        self.executions: list[Executed] = []
        self.ahead: Decimal | None = None
        self.queued = 0
        self.taking = self.limit is None

    @property
    def leaves_qty(self) -> Decimal:
        """What is not executed, also of an order that ended."""
        return self.order.order_qty - self.cum_qty

    def reaches(self, price: Decimal) -> bool:
        """Whether the order would trade at `price` of the opposite side."""
        return self.limit is None or self.order.side.sign * (self.limit - price) >= 0


class Half:
    """One side of a symbol's book: the levels that are displayed there, what we took of them, our orders, best first.

    `known` is what the prints and withdrawals since the last quote should have left of the touch's displayed size.
    `barred` is a bar's end, and what it gave the other side's orders: the quote of that moment is of the same volume.
    """

    __slots__ = ("_pressed", "barred", "deeper", "known", "orders", "price", "side", "sign", "size", "taken")

    def __init__(self, side: Side) -> None:
        self.side = side
        self.sign = side.sign
        self.price: Decimal | None = None
        self.size = ZERO
        self.known = ZERO
        self.barred = (0, ZERO)
        self.deeper: Sequence[tuple[Decimal, Decimal]] = ()
        self.taken: dict[Decimal, tuple[Decimal, Decimal]] = {}  # by price: the size displayed then, what we took of it
        self.orders: list[VenueOrder] = []
        self._pressed = (ZERO, 0)  # shares that we took, as far as they still weigh, and when that was so, ns

    def levels(self) -> Iterator[tuple[Decimal, Decimal]]:
        """Price and size of every level that is displayed, best first."""
        if self.price is None:
            return
        yield self.price, self.size
        for price, size in self.deeper:
            if size and self.sign * (self.price - price) > 0:
                yield price, size

    def show(self, price: Decimal | None, size: Decimal) -> None:
        """Another touch is displayed; None: there is none."""
        if price is not None and price == self.price and size < self.known:
            stays = size / self.known
            for order in self.orders:
                if order.limit == price and order.ahead:
                    order.ahead *= stays
        self.price, self.size, self.known = price, size, size
        if self.taken:
            shown = dict(self.levels())
            self.taken = {at: took for at, took in self.taken.items() if shown.get(at) == took[0]}

    def lose(self, price: Decimal, size: Decimal) -> None:
        """A print or a withdrawal explains why the next quote displays less."""
        if price == self.price:
            self.known -= size

    def withdraw(self, gone: Withdrawal) -> None:
        """Somebody else's order left the queue: it was ahead of those of ours that were queued later than it."""
        self.lose(gone.price, gone.size)
        for order in self.orders:
            if order.limit == gone.price and order.ahead and gone.since < order.queued:
                order.ahead = max(order.ahead - gone.size, ZERO)

    def eat(self, price: Decimal, eaten: Decimal) -> None:
        """A print took `eaten` off the queue ahead of every order at `price`."""
        if not eaten:
            return
        for order in self.orders:
            if order.limit == price and order.ahead:
                order.ahead = max(order.ahead - eaten, ZERO)

    def free(self, price: Decimal, size: Decimal) -> Decimal:
        """What is left of a displayed size after what we took of it."""
        shown, took = self.taken.get(price, _UNTAKEN)
        return size - took if shown == size else size

    def take(self, price: Decimal, size: Decimal, qty: Decimal) -> None:
        """We took `qty` of a displayed size."""
        if qty:
            self.taken[price] = (size, size - self.free(price, size) + qty)

    def pressure(self, now: int) -> Decimal:
        """Shares that we took from this side, displayed or not: each half hour half of them are forgotten."""
        qty, since = self._pressed
        return qty * Decimal(repr(math.pow(0.5, max(now - since, 0) / HALF_LIFE_NS))) if qty else qty

    def press(self, qty: Decimal, now: int) -> None:
        """We took so much more from it."""
        if qty:
            self._pressed = (self.pressure(now) + qty, now)

    def queue(self, order: VenueOrder, now: int) -> None:
        """Count or correct the queue ahead of an order on this side by what is displayed."""
        if order.limit is None:
            return
        for price, size in self.levels():
            better = self.sign * (order.limit - price)
            if better < 0:
                continue
            shown = ZERO if better else size
            if order.ahead is None:
                order.ahead, order.queued = shown, now
            order.ahead = min(order.ahead, shown)
            return


class SymbolBook:
    """One symbol: its two halves, its rules, and the volume of the present minute: the market's, and ours in it."""

    __slots__ = ("calendar", "halted", "halves", "instrument", "last", "minute", "ours", "printed", "quoted")

    def __init__(self, instrument: Instrument) -> None:
        calendar = CALENDARS.get(instrument.calendar)
        if calendar is None:
            known = ", ".join(CALENDARS)
            raise ValueError(f"instrument {instrument.symbol}: no calendar {instrument.calendar!r}, use one of {known}")
        self.instrument = instrument
        self.calendar = calendar
        self.halves = (Half(Side.BUY), Half(Side.SELL))
        self.quoted = False
        self.last: Decimal | None = None  # the newest print
        self.halted = False
        self.minute = 0
        self.printed = self.ours = ZERO

    def half(self, side: Side) -> Half:
        """The half of that side's orders."""
        return self.halves[side is Side.SELL]

    def show(self, quote: Quote) -> None:
        """Another quote is displayed."""
        bids, asks = self.halves
        bids.show(quote.bid, quote.bid_size)
        asks.show(quote.ask, quote.ask_size)
        for half in self.halves:
            end, given = half.barred
            if end == quote.ts and half.price is not None:
                half.take(half.price, half.size, min(given, half.size))
        self.quoted = True

    def touch(self, side: Side) -> Decimal | None:
        """The price displayed on `side`; None unless the market is open, two-sided and not crossed."""
        bid, ask = self.halves[0].price, self.halves[1].price
        if self.halted or bid is None or ask is None or bid > ask:
            return None
        return bid if side is Side.BUY else ask

    @property
    def mark(self) -> Decimal | None:
        """What a share is worth; None before the market has said so."""
        bid, ask = self.touch(Side.BUY), self.touch(Side.SELL)
        return (bid + ask) / 2 if bid is not None and ask is not None else self.last

    def forget(self, numerator: int, denominator: int) -> None:
        """Nothing is quoted any more; until it is, a share is worth `numerator` / `denominator` of what it was."""
        mark = self.mark
        self.halves = (Half(Side.BUY), Half(Side.SELL))
        self.quoted = False
        self.last = None if mark is None else mark * numerator / denominator

    def turn(self, now: int) -> None:
        """Begin to count anew where a minute is over."""
        if now // MINUTE_NS != self.minute:
            self.minute = now // MINUTE_NS
            self.printed = self.ours = ZERO
