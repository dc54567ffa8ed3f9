"""The pure actors on the real bus, before a scripted venue, in virtual time: laws can be stated on whole runs.

The wiring is the daemon's, without the edges. The venue and the oms are one stub: it answers every approved child as
its script says, later, as an outside event. Nothing here decides what a test should find.
"""

from collections.abc import Callable
from decimal import Decimal
from heapq import heappop, heappush
from typing import Literal

import msgspec

from algos.router import Router, RouterSettings
from algos.slicer import Slicer
from core import events as e
from core.instruments import Instruments
from core.orders import TERMINAL, ExecType, OrdStatus, Side
from core.units import NS_PER_MS, NS_PER_S, ZERO, floor_to
from daemon.bus import Bus
from risk.exposure import Exposure
from risk.gate import Gate
from risk.limits import Limits, LimitsInForce
from risk.sizing import Sizer
from risk.triggers import Source, StopSettings, Triggers
from tests.builders import INSTRUMENTS, OPEN_LIMITS, abilities, filled, opened, updated

UNRESOLVED_NS = 120 * NS_PER_S  # a silent venue is given up after that

Verdict = Literal["fill", "part", "touch", "reject", "not sent", "lapse", "expire", "silence"]
Mercy = Literal["cancel", "refuse", "execute", "silence"]


class Reply(msgspec.Struct, frozen=True):
    """How the venue treats one child, and a request to cancel it.

    `part` executes that fraction and rests, `expire` executes it and ends, `touch` executes once the market crosses the
    price. A cancel is done, refused once (the order rests on), overtaken by an execution, or never answered.
    """

    verdict: Verdict = "fill"
    on_cancel: Mercy = "cancel"
    part: Decimal = Decimal("0.4")
    delay_ns: int = 20 * NS_PER_MS


class _Order:
    __slots__ = ("cancels", "cum_qty", "order", "reply", "status")

    def __init__(self, order: e.NewOrderSingle, reply: Reply) -> None:
        self.order = order
        self.reply = reply
        self.status = OrdStatus.PENDING_SUBMIT
        self.cum_qty = ZERO
        self.cancels = 0

    @property
    def leaves_qty(self) -> Decimal:
        return ZERO if self.status in TERMINAL else self.order.order_qty - self.cum_qty


class Venue:
    """Answers approved children; `later` takes the outside events that follow."""

    def __init__(self, reply: Callable[[int], Reply], later: Callable[[int, e.Event], None]) -> None:
        self._reply = reply
        self._later = later
        self._market: dict[str, e.MarketData] = {}
        self.orders: dict[str, _Order] = {}

    # what it hears

    def quote(self, event: e.MarketData) -> None:
        self._market[event.symbol] = event
        for order in self.orders.values():
            if order.order.symbol == event.symbol and order.reply.verdict == "touch" and order.leaves_qty:
                self._touch(order, event.ts)

    def send(self, _: int, event: e.OrderApproved) -> None:
        order = self.orders[event.cl_ord_id] = _Order(event.order, self._reply(len(self.orders)))
        now = event.ts + order.reply.delay_ns
        match order.reply.verdict:
            case "fill":
                self._acknowledge(order, now)
                self._trade(order, now + 1, event.order.order_qty)
            case "part" | "expire":
                self._acknowledge(order, now)
                self._trade(order, now + 1, self._share(order))
                if order.reply.verdict == "expire":
                    self._say(order, now + 2, OrdStatus.EXPIRED)
            case "touch":
                self._acknowledge(order, now)
                self._touch(order, event.ts)
            case "reject":
                self._say(order, now, OrdStatus.REJECTED)
            case "not sent":
                self._say(order, now, OrdStatus.NOT_SENT)
            case "lapse":
                self._say(order, now, OrdStatus.LAPSED)
            case "silence":
                self._say(order, now, OrdStatus.UNKNOWN)
                self._give_up(order, now + UNRESOLVED_NS)

    def cancel(self, _: int, event: e.OrderCancelRequest) -> None:
        order = self.orders[event.cl_ord_id]
        order.cancels += 1
        now = event.ts + order.reply.delay_ns
        match order.reply.on_cancel:
            case "refuse" if order.cancels == 1:
                self._say(order, now, OrdStatus.PARTIALLY_FILLED if order.cum_qty else OrdStatus.NEW)
            case "cancel" | "refuse":
                self._say(order, now, OrdStatus.CANCELED)
            case "execute":
                self._trade(order, now, order.leaves_qty)
            case "silence":
                self._give_up(order, now + UNRESOLVED_NS)

    # what the oms makes of it

    def on_cancel_request(self, event: e.OrderCancelRequest) -> list[e.Event]:
        order = self.orders[event.cl_ord_id]
        if order.status in TERMINAL:
            return []
        if order.status is not OrdStatus.UNKNOWN:  # the request goes out, the doubt stays
            order.status = OrdStatus.PENDING_CANCEL
        return [updated(order.order, order.status, order.cum_qty, event.ts)]

    def on_report(self, event: e.ExecutionReport) -> list[e.Event]:
        order = self.orders[event.cl_ord_id]
        if order.status in TERMINAL:
            return []
        if event.exec_type is not ExecType.TRADE:
            assert event.ord_status is not None
            if order.status is not OrdStatus.PENDING_CANCEL or event.exec_type is not ExecType.NEW:
                order.status = event.ord_status
            return [updated(order.order, order.status, order.cum_qty, event.ts)]
        qty = min(event.last_qty, order.leaves_qty)
        if not qty:
            return []
        order.cum_qty += qty
        if not order.leaves_qty:
            order.status = OrdStatus.FILLED
        elif order.status is not OrdStatus.PENDING_CANCEL:
            order.status = OrdStatus.PARTIALLY_FILLED
        fill = filled(order.order, qty, event.last_px, exec_id=event.exec_id, ts=event.ts)
        return [fill, updated(order.order, order.status, order.cum_qty, event.ts)]

    def _share(self, order: _Order) -> Decimal:
        return floor_to(order.order.order_qty * order.reply.part, INSTRUMENTS[order.order.symbol].lot)

    def _touch(self, order: _Order, now: int) -> None:
        market, price = self._market[order.order.symbol], order.order.price
        touch = market.ask if order.order.side is Side.BUY else market.bid
        if touch is not None and (price is None or order.order.side.sign * (price - touch) >= 0):
            self._trade(order, now + order.reply.delay_ns + 1, order.leaves_qty)

    def _acknowledge(self, order: _Order, ts: int) -> None:
        self._say(order, ts, OrdStatus.NEW, ExecType.NEW)

    def _say(self, order: _Order, ts: int, status: OrdStatus, kind: ExecType = ExecType.STATUS) -> None:
        facts = order.order
        self._later(
            ts,
            e.ExecutionReport(ts=ts, venue=facts.venue, exec_type=kind, cl_ord_id=facts.cl_ord_id, ord_status=status),
        )

    def _trade(self, order: _Order, ts: int, qty: Decimal) -> None:
        market = self._market[order.order.symbol]
        touch = market.ask if order.order.side is Side.BUY else market.bid
        report = e.ExecutionReport(
            ts=ts,
            venue=order.order.venue,
            exec_type=ExecType.TRADE,
            cl_ord_id=order.order.cl_ord_id,
            exec_id=f"{order.order.cl_ord_id}@{ts}",
            last_qty=qty,
            last_px=order.order.price or touch or Decimal(100),
        )
        self._later(ts, report)

    def _give_up(self, order: _Order, ts: int) -> None:
        facts = order.order
        self._later(
            ts,
            e.OrderUnresolved(
                ts=ts,
                cl_ord_id=facts.cl_ord_id,
                parent_id=facts.parent_id,
                venue=facts.venue,
                symbol=facts.symbol,
                leaves_qty=order.order.order_qty,
            ),
        )


def obliging(_: int) -> Reply:
    """Everything executes at once."""
    return Reply()


def scripted(replies: list[Reply]) -> Callable[[int], Reply]:
    """The replies in turn, again and again."""
    return lambda number: replies[number % len(replies)]


class PureBus:
    """Sizer, stops, exposure, gate and slicer on a bus; outside events in the order of their times."""

    def __init__(
        self,
        reply: Callable[[int], Reply] = obliging,
        *,
        limits: Limits = OPEN_LIMITS,
        cash: str = "100000000",
        instruments: Instruments = INSTRUMENTS,
        source: Source = "quote",
        prints_ours: bool = False,
    ) -> None:
        self.limits = limits
        self.source: Source = source
        self.prints_ours = prints_ours
        self.instruments = instruments
        self.trace: list[e.Event] = []
        self.taps: list[Callable[[e.Event], None]] = []
        self.now = 0
        self._outside: list[tuple[int, int, e.Event]] = []
        self._count = 0
        self.venue = Venue(reply, self.at)
        self._build()
        self.bus.publish(opened(cash))

    def _build(self) -> None:
        self.in_force = LimitsInForce(self.limits)
        able = abilities(self.instruments, prints_ours=self.prints_ours)
        self.exposure = Exposure(self.instruments, self.in_force, able)
        self.triggers = Triggers(self.exposure, self.in_force, StopSettings(source=self.source))
        self.slicer = Slicer(self.instruments, may_open=self.exposure.may_open, abilities=able)
        route = Router(self.instruments, RouterSettings()).route
        self.sizer = Sizer(
            self.exposure, self.in_force, route, self.slicer.amendment, self.triggers, tag="T", account="main"
        )
        self.gate = Gate(self.exposure, self.in_force)
        self.bus = Bus()
        self._wire()
        self.bus.tap(self._tap)

    def _wire(self) -> None:  # noqa: PLR0915 - as there
        """The wiring of `daemon.wiring`, with the stub for oms, venue and sender."""
        bus, venue, sizer, exposure, gate, slicer, triggers = (
            self.bus,
            self.venue,
            self.sizer,
            self.exposure,
            self.gate,
            self.slicer,
            self.triggers,
        )
        bus.fold(e.AccountOpened, exposure.account)
        bus.fold(e.MarketData, exposure.quote, slicer.quote, venue.quote, triggers.look)
        bus.fold(e.TimeAdvanced, exposure.advance, slicer.advance)
        bus.fold(e.SignalReceived, exposure.advance)
        bus.fold(e.SignalAccepted, sizer.take)
        bus.fold(e.StopSet, triggers.take)
        bus.fold(e.StopTriggered, triggers.trigger, slicer.take_back)
        bus.fold(e.StopSuspended, triggers.suspend)
        bus.fold(e.StopEnded, triggers.end)
        bus.fold(e.ExitRequested, triggers.ask)
        bus.fold(e.StopRearmed, triggers.rearm)
        bus.fold(e.ParentAccepted, exposure.accept, slicer.open, triggers.accept)
        bus.fold(e.ParentAmended, exposure.amend, slicer.amend)
        bus.fold(e.ParentScheduled, slicer.schedule)
        bus.fold(e.ParentPaced, slicer.pace)
        bus.fold(e.NewOrderSingle, slicer.send)
        bus.fold(e.OrderDenied, slicer.deny, triggers.deny)
        bus.fold(e.OrderApproved, exposure.approve, slicer.approve)
        bus.fold(e.OrderCancelRequest, exposure.cancel, slicer.cancel)
        bus.fold(e.FillBooked, exposure.fill, slicer.fill)
        bus.fold(e.FillBusted, exposure.bust, slicer.bust)
        bus.fold(e.OrderUpdated, exposure.update, slicer.update)
        bus.fold(e.OrderUnresolved, exposure.give_up, slicer.give_up)
        bus.fold(e.ParentEnded, exposure.end, slicer.end, triggers.close)
        bus.fold(e.TradingHalted, exposure.halt, slicer.halt)
        bus.fold(e.TradingResumed, exposure.resume, slicer.resume)
        bus.fold(e.FlattenRequested, exposure.flatten, slicer.flatten)
        bus.fold(e.BreakFound, exposure.quarantine)
        bus.fold(e.PositionAdjusted, exposure.adjust, slicer.adjust)
        bus.fold(e.LimitsSet, self.in_force.take, slicer.reconsider)
        bus.on(e.SignalReceived, sizer.on_signal)
        bus.on(e.ParentOrder, gate.on_parent_order)
        bus.on(e.ParentAmendment, gate.on_amendment)
        bus.on(e.ParentAccepted, slicer.on_accepted)
        bus.on(e.ParentAmended, slicer.on_amended)
        bus.on(e.ParentScheduled, slicer.on_scheduled)
        bus.on(e.OrderDenied, slicer.on_denied)
        bus.on(e.NewOrderSingle, gate.on_new_order)
        bus.on(e.TimeAdvanced, slicer.on_due)
        bus.on(e.ExecutionReport, venue.on_report)
        bus.on(e.OrderCancelRequest, venue.on_cancel_request)
        bus.on(e.OrderUpdated, slicer.on_updated)
        bus.on(e.OrderUnresolved, slicer.on_unresolved)
        bus.on(e.TradingHalted, slicer.on_halted, triggers.on_halted)
        bus.on(e.FlattenRequested, slicer.on_flatten, sizer.on_flatten)
        bus.on(e.MarketData, triggers.on_market)
        bus.on(e.StopTriggered, slicer.on_triggered, triggers.on_triggered)
        bus.on(e.ExitRequested, sizer.on_exit)
        bus.on(e.FillBooked, triggers.on_moved)
        bus.on(e.FillBusted, triggers.on_moved)
        bus.on(e.BreakFound, triggers.on_break)
        bus.on(e.PositionAdjusted, triggers.on_adjusted)
        bus.on(e.ParentEnded, triggers.on_moved, sizer.on_ended)
        bus.hand(e.OrderApproved, venue.send)
        bus.hand(e.OrderCancelRequest, venue.cancel)

    def _tap(self, _: int, event: e.Event) -> None:
        self.trace.append(event)
        for tap in self.taps:
            tap(event)

    # running

    def at(self, ts: int, *events: e.Event) -> None:
        """Let the world say something at `ts`."""
        for event in events:
            self._count += 1
            heappush(self._outside, (ts, self._count, event))

    def step(self) -> bool:
        """Publish the next outside event, or the next due time; False where nothing is left to come."""
        due = self.slicer.next_due()
        if due is not None and (not self._outside or due < self._outside[0][0]):
            self.now = max(self.now, due)
            self.bus.publish(e.TimeAdvanced(ts=self.now))
            return True
        if not self._outside:
            return False
        ts, _, event = heappop(self._outside)
        self.now = max(self.now, ts)
        if isinstance(event, e.OrderUnresolved) and not self.venue.orders[event.cl_ord_id].leaves_qty:
            return True  # it was answered after all
        self.bus.publish(event)
        return True

    def run(self, *, steps_max: int = 100_000) -> list[e.Event]:
        """Everything to its end; a run that finds none fails."""
        for _ in range(steps_max):
            if not self.step():
                return self.trace
        raise AssertionError(f"still running after {steps_max:,} steps")

    def restart(self) -> None:
        """New actors, from the dumps of the old ones, by way of JSON as in a snapshot. The venue stands."""
        old: dict[str, LimitsInForce | Exposure | Sizer | Triggers | Slicer] = {
            "limits": self.in_force,
            "exposure": self.exposure,
            "sizer": self.sizer,
            "triggers": self.triggers,
            "slicer": self.slicer,
        }
        dumps = {name: msgspec.json.decode(msgspec.json.encode(actor.dump())) for name, actor in old.items()}
        self._build()
        self.in_force.load(dumps["limits"])
        self.exposure.load(dumps["exposure"])
        self.sizer.load(dumps["sizer"])
        self.triggers.load(dumps["triggers"])
        self.slicer.load(dumps["slicer"])
