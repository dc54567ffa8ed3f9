"""What the account is exposed to: a fold over events that costs the same however much is held or has happened.

Three quantities are kept apart per symbol and side: what is *held*, what is *working* (approved children that may still
execute, the Unknown among them), and what is *committed* (accepted parents' unfilled quantity, which covers their
working children, and children that outlive their parent because nobody knows their outcome). Children are judged
against held plus working, parents against held plus committed: both are reserved at the moment of the verdict, so two
orders racing for the last of a limit can never both pass.

What works is known by its price, too, so that no two orders of ours meet at a venue (`risk.resting`).

How far each position may get with what is reserved, and the sums over all of them, are kept besides (`risk.reach`): one
picture with what is committed, for parents, and one with what is working, for children. Likewise what each strategy's
positions may lose until their stops fire (`risk.heat`), for whoever sets a limit on it.

Marks are mids that can be traded at; any other mid leaves the mark that was. Equity moves with each mark and each fill
by its difference; decimals make the sum exact, so it needs no re-summing. What the broker has less of counts as gone
(`risk.broker`), and a part of what is held at an old mark (`risk.marks`). A wrong price, a mistyped deposit or a wrong
report must not lift every limit at once: orders are sized and judged by an equity that rises only once it has stood
(`risk.stood`), and falls at once.
"""

import datetime as dt
from collections import deque
from collections.abc import Collection, Iterator, Mapping
from decimal import Decimal
from functools import lru_cache

import msgspec

from core.events import (
    AccountOpened,
    AccountReported,
    BreakFound,
    CashMoved,
    FillBooked,
    FillBusted,
    FlattenRequested,
    MarketData,
    OrderApproved,
    OrderCancelRequest,
    OrderUnresolved,
    OrderUpdated,
    ParentAccepted,
    ParentAmended,
    ParentEnded,
    PositionAdjusted,
    Reason,
    RegimeSet,
    RiskModelSet,
    SignalReceived,
    StrategyResumed,
    StrategyStopped,
    SymbolReleased,
    TimeAdvanced,
    TradingHalted,
    TradingResumed,
)
from core.instruments import Instruments, VenueAbility
from core.orders import OrdStatus, Side
from core.positions import Book
from core.trading import Causes
from core.units import NS_PER_DAY, NS_PER_S, ZERO
from risk.broker import BrokerView
from risk.heat import Heat, at_risk
from risk.limits import WINDOW_MAX, LimitsInForce, for_opening
from risk.marks import Marks
from risk.reach import Reach, span
from risk.resting import RestingOrders
from risk.stood import Stood
from risk.stops import Stops
from risk.tail import Stake, TailRisk

MOVING = Decimal("0.01")  # of equity
MARK_MAX = Decimal(10**12)  # a price from here on is a fault of the data, and its sums would leave exact arithmetic


class ChildExposure(msgspec.Struct):
    """An approved child: what may still execute, and at which price (None: at any)."""

    strategy: str
    venue: str
    symbol: str
    side: Side
    parent_id: str
    price: Decimal | None
    order_qty: Decimal
    leaves_qty: Decimal
    touch: Decimal | None  # the other side of the quote that its approval used
    cum_qty: Decimal = ZERO
    ord_status: OrdStatus = OrdStatus.PENDING_SUBMIT
    given_up: bool = False  # nobody will learn what became of it, unless the venue says so after all


class ParentExposure(msgspec.Struct):
    """An accepted parent: its size, what is done, what may still be done by children that were sent.

    `valid_until`, ns, is the instant from which on none of its children may leave. `opening` of its shares were to open
    a position when it was accepted or made larger, at `unit` money each. `waives` is what two people want it not to be
    denied for. One that is `stopped`, by an operator's flatten, sends nothing more.
    """

    strategy: str
    symbol: str
    side: Side
    order_qty: Decimal
    cum_qty: Decimal = ZERO
    live_qty: Decimal = ZERO
    valid_until: int | None = None
    flatten: bool = False
    waives: Reason | None = None
    opening: Decimal = ZERO
    unit: Decimal = ZERO
    stopped: bool = False

    @property
    def unsent(self) -> Decimal:
        """Money for what opens and no child was sent for; what shrinks is taken to be sent first."""
        return self.unit * min(self.opening, self.open_qty - self.live_qty)

    @property
    def open_qty(self) -> Decimal:
        """Accepted and not executed; what is live where that is more, as after a venue's over-fill, or all there is."""
        return self.live_qty if self.stopped else max(self.order_qty - self.cum_qty, self.live_qty)


class Newest(msgspec.Struct, frozen=True):
    """The last parent of a strategy in a symbol, as it was asked for."""

    ts: int
    parent_id: str
    side: Side
    qty: Decimal


class Rate:
    """An exact rolling window on event time: at most `per_s` events in any half-open second; deterministic, O(1).

    `per_s` may be another one each time: what was counted stays counted, and a lower one binds at once.

    Each event lies a second or more after the `per_s`-th before it. The events 1, 1 + `per_s`, 1 + 2 `per_s` ... are
    thus a second apart, and so on for 2, 3 ...: no second holds two of the same row, and there are `per_s` rows. That
    needs no order between neighbours, so times may repeat and go back.

    What is taken without room counts all the same: there is room again once the `per_s`-th newest is a second old.
    """

    __slots__ = ("_times",)

    def __init__(self) -> None:
        self._times: deque[int] = deque()  # all of the last second, and no more than `per_s` of older ones

    def has_room(self, now: int, per_s: int) -> bool:
        """Whether one more event may pass now."""
        return len(self._times) < per_s or now - self._times[-per_s] >= NS_PER_S

    def use(self, now: int, per_s: int) -> float:
        """The part of the rate that the last second took; more than all of it where the rate was lowered since."""
        return sum(now - ts < NS_PER_S for ts in self._times) / per_s

    def take(self, now: int, per_s: int) -> None:
        """Count one event."""
        self._times.append(now)
        while len(self._times) > per_s and now - self._times[0] >= NS_PER_S:
            self._times.popleft()  # no rate, however high it is set, will ask for it

    def dump(self) -> list[int]:
        """State for a snapshot."""
        return list(self._times)

    def load(self, dumped: list[int]) -> None:
        """State from a snapshot."""
        self._times.extend(dumped)


class Exposure:
    """Positions, reservations, marks, rates and causes, as the checks read them."""

    __slots__ = (
        "_coming",
        "_committed",
        "_heat_of_children",
        "_heat_of_parents",
        "_heating",
        "_limits",
        "_marks",
        "_moved",
        "_of_children",
        "_of_parents",
        "_owners",
        "_sent",
        "_stood",
        "_tail",
        "_unsent",
        "_value",
        "_working",
        "_working_at",
        "abilities",
        "book",
        "broker",
        "causes",
        "children",
        "in_doubt",
        "instruments",
        "market",
        "marks",
        "messages",
        "newest",
        "own_parents_today",
        "parents",
        "parents_today",
        "quarantined",
        "rates",
        "resting",
        "stopped",
        "stops",
    )

    def __init__(
        self,
        instruments: Instruments,
        limits: LimitsInForce,
        abilities: Mapping[str, VenueAbility],
        tail: TailRisk | None = None,
        brokers: Collection[str] = (),
    ) -> None:
        """`brokers`: the venues that each keep a part of the account; without any it is at one broker."""
        self.instruments = instruments
        self.abilities = abilities  # by venue
        self._limits = limits
        self.book = Book()
        self.broker = BrokerView(brokers)
        self.marks = Marks(instruments, limits)
        self.causes = Causes()
        self.market: dict[str, MarketData] = {}
        self.children: dict[str, ChildExposure] = {}
        self.parents: dict[str, ParentExposure] = {}
        self.newest: dict[tuple[str, str], Newest] = {}  # by strategy and symbol
        self.parents_today: tuple[str, int] = ("", 0)
        self.own_parents_today: dict[str, int] = {}  # by strategy, on the same day
        self.quarantined: dict[str, str] = {}
        self.stopped: dict[str, str] = {}  # strategies that did the same too often, and what
        self.rates: dict[str, Rate] = {}  # of children, by venue
        self.messages: dict[str, Rate] = {}  # of children and cancels, by venue
        self.resting = RestingOrders()
        self.in_doubt = RestingOrders()  # what may rest, and nobody knows
        self._working: dict[tuple[str, Side], Decimal] = {}
        self._working_at: dict[tuple[str, str, Side], Decimal] = {}  # of what works, by venue
        self._committed: dict[tuple[str, Side], Decimal] = {}
        self._sent: dict[tuple[str, str, Side], Decimal] = {}  # of what works, by strategy
        self._coming: dict[tuple[str, str, Side], Decimal] = {}  # of what is committed, by strategy
        self._marks: dict[str, Decimal] = {}
        self._value = ZERO  # of all positions at their marks
        self._stood = Stood()  # what equity was of late
        self._unsent = ZERO  # money for what parents are still to open
        self._of_children = Reach()  # with what is working
        self._of_parents = Reach()  # with what is committed
        self._tail = tail  # None: this account is run without a risk model
        self._moved: dict[str, None] = {}  # symbols whose reach is not measured yet, in order: floats add up the same
        self.stops = Stops()
        self._owners: dict[str, dict[str, None]] = {}  # by symbol, strategies that hold it or have some on its way
        self._heat_of_children = Heat()  # with what is working
        self._heat_of_parents = Heat()  # with what is committed
        self._heating: dict[str, None] = {}  # symbols whose heat is not measured yet: who sets no limit asks for none

    # what checks ask

    @property
    def equity(self) -> Decimal:
        """The lower equity of now, less what old marks may overstate, in the account's currency; `base` judges."""
        return self.at_marks - self.marks.haircut

    @property
    def at_marks(self) -> Decimal:
        """The lower of what our books and the broker's show, however old the marks: what losses are measured by.

        A mark that grows old is no loss: nothing was traded, and nobody quoted less.
        """
        return self.marked + self.broker.short

    def base(self, now: int) -> Decimal:
        """What orders are sized and judged by: the lowest equity of late, and no more than the newest report says."""
        stood = min(self._stood.lowest(now, self.at_marks), self.marked + self.broker.doubt)
        return stood - self.marks.haircut

    def is_moving(self, now: int) -> bool:
        """Whether equity was of late more than `MOVING` apart: what it is now may be a wrong price's."""
        highest = self._stood.highest(now, self.at_marks)
        return highest - self._stood.lowest(now, self.at_marks) > MOVING * abs(highest)

    @property
    def marked(self) -> Decimal:
        """Cash and positions at their marks, by our own books."""
        return self.book.cash + self._value

    def mark(self, symbol: str) -> Decimal | None:
        """The newest mid, None before the first quote."""
        return self._marks.get(symbol)

    def held(self, symbol: str) -> Decimal:
        """Signed position."""
        return self.book.qty(symbol)

    def working(self, symbol: str, side: Side) -> Decimal:
        """What sent children of one side may still execute."""
        return self._working.get((symbol, side), ZERO)

    def closable(self, venue: str, symbol: str, side: Side) -> Decimal:
        """How much an order of this side could close at a venue, beside those that work there."""
        lies = -side.sign * self.book.qty_at(venue, symbol)
        return max(lies - self._working_at.get((venue, symbol, side), ZERO), ZERO)

    def admits(self, parent_id: str, strategy: str, venue: str) -> bool:
        """Whether a parent's strategy may trade at a venue (R14); an operator may flatten anywhere."""
        own, parent = self._limits.current.strategies.get(strategy), self.parents.get(parent_id)
        return own is None or not own.venues or venue in own.venues or (parent is not None and parent.flatten)

    def may_open(self, symbol: str, side: Side) -> bool:
        """Whether what sent children of one side may still execute is more than closes what is held."""
        return side.sign * self.held(symbol) + self.working(symbol, side) > 0

    def committed(self, symbol: str, side: Side) -> Decimal:
        """What accepted parents of one side may still execute, and children that outlived theirs."""
        return self._committed.get((symbol, side), ZERO)

    def coming_back(self, symbol: str) -> Decimal:
        """What children of one symbol's stopped parents may still execute, on both sides."""
        return sum((each.live_qty for each in self.parents.values() if each.stopped and each.symbol == symbol), ZERO)

    def expected(self, strategy: str, symbol: str) -> Decimal:
        """A strategy's signed position once its accepted parents are done."""
        buying, selling = (self.own_committed(strategy, symbol, side) for side in (Side.BUY, Side.SELL))
        return self.own_held(strategy, symbol) + buying - selling

    def own_held(self, strategy: str, symbol: str) -> Decimal:
        """A strategy's signed position."""
        position = self.book.position(strategy, symbol)
        return position.qty if position is not None else ZERO

    def own_working(self, strategy: str, symbol: str, side: Side) -> Decimal:
        """What a strategy's sent children of one side may still execute."""
        return self._sent.get((strategy, symbol, side), ZERO)

    def own_committed(self, strategy: str, symbol: str, side: Side) -> Decimal:
        """What a strategy's accepted parents of one side may still execute, and children that outlived theirs."""
        return self._coming.get((strategy, symbol, side), ZERO)

    def own_reach(self) -> Iterator[tuple[str, str, Decimal]]:
        """Every strategy and symbol, and what its position is worth by its worse side with all that is committed."""
        held = {(owner, symbol) for owner, symbol, _ in self.book.positions()}
        for owner, symbol in sorted(held | {(owner, symbol) for owner, symbol, _ in self._coming}):
            at, mark = self.own_held(owner, symbol), self._marks.get(symbol, ZERO)  # nothing comes before its first one
            buying, selling = (self.own_committed(owner, symbol, side) for side in (Side.BUY, Side.SELL))
            yield owner, symbol, self._worth(symbol, max(at + buying, selling - at), mark)

    def opening(self, symbol: str, side: Side, qty: Decimal) -> Decimal:
        """How much of a parent's quantity would open a position, with all that is committed done."""
        return _opening(side.sign * self.held(symbol) + self.committed(symbol, side), qty)

    def holders(self, symbol: str) -> list[tuple[str, Decimal]]:
        """Strategies that hold a symbol, by name, and their signed quantities."""
        held = ((owner, position.qty) for owner, name, position in self.book.positions() if name == symbol)
        return sorted((owner, qty) for owner, qty in held if qty)

    def names(self, strategy: str) -> set[str]:
        """Symbols that a strategy holds, or that are on their way to or from it."""
        held = {symbol for owner, symbol, position in self.book.positions() if owner == strategy and position.qty}
        return held | {symbol for (owner, symbol, _), coming in self._coming.items() if owner == strategy and coming}

    def values(self) -> dict[str, Decimal]:
        """Signed value at its mark of every position that is not flat."""
        return {symbol: self._worth(symbol, qty, self._marks[symbol]) for symbol, qty in self.book.symbols() if qty}

    def reach(self, *, of_parents: bool) -> Reach:
        """How far positions may get: with all that is committed, as parents are judged, or all that works."""
        self.measure()
        return self._of_parents if of_parents else self._of_children

    def heat(self, *, of_parents: bool) -> Heat:
        """What positions may lose until their stops fire, likewise."""
        self.measure()
        self._measure_heats()
        return self._heat_of_parents if of_parents else self._heat_of_children

    def at_risk(self, strategy: str, symbol: str, side: Side, price: Decimal | None = None) -> Decimal:
        """Money that one share which that side opens may lose until the strategy's stop fires; in whole without one.

        From the mark, or from a price where that is worse.
        """
        mark = self._marks[symbol]
        return self._worth(symbol, at_risk(self.stops.get(strategy, symbol), side, mark, price), Decimal(1))

    @property
    def tail(self) -> TailRisk | None:
        """The expected shortfall of all positions and of what may execute; None where there is no risk model to be."""
        self.measure()
        return self._tail

    def reserved(self, *, of_parents: bool) -> Decimal:
        """Money for what opens and the broker's buying power does not know: by children, and what parents will send."""
        return self.broker.reserved + (self._unsent if of_parents else ZERO)

    def lent(self, venue: str | None) -> tuple[Decimal | None, Decimal]:
        """A broker's buying power as stated, and what is reserved of it; None: of all of them, as for a parent."""
        if venue is None:
            return self.broker.buying_power, self.reserved(of_parents=True)
        power = self.broker.power_at(venue)
        return power.stated, power.reserved

    def parents_on(self, ts: int) -> int:
        """Parents accepted on the UTC day of `ts`."""
        day, count = self.parents_today
        return count if day == _day(ts) else 0

    def own_parents_on(self, strategy: str, ts: int) -> int:
        """Of them those of one strategy."""
        return self.own_parents_today.get(strategy, 0) if self.parents_today[0] == _day(ts) else 0

    def has_room(self, venue: str, now: int, per_s: int, *, opening: bool) -> bool:
        """Whether a rate of so many children lets one more of a venue pass now, one that opens or one that shrinks."""
        return _has_room(self.rates.get(venue), now, per_s, opening=opening)

    def has_message_room(self, venue: str, now: int, per_s: int, *, opening: bool) -> bool:
        """Whether a rate of so many messages lets one more child of a venue pass now, likewise."""
        return _has_room(self.messages.get(venue), now, per_s, opening=opening)

    def measure(self) -> None:
        """Measure what has moved: at rest, so that the next verdict need not, however much is held."""
        for symbol in self._moved:
            self._measure(symbol)
        self._heating.update(self._moved)
        self._moved.clear()
        if self._limits.current.looks_at_heat:
            self._measure_heats()

    # folds

    def account(self, event: AccountOpened) -> None:
        """Start from this cash."""
        self.book.open(event)
        self._stood = Stood()

    def hear(self, event: AccountReported) -> None:
        """How the account stands by its broker's books."""
        before = self.at_marks
        self.broker.hear(event, self.marked)
        self._stood.change(event.ts, before, self.at_marks)
        self.marks.advance(event.ts)

    def move(self, event: CashMoved) -> None:
        """Cash is paid in, or out."""
        before = self.at_marks
        self.book.move(event)
        self.broker.move(event)
        self._stood.change(event.ts, before, self.at_marks)

    def adjust(self, event: PositionAdjusted) -> None:
        """Shares have become others, worth as much in all; the market has to say anew what one is worth."""
        symbol, mark = event.symbol, self._marks.get(event.symbol)
        before = self.book.qty(symbol)
        self.book.adjust(event)
        self.market.pop(symbol, None)
        if mark is not None:
            adjusted = self._marks[symbol] = mark * event.denominator / event.numerator
            value = self._worth(symbol, self.book.qty(symbol), adjusted)
            self._value += value - self._worth(symbol, before, mark)
            self.marks.hold(symbol, value)
            self._moved[symbol] = None

    def advance(self, event: TimeAdvanced | SignalReceived) -> None:
        """Marks grow older."""
        self.marks.advance(event.ts)

    def quote(self, event: MarketData) -> None:
        """Mark the symbol anew."""
        symbol = event.symbol
        self.market[symbol] = event
        mid = event.mid
        if mid is None or not is_price(mid):
            self.marks.advance(event.ts)
            return
        self.marks.take(symbol, event.ts)
        held, before = self.book.qty(symbol), self._marks.get(symbol)
        if held:
            equity, value = self.at_marks, self._worth(symbol, held, mid)
            self._value += value - self._worth(symbol, held, before or mid)
            self._stood.change(event.ts, equity, self.at_marks)
            self.marks.hold(symbol, value)
        self._marks[symbol] = mid
        if before is None or symbol in self._of_children.spans or symbol in self._of_parents.spans:
            self._moved[symbol] = None  # a price moves no others
        elif symbol in self._owners:
            self._heating[symbol] = None  # strategies hold it against each other

    def accept(self, event: ParentAccepted) -> None:
        """Commit a parent's quantity."""
        parent = event.parent
        exposure = self.parents[event.parent_id] = ParentExposure(
            parent.strategy,
            parent.symbol,
            parent.side,
            event.order_qty,
            valid_until=parent.valid_until,
            flatten=parent.flatten,
            waives=event.waives,
            opening=self.opening(parent.symbol, parent.side, event.order_qty),
            unit=self._unit(parent.symbol, parent.how.price),
        )
        self._unsent += exposure.unsent
        self._commit(exposure, event.order_qty)
        self._remember(Newest(event.ts, event.parent_id, parent.side, parent.order_qty), parent.strategy, parent.symbol)
        if not (parent.flatten or parent.protects):  # the day's bound is on strategies, not on who has to stop them
            count, own = self.parents_on(event.ts), self.own_parents_on(parent.strategy, event.ts)
            if not count:  # a new day
                self.own_parents_today.clear()
            self.parents_today = (_day(event.ts), count + 1)
            self.own_parents_today[parent.strategy] = own + 1

    def amend(self, event: ParentAmended) -> None:
        """Commit by how much a parent is larger now, or release by how much it is smaller: what opens goes first."""
        parent = self.parents.get(event.parent_id)
        if parent is None:
            return
        before, unsent, more = parent.open_qty, parent.unsent, event.order_qty - parent.order_qty
        reached = parent.side.sign * self.held(parent.symbol) + self.committed(parent.symbol, parent.side)
        parent.opening = max(parent.opening + (_opening(reached, more) if more > 0 else more), ZERO)
        parent.order_qty, parent.unit = event.order_qty, self._unit(parent.symbol, event.amendment.price)
        self._commit(parent, parent.open_qty - before)
        self._unsent += parent.unsent - unsent

    def approve(self, event: OrderApproved) -> None:
        """Reserve a child's quantity."""
        order = event.order
        before = order.side.sign * self.held(order.symbol) + self.working(order.symbol, order.side)
        opening = _opening(before, order.order_qty)
        self.broker.power_at(order.venue).reserve(order.cl_ord_id, self._unit(order.symbol, order.price), opening)
        child = self.children[order.cl_ord_id] = ChildExposure(
            strategy=order.strategy,
            venue=order.venue,
            symbol=order.symbol,
            side=order.side,
            parent_id=order.parent_id,
            price=order.price,
            order_qty=order.order_qty,
            leaves_qty=order.order_qty,
            touch=event.ask if order.side is Side.BUY else event.bid,
        )
        self._rest(order.cl_ord_id, child)
        self._work(child, order.order_qty)
        self._change_parent(self.parents[order.parent_id], live=order.order_qty)
        self.rates.setdefault(order.venue, Rate()).take(event.ts, self._limits.current.orders_per_s_at(order.venue))
        self._count_message(order.venue, event.ts)

    def cancel(self, event: OrderCancelRequest) -> None:
        """Count a cancel. It always goes, and takes room that new children then lack.

        One that never leaves (its order waits at home, or one request has taken back everything) counts too: what the
        edge makes of it is not known here.
        """
        self._count_message(event.venue, event.ts)

    def update(self, event: OrderUpdated) -> None:
        """Release what can no longer execute; an order that comes back to life reserves again."""
        child = self.children.get(event.cl_ord_id)
        if child is None:
            return
        self.broker.power_at(event.venue).update(event)
        stood, child.ord_status = (child.ord_status, child.leaves_qty > 0, child.given_up), event.ord_status
        child.given_up = child.given_up and event.ord_status is OrdStatus.UNKNOWN
        self._set_leaves(child, event.leaves_qty)
        if stood != (event.ord_status, event.leaves_qty > 0, child.given_up):
            self._rest(event.cl_ord_id, child)
        if event.terminal:
            del self.children[event.cl_ord_id]

    def fill(self, event: FillBooked) -> None:
        """Book an execution: from reserved to held, at no moment in both or neither."""
        self._hold(event, event.side.sign * event.last_qty)
        child = self.children.get(event.cl_ord_id)
        if child is not None:
            child.cum_qty += event.last_qty
            self._set_leaves(child, max(child.order_qty - child.cum_qty, ZERO))
            if not child.leaves_qty:
                self._rest(event.cl_ord_id, child)
        self._fill_parent(event.parent_id, event.last_qty)

    def give_up(self, event: OrderUnresolved) -> None:
        """Nobody will learn what became of a child: who waited for it would wait for ever."""
        child = self.children.get(event.cl_ord_id)
        if child is not None:
            child.given_up = True
            self._rest(event.cl_ord_id, child)

    def bust(self, event: FillBusted) -> None:
        """Take an execution back; the venue does not work its quantity again."""
        self._hold(event, -event.side.sign * event.last_qty)
        self._fill_parent(event.parent_id, -event.last_qty)

    def end(self, event: ParentEnded) -> None:
        """Release what a parent no longer wants; its unresolved children stay reserved."""
        parent = self.parents.pop(event.parent_id, None)
        if parent is not None:
            self._unsent -= parent.unsent
            self._commit(parent, parent.live_qty - parent.open_qty)

    def flatten(self, event: FlattenRequested) -> None:
        """What was not sent of a symbol that is to be flat never will be: the flatten may have it."""
        for parent in self.parents.values():
            if event.symbol in {"", parent.symbol}:
                self._change_parent(parent, stop=True)

    def halt(self, event: TradingHalted) -> None:
        """A cause holds trading back."""
        self.causes.halt(event)

    def resume(self, event: TradingResumed) -> None:
        """A cause has ended."""
        self.causes.resume(event)

    def model(self, event: RiskModelSet) -> None:
        """Scenarios to judge by from now on."""
        if self._tail is not None:
            self._tail.take(event)

    def regime(self, event: RegimeSet) -> None:
        """A person's word on the market's regime."""
        if self._tail is not None:
            self._tail.override(event)

    def stop(self, event: StrategyStopped) -> None:
        """Nothing more of a strategy is accepted."""
        self.stopped[event.strategy] = event.text

    def let_go_on(self, event: StrategyResumed) -> None:
        """A strategy may trade again."""
        self.stopped.pop(event.strategy, None)

    def quarantine(self, event: BreakFound) -> None:
        """No order in a symbol whose books do not agree with the venue's."""
        self.quarantined[event.symbol] = event.text

    def release(self, event: SymbolReleased) -> None:
        """Orders in it are judged by everything else again."""
        self.quarantined.pop(event.symbol, None)

    # bookkeeping

    def _count_message(self, venue: str, ts: int) -> None:
        self.messages.setdefault(venue, Rate()).take(ts, self._limits.current.messages_per_s_at(venue))

    def _hold(self, event: FillBooked | FillBusted, signed: Decimal) -> None:
        before = self.at_marks
        self.book.fill(event)
        self._own(event.strategy, event.symbol)
        mark = self._marks.get(event.symbol)
        if mark is None:
            mark = self._marks[event.symbol] = event.last_px
            self.marks.take(event.symbol, event.ts)
        self.marks.hold(event.symbol, self._worth(event.symbol, self.book.qty(event.symbol), mark))
        self._value += self._worth(event.symbol, signed, mark)
        self._stood.change(event.ts, before, self.at_marks)
        self._moved[event.symbol] = None

    def _fill_parent(self, parent_id: str, qty: Decimal) -> None:
        parent = self.parents.get(parent_id)
        if parent is not None:
            self._change_parent(parent, cum=qty)

    def _change_parent(
        self, parent: ParentExposure, *, cum: Decimal = ZERO, live: Decimal = ZERO, stop: bool = False
    ) -> None:
        before, unsent = parent.open_qty, parent.unsent
        parent.cum_qty += cum
        parent.live_qty += live
        parent.stopped |= stop
        self._commit(parent, parent.open_qty - before)
        self._unsent += parent.unsent - unsent

    def _set_leaves(self, child: ChildExposure, leaves: Decimal) -> None:
        change = leaves - child.leaves_qty
        if not change:
            return
        child.leaves_qty = leaves
        self._work(child, change)
        parent = self.parents.get(child.parent_id)
        if parent is not None:
            self._change_parent(parent, live=change)
        else:
            self._commit(child, change)

    def _rest(self, cl_ord_id: str, child: ChildExposure) -> None:
        """Whom it stands in the way of: nobody once it has ended at the venue, or was given up."""
        place, status = (child.symbol, child.side), child.ord_status
        can_meet = bool(child.leaves_qty) and status is not OrdStatus.SETTLING and not child.given_up
        is_known = status is not OrdStatus.UNKNOWN
        # Without a price it has traded by now, or never will: what is in doubt is not whether it rests.
        may_rest = can_meet and not is_known and child.price is not None
        for orders, holds in ((self.resting, can_meet and is_known), (self.in_doubt, may_rest)):
            if holds:
                orders.put(place, cl_ord_id, child.price)
            else:
                orders.drop(place, cl_ord_id)

    def _remember(self, newest: Newest, strategy: str, symbol: str) -> None:
        """The last parent of its kind; what is older than any window is forgotten, whoever it was."""
        self.newest.pop((strategy, symbol), None)
        self.newest[strategy, symbol] = newest
        while self.newest[first := next(iter(self.newest))].ts < newest.ts - WINDOW_MAX * NS_PER_S:
            del self.newest[first]

    def _work(self, order: ChildExposure, change: Decimal) -> None:
        key, own = (order.symbol, order.side), (order.strategy, order.symbol, order.side)
        total = self._working.get(key, ZERO) + change
        assert total >= 0, f"working {order.side} {order.symbol} fell to {total}"
        self._working[key] = total
        _add(self._sent, own, change)
        self._own(order.strategy, order.symbol)
        _add(self._working_at, (order.venue, order.symbol, order.side), change)
        self._moved[order.symbol] = None

    def _commit(self, order: ParentExposure | ChildExposure, change: Decimal) -> None:
        key, own = (order.symbol, order.side), (order.strategy, order.symbol, order.side)
        total = self._committed.get(key, ZERO) + change
        assert total >= 0, f"committed {order.side} {order.symbol} fell to {total}"
        self._committed[key] = total
        _add(self._coming, own, change)
        self._own(order.strategy, order.symbol)
        self._moved[order.symbol] = None

    def _own(self, strategy: str, symbol: str) -> None:
        """Keep in mind who holds a symbol or has some on its way; of whoever does no longer nothing is at risk."""
        coming = any((strategy, symbol, side) in own for side in Side for own in (self._sent, self._coming))
        owners = self._owners.setdefault(symbol, {})
        if coming or self.own_held(strategy, symbol):
            owners[strategy] = None
        else:
            owners.pop(strategy, None)
            self._heat_of_children.put(strategy, symbol, ZERO)
            self._heat_of_parents.put(strategy, symbol, ZERO)
        if not owners:
            del self._owners[symbol]

    def _measure(self, symbol: str) -> None:
        """What the symbol may reach is told to both pictures, and to the risk model."""
        mark = self._marks.get(symbol)
        if mark is None:
            return  # before its first one nothing is accepted
        instrument, held = self.instruments.get(symbol), self.book.qty(symbol)
        unit, sector = (mark * instrument.multiplier, instrument.sector) if instrument is not None else (mark, "")
        value, buys, sales = held * unit, (symbol, Side.BUY), (symbol, Side.SELL)
        at_stake: list[float] = []
        for reach, reserved in ((self._of_children, self._working), (self._of_parents, self._committed)):
            buying, selling = reserved.get(buys, ZERO) * unit, reserved.get(sales, ZERO) * unit
            reach.put(symbol, sector, span(value + buying, value - selling))
            at_stake += (float(buying), float(selling))
        if self._tail is not None:
            self._tail.put(symbol, Stake(float(value), *at_stake))

    def _measure_heats(self) -> None:
        for changed in (self._heating, self.stops.moved):
            for symbol in changed:
                self._measure_heat(symbol)
            changed.clear()

    def _measure_heat(self, symbol: str) -> None:
        """What each strategy's position may lose by its worse side."""
        if symbol not in self._marks:
            return
        for owner in self._owners.get(symbol, {}):
            held, per_share = self.own_held(owner, symbol), {side: self.at_risk(owner, symbol, side) for side in Side}
            buys, sales = (owner, symbol, Side.BUY), (owner, symbol, Side.SELL)
            for heat, own in ((self._heat_of_children, self._sent), (self._heat_of_parents, self._coming)):
                longest, shortest = held + own.get(buys, ZERO), held - own.get(sales, ZERO)
                heat.put(owner, symbol, max(longest * per_share[Side.BUY], -shortest * per_share[Side.SELL], ZERO))

    def _unit(self, symbol: str, price: Decimal | None) -> Decimal:
        """Money value of one share: at an order's limit where that is dearer than the mid."""
        return self._worth(symbol, Decimal(1), max(self._marks.get(symbol, ZERO), price or ZERO))

    def _worth(self, symbol: str, qty: Decimal, price: Decimal) -> Decimal:
        instrument = self.instruments.get(symbol)
        return qty * price * instrument.multiplier if instrument is not None else qty * price

    # snapshots

    def dump(self) -> dict[str, object]:
        """State for a snapshot; what can be derived is derived again by `load`."""
        return {
            "book": self.book.dump(),
            "broker": self.broker.dump(),
            "causes": self.causes.dump(),
            "children": {key: msgspec.to_builtins(child) for key, child in self.children.items()},
            "parents": {key: msgspec.to_builtins(parent) for key, parent in self.parents.items()},
            "newest": [[*key, msgspec.to_builtins(newest)] for key, newest in self.newest.items()],
            "parents_today": list(self.parents_today),
            "own_parents_today": dict(self.own_parents_today),
            "quarantined": dict(self.quarantined),
            "stopped": dict(self.stopped),
            "rates": {venue: rate.dump() for venue, rate in self.rates.items()},
            "messages": {venue: rate.dump() for venue, rate in self.messages.items()},
            "market": [msgspec.to_builtins(event) for event in self.market.values()],
            "marks": dict(self._marks),
            "ages": self.marks.dump(),
            "stood": self._stood.dump(),
            "tail": self._tail.dump() if self._tail is not None else None,
        }

    def load(self, dumped: dict[str, object]) -> None:
        """State from a snapshot, into an empty exposure."""
        state = msgspec.convert(dumped, _Dump)
        self.book.load(state.book)
        self.broker.load(state.broker)
        self.causes.load(state.causes)
        self.children = state.children
        self.parents = state.parents
        self.newest = {(strategy, symbol): newest for strategy, symbol, newest in state.newest}
        self.parents_today = state.parents_today
        self.own_parents_today = state.own_parents_today
        self.quarantined = state.quarantined
        self.stopped = state.stopped
        for venue, rate in state.rates.items():
            self.rates.setdefault(venue, Rate()).load(rate)
        for venue, rate in state.messages.items():
            self.messages.setdefault(venue, Rate()).load(rate)
        self.market = {event.symbol: event for event in state.market}
        self._marks = state.marks
        self.marks.load(state.ages)
        self._stood.load(state.stood)
        if self._tail is not None and state.tail is not None:
            self._tail.load(state.tail)
        self._value = ZERO
        for symbol, qty in self.book.symbols():
            if qty:
                value = self._worth(symbol, qty, self._marks[symbol])
                self._value += value
                self.marks.hold(symbol, value)
        for cl_ord_id, child in self.children.items():
            self._rest(cl_ord_id, child)
            self._work(child, child.leaves_qty)
            if child.parent_id not in self.parents:
                self._commit(child, child.leaves_qty)
        for parent in self.parents.values():
            self._commit(parent, parent.open_qty)
            self._unsent += parent.unsent
        for strategy, symbol, _ in self.book.positions():
            self._own(strategy, symbol)
        self._moved.update(dict.fromkeys(self._marks))


class _Dump(msgspec.Struct):
    book: dict[str, object]
    broker: dict[str, object]
    causes: dict[str, str]
    children: dict[str, ChildExposure]
    parents: dict[str, ParentExposure]
    parents_today: tuple[str, int]
    own_parents_today: dict[str, int]
    quarantined: dict[str, str]
    stopped: dict[str, str]
    rates: dict[str, list[int]]
    messages: dict[str, list[int]]
    market: list[MarketData]
    marks: dict[str, Decimal]
    ages: dict[str, object]
    stood: dict[str, object]
    tail: dict[str, object] | None
    newest: list[tuple[str, str, Newest]]


def is_price(mid: Decimal) -> bool:
    """Whether a mid can be traded at, and a position be worth it."""
    return ZERO < mid < MARK_MAX


def _add(sums: dict[tuple[str, str, Side], Decimal], key: tuple[str, str, Side], change: Decimal) -> None:
    """A sum changes; one of nothing is not kept."""
    total = sums.get(key, ZERO) + change
    if total:
        sums[key] = total
    else:
        sums.pop(key, None)


def _opening(before: Decimal, qty: Decimal) -> Decimal:
    """How much of a quantity opens, where the position in its direction could be `before` already."""
    return min(qty, max(before + qty, ZERO))


def _has_room(rate: Rate | None, now: int, per_s: int, *, opening: bool) -> bool:
    """Time may go back: room in a part of the rate is not always room in all of it."""
    if rate is None:
        return True
    return rate.has_room(now, per_s) and (not opening or rate.has_room(now, for_opening(per_s)))


def _day(ts: int) -> str:
    return _named(ts // NS_PER_DAY)


@lru_cache(maxsize=16)
def _named(day: int) -> str:
    return (dt.date(1970, 1, 1) + dt.timedelta(days=day)).isoformat()
