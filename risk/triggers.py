"""Stops that the daemon holds: at a price, or a trail behind the best price since; one of each strategy and symbol.

A stop has no quantity of its own. It closes what its strategy holds at the moment, is over once nothing is left that it
could close, and never opens anything. It lasts over days and restarts, until its `valid_until` where it has one.

**What fires it** are two updates in a row at or beyond its price, of the source that is set: the last print, or the
side of the quote that the exit would trade with. One bad print sells nothing, and moves no trail: a trail follows the
worse of two prices in a row. Nor does one bad quote, as prints while it stands are no second one. Crossed quotes are
passed over, and so is whatever comes outside the session; in its last seconds, too late for an exit, nothing fires. A
symbol that nobody quotes fires nothing.

**In HALTED** nothing fires. Prices are followed all the same, and a stop that is still beyond fires at the first update
after the resume. The same holds for a symbol in quarantine. In REDUCING stops fire: they only shrink.

**What may be a split** suspends: where the first two prices of a day both lie over `GAP_MAX` from the last one of the
day before, and where our books and the venue's differ. A new stop signal takes a suspended stop's place.

**When it fires**, what its strategy works in the symbol is taken back, on either side: an entry would open again what
the exit closes, and a take-profit order would hold the shares that the exit sells. Once that has ended, `WAIT_NS` at
the latest, the exit is asked for and sized. Where a halt or another session comes first, it is held again and fires by
its price or not at all. The stop stands until the exit has closed everything.

**What an exit leaves**, by its limit, a denial or the end of the session, is guarded again: the stop is held as before,
with a pause before it fires again that doubles each time. After `TRIES_MAX` exits, or where a person took the exit
back, it is suspended: what is in the way then needs somebody. Each of it is an alert. A new stop signal takes its place
at any time, and what the exit of the earlier one does meanwhile it goes on doing.
"""

from collections.abc import Iterable, Iterator
from decimal import Decimal
from typing import Literal

import msgspec

from core.calendar import CALENDARS, Session
from core.causes import TradingState
from core.events import (
    BreakFound,
    EndReason,
    Event,
    ExitRequested,
    FillBooked,
    FillBusted,
    MarketData,
    OrderDenied,
    ParentAccepted,
    ParentEnded,
    PositionAdjusted,
    SignalIgnored,
    StopEnd,
    StopEnded,
    StopRearmed,
    StopSet,
    StopSuspended,
    StopTriggered,
    TradingHalted,
)
from core.orders import Side
from core.signals import Instruction, StopSignal
from core.units import NS_PER_S, ZERO, ceil_to, floor_to
from risk.exposure import Exposure
from risk.limits import LimitsInForce
from risk.stops import Shown, Stop, stop_px

Source = Literal["quote", "last"]

WAIT_NS = 5 * NS_PER_S  # for what is taken back: longer than a venue is given to acknowledge
PAUSE_NS = 30 * NS_PER_S  # after the first exit that left something; twice as long after each further one
TRIES_MAX = 8  # exits of one stop: the last of them comes an hour after the first
END_NS = 10 * NS_PER_S  # before the close parents are over, so that an exit would end before it began


class StopSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[stops] - what fires the stops that the daemon holds."""

    source: Source = "quote"  # the side of the quote that the exit would trade with, or last prints


class Triggers:
    """All stops that are held, and what they do next. Costs per update what its symbol's stops cost."""

    __slots__ = ("_exposure", "_limits", "_source", "_stops")

    def __init__(self, exposure: Exposure, limits: LimitsInForce, settings: StopSettings) -> None:
        self._exposure = exposure
        self._limits = limits
        self._source = settings.source
        self._stops = exposure.stops  # which says what positions may lose

    def __iter__(self) -> Iterator[Stop]:
        return iter(self._stops)

    def __len__(self) -> int:
        return len(self._stops)

    # folds

    def take(self, event: StopSet) -> None:
        """Hold a stop. It has seen the price that it is set at: what the next day opens at is compared with that."""
        market = self._exposure.market.get(event.symbol)
        session = None if market is None else self._session(event.symbol, market.ts)
        day = "" if session is None else session.date.isoformat()
        self._stops.put(Stop(event, event.price, day=day, newest=event.price))

    def look(self, event: MarketData) -> None:
        """Follow a symbol's price, inside its session."""
        stops = self._stops.of(event.symbol)
        if not stops:
            return
        session = self._session(event.symbol, event.ts)
        if session is None:
            return
        for stop in stops:
            price = self._price(event, stop.order.side) if not stop.suspended else None
            if price is not None and self._is_news(stop, event):
                self._stops.see(stop, price, session.date.isoformat())
                stop.shown = _shown(event)

    def trigger(self, event: StopTriggered) -> None:
        """A stop has fired."""
        stop = self._stops[event.strategy, event.symbol]
        stop.fired, stop.takes_back = event.ts, event.takes_back

    def suspend(self, event: StopSuspended) -> None:
        """A stop no longer fires."""
        self._stops.suspend(event.strategy, event.symbol)

    def rearm(self, event: StopRearmed) -> None:
        """A stop is held again."""
        stop = self._stops[event.strategy, event.symbol]
        stop.fired, stop.takes_back, stop.asked, stop.said = None, (), None, ""
        stop.not_before = event.not_before

    def end(self, event: StopEnded) -> None:
        """A stop is over."""
        self._stops.drop(event.strategy, event.symbol)

    def ask(self, event: ExitRequested) -> None:
        """A stop's exit is on its way; one without a number is of a version in which its stop was over."""
        if not event.attempt:
            self._stops.drop(event.strategy, event.symbol)
            return
        stop = self._stops[event.strategy, event.symbol]
        stop.asked, stop.attempts = event.ts, event.attempt

    def accept(self, event: ParentAccepted) -> None:
        """A parent of a stop's exit is worked."""
        parent = event.parent
        stop = self._stops.get(parent.strategy, parent.symbol)
        if stop is not None and stop.asked is not None and parent.protects and parent.signal_id == stop.order.stop_id:
            stop.exits = (*stop.exits, event.parent_id)

    def deny(self, event: OrderDenied) -> None:
        """A parent, of the exit if there is one."""
        stop = self._stops.get(event.strategy, event.symbol)
        if stop is not None and stop.asked is not None and not event.cl_ord_id and event.side is stop.order.side:
            stop.said = f"{event.reason}: {event.text}"

    def close(self, event: ParentEnded) -> None:
        """A parent of a stop's exit is over."""
        stop = self._stops.get(event.strategy, event.symbol)
        if stop is not None and event.parent_id in stop.exits:
            stop.exits = tuple(each for each in stop.exits if each != event.parent_id)
            stop.said = f"{event.reason}: {event.text}" if event.text else event.reason.value
            stop.taken_back |= event.reason is EndReason.TAKEN_BACK

    # what the sizer asks

    def fault_of(self, signal: StopSignal, now: int) -> tuple[str, str] | None:
        """Why a stop cannot be held, or not be changed any more: a reason and its text; or None."""
        symbol, held = signal.symbol, self._stops.get(signal.strategy, signal.symbol)
        if held is not None and held.asked is None and not held.suspended and self._may_exit(held, now):
            return "TRIGGERED", f"the stop of {signal.strategy} in {symbol} has fired already: wait for its exit"
        if _cancels(signal):
            return None
        sign = self._sign(signal)
        if not sign:
            text = f"{signal.strategy} holds no {symbol} and none is on its way: send a stop behind its entry"
            return "NO_POSITION", text
        price = self._start(symbol, sign)
        if price is None:
            return "NO_PRICE", f"{symbol} has no price to compare a stop with yet: send it again once it is quoted"
        at = stop_px(signal, sign, price)
        if sign * (price - at) <= 0:
            side = "below" if sign > 0 else "above"
            return "WRONG_SIDE", f"{at:f} is not {side} {price:f}, where {symbol} trades: it would fire at once"
        if at - sign * (signal.limit_offset or ZERO) <= 0:
            return "WRONG_SIDE", f"a stop at {at:f} with its limit beyond it is no price: give less trail or offset"
        return None

    def asked(self, signal: StopSignal, now: int) -> Iterable[Event]:
        """Take a stop whose signal is accepted, in the place of an earlier one, or cancel that."""
        earlier, sign = self._stops.get(signal.strategy, signal.symbol), self._sign(signal)
        if earlier is not None:
            yield _ended(earlier, now, StopEnd.CANCELLED if _cancels(signal) else StopEnd.REPLACED)
        elif _cancels(signal):
            text = f"{signal.strategy} has no stop in {signal.symbol}"
            yield SignalIgnored(
                ts=now, signal_id=signal.signal_id, strategy=signal.strategy, reason="NO_STOP", text=text
            )
        price = self._start(signal.symbol, sign)
        if not _cancels(signal) and price is not None:
            yield StopSet(
                ts=now,
                stop_id=signal.signal_id,
                signal_ts=signal.ts,
                strategy=signal.strategy,
                symbol=signal.symbol,
                side=Side.SELL if sign > 0 else Side.BUY,
                stop_px=signal.stop_px,
                trail=signal.trail,
                trail_fraction=signal.trail_fraction,
                limit_offset=signal.limit_offset,
                how=signal.how,
                price=price,
                valid_until=signal.valid_until,
            )

    # decisions

    def on_market(self, event: MarketData) -> Iterable[Event]:
        """End, suspend, fire, ask for the exit of what has fired, or look after what an exit left."""
        for stop in self._stops.of(event.symbol):
            yield from self._next(stop, event.ts)

    def on_triggered(self, event: StopTriggered) -> Iterable[Event]:
        """Ask for the exit at once where nothing is in its way."""
        return self._exit(self._stops[event.strategy, event.symbol], event.ts)

    def on_moved(self, event: FillBooked | FillBusted | ParentEnded) -> Iterable[Event]:
        """A stop that has nothing to close is over; one that waited may go on, as may one whose exit is over."""
        stop = self._stops.get(event.strategy, event.symbol)
        if stop is None:
            return
        if self._is_idle(stop):
            yield _ended(stop, event.ts, StopEnd.FLAT)
        elif stop.asked is not None:
            yield from self._settle(stop, event.ts)
        else:
            yield from self._exit(stop, event.ts)

    def on_halted(self, event: TradingHalted) -> Iterable[Event]:
        """Hold again what has fired, but not asked for its exit: by the resume the price may be another one."""
        if self._exposure.causes.state is TradingState.HALTED:
            for stop in tuple(self):
                if stop.asked is None:
                    yield from self._exit(stop, event.ts)

    def on_break(self, event: BreakFound) -> Iterable[Event]:
        """Suspend the stops of a symbol whose books do not agree with the venue's."""
        return self._suspend_all(event.symbol, event.ts, f"{event.symbol} is in quarantine: {event.text}")

    def on_adjusted(self, event: PositionAdjusted) -> Iterable[Event]:
        """Suspend the stops of a symbol that was split: their prices are of shares that are no more."""
        text = f"{event.symbol} was split {event.numerator}:{event.denominator}"
        return self._suspend_all(event.symbol, event.ts, text)

    def _suspend_all(self, symbol: str, now: int, text: str) -> Iterable[Event]:
        for stop in self._stops.of(symbol):
            if not stop.suspended:
                yield _suspended(stop, now, text)

    def _next(self, stop: Stop, now: int) -> Iterable[Event]:
        until = stop.order.valid_until
        if stop.asked is not None:
            yield from self._settle(stop, now)
        elif stop.fired is not None:
            yield from self._exit(stop, now)
        elif until is not None and until <= now:
            yield _ended(stop, now, StopEnd.EXPIRED)
        elif stop.suspended:
            return
        elif stop.has_gap:
            text = f"{stop.order.symbol} went from {stop.close} to {stop.newest} over night: a split?"
            yield _suspended(stop, now, text)
        elif stop.is_beyond and stop.not_before <= now and self._may_fire(stop, now):
            yield self._triggered(stop, now)

    def _triggered(self, stop: Stop, now: int) -> Event:
        order = stop.order
        assert stop.earlier is not None and stop.newest is not None  # noqa: PT018 - both are beyond
        return StopTriggered(
            ts=now,
            stop_id=order.stop_id,
            strategy=order.strategy,
            symbol=order.symbol,
            side=order.side,
            stop_px=stop.stop_px,
            prices=(stop.earlier, stop.newest),
            source=self._source,
            takes_back=tuple(
                parent_id
                for parent_id, parent in self._exposure.parents.items()
                if (parent.strategy, parent.symbol) == (order.strategy, order.symbol) and not parent.flatten
            ),
        )

    def _exit(self, stop: Stop, now: int) -> Iterable[Event]:
        """The exit of a stop that fired, once it may go and what was taken back is out of its way."""
        if stop.fired is None or stop.suspended:
            return
        if not self._may_exit(stop, now):
            held = stop.sign * self._exposure.own_held(stop.order.strategy, stop.order.symbol)
            why = "a halt or the session's end came before its exit"
            yield _rearmed(stop, now, attempt=0, left=held, not_before=now, text=why)
            return
        waits = any(parent_id in self._exposure.parents for parent_id in stop.takes_back)
        if waits and now < stop.fired + WAIT_NS:
            return
        order = stop.order
        if stop.sign * self._exposure.own_held(order.strategy, order.symbol) <= 0:
            yield _ended(stop, now, StopEnd.FLAT)
            return
        yield ExitRequested(
            ts=now,
            stop_id=order.stop_id,
            signal_ts=stop.fired,
            strategy=order.strategy,
            symbol=order.symbol,
            side=order.side,
            how=self._how(stop),
            attempt=stop.attempts + 1,
        )

    def _settle(self, stop: Stop, now: int) -> Iterable[Event]:
        """What becomes of a stop whose exit is over: not before a later event, by which all of it was judged."""
        order, instrument = stop.order, self._exposure.instruments.get(stop.order.symbol)
        if stop.suspended or stop.asked is None or now <= stop.asked or stop.exits or instrument is None:
            return
        held = stop.sign * self._exposure.own_held(order.strategy, order.symbol)
        closing = self._exposure.own_committed(order.strategy, order.symbol, order.side)
        left = floor_to(held - closing, instrument.lot)
        why = stop.said or "nothing of it could be sent"
        if held > 0 and closing and left <= 0:
            return  # what is in doubt may close it yet
        if left <= 0:
            yield _ended(stop, now, StopEnd.FLAT)
        elif order.valid_until is not None and order.valid_until <= now:
            yield _ended(stop, now, StopEnd.EXPIRED)
        elif stop.taken_back:
            yield _suspended(stop, now, f"its exit was taken back and left {left}: close it, or send a new stop")
        elif stop.attempts >= TRIES_MAX:
            text = f"{stop.attempts} exits have left {left}, the last by {why}: close it, or send a new stop"
            yield _suspended(stop, now, text)
        else:
            not_before = now + PAUSE_NS * 2 ** (stop.attempts - 1)
            yield _rearmed(stop, now, attempt=stop.attempts, left=left, not_before=not_before, text=why)

    def _how(self, stop: Stop) -> Instruction:
        """How the exit is worked; its limit lies beyond the stop, on tick, rather farther than nearer.

        A limit bounds what a MARKET crosses by. An order at the limit itself would be denied where that is far away.
        """
        order = stop.order
        if order.limit_offset is None:
            return order.how
        tick, limit = self._exposure.instruments[order.symbol].tick, stop.stop_px - stop.sign * order.limit_offset
        price = max(floor_to(limit, tick), tick) if stop.sign > 0 else ceil_to(limit, tick)
        return msgspec.structs.replace(order.how, price=price)

    # what they read

    def _may_fire(self, stop: Stop, now: int) -> bool:
        exposure, symbol = self._exposure, stop.order.symbol
        session = self._session(symbol, now)
        margin = max(END_NS, self._limits.current.close_margin_ns)
        is_open = session is not None and session.close - now > margin
        return is_open and exposure.causes.state is not TradingState.HALTED and symbol not in exposure.quarantined

    def _may_exit(self, stop: Stop, now: int) -> bool:
        """Whether it has fired and may still exit by that: in the same session, and where it might fire now."""
        symbol = stop.order.symbol
        return (
            stop.fired is not None
            and self._may_fire(stop, now)
            and self._session(symbol, stop.fired) == self._session(symbol, now)
        )

    def _session(self, symbol: str, now: int) -> Session | None:
        """That it is in now; None while it is shut, and for what is no instrument any more."""
        instrument = self._exposure.instruments.get(symbol)
        return None if instrument is None else CALENDARS[instrument.calendar].session_at(now)

    def _is_idle(self, stop: Stop) -> bool:
        """Whether its strategy holds nothing that it could close, and nothing is on its way."""
        order = stop.order
        held = stop.sign * self._exposure.own_held(order.strategy, order.symbol)
        coming = self._exposure.own_committed(order.strategy, order.symbol, order.side.opposite)
        return held < 0 or (not held and not coming)

    def _sign(self, signal: StopSignal) -> int:
        """Of what a strategy holds, or else of what is on its way to it; 0: nothing."""
        held = self._exposure.own_held(signal.strategy, signal.symbol)
        wanted = held or self._exposure.expected(signal.strategy, signal.symbol)
        return (wanted > 0) - (wanted < 0)

    def _price(self, market: MarketData, side: Side) -> Decimal | None:
        """What an exit of that side is measured by; None where it is not quoted, or crossed."""
        if self._source == "last":
            price = market.last
        elif market.bid is not None and market.ask is not None and market.bid > market.ask:
            return None
        else:
            price = market.bid if side is Side.SELL else market.ask
        return price if price is not None and price > 0 else None

    def _is_news(self, stop: Stop, market: MarketData) -> bool:
        """Whether its source has spoken: of quotes not where prints alone came, and the quote stands as it did."""
        return market.trades > 0 if self._source == "last" else not market.trades or _shown(market) != stop.shown

    def _start(self, symbol: str, sign: int) -> Decimal | None:
        """Where a trail begins: the worse of the source's price and the mid, as one of them alone may be bad."""
        market, mark = self._exposure.market.get(symbol), self._exposure.mark(symbol)
        price = None if market is None else self._price(market, Side.SELL if sign > 0 else Side.BUY)
        if price is None or mark is None:
            return None
        return min(price, mark) if sign > 0 else max(price, mark)

    # snapshots

    def dump(self) -> dict[str, object]:
        """State for a snapshot."""
        return {"stops": [msgspec.to_builtins(stop) for stop in self]}

    def load(self, dumped: dict[str, object]) -> None:
        """State from a snapshot."""
        for stop in msgspec.convert(dumped["stops"], list[Stop]):
            self._stops.put(stop)


def _cancels(signal: StopSignal) -> bool:
    return signal.stop_px is None and signal.trail is None and signal.trail_fraction is None


def _shown(market: MarketData) -> Shown:
    return market.bid, market.bid_size, market.ask, market.ask_size


def _ended(stop: Stop, now: int, reason: StopEnd) -> StopEnded:
    order = stop.order
    return StopEnded(ts=now, stop_id=order.stop_id, strategy=order.strategy, symbol=order.symbol, reason=reason)


def _suspended(stop: Stop, now: int, text: str) -> StopSuspended:
    order = stop.order
    return StopSuspended(ts=now, stop_id=order.stop_id, strategy=order.strategy, symbol=order.symbol, text=text)


def _rearmed(stop: Stop, now: int, *, attempt: int, left: Decimal, not_before: int, text: str) -> StopRearmed:
    order = stop.order
    return StopRearmed(
        ts=now,
        stop_id=order.stop_id,
        strategy=order.strategy,
        symbol=order.symbol,
        attempt=attempt,
        left_qty=left,
        not_before=not_before,
        text=text,
    )
