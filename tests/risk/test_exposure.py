"""The exposure against a bookkeeper who adds up the whole list of events each time, and the rate against a recount."""

from collections import deque
from collections.abc import Callable
from decimal import Decimal

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from core.causes import TradingState
from core.events import (
    AccountOpened,
    AccountReported,
    CashMoved,
    Event,
    FillBooked,
    FillBusted,
    FlattenRequested,
    MarketData,
    OrderApproved,
    OrderUnresolved,
    OrderUpdated,
    ParentAccepted,
    ParentAmended,
    ParentEnded,
    Reason,
    TradingHalted,
    TradingResumed,
)
from core.orders import TERMINAL, OrdStatus, Side
from core.signals import Change
from core.units import NS_PER_DAY, NS_PER_MS, NS_PER_S, ZERO
from risk.checks import Case, price_is_fresh
from risk.exposure import Exposure, Rate
from risk.reach import Span, span
from tests.builders import (
    INSTRUMENTS,
    NOW,
    accepted,
    amended,
    amendment,
    approved,
    book,
    busted,
    cancelled,
    child,
    ended,
    filled,
    fold,
    given_up,
    held,
    limits,
    moved,
    opened,
    parent,
    quote,
    reported,
    silent,
    split,
    updated,
    working,
)
from tests.risk.test_checks import ask

BUY, SELL = Side.BUY, Side.SELL
SYMBOLS = ("AAPL", "FUTR")
STRATEGIES = ("alpha", "beta")


class Slow:
    """Every question is answered from the list of all events."""

    def __init__(self, events: list[Event]) -> None:
        self.events = events

    def fills(self) -> list[FillBooked | FillBusted]:
        return [event for event in self.events if isinstance(event, FillBooked | FillBusted)]

    def signed(self, event: FillBooked | FillBusted) -> Decimal:
        direction = 1 if isinstance(event, FillBooked) else -1
        return direction * event.side.sign * event.last_qty

    def held(self, symbol: str) -> Decimal:
        return sum((self.signed(fill) for fill in self.fills() if fill.symbol == symbol), ZERO)

    def mark(self, symbol: str) -> Decimal | None:
        found = None
        for event in self.events:
            if isinstance(event, MarketData) and event.symbol == symbol and event.mid is not None:
                found = event.mid
            if isinstance(event, FillBooked) and event.symbol == symbol and found is None:
                found = event.last_px
        return found

    def marked(self) -> Decimal:
        cash = sum((event.cash for event in self.events if isinstance(event, AccountOpened)), ZERO)
        cash += sum((event.amount for event in self.events if isinstance(event, CashMoved)), ZERO)
        for fill in self.fills():
            cash -= self.signed(fill) * fill.last_px * fill.multiplier
        for symbol in SYMBOLS:
            cash += self.held(symbol) * (self.mark(symbol) or ZERO) * INSTRUMENTS[symbol].multiplier
        return cash

    def equity(self) -> Decimal:
        """By our books, less what the broker had less in each of its last two reports that state an equity."""
        missing: list[Decimal] = []
        since = 0
        for number, event in enumerate(self.events):
            if isinstance(event, CashMoved):
                since, more = event.ts, event.amount
                missing = [each if abs(each) <= abs(each + more) else each + more for each in missing]
            if isinstance(event, AccountReported) and event.equity is not None and event.as_of >= since:
                missing.append(Slow(self.events[:number]).marked() - event.equity)
        return self.marked() - (max(min(missing[-2:]), ZERO) if len(missing) > 1 else ZERO)

    def unit(self, symbol: str, price: Decimal | None) -> Decimal:
        return max(self.mark(symbol) or ZERO, price or ZERO) * INSTRUMENTS[symbol].multiplier

    def unknown(self) -> Decimal:
        """Money for what children opened or may open, that the broker's last buying power does not know of."""
        total = ZERO
        for number, event in enumerate(self.events):
            if isinstance(event, OrderApproved):
                order, then = event.order, Slow(self.events[:number])
                before = order.side.sign * then.held(order.symbol) + then.working(order.symbol, order.side)
                opening = min(order.order_qty, max(before + order.order_qty, ZERO))
                total += then.unit(order.symbol, order.price) * self.still_counts(order.cl_ord_id, number, opening)
        return total

    def still_counts(self, cl_ord_id: str, number: int, opening: Decimal) -> Decimal:
        """Shares of a child, approved as event `number`, that open and are not covered by a report since."""
        heard = False
        for event in self.events[number:]:
            if isinstance(event, OrderUpdated) and event.cl_ord_id == cl_ord_id:
                if event.terminal:
                    heard, opening = True, max(opening - max(event.order_qty - event.cum_qty, ZERO), ZERO)
                heard = heard or event.ord_status in {OrdStatus.NEW, OrdStatus.PARTIALLY_FILLED}
            if isinstance(event, AccountReported) and event.buying_power is not None and heard and event.as_of == NOW:
                return ZERO
        return opening

    def unsent(self) -> Decimal:
        """Money for what open parents are to open, and no child was sent for."""
        openings: dict[str, Decimal] = {}
        units: dict[str, Decimal] = {}
        for number, event in enumerate(self.events):
            if not isinstance(event, ParentAccepted | ParentAmended):
                continue
            then, key = Slow(self.events[:number]), event.parent_id
            order, price = (
                (event.parent, event.parent.how.price)
                if isinstance(event, ParentAccepted)
                else (event.amendment, event.amendment.price)
            )
            more = event.order_qty - (then.size(key) if key in openings else ZERO)
            before = order.side.sign * then.held(order.symbol) + then.committed(order.symbol, order.side)
            opens = min(more, max(before + more, ZERO))  # of what makes it smaller all counts as what was to open
            openings[key] = max(openings.get(key, ZERO) + opens, ZERO)
            units[key] = then.unit(order.symbol, price)
        total = ZERO
        for key in openings.keys() - self.ended() - self.stopped():
            left = max(self.size(key) - self.done(key) - self.live(key), ZERO)
            total += units[key] * min(openings[key], left)
        return total

    def size(self, parent_id: str) -> Decimal:
        """Of a parent as it was accepted, or amended last."""
        sizes = [
            event.order_qty
            for event in self.events
            if isinstance(event, ParentAccepted | ParentAmended) and event.parent_id == parent_id
        ]
        return sizes[-1]

    def leaves(self, order: OrderApproved) -> Decimal:
        """What may still execute of a child: all that was not, until its end."""
        mine = [event for event in self.events if getattr(event, "cl_ord_id", "") == order.cl_ord_id]
        if any(isinstance(event, OrderUpdated) and event.terminal for event in mine):
            return ZERO
        done = sum((event.last_qty for event in mine if isinstance(event, FillBooked)), ZERO)
        return max(order.order.order_qty - done, ZERO)

    def children(self) -> list[OrderApproved]:
        return [event for event in self.events if isinstance(event, OrderApproved)]

    def working(self, symbol: str, side: Side) -> Decimal:
        ours = [order for order in self.children() if (order.order.symbol, order.order.side) == (symbol, side)]
        return sum((self.leaves(order) for order in ours), ZERO)

    def standing(self, cl_ord_id: str) -> str:
        """`known`, `in doubt`, or `out of the way`: it has ended at the venue, or nobody can account for it."""
        status, lost = OrdStatus.PENDING_SUBMIT, False
        for event in self.events:
            if isinstance(event, OrderUpdated) and event.cl_ord_id == cl_ord_id:
                status, lost = event.ord_status, lost and event.ord_status is OrdStatus.UNKNOWN
            elif isinstance(event, OrderUnresolved) and event.cl_ord_id == cl_ord_id:
                lost = True
        if lost or status is OrdStatus.SETTLING:
            return "out of the way"
        return "in doubt" if status is OrdStatus.UNKNOWN else "known"

    def resting(self, symbol: str, side: Side, standing: str) -> tuple[str, Decimal | None] | None:
        """The most aggressive of what may execute and stands so; in doubt, what has no price does not rest."""
        ours = [
            (order.cl_ord_id, order.order.price)
            for order in self.children()
            if (order.order.symbol, order.order.side) == (symbol, side)
            and self.leaves(order)
            and self.standing(order.cl_ord_id) == standing
            and (order.order.price is not None or standing == "known")
        ]
        return min(ours, key=lambda each: (-side.sign * (each[1] or side.sign * 10_000), each[0]), default=None)

    def ended(self) -> set[str]:
        return {event.parent_id for event in self.events if isinstance(event, ParentEnded)}

    def stopped(self) -> set[str]:
        """Parents that were there when their symbol was to be flat."""
        found: set[str] = set()
        there: dict[str, str] = {}
        for event in self.events:
            if isinstance(event, ParentAccepted):
                there[event.parent_id] = event.parent.symbol
            elif isinstance(event, FlattenRequested):
                found |= {parent_id for parent_id, symbol in there.items() if event.symbol in {"", symbol}}
        return found

    def coming_back(self, symbol: str) -> Decimal:
        """What children of stopped parents may still execute."""
        ours = {order.parent_id for order in self.children() if order.order.symbol == symbol}
        return sum((self.live(parent_id) for parent_id in ours & self.stopped() - self.ended()), ZERO)

    def committed(self, symbol: str, side: Side) -> Decimal:
        """What open parents have not executed, or what is live if that is more; what children of other ones may."""
        total = ZERO
        for event in self.events:
            if isinstance(event, ParentAccepted) and (event.parent.symbol, event.parent.side) == (symbol, side):
                if event.parent_id in self.ended() | self.stopped():
                    total += self.live(event.parent_id)
                else:
                    total += max(self.size(event.parent_id) - self.done(event.parent_id), self.live(event.parent_id))
        return total

    def expected(self, strategy: str, symbol: str) -> Decimal:
        """What a strategy holds, and what is still to come for it."""
        mine = self.of(strategy)
        return mine.held(symbol) + mine.committed(symbol, BUY) - mine.committed(symbol, SELL)

    def of(self, strategy: str) -> "Slow":
        """As if nobody else traded."""
        return Slow([event for event in self.events if strategy_of(event) in {strategy, None}])

    def live(self, parent_id: str) -> Decimal:
        return sum((self.leaves(order) for order in self.children() if order.parent_id == parent_id), ZERO)

    def done(self, parent_id: str) -> Decimal:
        mine = [fill for fill in self.fills() if fill.parent_id == parent_id]
        return sum((fill.last_qty * (1 if isinstance(fill, FillBooked) else -1) for fill in mine), ZERO)


def strategy_of(event: Event) -> str | None:
    """Whose event it is, None for what concerns everybody."""
    if isinstance(event, ParentAccepted):
        return event.parent.strategy
    return event.order.strategy if isinstance(event, OrderApproved) else getattr(event, "strategy", None)


class World:
    """Makes sequences that can happen from a list of dice."""

    def __init__(self, dice: list[int]) -> None:
        self.dice = deque(dice)
        self.events: list[Event] = [opened()]
        self.orders: list[OrderApproved] = []
        self.count = 0

    def roll(self, sides: int) -> int:
        return self.dice.popleft() % sides if self.dice else 0

    def play(self) -> list[Event]:
        of_children = (self.send, self.acknowledge, self.fill, self.bust, self.end_child, self.cancel, self.give_up)
        moves = (
            *(self.quote, self.open, self.amend, *of_children),
            *(self.end, self.flatten, self.halt, self.report, self.move),
        )
        while self.dice:
            moves[self.roll(len(moves))]()
        return self.events

    def name(self, kind: str) -> str:
        self.count += 1
        return f"{kind}{self.count}"

    def quote(self) -> None:
        bid = Decimal(90 + self.roll(20)) + Decimal("0.01") * self.roll(100)
        sides = [(str(bid), str(bid + 1)), (str(bid), None), (None, None), (str(bid + 1), str(bid))][self.roll(4)]
        last = None if self.roll(2) else "100.5"
        self.events.append(quote(SYMBOLS[self.roll(2)], *sides, last=last))

    def report(self) -> None:
        equity = (None, Slow(self.events).marked() + self.roll(2_000) - 1_000)[self.roll(4) > 0]
        buying_power = (None, Decimal(self.roll(10_000)))[self.roll(4) > 0]
        as_of = NOW - self.roll(2)  # asked for before anything happened: it covers nothing
        self.events.append(reported(equity, buying_power=buying_power, as_of=as_of))

    def move(self) -> None:
        self.events.append(moved(str(self.roll(2_000) - 1_000)))

    def open(self) -> None:
        symbol, side = SYMBOLS[self.roll(2)], (BUY, SELL)[self.roll(2)]
        strategy = STRATEGIES[self.roll(2)]
        wanted = parent(symbol, side, str(1 + self.roll(50)), parent_id=self.name("P"), strategy=strategy)
        wanted = msgspec.structs.replace(wanted, valid_until=(None, NOW + NS_PER_S)[self.roll(2)])
        self.events.append(accepted(wanted, wanted.order_qty - (self.roll(2) and wanted.order_qty - 1)))

    def live(self) -> list[ParentAccepted]:
        over = Slow(self.events).ended()
        return [e for e in self.events if isinstance(e, ParentAccepted) and e.parent_id not in over]

    def amend(self) -> None:
        open_parents = self.live()
        if not open_parents:
            return
        order, slow = open_parents[self.roll(len(open_parents))].parent, Slow(self.events)
        least = slow.done(order.parent_id) + slow.live(order.parent_id)
        qty = max(Decimal(1 + self.roll(80)), least)
        price = (None, Decimal(99), Decimal(150))[self.roll(3)]
        asked = amendment(order, Change(qty=qty, price=price))
        self.events.append(amended(asked, qty, max(qty - slow.size(order.parent_id), ZERO)))

    def send(self) -> None:
        open_parents = self.live()
        if not open_parents:
            return
        owner = open_parents[self.roll(len(open_parents))]
        order = child(
            owner.parent.symbol,
            owner.parent.side,
            str(1 + self.roll(int(owner.order_qty))),
            parent_id=owner.parent_id,
            strategy=owner.parent.strategy,
            cl_ord_id=self.name("C"),
            price=(None, Decimal(99), Decimal(100), Decimal(101))[self.roll(4)],
        )
        self.events.append(approved(order))
        self.orders.append(approved(order))

    def fill(self) -> None:
        if not self.orders:
            return
        order = self.orders[self.roll(len(self.orders))].order  # a dead one too: then it is late
        qty = 1 + self.roll(int(order.order_qty) + 2)  # too much too: a venue may over-fill
        self.events.append(filled(order, str(qty), str(95 + self.roll(10)), exec_id=self.name("E")))
        self.say(order.cl_ord_id, OrdStatus.PARTIALLY_FILLED)

    def acknowledge(self) -> None:
        if self.orders:
            self.say(self.orders[self.roll(len(self.orders))].cl_ord_id, OrdStatus.NEW)

    def bust(self) -> None:
        fills = [e for e in self.events if isinstance(e, FillBooked)]
        taken = {e.exec_id for e in self.events if isinstance(e, FillBusted)}
        fills = [e for e in fills if e.exec_id not in taken]
        if fills:
            self.events.append(busted(fills[self.roll(len(fills))]))

    def end_child(self) -> None:
        if self.orders:
            order = self.orders[self.roll(len(self.orders))]
            self.say(order.cl_ord_id, sorted(TERMINAL)[self.roll(len(TERMINAL))])

    def cancel(self) -> None:
        if self.orders:
            self.events.append(cancelled(self.orders[self.roll(len(self.orders))].order))

    def give_up(self) -> None:
        if self.orders:
            self.events.append(given_up(self.orders[self.roll(len(self.orders))].order))

    def say(self, cl_ord_id: str, status: OrdStatus) -> None:
        order = next(order for order in self.orders if order.cl_ord_id == cl_ord_id)
        leaves = Slow(self.events).leaves(order)
        if status in TERMINAL or leaves:
            self.events.append(updated(order.order, status, order.order.order_qty - leaves))

    def end(self) -> None:
        slow = Slow(self.events)
        for event in list(self.events):
            if isinstance(event, ParentAccepted) and event.parent_id not in slow.ended() and self.roll(2):
                self.events.append(ended(event.parent))
                return

    def flatten(self) -> None:
        symbol = ("", *SYMBOLS)[self.roll(3)]
        self.events.append(FlattenRequested(ts=NOW, request_id=self.name("F"), by="ann", symbol=symbol))

    def halt(self) -> None:
        cause = ("drill", "loss")[self.roll(2)]
        if self.roll(2):
            self.events.append(
                TradingHalted(ts=NOW, cause=cause, state=(TradingState.HALTED, TradingState.REDUCING)[self.roll(2)])
            )
        else:
            self.events.append(TradingResumed(ts=NOW, cause=cause))


HISTORIES = st.lists(st.integers(0, 10_000), min_size=20, max_size=300).map(lambda dice: World(dice).play())


def reserved(exposure: Exposure, symbol: str = "AAPL", side: Side = BUY) -> str:
    """Working and committed."""
    return f"{exposure.working(symbol, side)} {exposure.committed(symbol, side)}"


def reach_of(slow: Slow, reserved: Callable[[str, Side], Decimal]) -> dict[str, Span]:
    """Every symbol's span, added up from nothing."""
    spans = {}
    for symbol in SYMBOLS:
        held, mark = slow.held(symbol), slow.mark(symbol)
        ends = held + reserved(symbol, BUY), held - reserved(symbol, SELL)
        if mark is not None and any(ends):
            spans[symbol] = span(*(INSTRUMENTS[symbol].notional(qty, mark) for qty in ends))
    return spans


def assert_same(exposure: Exposure, slow: Slow) -> None:
    assert (exposure.marked, exposure.equity) == (slow.marked(), slow.equity())
    assert exposure.reserved(of_parents=False) == slow.unknown()
    assert exposure.reserved(of_parents=True) == slow.unknown() + slow.unsent()
    for of_parents, reserved in ((True, slow.committed), (False, slow.working)):
        reach, spans = exposure.reach(of_parents=of_parents), reach_of(slow, reserved)
        assert reach.spans == spans
        assert reach.gross == sum(span.worst for span in spans.values())
        assert (reach.longest, reach.shortest) == (
            sum(span.longest for span in spans.values()),
            sum(span.shortest for span in spans.values()),
        )
        for sector in {instrument.sector for instrument in INSTRUMENTS}:
            members = [span.worst for symbol, span in spans.items() if INSTRUMENTS[symbol].sector == sector]
            assert reach.sectors.get(sector, ZERO) == sum(members)
    for symbol in SYMBOLS:
        assert exposure.mark(symbol) == slow.mark(symbol)
        assert exposure.held(symbol) == slow.held(symbol)
        assert exposure.coming_back(symbol) == slow.coming_back(symbol)
        for strategy in STRATEGIES:
            assert exposure.expected(strategy, symbol) == slow.expected(strategy, symbol)
            own = slow.of(strategy)
            assert exposure.own_held(strategy, symbol) == own.held(symbol)
            for side in Side:
                assert exposure.own_working(strategy, symbol, side) == own.working(symbol, side)
                assert exposure.own_committed(strategy, symbol, side) == own.committed(symbol, side)
        for side in Side:
            assert exposure.working(symbol, side) == slow.working(symbol, side)
            assert exposure.committed(symbol, side) == slow.committed(symbol, side)
            place = (symbol, side)
            assert exposure.resting.best(place) == slow.resting(symbol, side, "known")
            assert exposure.in_doubt.best(place) == slow.resting(symbol, side, "in doubt")
    for parent_id, entry in exposure.parents.items():
        assert (entry.cum_qty, entry.live_qty) == (slow.done(parent_id), slow.live(parent_id))


@given(HISTORIES)
def test_after_every_event_it_agrees_with_adding_everything_up(events: list[Event]) -> None:
    exposure = silent()
    for count, event in enumerate(events, start=1):
        fold(exposure, event)
        assert_same(exposure, Slow(events[:count]))


@given(HISTORIES, st.integers(0, 120))
def test_a_snapshot_continues_as_if_nothing_had_happened(events: list[Event], cut: int) -> None:
    straight, first, second = (silent() for _ in range(3))
    fold(straight, *events)
    fold(first, *events[:cut])
    second.load(msgspec.json.decode(msgspec.json.encode(first.dump())))
    assert second.dump() == first.dump()
    fold(second, *events[cut:])
    assert second.dump() == straight.dump()
    assert second.equity == straight.equity
    assert second.market == straight.market
    assert second.causes.state == straight.causes.state
    for of_parents in (True, False):
        assert second.reserved(of_parents=of_parents) == straight.reserved(of_parents=of_parents)
        assert second.reach(of_parents=of_parents).spans == straight.reach(of_parents=of_parents).spans
        assert second.reach(of_parents=of_parents).gross == straight.reach(of_parents=of_parents).gross
    for symbol in SYMBOLS:
        for strategy in STRATEGIES:
            assert second.expected(strategy, symbol) == straight.expected(strategy, symbol)
            for side in Side:
                assert second.own_working(strategy, symbol, side) == straight.own_working(strategy, symbol, side)
        for side in Side:
            assert second.working(symbol, side) == straight.working(symbol, side)
            assert second.committed(symbol, side) == straight.committed(symbol, side)
            place = (symbol, side)
            assert second.resting.best(place) == straight.resting.best(place)


# The moments that matter ----------------------------------------------------------------------------------------------


def test_an_approval_reserves_at_once_and_a_fill_moves_from_reserved_to_held() -> None:
    order = child(qty="100")
    exposure = book(accepted(parent(qty="100")), approved(order))
    assert reserved(exposure) == "100 100"
    fold(exposure, filled(order, "30"))
    assert exposure.held("AAPL") == 30
    assert reserved(exposure) == "70 70"


def test_an_unknown_order_keeps_its_quantity_and_a_proof_of_death_frees_it() -> None:
    order = child(qty="100")
    exposure = book(accepted(parent(qty="100")), approved(order), updated(order, OrdStatus.UNKNOWN))
    assert exposure.working("AAPL", BUY) == 100
    fold(exposure, updated(order, OrdStatus.NOT_SENT))
    assert exposure.working("AAPL", BUY) == 0
    assert exposure.parents["P1"].live_qty == 0


def test_a_child_that_outlives_its_parent_stays_reserved_for_children_and_for_parents() -> None:
    order = child(qty="60")
    exposure = book(accepted(parent(qty="100")), approved(order), ended(parent(qty="100")))
    assert reserved(exposure) == "60 60"
    fold(exposure, filled(order, "20"))
    assert reserved(exposure) == "40 40"
    fold(exposure, updated(order, OrdStatus.CANCELED, Decimal(20)))
    assert reserved(exposure) == "0 0"


def test_an_order_that_was_given_up_and_is_heard_of_after_all_stands_in_the_way_again() -> None:
    order = child(qty="100")
    exposure = book(accepted(parent(qty="100")), approved(order), updated(order, OrdStatus.NEW), given_up(order))
    place = ("AAPL", BUY)
    assert exposure.resting.best(place) is None
    fold(exposure, updated(order, OrdStatus.NEW))
    assert exposure.resting.best(place) == ("P1C1A1", Decimal(100))


def test_the_quantity_of_a_busted_execution_is_not_worked_again_by_its_child() -> None:
    order = child(qty="100")
    fill = filled(order, "40")
    exposure = book(accepted(parent(qty="100")), approved(order), fill, busted(fill))
    assert exposure.held("AAPL") == 0
    assert reserved(exposure) == "60 100"


def test_positions_and_reservations_of_symbols_do_not_mix() -> None:
    exposure = book(held("FUTR", 3), *working("SHRT", SELL, 5))
    assert exposure.held("AAPL") == exposure.working("AAPL", SELL) == exposure.working("SHRT", BUY) == 0
    assert exposure.working("SHRT", SELL) == 5
    assert exposure.equity == 100_000  # bought at the mark


def test_a_fill_without_a_market_is_worth_what_it_cost() -> None:
    exposure = fold(silent(), opened("1000"), held("AAPL", 5))
    assert exposure.equity == 1000
    assert exposure.mark("AAPL") == 100


def test_strategies_that_come_and_go_leave_nothing_behind() -> None:
    exposure = silent()
    fold(exposure, opened(), quote())
    for number in range(50):
        ts, name = NOW + number * NS_PER_DAY, f"S{number}"
        order = parent(ts=ts, strategy=name, parent_id=name)
        sent = child(ts=ts, strategy=name, parent_id=name, cl_ord_id=f"{name}C1A1", qty="1")
        fold(exposure, accepted(order), approved(sent), updated(sent, OrdStatus.CANCELED, ts=ts), ended(order))
    assert list(exposure.newest) == [("S48", "AAPL"), ("S49", "AAPL")]
    assert exposure._coming == exposure._sent == {}
    assert not exposure._owners


def test_a_price_ten_times_as_high_lifts_no_limit_before_it_has_stood() -> None:
    exposure = book(held("AAPL", 500))
    before = exposure.base(NOW)
    fold(exposure, quote("AAPL", "999.99", "1000.01", ts=NOW + 1))
    assert exposure.equity > 5 * before
    assert exposure.base(NOW + 1) == exposure.base(NOW + 3 * NS_PER_S) == before
    fold(exposure, quote("AAPL", ts=NOW + NS_PER_S))
    assert exposure.base(NOW + NS_PER_S) == before
    fold(exposure, quote("AAPL", "49.99", "50.01", ts=NOW + NS_PER_S))  # what falls counts at once
    assert exposure.base(NOW + NS_PER_S) == exposure.equity < before


def test_one_report_that_shows_less_is_enough_to_size_and_judge_by() -> None:
    exposure = book(held("AAPL", 500))
    fold(exposure, reported(str(exposure.equity - 1_000)))
    assert exposure.base(NOW) == exposure.equity - 1_000
    fold(exposure, moved("100000000", ts=NOW + 1))
    assert exposure.base(NOW + 1) < exposure.equity / 100


@pytest.mark.parametrize("price", ["0", "-5", "1e12", "1e40", "Infinity"])
def test_a_price_that_nobody_can_trade_at_marks_nothing_and_leaves_nothing_behind(price: str) -> None:
    exposure, gone = book(held("AAPL", 500)), quote("AAPL", price, price)
    fold(exposure, gone)
    assert (exposure.mark("AAPL"), exposure.equity) == (Decimal(100), Decimal(100_000))
    assert exposure.market["AAPL"] == gone  # the gate sees it, and says so
    fold(exposure, quote("AAPL", "109", "111"))
    assert exposure.equity == 105_000


def test_before_its_first_price_that_can_be_traded_at_a_symbol_has_no_mark() -> None:
    assert fold(silent(), opened(), quote("AAPL", "0", "0")).mark("AAPL") is None


def test_a_position_in_a_symbol_that_is_no_instrument_any_more_is_still_worth_its_mark() -> None:
    stranger = msgspec.structs.replace(held("AAPL", 5), symbol="GONE")
    exposure = fold(silent(), opened("1000"), stranger, quote("GONE", "109", "111"))
    assert exposure.equity == 1050


RATIOS = st.sampled_from([(4, 1), (1, 2), (5, 4), (1, 10), (3, 2), (1, 7)])


@given(lots=st.integers(-500, 500), cents=st.integers(1, 40_000), ratio=RATIOS, quoted=st.booleans())
def test_a_split_moves_no_equity_until_the_market_has_priced_the_new_share(
    lots: int, cents: int, ratio: tuple[int, int], *, quoted: bool
) -> None:
    numerator, denominator = ratio
    price, qty = Decimal(cents) / 100, lots * denominator
    quotes = [quote("SHRT", str(price), str(price))] if quoted else []
    exposure = fold(silent(), opened(), quote("AAPL"), held("AAPL", 3), *quotes, held("SHRT", qty))
    before, mark = exposure.equity, exposure.mark("SHRT")
    fold(exposure, split("SHRT", numerator, denominator))
    assert mark is not None
    assert exposure.held("SHRT") == qty * numerator / denominator
    assert abs(exposure.equity - before) < Decimal("1e-15")
    if not mark * denominator % numerator:
        assert exposure.equity == before
    assert "SHRT" not in exposure.market
    assert exposure.held("AAPL") == 3
    twin = silent()
    twin.load(msgspec.json.decode(msgspec.json.encode(exposure.dump())))
    later = quote("SHRT", str(price), str(price))
    for each in (exposure, twin):
        fold(each, later)
    worth = exposure.held("SHRT") * price + 3 * Decimal(100)
    assert exposure.equity == twin.equity == exposure.book.cash + worth


def test_after_a_split_nothing_is_sent_before_a_quote() -> None:
    exposure = book(held("AAPL", 100), split("AAPL", 4, 1))
    assert (exposure.mark("AAPL"), exposure.held("AAPL")) == (Decimal(25), Decimal(400))
    denial = price_is_fresh(Case(ask(), exposure), limits())
    assert denial is not None
    assert denial.reason is Reason.NO_PRICE


# The rate -------------------------------------------------------------------------------------------------------------

PER_S = st.sampled_from([1, 2, 3, 7, 50])
# Steps of time in parts of a second that make events meet, repeat, and lie exactly a second apart.
PARTS = 20
FORWARD = st.lists(st.integers(0, PARTS + 1), max_size=150)
BACK_AND_FORTH = st.lists(st.integers(-PARTS, PARTS + 1), max_size=150)


def tries(per_s: int, steps: list[int]) -> list[tuple[int, list[int], bool]]:
    """A sender who tries to send at each moment: when, what had passed before, and whether it was let through."""
    rate, now, done, tried = Rate(), NOW, list[int](), []
    for step in steps:
        now += step * NS_PER_S // PARTS // (1 + per_s // 10)
        has_room = rate.has_room(now, per_s)
        tried.append((now, list(done), has_room))
        if has_room:
            rate.take(now, per_s)
            done.append(now)
    return tried


@given(PER_S, FORWARD)
def test_there_is_room_exactly_where_fewer_than_the_rate_passed_in_the_second_before(
    per_s: int, steps: list[int]
) -> None:
    for now, done, has_room in tries(per_s, steps):
        assert has_room == (sum(now - NS_PER_S < ts <= now for ts in done) < per_s)


@given(PER_S, BACK_AND_FORTH)
def test_no_second_holds_more_than_the_rate_even_where_time_goes_back(per_s: int, steps: list[int]) -> None:
    times = [now for now, _, has_room in tries(per_s, steps) if has_room]
    for since in times:
        assert sum(since <= ts < since + NS_PER_S for ts in times) <= per_s


@given(PER_S, st.lists(st.tuples(st.integers(0, PARTS + 1), st.booleans()), max_size=150))
def test_what_is_taken_without_room_leaves_less_of_it(per_s: int, steps: list[tuple[int, bool]]) -> None:
    rate, now, done = Rate(), NOW, list[int]()
    for step, is_forced in steps:
        now += step * NS_PER_S // PARTS // (1 + per_s // 10)
        has_room = rate.has_room(now, per_s)
        recent = sum(now - NS_PER_S < ts for ts in done)
        assert has_room == (recent < per_s)
        assert rate.use(now, per_s) == recent / per_s
        if has_room or is_forced:
            rate.take(now, per_s)
            done.append(now)


def test_a_burst_fills_the_second_to_its_last_nanosecond() -> None:
    rate = Rate()
    for _ in range(50):
        assert rate.has_room(NOW, 50)
        rate.take(NOW, 50)
    assert not rate.has_room(NOW, 50)
    assert not rate.has_room(NOW + NS_PER_S - 1, 50)
    assert rate.has_room(NOW + NS_PER_S, 50)


@given(PER_S, FORWARD)
def test_a_snapshot_of_a_rate_goes_on_where_it_was(per_s: int, steps: list[int]) -> None:
    first, second = Rate(), Rate()
    for now, _, has_room in tries(per_s, steps):
        if has_room:
            first.take(now, per_s)
        second = Rate()
        second.load(msgspec.json.decode(msgspec.json.encode(first.dump())))
        for later in (now, now + NS_PER_S // 2, now + NS_PER_S):
            assert second.has_room(later, per_s) == first.has_room(later, per_s)
    assert second.dump() == first.dump()


@given(st.lists(st.tuples(PER_S, st.integers(0, 5), st.integers(0, 30)), max_size=8))
def test_a_rate_that_changes_counts_what_passed_under_the_one_before(spells: list[tuple[int, int, int]]) -> None:
    rate, now, done = Rate(), NOW, list[int]()
    for per_s, step, times in spells:
        for _ in range(times):
            now += step * NS_PER_S // PARTS
            of_the_second = sum(now - NS_PER_S < ts for ts in done)
            has_room = rate.has_room(now, per_s)
            assert has_room == (of_the_second < per_s)
            assert rate.use(now, per_s) == of_the_second / per_s
            if has_room:
                rate.take(now, per_s)
                done.append(now)
                assert len(rate.dump()) <= per_s


def test_under_a_lower_rate_a_snapshot_counts_its_newest_times() -> None:
    rate = Rate()
    rate.load([NOW, NOW + 1, NOW + 2])
    assert not rate.has_room(NOW + NS_PER_S, 2)
    assert rate.has_room(NOW + NS_PER_S + 1, 2)


@example(3, [(1_000, True), (-1_000, False), (0, False), (1_001, True), (0, True), (0, False)])
@given(
    st.integers(1, 6),
    st.lists(st.tuples(st.sampled_from([-700, -1, 0, 1, 400, 999, 1_000]), st.booleans()), max_size=40),
)
def test_what_opens_and_what_shrinks_share_a_rate_even_where_time_goes_back(
    per_s: int, steps: list[tuple[int, bool]]
) -> None:
    exposure, now, sent = book(accepted(parent(qty="1000")), orders_per_s=per_s), NOW, list[int]()
    for number, (ms, opening) in enumerate(steps):
        now += ms * NS_PER_MS
        if exposure.has_room("paper", now, per_s, opening=opening):
            fold(exposure, approved(child(qty="1", cl_ord_id=f"P1C{number}A1", ts=now)))
            sent.append(now)
    assert all(sum(ts <= other < ts + NS_PER_S for other in sent) <= per_s for ts in sent)


def test_asking_for_room_changes_nothing() -> None:
    orders = [approved(child(qty="1", cl_ord_id=f"P1C{i}A1")) for i in range(2)]
    exposure = book(accepted(parent(qty="1000")), *orders, orders_per_s=2)
    before = exposure.dump()
    for venue, now, has_room in (("paper", NOW, False), ("paper", NOW + NS_PER_S, True), ("unseen", NOW, True)) * 2:
        assert exposure.has_room(venue, now, 2, opening=False) is has_room
    assert exposure.dump() == before
