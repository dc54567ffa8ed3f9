"""The order management system: the only reader of raw reports, and so the only place where they become facts.

Venues repeat themselves, overtake themselves and fall silent. What comes in here is raw (`ExecutionReport`,
`SubmitResult`); what goes out is de-duplicated and checked against the table of `core.orders`: `FillBooked` once per
execution id, `OrderUpdated` for every move that the table allows, `Anomaly` for what it does not. Quantity is the sum
of booked executions. A terminal report that states more than we have seen, or that states nothing, leaves the order
Settling, and the oms asks.

An order whose acknowledgement is overdue, or whose fate nobody knows, is asked about (`OrderQueried`) at growing
intervals. Only proof ends the doubt; without proof, `OrderUnresolved` does not free its quantity either. An order whose
cancel was refused while we thought it worked is asked about at once: if it is too late, a report was lost.

A DAY order that its venue has not ended `ack_timeout_s` after the close of its session is told of and asked back, once,
as soon as the daemon is there; then it is asked about like any other cancel.
"""

from collections.abc import Collection, Iterable
from decimal import Decimal
from heapq import heapify, heappop, heappush

import msgspec

from core.calendar import CALENDARS
from core.events import (
    AccountOpened,
    Anomaly,
    CashMoved,
    Event,
    ExecutionReport,
    FillBooked,
    FillBusted,
    NewOrderSingle,
    OrderApproved,
    OrderCancelRequest,
    OrderQueried,
    OrderUnresolved,
    OrderUpdated,
    PositionAdjusted,
    PositionUpdated,
    SubmitResult,
    SymbolReleased,
    TimeAdvanced,
)
from core.instruments import Instruments
from core.orders import TERMINAL, ExecType, Order, OrdStatus, TimeInForce, Trigger
from core.positions import Book
from core.reconcile import ExecutionView, OrderView
from core.units import NS_PER_S, ZERO
from daemon.reports import OUTCOMES, is_sound, trigger_of

QUERY_NS_MAX = 60 * NS_PER_S  # the longest pause between two questions about one order
WAIT_S_MAX = 86_400  # of a setting: one day
KEPT_ORDERS = 10_000  # ended orders remembered with their executions: what a venue says of an older one is an anomaly
_ASKED = frozenset(
    {OrdStatus.PENDING_SUBMIT, OrdStatus.SENT, OrdStatus.UNKNOWN, OrdStatus.PENDING_CANCEL, OrdStatus.SETTLING}
)


_UNANSWERED = frozenset({OrdStatus.PENDING_CANCEL, OrdStatus.SETTLING})  # after a refused cancel: it settled nothing
_DOUBTFUL = frozenset({OrdStatus.PENDING_SUBMIT, OrdStatus.SENT, OrdStatus.UNKNOWN})


class OmsSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How long the oms waits for a venue."""

    ack_timeout_s: float = 3.0  # then it asks; after a session's close, then DAY orders are asked back
    unknown_max_age_s: float = 900.0  # then the order is unresolved

    def __post_init__(self) -> None:
        for name in ("ack_timeout_s", "unknown_max_age_s"):
            if not 0 < getattr(self, name) <= WAIT_S_MAX:
                raise ValueError(f"{name} = {getattr(self, name)}: seconds between 0 and {WAIT_S_MAX:,} belong here")


class Oms:
    """All orders that may be live, those that ended lately, the executions of both, and all positions."""

    __slots__ = (
        "_book",
        "_days",
        "_due",
        "_ended",
        "_executions",
        "_heap",
        "_instruments",
        "_let_pass",
        "_outlived",
        "_settings",
        "_unresolved",
        "_watches",
        "orders",
    )

    def __init__(self, instruments: Instruments, settings: OmsSettings) -> None:
        self._instruments = instruments
        self._settings = settings
        self._book = Book()
        self.orders: dict[str, Order] = {}
        self._ended: dict[str, None] = {}  # oldest first
        self._executions: dict[str, dict[str, ExecutionView]] = {}  # by venue and its id
        self._let_pass: dict[str, set[str]] = {}  # by venue: ids of executions that are no breaks, as somebody said
        self._unresolved: set[str] = set()
        self._watches: dict[str, int] = {}  # when to ask about an order
        self._heap: list[tuple[int, str]] = []  # entries whose time is not their order's watch are stale
        self._due: list[str] = []
        self._days: dict[int, dict[str, None]] = {}  # by the end of their session: DAY orders that may execute
        self._outlived: dict[str, bool] = {}  # of these, found with the present TimeAdvanced: whether to ask it back

    def next_due(self) -> int | None:
        """When a `TimeAdvanced` is wanted, ns; None: not at all."""
        while self._heap and self._is_stale(*self._heap[0]):
            heappop(self._heap)
        found = [self._heap[0][0]] if self._heap else []
        if self._days:
            found.append(min(self._days) + self._ack_timeout_ns)
        return min(found, default=None)

    def live(self, venue: str) -> dict[str, OrderView]:
        """Orders that may execute at a venue, for reconciliation."""
        return {
            key: _view(order)
            for key, order in self.orders.items()
            if order.venue == venue and order.ord_status not in TERMINAL
        }

    def view(self, cl_ord_id: str) -> OrderView | None:
        """One order that may execute, None where it may not."""
        order = self.orders.get(cl_ord_id)
        return None if order is None or order.ord_status in TERMINAL else _view(order)

    def is_given_up(self, cl_ord_id: str) -> bool:
        """Whether nobody will learn what became of an order."""
        return cl_ord_id in self._unresolved

    def in_doubt(self, venue: str) -> list[str]:
        """Orders of a venue that may be live without its having said so."""
        return sorted(
            key for key, order in self.orders.items() if order.venue == venue and order.ord_status in _DOUBTFUL
        )

    def known(self) -> set[str]:
        """Client ids of all orders in memory."""
        return set(self.orders)

    def executions(self, venue: str) -> dict[str, ExecutionView]:
        """Executions booked of a venue, by its id, for reconciliation."""
        return self._executions.get(venue, {})

    def let_pass(self, venue: str) -> set[str]:
        """Ids of a venue's executions that one side alone has, and that are no breaks any more."""
        return self._let_pass.get(venue, set())

    def positions(self, venue: str) -> dict[str, Decimal]:
        """Signed positions at a venue that are not zero."""
        return self._book.at(venue)

    def left_behind(self, venues: Collection[str]) -> list[tuple[str, str, str]]:
        """Venue, symbol and what: what is live at venues other than these, or held where its symbol may not go."""
        live = [each for each in self.orders.values() if each.ord_status not in TERMINAL and each.venue not in venues]
        held = [(venue, symbol) for venue in self._book.venues() for symbol in self._book.at(venue)]
        strays = [(venue, symbol) for venue, symbol in held if venue not in venues or not self._may_go(symbol, venue)]
        orders = {(each.venue, each.symbol, "orders") for each in live}
        return sorted(orders | {(*stray, "a position") for stray in strays})

    def _may_go(self, symbol: str, venue: str) -> bool:
        instrument = self._instruments.get(symbol)
        return instrument is None or venue in instrument.places

    # folds

    def account(self, event: AccountOpened) -> None:
        """Start from this cash."""
        self._book.open(event)

    def move(self, event: CashMoved) -> None:
        """Cash is paid in, or out."""
        self._book.move(event)

    def adjust(self, event: PositionAdjusted) -> None:
        """Shares have become others."""
        self._book.adjust(event)

    def open(self, event: OrderApproved) -> None:
        """An order exists from its approval: recovered without a word from its venue, it is in doubt, not dead."""
        order = event.order
        self.orders[order.cl_ord_id] = Order(
            cl_ord_id=order.cl_ord_id,
            parent_id=order.parent_id,
            strategy=order.strategy,
            venue=order.venue,
            symbol=order.symbol,
            side=order.side,
            order_qty=order.order_qty,
            price=order.price,
            last_change=event.ts,
            day_end=self._day_end(order),
        )
        self._file(order.cl_ord_id)
        self._watch(order.cl_ord_id, event.not_after)

    def update(self, event: OrderUpdated) -> None:
        """Take over the status that was decided."""
        order = self.orders.get(event.cl_ord_id)
        if order is None:
            return
        changed = order.ord_status is not event.ord_status
        order.ord_status = event.ord_status
        order.order_id = event.order_id
        if changed:
            order.last_change = event.ts
            order.queries = 0
            self._watches.pop(event.cl_ord_id, None)
            if event.ord_status in _ASKED:
                self._watch(event.cl_ord_id, event.ts)
        if event.terminal:
            self._unfile(event.cl_ord_id)
            self._forget_later(event.cl_ord_id)

    def fill(self, event: FillBooked) -> None:
        """Book an execution."""
        self._book.fill(event)
        self._executions.setdefault(event.venue, {})[event.exec_id] = ExecutionView(
            exec_id=event.exec_id,
            cl_ord_id=event.cl_ord_id,
            symbol=event.symbol,
            side=event.side,
            last_qty=event.last_qty,
            last_px=event.last_px,
            fee=event.fee,
            ts=event.ts,
        )
        order = self.orders.get(event.cl_ord_id)
        if order is not None:
            order.exec_ids[event.exec_id] = None
            order.book(event.last_qty, event.last_px)

    def bust(self, event: FillBusted) -> None:
        """Take an execution back; its id stays taken by its order."""
        self._book.fill(event)
        self._executions.get(event.venue, {}).pop(event.exec_id, None)
        order = self.orders.get(event.cl_ord_id)
        if order is not None:
            order.bust(event.last_qty, event.last_px)

    def release(self, event: SymbolReleased) -> None:
        """What one side alone has executed in a symbol is no break any more: positions agree all the same."""
        for each in event.executions:
            self._let_pass.setdefault(each.venue, set()).add(each.exec_id)
            self._executions.get(each.venue, {}).pop(each.exec_id, None)

    def ask(self, event: OrderQueried) -> None:
        """Remember that the venue was asked, and when to ask again."""
        order = self.orders[event.cl_ord_id]
        order.queries = event.attempt
        self._watch(event.cl_ord_id, event.ts)

    def give_up(self, event: OrderUnresolved) -> None:
        """Stop asking; the order stays as it is."""
        self._unresolved.add(event.cl_ord_id)
        self._watches.pop(event.cl_ord_id, None)

    def cancel(self, event: OrderCancelRequest) -> None:
        """An order was asked back with the present TimeAdvanced: once is enough."""
        if event.cl_ord_id in self._outlived:
            self._outlived[event.cl_ord_id] = False

    def advance(self, event: TimeAdvanced) -> None:
        """Find the orders whose venue has been silent for too long, and those that have outlived their session."""
        self._outlived = {}
        for end in [end for end in self._days if end + self._ack_timeout_ns <= event.ts]:
            for cl_ord_id in self._days.pop(end):
                order = self.orders[cl_ord_id]
                order.day_end = None
                self._outlived[cl_ord_id] = order.ord_status is not OrdStatus.PENDING_CANCEL
        self._due = []
        while self._heap and self._heap[0][0] <= event.ts:
            due, cl_ord_id = heappop(self._heap)
            if not self._is_stale(due, cl_ord_id) and cl_ord_id not in self._due:
                self._due.append(cl_ord_id)

    # decisions

    def on_cancel_request(self, event: OrderCancelRequest) -> Iterable[Event]:
        """The request goes out: say so."""
        order = self.orders.get(event.cl_ord_id)
        if order is not None:
            yield from self._move(order, Trigger.CANCEL_REQUESTED, event.ts, event.text)

    def on_submit_result(self, event: SubmitResult) -> Iterable[Event]:
        """How the attempt to send ended."""
        order = self.orders.get(event.cl_ord_id)
        if order is None:
            yield _anomaly(event, "an answer about an order that was never sent")
            return
        trigger = OUTCOMES[event.outcome]
        yield from self._move(order, trigger, event.ts, event.text, event.order_id)

    def on_execution_report(self, event: ExecutionReport) -> Iterable[Event]:
        """What a venue says becomes facts: fills once, moves that the table allows, the rest an anomaly."""
        order = self.orders.get(event.cl_ord_id)
        if order is None:
            yield _anomaly(event, f"{event.exec_type} for an order that is not ours, order id {event.order_id or '?'}")
        elif event.venue != order.venue:  # its position would lie where nobody has it
            yield _anomaly(event, f"{event.exec_type} for an order that went to {order.venue}")
        elif event.exec_type is ExecType.TRADE:
            yield from self._on_trade(order, event)
        elif event.exec_type is ExecType.TRADE_CANCEL:
            yield from self._on_bust(order, event)
        elif (trigger := trigger_of(order, event)) is None:
            yield _anomaly(event, f"a status that no venue can state: {event.ord_status}")
        else:
            yield from self._move(order, trigger, event.ts, event.text, event.order_id)
            is_refused = event.exec_type is ExecType.CANCEL_REJECTED
            if is_refused and order.ord_status in _UNANSWERED and not order.queries:
                yield _queried(order, event.ts)

    def on_adjusted(self, event: PositionAdjusted) -> Iterable[Event]:
        """Say how every strategy's position stands now."""
        for strategy, symbol, _ in self._book.positions():
            if symbol == event.symbol:
                yield self._position(strategy, symbol, event.ts)

    def on_due(self, event: TimeAdvanced) -> Iterable[Event]:
        """Ask back what has outlived its session, ask about silent orders; give up who is in doubt for too long."""
        for cl_ord_id, is_wanted_back in self._outlived.items():
            order = self.orders[cl_ord_id]
            if order.ord_status is OrdStatus.SETTLING:
                continue  # it has ended; what it did is asked about
            text = f"a DAY order is {order.ord_status} after its session, {order.leaves_qty} open: it is asked back"
            yield Anomaly(ts=event.ts, venue=order.venue, cl_ord_id=cl_ord_id, text=text)
            if is_wanted_back:
                yield _asked_back(order, event.ts)
        for cl_ord_id in self._due:
            order = self.orders[cl_ord_id]
            if event.ts - order.last_change >= self._settings.unknown_max_age_s * NS_PER_S:
                yield OrderUnresolved(
                    ts=event.ts,
                    cl_ord_id=cl_ord_id,
                    parent_id=order.parent_id,
                    venue=order.venue,
                    symbol=order.symbol,
                    leaves_qty=order.leaves_qty,
                )
            else:
                yield _queried(order, event.ts)

    def _on_trade(self, order: Order, event: ExecutionReport) -> Iterable[Event]:
        if event.exec_id in order.exec_ids:
            return
        if not is_sound(event):
            yield _anomaly(event, f"an execution of {event.last_qty} at {event.last_px} under id {event.exec_id!r}")
            return
        if event.last_qty > order.open_qty:
            yield _anomaly(event, f"over-fill: {order.cum_qty + event.last_qty} of {order.order_qty}")
        late = order.ord_status in TERMINAL
        if late:
            yield _anomaly(event, f"an execution after the order was {order.ord_status}")
        yield FillBooked(
            ts=event.ts,
            exec_id=event.exec_id,
            cl_ord_id=order.cl_ord_id,
            parent_id=order.parent_id,
            strategy=order.strategy,
            venue=event.venue,
            symbol=order.symbol,
            side=order.side,
            last_qty=event.last_qty,
            last_px=event.last_px,
            fee=event.fee,
            multiplier=self._instruments[order.symbol].multiplier,
            late=late,
        )
        yield self._position(order.strategy, order.symbol, event.ts)
        trigger = Trigger.TRADED if order.open_qty else Trigger.COMPLETED
        yield from self._move(order, trigger, event.ts, event.text, event.order_id)

    def _on_bust(self, order: Order, event: ExecutionReport) -> Iterable[Event]:
        booked = self.executions(event.venue).get(event.exec_id)
        if booked is None:
            yield _anomaly(event, f"a bust of execution {event.exec_id!r}, which is not booked")
            return
        yield _anomaly(event, f"execution {event.exec_id} of {booked.last_qty} at {booked.last_px} was taken back")
        yield FillBusted(
            ts=event.ts,
            exec_id=event.exec_id,
            cl_ord_id=order.cl_ord_id,
            parent_id=order.parent_id,
            strategy=order.strategy,
            venue=event.venue,
            symbol=order.symbol,
            side=order.side,
            last_qty=booked.last_qty,
            last_px=booked.last_px,
            fee=booked.fee,
            multiplier=self._instruments[order.symbol].multiplier,
        )
        yield self._position(order.strategy, order.symbol, event.ts)
        yield _updated(order, order.ord_status, event.ts, event.text)  # it stands where it stood, with less done

    def _move(self, order: Order, trigger: Trigger, now: int, text: str, order_id: str = "") -> Iterable[Event]:
        status = order.after(trigger)
        if status is None:
            yield Anomaly(
                ts=now, venue=order.venue, cl_ord_id=order.cl_ord_id, text=f"{trigger} while {order.ord_status}: {text}"
            )
            return
        yield _updated(order, status, now, text, order_id)

    def _position(self, strategy: str, symbol: str, now: int) -> PositionUpdated:
        position = self._book.position(strategy, symbol)
        assert position is not None
        return PositionUpdated(
            ts=now,
            strategy=strategy,
            symbol=symbol,
            qty=position.qty,
            avg_px=position.avg_px,
            realized_pnl=position.realized_pnl,
            fees=position.fees,
            cash=self._book.cash,
        )

    # bookkeeping

    @property
    def _ack_timeout_ns(self) -> int:
        return int(self._settings.ack_timeout_s * NS_PER_S)

    def _day_end(self, order: NewOrderSingle) -> int | None:
        instrument = self._instruments.get(order.symbol)
        if instrument is None or order.time_in_force is not TimeInForce.DAY:
            return None
        session = CALENDARS[instrument.calendar].session_at(order.ts)
        return None if session is None else session.close

    def _file(self, cl_ord_id: str) -> None:
        end = self.orders[cl_ord_id].day_end
        if end is not None:
            self._days.setdefault(end, {})[cl_ord_id] = None

    def _unfile(self, cl_ord_id: str) -> None:
        end = self.orders[cl_ord_id].day_end
        if end is not None and (day := self._days.get(end)) is not None:
            day.pop(cl_ord_id, None)
            if not day:
                del self._days[end]

    def _watch(self, cl_ord_id: str, since: int) -> None:
        if cl_ord_id in self._unresolved:
            return
        order = self.orders[cl_ord_id]
        wait = min(self._ack_timeout_ns << min(order.queries, 10), QUERY_NS_MAX)
        self._watches[cl_ord_id] = since + wait
        heappush(self._heap, (since + wait, cl_ord_id))

    def _is_stale(self, due: int, cl_ord_id: str) -> bool:
        return self._watches.get(cl_ord_id) != due

    def _forget_later(self, cl_ord_id: str) -> None:
        self._ended[cl_ord_id] = None
        if len(self._ended) > KEPT_ORDERS:
            oldest = next(iter(self._ended))
            del self._ended[oldest]
            order = self.orders.pop(oldest)
            for exec_id in order.exec_ids:
                self._executions.get(order.venue, {}).pop(exec_id, None)

    # snapshots

    def dump(self) -> dict[str, object]:
        """State for a snapshot."""
        return {
            "book": self._book.dump(),
            "orders": msgspec.to_builtins(list(self.orders.values())),
            "executions": {venue: msgspec.to_builtins(list(own.values())) for venue, own in self._executions.items()},
            "let_pass": {venue: sorted(exec_ids) for venue, exec_ids in self._let_pass.items()},
            "unresolved": sorted(self._unresolved),
            "watches": dict(self._watches),
        }

    def load(self, dumped: dict[str, object]) -> None:
        """State from a snapshot, into an empty oms."""
        state = msgspec.convert(dumped, _Dump)
        self._book.load(state.book)
        self.orders = {order.cl_ord_id: order for order in state.orders}
        self._ended = {order.cl_ord_id: None for order in state.orders if order.ord_status in TERMINAL}
        self._executions = {venue: {each.exec_id: each for each in own} for venue, own in state.executions.items()}
        self._let_pass = state.let_pass
        self._unresolved = set(state.unresolved)
        self._watches = state.watches
        self._heap = [(due, cl_ord_id) for cl_ord_id, due in state.watches.items()]
        heapify(self._heap)
        for order in state.orders:
            if order.ord_status not in TERMINAL:
                self._file(order.cl_ord_id)


class _Dump(msgspec.Struct):
    book: dict[str, object]
    orders: list[Order]
    executions: dict[str, list[ExecutionView]]
    let_pass: dict[str, set[str]]
    unresolved: list[str]
    watches: dict[str, int]


def _updated(order: Order, status: OrdStatus, now: int, text: str, order_id: str = "") -> OrderUpdated:
    return OrderUpdated(
        ts=now,
        cl_ord_id=order.cl_ord_id,
        parent_id=order.parent_id,
        strategy=order.strategy,
        venue=order.venue,
        symbol=order.symbol,
        side=order.side,
        order_id=order_id or order.order_id,
        ord_status=status,
        order_qty=order.order_qty,
        cum_qty=order.cum_qty,
        leaves_qty=ZERO if status in TERMINAL else order.open_qty,
        terminal=status in TERMINAL,
        avg_px=order.avg_px,
        text=text,
    )


def _asked_back(order: Order, now: int) -> OrderCancelRequest:
    return OrderCancelRequest(
        ts=now,
        cl_ord_id=order.cl_ord_id,
        parent_id=order.parent_id,
        venue=order.venue,
        symbol=order.symbol,
        text="its session is over",
    )


def _queried(order: Order, now: int) -> OrderQueried:
    return OrderQueried(
        ts=now,
        cl_ord_id=order.cl_ord_id,
        parent_id=order.parent_id,
        venue=order.venue,
        symbol=order.symbol,
        attempt=order.queries + 1,
    )


def _view(order: Order) -> OrderView:
    return OrderView(
        cl_ord_id=order.cl_ord_id,
        order_id=order.order_id,
        symbol=order.symbol,
        side=order.side,
        order_qty=order.order_qty,
        cum_qty=order.cum_qty,
        ord_status=order.ord_status,
    )


def _anomaly(event: ExecutionReport | SubmitResult, text: str) -> Anomaly:
    return Anomaly(ts=event.ts, venue=event.venue, cl_ord_id=event.cl_ord_id, text=text)
