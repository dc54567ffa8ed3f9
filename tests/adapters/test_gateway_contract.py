"""What every gateway owes the daemon, whatever its venue: one suite over a table of gateways.

A new gateway adds a bench to `BENCHES`: its venue, or a fake of it, with a book that the test can look into. The
invariants are checked on that book, not on what the gateway says of it.
"""

import datetime as dt
from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Protocol, TypeVar

import pytest

from adapters.brokers.paper import PaperGateway
from adapters.gateway import Accepted, Gateway, Lapsed, Rejected, Result
from core.calendar import CALENDARS
from core.events import ExecutionReport, NewOrderSingle, OrderApproved
from core.instruments import Instrument, Instruments
from core.market import Quote
from core.orders import ExecType, OrdStatus, OrdType, Side, TimeInForce
from core.units import NS_PER_S
from tests.clocks import ManualClock

D = Decimal
Value = TypeVar("Value")
SESSION = CALENDARS["XNYS"].session_on(dt.date(2025, 3, 3))
assert SESSION is not None
NOON = SESSION.open + 9_000 * NS_PER_S


class Bench(Protocol):
    """A gateway beside its venue, which trades X, in cents and single shares; the account has 1,000."""

    gateway: Gateway
    reports: list[ExecutionReport]

    def offer(self, size: int) -> None:
        """The venue shows `size` at 10.00 to buyers, and nothing better than 9.00 to sellers."""
        ...

    def book(self) -> dict[str, tuple[Decimal, bool]]:
        """The venue's own truth: executed quantity and whether it may still execute, of every order it ever took."""
        ...

    async def run(self, work: Awaitable[Value]) -> Value:
        """Let time pass until `work` is done."""
        ...

    async def rest(self) -> None:
        """Let everything arrive that is under way."""
        ...


class PaperBench:
    def __init__(self) -> None:
        self.reports: list[ExecutionReport] = []
        self._clock = ManualClock(NOON)
        self._paper = PaperGateway(
            name="paper",
            instruments=Instruments([Instrument(symbol="X")]),
            clock=self._clock,
            report=self.reports.append,
            cash=D(1_000),
        )
        self.gateway: Gateway = self._paper

    def offer(self, size: int) -> None:
        self._paper.on_update(Quote(self._clock.now(), "X", D(9), D(1), D(10), D(size)))

    def book(self) -> dict[str, tuple[Decimal, bool]]:
        working = {order.order.cl_ord_id for order in self._paper._exchange.working()}
        return {name: (order.cum_qty, name in working) for name, order in self._paper._exchange.orders.items()}

    async def run(self, work: Awaitable[Value]) -> Value:
        return await self._clock.run(work)

    async def rest(self) -> None:
        await self._clock.advance(self._clock.now() + NS_PER_S)


BENCHES: dict[str, Callable[[], Bench]] = {"paper": PaperBench}


@pytest.fixture(params=BENCHES)
async def bench(request: pytest.FixtureRequest) -> Bench:
    bench = BENCHES[request.param]()
    await bench.run(bench.gateway.connect())
    bench.offer(60)
    return bench


def approve(cl_ord_id: str, qty: int, price: str) -> OrderApproved:
    order = NewOrderSingle(
        ts=NOON,
        cl_ord_id=cl_ord_id,
        parent_id="P",
        strategy="s",
        account="a",
        venue="v",
        symbol="X",
        side=Side.BUY,
        order_qty=D(qty),
        ord_type=OrdType.LIMIT,
        price=D(price),
        time_in_force=TimeInForce.DAY,
    )
    return OrderApproved(
        ts=NOON,
        order=order,
        not_after=NOON,
        collar_low=D(0),
        collar_high=D(99),
        bid=None,
        ask=None,
        limits_version="1",
    )


def let_go(approved: OrderApproved) -> None:
    """A last check that passes."""


async def submit(bench: Bench, cl_ord_id: str, qty: int, price: str = "10.00") -> Result:
    result = await bench.run(bench.gateway.submit(approve(cl_ord_id, qty, price), let_go))
    await bench.rest()
    return result


def said(bench: Bench) -> list[tuple[str, ExecType, OrdStatus | None, Decimal | None]]:
    return [(r.cl_ord_id, r.exec_type, r.ord_status, r.cum_qty) for r in bench.reports]


async def test_an_accepted_order_is_in_the_venues_book(bench: Bench) -> None:
    result = await submit(bench, "A", 10, "9.50")
    assert isinstance(result, Accepted)
    assert result.order_id
    assert bench.book() == {"A": (D(0), True)}


async def test_a_rejected_order_is_not_in_the_venues_book(bench: Bench) -> None:
    result = await submit(bench, "A", 10, "9.505")
    assert isinstance(result, Rejected)
    assert result.reason
    assert bench.book() == {}
    assert [r for r in bench.reports if r.exec_type is not ExecType.REJECTED] == []


async def test_a_lapsed_order_never_reaches_the_venue(bench: Bench) -> None:
    result = await bench.run(bench.gateway.submit(approve("A", 10, "10.00"), lambda _: "halted"))
    await bench.rest()
    assert result == Lapsed("halted")
    assert bench.book() == {}
    assert bench.reports == []


async def test_the_last_check_sees_the_order_that_is_to_leave_once(bench: Bench) -> None:
    seen: list[OrderApproved] = []
    await bench.run(bench.gateway.submit(approve("A", 10, "9.50"), seen.append))
    assert seen == [approve("A", 10, "9.50")]


async def test_a_fill_is_reported_with_all_that_the_books_need(bench: Bench) -> None:
    result = await submit(bench, "A", 60)
    assert isinstance(result, Accepted)
    (report,) = bench.reports
    assert (report.exec_type, report.ord_status) == (ExecType.TRADE, OrdStatus.FILLED)
    assert (report.cl_ord_id, report.order_id) == ("A", result.order_id)
    assert (report.last_qty, report.last_px, report.cum_qty) == (D(60), D(10), D(60))
    assert report.exec_id
    assert bench.book() == {"A": (D(60), False)}


async def test_partial_fills_add_up_under_different_execution_ids(bench: Bench) -> None:
    await submit(bench, "A", 100)
    assert bench.book() == {"A": (D(60), True)}
    bench.offer(70)
    await bench.rest()
    assert said(bench) == [
        ("A", ExecType.TRADE, OrdStatus.PARTIALLY_FILLED, D(60)),
        ("A", ExecType.TRADE, OrdStatus.FILLED, D(100)),
    ]
    assert len({r.exec_id for r in bench.reports}) == 2
    assert bench.book() == {"A": (D(100), False)}


async def test_a_cancelled_order_ends_with_what_it_executed(bench: Bench) -> None:
    await submit(bench, "A", 100)
    await bench.run(bench.gateway.cancel("A"))
    await bench.rest()
    assert said(bench)[1:] == [("A", ExecType.CANCELED, OrdStatus.CANCELED, D(60))]
    bench.offer(70)
    await bench.rest()
    assert bench.book() == {"A": (D(60), False)}
    assert len(bench.reports) == 2


async def test_a_cancel_that_comes_too_late_is_refused_and_takes_nothing_back(bench: Bench) -> None:
    await submit(bench, "A", 60)
    await bench.run(bench.gateway.cancel("A"))
    await bench.rest()
    assert [r.exec_type for r in bench.reports] == [ExecType.TRADE, ExecType.CANCEL_REJECTED]
    assert bench.reports[-1].ord_status in {OrdStatus.FILLED, None}
    assert bench.book() == {"A": (D(60), False)}


async def test_a_cancel_of_an_order_that_never_was_is_refused(bench: Bench) -> None:
    await bench.run(bench.gateway.cancel("Z"))
    await bench.rest()
    assert [(r.cl_ord_id, r.exec_type) for r in bench.reports] == [("Z", ExecType.CANCEL_REJECTED)]


async def test_a_client_id_executes_once_however_often_it_is_sent(bench: Bench) -> None:
    first = await submit(bench, "A", 50)
    again = await submit(bench, "A", 50)
    assert isinstance(first, Accepted)
    assert again == first
    bench.offer(70)
    await bench.rest()
    assert bench.book() == {"A": (D(50), False)}
    assert len(bench.reports) == 1


async def test_a_query_for_an_order_that_never_was_finds_none(bench: Bench) -> None:
    (answer,) = await bench.run(bench.gateway.query("Z"))
    assert (answer.exec_type, answer.cl_ord_id) == (ExecType.NOT_FOUND, "Z")


@pytest.mark.parametrize(
    "qty,price,cancel,status",
    [
        (10, "9.50", False, OrdStatus.NEW),
        (100, "10.00", False, OrdStatus.PARTIALLY_FILLED),
        (60, "10.00", False, OrdStatus.FILLED),
        (100, "10.00", True, OrdStatus.CANCELED),
    ],
)
async def test_a_query_tells_what_the_reports_told(
    bench: Bench, qty: int, price: str, status: OrdStatus, *, cancel: bool
) -> None:
    await submit(bench, "A", qty, price)
    if cancel:
        await bench.run(bench.gateway.cancel("A"))
        await bench.rest()
    *trades, last = await bench.run(bench.gateway.query("A"))
    told = [r for r in bench.reports if r.exec_type is ExecType.TRADE]
    assert [(r.exec_id, r.last_qty, r.last_px, r.fee) for r in trades] == [
        (r.exec_id, r.last_qty, r.last_px, r.fee) for r in told
    ]
    assert (last.exec_type, last.ord_status) == (ExecType.STATUS, status)
    assert last.cum_qty == sum(r.last_qty for r in told) == bench.book()["A"][0]


async def test_the_picture_equals_the_reports(bench: Bench) -> None:
    await submit(bench, "A", 40)
    await submit(bench, "B", 40)
    await submit(bench, "C", 40, "9.50")
    await submit(bench, "D", 40, "9.505")
    picture = await bench.run(bench.gateway.picture())
    told = {r.exec_id: (r.cl_ord_id, r.last_qty, r.last_px, r.fee) for r in bench.reports if r.exec_id}
    shown = {key: (e.cl_ord_id, e.last_qty, e.last_px, e.fee) for key, e in picture.executions.items()}
    assert shown == told
    assert {key: (o.cum_qty, o.ord_status) for key, o in picture.orders.items()} == {
        "B": (D(20), OrdStatus.PARTIALLY_FILLED),
        "C": (D(0), OrdStatus.NEW),
    }
    assert picture.positions == {"X": sum(qty for _, qty, _, _ in told.values())}
    assert {key for key, (_, live) in bench.book().items() if live} == set(picture.orders)


async def test_the_account_knows_every_order_that_was_answered_before_it_was_asked_for(bench: Bench) -> None:
    before = await bench.run(bench.gateway.account())
    assert (before.cash, before.equity) == (D(1_000), D(1_000))
    await submit(bench, "A", 40)
    bought = await bench.run(bench.gateway.account())
    fees = sum(r.fee for r in bench.reports)
    assert bought.cash == D(600) - fees
    assert bought.equity is not None
    assert bought.as_of > before.as_of
    assert bought.as_of <= bought.ts
    await submit(bench, "B", 10, "9.50")
    working = await bench.run(bench.gateway.account())
    assert (working.cash, working.equity) == (bought.cash, bought.equity)
    assert before.buying_power is not None
    assert bought.buying_power is not None
    assert working.buying_power is not None
    assert before.buying_power > bought.buying_power > working.buying_power
