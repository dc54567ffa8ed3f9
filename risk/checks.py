"""The checks of the gate: each a pure function from an order, the exposure and the limits to a denial or nothing.

A check may never let a measure go over its limit, or further over: where the order does not make the measure worse it
passes, so that hedges and unwinds are possible in a book that is over. A denial carries its numbers and the largest
quantity that this check would have let through. To add one: write the function, add its line to `CHECKS`, and the laws
in the tests run over it.
"""

from collections.abc import Callable
from decimal import Decimal

import msgspec

from core.calendar import CALENDARS
from core.causes import TradingState
from core.events import Reason
from core.orders import OrdType, Side, TimeInForce
from core.units import NS_PER_S, ZERO, floor_to, is_multiple
from risk.exposure import Exposure
from risk.limits import Limits


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
    flatten: bool = False  # of an operator's flatten

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


Check = Callable[[Ask, Exposure, Limits], Denial | None]


def instrument_is_known(ask: Ask, exposure: Exposure, limits: Limits) -> Denial | None:
    """R0: the instrument exists here."""
    del limits
    if ask.symbol in exposure.instruments:
        return None
    return _refuse(Reason.UNKNOWN_SYMBOL, f"{ask.symbol} is not among the instruments: add it to the instruments file")


def order_is_valid(ask: Ask, exposure: Exposure, limits: Limits) -> Denial | None:
    """R0: quantity on lot, price on tick and present where the type needs one."""
    del limits
    instrument = exposure.instruments[ask.symbol]
    if ask.ord_type is OrdType.LIMIT and not ask.is_parent:
        if ask.price is None or ask.price <= 0:
            return _refuse(Reason.INVALID, "a limit order needs a positive price")
        if not is_multiple(ask.price, instrument.tick):
            return _refuse(Reason.INVALID, f"price {ask.price} is no multiple of the tick {instrument.tick}")
    if ask.qty <= 0 or not is_multiple(ask.qty, instrument.lot):
        whole = max(floor_to(ask.qty, instrument.lot), ZERO)
        return _refuse(
            Reason.INVALID, f"quantity {ask.qty} is no positive multiple of the lot {instrument.lot}", whole or None
        )
    return None


def venue_takes_it(ask: Ask, exposure: Exposure, limits: Limits) -> Denial | None:
    """R0: the venue is one of ours, and takes a child of this type and time in force."""
    del limits
    ability = exposure.abilities.get(ask.venue)
    if ability is None:
        return _refuse(Reason.INVALID, f"{ask.venue} is not among the venues: correct the instrument's venue")
    if ask.is_parent:
        return None  # of which type its children are is not known yet
    if ask.ord_type not in ability.ord_types:
        return _refuse(Reason.INVALID, f"{ask.venue} takes no {ask.ord_type} orders")
    if ask.time_in_force not in ability.times_in_force:
        return _refuse(Reason.INVALID, f"{ask.venue} takes no {ask.time_in_force} orders")
    return None


def trading_is_allowed(ask: Ask, exposure: Exposure, limits: Limits) -> Denial | None:
    """R1: no cause holds trading back; in REDUCING what shrinks the position in every order of fills passes.

    In HALTED only what an operator's flatten shrinks so.
    """
    del limits
    state = exposure.causes.state
    if state is TradingState.ACTIVE:
        return None
    causes = ", ".join(exposure.causes.names())
    if state is TradingState.HALTED and not ask.flatten:
        return _refuse(Reason.STATE, f"trading is HALTED by {causes}")
    room = reducible(ask, exposure)
    if ask.qty <= room:
        return None
    return Denial(
        reason=Reason.STATE,
        value=ask.qty,
        limit=room,
        unit="shares",
        max_qty=floor_to(room, exposure.instruments[ask.symbol].lot) or None,
        text=f"trading is {state} by {causes}, and {room} shares can be reduced",
    )


def symbol_is_agreed(ask: Ask, exposure: Exposure, limits: Limits) -> Denial | None:
    """P2: our books of the symbol agree with the venue's."""
    del limits
    text = exposure.quarantined.get(ask.symbol)
    return None if text is None else _refuse(Reason.QUARANTINE, f"{ask.symbol} is in quarantine: {text}")


def session_is_open(ask: Ask, exposure: Exposure, limits: Limits) -> Denial | None:
    """A13: a child falls into the session, and not into its last seconds."""
    if ask.is_parent:
        return None
    instrument = exposure.instruments[ask.symbol]
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


def price_is_fresh(ask: Ask, exposure: Exposure, limits: Limits) -> Denial | None:
    """R7: there is a reference price, it is not crossed, and inside the session not stale."""
    market = exposure.market.get(ask.symbol)
    if market is None or exposure.mark(ask.symbol) is None:
        return _refuse(Reason.NO_PRICE, f"{ask.symbol} has no market data yet")
    if market.bid is not None and market.ask is not None and market.bid > market.ask:
        return _refuse(Reason.NO_PRICE, f"{ask.symbol} is crossed: bid {market.bid} above ask {market.ask}")
    if ask.is_parent and CALENDARS[exposure.instruments[ask.symbol].calendar].session_at(ask.ts) is None:
        return None  # accepted ahead of the session; its children need a fresh price
    if market.mid is None:  # the mark is from an earlier event: not fresh, however new this one is
        return _refuse(Reason.NO_PRICE, f"{ask.symbol} is quoted on neither or one side, and has no last price")
    age_ns = ask.ts - market.ts
    if age_ns <= limits.quote_age_ns_max:
        return None
    return Denial(
        reason=Reason.STALE_PRICE,
        value=Decimal(age_ns) / NS_PER_S,
        limit=Decimal(str(limits.quote_age_s_max)),
        unit="s",
        text=f"the newest quote of {ask.symbol} is {age_ns / NS_PER_S:.1f} s old",
    )


def price_is_near(ask: Ask, exposure: Exposure, limits: Limits) -> Denial | None:
    """R7: a child's limit price lies within the collar around the mid."""
    if ask.price is None or ask.is_parent:
        return None
    mark = exposure.mark(ask.symbol)
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


def size_is_allowed(ask: Ask, exposure: Exposure, limits: Limits) -> Denial | None:
    """R6: quantity and money value of one order; a parent's too, since nothing larger could ever be one order's sum."""
    own = limits.of(ask.symbol)
    instrument = exposure.instruments[ask.symbol]
    if own.order_qty_max is None or own.order_notional_max is None:
        return _refuse(
            Reason.NO_LIMIT, f"{ask.symbol} has no order limits: set order_qty_max and order_notional_max for it"
        )
    price = _reference(ask, exposure)
    affordable = own.order_notional_max / instrument.notional(Decimal(1), price)
    room = floor_to(min(own.order_qty_max, affordable), instrument.lot)
    if ask.qty > own.order_qty_max:
        return Denial(
            reason=Reason.ORDER_SIZE,
            value=ask.qty,
            limit=own.order_qty_max,
            unit="shares",
            max_qty=room or None,
            text=f"{ask.qty} shares are more than {own.order_qty_max} in one order",
        )
    notional = instrument.notional(ask.qty, price)
    if notional <= own.order_notional_max:
        return None
    return Denial(
        reason=Reason.ORDER_NOTIONAL,
        value=notional,
        limit=own.order_notional_max,
        unit=instrument.currency,
        max_qty=room or None,
        text=f"{notional:,.2f} {instrument.currency} are more than {own.order_notional_max:,} in one order",
    )


def sale_is_covered(ask: Ask, exposure: Exposure, limits: Limits) -> Denial | None:
    """R21: what cannot be sold short is sold only as far as it is held, other sales counted."""
    del limits
    instrument = exposure.instruments[ask.symbol]
    if ask.side is Side.BUY or instrument.shortable:
        return None
    free = max(exposure.held(ask.symbol) - _reserved(ask, exposure, Side.SELL), ZERO)
    if ask.qty <= free:
        return None
    return Denial(
        reason=Reason.SHORT,
        value=ask.qty,
        limit=free,
        unit="shares",
        max_qty=floor_to(free, instrument.lot) or None,
        text=f"{ask.symbol} may not be sold short, and {free} shares are free to sell",
    )


def position_is_allowed(ask: Ask, exposure: Exposure, limits: Limits) -> Denial | None:
    """R2: the position if all that is reserved on this side executes and nothing on the other, of equity."""
    instrument = exposure.instruments[ask.symbol]
    sign = ask.side.sign
    before = sign * exposure.held(ask.symbol) + _reserved(ask, exposure, ask.side)
    after = before + ask.qty
    if after <= 0:
        return None  # it unwinds, and does not cross to the other side in any order of fills
    equity = max(exposure.equity, ZERO)
    unit_value = instrument.notional(Decimal(1), _reference(ask, exposure))
    allowed = limits.position_max * equity / unit_value
    if after <= allowed:
        return None
    return Denial(
        reason=Reason.POSITION,
        value=after * unit_value / equity if equity else after * unit_value,
        limit=limits.position_max if equity else ZERO,
        unit="of equity" if equity else instrument.currency,
        max_qty=floor_to(max(allowed - before, ZERO), instrument.lot) or None,
        text=f"{ask.symbol} could reach {after * sign} shares, {allowed:.0f} are {limits.position_max:.1%} of equity",
    )


def sector_is_allowed(ask: Ask, exposure: Exposure, limits: Limits) -> Denial | None:
    """R3: the gross of its sector if every symbol executes on its worse side; without a sector is a sector, too."""
    sector = exposure.instruments[ask.symbol].sector
    total = exposure.reach(of_parents=ask.is_parent).sectors.get(sector, ZERO)
    what = f"sector {sector}" if sector else "what has no sector"
    return _gross_is_allowed(ask, exposure, Reason.SECTOR, total=total, fraction=limits.sector_max, what=what)


def gross_is_allowed(ask: Ask, exposure: Exposure, limits: Limits) -> Denial | None:
    """R9: the gross of all positions if every symbol executes on its worse side, of equity."""
    total = exposure.reach(of_parents=ask.is_parent).gross
    what = "gross exposure"
    return _gross_is_allowed(ask, exposure, Reason.GROSS, total=total, fraction=limits.gross_max, what=what)


def net_is_allowed(ask: Ask, exposure: Exposure, limits: Limits) -> Denial | None:
    """R9: long less short if all of this order's side executes and nothing of the other, of equity.

    What shrinks its own position passes, although the end of a hedge moves the net: who could not end it were trapped.
    """
    if ask.qty <= reducible(ask, exposure):
        return None
    instrument, reach = exposure.instruments[ask.symbol], exposure.reach(of_parents=ask.is_parent)
    before = reach.longest if ask.side is Side.BUY else -reach.shortest
    unit_value = instrument.notional(Decimal(1), _reference(ask, exposure))
    equity = max(exposure.equity, ZERO)
    allowed = limits.net_max * equity
    after = before + ask.qty * unit_value
    if after <= allowed:
        return None
    return Denial(
        reason=Reason.NET,
        value=after / equity if equity else after,
        limit=limits.net_max if equity else ZERO,
        unit="of equity" if equity else instrument.currency,
        max_qty=floor_to(max((allowed - before) / unit_value, reducible(ask, exposure)), instrument.lot) or None,
        text=f"net exposure could reach {after * ask.side.sign:,.0f}, {limits.net_max:.1%} of equity are allowed",
    )


def positions_are_few(ask: Ask, exposure: Exposure, limits: Limits) -> Denial | None:
    """R9: how many symbols are held or on their way; one more of the same is no new one."""
    spans = exposure.reach(of_parents=ask.is_parent).spans
    if ask.symbol in spans or len(spans) < limits.positions_max:
        return None
    return Denial(
        reason=Reason.POSITIONS,
        value=Decimal(len(spans) + 1),
        limit=Decimal(limits.positions_max),
        unit="positions",
        text=f"{len(spans)} symbols are held or on their way",
    )


def participation_is_small(ask: Ask, exposure: Exposure, limits: Limits) -> Denial | None:
    """R15: a parent is a small part of an average day's volume."""
    if not ask.is_parent or limits.participation_max >= 1:
        return None
    instrument, shrinks = exposure.instruments[ask.symbol], reducible(ask, exposure)
    if ask.qty <= shrinks:
        return None  # what is held may be sold, however long that takes
    if instrument.adv is None:
        room = floor_to(shrinks, instrument.lot)
        return _refuse(Reason.NO_LIMIT, f"{ask.symbol} has no average daily volume: set its adv", room or None)
    allowed = max(limits.participation_max * instrument.adv, shrinks)
    if ask.qty <= allowed:
        return None
    return Denial(
        reason=Reason.PARTICIPATION,
        value=ask.qty / instrument.adv,
        limit=limits.participation_max,
        unit="of a day's volume",
        max_qty=floor_to(allowed, instrument.lot) or None,
        text=f"{ask.qty} shares are {ask.qty / instrument.adv:.1%} of {ask.symbol}'s average day",
    )


def parent_is_open(ask: Ask, exposure: Exposure, limits: Limits) -> Denial | None:
    """R16: executed, live and unknown children together never exceed their parent."""
    del limits
    if ask.is_parent:
        return None
    parent = exposure.parents.get(ask.parent_id)
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
        max_qty=floor_to(room, exposure.instruments[ask.symbol].lot) or None,
        text=f"children of {ask.parent_id} would reach {total} of {parent.order_qty}",
    )


def parent_is_valid(ask: Ask, exposure: Exposure, limits: Limits) -> Denial | None:
    """S7: a child leaves while the signal of its parent is valid."""
    del limits
    parent = None if ask.is_parent else exposure.parents.get(ask.parent_id)
    if parent is None or parent.valid_until is None or ask.ts < parent.valid_until:
        return None
    late_ns = ask.ts - parent.valid_until
    return _refuse(Reason.EXPIRED, f"{ask.parent_id} was valid until {late_ns / NS_PER_S:,.1f} s ago")


def rate_is_kept(ask: Ask, exposure: Exposure, limits: Limits) -> Denial | None:
    """R12: children per second and venue, parents per day but for an operator's."""
    if ask.is_parent and ask.flatten:
        return None
    if ask.is_parent:
        count = exposure.parents_on(ask.ts)
        if count < limits.parents_per_day:
            return None
        return Denial(
            reason=Reason.PARENTS_PER_DAY,
            value=Decimal(count + 1),
            limit=Decimal(limits.parents_per_day),
            unit="parents",
            text=f"{count} parents were accepted today",
        )
    if exposure.has_room(ask.venue, ask.ts):
        return None
    return Denial(
        reason=Reason.RATE,
        value=Decimal(limits.orders_per_s + 1),
        limit=Decimal(limits.orders_per_s),
        unit="orders/s",
        text=f"{ask.venue} takes {limits.orders_per_s} orders a second",
    )


CHECKS: tuple[Check, ...] = (  # in this order: later checks rely on what earlier ones ensure, cheap ones come first
    instrument_is_known,
    order_is_valid,
    venue_takes_it,
    trading_is_allowed,
    symbol_is_agreed,
    session_is_open,
    price_is_fresh,
    price_is_near,
    size_is_allowed,
    sale_is_covered,
    participation_is_small,
    position_is_allowed,
    positions_are_few,
    sector_is_allowed,
    gross_is_allowed,
    net_is_allowed,
    parent_is_open,
    parent_is_valid,
    rate_is_kept,
)


def judge(ask: Ask, exposure: Exposure, limits: Limits) -> Denial | None:
    """The first denial, None where every check passes."""
    for check in CHECKS:
        denial = check(ask, exposure, limits)
        if denial is not None:
            return denial
    return None


def reducible(ask: Ask, exposure: Exposure) -> Decimal:
    """How much of this side shrinks the position in any order of fills: held less what is reserved to shrink it."""
    opposite = -ask.side.sign * exposure.held(ask.symbol)
    return max(ZERO, opposite - _reserved(ask, exposure, ask.side))  # in this order: no negative zero


def _gross_is_allowed(
    ask: Ask, exposure: Exposure, reason: Reason, *, total: Decimal, fraction: Decimal, what: str
) -> Denial | None:
    """Whether a gross sum that holds this symbol at its worse side, `total`, stays within a fraction of equity."""
    instrument, held = exposure.instruments[ask.symbol], exposure.held(ask.symbol)
    before = ask.side.sign * held + _reserved(ask, exposure, ask.side)
    after = before + ask.qty
    other_side = _reserved(ask, exposure, Side.SELL if ask.side is Side.BUY else Side.BUY) - ask.side.sign * held
    worst = max(before, other_side)
    equity = max(exposure.equity, ZERO)
    unit_value = instrument.notional(Decimal(1), _reference(ask, exposure))
    others = total - exposure.reach(of_parents=ask.is_parent).of(ask.symbol).worst
    allowed = max((fraction * equity - others) / unit_value, worst)  # in shares; what is no worse than now passes
    if after <= allowed:
        return None
    value = others + after * unit_value
    return Denial(
        reason=reason,
        value=value / equity if equity else value,
        limit=fraction if equity else ZERO,
        unit="of equity" if equity else instrument.currency,
        max_qty=floor_to(max(allowed - before, ZERO), instrument.lot) or None,
        text=f"{what} could reach {value:,.0f} {instrument.currency}, {fraction:.1%} of equity are allowed",
    )


def _reserved(ask: Ask, exposure: Exposure, side: Side) -> Decimal:
    """What may execute beside this order: parents are judged against parents, children against children."""
    return exposure.committed(ask.symbol, side) if ask.is_parent else exposure.working(ask.symbol, side)


def _reference(ask: Ask, exposure: Exposure) -> Decimal:
    """The price to value an order at: its limit where that is dearer than the mid."""
    mark = exposure.mark(ask.symbol)
    assert mark is not None  # `price_is_fresh` came first
    return max(mark, ask.price) if ask.price is not None else mark


def _refuse(reason: Reason, text: str, max_qty: Decimal | None = None) -> Denial:
    return Denial(reason=reason, value=ZERO, limit=ZERO, unit="", text=text, max_qty=max_qty)
