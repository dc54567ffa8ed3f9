"""The slicer works parents into children: it keeps each one on its curve, whatever the curve is.

For every parent that is due it reads the two gaps of `algos.trajectory` and acts on them: a positive `to_send` becomes
a child, a negative one takes the newest excess back, and a parent that is `behind` although its children rest has them
cancelled and crossed. In the first half of the time between two points of the curve children join the queue; in the
second half they cross the spread. Nothing else is remembered, so a reject, a partial fill or a restart needs no case of
its own.

Due parents wait in one heap. Cost per quote is one assignment, cost per child does not depend on how many parents live.
"""

from bisect import bisect_right
from collections.abc import Iterable
from decimal import Decimal
from heapq import heapify, heappop, heappush

import msgspec

from algos import pricing
from algos.planning import plan, window_of
from algos.trajectory import Trajectory
from core.events import (
    EndReason,
    Event,
    FillBooked,
    FillBusted,
    MarketData,
    NewOrderSingle,
    OrderCancelRequest,
    OrderDenied,
    OrderUnresolved,
    OrderUpdated,
    ParentAccepted,
    ParentEnded,
    ParentScheduled,
    TimeAdvanced,
    TradingHalted,
    TradingResumed,
)
from core.ids import cl_ord_id
from core.instruments import Instruments
from core.orders import OrdStatus, OrdType, Side
from core.signals import Algo
from core.trading import Causes, TradingState
from core.units import NS_PER_S, ZERO, floor_to

RETRY_NS = 1 * NS_PER_S  # a parent with a gap that it cannot send (no price, denied) looks again so much later
REPRICE_NS = 5 * NS_PER_S  # a crossing child that still rests is looked at so much later
HOLD_NS_MAX = 60 * NS_PER_S  # the longest pause after refusals in a row; they double from RETRY_NS


class Child(msgspec.Struct):
    """A child that may still execute."""

    leaves_qty: Decimal
    price: Decimal | None
    cancelling: bool = False
    unresolved: bool = False


class Parent:
    """A live parent: its order, its curve, its children and what is done."""

    __slots__ = (
        "accepted",
        "children",
        "count",
        "cum_qty",
        "curve",
        "due",
        "end",
        "hold_until",
        "leaves_qty",
        "notional",
        "refusals",
        "unresolved",
    )

    def __init__(self, accepted: ParentAccepted) -> None:
        self.accepted = accepted
        self.curve: Trajectory | None = None
        self.end = 0
        self.cum_qty = ZERO
        self.notional = ZERO
        self.leaves_qty = ZERO
        self.children: dict[str, Child] = {}
        self.count = 0  # children ever made: the next one's number
        self.due: int | None = None
        self.hold_until = 0
        self.refusals = 0  # in a row
        self.unresolved = False

    @property
    def side(self) -> Side:
        """The side of the parent and of every child."""
        return self.accepted.parent.side

    def to_send(self, now: int) -> Decimal:
        """What the curve wants sent; negative: what it wants back."""
        return (self.curve.target(now) if self.curve else ZERO) - self.cum_qty - self.leaves_qty

    def is_pressed(self, now: int) -> bool:
        """Whether the time to wait in queues is over: the second half between two points of the curve."""
        algo = self.accepted.parent.how.algo
        return algo is Algo.MARKET or (algo is not Algo.LIMIT and now >= self._pressed_from(now))

    def is_over(self, now: int) -> bool:
        """Whether nothing more is to be sent."""
        return now >= self.end or self.unresolved or self.cum_qty >= self.accepted.order_qty

    def next_due(self, now: int) -> int | None:
        """When to look at the parent next, seen from `now`."""
        if self.curve is None:
            return None
        if self.is_over(now):  # only children that would not be cancelled keep it
            return now + REPRICE_NS if self.children else None
        moments = [self.end]
        following = self.curve.next_time(now)
        if following is not None:
            moments.append(following)
        pressed = self._pressed_from(now)
        if pressed > now:
            moments.append(pressed)
        if self.to_send(now) > 0:
            moments.append(max(now + RETRY_NS, self.hold_until))
        elif self.children and self.is_pressed(now):
            moments.append(now + REPRICE_NS)
        return min(moments)

    def _pressed_from(self, now: int) -> int:
        assert self.curve is not None
        i = bisect_right(self.curve.times, now)
        if not i:
            return self.end
        following = self.curve.times[i] if i < len(self.curve.times) else self.end
        return self.curve.times[i - 1] + (following - self.curve.times[i - 1]) // 2


class Slicer:
    """All live parents, and the heap of those that are due."""

    __slots__ = ("_causes", "_due", "_heap", "_instruments", "_market", "_owner", "parents")

    def __init__(self, instruments: Instruments) -> None:
        self._instruments = instruments
        self.parents: dict[str, Parent] = {}
        self._owner: dict[str, str] = {}  # live child -> parent
        self._market: dict[str, MarketData] = {}
        self._causes = Causes()
        self._heap: list[tuple[int, str]] = []  # entries whose time is not their parent's `due` are stale
        self._due: list[str] = []  # parents whose time has come with the present TimeAdvanced

    def next_due(self) -> int | None:
        """When a `TimeAdvanced` is wanted, ns; None: not at all."""
        heap = self._heap
        while heap and self._is_stale(*heap[0]):
            heappop(heap)
        return heap[0][0] if heap else None

    # folds

    def quote(self, event: MarketData) -> None:
        """Remember the market of a symbol."""
        self._market[event.symbol] = event

    def open(self, event: ParentAccepted) -> None:
        """A parent begins; it has no curve yet."""
        self.parents[event.parent_id] = Parent(event)

    def schedule(self, event: ParentScheduled) -> None:
        """A parent gets its curve, or another one."""
        parent = self.parents[event.parent_id]
        parent.curve = Trajectory(event.times, event.targets)
        parent.end = event.end
        self._arm(event.parent_id, parent, event.ts)

    def send(self, event: NewOrderSingle) -> None:
        """A child exists from the moment it is wanted: its quantity counts at once."""
        parent = self.parents[event.parent_id]
        parent.children[event.cl_ord_id] = Child(event.order_qty, event.price)
        parent.leaves_qty += event.order_qty
        parent.count += 1
        self._owner[event.cl_ord_id] = event.parent_id
        self._arm(event.parent_id, parent, event.ts)

    def deny(self, event: OrderDenied) -> None:
        """A child never left: its quantity is open again, after a pause that doubles."""
        parent = self._parent_of(event.cl_ord_id)
        if parent is not None:
            self._drop(parent, event.cl_ord_id)
            self._hold(parent, event.ts)
            self._arm(event.parent_id, parent, event.ts)

    def update(self, event: OrderUpdated) -> None:
        """A child stands differently; a terminal one gives its remainder back to the gap."""
        parent = self._parent_of(event.cl_ord_id)
        if parent is None:
            return
        child = parent.children[event.cl_ord_id]
        if event.terminal:
            self._drop(parent, event.cl_ord_id)
            if event.ord_status in {OrdStatus.REJECTED, OrdStatus.NOT_SENT, OrdStatus.LAPSED}:
                self._hold(parent, event.ts)
            elif event.ord_status is not OrdStatus.FILLED and not child.cancelling:
                parent.hold_until = event.ts + RETRY_NS  # it ended unasked, and might do so again at once
        else:
            parent.leaves_qty += event.leaves_qty - child.leaves_qty
            child.leaves_qty = event.leaves_qty
            asked = child.cancelling and event.ord_status is OrdStatus.UNKNOWN  # no answer yet: asking again is noise
            child.cancelling = asked or event.ord_status is OrdStatus.PENDING_CANCEL
            if event.ord_status is OrdStatus.NEW:
                parent.refusals = 0
        self._arm(event.parent_id, parent, event.ts)

    def fill(self, event: FillBooked) -> None:
        """Count an execution, and take it from what its child may still do."""
        parent = self.parents.get(event.parent_id)
        if parent is None:
            return
        parent.cum_qty += event.last_qty
        parent.notional += event.last_qty * event.last_px
        parent.refusals = 0
        child = parent.children.get(event.cl_ord_id)
        if child is not None:
            done = min(event.last_qty, child.leaves_qty)
            child.leaves_qty -= done
            parent.leaves_qty -= done

    def bust(self, event: FillBusted) -> None:
        """Uncount an execution; the gap will want it again."""
        parent = self.parents.get(event.parent_id)
        if parent is not None:
            parent.cum_qty -= event.last_qty
            parent.notional -= event.last_qty * event.last_px
            self._arm(event.parent_id, parent, event.ts)

    def cancel(self, event: OrderCancelRequest) -> None:
        """A child was asked back: it counts in full until the venue has answered."""
        parent = self._parent_of(event.cl_ord_id)
        if parent is not None:
            parent.children[event.cl_ord_id].cancelling = True

    def give_up(self, event: OrderUnresolved) -> None:
        """A child's outcome cannot be learnt: its parent will send nothing more."""
        parent = self._parent_of(event.cl_ord_id)
        if parent is not None:
            parent.unresolved = parent.children[event.cl_ord_id].unresolved = True
            self._arm(event.parent_id, parent, event.ts)

    def end(self, event: ParentEnded) -> None:
        """A parent is over."""
        parent = self.parents.pop(event.parent_id, None)
        if parent is not None:
            for child in parent.children:
                del self._owner[child]

    def advance(self, event: TimeAdvanced) -> None:
        """Find the parents whose time has come."""
        self._due = []
        while self._heap and self._heap[0][0] <= event.ts:
            due, parent_id = heappop(self._heap)
            if not self._is_stale(due, parent_id):
                self._due.append(parent_id)
                self._arm(parent_id, self.parents[parent_id], event.ts)

    def halt(self, event: TradingHalted) -> None:
        """Send nothing while a cause forbids it."""
        self._causes.halt(event)

    def resume(self, event: TradingResumed) -> None:
        """A cause has ended."""
        self._causes.resume(event)

    # decisions

    def on_accepted(self, event: ParentAccepted) -> Iterable[Event]:
        """Give a new parent its curve."""
        instrument = self._instruments[event.parent.symbol]
        window = window_of(event, instrument)
        if isinstance(window, str):
            yield _ended(self.parents[event.parent_id], event.ts, EndReason.INFEASIBLE)
            return
        curve = plan(event, instrument, window)
        yield ParentScheduled(
            ts=event.ts, parent_id=event.parent_id, times=curve.times, targets=curve.targets, end=window.end
        )

    def on_scheduled(self, event: ParentScheduled) -> Iterable[Event]:
        """A curve that begins now is followed now."""
        return self._work(event.parent_id, event.ts)

    def on_due(self, event: TimeAdvanced) -> Iterable[Event]:
        """Work every parent whose time has come."""
        for parent_id in self._due:
            yield from self._work(parent_id, event.ts)

    def on_updated(self, event: OrderUpdated) -> Iterable[Event]:
        """A child that ended may leave a gap, or end its parent."""
        return self._work(event.parent_id, event.ts) if event.terminal else ()

    def on_unresolved(self, event: OrderUnresolved) -> Iterable[Event]:
        """Wind the parent up without the child that nobody can account for."""
        return self._work(event.parent_id, event.ts)

    def on_halted(self, event: TradingHalted) -> Iterable[Event]:
        """Take every working child back, where the cause asks for it."""
        if event.cancel_working:
            for parent in list(self.parents.values()):
                yield from _cancel_all(parent, event.ts, f"halted: {event.cause}")

    def on_resumed(self, event: TradingResumed) -> Iterable[Event]:
        """Catch up with the curves."""
        for parent_id in list(self.parents):
            yield from self._work(parent_id, event.ts)

    def _work(self, parent_id: str, now: int) -> Iterable[Event]:
        parent = self.parents.get(parent_id)
        if parent is None or parent.curve is None:
            return
        if parent.is_over(now):
            yield from self._wind_up(parent, now)
            return
        if self._causes.state is TradingState.HALTED:
            return
        gap = parent.to_send(now)
        if gap < 0:
            yield from _cancel_excess(parent, -gap, now)
            return
        if gap > 0:
            yield from self._send(parent, gap, now)
        if parent.is_pressed(now):
            yield from self._press(parent, now)

    def _send(self, parent: Parent, gap: Decimal, now: int) -> Iterable[Event]:
        order = parent.accepted.parent
        instrument = self._instruments[order.symbol]
        qty = floor_to(min(gap, order.how.max_slice or gap), instrument.lot)
        price = self._price(parent, now)
        is_market = order.how.algo is Algo.MARKET and order.how.ord_type is OrdType.MARKET and order.how.price is None
        if qty <= 0 or now < parent.hold_until or (price is None and not is_market):
            return
        yield NewOrderSingle(
            ts=now,
            cl_ord_id=cl_ord_id(parent.accepted.parent_id, child=parent.count + 1),
            parent_id=parent.accepted.parent_id,
            strategy=order.strategy,
            account=order.account,
            venue=order.venue,
            symbol=order.symbol,
            side=order.side,
            order_qty=qty,
            ord_type=OrdType.MARKET if is_market else OrdType.LIMIT,
            price=None if is_market else price,
            time_in_force=order.how.time_in_force,
        )

    def _press(self, parent: Parent, now: int) -> Iterable[Event]:
        """Take back what rests away from the market, so that its quantity can cross."""
        market = self._market.get(parent.accepted.parent.symbol)
        limit = parent.accepted.parent.how.price
        if market is None or pricing.is_beyond(parent.side, market, limit):
            return
        touch = market.ask if parent.side is Side.BUY else market.bid
        for cl_id, child in list(parent.children.items()):
            rests = child.price is not None and touch is not None and parent.side.sign * (touch - child.price) > 0
            if rests and not child.cancelling:
                yield _cancel(parent, cl_id, now, "behind its curve")

    def _price(self, parent: Parent, now: int) -> Decimal | None:
        order = parent.accepted.parent
        limit, tick = order.how.price, self._instruments[order.symbol].tick
        if order.how.algo is Algo.LIMIT:
            return pricing.within(order.side, limit, limit, tick)
        market = self._market.get(order.symbol)
        if market is None:
            return None
        rule = pricing.cross if parent.is_pressed(now) else pricing.join
        return pricing.within(order.side, rule(order.side, market, tick), limit, tick)

    def _wind_up(self, parent: Parent, now: int) -> Iterable[Event]:
        yield from _cancel_all(parent, now, "its parent is over")
        if all(child.unresolved for child in parent.children.values()):
            yield _ended(parent, now, self._end_reason(parent))

    def _end_reason(self, parent: Parent) -> EndReason:
        if parent.cum_qty >= parent.accepted.order_qty:
            return EndReason.FILLED
        if parent.unresolved:
            return EndReason.UNRESOLVED
        if parent.refusals:
            return EndReason.DENIED
        order = parent.accepted.parent
        market = self._market.get(order.symbol)
        beyond = market is not None and pricing.is_beyond(order.side, market, order.how.price)
        return EndReason.LIMIT_PRICE if beyond else EndReason.WINDOW

    # bookkeeping

    def _parent_of(self, child: str) -> Parent | None:
        owner = self._owner.get(child)
        return None if owner is None else self.parents[owner]

    def _drop(self, parent: Parent, child: str) -> None:
        parent.leaves_qty -= parent.children.pop(child).leaves_qty
        assert parent.leaves_qty >= 0, f"{parent.accepted.parent_id}: leaves fell to {parent.leaves_qty}"
        del self._owner[child]

    def _hold(self, parent: Parent, now: int) -> None:
        parent.hold_until = now + min(RETRY_NS << min(parent.refusals, 10), HOLD_NS_MAX)
        parent.refusals += 1

    def _arm(self, parent_id: str, parent: Parent, now: int) -> None:
        due = parent.next_due(now)
        if due is not None and due != parent.due:
            heappush(self._heap, (due, parent_id))
        parent.due = due

    def _is_stale(self, due: int, parent_id: str) -> bool:
        parent = self.parents.get(parent_id)
        return parent is None or parent.due != due

    # snapshots

    def dump(self) -> dict[str, object]:
        """State for a snapshot."""
        return {
            "causes": self._causes.dump(),
            "market": [msgspec.to_builtins(event) for event in self._market.values()],
            "parents": [_dump_parent(parent) for parent in self.parents.values()],
        }

    def load(self, dumped: dict[str, object]) -> None:
        """State from a snapshot, into an empty slicer."""
        state = msgspec.convert(dumped, _Dump)
        self._causes.load(state.causes)
        self._market = {event.symbol: event for event in state.market}
        for row in state.parents:
            parent = Parent(row.accepted)
            parent.curve = row.curve
            for name in _PLAIN:
                setattr(parent, name, getattr(row, name))
            self.parents[row.accepted.parent_id] = parent
            self._owner.update(dict.fromkeys(parent.children, row.accepted.parent_id))
            if parent.due is not None:
                self._heap.append((parent.due, row.accepted.parent_id))
        heapify(self._heap)


_PLAIN = (
    "end",
    "cum_qty",
    "notional",
    "leaves_qty",
    "children",
    "count",
    "due",
    "hold_until",
    "refusals",
    "unresolved",
)


class _ParentDump(msgspec.Struct):
    accepted: ParentAccepted
    curve: Trajectory | None
    end: int
    cum_qty: Decimal
    notional: Decimal
    leaves_qty: Decimal
    children: dict[str, Child]
    count: int
    due: int | None
    hold_until: int
    refusals: int
    unresolved: bool


class _Dump(msgspec.Struct):
    causes: dict[str, str]
    market: list[MarketData]
    parents: list[_ParentDump]


def _dump_parent(parent: Parent) -> object:
    facts = {name: getattr(parent, name) for name in _PLAIN}
    return msgspec.to_builtins(_ParentDump(accepted=parent.accepted, curve=parent.curve, **facts))


def _cancel(parent: Parent, child: str, now: int, text: str) -> OrderCancelRequest:
    order = parent.accepted.parent
    return OrderCancelRequest(
        ts=now, cl_ord_id=child, parent_id=order.parent_id, venue=order.venue, symbol=order.symbol, text=text
    )


def _cancel_all(parent: Parent, now: int, text: str) -> Iterable[Event]:
    for child_id, child in list(parent.children.items()):
        if not child.cancelling:
            yield _cancel(parent, child_id, now, text)


def _cancel_excess(parent: Parent, excess: Decimal, now: int) -> Iterable[Event]:
    """Newest first: the oldest children have the best places in their queues."""
    for child_id, child in reversed(list(parent.children.items())):
        if excess <= 0:
            return
        if not child.cancelling:
            yield _cancel(parent, child_id, now, "ahead of its curve")
        excess -= child.leaves_qty


def _ended(parent: Parent, now: int, reason: EndReason) -> ParentEnded:
    order = parent.accepted.parent
    return ParentEnded(
        ts=now,
        parent_id=order.parent_id,
        strategy=order.strategy,
        symbol=order.symbol,
        side=order.side,
        order_qty=parent.accepted.order_qty,
        cum_qty=parent.cum_qty,
        avg_px=parent.notional / parent.cum_qty if parent.cum_qty else None,
        leaves_qty=max(parent.accepted.order_qty - parent.cum_qty, ZERO),
        reason=reason,
    )
