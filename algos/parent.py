"""A live parent: its order, its curve, its children and what is done; and what follows from them.

Only the slicer's folds change it; the slicer's decisions ask. All of it goes into a snapshot as it stands.
"""

from decimal import Decimal
from math import ceil
from sys import intern

import msgspec

from algos.participation import FREE, POLL_NS, Pace, rate_of
from algos.pricing import LADDER, Rung, rung_of
from algos.trajectory import ENOUGH, Trajectory
from core.events import (
    NewOrderSingle,
    OrderUpdated,
    ParentAccepted,
    ParentAmended,
    ParentPaced,
    ParentScheduled,
    Reason,
)
from core.orders import OrdStatus, Side, TimeInForce
from core.signals import AT_A_PRICE, Action, Algo, Instruction
from core.units import NS_PER_S, ZERO, ceil_to, floor_to

RETRY_NS = 1 * NS_PER_S  # a parent with a gap that it cannot send (no price, denied) looks again so much later
REPRICE_NS = 5 * NS_PER_S  # a child that rests is looked at so much later, and keeps its place so long but to cross
CANCELS_MAX = 3  # on one way up the ladder; what is to cross is taken back all the same
HOLD_NS_MAX = 60 * NS_PER_S  # the longest pause after refusals in a row; they double from RETRY_NS
CATCH_UP_STEPS = 2  # of the curve's largest, the most that is sent from one of its points to the next
PATIENCE_NS = 20 * NS_PER_S  # the way up the ladder of a parent that follows the volume, from its child on
_NO_NEWS = frozenset({OrdStatus.UNKNOWN, OrdStatus.SETTLING})  # of an order that was asked back
BY_VOLUME = frozenset({Algo.POV, Algo.ADAPTIVE})  # everything is wanted at once; their pace is what bounds it


class Child(msgspec.Struct):
    """A child that may still execute."""

    leaves_qty: Decimal
    price: Decimal | None
    sent: int  # ns
    venue: str
    rung: Rung = Rung.JOIN  # as sent
    cancelling: bool = False
    unresolved: bool = False


class Parent(msgspec.Struct, kw_only=True):
    """A parent from its acceptance to its end. `leaves_qty` is what its living children may still execute."""

    parent_id: str
    strategy: str
    account: str
    venue: str
    symbol: str
    side: Side
    how: Instruction
    order_qty: Decimal  # as accepted, or amended since
    arrival_px: float
    valid_until: int | None = None
    curve: Trajectory | None = None
    start: int = 0
    end: int = 0
    pace: Pace | None = None  # what the market's volume lets it do; None, or of a curve where none was seen: any
    foot: int = 0  # when its present way up the ladder of prices began, ns
    rung: Rung = Rung.JOIN  # how far it came
    cancels: int = 0  # on that way
    again: bool = False  # what rested was asked back; until the next child
    at_point: int = 0  # how many of the curve's were reached
    is_new_point: bool = False  # whether that was with the present TimeAdvanced
    cum_qty: Decimal = ZERO
    notional: Decimal = ZERO
    leaves_qty: Decimal = ZERO
    children: dict[str, Child] = {}
    count: int = 0  # children ever made: the next one's number
    due: int | None = None
    hold_until: int = 0
    refusals: int = 0  # in a row
    unresolved: bool = False
    flatten: bool = False  # goes on while trading is halted
    stopped: bool = False  # an operator, a signal or a stop wants no more of it
    flatten_id: str = ""  # the flatten that stopped it and waits for its children
    held: bool = False  # nor anything sent until he, or it, says so
    since: int = 0  # from when on its curves are planned: its start, or when it was amended
    base: Decimal = ZERO  # what was done by then, in whole lots
    since_volume: float | None = None  # its symbol's by then; None: where its pace began
    above_bid: bool = False  # it sells short under a price restriction, as a denial has said
    denied: Reason | None = None  # its newest child was; None once one is approved
    met: tuple[str, ...] = ()  # of ours, those that the denied child would have met and that have not ended
    child_max: Decimal | None = None  # the largest child that the gate takes, as far as a denial said
    burst: int = 0  # lots, the most that is sent in one period, from a point of the curve to the next
    period_end: int = 0  # a second after its begin, or later
    ceiling: Decimal = ZERO  # the most that may be done or working in the present period

    def __post_init__(self) -> None:
        """Many parents, few names: one object each."""
        self.strategy, self.account = intern(self.strategy), intern(self.account)
        self.venue, self.symbol = intern(self.venue), intern(self.symbol)

    @classmethod
    def of(cls, event: ParentAccepted) -> "Parent":
        """A parent that begins: what children need of its order, and no more (2 KiB in all)."""
        order = event.parent
        return cls(
            parent_id=order.parent_id,
            strategy=order.strategy,
            account=order.account,
            venue=order.venue,
            symbol=order.symbol,
            side=order.side,
            how=order.how,
            order_qty=event.order_qty,
            arrival_px=float(event.arrival_px),
            valid_until=order.valid_until,
            flatten=order.flatten,
        )

    # questions

    @property
    def is_paused(self) -> bool:
        """Whether trading is reducing and no child of it, however small, would shrink: it waits for another state."""
        return self.denied is Reason.STATE and self.child_max is None and not self.flatten

    def to_send(self, now: int, room: Decimal | None) -> Decimal:
        """What the curve wants sent, as far as its bounds let it; negative: what it wants back.

        `room` is what all who share its symbol's volume leave of it, in shares; None: whatever it wants.
        """
        gap = self.behind(now) - self.leaves_qty
        if gap <= 0:
            return gap
        how = self.how
        if (own := self.volume_room) is not None:
            gap = min(gap, own)
        if room is not None:
            gap = min(gap, room)
        if how.display_qty is not None:
            gap = min(gap, how.display_qty - self.leaves_qty)
        is_small = how.min_slice is not None and gap < self.smallest
        return ZERO if is_small or (self.children and how.algo in BY_VOLUME) else max(gap, ZERO)

    @property
    def smallest(self) -> Decimal:
        """The fewest shares of a child that is not the last one: its smallest slice, in whole lots."""
        if self.how.min_slice is None or self.curve is None:
            return ZERO
        lot, most = self.curve.lot, self.how.max_slice
        found = min(ceil_to(self.how.min_slice, lot), self.open_qty)
        return found if most is None else min(found, floor_to(most, lot))

    @property
    def volume_room(self) -> Decimal | None:
        """What its part of the market's volume still lets it send, in shares; None: any."""
        if self.pace is None or self.curve is None:
            return None if rate_of(self.how) is None else ZERO  # until it is said where its volume begins
        if not (self.pace.seen or self.how.algo in BY_VOLUME):
            return None
        return self.pace.cap(self.curve.lot) - self.taken_qty

    def behind(self, now: int) -> Decimal:
        """What the curve wants done and is not."""
        return (self.curve.target(now) if self.curve else ZERO) - self.cum_qty

    @property
    def taken_qty(self) -> Decimal:
        """What is done or working."""
        return self.cum_qty + self.leaves_qty

    @property
    def open_qty(self) -> Decimal:
        """What is neither done nor working."""
        return self.order_qty - self.taken_qty

    @property
    def shares_volume(self) -> bool:
        """Whether it is bounded together with all who follow curves in its symbol, as it is once it has begun."""
        return self.pace is not None and self.how.algo not in FREE

    def sendable(self, now: int, room: Decimal | None, least: Decimal = ZERO) -> Decimal:
        """How much of `to_send` may go now, where it is positive: catching up is bounded, but for a last effort.

        Where steps of the curve are smaller than its own slices may be, or than the `least` that its venue takes, one
        such child goes all the same.
        """
        if self.how.must_complete and self.curve is not None and self.curve.next_time(now) is None:
            return self.to_send(now, room)
        most = self._ceiling_at(now, max(3 * least, self.smallest))
        return min(self.to_send(now, room), most - self.taken_qty)

    def child_of(self, most: Decimal, least: Decimal, lot: Decimal) -> Decimal:
        """The largest child of at most `most` that is no smaller than `least`, and leaves nothing or enough for one.

        Where that cannot be, what may go as a whole waits until it may; of anything else a rest is left.
        """
        qty, enough = floor_to(most, lot), least * ENOUGH
        if qty < least or not 0 < self.open_qty - qty < enough:
            return qty if qty >= least else ZERO
        bounds = (self.how.max_slice, self.how.display_qty, self.child_max)
        is_bounded = any(bound is not None and bound < self.open_qty for bound in bounds)
        if is_bounded and self.open_qty - qty >= least:
            return qty
        shorter = floor_to(self.open_qty - enough, lot)
        if shorter >= least:
            return shorter
        return qty if is_bounded else ZERO

    def enough(self, least: Decimal) -> Decimal:
        """Shares for which there is always a child, where its venue takes no fewer than `least`."""
        assert self.curve is not None
        bounds = (max(self.curve.lot, 3 * least), self.how.max_slice, self.child_max)
        return max(self.smallest, min(bound for bound in bounds if bound is not None))

    def rung_at(self, now: int) -> Rung:
        """How near to the other side children go: never back on one way up, and all the way where they may not rest."""
        how = self.how
        if how.algo in AT_A_PRICE:
            return Rung.JOIN
        if how.algo is Algo.MARKET or how.time_in_force in {TimeInForce.IOC, TimeInForce.FOK}:
            return Rung.CROSS
        foot, top = self._way_up(now)
        used = (now - foot) / (top - foot)
        found = rung_of(used=used, behind=self._slices_behind(now), urgency=how.urgency)
        return max(found, self.rung) if foot == self.foot else found

    def may_move(self, child: Child, rung: Rung, now: int) -> bool:
        """Whether a child may be taken back for another price: at once to cross, else not soon and not often."""
        if child.cancelling or child.price is None:
            return False
        return rung is Rung.CROSS or (now >= child.sent + REPRICE_NS and self.cancels < CANCELS_MAX)

    def is_over(self, now: int) -> bool:
        """Whether nothing more is to be sent."""
        return now >= self.end or self.unresolved or self.stopped or self.cum_qty >= self.order_qty

    def next_due(self, now: int, room: Decimal | None) -> int | None:
        """When to look at the parent next, seen from `now`."""
        if self.curve is None:
            return None
        if self.is_over(now):  # only children that would not be cancelled keep it
            return now + REPRICE_NS if self.children else None
        moments = [self.end]
        if now < self.start:
            moments.append(self.start)  # from when on volume counts
        following = self.curve.next_time(now)
        if following is not None:
            moments.append(following)
        gap = self.to_send(now, room)
        if (self.children or (gap > 0 and self.how.algo not in BY_VOLUME)) and self.rung_at(now) < Rung.CROSS:
            foot, top = self._way_up(now)
            rungs = (foot + ceil((top - foot) * edge) for edge in LADDER[self.how.urgency])
            moments += [moment for moment in rungs if moment > now]
        if gap > 0:
            held_until = max(self.hold_until, self.period_end if self.sendable(now, room) <= 0 else 0)
            moments.append(held_until if held_until > now else now + RETRY_NS)
        elif self.children and self.how.algo not in AT_A_PRICE:
            moments.append(now + REPRICE_NS)
        elif self.pace is not None and self.behind(now) > self.leaves_qty:
            moments.append(now + POLL_NS)
        return min(moments)

    def _way_up(self, now: int) -> tuple[int, int]:
        """From a point of the curve to the next; of who follows the volume, for a child and what comes in its place."""
        assert self.curve is not None
        if self.how.algo in BY_VOLUME:
            foot = self.foot if self.children or self.again else now
            top = min(foot + PATIENCE_NS, self.end)
        else:
            foot = self.curve.last_time(now) or self.start
            top = self.curve.next_time(now) or self.end
        return foot, max(top, foot + 1)

    def _slices_behind(self, now: int) -> float:
        assert self.curve is not None
        slice_ = self.burst * self.curve.lot / CATCH_UP_STEPS
        return float(self.behind(now) / slice_) if slice_ else 0.0

    def _ceiling_at(self, now: int, least: Decimal = ZERO) -> Decimal:
        if now < self.period_end or self.curve is None:
            return self.ceiling
        return self.taken_qty + max(self.burst * self.curve.lot, least)

    # changes

    def follow(self, event: ParentScheduled, lot: Decimal) -> None:
        """Get a curve, or another one."""
        if self.curve is None:
            self.since = event.start
        self.curve = Trajectory.of(event.times, event.targets, lot)
        self.start, self.end = event.start, event.end
        self.burst = CATCH_UP_STEPS * self.curve.most_within(RETRY_NS, self.cum_qty)
        self.period_end = 0

    def pass_by(self, now: int) -> None:
        """Time has come to `now`."""
        point = self.curve.reached(now) if self.curve is not None else 0
        self.is_new_point, self.at_point = point != self.at_point, point
        if self.children:
            self.climb(now)

    def hear(self, now: int, volume: float, lately: float, enough: Decimal) -> None:
        """The volume of its symbol has come to `volume` by `now`, of which it traded so much `lately`."""
        if self.pace is None:
            rate = rate_of(self.how)
            self.pace = None if rate is None or now < self.start else Pace(rate, volume, volume)
            return
        self.pace.move(volume)
        if self.how.algo in BY_VOLUME:
            self.pace.forget(self.taken_qty, lately, enough)

    def amend(self, event: ParentAmended, lot: Decimal, volume: float) -> None:
        """Be as somebody wants it from now on; where that takes another curve, plan from what is done."""
        wanted, change = event.amendment, event.amendment.change
        self.order_qty, self.held = event.order_qty, wanted.held
        self.stopped |= change.action is Action.CANCEL
        self.how = msgspec.structs.replace(self.how, price=wanted.price)
        if change.urgency is not None:
            self.how = msgspec.structs.replace(self.how, urgency=change.urgency, risk_aversion=None)
        self.end = change.end or self.end
        if change.is_planned and event.ts > self.start:
            self.since, self.base, self.since_volume = event.ts, floor_to(self.cum_qty, lot), volume

    def repace(self, event: ParentPaced) -> None:
        """Be another part of the volume from now on."""
        assert self.pace is not None
        self.pace.rate = event.participation

    def climb(self, now: int) -> None:
        """Remember how far up the ladder it is; at its foot it begins anew."""
        rung, (foot, _) = self.rung_at(now), self._way_up(now)
        if foot != self.foot:
            self.foot, self.cancels = foot, 0
        self.rung = rung

    def add(self, event: NewOrderSingle) -> None:
        """Count a child; the first one after a period begins the next."""
        assert self.curve is not None
        self.climb(event.ts)
        if event.ts >= self.period_end:
            taken = self.taken_qty + event.order_qty
            self.ceiling = max(self._ceiling_at(event.ts), taken)  # more where its venue takes no less
            self.period_end = max(event.ts + RETRY_NS, self.curve.next_time(event.ts) or 0)
        self.again = False
        self.children[event.cl_ord_id] = Child(event.order_qty, event.price, event.ts, intern(event.venue), self.rung)
        self.leaves_qty += event.order_qty
        self.count += 1

    def ask_back(self, child: str, now: int) -> None:
        """A child is to be cancelled."""
        self.climb(now)
        self.again = self.children[child].cancelling = True
        self.cancels += 1

    def adjust(self, event: OrderUpdated) -> None:
        """A child stands differently and lives on."""
        child = self.children[event.cl_ord_id]
        self.leaves_qty += event.leaves_qty - child.leaves_qty
        child.leaves_qty = event.leaves_qty
        asked = child.cancelling and event.ord_status in _NO_NEWS  # no answer yet, or it ended: asking again is noise
        child.cancelling = asked or event.ord_status is OrdStatus.PENDING_CANCEL
        if event.ord_status is OrdStatus.NEW:
            self.refusals = 0

    def drop(self, child: str) -> None:
        """A child is over: what it left is open again."""
        self.leaves_qty -= self.children.pop(child).leaves_qty
        assert self.leaves_qty >= 0, f"{self.parent_id}: leaves fell to {self.leaves_qty}"

    def book(self, child_id: str, qty: Decimal, price: Decimal) -> None:
        """Count an execution, and take it from what its child may still do."""
        self.cum_qty += qty
        self.notional += qty * price
        self.refusals = 0
        child = self.children.get(child_id)
        if child is not None:
            done = min(qty, child.leaves_qty)
            child.leaves_qty -= done
            self.leaves_qty -= done
            self.again = self.again and child.leaves_qty > 0

    def enter_state(self) -> None:
        """Trading is in another state: what the last one did not let go is asked for again."""
        self.denied = None if self.denied is Reason.STATE else self.denied
        self.child_max = None

    def pause(self, now: int) -> None:
        """Send nothing for a moment."""
        self.hold_until = now + RETRY_NS

    def refuse(self, now: int) -> None:
        """Send nothing for a time that doubles with each refusal in a row."""
        self.hold_until = now + min(RETRY_NS << min(self.refusals, 10), HOLD_NS_MAX)
        self.refusals += 1
