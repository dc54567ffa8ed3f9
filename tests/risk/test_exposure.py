"""The exposure against a bookkeeper who adds up the whole list of events each time, and the rate's true bound."""

from collections import deque
from decimal import Decimal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.events import (
    AccountOpened,
    Event,
    FillBooked,
    FillBusted,
    MarketData,
    OrderApproved,
    OrderUpdated,
    ParentAccepted,
    ParentEnded,
    TradingHalted,
    TradingResumed,
)
from core.orders import TERMINAL, OrdStatus, Side
from core.units import NS_PER_S, ZERO
from risk.exposure import Exposure, Rate
from tests.builders import (
    INSTRUMENTS,
    NOW,
    accepted,
    approved,
    book,
    busted,
    child,
    ended,
    filled,
    fold,
    held,
    opened,
    parent,
    quote,
    updated,
    working,
)

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

    def equity(self) -> Decimal:
        cash = sum((event.cash for event in self.events if isinstance(event, AccountOpened)), ZERO)
        for fill in self.fills():
            cash -= self.signed(fill) * fill.last_px * fill.multiplier
        for symbol in SYMBOLS:
            cash += self.held(symbol) * (self.mark(symbol) or ZERO) * INSTRUMENTS[symbol].multiplier
        return cash

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

    def ended(self) -> set[str]:
        return {event.parent_id for event in self.events if isinstance(event, ParentEnded)}

    def committed(self, symbol: str, side: Side) -> Decimal:
        """What open parents have not executed, and what children of ended ones may."""
        total = ZERO
        for event in self.events:
            if isinstance(event, ParentAccepted) and (event.parent.symbol, event.parent.side) == (symbol, side):
                if event.parent_id in self.ended():
                    total += self.live(event.parent_id)
                else:
                    total += max(event.order_qty - self.done(event.parent_id), ZERO)
        return total

    def expected(self, strategy: str, symbol: str) -> Decimal:
        """What a strategy holds, and what is still to come for it."""
        mine = Slow([event for event in self.events if strategy_of(event) in {strategy, None}])
        return mine.held(symbol) + mine.committed(symbol, BUY) - mine.committed(symbol, SELL)

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
        moves = (self.quote, self.open, self.send, self.fill, self.bust, self.end_child, self.end, self.halt)
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

    def open(self) -> None:
        symbol, side = SYMBOLS[self.roll(2)], (BUY, SELL)[self.roll(2)]
        strategy = STRATEGIES[self.roll(2)]
        wanted = parent(symbol, side, str(1 + self.roll(50)), parent_id=self.name("P"), strategy=strategy)
        self.events.append(accepted(wanted, wanted.order_qty - (self.roll(2) and wanted.order_qty - 1)))

    def send(self) -> None:
        slow = Slow(self.events)
        open_parents = [e for e in self.events if isinstance(e, ParentAccepted) and e.parent_id not in slow.ended()]
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

    def halt(self) -> None:
        cause = ("drill", "loss")[self.roll(2)]
        if self.roll(2):
            self.events.append(TradingHalted(ts=NOW, cause=cause, state=("HALTED", "REDUCING")[self.roll(2)]))
        else:
            self.events.append(TradingResumed(ts=NOW, cause=cause))


HISTORIES = st.lists(st.integers(0, 10_000), min_size=20, max_size=300).map(lambda dice: World(dice).play())


def reserved(exposure: Exposure, symbol: str = "AAPL", side: Side = BUY) -> str:
    """Working and committed."""
    return f"{exposure.working(symbol, side)} {exposure.committed(symbol, side)}"


def assert_same(exposure: Exposure, slow: Slow) -> None:
    assert exposure.equity == slow.equity()
    for symbol in SYMBOLS:
        assert exposure.mark(symbol) == slow.mark(symbol)
        assert exposure.held(symbol) == slow.held(symbol)
        for strategy in STRATEGIES:
            assert exposure.expected(strategy, symbol) == slow.expected(strategy, symbol)
        for side in Side:
            assert exposure.working(symbol, side) == slow.working(symbol, side)
            assert exposure.committed(symbol, side) == slow.committed(symbol, side)
    for parent_id, entry in exposure.parents.items():
        assert (entry.cum_qty, entry.live_qty) == (slow.done(parent_id), slow.live(parent_id))


@given(HISTORIES)
def test_after_every_event_it_agrees_with_adding_everything_up(events: list[Event]) -> None:
    exposure = Exposure(INSTRUMENTS, 50)
    for count, event in enumerate(events, start=1):
        fold(exposure, event)
        assert_same(exposure, Slow(events[:count]))


@given(HISTORIES, st.integers(0, 120))
def test_a_snapshot_continues_as_if_nothing_had_happened(events: list[Event], cut: int) -> None:
    straight, first, second = (Exposure(INSTRUMENTS, 50) for _ in range(3))
    fold(straight, *events)
    fold(first, *events[:cut])
    second.load(msgspec.json.decode(msgspec.json.encode(first.dump())))
    assert second.dump() == first.dump()
    fold(second, *events[cut:])
    assert second.dump() == straight.dump()
    assert second.equity == straight.equity
    assert second.market == straight.market
    assert second.causes.state == straight.causes.state
    for symbol in SYMBOLS:
        for strategy in STRATEGIES:
            assert second.expected(strategy, symbol) == straight.expected(strategy, symbol)
        for side in Side:
            assert second.working(symbol, side) == straight.working(symbol, side)
            assert second.committed(symbol, side) == straight.committed(symbol, side)


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
    exposure = fold(Exposure(INSTRUMENTS, 50), opened("1000"), held("AAPL", 5))
    assert exposure.equity == 1000
    assert exposure.mark("AAPL") == 100


def test_a_position_in_a_symbol_that_is_no_instrument_any_more_is_still_worth_its_mark() -> None:
    stranger = msgspec.structs.replace(held("AAPL", 5), symbol="GONE")
    exposure = fold(Exposure(INSTRUMENTS, 50), opened("1000"), stranger, quote("GONE", "109", "111"))
    assert exposure.equity == 1050


# The rate -------------------------------------------------------------------------------------------------------------

PER_S = st.sampled_from([1, 2, 3, 7, 50, 64])
STEPS = st.lists(st.integers(0, NS_PER_S), max_size=150)


def passed(per_s: int, steps: list[int]) -> list[int]:
    """The times at which a greedy sender was let through, who tries until refused at each moment."""
    rate, now, times = Rate(), NOW, []
    for step in steps:
        now += step // per_s
        while rate.left(now, per_s) > 0:
            rate.take(now, per_s)
            times.append(now)
    return times


@given(PER_S, STEPS)
def test_in_any_second_no_more_pass_than_a_full_bucket_and_a_refill(per_s: int, steps: list[int]) -> None:
    times = passed(per_s, steps)
    for i, since in enumerate(times):
        in_window = sum(1 for ts in times[i:] if ts - since <= NS_PER_S)
        assert in_window <= 2 * per_s


@given(PER_S, STEPS)
def test_over_any_time_no_more_pass_than_a_bucket_and_the_rate(per_s: int, steps: list[int]) -> None:
    times = passed(per_s, steps)
    grain = NS_PER_S // per_s
    for i, since in enumerate(times):
        for count, ts in enumerate(times[i:], start=1):
            assert (count - 1) * grain < NS_PER_S + (ts - since)


def test_a_burst_then_a_full_refill_reaches_the_bound() -> None:
    assert len(passed(50, [0, NS_PER_S * 50])) == 100


@pytest.mark.parametrize("per_s", [1, 3, 7, 50])
def test_a_full_bucket_holds_the_rate_and_is_full_again_after_a_second(per_s: int) -> None:
    rate = Rate()
    for left in range(per_s, 0, -1):
        assert rate.left(NOW, per_s) == left
        rate.take(NOW, per_s)
    assert rate.left(NOW, per_s) == 0
    assert rate.left(NOW + NS_PER_S // per_s - per_s, per_s) == 0
    assert rate.left(NOW + NS_PER_S // per_s + 1, per_s) == 1
    assert rate.left(NOW + NS_PER_S, per_s) == per_s


def test_an_event_with_an_older_time_does_not_refill_the_bucket_twice() -> None:
    rate = Rate()
    for _ in range(10):
        rate.take(NOW, 10)
    rate.take(NOW - NS_PER_S, 10)
    assert rate.left(NOW, 10) == 0


def test_asking_how_many_orders_are_left_changes_nothing() -> None:
    exposure = book(accepted(parent(qty="1000")), approved(child(qty="1")), orders_per_s=5)
    before = exposure.dump()
    assert [exposure.orders_left("paper", NOW) for _ in range(3)] == [4, 4, 4]
    assert exposure.orders_left("unseen", NOW) == 5
    assert exposure.dump() == before
