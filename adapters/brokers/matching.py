"""The matching of one venue: our orders against a market that we only watch, as a pure function of what arrives.

**Watching is the whole difficulty.** The tape was made by others. Our orders do not move it, so what they would have
got must be inferred, and where it cannot be known the rules below take the side that hurts us, but for one that was
measured (3). A venue that fills on touch is wildly optimistic: of real orders at or inside the touch only about a sixth
ever trade.

The rules:

1. *What is displayed.* A quote displays one price and size per side, a depth the levels behind it. What we took of a
   displayed size stays taken until that price is gone or shows another size. Nothing executes against a one-sided or
   crossed quote, outside the session, or while trading in the symbol is halted: orders wait for the next quote then.
2. *Taking.* An order that reaches the opposite touch when it arrives takes displayed size, level by level as far as it
   reaches, at the levels' prices. Where the instrument's `adv` and `volatility` are known, what is left executes behind
   the last level, at the touch moved by its impact, and at least one tick behind that level. Where they are unknown, or
   its limit does not reach so far, what is left takes newly displayed size, until it no longer reaches the touch.
   By the square-root law Q shares move their average price by the volatility times the root of Q over adv. Q is all
   that we took from that side of the book, by half less for each half hour since; what is left pays what the law asks
   for all of it less what it asks for what went before. So many small MARKET orders are no cheaper than one.
   A MARKET order always reaches; one for a symbol that was never quoted is refused. IOC cancels what is left at once,
   FOK takes all or nothing. Executions are whole lots, whatever is displayed.
3. *Resting.* Any other LIMIT order rests. Displayed size at its price, on its own side, is the queue `ahead` of it:
   none where a worse price is displayed and its own is not, unknown while it is worse than all that is displayed.
   `ahead` only shrinks: by prints; by withdrawals of orders that were there before it was counted; where less is
   displayed than prints and withdrawals explain, in proportion, as nobody knows where in the queue it went; and to the
   displayed size where less than `ahead` is displayed.
4. *Prints.* A print at its price eats the queue ahead, then fills it with what is left. A print through its price fills
   it, at its own price. Own orders share one print, better prices first, then earlier ones; together they never get
   more than its size. A print whose aggressor is on our side, at our price, took the other side of the book: no
   fill. Nor does a print at the opposite touch or beyond fill: it took what the quote already offers us (rule 5).
   *Bars* say less than prints. An order fills where the bar traded through its price by a tick, at its own price; that
   it was touched is not enough. Ours together get at most a tenth of the bar's volume, each of that no larger part than
   that of the bar's time for which it was there: the furthest price may have been before. What they got is no longer
   displayed by the quote of the bar's end.
5. *A quote that comes to a resting order* (ask <= our bid) fills it at its own price from the displayed size.
6. *Ends.* DAY orders expire at the close of the session that they came in; an order for a shut market is refused.
   A client id is good for one order: a repeat, whatever it says, is answered with the original's acceptance.
7. *Participation*, where it is capped: what we execute in a symbol within a minute of the clock is at most that part of
   what was printed in it so far. What is beyond waits, as where nothing is displayed.

What the model leaves out: our own impact on later quotes and prints, hidden liquidity, trades between our own orders,
and auctions. Whenever a displayed size changes, all of it counts as new.

**The account** is the venue's own: cash as it was paid in, traded and charged, positions at the venue's marks (mid of a
two-sided market that is not crossed, else the last print).

**State is the fold of facts.** Orders, executions, positions and cash change in `fold` alone, live and when a log of
facts is read back; only the market (touch, last print, what we took and how it presses, queues) is no fact and starts
anew. Every order that ended is kept, for queries and against repeats: memory grows with the number of orders. Times
are ns UTC.
"""

from bisect import insort
from collections.abc import Iterator, Sequence
from decimal import Decimal
from itertools import takewhile

import msgspec

from adapters.brokers.facts import (
    Adjusted,
    CancelRefused,
    Ended,
    Entered,
    Executed,
    Fact,
    Moved,
    Refused,
    Repeated,
    VenueEvent,
)
from adapters.brokers.queues import Half, SymbolBook, VenueOrder
from core.events import NewOrderSingle
from core.instruments import Instrument, Instruments
from core.market import Bar, Depth, Quote, SecurityStatus, Trade, Update, Withdrawal
from core.orders import OrdStatus, OrdType, Side, TimeInForce
from core.units import BPS, ZERO, ceil_to, floor_to, is_multiple

FEE_STEP = Decimal("0.000001")  # money; fees are rounded to it
BAR_SHARE = Decimal("0.1")  # of a bar's volume, what orders of ours that rest may get of it
_NO_CAP = Decimal("Infinity")
_IMMEDIATE = frozenset({TimeInForce.IOC, TimeInForce.FOK})
_NOTHING: Sequence[VenueEvent] = ()


class Fees(msgspec.Struct, frozen=True, kw_only=True):
    """What an execution costs: money per share, and bps of the notional of what takes and rests; a rebate below 0."""

    per_share: Decimal = ZERO
    bps: Decimal = ZERO
    maker_bps: Decimal = ZERO

    def of(self, instrument: Instrument, qty: Decimal, price: Decimal, *, takes: bool) -> Decimal:
        """The fee of one execution, in the instrument's currency."""
        fee = qty * self.per_share + instrument.notional(qty, price) * (self.bps if takes else self.maker_bps) / BPS
        return fee.quantize(FEE_STEP)


class Exchange:
    """The venue. Every method returns what happened, in order; the caller decides when anybody hears of it."""

    __slots__ = (
        "_books",
        "_executions",
        "_fees",
        "_name",
        "_next_expiry",
        "_participation_max",
        "_working",
        "cash",
        "orders",
        "paid_in",
        "positions",
    )

    def __init__(
        self, *, name: str, instruments: Instruments, fees: Fees, participation_max: Decimal | None = None
    ) -> None:
        self._name = name
        self._fees = fees
        self._participation_max = participation_max  # of a minute's prints; None: no cap
        self._books = {instrument.symbol: SymbolBook(instrument) for instrument in instruments}
        self._working: dict[str, VenueOrder] = {}
        self._next_expiry: int | None = None  # of DAY orders; may be that of one that has ended since
        self.orders: dict[str, VenueOrder] = {}  # all, by cl_ord_id
        self._executions: list[Executed] = []  # all, by time
        self.positions: dict[str, Decimal] = {}  # signed, by symbol
        self.cash = ZERO
        self.paid_in = False  # whether cash was ever moved

    def working(self) -> Iterator[VenueOrder]:
        """Orders that may still execute, in the order of their entry."""
        return iter(self._working.values())

    def equity(self) -> Decimal | None:
        """Cash and positions at their marks; None where one of them has none."""
        return self._sum(self.cash, self.positions)

    def at_stake(self) -> Decimal | None:
        """Money value of all positions if each symbol's orders execute on its worse side; None as above."""
        sides: dict[str, list[Decimal]] = {symbol: [qty, qty] for symbol, qty in self.positions.items()}
        for order in self._working.values():
            side = order.order.side
            ends = sides.setdefault(order.order.symbol, [ZERO, ZERO])
            ends[side is Side.SELL] += side.sign * order.leaves_qty
        return self._sum(ZERO, {symbol: max(map(abs, ends)) for symbol, ends in sides.items()})

    def _sum(self, total: Decimal, shares: dict[str, Decimal]) -> Decimal | None:
        for symbol, qty in shares.items():
            if qty:
                book = self._books[symbol]
                if book.mark is None:
                    return None
                total += book.instrument.notional(qty, book.mark)
        return total

    def executed(self, since: int) -> Iterator[Executed]:
        """Executions from `since` on, newest first; the cost grows with their number alone."""
        return takewhile(lambda execution: execution.ts >= since, reversed(self._executions))

    def on_update(self, update: Update, now: int) -> Sequence[VenueEvent]:
        """The market moved. The cost grows with our orders in the symbol alone; unknown symbols are ignored."""
        book = self._books.get(update.symbol)
        if book is None:
            return _NOTHING
        if type(update) is Quote:
            book.show(update)
        elif type(update) is Trade:
            book.last = update.price
            book.turn(now)
            book.printed += update.size
            for half in book.halves:
                half.lose(update.price, update.size)
        elif type(update) is Bar:
            book.turn(now)
            book.printed += update.volume
        elif type(update) is Depth:
            book.halves[0].deeper, book.halves[1].deeper = update.bids, update.asks
            return _NOTHING
        elif type(update) is SecurityStatus:
            book.halted = update.halted
            return _NOTHING
        else:
            assert type(update) is Withdrawal
            book.half(update.side).withdraw(update)
            return _NOTHING
        if not (book.halves[0].orders or book.halves[1].orders):
            return _NOTHING
        return self._match(book, update, now)

    def move(self, amount: Decimal, now: int) -> list[VenueEvent]:
        """Cash is paid in, or out where the amount is negative."""
        events: list[VenueEvent] = []
        self._happen(Moved(now, amount), events)
        return events

    def adjust(self, symbol: str, numerator: int, denominator: int, now: int) -> list[VenueEvent]:
        """Shares become others; raises ValueError for a symbol that is not here, or in which orders work."""
        events: list[VenueEvent] = []
        self._happen(Adjusted(now, symbol, numerator, denominator), events)
        return events

    def enter(self, order: NewOrderSingle, now: int) -> list[VenueEvent]:
        """An order arrives. The first event is the answer to it: Entered, Refused or Repeated."""
        known = self.orders.get(order.cl_ord_id)
        if known is not None:
            return [Repeated(order.cl_ord_id, known.order_id)]
        book = self._books.get(order.symbol)
        if book is None:
            return [Refused(order.cl_ord_id, f"unknown symbol {order.symbol}")]
        close = _close(book, now)
        if reason := _refusal(book, order, close):
            return [Refused(order.cl_ord_id, reason)]
        expires = {TimeInForce.DAY: close, TimeInForce.GTC: None}.get(order.time_in_force, now)
        events: list[VenueEvent] = []
        self._happen(Entered(now, order, self._next_order_id(), expires), events)
        self._place(book, self.orders[order.cl_ord_id], now, events)
        return events

    def cancel(self, cl_ord_id: str, now: int) -> list[VenueEvent]:
        """A request to cancel arrives."""
        order = self.orders.get(cl_ord_id)
        if order is None:
            return [CancelRefused(cl_ord_id, "unknown order")]
        if cl_ord_id not in self._working:
            return [CancelRefused(cl_ord_id, f"too late: the order is {order.ord_status}")]
        events: list[VenueEvent] = []
        self._happen(Ended(now, cl_ord_id, OrdStatus.CANCELED, order.cum_qty), events)
        return events

    def expire(self, now: int) -> list[VenueEvent]:
        """Time passed: orders end whose time is over."""
        events: list[VenueEvent] = []
        due = [order for order in self._working.values() if order.expires is not None and order.expires <= now]
        for order in due:
            self._end(order, now, events)
        times = (order.expires for order in self._working.values() if order.expires is not None)
        self._next_expiry = min(times, default=None)
        return events

    def fold(self, fact: Fact) -> None:
        """Change the books by one fact; raises ValueError for one that contradicts what was folded before."""
        if type(fact) is Entered:
            self._fold_entered(fact)
        elif type(fact) is Executed:
            self._fold_executed(fact)
        elif type(fact) is Moved:
            self.cash += fact.amount
            self.paid_in = True
        elif type(fact) is Adjusted:
            self._fold_adjusted(fact)
        else:
            assert type(fact) is Ended
            order = self._living(fact.cl_ord_id)
            order.ord_status = fact.ord_status
            self._leave(order)

    # Facts into state ---------------------------------------------------------------------------------------------

    def _fold_entered(self, fact: Entered) -> None:
        order = VenueOrder(fact, number=len(self.orders) + 1)
        cl_ord_id, symbol = fact.order.cl_ord_id, fact.order.symbol
        if cl_ord_id in self.orders:
            raise ValueError(f"order {cl_ord_id} was entered before")
        if fact.order_id != self._next_order_id():
            raise ValueError(f"order {fact.order_id} stands where {self._next_order_id()} should")
        if symbol not in self._books:
            raise ValueError(f"order {cl_ord_id} is for {symbol}, which is not among the instruments: add it")
        self.orders[cl_ord_id] = self._working[cl_ord_id] = order
        insort(self._books[symbol].half(fact.order.side).orders, order, key=lambda other: other.rank)
        if fact.order.time_in_force is TimeInForce.DAY and fact.expires is not None:
            self._next_expiry = min(fact.expires, self._next_expiry or fact.expires)

    def _fold_executed(self, fact: Executed) -> None:
        order = self._living(fact.cl_ord_id)
        if fact.exec_id != _next_exec_id(order):
            raise ValueError(f"execution {fact.exec_id} stands where {_next_exec_id(order)} should")
        if not ZERO < fact.last_qty <= order.leaves_qty or fact.cum_qty != order.cum_qty + fact.last_qty:
            raise ValueError(f"execution {fact.exec_id} does not follow from cum_qty {order.cum_qty}")
        order.cum_qty = fact.cum_qty
        order.executions.append(fact)
        self._executions.append(fact)
        order.ord_status = OrdStatus.PARTIALLY_FILLED if order.leaves_qty else OrdStatus.FILLED
        symbol, signed = order.order.symbol, order.order.side.sign * fact.last_qty
        self.positions[symbol] = self.positions.get(symbol, ZERO) + signed
        self.cash -= self._books[symbol].instrument.notional(signed, fact.last_px) + fact.fee
        if not order.leaves_qty:
            self._leave(order)

    def _fold_adjusted(self, fact: Adjusted) -> None:
        book = self._books.get(fact.symbol)
        if book is None:
            raise ValueError(f"{fact.symbol} is adjusted, which is not among the instruments: add it")
        if any(half.orders for half in book.halves):
            raise ValueError(f"{fact.symbol} is adjusted while orders work in it")
        book.forget(fact.denominator, fact.numerator)
        self.positions[fact.symbol] = self.positions.get(fact.symbol, ZERO) * fact.numerator / fact.denominator

    def _next_order_id(self) -> str:
        return f"{self._name}-{len(self.orders) + 1}"

    def _living(self, cl_ord_id: str) -> VenueOrder:
        order = self._working.get(cl_ord_id)
        if order is None:
            raise ValueError(f"order {cl_ord_id} is not in the book")
        return order

    def _leave(self, order: VenueOrder) -> None:
        del self._working[order.order.cl_ord_id]
        self._books[order.order.symbol].half(order.order.side).orders.remove(order)

    # Decisions ----------------------------------------------------------------------------------------------------

    def _happen(self, fact: Fact, events: list[VenueEvent]) -> None:
        self.fold(fact)
        events.append(fact)

    def _place(self, book: SymbolBook, order: VenueOrder, now: int, events: list[VenueEvent]) -> None:
        """Give a new order its first chance and its place."""
        side = order.order.side
        touch = book.touch(side.opposite)
        if touch is not None:
            order.taking = order.reaches(touch)
            book.half(side).queue(order, now)
            self._take(book, order, now, events)
        if order.order.time_in_force in _IMMEDIATE and order.order.cl_ord_id in self._working:
            self._end(order, now, events)

    def _end(self, order: VenueOrder, now: int, events: list[VenueEvent]) -> None:
        day = order.order.time_in_force is TimeInForce.DAY
        status = OrdStatus.EXPIRED if day else OrdStatus.CANCELED
        self._happen(Ended(now, order.order.cl_ord_id, status, order.cum_qty), events)

    def _match(self, book: SymbolBook, update: Update, now: int) -> Sequence[VenueEvent]:
        over = self._next_expiry is not None and now >= self._next_expiry
        events = self.expire(now) if over else []
        if book.halted or _close(book, now) is None:
            return events
        if type(update) is Quote:
            for half in book.halves:
                self._on_quote(book, half, now, events)
        elif type(update) is Bar:
            left = BAR_SHARE * update.volume
            for half in book.halves:
                left = self._on_bar(book, half, update, now, events, left=left)
        else:
            assert type(update) is Trade
            left = update.size
            for half in book.halves:
                left = self._on_print(book, half, update, now, events, left=left)
        return events

    def _on_quote(self, book: SymbolBook, half: Half, now: int, events: list[VenueEvent]) -> None:
        touch = book.touch(half.side.opposite)
        if touch is None:
            return
        for order in tuple(half.orders):
            if not order.reaches(touch):
                order.taking = False
            half.queue(order, now)
            self._take(book, order, now, events)

    def _take(self, book: SymbolBook, order: VenueOrder, now: int, events: list[VenueEvent]) -> None:
        """Execute against displayed size, level by level: at their prices while taking, at its own once resting."""
        opposite = book.half(order.order.side.opposite)
        shown = list(takewhile(lambda level: order.reaches(level[0]), opposite.levels()))
        free = sum((floor_to(opposite.free(price, size), book.instrument.lot) for price, size in shown), ZERO)
        room, is_whole = self._room(book, now), order.order.time_in_force is TimeInForce.FOK
        asked = order.leaves_qty if is_whole else min(order.leaves_qty, room)
        beyond = _beyond(book, order, asked - free, free, now) if order.taking else None
        most = min(free if beyond is None else order.leaves_qty, room)
        if is_whole and most < order.leaves_qty:
            return
        for price, size in shown:
            paid = price if order.taking or order.limit is None else order.limit
            qty = self._execute(book, order, now, events, most=opposite.free(price, size), price=paid)
            opposite.take(price, size, qty)
            opposite.press(qty, now)
        if beyond is not None:
            opposite.press(self._execute(book, order, now, events, most=order.leaves_qty, price=beyond), now)

    def _on_print(
        self, book: SymbolBook, half: Half, trade: Trade, now: int, events: list[VenueEvent], *, left: Decimal
    ) -> Decimal:
        """Hand what is `left` of a print to one side of ours; returns what is left then."""
        touch = book.half(half.side.opposite).price
        if touch is not None and half.sign * (trade.price - touch) >= 0:
            return left
        eaten = ZERO  # of the queue ahead, at the print's price
        for order in tuple(half.orders):
            if order.taking or order.limit is None:
                continue
            through = half.sign * (order.limit - trade.price)
            if left <= 0 or through < 0:
                break
            if through == 0:
                if trade.aggressor is half.side or order.ahead is None:
                    break
                queued = min(left, max(order.ahead - eaten, ZERO))
                eaten += queued
                left -= queued
            else:
                order.ahead = ZERO
            left -= self._execute(book, order, now, events, most=left, price=order.limit)
        half.eat(trade.price, eaten)
        return left

    def _on_bar(
        self, book: SymbolBook, half: Half, bar: Bar, now: int, events: list[VenueEvent], *, left: Decimal
    ) -> Decimal:
        """Hand what is `left` of our part of a bar to one side of ours; returns what is left then."""
        furthest, before = bar.low if half.side is Side.BUY else bar.high, left
        for order in tuple(half.orders):
            if order.taking or order.limit is None:
                continue
            if half.sign * (order.limit - furthest) < book.instrument.tick:
                break
            there = Decimal(bar.ts - max(order.entered, bar.begin)) / (bar.ts - bar.begin)
            most = min(left, there * BAR_SHARE * bar.volume)
            left -= self._execute(book, order, now, events, most=most, price=order.limit)
        book.half(half.side.opposite).barred = (bar.ts, before - left)
        return left

    def _execute(
        self, book: SymbolBook, order: VenueOrder, now: int, events: list[VenueEvent], *, most: Decimal, price: Decimal
    ) -> Decimal:
        """Execute at most `most`, in whole lots; returns the quantity."""
        qty = floor_to(min(most, order.leaves_qty, self._room(book, now)), book.instrument.lot)
        if qty <= 0:
            return ZERO
        book.ours += qty
        cl_ord_id, fee = order.order.cl_ord_id, self._fees.of(book.instrument, qty, price, takes=order.taking)
        self._happen(Executed(now, cl_ord_id, _next_exec_id(order), qty, price, fee, order.cum_qty + qty), events)
        return qty

    def _room(self, book: SymbolBook, now: int) -> Decimal:
        """What may still execute in this minute."""
        if self._participation_max is None:
            return _NO_CAP
        book.turn(now)
        return self._participation_max * book.printed - book.ours


def _beyond(book: SymbolBook, order: VenueOrder, left: Decimal, free: Decimal, now: int) -> Decimal | None:
    """The modelled price of what is `left` behind what is `free` to an order; None for nothing, or out of its reach."""
    instrument, sign = book.instrument, order.order.side.sign
    opposite = book.half(order.order.side.opposite)
    levels = [price for price, _ in opposite.levels()]
    if instrument.adv is None or instrument.volatility is None or not levels or left <= 0:
        return None
    before = opposite.pressure(now) + free
    asked = _root_law(before + left) - _root_law(before)
    impact = Decimal(str(instrument.volatility)) * asked / left / instrument.adv.sqrt()
    worse = ceil_to if sign > 0 else floor_to
    moved = worse(levels[0] * (1 + sign * impact), instrument.tick)
    behind = levels[-1] + sign * instrument.tick
    price = sign * max(sign * moved, sign * behind)
    return price if price > 0 and order.reaches(price) else None


def _root_law(qty: Decimal) -> Decimal:
    """What so many shares pay in all, in volatilities times the root of adv."""
    return qty * qty.sqrt()


def _next_exec_id(order: VenueOrder) -> str:
    return f"{order.order_id}-{len(order.executions) + 1}"


def _close(book: SymbolBook, now: int) -> int | None:
    """The end of the present session, None while the market is shut."""
    session = book.calendar.session_at(now)
    return session.close if session is not None else None


def _refusal(book: SymbolBook, order: NewOrderSingle, close: int | None) -> str:
    """Why the venue does not take an order; empty where it does."""
    instrument, qty, price = book.instrument, order.order_qty, order.price
    if close is None:
        return f"the market of {order.symbol} is shut"
    if not qty.is_finite() or qty <= 0 or not is_multiple(qty, instrument.lot):
        return f"quantity {qty} is not a positive multiple of the lot {instrument.lot}"
    if order.ord_type is OrdType.MARKET:
        if not book.quoted:
            return f"a MARKET order for {order.symbol}, which was never quoted"
        return _too_little(instrument, qty, book.mark)
    if price is None:
        return "a LIMIT order needs a price"
    if not price.is_finite() or price <= 0 or not is_multiple(price, instrument.tick):
        return f"price {price} is not a positive multiple of the tick {instrument.tick}"
    return _too_little(instrument, qty, price)


def _too_little(instrument: Instrument, qty: Decimal, price: Decimal | None) -> str:
    if price is None or instrument.notional(qty, price) >= instrument.min_notional:
        return ""
    return f"{qty} shares at {price} are under {instrument.min_notional} in money"
