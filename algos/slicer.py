"""The slicer works parents into children: it keeps each one on its curve, whatever the curve is.

For every parent that is due it reads the two gaps of `algos.trajectory` and acts on them: a positive `to_send` becomes
a child, a negative one takes the newest excess back, and a parent that is `behind` although its children rest has them
cancelled and sent nearer to the other side. From each point of the curve to the next they go up the ladder of
`algos.pricing`, from the queue at the touch across the spread; where an order may not rest they cross at once. So a
reject, a partial fill or a restart needs no case of its own.

Somebody may amend a parent, pause it, let it go on or cancel it. Another quantity, end or urgency that the gate lets be
is planned from what is done then; another price takes back what rests beyond it, or away from it where it should rest
there. A pause takes everything back and moves no end.

While trading is halted nothing is sent but for an operator's flatten; a parent whose child is denied because trading is
reducing asks for the part of it that shrinks, and pauses until the state changes where there is none. Who was denied
for another reason asks again after a pause that doubles, and at once under another model, regime or limit; who would
have met orders of ours, once those have ended. Who sells short under a price restriction learns it by one denial, and
then crosses no more: a tick above the bid is as near as it goes. Nothing of this moves their ends.

Who goes first where orders of ours would meet, and who waits for which of them, is in `algos.precedence`; how all who
follow curves share the volume of a symbol in `algos.sharing`; what may be asked of a live parent in
`algos.amending`.

Catching up is bounded: from one point of the curve to the next, and in any case within a second, a parent sends at
most twice the most that its curve adds at a point (within a second, where points are closer), or one smallest slice
where that is more. After a pause, a halt or a restart the backlog is so worked off over the points that follow, and
past the last point second by second; what the end overtakes stays undone, with a reason. A curve of one point, MARKET
or LIMIT, has no backlog and is not slowed.

Due parents wait in one heap, and a bounded number of them is worked at a time: when a thousand come due at once, as
after a pause, a halt or a fill need not wait for the last of them. Cost per quote is one assignment, cost per child
does not depend on how many parents live.
"""

from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from heapq import heapify, heappop, heappush

import msgspec

from algos import pricing
from algos.amending import amendment
from algos.conditions import Watch
from algos.parent import BY_VOLUME, REPRICE_NS, Parent
from algos.participation import HARD_MAX
from algos.planning import fault_of, plan, window_of
from algos.precedence import Precedence
from algos.profile import DEFAULT, Profile
from algos.replanning import View, curve_again, curve_amended, pace_again
from algos.sharing import Sharing, Together
from algos.trajectory import Trajectory
from core.causes import TradingState, WorkingOrders
from core.events import (
    EndReason,
    Event,
    FillBooked,
    FillBusted,
    FlattenRequested,
    LimitsSet,
    MarketData,
    NewOrderSingle,
    OrderApproved,
    OrderCancelRequest,
    OrderDenied,
    OrderUnresolved,
    OrderUpdated,
    ParentAccepted,
    ParentAmended,
    ParentAmendment,
    ParentEnded,
    ParentPaced,
    ParentScheduled,
    PositionAdjusted,
    Reason,
    RegimeSet,
    RiskModelSet,
    StopTriggered,
    TimeAdvanced,
    TradingHalted,
    TradingResumed,
)
from core.ids import cl_ord_id
from core.instruments import Instruments, VenueAbility
from core.orders import OrdStatus, OrdType, Side
from core.signals import AT_A_PRICE, Algo, Change
from core.trading import Causes
from core.units import ZERO

# Smaller ones pass: a limit is lower than when it began, or while trading is reducing the rest would open.
OF_THE_SIZE = frozenset({Reason.ORDER_SIZE, Reason.ORDER_NOTIONAL, Reason.STATE})
OF_THE_MOMENT = frozenset({Reason.RATE, Reason.SELF_MATCH})  # what is denied for it is denied for when it came
MAX_DUE = 16  # parents that one `TimeAdvanced` works, some 5 ms; the others are due at once, after whatever else waits
STALE_MAX = 4  # times as many entries as parents that the heap may hold: halts that come and go leave two each


class Slicer:
    """All live parents, and the heap of those that are due."""

    __slots__ = (
        "_causes",
        "_due",
        "_heap",
        "_instruments",
        "_market",
        "_may_open",
        "_owner",
        "_place",
        "_precedence",
        "_printing",
        "_profiles",
        "_sharing",
        "_watches",
        "parents",
    )

    def __init__(
        self,
        instruments: Instruments,
        profiles: Mapping[str, Profile] | None = None,
        may_open: Callable[[str, Side], bool] = lambda *_: True,
        abilities: Mapping[str, VenueAbility] | None = None,
        place: Callable[[NewOrderSingle, MarketData | None], Iterable[Event]] = lambda order, _: (order,),
    ) -> None:
        """`profiles` of volume by symbol; for whom there is none the usual one of a session is taken.

        `may_open` says of a symbol and a side whether what works there could do more than close the position now.
        `abilities` of the venues by name; where there is none a venue is taken to print nothing of ours.
        `place` says at which venue a child is sent (`algos.venues`).
        """
        self._instruments = instruments
        self._profiles = profiles or {}
        self._may_open = may_open
        self._printing = {venue for venue, ability in (abilities or {}).items() if ability.prints_ours}
        self._place = place
        self.parents: dict[str, Parent] = {}
        self._owner: dict[str, str] = {}  # live child -> parent
        self._precedence = Precedence(self.parents, self._owner)
        self._market: dict[str, MarketData] = {}
        self._watches: dict[str, Watch] = {}
        self._sharing = Sharing(instruments)
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
        """Remember the market of a symbol, and how it compares with what is usual."""
        self._market[event.symbol] = event
        self._watch(event.symbol).look(event)

    def adjust(self, event: PositionAdjusted) -> None:
        """Forget a market whose shares have become others; no parent is live in it."""
        self._market.pop(event.symbol, None)
        self._watches.pop(event.symbol, None)

    def open(self, event: ParentAccepted) -> None:
        """A parent begins; it has no curve yet."""
        self.parents[event.parent_id] = Parent.of(event)

    def schedule(self, event: ParentScheduled) -> None:
        """A parent gets its curve, or another one."""
        parent = self.parents[event.parent_id]
        parent.follow(event, self._instruments[parent.symbol].lot)
        self._pass_by(parent, event.ts)
        self._arm(event.parent_id, parent, event.ts)

    def amend(self, event: ParentAmended) -> None:
        """A parent is another one from now on."""
        parent = self.parents.get(event.parent_id)
        if parent is not None:
            parent.amend(event, self._instruments[parent.symbol].lot, self._watch(parent.symbol).volume)
            if parent.curve is not None:  # which it may follow at once
                self._hear(parent, event.ts)
            self._arm(event.parent_id, parent, event.ts)

    def pace(self, event: ParentPaced) -> None:
        """A parent may be another part of the volume."""
        self.parents[event.parent_id].repace(event)

    def send(self, event: NewOrderSingle) -> None:
        """A child exists from the moment it is wanted: its quantity counts at once."""
        parent = self.parents[event.parent_id]
        before = parent.taken_qty
        parent.add(event)
        self._sharing.count(parent, before)
        self._sharing.serve(parent)
        following = self._sharing.turn(parent.symbol)
        if following is not None and following in self.parents:
            self._wake(following, self.parents[following], event.ts)
        self._owner[event.cl_ord_id] = event.parent_id
        self._arm(event.parent_id, parent, event.ts)

    def deny(self, event: OrderDenied) -> None:
        """A child never left: its quantity is open again, after a pause whose length depends on the reason."""
        parent = self._parent_of(event.cl_ord_id)
        if parent is not None:
            self._drop(parent, event.cl_ord_id)
            parent.denied = event.reason
            if event.reason in OF_THE_MOMENT:
                parent.pause(event.ts)
            else:
                parent.refuse(event.ts)
            parent.above_bid |= event.reason is Reason.SHORT_PRICE
            self._precedence.deny(event, parent)
            if event.reason in OF_THE_SIZE:
                parent.child_max = event.max_qty
            self._arm(event.parent_id, parent, event.ts)

    def approve(self, event: OrderApproved) -> None:
        """A child goes: nothing denies its parent any more."""
        parent = self._parent_of(event.cl_ord_id)
        if parent is not None:
            parent.denied = None
            self._precedence.leave(parent)

    def update(self, event: OrderUpdated) -> None:
        """A child stands differently; a terminal one gives its remainder back to the gap."""
        if event.terminal:
            for waiting in self._precedence.over(event.cl_ord_id):
                waiting.hold_until = event.ts
                self._wake(waiting.parent_id, waiting, event.ts)
        parent = self._parent_of(event.cl_ord_id)
        if parent is None:
            return
        if event.terminal:
            cancelling = parent.children[event.cl_ord_id].cancelling
            self._drop(parent, event.cl_ord_id)
            if event.ord_status in {OrdStatus.REJECTED, OrdStatus.NOT_SENT}:
                parent.refuse(event.ts)
            elif event.ord_status is not OrdStatus.FILLED and not cancelling:
                parent.pause(event.ts)  # it lapsed, or ended unasked: it might do so again at once
        else:
            before = parent.taken_qty
            parent.adjust(event)
            self._sharing.count(parent, before)
        self._arm(event.parent_id, parent, event.ts)

    def fill(self, event: FillBooked) -> None:
        """Count an execution, and take it from what its child may still do, and from what others traded."""
        if event.venue in self._printing:
            self._watch(event.symbol).print_ours(event.last_qty)
        parent = self.parents.get(event.parent_id)
        if parent is not None:
            before = parent.taken_qty
            parent.book(event.cl_ord_id, event.last_qty, event.last_px)
            self._sharing.count(parent, before)
        elif event.late:
            self._sharing.count_late(event.parent_id, event.symbol, event.last_qty)

    def bust(self, event: FillBusted) -> None:
        """Uncount an execution; the gap will want it again."""
        if event.venue in self._printing:
            self._watch(event.symbol).print_ours(-event.last_qty)
        parent = self.parents.get(event.parent_id)
        if parent is not None:
            before = parent.taken_qty
            parent.cum_qty -= event.last_qty
            parent.notional -= event.last_qty * event.last_px
            self._sharing.count(parent, before)
            self._arm(event.parent_id, parent, event.ts)

    def cancel(self, event: OrderCancelRequest) -> None:
        """A child was asked back: it counts in full until the venue has answered."""
        parent = self._parent_of(event.cl_ord_id)
        if parent is not None:
            parent.ask_back(event.cl_ord_id, event.ts)

    def give_up(self, event: OrderUnresolved) -> None:
        """A child's outcome cannot be learnt: its parent will send nothing more."""
        parent = self._parent_of(event.cl_ord_id)
        if parent is not None:
            parent.unresolved = parent.children[event.cl_ord_id].unresolved = True
            self._arm(event.parent_id, parent, event.ts)

    def end(self, event: ParentEnded) -> None:
        """A parent is over."""
        parent = self.parents.pop(event.parent_id, None)
        if parent is None:
            return
        self._sharing.leave(parent)
        for child in parent.children:
            del self._owner[child]
        if self._precedence.end(parent, event.ts):
            for other in self._in(parent.symbol):
                if other.side is not parent.side:  # it stood back, and may have little time left
                    self._wake(other.parent_id, other, event.ts)

    def advance(self, event: TimeAdvanced) -> None:
        """Find the parents whose time has come, as many as may be worked at a time."""
        self._due = []
        while self._heap and self._heap[0][0] <= event.ts and len(self._due) < MAX_DUE:
            due, parent_id = heappop(self._heap)
            if not self._is_stale(due, parent_id):
                parent = self.parents[parent_id]
                self._pass_by(parent, event.ts)
                self._ask(parent, event.ts)
                self._due.append(parent_id)
                self._arm(parent_id, parent, event.ts)

    def halt(self, event: TradingHalted) -> None:
        """Send nothing while a cause forbids it; one that takes everything back ends a flatten, too."""
        self._causes.halt(event)
        for parent in self.parents.values():
            parent.enter_state()
            if event.working is WorkingOrders.CANCEL_ALL:
                parent.stopped, parent.flatten_id = parent.stopped or parent.flatten, ""
            self._arm(parent.parent_id, parent, event.ts)

    def resume(self, event: TradingResumed) -> None:
        """A cause has ended: every parent is due at once, to catch up with its curve."""
        self._causes.resume(event)
        for parent_id, parent in self.parents.items():
            parent.enter_state()
            self._wake(parent_id, parent, event.ts)

    def reconsider(self, event: RiskModelSet | RegimeSet | LimitsSet) -> None:
        """The gate judges otherwise now: whom it denied asks at once, and for as much as it was to begin with."""
        for parent_id, parent in self.parents.items():
            if parent.denied is Reason.STATE:
                continue  # none of these is another state
            parent.child_max = None
            if parent.denied is not None:
                parent.hold_until = event.ts
                self._wake(parent_id, parent, event.ts)

    def flatten(self, event: FlattenRequested) -> None:
        """What works in a symbol that is to be flat is over."""
        for parent in self._in(event.symbol):
            parent.stopped = True
            parent.flatten_id = event.request_id if parent.children else ""  # without any it ends before the sizing
            self._arm(parent.parent_id, parent, event.ts)

    def take_back(self, event: StopTriggered) -> None:
        """What a strategy works in a symbol is over: a stop closes what it holds."""
        for parent_id in event.takes_back:
            parent = self.parents[parent_id]
            parent.stopped = True
            self._arm(parent_id, parent, event.ts)

    # what people and signals ask

    def amendment(self, parent_id: str, change: Change, *, by: str, now: int) -> ParentAmendment | str:
        """What a change of a parent comes to, for the gate to judge; or why it cannot be worked so."""
        parent = self.parents.get(parent_id)
        if parent is None or parent.curve is None:
            return f"{parent_id or 'it'} is not live: `execd parents` lists what is"
        return amendment(parent, self._instruments[parent.symbol], change, by=by, now=now)

    # decisions

    def on_amended(self, event: ParentAmended) -> Iterable[Event]:
        """Follow another curve where one follows from it, at another price take back what does not suit it."""
        parent = self.parents.get(event.parent_id)
        if parent is None or parent.curve is None:
            return
        if event.amendment.change.price is not None:
            yield from self._cancel_beyond(parent, event.ts)
        if event.amendment.change.is_planned and not parent.is_over(event.ts):
            curve = curve_amended(self._view(parent, event.ts))
            yield _scheduled(event.parent_id, event.ts, curve, parent.start, parent.end)  # which works it
        else:
            yield from self._work(event.parent_id, event.ts)

    def on_accepted(self, event: ParentAccepted) -> Iterable[Event]:
        """Give a new parent its curve."""
        instrument = self._instruments[event.parent.symbol]
        window = fault_of(event, instrument) or window_of(event, instrument)
        if isinstance(window, str):
            yield _ended(self.parents[event.parent_id], event.ts, EndReason.INFEASIBLE, text=window)
            return
        curve = plan(event, instrument, window, self._profile(event.parent.symbol))
        yield _scheduled(event.parent_id, event.ts, curve, window.start, window.end)

    def on_scheduled(self, event: ParentScheduled) -> Iterable[Event]:
        """A curve that begins now is followed now."""
        return self._work(event.parent_id, event.ts)

    def on_due(self, event: TimeAdvanced) -> Iterable[Event]:
        """Work every parent whose time has come, by another curve or pace where the market gives reason."""
        for parent_id in self._due:
            parent = self.parents.get(parent_id)
            if parent is None or parent.is_over(event.ts) or self._is_held(parent):
                yield from self._work(parent_id, event.ts)
                continue
            view = self._view(parent, event.ts)
            if (move := pace_again(view)) is not None:
                yield ParentPaced(ts=event.ts, parent_id=parent_id, participation=move.rate, reasons=move.reasons)
            if (curve := curve_again(view)) is not None:
                yield _scheduled(parent_id, event.ts, curve, parent.start, parent.end)  # which works it
            else:
                yield from self._work(parent_id, event.ts)

    def on_denied(self, event: OrderDenied) -> Iterable[Event]:
        """Take back what is in the way of a child that goes first: its parent asks again as each of them ends."""
        for owner, child_id in self._precedence.in_the_way(event):
            if not owner.children[child_id].cancelling:
                yield _cancel(owner, child_id, event.ts, f"in the way of {event.cl_ord_id}")

    def on_updated(self, event: OrderUpdated) -> Iterable[Event]:
        """A child that ended may leave a gap, or end its parent."""
        return self._work(event.parent_id, event.ts) if event.terminal else ()

    def on_unresolved(self, event: OrderUnresolved) -> Iterable[Event]:
        """Wind the parent up without the child that nobody can account for."""
        return self._work(event.parent_id, event.ts)

    def on_halted(self, event: TradingHalted) -> Iterable[Event]:
        """Take working children back, those that the cause names; end a flatten that was stopped.

        What could only shrink the position when it was approved may open one by now, as others of its side may have
        executed, or may before their cancels come: so each side of a symbol stands or is taken back as a whole.
        """
        if event.working is WorkingOrders.STAND:
            return
        for parent in list(self.parents.values()):
            if event.working is WorkingOrders.CANCEL_ALL or self._may_open(parent.symbol, parent.side):
                yield from _cancel_all(parent, event.ts, f"halted: {event.cause}")
            if parent.stopped:
                yield from self._work(parent.parent_id, event.ts)

    def on_flatten(self, event: FlattenRequested) -> Iterable[Event]:
        """End the parents of what is to be flat, before anything is sized to flatten it."""
        for parent in self._in(event.symbol):
            yield from self._work(parent.parent_id, event.ts)

    def on_triggered(self, event: StopTriggered) -> Iterable[Event]:
        """End what a stop takes back, before its exit is sized."""
        for parent_id in event.takes_back:
            yield from self._work(parent_id, event.ts)

    def _work(self, parent_id: str, now: int) -> Iterable[Event]:
        parent = self.parents.get(parent_id)
        if parent is None or parent.curve is None:
            return
        if parent.is_over(now):
            yield from self._wind_up(parent, now)
            return
        if parent.held:
            yield from _cancel_all(parent, now, "its parent is paused")
        if self._is_held(parent):
            return
        if parent.cum_qty and not parent.children and self._is_dust(parent, now):
            yield from self._wind_up(parent, now)
            return
        gap = parent.to_send(now, self._room(parent))
        if gap < 0:
            yield from _cancel_excess(parent, -gap, now)
            return
        if gap > 0:
            yield from self._send(parent, now)
        if parent.children and parent.how.algo not in AT_A_PRICE:
            yield from self._press(parent, now)

    def _send(self, parent: Parent, now: int) -> Iterable[Event]:
        price = self._price(parent, now)
        lot, least = self._instruments[parent.symbol].lot, self._least(parent, price)
        most = parent.sendable(now, self._room(parent), least)
        qty = parent.child_of(min(most, parent.how.max_slice or most, parent.child_max or most), least, lot)
        how = parent.how
        is_plain = how.algo is Algo.MARKET and how.price is None and not parent.above_bid
        is_market = is_plain and how.ord_type is OrdType.MARKET
        if qty <= 0 or now < parent.hold_until or (price is None and not is_market):
            return
        if self._precedence.stands_back(parent, now):
            return
        child = NewOrderSingle(
            ts=now,
            cl_ord_id=cl_ord_id(parent.parent_id, child=parent.count + 1),
            parent_id=parent.parent_id,
            strategy=parent.strategy,
            account=parent.account,
            venue=parent.venue,
            symbol=parent.symbol,
            side=parent.side,
            order_qty=qty,
            ord_type=OrdType.MARKET if is_market else OrdType.LIMIT,
            price=None if is_market else price,
            time_in_force=parent.how.time_in_force,
        )
        yield from self._place(child, self._market.get(parent.symbol))

    def _cancel_beyond(self, parent: Parent, now: int) -> Iterable[Event]:
        """Take back what its limit price does not allow any more, or what should rest there and rests elsewhere."""
        limit, tick = parent.how.price, self._instruments[parent.symbol].tick
        allowed = pricing.within(parent.side, limit, limit, tick)
        assert allowed is not None, f"{parent.parent_id} was given a limit of {limit}"  # which `amending` refuses
        for child_id, child in list(parent.children.items()):
            away = None if child.price is None else parent.side.sign * (child.price - allowed)
            suits = away == 0 if parent.how.algo in AT_A_PRICE else away is not None and away <= 0
            if not suits and not child.cancelling:
                yield _cancel(parent, child_id, now, "its parent has another price")

    def _press(self, parent: Parent, now: int) -> Iterable[Event]:
        """Take back what rests where it gains by going nearer to the other side, so that its quantity can go there."""
        market, wanted, rung = self._market.get(parent.symbol), self._price(parent, now), parent.rung_at(now)
        if market is None or wanted is None:
            return
        for cl_id, child in list(parent.children.items()):
            if child.price is None or not parent.may_move(child, rung, now):
                continue
            if child.leaves_qty < self._least(parent, wanted):
                continue  # as nothing could come in its place
            if pricing.is_worth_its_place(
                parent.side, child.price, wanted, market, rung=rung, was=child.rung, leaves_qty=child.leaves_qty
            ):
                yield _cancel(parent, cl_id, now, "behind its curve")

    def _least(self, parent: Parent, price: Decimal | None) -> Decimal:
        """The smallest child that its venue takes, zero where it takes any; without a price nobody can say."""
        instrument = self._instruments[parent.symbol]
        return ZERO if price is None or not instrument.min_notional else instrument.least_qty(price)

    def _is_dust(self, parent: Parent, now: int) -> bool:
        """Whether its venue would not take even all that is left."""
        return 0 < parent.open_qty < self._least(parent, self._price(parent, now))

    def _price(self, parent: Parent, now: int) -> Decimal | None:
        how, tick = parent.how, self._instruments[parent.symbol].tick
        market = self._market.get(parent.symbol)
        if how.algo in AT_A_PRICE:
            wanted = how.price
        elif market is None:
            return None
        else:
            wanted = pricing.price_at(parent.rung_at(now), parent.side, market, tick, how.tolerance_bps)
        price = pricing.within(parent.side, wanted, how.price, tick)
        return pricing.above_bid(price, market, tick) if parent.above_bid and market is not None else price

    def _wind_up(self, parent: Parent, now: int) -> Iterable[Event]:
        yield from _cancel_all(parent, now, "its parent is over")
        if all(child.unresolved for child in parent.children.values()):
            reason = self._end_reason(parent, now)
            yield _ended(parent, now, reason, text=self._end_text(parent, reason, now))

    def _end_reason(self, parent: Parent, now: int) -> EndReason:
        market, halted = self._market.get(parent.symbol), self._causes.state is TradingState.HALTED
        reasons = (
            (EndReason.FILLED, parent.cum_qty >= parent.order_qty),
            (EndReason.UNRESOLVED, parent.unresolved),
            (EndReason.TAKEN_BACK, parent.stopped),
            (EndReason.HELD, parent.held),
            (EndReason.HALTED, halted and not parent.flatten),
            (EndReason.DUST, self._is_dust(parent, now)),
            (EndReason.DENIED, parent.refusals or parent.denied is Reason.SELF_MATCH),
            (EndReason.LIMIT_PRICE, market is not None and pricing.is_beyond(parent.side, market, parent.how.price)),
            (EndReason.DENIED, self._precedence.stands_back(parent, now)),
        )
        return next((reason for reason, holds in reasons if holds), EndReason.WINDOW)

    def _end_text(self, parent: Parent, reason: EndReason, now: int) -> str:
        """What more there is to say of an end: which denial, or what the market did not give."""
        if reason is EndReason.DENIED:
            return (parent.denied if parent.refusals else Reason.SELF_MATCH) or ""
        if reason is EndReason.DUST:
            least = self._instruments[parent.symbol].min_notional
            return (
                f"its venue takes no order worth less than {least:f}: what is left goes with the next order of its side"
            )
        if reason is not EndReason.WINDOW:
            return ""
        pace, undone = parent.pace, parent.order_qty - parent.cum_qty
        own, shared = parent.volume_room, self._sharing.room(parent)
        if pace is not None and own is not None and min(own, own if shared is None else shared) < undone:
            traded = f"{pace.seen - pace.begun:,.0f} shares traded while it worked"
            most = f"it may be {pace.rate:.2%} of the volume"
            most += f", all in {parent.symbol} together {HARD_MAX:.0%}" if shared is not None and shared < own else ""
            return f"{most}, and {traded}: give it more time, or LIMIT or MARKET"
        if self._price(parent, now) is None:
            return f"{parent.symbol} was not quoted on the side that it needs: look at its feed"
        if len(places := self._instruments[parent.symbol].places) > 1 and parent.to_send(now, shared) > 0:
            return f"none of {', '.join(places)} was there to send it to: `execd status` says which are away"
        return ""

    # bookkeeping

    def _watch(self, symbol: str) -> Watch:
        watch = self._watches.get(symbol)
        if watch is None:
            watch = self._watches[symbol] = Watch()
        return watch

    def _profile(self, symbol: str) -> Profile:
        return self._profiles.get(symbol, DEFAULT)

    def _view(self, parent: Parent, now: int) -> View:
        symbol = parent.symbol
        return View(
            parent=parent,
            instrument=self._instruments[symbol],
            profile=self._profile(symbol),
            watch=self._watch(symbol),
            market=self._market.get(symbol),
            room=self._sharing.room(parent),
            now=now,
        )

    def _is_held(self, parent: Parent) -> bool:
        return parent.held or parent.is_paused or (self._causes.state is TradingState.HALTED and not parent.flatten)

    def _in(self, symbol: str) -> list[Parent]:
        """The parents of a symbol; all of them where it is empty."""
        return [parent for parent in self.parents.values() if symbol in {"", parent.symbol}]

    def is_flattening(self, cl_ord_id: str) -> bool:
        """Whether a child is of an operator's flatten that nobody has stopped."""
        parent = self._parent_of(cl_ord_id)
        return parent is not None and parent.flatten and not parent.stopped

    def _parent_of(self, child: str) -> Parent | None:
        owner = self._owner.get(child)
        return None if owner is None else self.parents[owner]

    def _drop(self, parent: Parent, child: str) -> None:
        before = parent.taken_qty
        parent.drop(child)
        self._sharing.count(parent, before)
        del self._owner[child]

    def _pass_by(self, parent: Parent, now: int) -> None:
        """Time and the volume have moved."""
        parent.pass_by(now)
        self._hear(parent, now)

    def _hear(self, parent: Parent, now: int) -> None:
        """The volume has moved, for a parent and for all who share its symbol's volume."""
        watch, was_in = self._watch(parent.symbol), parent.shares_volume
        lately, follows = watch.lately(now), parent.how.algo in BY_VOLUME
        parent.hear(now, watch.volume, lately, parent.enough(self._least_at(parent, now)) if follows else ZERO)
        self._sharing.move(parent, watch.volume, lately, begins=not was_in)

    def _ask(self, parent: Parent, now: int) -> None:
        """A parent that is looked at stands in line for the volume, where nothing else keeps it from sending."""
        can = not parent.is_over(now) and now >= parent.hold_until and not self._is_held(parent)
        if can and not self._is_waiting(parent) and not self._precedence.stands_back(parent, now):
            self._sharing.ask(parent, self._least_at(parent, now), now)

    def _least_at(self, parent: Parent, now: int) -> Decimal:
        """The smallest child that its venue takes at the price of now."""
        any_will_do = not self._instruments[parent.symbol].min_notional
        return ZERO if any_will_do else self._least(parent, self._price(parent, now))

    def _room(self, parent: Parent) -> Decimal | None:
        """Shares that others, and its limit price, let it send; None where neither bounds it."""
        return ZERO if self._is_waiting(parent) else self._sharing.room(parent)

    def _is_waiting(self, parent: Parent) -> bool:
        """Whether the market is away from its limit price, where a child of it rests, and others live in its symbol.

        More children would take the volume from those who can trade.
        """
        if parent.how.price is None or not parent.children or self._sharing.is_alone(parent):
            return False
        market = self._market.get(parent.symbol)
        return market is not None and pricing.is_behind(parent.side, market, parent.how.price)

    def _wake(self, parent_id: str, parent: Parent, now: int) -> None:
        """Look at a parent at once."""
        if parent.curve is not None:
            self._set_due(parent_id, parent, now)

    def _arm(self, parent_id: str, parent: Parent, now: int) -> None:
        if parent.curve is None or not self._is_held(parent) or parent.is_over(now):
            due = parent.next_due(now, self._room(parent))
        else:
            due = parent.end  # nothing to look at before, unless the state changes,
            if parent.held and any(not child.cancelling for child in parent.children.values()):
                due = min(due, now + REPRICE_NS)  # or a venue did not give back what was asked for
        self._set_due(parent_id, parent, due)

    def _set_due(self, parent_id: str, parent: Parent, due: int | None) -> None:
        before, parent.due = parent.due, due
        if due is None or due == before:
            return
        heappush(self._heap, (due, parent_id))
        if len(self._heap) > STALE_MAX * len(self.parents):
            self._heap = _heap_of(self.parents)

    def _is_stale(self, due: int, parent_id: str) -> bool:
        parent = self.parents.get(parent_id)
        return parent is None or parent.due != due

    # snapshots

    def dump(self) -> dict[str, object]:
        """State for a snapshot."""
        state = _State(
            self._causes.dump(),
            list(self._market.values()),
            list(self.parents.values()),
            self._precedence.dump(),
            self._watches,
            self._sharing.together,
        )
        dumped: dict[str, object] = msgspec.to_builtins(state)
        return dumped

    def load(self, dumped: dict[str, object]) -> None:
        """State from a snapshot, into an empty slicer."""
        state = msgspec.convert(dumped, _State)
        self._causes.load(state.causes)
        self._market = {event.symbol: event for event in state.market}
        self._watches, self._sharing.together = state.watches, state.together
        for parent in state.parents:
            self.parents[parent.parent_id] = parent
            self._owner.update(dict.fromkeys(parent.children, parent.parent_id))
        self._heap = _heap_of(self.parents)
        self._precedence.load(state.way)


class _State(msgspec.Struct):
    causes: dict[str, str]
    market: list[MarketData]
    parents: list[Parent]
    way: dict[str, tuple[Side, int]]
    watches: dict[str, Watch]
    together: dict[str, Together]


def _heap_of(parents: Mapping[str, Parent]) -> list[tuple[int, str]]:
    """Those that are due at some time."""
    heap = [(parent.due, parent_id) for parent_id, parent in parents.items() if parent.due is not None]
    heapify(heap)
    return heap


def _scheduled(parent_id: str, now: int, curve: Trajectory, start: int, end: int) -> ParentScheduled:
    return ParentScheduled(ts=now, parent_id=parent_id, times=curve.times, targets=curve.targets, end=end, start=start)


def _cancel(parent: Parent, child: str, now: int, text: str) -> OrderCancelRequest:
    venue = parent.children[child].venue
    return OrderCancelRequest(
        ts=now, cl_ord_id=child, parent_id=parent.parent_id, venue=venue, symbol=parent.symbol, text=text
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


def _ended(parent: Parent, now: int, reason: EndReason, text: str = "") -> ParentEnded:
    return ParentEnded(
        ts=now,
        parent_id=parent.parent_id,
        strategy=parent.strategy,
        symbol=parent.symbol,
        side=parent.side,
        order_qty=parent.order_qty,
        cum_qty=parent.cum_qty,
        avg_px=parent.notional / parent.cum_qty if parent.cum_qty else None,
        leaves_qty=max(parent.order_qty - parent.cum_qty, ZERO),
        reason=reason,
        text=text,
        flatten_id=parent.flatten_id,
    )
