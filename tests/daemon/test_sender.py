"""The way out: durable first, checked last, in order per symbol; and the ledger that counts children on the wire."""

import asyncio
import time
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.gateway import Accepted, NotSent, Rejected, Result, Unknown
from adapters.latch import Latch
from core.causes import TradingState, WorkingOrders
from core.events import (
    Anomaly,
    Event,
    ExecutionReport,
    NewOrderSingle,
    OrderApproved,
    OrderCancelRequest,
    OrderQueried,
    OrderUpdated,
    Outcome,
    SubmitResult,
    TradingHalted,
    TradingResumed,
)
from core.orders import TERMINAL, ExecType, OrdStatus, OrdType
from core.signals import Change
from core.units import NS_PER_S
from daemon import sender as sender_module
from daemon.sender import Ledger, Sender
from tests.builders import NOW, accepted, amended, amendment, approved, child, ended, parent, updated
from tests.clocks import ManualClock, settle
from tests.fakes.gateway import ScriptedGateway

D = Decimal


class Journal:
    """Everything up to `seq` is durable."""

    def __init__(self) -> None:
        self.seq = 1_000
        self._changed = asyncio.Event()

    async def durable(self, seq: int) -> None:
        while self.seq < seq:
            self._changed.clear()
            await self._changed.wait()

    def commit(self, seq: int) -> None:
        self.seq = seq
        self._changed.set()


class Bench:
    """A sender before one scripted venue; parents P1 to P3 may put 1,000 shares each on the wire."""

    def __init__(self, *, in_flight_max: int = 32, bulk_cancel: bool = False) -> None:
        self.clock = ManualClock(NOW)
        self.journal = Journal()
        self.gateway = ScriptedGateway(in_flight_max=in_flight_max, bulk_cancel=bulk_cancel)
        self.published: list[Event] = []
        self.failures: list[BaseException] = []
        self.ledger = Ledger()
        self.latch = Latch()
        self.sender = Sender(
            {"paper": self.gateway},
            self.ledger,
            self.latch,
            clock=self.clock,
            journal=self.journal,
            publish=self.published.append,
            fail=self.failures.append,
        )
        for number in (1, 2, 3):
            self.ledger.open(accepted(parent(parent_id=f"P{number}", order_qty=D(1_000))))

    def send(self, order: OrderApproved, seq: int = 1) -> None:
        self.ledger.count(order)
        self.sender.send(seq, order)

    async def answer(self, order: OrderApproved) -> Event:
        """Send one order, and what became of it."""
        self.send(order)
        await settle()
        (event,) = self.published
        return event


def order(cl_ord_id: str = "A", symbol: str = "AAPL", **changes: Any) -> OrderApproved:  # noqa: ANN401 - one field, whichever
    return approved(child(symbol, cl_ord_id=cl_ord_id, **changes))


def result(outcome: Outcome, text: str = "", *, cl_ord_id: str = "A", venue: str = "paper") -> SubmitResult:
    order_id = f"v{cl_ord_id}" if outcome is Outcome.ACCEPTED else ""
    return SubmitResult(ts=NOW, venue=venue, cl_ord_id=cl_ord_id, outcome=outcome, order_id=order_id, text=text)


def cancel(cl_ord_id: str = "A", venue: str = "paper") -> OrderCancelRequest:
    return OrderCancelRequest(ts=NOW, cl_ord_id=cl_ord_id, parent_id="P1", venue=venue, symbol="AAPL", text="")


def question(cl_ord_id: str = "A", venue: str = "paper") -> OrderQueried:
    return OrderQueried(ts=NOW, cl_ord_id=cl_ord_id, parent_id="P1", venue=venue, symbol="AAPL", attempt=1)


# In which order, and when ---------------------------------------------------------------------------------------------


async def test_an_order_waits_until_its_approval_is_durable() -> None:
    bench = Bench()
    bench.journal.seq = 6
    bench.send(order(), seq=7)
    await settle()
    assert bench.gateway.log == []
    bench.journal.commit(7)
    await settle()
    assert bench.gateway.log == ["submit A", "wire A"]
    assert bench.published == [result(Outcome.ACCEPTED)]


async def test_a_cancel_waits_for_nothing() -> None:
    bench = Bench()
    bench.journal.seq = 0
    bench.gateway.hold("A")
    bench.send(order("A"), seq=7)
    bench.sender.cancel(8, cancel("B"))
    await settle()
    assert bench.gateway.log == ["cancel B"]
    assert bench.published == []


async def test_orders_of_one_symbol_leave_one_after_the_other() -> None:
    bench = Bench()
    bench.gateway.hold("A", "B")
    for cl_ord_id in "ABC":
        bench.send(order(cl_ord_id))
    await settle()
    assert bench.gateway.log == ["submit A", "wire A"]
    bench.gateway.release("A")
    await settle()
    assert bench.gateway.log[2:] == ["submit B", "wire B"]
    bench.gateway.release("B")
    await settle()
    assert bench.gateway.log[4:] == ["submit C", "wire C"]
    assert bench.published == [result(Outcome.ACCEPTED, cl_ord_id=c) for c in "ABC"]


async def test_symbols_do_not_wait_for_each_other() -> None:
    bench = Bench()
    bench.gateway.hold("A", "B")
    bench.send(order("A", "AAPL"))
    bench.send(order("B", "SHRT"))
    bench.send(order("C", "LOTS"))
    await settle()
    assert [each.cl_ord_id for each in bench.gateway.sent] == ["A", "B", "C"]
    assert bench.published == [result(Outcome.ACCEPTED, cl_ord_id="C")]


async def test_an_order_that_is_not_durable_holds_up_its_own_symbol_alone() -> None:
    bench = Bench()
    bench.journal.seq = 5
    bench.send(order("A", "AAPL"), seq=6)
    bench.send(order("B", "AAPL"), seq=4)
    bench.send(order("C", "SHRT"), seq=5)
    await settle()
    assert bench.gateway.log == ["submit C", "wire C"]
    bench.journal.commit(6)
    await settle()
    assert [each.cl_ord_id for each in bench.gateway.sent] == ["C", "A", "B"]


async def test_no_more_submits_wait_for_their_answers_than_the_venue_allows() -> None:
    bench = Bench(in_flight_max=2)
    symbols = {"A": "AAPL", "B": "SHRT", "C": "LOTS", "D": "FRAC"}
    bench.gateway.hold(*symbols)
    for cl_ord_id, symbol in symbols.items():
        bench.send(order(cl_ord_id, symbol))
    await settle()
    assert [each.cl_ord_id for each in bench.gateway.sent] == ["A", "B"]
    bench.gateway.release("B")
    await settle()
    assert [each.cl_ord_id for each in bench.gateway.sent] == ["A", "B", "C"]


async def test_a_lane_that_was_empty_takes_orders_again() -> None:
    bench = Bench()
    bench.send(order("A"))
    await settle()
    bench.send(order("B"))
    await settle()
    assert [each.cl_ord_id for each in bench.gateway.sent] == ["A", "B"]
    assert bench.sender.depth == 0


async def test_more_orders_than_may_wait_are_handed_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sender_module, "MAX_WAITING", 2)
    bench = Bench()
    bench.journal.seq = 0
    for cl_ord_id in "ABC":
        bench.send(order(cl_ord_id))
    assert bench.sender.depth == 2
    assert bench.published == [result(Outcome.NOT_SENT, "2 orders wait for paper already", cl_ord_id="C")]
    bench.journal.commit(1)
    await settle()
    assert [each.cl_ord_id for each in bench.gateway.sent] == ["A", "B"]
    assert bench.sender.depth == 0


# How an attempt ends --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "answer,expected",
    [
        (Accepted("vA"), result(Outcome.ACCEPTED)),
        (Rejected("no"), result(Outcome.REJECTED, "no")),
        (NotSent("busy"), result(Outcome.NOT_SENT, "busy")),
        (Unknown("lost"), result(Outcome.UNKNOWN, "lost")),
    ],
)
async def test_the_answer_of_a_venue_is_published_as_it_is(answer: Result, expected: SubmitResult) -> None:
    bench = Bench()
    bench.gateway.answers["A"] = answer
    assert await bench.answer(order()) == expected


@pytest.mark.parametrize("error", [ConnectionRefusedError("refused"), TimeoutError("too slow")])
async def test_an_error_before_the_last_check_means_that_nothing_was_sent(error: OSError) -> None:
    bench = Bench()
    bench.gateway.before["A"] = error
    assert await bench.answer(order()) == result(Outcome.NOT_SENT, f"before it was sent: {error}")


@pytest.mark.parametrize("error", [ConnectionResetError("reset"), TimeoutError("no answer")])
async def test_an_error_after_the_last_check_leaves_the_order_in_doubt(error: OSError) -> None:
    bench = Bench()
    bench.gateway.answers["A"] = error
    assert await bench.answer(order()) == result(Outcome.UNKNOWN, str(error))


async def test_a_lane_goes_on_behind_an_order_that_could_not_be_sent() -> None:
    bench = Bench()
    bench.gateway.before["A"] = ConnectionRefusedError("refused")
    bench.send(order("A"))
    bench.send(order("B"))
    await settle()
    assert [each.cl_ord_id for each in bench.gateway.sent] == ["B"]
    assert bench.failures == []


async def test_a_defect_of_a_gateway_stops_the_daemon() -> None:
    bench = Bench()
    error = ValueError("a defect")
    bench.gateway.before["A"] = error
    bench.send(order())
    await settle()
    assert bench.failures == [error]
    assert bench.published == []


async def test_an_order_for_a_venue_without_gateway_is_not_sent() -> None:
    bench = Bench()
    expected = result(Outcome.NOT_SENT, "no gateway is named moon", venue="moon")
    assert await bench.answer(order(venue="moon")) == expected


# The last check -------------------------------------------------------------------------------------------------------


def halted(state: str, cause: str = "kill") -> TradingHalted:
    return TradingHalted(ts=NOW, cause=cause, state=TradingState(state))


async def test_nothing_leaves_once_trading_is_halted_although_it_was_approved() -> None:
    bench = Bench()
    bench.journal.seq = 0
    bench.send(order())
    await settle()
    bench.sender.halt(halted("HALTED"))
    bench.journal.commit(1)
    await settle()
    assert bench.published == [result(Outcome.LAPSED, "trading is HALTED")]
    assert bench.gateway.sent == []


@pytest.mark.parametrize("reducing", [True, False])
async def test_while_reducing_only_what_reduces_leaves(*, reducing: bool) -> None:
    bench = Bench()
    bench.sender.halt(halted("REDUCING"))
    event = await bench.answer(msgspec.structs.replace(order(), reducing=reducing))
    assert event == (result(Outcome.ACCEPTED) if reducing else result(Outcome.LAPSED, "trading is REDUCING"))


@pytest.mark.parametrize(
    "flatten,reducing,leaves", [(True, True, True), (True, False, False), (False, True, False), (False, False, False)]
)
async def test_while_halted_only_a_flatten_that_reduces_leaves(*, flatten: bool, reducing: bool, leaves: bool) -> None:
    bench = Bench()
    bench.sender.halt(halted("HALTED"))
    event = await bench.answer(msgspec.structs.replace(order(), reducing=reducing, flatten=flatten))
    assert event == (result(Outcome.ACCEPTED) if leaves else result(Outcome.LAPSED, "trading is HALTED"))


async def test_nothing_leaves_while_the_latch_is_closed_not_even_a_flatten() -> None:
    bench = Bench()
    number = bench.latch.trip()
    event = await bench.answer(msgspec.structs.replace(order(), reducing=True, flatten=True))
    assert event == result(Outcome.LAPSED, "trading was stopped this moment")
    bench.published.clear()
    bench.latch.hear(number)
    assert await bench.answer(order("B")) == result(Outcome.ACCEPTED, cl_ord_id="B")


async def test_an_order_that_waits_here_is_kept_until_its_write_begins() -> None:
    bench = Bench()
    bench.journal.seq = 0
    bench.gateway.hold("A")
    bench.send(order())
    await settle()
    assert bench.sender.keeps("A")
    bench.journal.commit(1)
    await settle()
    assert not bench.sender.keeps("A")
    bench.gateway.release("A")
    await settle()


# Everything back ------------------------------------------------------------------------------------------------------


def killed(working: WorkingOrders = WorkingOrders.CANCEL_ALL) -> TradingHalted:
    return TradingHalted(ts=NOW, cause="kill", state=TradingState.HALTED, working=working)


async def test_a_venue_that_can_is_asked_once_for_everything_and_before_all_else() -> None:
    bench = Bench(bulk_cancel=True)
    bench.sender.recall()
    bench.sender.halt(killed())
    for cl_ord_id in ("A", "B", "C"):  # what the halt asks back, one by one
        bench.sender.cancel(2, cancel(cl_ord_id))
    await settle()
    assert bench.gateway.log == ["cancel all"]
    bench.sender.cancel(3, msgspec.structs.replace(cancel("D"), ts=NOW + 1))  # of a later moment
    await settle()
    assert bench.gateway.log == ["cancel all", "cancel D"]


async def test_nothing_leaves_between_the_recall_and_its_halt() -> None:
    bench = Bench(bulk_cancel=True)
    bench.sender.recall()
    assert await bench.answer(order()) == result(Outcome.LAPSED, "trading was stopped this moment")
    bench.sender.halt(killed())
    bench.sender.resume(TradingResumed(ts=NOW, cause="kill"))
    bench.published.clear()
    assert await bench.answer(order("B")) == result(Outcome.ACCEPTED, cl_ord_id="B")


@pytest.mark.parametrize("bulk,working", [(True, WorkingOrders.CANCEL_OPENING), (False, WorkingOrders.CANCEL_ALL)])
async def test_otherwise_each_order_is_asked_back_by_itself(*, bulk: bool, working: WorkingOrders) -> None:
    bench = Bench(bulk_cancel=bulk)
    if working is WorkingOrders.CANCEL_ALL:
        bench.sender.recall()
    bench.sender.halt(killed(working))
    bench.sender.cancel(2, cancel("A"))
    await settle()
    assert bench.gateway.log == ["cancel A"]


async def test_a_bulk_cancel_that_was_not_sent_is_alerted() -> None:
    bench = Bench(bulk_cancel=True)
    bench.gateway.unreachable = ConnectionError("no route")
    bench.sender.recall()
    await settle()
    assert bench.published == [Anomaly(ts=NOW, venue="paper", cl_ord_id="", text="bulk cancel not sent: no route")]


async def test_when_the_last_order_and_the_last_cancel_left_is_known() -> None:
    bench = Bench()
    before = time.monotonic_ns()
    await bench.answer(order())
    bench.sender.cancel(2, cancel())
    await settle()
    assert before <= bench.sender.last_order_ns <= bench.sender.last_cancel_ns <= time.monotonic_ns()


async def test_an_order_that_is_cancelled_before_it_left_does_not_leave() -> None:
    bench = Bench()
    bench.journal.seq = 0
    bench.send(order())
    await settle()
    bench.sender.cancel(2, cancel())
    bench.journal.commit(1)
    await settle()
    assert bench.published == [result(Outcome.LAPSED, "it was cancelled before it left")]
    assert bench.gateway.log == ["submit A"]  # whose last check refused; and no cancel of what is not there
    assert bench.gateway.sent == []


async def test_nothing_leaves_once_trading_has_failed() -> None:
    bench = Bench()
    bench.journal.seq = 0
    bench.send(order())
    await settle()
    bench.sender.stop()
    bench.journal.commit(1)
    await settle()
    assert bench.gateway.sent == []


async def test_the_strictest_cause_counts() -> None:
    sender = Bench().sender
    states = [sender.state]
    for step in (halted("HALTED", "kill"), halted("REDUCING", "loss")):
        sender.halt(step)
        states.append(sender.state)
    for cause in ("kill", "loss"):
        sender.resume(TradingResumed(ts=NOW, cause=cause))
        states.append(sender.state)
    assert states == ["ACTIVE", "HALTED", "HALTED", "REDUCING", "ACTIVE"]


async def test_nothing_that_ends_afterwards_lets_go_what_was_stopped_by_a_failure() -> None:
    sender = Bench().sender
    sender.halt(halted("HALTED", "redis"))
    sender.stop()
    sender.resume(TradingResumed(ts=NOW, cause="redis"))
    assert sender.state is TradingState.HALTED


async def test_causes_survive_a_snapshot() -> None:
    before, after = Bench().sender, Bench().sender
    before.halt(halted("HALTED", "kill"))
    after.load(msgspec.json.decode(msgspec.json.encode(before.dump())))
    assert after.state is before.state
    after.resume(TradingResumed(ts=NOW, cause="another"))
    assert after.state is TradingState.HALTED


@pytest.mark.parametrize("late_ns", [0, 1])
async def test_an_approval_that_grew_too_old_lapses(late_ns: int) -> None:
    bench = Bench()
    await bench.clock.advance(NOW + NS_PER_S + late_ns)
    event = await bench.answer(order())
    assert isinstance(event, SubmitResult)
    assert event.outcome is (Outcome.LAPSED if late_ns else Outcome.ACCEPTED)
    assert event.text == ("approved 1000.0 ms ago, which is too long" if late_ns else "")


@pytest.mark.parametrize(
    "price,leaves", [("94.99", False), ("95", True), ("105", True), ("105.01", False), (None, True)]
)
async def test_a_price_outside_the_collar_does_not_leave(price: str | None, *, leaves: bool) -> None:
    bench = Bench()
    kind = OrdType.LIMIT if price else OrdType.MARKET
    event = await bench.answer(order(price=D(price) if price else None, ord_type=kind))
    text = f"price {price} is outside 95 to 105"
    assert event == (result(Outcome.ACCEPTED) if leaves else result(Outcome.LAPSED, text))


async def test_children_that_exceed_their_parent_do_not_leave() -> None:
    bench = Bench()
    bench.send(order("A", order_qty=D(600)))
    bench.send(order("B", order_qty=D(401)))
    await settle()
    text = "its parent P1 is over, or its children exceed it"
    assert bench.published == [
        result(Outcome.LAPSED, text, cl_ord_id="A"),
        result(Outcome.LAPSED, text, cl_ord_id="B"),
    ]


async def test_a_child_of_a_parent_that_is_over_does_not_leave() -> None:
    bench = Bench()
    bench.ledger.close(ended(parent(parent_id="P2")))
    event = await bench.answer(order(parent_id="P2"))
    assert event == result(Outcome.LAPSED, "its parent P2 is over, or its children exceed it")


async def test_the_last_check_sees_what_happened_while_the_order_waited_for_a_slot() -> None:
    bench = Bench(in_flight_max=1)
    bench.gateway.hold("A")
    bench.send(order("A", "AAPL"))
    bench.send(order("B", "SHRT"))
    await settle()
    bench.sender.halt(halted("HALTED"))
    bench.gateway.release("A")
    await settle()
    assert bench.published == [
        result(Outcome.ACCEPTED, cl_ord_id="A"),
        result(Outcome.LAPSED, "trading is HALTED", cl_ord_id="B"),
    ]


# Cancels and questions ------------------------------------------------------------------------------------------------


async def test_a_cancel_goes_out_while_trading_is_halted() -> None:
    bench = Bench()
    bench.sender.halt(halted("HALTED"))
    bench.sender.cancel(1, cancel())
    await settle()
    assert bench.gateway.log == ["cancel A"]


async def test_what_a_venue_answers_is_published_in_its_order() -> None:
    bench = Bench()
    trade = ExecutionReport(ts=NOW, venue="paper", exec_type=ExecType.TRADE, cl_ord_id="A", exec_id="E1")
    status = ExecutionReport(ts=NOW, venue="paper", exec_type=ExecType.STATUS, cl_ord_id="A", ord_status=OrdStatus.NEW)
    bench.gateway.reports["A"] = [trade, status]
    bench.sender.query(1, question())
    await settle()
    assert bench.published == [trade, status]


async def test_a_venue_that_cannot_be_reached_is_alerted_and_stops_nothing() -> None:
    bench = Bench()
    bench.gateway.unreachable = ConnectionRefusedError("refused")
    bench.sender.cancel(1, cancel())
    bench.sender.query(2, question())
    await settle()
    assert bench.published == [
        Anomaly(ts=NOW, venue="paper", cl_ord_id="A", text="cancel not sent: refused"),
        Anomaly(ts=NOW, venue="paper", cl_ord_id="A", text="not answered: refused"),
    ]
    assert bench.failures == []


async def test_an_order_of_a_venue_that_is_no_longer_configured_is_alerted_and_stops_nothing() -> None:
    bench = Bench()
    bench.sender.cancel(1, cancel(venue="moon"))
    bench.sender.query(2, question(venue="moon"))
    await settle()
    assert bench.published == [
        Anomaly(ts=NOW, venue="moon", cl_ord_id="A", text="cancel not sent: no gateway is named moon"),
        Anomaly(ts=NOW, venue="moon", cl_ord_id="A", text="not answered: no gateway is named moon"),
    ]
    assert bench.failures == []


# The ledger -----------------------------------------------------------------------------------------------------------

SIZE = D(100)


def test_a_terminal_child_counts_for_what_it_executed() -> None:
    ledger = Ledger()
    ledger.open(accepted(parent(order_qty=SIZE)))
    first = child(cl_ord_id="A", order_qty=D(100))
    ledger.count(approved(first))
    second = approved(child(cl_ord_id="B", order_qty=D(70)))
    ledger.settle(updated(first, OrdStatus.PARTIALLY_FILLED, D(30)))
    ledger.count(second)
    assert not ledger.is_kept("P1")
    ledger.settle(updated(first, OrdStatus.CANCELED, D(30)))
    assert ledger.is_kept("P1")
    ledger.settle(updated(first, OrdStatus.CANCELED, D(31)))  # a late fill
    assert not ledger.is_kept("P1")
    ledger.settle(updated(first, OrdStatus.CANCELED, D(30)))  # which the venue takes back
    assert ledger.is_kept("P1")


def test_a_parent_that_was_amended_may_put_another_quantity_on_the_wire() -> None:
    ledger, order = Ledger(), parent(order_qty=SIZE)
    ledger.open(accepted(order))
    ledger.count(approved(child(cl_ord_id="A", order_qty=D(120))))
    assert not ledger.is_kept("P1")
    ledger.amend(amended(amendment(order, Change(qty=D(120))), "120", "20"))
    assert ledger.is_kept("P1")
    ledger.amend(amended(amendment(order, Change(qty=D(119))), "119"))
    assert not ledger.is_kept("P1")
    ledger.amend(amended(amendment(parent(parent_id="P9"), Change(qty=D(1))), "1"))  # which has ended
    assert not ledger.is_kept("P9")


def test_a_child_is_counted_once() -> None:
    ledger = Ledger()
    ledger.open(accepted(parent(order_qty=SIZE)))
    order = approved(child(cl_ord_id="A", order_qty=SIZE))
    ledger.count(order)
    ledger.count(order)
    assert ledger.is_kept("P1")


CHILD = st.tuples(
    st.integers(1, 60),
    st.sampled_from([OrdStatus.NEW, OrdStatus.PARTIALLY_FILLED, OrdStatus.CANCELED, OrdStatus.FILLED]),
    st.lists(st.integers(0, 60), max_size=3),
)


@given(st.lists(CHILD, max_size=6))
def test_the_ledger_equals_a_slow_recomputation_and_never_falls_below_zero(
    children: list[tuple[int, OrdStatus, list[int]]],
) -> None:
    ledger = Ledger()
    ledger.open(accepted(parent(order_qty=SIZE)))
    history: list[OrderUpdated | NewOrderSingle] = []
    for number, (qty, status, cums) in enumerate(children):
        order = child(cl_ord_id=f"C{number}", order_qty=D(qty))
        ledger.count(approved(order))
        history.append(order)
        for cum in cums:
            update = updated(order, status, D(min(cum, qty)))
            ledger.settle(update)
            history.append(update)
        used = slowly(history)
        assert used >= 0
        assert ledger.is_kept("P1") == (used <= SIZE)
    restored = Ledger()
    restored.load(msgspec.json.decode(msgspec.json.encode(ledger.dump())))
    assert restored.dump() == ledger.dump()
    assert restored.is_kept("P1") == ledger.is_kept("P1")


def slowly(history: list[OrderUpdated | NewOrderSingle]) -> Decimal:
    """What children executed or may still execute, from everything that was ever said about them."""
    total = D(0)
    for order in (each for each in history if isinstance(each, NewOrderSingle)):
        said = [u for u in history if isinstance(u, OrderUpdated) and u.cl_ord_id == order.cl_ord_id]
        ends = [update.cum_qty for update in said if update.ord_status in TERMINAL]
        total += ends[-1] if ends else order.order_qty
    return total


@given(st.lists(st.tuples(st.integers(1, 60), st.integers(0, 60)), max_size=12))
def test_a_sender_that_asks_the_ledger_first_never_has_more_on_the_wire_than_the_parent(
    orders: list[tuple[int, int]],
) -> None:
    ledger = Ledger()
    ledger.open(accepted(parent(order_qty=SIZE)))
    executed = D(0)
    for number, (qty, cum) in enumerate(orders):
        order = child(cl_ord_id=f"C{number}", order_qty=D(qty))
        ledger.count(approved(order))
        if ledger.is_kept("P1"):
            executed += min(cum, qty)
            ledger.settle(updated(order, OrdStatus.CANCELED, D(min(cum, qty))))
        else:
            ledger.settle(updated(order, OrdStatus.LAPSED))
        assert executed <= SIZE


def test_a_ledger_of_another_parent_is_untouched() -> None:
    ledger = Ledger()
    ledger.open(accepted(parent(parent_id="P1", order_qty=D(10))))
    ledger.open(accepted(parent(parent_id="P2", order_qty=D(10))))
    ledger.count(approved(child(parent_id="P1", cl_ord_id="A", order_qty=D(11))))
    assert not ledger.is_kept("P1")
    assert ledger.is_kept("P2")
    assert not ledger.is_kept("P3")
