"""The checks of the gate: each a pure function from an order before the book and the limits to a denial or nothing.

A check may never let a measure go over its limit, or further over: where the order does not make the measure worse it
passes, so that hedges and unwinds are possible in a book that is over. A denial carries its numbers and the largest
quantity that this check would have let through. To add one: write the function, add its line to `CHECKS`, and the laws
in the tests run over it.
"""

from collections.abc import Callable
from decimal import Decimal
from math import ceil, floor

import msgspec

from core.calendar import CALENDARS
from core.causes import TradingState
from core.events import Nearest, Reason
from core.instruments import Instrument
from core.orders import OrdType, Side, TimeInForce
from core.units import NS_PER_S, ZERO, floor_to, is_multiple
from risk.exposure import Exposure, is_price
from risk.limits import Limits, for_opening
from risk.reach import Reach
from risk.tail import View

MARKET_REACH = Decimal("0.005")  # how far through the touch an order without a price is taken to trade
ROUNDING = 1e-9  # a model's float that is a billionth larger is no larger


class Ask(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """What the gate is asked: a child, or a parent (`cl_ord_id` empty, `time_in_force` None)."""

    ts: int
    parent_id: str
    cl_ord_id: str
    strategy: str
    venue: str
    symbol: str
    side: Side
    qty: Decimal
    ord_type: OrdType
    price: Decimal | None
    time_in_force: TimeInForce | None
    asked_qty: Decimal | None = None  # of a parent: the quantity before it was made smaller
    flatten: bool = False  # of an operator's flatten
    protects: bool = False  # of a stop that fired
    waives: Reason | None = None  # what it is not denied for, by an override
    beside: Decimal = ZERO  # of a live parent that is to be larger by `qty`: what it is already

    @property
    def is_parent(self) -> bool:
        """Whether a whole parent is asked about."""
        return not self.cl_ord_id


class Denial(msgspec.Struct, frozen=True, kw_only=True):
    """Why not. `max_qty` is the largest quantity that this check would pass, None where none would."""

    reason: Reason
    value: Decimal
    limit: Decimal
    unit: str
    text: str
    max_qty: Decimal | None = None
    met: tuple[str, ...] = ()  # orders of ours that can be taken back, and would have been met


Passed = tuple[Reason, Decimal | float, Decimal | float]
"""Which limit was kept: a money value, and the fraction of equity that it was held to."""


class Case:
    """An order before the book, and the numbers that several checks read. Good for one verdict: nothing may change.

    Quantities count in the order's direction, so that a long before a sale is negative. Parents are judged beside what
    is committed to parents, children beside what works. Money is in the account's currency.
    """

    __slots__ = (
        "_equity",
        "_instrument",
        "_passed",
        "_reach",
        "_unit_value",
        "after",
        "ask",
        "before",
        "checks",
        "exposure",
        "held",
        "others",
    )

    def __init__(self, ask: Ask, exposure: Exposure) -> None:
        self.ask = ask
        self.exposure = exposure
        self.checks = 0  # that were made
        self._passed: list[Passed] = []
        reserved = exposure.committed if ask.is_parent else exposure.working
        self.held = ask.side.sign * exposure.held(ask.symbol)
        self.before = self.held + reserved(ask.symbol, ask.side)  # the position if this side executes and not the other
        self.after = self.before + ask.qty  # with this order, too
        self.others = reserved(ask.symbol, Side.SELL if ask.side is Side.BUY else Side.BUY)  # works on the other side
        self._instrument = exposure.instruments.get(ask.symbol)
        self._equity: Decimal | None = None
        self._unit_value: Decimal | None = None
        self._reach: Reach | None = None

    @property
    def instrument(self) -> Instrument:
        """What is to be traded; `instrument_is_known` comes before whoever asks."""
        if self._instrument is None:
            raise KeyError(self.ask.symbol)
        return self._instrument

    @property
    def reducible(self) -> Decimal:
        """How much of this side shrinks the position in any order of fills: held less what is reserved to shrink it."""
        return max(ZERO, -self.before)  # in this order: no negative zero

    @property
    def shrinks(self) -> bool:
        """Whether all of the order does."""
        return self.after <= 0

    @property
    def equity(self) -> Decimal:
        """What fractions are of; zero where nothing is left."""
        if self._equity is None:
            self._equity = max(self.exposure.base(self.ask.ts), ZERO)
        return self._equity

    @property
    def unit_value(self) -> Decimal:
        """Money value of one share: at the order's limit where that is dearer than the mid."""
        if self._unit_value is None:
            ask, mark = self.ask, self.exposure.mark(self.ask.symbol)
            assert mark is not None  # `price_is_fresh` comes before whoever asks
            price = max(mark, ask.price) if ask.price is not None else mark
            self._unit_value = price * self.instrument.multiplier
        return self._unit_value

    @property
    def reach(self) -> Reach:
        """How far all positions may get."""
        if self._reach is None:
            self._reach = self.exposure.reach(of_parents=self.ask.is_parent)
        return self._reach

    def keeps(self, reason: Reason, value: Decimal, fraction: Decimal) -> bool:
        """Whether a money value is within a fraction of the equity; remembers how near it came."""
        if value > fraction * self.equity:
            return False
        self.came_near(reason, value, fraction)
        return True

    def came_near(self, reason: Reason, value: Decimal | float, fraction: Decimal | float) -> None:
        """Remember a money value that is within a fraction of the equity; floats are rounded for whom they are told."""
        self._passed.append((reason, value, fraction))

    @property
    def nearest(self) -> Nearest | None:
        """Which fraction of the equity was come nearest to; None where none was looked at, as for what shrinks."""
        if not self._passed or not self.equity:
            return None
        reason, value, fraction = max(self._passed, key=_share)
        return Nearest(reason, _decimal(value) / self.equity, _decimal(fraction))

    def lots(self, qty: Decimal) -> Decimal | None:
        """As much of a quantity as can be traded; None for nothing."""
        return floor_to(max(qty, ZERO), self.instrument.lot) or None

    def in_words(self, value: Decimal, limit: Decimal) -> tuple[Decimal, Decimal, str]:
        """A money value, the fraction that limits it and their unit: money where there is no equity."""
        return (value / self.equity, limit, "of equity") if self.equity else (value, ZERO, self.instrument.currency)


def _share(passed: Passed) -> float:
    _, value, fraction = passed
    return float(value) / float(fraction)


def _decimal(value: Decimal | float) -> Decimal:
    return value if isinstance(value, Decimal) else Decimal(f"{value:.12g}")


Check = Callable[[Case, Limits], Denial | None]


def instrument_is_known(case: Case, limits: Limits) -> Denial | None:
    """R0: the instrument exists here."""
    del limits
    symbol = case.ask.symbol
    if symbol in case.exposure.instruments:
        return None
    return _refuse(Reason.UNKNOWN_SYMBOL, f"{symbol} is not among the instruments: add it to the instruments file")


def order_is_valid(case: Case, limits: Limits) -> Denial | None:
    """R0: quantity on lot, price on tick and present where the type needs one."""
    del limits
    ask, instrument = case.ask, case.instrument
    if ask.ord_type is OrdType.LIMIT and not ask.is_parent:
        if ask.price is None or ask.price <= 0:
            return _refuse(Reason.INVALID, "a limit order needs a positive price")
        if not is_multiple(ask.price, instrument.tick):
            return _refuse(Reason.INVALID, f"price {ask.price} is no multiple of the tick {instrument.tick}")
    if ask.qty <= 0 or not is_multiple(ask.qty, instrument.lot):
        text = f"quantity {ask.qty} is no positive multiple of the lot {instrument.lot}"
        return _refuse(Reason.INVALID, text, case.lots(ask.qty))
    return None


def venue_takes_it(case: Case, limits: Limits) -> Denial | None:
    """R0: the venue is one of ours, and takes a child of this type and time in force."""
    del limits
    ask = case.ask
    ability = case.exposure.abilities.get(ask.venue)
    if ability is None:
        return _refuse(Reason.INVALID, f"{ask.venue} is not among the venues: correct the instrument's venue")
    if ask.is_parent:
        return None  # of which type its children are is not known yet
    if ask.ord_type not in ability.ord_types:
        return _refuse(Reason.INVALID, f"{ask.venue} takes no {ask.ord_type} orders")
    if ask.time_in_force not in ability.times_in_force:
        return _refuse(Reason.INVALID, f"{ask.venue} takes no {ask.time_in_force} orders")
    return None


def trading_is_allowed(case: Case, limits: Limits) -> Denial | None:
    """R1: no cause holds trading back; in REDUCING what shrinks the position in every order of fills passes.

    In HALTED only what an operator's flatten shrinks so.
    """
    del limits
    state = case.exposure.causes.state
    if state is TradingState.ACTIVE:
        return None
    causes = ", ".join(case.exposure.causes.names())
    if state is TradingState.HALTED and not case.ask.flatten:
        return _refuse(Reason.STATE, f"trading is HALTED by {causes}")
    if case.shrinks:
        return None
    room = case.reducible
    return Denial(
        reason=Reason.STATE,
        value=case.ask.qty,
        limit=room,
        unit="shares",
        max_qty=case.lots(room),
        text=f"trading is {state} by {causes}, and {room} shares can be reduced",
    )


def symbol_is_agreed(case: Case, limits: Limits) -> Denial | None:
    """P2: our books of the symbol agree with the venue's."""
    del limits
    symbol = case.ask.symbol
    text = case.exposure.quarantined.get(symbol)
    return None if text is None else _refuse(Reason.QUARANTINE, f"{symbol} is in quarantine: {text}")


def symbol_may_be_traded(case: Case, limits: Limits) -> Denial | None:
    """R14: its symbol is not on the restricted list; an operator may still flatten it."""
    symbol = case.ask.symbol
    if symbol not in limits.restricted or case.ask.flatten:
        return None
    return _refuse(Reason.RESTRICTED, f"{symbol} is on the restricted list")


def strategy_may_trade(case: Case, limits: Limits) -> Denial | None:
    """R14: its strategy may trade this symbol on this venue; an operator may flatten what any strategy holds."""
    ask = case.ask
    if not limits.strategies or ask.flatten:
        return None
    own = limits.strategies.get(ask.strategy)
    if own is None:
        return _refuse(Reason.PERMISSION, f"{ask.strategy} is not among the strategies that may trade")
    if own.symbols and ask.symbol not in own.symbols:
        return _refuse(Reason.PERMISSION, f"{ask.strategy} may not trade {ask.symbol}")
    places = case.instrument.places if ask.is_parent else (ask.venue,)
    if own.venues and not set(places) & set(own.venues):
        return _refuse(Reason.PERMISSION, f"{ask.strategy} may not trade on {' or '.join(places)}")
    return None


def strategy_is_not_stopped(case: Case, limits: Limits) -> Denial | None:
    """R12: a parent's strategy was not stopped for doing the same too often; children of earlier parents go on.

    What would shrink a position is refused, too: what the strategy wants is what is in doubt. An operator may flatten,
    and a stop may fire that was set before.
    """
    del limits
    ask = case.ask
    text = case.exposure.stopped.get(ask.strategy)
    if text is None or not ask.is_parent or ask.flatten or ask.protects:
        return None
    said = f"{ask.strategy} is stopped ({text}): `execd resume --strategy` lets it go on"
    return _refuse(Reason.REPEATS, said)


def order_is_no_duplicate(case: Case, limits: Limits) -> Denial | None:
    """R13: a parent is not the one again that its strategy had accepted last, in the same symbol, within the window."""
    ask = case.ask
    if not ask.is_parent or ask.flatten or ask.protects or ask.beside or not limits.duplicate_window_s:
        return None
    last = case.exposure.newest.get((ask.strategy, ask.symbol))
    if last is None or last.side is not ask.side or last.qty != (ask.asked_qty or ask.qty):
        return None
    age_ns = ask.ts - last.ts
    if age_ns >= limits.duplicate_window_ns:
        return None
    same = f"{ask.side} {ask.qty} {ask.symbol} of {ask.strategy}"
    return _refuse(Reason.DUPLICATE, f"{same} was accepted {age_ns / NS_PER_S:.3f} s ago as {last.parent_id}")


def order_meets_none_of_ours(case: Case, limits: Limits) -> Denial | None:
    """R13: a child's price does not reach an opposite order of ours at any venue; a market order goes a little far.

    What is being cancelled counts until it has ended: a flatten, too, waits for what it has taken back, since it would
    only trade with ourselves, and shrink nothing. What is in doubt holds up no flatten: nobody knows for how long; nor
    does it help whom it holds up that others are taken back.
    """
    del limits
    ask, exposure = case.ask, case.exposure
    if ask.is_parent:
        return None  # at what price its children are sent is not known yet
    place = (ask.symbol, ask.side.opposite)
    reach: Decimal | None = None
    for orders in (exposure.resting,) if ask.flatten else (exposure.in_doubt, exposure.resting):
        met = orders.best(place)
        if met is None:
            continue
        cl_ord_id, price = met
        reach = _reach(case) if reach is None else reach
        if price is None or ask.side.sign * (reach - price) >= 0:
            other = "any price" if price is None else price
            what = f"{ask.side} {ask.symbol} " + (
                f"at {reach}" if ask.price is not None else f"at the market, to {reach},"
            )
            text = f"{what} would meet our {ask.side.opposite} at {other}, {cl_ord_id}"
            in_the_way = orders.reached(place, reach) if orders is exposure.resting else ()
            return _refuse(Reason.SELF_MATCH, text, met=in_the_way)
    return None


def _reach(case: Case) -> Decimal:
    """The price to which a child may trade; without one a little through the touch."""
    ask = case.ask
    if ask.price is not None:
        return ask.price
    market, mark = case.exposure.market[ask.symbol], case.exposure.mark(ask.symbol)
    touch = market.ask if ask.side is Side.BUY else market.bid
    near = touch if touch is not None else mark
    assert near is not None  # `price_is_fresh` came first
    return near * (1 + ask.side.sign * MARKET_REACH)


def session_is_open(case: Case, limits: Limits) -> Denial | None:
    """A13: a child falls into the session, and not into its last seconds."""
    ask, instrument = case.ask, case.instrument
    if ask.is_parent:
        return None
    session = CALENDARS[instrument.calendar].session_at(ask.ts)
    if session is None:
        return _refuse(Reason.SESSION, f"{instrument.calendar} is shut")
    left_ns = session.close - ask.ts
    if left_ns > limits.close_margin_ns:
        return None
    return Denial(
        reason=Reason.SESSION,
        value=Decimal(left_ns) / NS_PER_S,
        limit=Decimal(limits.close_margin_s),
        unit="s",
        text=f"{instrument.calendar} shuts in {left_ns / NS_PER_S:.1f} s",
    )


def price_is_fresh(case: Case, limits: Limits) -> Denial | None:
    """R7: there is a reference price, it is not crossed, and inside the session not stale."""
    ask, exposure = case.ask, case.exposure
    market = exposure.market.get(ask.symbol)
    newest = market.mid if market is not None else None
    price = newest if newest is not None else exposure.mark(ask.symbol)
    if market is None or price is None:
        return _refuse(Reason.NO_PRICE, f"{ask.symbol} has no market data yet")
    if not is_price(price):
        return _refuse(Reason.NO_PRICE, f"the mid of {ask.symbol} is {price}: no price that can be traded at")
    if market.bid is not None and market.ask is not None and market.bid > market.ask:
        return _refuse(Reason.NO_PRICE, f"{ask.symbol} is crossed: bid {market.bid} above ask {market.ask}")
    age_ns = ask.ts - market.ts
    two_sided = market.bid is not None and market.ask is not None
    is_known = two_sided or market.last is not None  # else the mark is from an earlier event, however new this one is
    if is_known and age_ns <= limits.quote_age_ns_max:
        return None
    if ask.is_parent and CALENDARS[case.instrument.calendar].session_at(ask.ts) is None:
        return None  # accepted ahead of the session; its children need a fresh price
    if not is_known:
        return _refuse(Reason.NO_PRICE, f"{ask.symbol} is quoted on neither or one side, and has no last price")
    return Denial(
        reason=Reason.STALE_PRICE,
        value=Decimal(age_ns) / NS_PER_S,
        limit=Decimal(str(limits.quote_age_s_max)),
        unit="s",
        text=f"the newest quote of {ask.symbol} is {age_ns / NS_PER_S:.1f} s old",
    )


def price_is_near(case: Case, limits: Limits) -> Denial | None:
    """R7: a child's limit price lies within the collar around the mid."""
    ask = case.ask
    if ask.price is None or ask.is_parent:
        return None
    mark = case.exposure.mark(ask.symbol)
    assert mark is not None  # `price_is_fresh` came first
    away = abs(ask.price - mark) / mark
    if away <= limits.collar:
        return None
    return Denial(
        reason=Reason.COLLAR,
        value=away,
        limit=limits.collar,
        unit="of mid",
        text=f"price {ask.price} is {away:.2%} from the mid {mark}",
    )


def worth_is_enough(case: Case, limits: Limits) -> Denial | None:
    """R0: a parent is worth, at the mid, what its instrument's venue takes at least.

    Less of it, as of a flatten or the exit of a stop, would wait for its end in vain.
    """
    del limits
    ask, instrument = case.ask, case.instrument
    if not ask.is_parent or ask.beside or not instrument.min_notional:
        return None
    mark = case.exposure.mark(ask.symbol)
    assert mark is not None  # `price_is_fresh` came first
    worth, least = instrument.notional(ask.qty, mark), instrument.min_notional
    if worth >= least:
        return None
    return Denial(
        reason=Reason.INVALID,
        value=worth,
        limit=least,
        unit=instrument.currency,
        text=f"{ask.qty:f} {ask.symbol} are worth {worth:,.2f}, under the min_notional of {least:,f}: order more, or "
        "close it at the venue",
    )


def size_is_allowed(case: Case, limits: Limits) -> Denial | None:
    """R6: quantity of one order; a parent's too, since nothing larger could ever be one order's sum.

    What nobody has set for a symbol is refused, but holds up no flatten: that is bound by what is set.
    """
    ask, own = case.ask, limits.of(case.ask.symbol)
    if None in (own.order_qty_max, own.order_notional_max) and not ask.flatten:
        return _refuse(
            Reason.NO_LIMIT, f"{ask.symbol} has no order limits: set order_qty_max and order_notional_max for it"
        )
    most, whole = own.order_qty_max, ask.qty + ask.beside
    if most is None or whole <= most:
        return None
    return Denial(
        reason=Reason.ORDER_SIZE,
        value=whole,
        limit=most,
        unit="shares",
        max_qty=case.lots(most - ask.beside),
        text=f"{whole} shares are more than {most} in one order",
    )


def notional_is_allowed(case: Case, limits: Limits) -> Denial | None:
    """R6: money value of one order, by the limits of its symbol, its venue and its strategy.

    No strategy's holds up a flatten.
    """
    ask, notional = case.ask, (case.ask.qty + case.ask.beside) * case.unit_value
    least = limits.order_notional_max(ask.symbol, ask.venue, None if ask.flatten else ask.strategy)
    if least is None or notional <= least[0]:
        return None
    most, whose = least
    currency = case.instrument.currency
    return Denial(
        reason=Reason.ORDER_NOTIONAL,
        value=notional,
        limit=most,
        unit=currency,
        max_qty=case.lots(most / case.unit_value - ask.beside),
        text=f"{notional:,.2f} {currency} are more than {most:,} in one order{whose}",
    )


def sale_is_covered(case: Case, limits: Limits) -> Denial | None:
    """R21: what is not held is sold only where it may be, and as far as it is located; other sales count."""
    del limits
    ask, instrument = case.ask, case.instrument
    located = instrument.locate_qty if instrument.shortable else ZERO
    if ask.side is Side.BUY or located is None or case.after <= located:
        return None
    free = max(located - case.before, ZERO)
    why = (
        f"{located} shares of {ask.symbol} are located"
        if instrument.shortable
        else f"{ask.symbol} may not be sold short"
    )
    return Denial(
        reason=Reason.SHORT,
        value=ask.qty,
        limit=free,
        unit="shares",
        max_qty=case.lots(free),
        text=f"{why}, and {free} shares are free to sell",
    )


def sale_is_covered_there(case: Case, limits: Limits) -> Denial | None:
    """R21: of several venues a child sells no more than lies at its own, where its symbol may not be sold short."""
    del limits
    ask, exposure = case.ask, case.exposure
    if ask.is_parent or ask.side is Side.BUY or case.instrument.shortable or len(exposure.abilities) <= 1:
        return None  # or where a parent's children go is not known yet
    free = exposure.closable(ask.venue, ask.symbol, ask.side)
    if min(ask.qty, case.reducible) <= free:
        return None  # what lies nowhere is no matter of places
    return Denial(
        reason=Reason.SHORT,
        value=ask.qty,
        limit=free,
        unit="shares",
        max_qty=case.lots(free),
        text=f"{free} shares of {ask.symbol} at {ask.venue} are free to sell: name the venues that hold the others",
    )


def short_sale_is_above_bid(case: Case, limits: Limits) -> Denial | None:
    """R21: under a price restriction a child that may sell short has a limit above the bid; what shrinks passes."""
    del limits
    ask = case.ask
    if ask.is_parent or ask.side is Side.BUY or case.shrinks or case.instrument.short_sale_rule == "none":
        return None  # at what price a parent's children are sent is not known yet
    bid = case.exposure.market[ask.symbol].bid
    if ask.price is not None and bid is not None and ask.price > bid:
        return None
    at = "the market" if ask.price is None else ask.price
    under = "there is no bid" if bid is None else f"the bid is {bid}"
    text = f"{ask.symbol} is sold short above the bid only: asked for {at}, and {under}"
    return _refuse(Reason.SHORT_PRICE, text, case.lots(case.reducible))


def position_is_allowed(case: Case, limits: Limits) -> Denial | None:
    """R2: the position if all that is reserved on this side executes and nothing on the other, of equity."""
    reached = case.after * case.unit_value
    if case.shrinks or case.keeps(Reason.POSITION, reached, limits.position_max):
        return None
    ask, allowed = case.ask, limits.position_max * case.equity / case.unit_value
    value, limit, unit = case.in_words(reached, limits.position_max)
    could = f"{ask.symbol} could reach {case.after * ask.side.sign} shares"
    return Denial(
        reason=Reason.POSITION,
        value=value,
        limit=limit,
        unit=unit,
        max_qty=case.lots(allowed - case.before),
        text=f"{could}, {allowed:.0f} are {limits.position_max:.1%} of equity",
    )


def own_position_is_allowed(case: Case, limits: Limits) -> Denial | None:
    """R2: what its strategy itself holds of the symbol, if all that it has reserved on this side executes, of equity.

    What shrinks the strategy's own position passes, and an operator's flatten; what others hold is no room.
    """
    ask, exposure = case.ask, case.exposure
    own = limits.strategies.get(ask.strategy)
    if own is None or own.position_max is None or ask.flatten:
        return None
    reserved = exposure.own_committed if ask.is_parent else exposure.own_working
    before = ask.side.sign * exposure.own_held(ask.strategy, ask.symbol)
    before += reserved(ask.strategy, ask.symbol, ask.side)
    after = before + ask.qty
    reached = after * case.unit_value
    if after <= 0 or case.keeps(Reason.POSITION, reached, own.position_max):
        return None
    value, limit, unit = case.in_words(reached, own.position_max)
    could = f"{ask.strategy} could reach {after * ask.side.sign} shares of {ask.symbol}"
    allowed = own.position_max * case.equity / case.unit_value
    return Denial(
        reason=Reason.POSITION,
        value=value,
        limit=limit,
        unit=unit,
        max_qty=case.lots(max(allowed, ZERO) - before),
        text=f"{could}, {allowed:.0f} are {own.position_max:.1%} of equity",
    )


def heat_is_allowed(case: Case, limits: Limits) -> Denial | None:
    """R22: what its symbol, and what all positions lose from the mark to their stops, with this order, of equity.

    A position without a stop counts in whole. What shrinks the strategy's own position passes, and an operator's
    flatten; what others hold is no room, as its stop, and not theirs, would be what ends it.
    """
    ask, exposure = case.ask, case.exposure
    bounds = (limits.position_heat_max, limits.heat_max)
    if not limits.looks_at_heat or ask.flatten:
        return None
    reserved = exposure.own_committed if ask.is_parent else exposure.own_working
    before = ask.side.sign * exposure.own_held(ask.strategy, ask.symbol)
    before += reserved(ask.strategy, ask.symbol, ask.side)
    after = before + ask.qty
    if after <= 0:
        return None
    heat, unit = (
        exposure.heat(of_parents=ask.is_parent),
        exposure.at_risk(ask.strategy, ask.symbol, ask.side, ask.price),
    )
    own, already = heat.of(ask.strategy, ask.symbol), max(before, ZERO)
    this_side = already * exposure.at_risk(ask.strategy, ask.symbol, ask.side)
    worst = max(this_side + (after - already) * unit, own)
    found: Denial | None = None
    sums = (heat.symbols.get(ask.symbol, ZERO), f"what {ask.symbol} loses"), (heat.total, "what all positions lose")
    for (total, what), fraction in zip(sums, bounds, strict=True):
        value = total - own + worst
        if fraction is None or worst == own or case.keeps(Reason.HEAT, value, fraction):
            continue  # no worse than now, or little
        allowed = max(fraction * case.equity - (total - own), own)
        most = case.lots((allowed - this_side) / unit - min(before, ZERO))
        if found is None or (most or ZERO) < (found.max_qty or ZERO):
            shown, limit, unit_of = case.in_words(value, fraction)
            text = f"{what} until stops fire could reach {value:,.0f} {case.instrument.currency}, "
            text += f"{fraction:.1%} of equity are allowed; without a stop a position counts in whole"
            found = Denial(reason=Reason.HEAT, value=shown, limit=limit, unit=unit_of, max_qty=most, text=text)
    return found


def sector_is_allowed(case: Case, limits: Limits) -> Denial | None:
    """R3: the gross of its sector if every symbol executes on its worse side; without a sector is a sector, too."""
    sector = case.instrument.sector
    what = f"sector {sector}" if sector else "what has no sector"
    total = case.reach.sectors.get(sector, ZERO)
    return _gross_is_allowed(case, Reason.SECTOR, total=total, fraction=limits.sector_max, what=what)


def cluster_is_allowed(case: Case, limits: Limits) -> Denial | None:
    """R4: what moves with its symbol, each on the side that is worse for this order, longs less shorts, of equity.

    The order counts in the clusters of its neighbours, too: of them all the fullest decides.
    """
    tail, ask = case.exposure.tail, case.ask
    if tail is None or case.shrinks:
        return None
    own, reach = tail.cluster(ask.symbol), case.reach
    most = reach.ahead(own, ask.side.sign)
    for symbol, sign in own.items():
        if (center := reach.spans.get(symbol)) is not None:
            direction = sign * ask.side.sign
            others = reach.ahead(tail.cluster(symbol), direction, but=ask.symbol)
            most = max(most, center.towards(direction) + others)
    value, allowed = most + case.after * case.unit_value, limits.cluster_max * case.equity
    if case.keeps(Reason.CLUSTER, value, limits.cluster_max):
        return None
    shown, limit, unit = case.in_words(value, limits.cluster_max)
    return Denial(
        reason=Reason.CLUSTER,
        value=shown,
        limit=limit,
        unit=unit,
        max_qty=case.lots(max((allowed - most) / case.unit_value - case.before, case.reducible)),
        text=f"what moves with {ask.symbol} could reach {value * ask.side.sign:,.0f}, "
        f"{limits.cluster_max:.1%} of equity are allowed",
    )


def gross_is_allowed(case: Case, limits: Limits) -> Denial | None:
    """R9: the gross of all positions if every symbol executes on its worse side, of equity."""
    what = "gross exposure"
    return _gross_is_allowed(case, Reason.GROSS, total=case.reach.gross, fraction=limits.gross_max, what=what)


def net_is_allowed(case: Case, limits: Limits) -> Denial | None:
    """R9: long less short if all of this order's side executes and nothing of the other, of equity.

    What shrinks its own position passes, although the end of a hedge moves the net: who could not end it were trapped.
    """
    if case.shrinks:
        return None
    ask = case.ask
    before = case.reach.longest if ask.side is Side.BUY else -case.reach.shortest
    after, allowed = before + ask.qty * case.unit_value, limits.net_max * case.equity
    if case.keeps(Reason.NET, after, limits.net_max):
        return None
    value, limit, unit = case.in_words(after, limits.net_max)
    return Denial(
        reason=Reason.NET,
        value=value,
        limit=limit,
        unit=unit,
        max_qty=case.lots(max((allowed - before) / case.unit_value, case.reducible)),
        text=f"net exposure could reach {after * ask.side.sign:,.0f}, {limits.net_max:.1%} of equity are allowed",
    )


def buying_power_is_enough(case: Case, limits: Limits) -> Denial | None:
    """R8: what opens fits into the broker's buying power, with all that was reserved of which that does not know.

    Of several brokers a child is held to its venue's, a parent to the sum.

    Ours needs no check of its own: it is the gross limit. A broker that states none bounds nothing.
    """
    del limits
    buying_power, reserved = case.exposure.lent(None if case.ask.is_parent else case.ask.venue)
    if buying_power is None or case.shrinks:
        return None
    value = reserved + (case.ask.qty - case.reducible) * case.unit_value
    if value <= buying_power:
        return None
    room, currency = max(buying_power - reserved, ZERO), case.instrument.currency
    return Denial(
        reason=Reason.BUYING_POWER,
        value=value,
        limit=buying_power,
        unit=currency,
        max_qty=case.lots(room / case.unit_value + case.reducible),
        text=f"{value:,.2f} {currency} with what was reserved since the broker stated {buying_power:,.2f}",
    )


def positions_are_few(case: Case, limits: Limits) -> Denial | None:
    """R9: how many symbols are held or on their way; one more of the same is no new one."""
    spans = case.reach.spans
    if case.ask.symbol in spans or len(spans) < limits.positions_max:
        return None
    return Denial(
        reason=Reason.POSITIONS,
        value=Decimal(len(spans) + 1),
        limit=Decimal(limits.positions_max),
        unit="positions",
        text=f"{len(spans)} symbols are held or on their way",
    )


def shortfall_is_allowed(case: Case, limits: Limits) -> Denial | None:
    """R5: the expected shortfall of what is held and of the worst that may execute, plain and filtered, of equity.

    What shrinks its own position passes, as with the net.
    """
    tail = case.exposure.tail
    if tail is None or case.shrinks:
        return None
    ask, of_parents = case.ask, case.ask.is_parent
    if absent := tail.absent(ask.symbol):
        return _refuse(Reason.NO_SCENARIOS, absent, case.lots(case.reducible))
    row, unit = tail.row(ask.symbol), ask.side.sign * float(case.unit_value)
    after = float(case.after - case.held) * unit
    es_max, equity = float(limits.es_max), float(case.equity)
    worst: Denial | None = None
    for view, part in tail.views(ask.ts):
        limit = es_max * part
        allowed = limit * equity * (1.0 + ROUNDING)
        value = view.bound(row, after, of_parents=of_parents)
        if value > allowed:
            value = view.measure(row, after, of_parents=of_parents)
        if value <= allowed:
            case.came_near(Reason.SHORTFALL, value, limit)
            continue
        # It hedges if all that may execute besides leaves the portfolio no worse than it is. What works in others is in
        # full on one side only: two hedges, each good for the whole, are one too many.
        allowed = max(allowed, view.held * (1.0 + ROUNDING))
        if value <= allowed:
            continue
        most = _largest(case, view, row, allowed)
        if worst is None or (most or ZERO) < (worst.max_qty or ZERO):
            shown, of, unit_of = case.in_words(_decimal(value), _decimal(limit))
            worst = Denial(
                reason=Reason.SHORTFALL,
                value=shown,
                limit=of,
                unit=unit_of,
                max_qty=most,
                text=f"{view.kind} expected shortfall could reach {value:,.0f} by model {tail.version}, "
                f"{limit:.2%} of equity are allowed",
            )
    return worst


def participation_is_small(case: Case, limits: Limits) -> Denial | None:
    """R15: a parent is a small part of an average day's volume."""
    ask = case.ask
    if not ask.is_parent or limits.participation_max >= 1 or case.shrinks:
        return None  # what is held may be sold, however long that takes
    adv = case.instrument.adv
    if adv is None:
        text = f"{ask.symbol} has no average daily volume: set its adv"
        return _refuse(Reason.NO_LIMIT, text, case.lots(case.reducible))
    allowed, whole = max(limits.participation_max * adv - ask.beside, case.reducible), ask.qty + ask.beside
    if ask.qty <= allowed:
        return None
    return Denial(
        reason=Reason.PARTICIPATION,
        value=whole / adv,
        limit=limits.participation_max,
        unit="of a day's volume",
        max_qty=case.lots(allowed),
        text=f"{whole} shares are {whole / adv:.1%} of {ask.symbol}'s average day",
    )


def parent_is_open(case: Case, limits: Limits) -> Denial | None:
    """R16: executed, live and unknown children together never exceed their parent."""
    del limits
    ask = case.ask
    if ask.is_parent:
        return None
    parent = case.exposure.parents.get(ask.parent_id)
    if parent is None:
        return _refuse(Reason.OVER_PARENT, f"parent {ask.parent_id} is not open")
    total = parent.cum_qty + parent.live_qty + ask.qty
    if total <= parent.order_qty:
        return None
    room = max(parent.order_qty - parent.cum_qty - parent.live_qty, ZERO)
    return Denial(
        reason=Reason.OVER_PARENT,
        value=total,
        limit=parent.order_qty,
        unit="shares",
        max_qty=case.lots(room),
        text=f"children of {ask.parent_id} would reach {total} of {parent.order_qty}",
    )


def parent_is_valid(case: Case, limits: Limits) -> Denial | None:
    """S7: a child leaves while the signal of its parent is valid."""
    del limits
    ask = case.ask
    parent = None if ask.is_parent else case.exposure.parents.get(ask.parent_id)
    if parent is None or parent.valid_until is None or ask.ts < parent.valid_until:
        return None
    late_ns = ask.ts - parent.valid_until
    return _refuse(Reason.EXPIRED, f"{ask.parent_id} was valid until {late_ns / NS_PER_S:,.1f} s ago")


def rate_is_kept(case: Case, limits: Limits) -> Denial | None:
    """R12: children and messages per second and venue; parents per day, of the account and its strategy.

    Of an operator's flatten, and of a stop that fired, only the children are held to a rate.

    Messages are children and cancels. A halt's cancels may fill a second many times over: no flatten waits for that.
    Of both rates a part is left to what shrinks a position, and to a flatten: however much opens, they find room.
    """
    ask, exposure = case.ask, case.exposure
    if ask.is_parent and (ask.flatten or ask.protects):
        return None
    reason, unit = Reason.PARENTS_PER_DAY, "parents"
    if ask.is_parent:
        count, most = exposure.parents_on(ask.ts), limits.parents_per_day
        if count >= most:
            return _too_many(reason, count + 1, most, unit, f"{count} parents were accepted today")
        own = limits.strategies.get(ask.strategy)
        count = exposure.own_parents_on(ask.strategy, ask.ts)
        if own is not None and own.parents_per_day is not None and count >= own.parents_per_day:
            text = f"{count} parents of {ask.strategy} were accepted today"
            return _too_many(reason, count + 1, own.parents_per_day, unit, text)
        return None
    opening = not (case.shrinks or ask.flatten)
    denial = _too_fast(case, limits, opening=opening)
    if denial is not None and opening and _too_fast(case, limits, opening=False) is None:
        return msgspec.structs.replace(denial, max_qty=case.lots(case.reducible))
    return denial


CHECKS: tuple[Check, ...] = (  # in this order: later checks rely on what earlier ones ensure, cheap ones come first
    instrument_is_known,
    order_is_valid,
    venue_takes_it,
    trading_is_allowed,
    symbol_is_agreed,
    symbol_may_be_traded,
    strategy_may_trade,
    strategy_is_not_stopped,
    order_is_no_duplicate,
    session_is_open,
    price_is_fresh,
    price_is_near,
    worth_is_enough,
    size_is_allowed,
    notional_is_allowed,
    sale_is_covered,
    sale_is_covered_there,
    short_sale_is_above_bid,
    participation_is_small,
    position_is_allowed,
    own_position_is_allowed,
    heat_is_allowed,
    positions_are_few,
    sector_is_allowed,
    cluster_is_allowed,
    gross_is_allowed,
    net_is_allowed,
    buying_power_is_enough,
    parent_is_open,
    parent_is_valid,
    rate_is_kept,
    order_meets_none_of_ours,  # takes others back where it shrinks: in vain if another limit denied it then
    shortfall_is_allowed,
)


def judge(case: Case, limits: Limits) -> Denial | None:
    """The first denial, None where every check passes, but for what an override waives."""
    for check in CHECKS:
        case.checks += 1
        denial = check(case, limits)
        if denial is not None and denial.reason is not case.ask.waives:
            return denial
    return None


def _gross_is_allowed(case: Case, reason: Reason, *, total: Decimal, fraction: Decimal, what: str) -> Denial | None:
    """Whether a gross sum that holds this symbol at its worse side, `total`, stays within a fraction of equity."""
    worst = max(case.before, case.others - case.held)
    others = total - case.reach.of(case.ask.symbol).worst
    value = others + case.after * case.unit_value
    if case.after <= worst or case.keeps(reason, value, fraction):
        return None  # no worse than now, or few
    allowed = max((fraction * case.equity - others) / case.unit_value, worst)
    shown, limit, unit = case.in_words(value, fraction)
    currency = case.instrument.currency
    return Denial(
        reason=reason,
        value=shown,
        limit=limit,
        unit=unit,
        max_qty=case.lots(allowed - case.before),
        text=f"{what} could reach {value:,.0f} {currency}, {fraction:.1%} of equity are allowed",
    )


def _largest(case: Case, view: View, row: int, allowed: float) -> Decimal | None:
    """The largest quantity in whole lots with which a view stays within `allowed`, or that shrinks the position.

    A smaller one need not: the least shortfall of a hedge lies at a size of its own.
    """
    unit, lot = case.ask.side.sign * float(case.unit_value), case.instrument.lot
    reserved, of_parents = case.before - case.held, case.ask.is_parent

    def passes(lots: int) -> bool:
        size = float(reserved + lots * lot) * unit
        return view.measure(row, size, of_parents=of_parents) <= allowed

    size = view.most(row, float(case.after - case.held) * unit, allowed, of_parents=of_parents)
    if size is None:
        return case.lots(case.reducible)
    few, many = floor(case.reducible / lot), ceil(case.ask.qty / lot)  # few pass, as they shrink; many do not
    guess = floor((size / unit - float(reserved)) / float(lot))
    for lots in (guess, guess + 1, guess - 1):
        if few < lots < many:
            few, many = (lots, many) if passes(lots) else (few, lots)
    while many - few > 1:
        lots = (few + many) // 2
        few, many = (lots, many) if passes(lots) else (few, lots)
    return few * lot or None


def _too_fast(case: Case, limits: Limits, *, opening: bool) -> Denial | None:
    ask, exposure = case.ask, case.exposure
    per_s = limits.orders_per_s_at(ask.venue)
    if not exposure.has_room(ask.venue, ask.ts, per_s, opening=opening):
        return _over(ask.venue, per_s, "orders", opening=opening)
    per_s = limits.messages_per_s_at(ask.venue)
    if not ask.flatten and not exposure.has_message_room(ask.venue, ask.ts, per_s, opening=opening):
        return _over(ask.venue, per_s, "messages", opening=opening)
    return None


def _over(venue: str, per_s: int, what: str, *, opening: bool) -> Denial:
    most = for_opening(per_s) if opening else per_s
    kept = f", and {most} that open a position" if most < per_s else ""
    return _too_many(Reason.RATE, most + 1, most, f"{what}/s", f"{venue} takes {per_s} {what} a second{kept}")


def _too_many(reason: Reason, value: int, limit: int, unit: str, text: str) -> Denial:
    return Denial(reason=reason, value=Decimal(value), limit=Decimal(limit), unit=unit, text=text)


def _refuse(reason: Reason, text: str, max_qty: Decimal | None = None, met: tuple[str, ...] = ()) -> Denial:
    return Denial(reason=reason, value=ZERO, limit=ZERO, unit="", text=text, max_qty=max_qty, met=met)
