"""From what a venue says, in whatever order and however often, to facts: whole events, and laws over all orders."""

import datetime as dt
from collections.abc import Callable
from decimal import Decimal
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.events import (
    AccountOpened,
    Anomaly,
    CashMoved,
    Event,
    ExecutionReport,
    FillBooked,
    FillBusted,
    OrderApproved,
    OrderCancelRequest,
    OrderQueried,
    OrderUnresolved,
    OrderUpdated,
    Outcome,
    PositionAdjusted,
    PositionUpdated,
    SubmitResult,
    TimeAdvanced,
)
from core.orders import TERMINAL, ExecType, OrdStatus, Side, TimeInForce
from core.units import NS_PER_S, ZERO
from daemon import oms as oms_module
from daemon.bus import Bus
from daemon.oms import QUERY_NS_MAX, Oms, OmsSettings
from tests.builders import INSTRUMENTS, NOW, approved, child, clock, moved, opened, session, split

D = Decimal
CASH = D(100_000)
NAN = D("NaN")
HALF_DAY = dt.date(2025, 7, 3)


class Bench:
    """An oms on a bus of its own, wired as in the daemon, with one order for 10 unless it is to be `empty`."""

    def __init__(self, settings: OmsSettings | None = None, *, empty: bool = False) -> None:
        self.oms = oms = Oms(INSTRUMENTS, settings or OmsSettings())
        self.bus = bus = Bus()
        self.trace: list[Event] = []
        bus.fold(AccountOpened, oms.account)
        bus.fold(OrderApproved, oms.open)
        bus.fold(OrderUpdated, oms.update)
        bus.fold(FillBooked, oms.fill)
        bus.fold(FillBusted, oms.bust)
        bus.fold(OrderQueried, oms.ask)
        bus.fold(OrderUnresolved, oms.give_up)
        bus.fold(OrderCancelRequest, oms.cancel)
        bus.fold(TimeAdvanced, oms.advance)
        bus.on(OrderCancelRequest, oms.on_cancel_request)
        bus.on(SubmitResult, oms.on_submit_result)
        bus.on(ExecutionReport, oms.on_execution_report)
        bus.fold(CashMoved, oms.move)
        bus.fold(PositionAdjusted, oms.adjust)
        bus.on(PositionAdjusted, oms.on_adjusted)
        bus.on(TimeAdvanced, oms.on_due)
        bus.tap(lambda seq, event: self.trace.append(event))
        if not empty:
            bus.publish(opened())
            bus.publish(approved(child(qty="10", cl_ord_id="A")))

    def say(self, *inputs: Event) -> list[Event]:
        """What the oms answers to these, in all."""
        start = len(self.trace)
        for event in inputs:
            self.bus.publish(event)
        return [event for event in self.trace[start:] if event not in inputs]

    def due(self, ts: int) -> list[Event]:
        """Let a due time come."""
        return self.say(TimeAdvanced(ts=ts))

    @property
    def status(self) -> OrdStatus:
        return self.oms.orders["A"].ord_status


def report(kind: ExecType, **facts: Any) -> ExecutionReport:  # noqa: ANN401 - any field of a report
    plain = ExecutionReport(ts=NOW, venue="paper", exec_type=kind, cl_ord_id="A", order_id="V")
    return msgspec.structs.replace(plain, **facts)


def trade(exec_id: str, qty: str, px: str = "100", **facts: Any) -> ExecutionReport:  # noqa: ANN401 - any field
    return report(ExecType.TRADE, exec_id=exec_id, last_qty=D(qty), last_px=D(px), **facts)


def status(stated: OrdStatus | None, cum: str | None = None) -> ExecutionReport:
    return report(ExecType.STATUS, ord_status=stated, cum_qty=None if cum is None else D(cum))


def ended(kind: ExecType, cum: str | None = None) -> ExecutionReport:
    return report(kind, cum_qty=None if cum is None else D(cum))


def refused(stated: OrdStatus | None, cum: str | None = None) -> ExecutionReport:
    facts = msgspec.structs.replace(status(stated, cum), exec_type=ExecType.CANCEL_REJECTED)
    return msgspec.structs.replace(facts, text="too late")


def answer(outcome: Outcome, text: str = "") -> SubmitResult:
    order_id = "V" if outcome is Outcome.ACCEPTED else ""
    return SubmitResult(ts=NOW, venue="paper", cl_ord_id="A", outcome=outcome, order_id=order_id, text=text)


def cancel(ts: int = NOW) -> OrderCancelRequest:
    return OrderCancelRequest(ts=ts, cl_ord_id="A", parent_id="P1", venue="paper", symbol="AAPL", text="please")


def updated(
    to: OrdStatus, cum: str = "0", *, text: str = "", order_id: str = "V", avg_px: str | None = "100", ts: int = NOW
) -> OrderUpdated:
    return OrderUpdated(
        ts=ts,
        cl_ord_id="A",
        parent_id="P1",
        strategy="alpha",
        venue="paper",
        symbol="AAPL",
        side=Side.BUY,
        order_id=order_id,
        ord_status=to,
        order_qty=D(10),
        cum_qty=D(cum),
        leaves_qty=ZERO if to in TERMINAL else max(10 - D(cum), ZERO),
        terminal=to in TERMINAL,
        avg_px=D(avg_px) if D(cum) and avg_px is not None else None,
        text=text,
    )


def booked(exec_id: str, qty: str, px: str = "100", *, fee: str = "0", late: bool = False) -> FillBooked:
    return FillBooked(
        ts=NOW,
        exec_id=exec_id,
        cl_ord_id="A",
        parent_id="P1",
        strategy="alpha",
        venue="paper",
        symbol="AAPL",
        side=Side.BUY,
        last_qty=D(qty),
        last_px=D(px),
        fee=D(fee),
        late=late,
    )


def position(qty: str, *, cash: str, avg_px: str = "100", fees: str = "0", pnl: str = "0") -> PositionUpdated:
    return PositionUpdated(
        ts=NOW,
        strategy="alpha",
        symbol="AAPL",
        qty=D(qty),
        avg_px=D(avg_px),
        realized_pnl=D(pnl),
        fees=D(fees),
        cash=D(cash),
    )


def anomaly(text: str) -> Anomaly:
    return Anomaly(ts=NOW, venue="paper", cl_ord_id="A", text=text)


S, X = OrdStatus, ExecType
ACK = answer(Outcome.ACCEPTED)
CASES: dict[str, tuple[list[Event], list[Event]]] = {
    "an acknowledgement": ([ACK], [updated(S.NEW)]),
    "an acknowledgement by the stream": ([report(X.NEW)], [updated(S.NEW)]),
    "two acknowledgements": ([ACK, report(X.NEW)], [updated(S.NEW), updated(S.NEW)]),
    "a refusal": ([answer(Outcome.REJECTED, "no")], [updated(S.REJECTED, order_id="", text="no")]),
    "not sent": ([answer(Outcome.NOT_SENT, "busy")], [updated(S.NOT_SENT, order_id="", text="busy")]),
    "lapsed": ([answer(Outcome.LAPSED, "old")], [updated(S.LAPSED, order_id="", text="old")]),
    "in doubt": ([answer(Outcome.UNKNOWN, "lost")], [updated(S.UNKNOWN, order_id="", text="lost")]),
    "part of it, then the rest": (
        [ACK, trade("E1", "4", fee=D("0.5")), trade("E2", "6", "101")],
        [
            updated(S.NEW),
            booked("E1", "4", fee="0.5"),
            position("4", cash="99599.5", fees="0.5"),
            updated(S.PARTIALLY_FILLED, "4"),
            booked("E2", "6", "101"),
            position("10", cash="98993.5", avg_px="100.6", fees="0.5"),
            updated(S.FILLED, "10", avg_px="100.6"),
        ],
    ),
    "a fill before its acknowledgement": (
        [trade("E1", "10"), ACK],
        [booked("E1", "10"), position("10", cash="99000"), updated(S.FILLED, "10"), updated(S.FILLED, "10")],
    ),
    "the same execution twice": (
        [trade("E1", "4"), trade("E1", "4"), trade("E1", "3", "99")],
        [booked("E1", "4"), position("4", cash="99600"), updated(S.PARTIALLY_FILLED, "4")],
    ),
    "more than was ordered": (
        [trade("E1", "11")],
        [
            anomaly("over-fill: 11 of 10"),
            booked("E1", "11"),
            position("11", cash="98900"),
            updated(S.FILLED, "11"),
        ],
    ),
    "a cancel": (
        [ACK, cancel(), ended(X.CANCELED, "0")],
        [updated(S.NEW), updated(S.PENDING_CANCEL, text="please"), updated(S.CANCELED)],
    ),
    "a fill behind its cancel": (
        [ACK, ended(X.CANCELED, "0"), trade("E1", "4")],
        [
            updated(S.NEW),
            updated(S.CANCELED),
            anomaly("an execution after the order was CANCELED"),
            booked("E1", "4", late=True),
            position("4", cash="99600"),
            updated(S.CANCELED, "4"),
        ],
    ),
    "the whole fill behind its cancel": (
        [ended(X.CANCELED, "0"), trade("E1", "10")],
        [
            updated(S.CANCELED),
            anomaly("an execution after the order was CANCELED"),
            booked("E1", "10", late=True),
            position("10", cash="99000"),
            updated(S.FILLED, "10"),
        ],
    ),
    "a cancel that states executions which are missing": (
        [trade("E1", "4"), ended(X.CANCELED, "7"), trade("E2", "3"), trade("E1", "4"), status(S.CANCELED, "7")],
        [
            booked("E1", "4"),
            position("4", cash="99600"),
            updated(S.PARTIALLY_FILLED, "4"),
            updated(S.SETTLING, "4"),
            booked("E2", "3"),
            position("7", cash="99300"),
            updated(S.SETTLING, "7"),
            updated(S.CANCELED, "7"),
        ],
    ),
    "a cancel that states nothing": (
        [ended(X.CANCELED), status(S.CANCELED)],
        [updated(S.SETTLING), updated(S.CANCELED)],
    ),
    "a status of filled that states nothing": (
        [trade("E1", "4"), status(S.FILLED), trade("E2", "6")],
        [
            booked("E1", "4"),
            position("4", cash="99600"),
            updated(S.PARTIALLY_FILLED, "4"),
            updated(S.SETTLING, "4"),
            booked("E2", "6"),
            position("10", cash="99000"),
            updated(S.FILLED, "10"),
        ],
    ),
    "a terminal report that states NaN": (
        [ended(X.EXPIRED, "NaN"), status(S.EXPIRED, "0")],
        [updated(S.SETTLING), updated(S.EXPIRED)],
    ),
    "an execution that is taken back": (
        [trade("E1", "10", fee=D(1)), report(X.TRADE_CANCEL, exec_id="E1")],
        [
            booked("E1", "10", fee="1"),
            position("10", cash="98999", fees="1"),
            updated(S.FILLED, "10"),
            anomaly("execution E1 of 10 at 100 was taken back"),
            FillBusted(
                ts=NOW,
                exec_id="E1",
                cl_ord_id="A",
                parent_id="P1",
                strategy="alpha",
                venue="paper",
                symbol="AAPL",
                side=Side.BUY,
                last_qty=D(10),
                last_px=D(100),
                fee=D(1),
            ),
            position("0", cash="100000", avg_px="0"),
            updated(S.FILLED),
        ],
    ),
    "a bust of what is not booked": (
        [report(X.TRADE_CANCEL, exec_id="E9")],
        [anomaly("a bust of execution 'E9', which is not booked")],
    ),
    "a cancel that is refused": (
        [ACK, cancel(), report(X.CANCEL_REJECTED, ord_status=S.NEW, text="too often")],
        [updated(S.NEW), updated(S.PENDING_CANCEL, text="please"), updated(S.NEW, text="too often")],
    ),
    "a cancel that is too late, and the execution was never heard of": (
        [ACK, cancel(), refused(S.FILLED, "10"), refused(S.FILLED, "10"), trade("E1", "10"), status(S.FILLED, "10")],
        [
            updated(S.NEW),
            updated(S.PENDING_CANCEL, text="please"),
            updated(S.SETTLING, text="too late"),
            OrderQueried(ts=NOW, cl_ord_id="A", parent_id="P1", venue="paper", symbol="AAPL", attempt=1),
            updated(S.SETTLING, text="too late"),  # said twice, asked once
            booked("E1", "10"),
            position("10", cash="99000"),
            updated(S.FILLED, "10"),
            updated(S.FILLED, "10"),
        ],
    ),
    "a cancel that is too late, and the one before was never heard of": (
        [ACK, cancel(), refused(S.CANCELED, "0")],
        [updated(S.NEW), updated(S.PENDING_CANCEL, text="please"), updated(S.CANCELED, text="too late")],
    ),
    "a cancel that is too late for an execution that is on its way": (
        [ACK, cancel(), trade("E1", "10"), refused(S.FILLED, "10")],
        [
            updated(S.NEW),
            updated(S.PENDING_CANCEL, text="please"),
            booked("E1", "10"),
            position("10", cash="99000"),
            updated(S.FILLED, "10"),
            updated(S.FILLED, "10", text="too late"),
        ],
    ),
    "a cancel that is refused without a word on the order": (
        [ACK, cancel(), refused(None), status(S.NEW, "0")],
        [
            updated(S.NEW),
            updated(S.PENDING_CANCEL, text="please"),
            updated(S.PENDING_CANCEL, text="too late"),
            OrderQueried(ts=NOW, cl_ord_id="A", parent_id="P1", venue="paper", symbol="AAPL", attempt=1),
            updated(S.NEW),
        ],
    ),
    "a cancel that is refused without a word, late": (
        [ACK, refused(None)],
        [updated(S.NEW), updated(S.NEW, text="too late")],
    ),
    "a cancel that is refused after fills": (
        [trade("E1", "4"), cancel(), report(X.CANCEL_REJECTED, ord_status=S.PARTIALLY_FILLED)],
        [
            booked("E1", "4"),
            position("4", cash="99600"),
            updated(S.PARTIALLY_FILLED, "4"),
            updated(S.PENDING_CANCEL, "4", text="please"),
            updated(S.PARTIALLY_FILLED, "4"),
        ],
    ),
    "a cancel that never arrived": (
        [ACK, cancel(), status(S.NEW, "0")],
        [updated(S.NEW), updated(S.PENDING_CANCEL, text="please"), updated(S.NEW)],
    ),
    "doubt that ends well": (
        [answer(Outcome.UNKNOWN), trade("E1", "4"), status(S.PARTIALLY_FILLED, "4")],
        [
            updated(S.UNKNOWN, order_id=""),
            booked("E1", "4"),
            position("4", cash="99600"),
            updated(S.PARTIALLY_FILLED, "4"),
            updated(S.PARTIALLY_FILLED, "4"),
        ],
    ),
    "doubt that ends with proof of death": (
        [answer(Outcome.UNKNOWN), report(X.NOT_FOUND)],
        [updated(S.UNKNOWN, order_id=""), updated(S.NOT_SENT)],
    ),
    "proof of death of an order that has lived": (
        [trade("E1", "10"), report(X.NOT_FOUND)],
        [
            booked("E1", "10"),
            position("10", cash="99000"),
            updated(S.FILLED, "10"),
            anomaly("certainly not sent while FILLED: "),
        ],
    ),
    "an answer about an order that was never sent": (
        [msgspec.structs.replace(ACK, cl_ord_id="Z")],
        [Anomaly(ts=NOW, venue="paper", cl_ord_id="Z", text="an answer about an order that was never sent")],
    ),
    "a report of an order that is not ours": (
        [msgspec.structs.replace(trade("E1", "4"), cl_ord_id="Z")],
        [Anomaly(ts=NOW, venue="paper", cl_ord_id="Z", text="TRADE for an order that is not ours, order id V")],
    ),
    "a status without a status": ([status(None)], [anomaly("a status that no venue can state: None")]),
    "a status of ours": ([status(S.SETTLING)], [anomaly("a status that no venue can state: SETTLING")]),
    "no execution id": ([trade("", "4")], [anomaly("an execution of 4 at 100 under id ''")]),
    "quantity NaN": ([trade("E1", "NaN")], [anomaly("an execution of NaN at 100 under id 'E1'")]),
    "quantity infinite": ([trade("E1", "Infinity")], [anomaly("an execution of Infinity at 100 under id 'E1'")]),
    "quantity negative": ([trade("E1", "-4")], [anomaly("an execution of -4 at 100 under id 'E1'")]),
    "price zero": ([trade("E1", "4", "0")], [anomaly("an execution of 4 at 0 under id 'E1'")]),
    "price NaN": ([trade("E1", "4", "NaN")], [anomaly("an execution of 4 at NaN under id 'E1'")]),
    "a fee of NaN": ([trade("E1", "4", fee=NAN)], [anomaly("an execution of 4 at 100 under id 'E1'")]),
}


@pytest.mark.parametrize("case", CASES)
def test_what_a_venue_says_becomes_these_facts(case: str) -> None:
    said, facts = CASES[case]
    assert Bench().say(*said) == facts


def test_a_busted_execution_that_is_repeated_stays_busted() -> None:
    bench = Bench()
    bench.say(trade("E1", "10"), report(ExecType.TRADE_CANCEL, exec_id="E1"))
    assert bench.say(trade("E1", "10")) == []
    assert bench.oms.positions("paper") == {}
    after = Oms(INSTRUMENTS, OmsSettings())
    after.load(msgspec.msgpack.decode(msgspec.msgpack.encode(bench.oms.dump())))
    assert list(after.on_execution_report(trade("E1", "10"))) == []


def test_what_was_taken_back_is_not_worked_again() -> None:
    bench = Bench()
    bench.say(trade("E1", "4"), report(ExecType.TRADE_CANCEL, exec_id="E1"))
    (order,) = bench.oms.orders.values()
    assert (order.cum_qty, order.leaves_qty) == (D(0), order.order_qty - 4)
    rest = str(order.order_qty - 4)
    assert bench.say(trade("E2", rest))[-1] == updated(OrdStatus.FILLED, rest)


def test_a_cancel_request_for_an_order_that_nobody_knows_says_nothing() -> None:
    assert Bench().say(msgspec.structs.replace(cancel(), cl_ord_id="Z")) == []


# Silence --------------------------------------------------------------------------------------------------------------

ACK_TIMEOUT = 3 * NS_PER_S
NOT_AFTER = NOW + NS_PER_S
DAY_IS_OVER = session().close + ACK_TIMEOUT


def queried(attempt: int, ts: int) -> OrderQueried:
    return OrderQueried(ts=ts, cl_ord_id="A", parent_id="P1", venue="paper", symbol="AAPL", attempt=attempt)


def test_an_overdue_acknowledgement_is_asked_for_at_growing_intervals() -> None:
    bench = Bench()
    asked: list[int] = []
    for attempt in range(1, 9):
        due = bench.oms.next_due()
        assert due is not None
        assert bench.due(due - 1) == []
        assert bench.due(due) == [queried(attempt, due)]
        asked.append(due)
    pauses = [later - earlier for earlier, later in pairwise(asked)]
    assert asked[0] == NOT_AFTER + ACK_TIMEOUT
    assert pauses == [min((ACK_TIMEOUT << n), QUERY_NS_MAX) for n in range(1, 8)]


@pytest.mark.parametrize(
    "said,is_asked",
    [
        ([ACK], False),
        ([trade("E1", "4")], False),
        ([trade("E1", "10")], False),
        ([answer(Outcome.REJECTED)], False),
        ([answer(Outcome.UNKNOWN)], True),
        ([ACK, cancel()], True),
        ([ACK, cancel(), refused(S.NEW, "0")], False),
        ([ACK, ended(ExecType.CANCELED, "4")], True),
    ],
)
def test_only_a_silent_venue_is_asked(said: list[Event], *, is_asked: bool) -> None:
    bench = Bench()
    bench.say(*said)
    asked = [event for event in bench.due(NOW + 60 * NS_PER_S) if isinstance(event, OrderQueried)]
    assert asked == ([queried(1, NOW + 60 * NS_PER_S)] if is_asked else [])
    assert (bench.oms.next_due() not in {None, DAY_IS_OVER}) == is_asked


def test_a_cancel_that_is_too_late_is_asked_about_at_once_and_later_and_later_where_nobody_answers() -> None:
    bench = Bench()
    bench.say(ACK, cancel())
    assert bench.say(refused(S.FILLED, "10"))[-1] == queried(1, NOW)
    asked = [NOW]
    for attempt in (2, 3, 4):
        due = bench.oms.next_due()
        assert due is not None
        assert bench.due(due) == [queried(attempt, due)]
        asked.append(due)
    assert [later - earlier for earlier, later in pairwise(asked)] == [ACK_TIMEOUT << n for n in (1, 2, 3)]


def test_after_a_split_every_strategy_hears_how_its_position_stands() -> None:
    bench = Bench()
    bench.say(trade("E1", "10"))
    assert bench.say(split("AAPL", 4, 1)) == [position("40", cash="99000", avg_px="25")]
    assert bench.say(split("SHRT", 4, 1)) == []
    assert bench.oms.positions("paper") == {"AAPL": D(40)}


def test_an_order_is_asked_about_once_however_many_watches_ran_out() -> None:
    bench = Bench()
    bench.say(answer(Outcome.UNKNOWN))
    assert len(bench.oms._heap) == 2
    assert bench.due(NOW + 100 * NS_PER_S) == [queried(1, NOW + 100 * NS_PER_S)]


def test_an_order_in_doubt_for_too_long_is_unresolved_and_keeps_its_quantity() -> None:
    bench = Bench(OmsSettings(unknown_max_age_s=30))
    bench.say(trade("E1", "4"), ended(ExecType.CANCELED, "7"))
    late = NOW + 30 * NS_PER_S
    unresolved = OrderUnresolved(ts=late, cl_ord_id="A", parent_id="P1", venue="paper", symbol="AAPL", leaves_qty=D(6))
    assert bench.due(late) == [unresolved]
    assert bench.due(late + 3_600 * NS_PER_S) == []
    assert bench.oms.next_due() == DAY_IS_OVER
    assert bench.oms.orders["A"].leaves_qty == 6
    assert set(bench.oms.live("paper")) == {"A"}
    bench.say(trade("E2", "3"), status(OrdStatus.CANCELED, "7"))  # the venue comes back after all
    assert bench.oms.orders["A"].leaves_qty == 0
    assert bench.oms.live("paper") == {}


@pytest.mark.parametrize("name", ["ack_timeout_s", "unknown_max_age_s"])
@pytest.mark.parametrize("value", [0.0, -1.0, 86_401.0, float("nan"), float("inf")])
def test_a_time_that_would_never_or_always_be_due_is_refused(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{name} = .*: seconds between 0 and 86,400 belong here"):
        OmsSettings(**{name: value})


# The end of the day ---------------------------------------------------------------------------------------------------

OVERDUE = "a DAY order is {} after its session, {} open: it is asked back"


def outlived(stood: OrdStatus, open_qty: str = "10", ts: int = DAY_IS_OVER) -> Anomaly:
    return msgspec.structs.replace(anomaly(OVERDUE.format(stood, open_qty)), ts=ts)


def asked_back(ts: int = DAY_IS_OVER) -> OrderCancelRequest:
    return msgspec.structs.replace(cancel(ts), text="its session is over")


def of_the_oms(said: list[Event]) -> list[Event]:
    """Without the questions about what is in doubt."""
    return [event for event in said if not isinstance(event, OrderQueried)]


def pending(cum: str = "0", order_id: str = "V") -> OrderUpdated:
    return updated(S.PENDING_CANCEL, cum, ts=DAY_IS_OVER, text="its session is over", order_id=order_id)


@pytest.mark.parametrize(
    "said,answered",
    [
        pytest.param([], [outlived(S.PENDING_SUBMIT), asked_back(), pending(order_id="")], id="never heard of"),
        pytest.param([ACK], [outlived(S.NEW), asked_back(), pending()], id="working"),
        pytest.param([trade("E1", "4")], [outlived(S.PARTIALLY_FILLED, "6"), asked_back(), pending("4")], id="in part"),
        pytest.param(
            [answer(Outcome.UNKNOWN)],
            [
                outlived(S.UNKNOWN),
                asked_back(),
                updated(S.UNKNOWN, ts=DAY_IS_OVER, text="its session is over", order_id=""),
            ],
            id="in doubt",
        ),
        pytest.param([ACK, cancel()], [outlived(S.PENDING_CANCEL)], id="asked back already"),
        pytest.param([ended(ExecType.CANCELED, "7")], [], id="settling"),
        pytest.param([trade("E1", "10")], [], id="filled"),
        pytest.param([ACK, ended(ExecType.EXPIRED, "0")], [], id="expired"),
    ],
)
def test_a_day_order_that_outlives_its_session_is_told_of_and_asked_back_once(
    said: list[Event], answered: list[Event]
) -> None:
    bench = Bench(OmsSettings(unknown_max_age_s=86_400))
    bench.say(*said)
    assert of_the_oms(bench.due(DAY_IS_OVER - 1)) == []
    assert of_the_oms(bench.due(DAY_IS_OVER)) == answered
    assert of_the_oms(bench.due(DAY_IS_OVER + NS_PER_S)) == []


@pytest.mark.parametrize("time_in_force", [TimeInForce.GTC, TimeInForce.IOC, TimeInForce.FOK])
def test_no_other_order_is_of_a_day(time_in_force: TimeInForce) -> None:
    bench = Bench(empty=True)
    bench.say(opened(), approved(child(qty="10", cl_ord_id="A", time_in_force=time_in_force)), ACK)
    assert bench.due(DAY_IS_OVER) == []
    assert bench.status is S.NEW


@pytest.mark.parametrize(
    "symbol,sent,close",
    [
        ("AAPL", NOW, clock(16)),
        ("AAPL", clock(10, 30, day=HALF_DAY), clock(13, day=HALF_DAY)),
        ("FRAC", NOW, clock(19)),  # midnight UTC
        ("FRAC", clock(19), clock(19, day=dt.date(2025, 3, 6))),
    ],
)
def test_a_day_ends_with_the_session_in_which_the_order_was_sent(symbol: str, sent: int, close: int) -> None:
    bench, acknowledged = Bench(empty=True), msgspec.structs.replace(ACK, ts=sent)
    bench.say(opened(), approved(child(symbol, qty="10", cl_ord_id="A", ts=sent)), acknowledged)
    assert bench.oms.next_due() == close + ACK_TIMEOUT


def test_nothing_wakes_the_oms_at_the_close_once_the_days_orders_have_ended() -> None:
    bench = Bench()
    bench.say(ACK)
    assert bench.oms.next_due() == DAY_IS_OVER
    bench.say(ended(ExecType.CANCELED, "0"))
    assert bench.oms.next_due() is None


def test_who_was_asked_back_at_the_same_moment_is_not_asked_back_again() -> None:
    """As after a restart, when the slicer ends its parent first."""
    bench = Bench()
    bench.say(ACK)
    bench.oms.advance(TimeAdvanced(ts=DAY_IS_OVER))
    bench.oms.cancel(cancel(DAY_IS_OVER))
    assert of_the_oms(list(bench.oms.on_due(TimeAdvanced(ts=DAY_IS_OVER)))) == [outlived(S.NEW)]


@pytest.mark.parametrize("when", ["before the close", "after it"])
def test_a_daemon_that_was_away_over_the_close_asks_back_what_is_left_and_once(when: str) -> None:
    first = Bench()
    first.say(ACK)
    if when == "after it":
        first.due(DAY_IS_OVER)
    second = Bench(empty=True)
    second.oms.load(msgspec.msgpack.decode(msgspec.msgpack.encode(first.oms.dump())))
    late = DAY_IS_OVER + 3_600 * NS_PER_S
    alerts = [event for event in second.due(late) if isinstance(event, Anomaly)]
    assert alerts == ([outlived(S.NEW, ts=late)] if when == "before the close" else [])


# Laws -----------------------------------------------------------------------------------------------------------------


def chunks_of(sizes: list[int]) -> list[ExecutionReport]:
    return [trade(f"E{number}", str(size), str(100 + number)) for number, size in enumerate(sizes)]


PARTS = st.lists(st.integers(1, 4), max_size=4).filter(lambda sizes: sum(sizes) <= 10)


@st.composite
def tellings(draw: st.DrawFn) -> tuple[list[int], list[Event]]:
    """Executions of at most 10, told with an acknowledgement and an end in any order, some of it twice."""
    sizes = draw(PARTS)
    cum = str(sum(sizes))
    told: list[Event] = [ACK, report(ExecType.NEW), *chunks_of(sizes)]
    if sum(sizes) < 10:
        told += [cancel(), ended(ExecType.CANCELED, cum)]
    told += draw(st.lists(st.sampled_from(told), max_size=4))
    return sizes, draw(st.permutations(told))


@given(tellings())
def test_any_telling_of_one_story_ends_in_the_same_position(telling: tuple[list[int], list[Event]]) -> None:
    sizes, told = telling
    bench = Bench()
    bench.say(*told)
    total = sum(sizes)
    cost = sum((D(size) * (100 + number) for number, size in enumerate(sizes)), ZERO)
    final = [status(OrdStatus.FILLED if total == 10 else OrdStatus.CANCELED, str(total))]
    bench.say(*chunks_of(sizes), *final)  # a query would be answered so
    assert bench.oms.positions("paper") == ({"AAPL": D(total)} if total else {})
    assert bench.oms._book.cash == CASH - cost
    assert bench.status is (OrdStatus.FILLED if total == 10 else OrdStatus.CANCELED)
    assert bench.oms.live("paper") == {}
    assert sorted(bench.oms.executions("paper")) == sorted(f"E{number}" for number in range(len(sizes)))


@given(tellings())
def test_cumulated_quantity_never_falls_and_leaves_are_what_is_missing(telling: tuple[list[int], list[Event]]) -> None:
    bench = Bench()
    updates = [event for event in bench.say(*telling[1]) if isinstance(event, OrderUpdated)]
    cums = [update.cum_qty for update in updates]
    assert cums == sorted(cums)
    for update in updates:
        assert update.leaves_qty == (0 if update.terminal else update.order_qty - update.cum_qty)
        assert 0 <= update.cum_qty <= update.order_qty
    fills = [event.exec_id for event in bench.trace if isinstance(event, FillBooked)]
    assert len(fills) == len(set(fills))


@given(tellings())
def test_deciding_changes_nothing(telling: tuple[list[int], list[Event]]) -> None:
    """Without folds an oms may be asked anything, and be as it was."""
    bench = Bench()
    half = len(telling[1]) // 2
    bench.say(*telling[1][:half])
    before = msgspec.json.encode(bench.oms.dump())
    decisions: dict[type[Event], Callable[[Any], Any]] = {
        SubmitResult: bench.oms.on_submit_result,
        ExecutionReport: bench.oms.on_execution_report,
        OrderCancelRequest: bench.oms.on_cancel_request,
    }
    for event in telling[1]:
        for effect in decisions[type(event)](event):
            if isinstance(effect, FillBooked | FillBusted):
                break  # what comes behind it tells of it as booked
    list(bench.oms.on_due(TimeAdvanced(ts=NOW)))
    assert msgspec.json.encode(bench.oms.dump()) == before


@given(tellings())
def test_an_oms_from_a_snapshot_goes_on_as_the_one_that_wrote_it(telling: tuple[list[int], list[Event]]) -> None:
    told = telling[1]
    half = len(told) // 2
    whole = Bench()
    whole.say(*told[:half])
    resumed = Bench(empty=True)
    resumed.oms.load(msgspec.msgpack.decode(msgspec.msgpack.encode(whole.oms.dump())))
    assert resumed.oms.dump() == whole.oms.dump()
    assert resumed.oms.next_due() == whole.oms.next_due()
    assert resumed.say(*told[half:]) == whole.say(*told[half:])
    assert resumed.oms.dump() == whole.oms.dump()


@given(tellings())
def test_folding_the_facts_again_gives_the_same_oms(telling: tuple[list[int], list[Event]]) -> None:
    bench = Bench()
    bench.say(*telling[1])
    bench.due(NOW + 60 * NS_PER_S)
    again = Bench(empty=True)
    for seq, event in enumerate(bench.trace, start=1):
        again.bus.replay(seq, event)
    assert again.oms.dump() == bench.oms.dump()


# Bounds ---------------------------------------------------------------------------------------------------------------


def test_ended_orders_are_forgotten_oldest_first_and_their_positions_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(oms_module, "KEPT_ORDERS", 2)
    bench = Bench()
    bench.say(trade("E1", "10"))
    for name in "BCD":
        bench.say(
            approved(child(qty="1", cl_ord_id=name)),
            msgspec.structs.replace(ended(ExecType.CANCELED, "0"), cl_ord_id=name),
        )
    assert bench.oms.known() == {"C", "D"}
    assert bench.oms.positions("paper") == {"AAPL": D(10)}


def test_executions_are_forgotten_with_their_order_and_then_booked_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(oms_module, "KEPT_ORDERS", 0)
    bench = Bench()
    bench.say(trade("E1", "4"), trade("E2", "5"))
    assert list(bench.oms.executions("paper")) == ["E1", "E2"]
    bench.say(trade("E3", "1"))
    assert bench.oms.executions("paper") == {}
    said = bench.say(trade("E1", "4"))
    assert [type(event) for event in said] == [Anomaly]
    assert bench.oms.positions("paper") == {"AAPL": D(10)}


def test_cash_that_was_paid_in_is_in_what_a_fill_leaves() -> None:
    assert Bench().say(moved("500"), trade("E1", "4"))[1] == position("4", cash="100100")


def test_two_venues_may_give_executions_the_same_id() -> None:
    bench = Bench()
    there = msgspec.structs.replace(approved(child(qty="10", cl_ord_id="B")).order, venue="fast")
    bench.say(msgspec.structs.replace(approved(child(qty="10", cl_ord_id="B")), order=there))
    bench.say(trade("E1", "10"), msgspec.structs.replace(trade("E1", "4"), venue="fast", cl_ord_id="B"))
    for oms in (bench.oms, reloaded(bench.oms)):
        assert (oms.positions("paper"), oms.positions("fast")) == ({"AAPL": D(10)}, {"AAPL": D(4)})
        assert (list(oms.executions("paper")), list(oms.executions("fast"))) == (["E1"], ["E1"])
        assert (list(oms.live("paper")), list(oms.live("fast"))) == ([], ["B"])
        assert oms.left_behind(["paper"]) == [("fast", "AAPL", "a position"), ("fast", "AAPL", "orders")]
        assert oms.left_behind(["fast", "paper"]) == [("fast", "AAPL", "a position")]  # AAPL's only venue is paper


def test_what_another_venue_says_of_an_order_is_an_anomaly_and_books_nothing() -> None:
    bench = Bench()
    said = bench.say(msgspec.structs.replace(trade("E1", "10"), venue="fast"))
    assert said == [Anomaly(ts=NOW, venue="fast", cl_ord_id="A", text="TRADE for an order that went to paper")]
    assert bench.oms.positions("fast") == bench.oms.positions("paper") == {}


def reloaded(oms: Oms) -> Oms:
    fresh = Oms(INSTRUMENTS, OmsSettings())
    fresh.load(msgspec.json.decode(msgspec.json.encode(oms.dump()), type=dict[str, object]))
    return fresh
