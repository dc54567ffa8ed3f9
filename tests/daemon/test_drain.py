"""Nothing works only when a venue has shown nothing twice: in virtual time, before scripted venues."""

import asyncio
from collections.abc import Awaitable, Callable
from decimal import Decimal

from adapters.latch import Latch
from core.events import HaltReport, OrderApproved, OrderUpdated, TradingHalted, TradingResumed
from core.orders import OrdStatus, Side
from core.reconcile import OrderView, Picture
from core.trading import halted
from core.units import NS_PER_S
from daemon.bus import Bus
from daemon.clock import SimulatedClock, simulated_loop
from daemon.drain import LOOK_S, Drain, drain
from daemon.halts import Halts, HaltSettings
from daemon.oms import Oms, OmsSettings
from daemon.sender import Ledger, Sender
from tests.builders import INSTRUMENTS, approved, child, updated
from tests.fakes.gateway import ScriptedGateway, picture

D = Decimal


def showing(*cl_ord_ids: str) -> Picture:
    """A venue at which these orders work."""
    return picture(
        orders={
            key: OrderView(
                cl_ord_id=key,
                order_id="V",
                symbol="AAPL",
                side=Side.BUY,
                order_qty=D(10),
                cum_qty=D(0),
                ord_status=OrdStatus.NEW,
            )
            for key in cl_ord_ids
        }
    )


def in_virtual_time(act: Callable[[SimulatedClock], Awaitable[object]]) -> float:
    """Seconds that it took."""
    clock = SimulatedClock(0)
    loop = simulated_loop(clock)
    try:
        loop.run_until_complete(asyncio.ensure_future(act(clock), loop=loop))
    finally:
        loop.close()
    return clock.now() / NS_PER_S


# One venue ------------------------------------------------------------------------------------------------------------


def venue(*pictures: Picture) -> ScriptedGateway:
    gateway = ScriptedGateway()
    gateway.pictures = list(pictures)
    return gateway


def test_one_empty_look_is_not_enough() -> None:
    gateway = venue(showing(), showing("A"), showing(), showing())

    async def act(_: SimulatedClock) -> None:
        assert (await drain(gateway, within_s=10)).left == []

    took = in_virtual_time(act)
    assert gateway.log == ["picture", "picture", "cancel A", "picture", "picture"]
    assert took >= 3 * max(LOOK_S, gateway.capabilities.settle_s)


def test_what_still_works_is_cancelled_again_until_time_is_up() -> None:
    gateway = venue(showing("A", "B"))

    async def act(_: SimulatedClock) -> None:
        found = await drain(gateway, within_s=10)
        assert (found.left, found.quiet_ns) == (["A", "B"], 0)

    assert 10 <= in_virtual_time(act) <= 14
    assert gateway.log.count("cancel A") == gateway.log.count("picture") > 2


def test_an_order_of_ours_in_doubt_is_as_much_as_a_working_one() -> None:
    doubts = [["X"], ["X"], [], []]

    async def act(_: SimulatedClock) -> None:
        found = await drain(venue(showing()), within_s=60, in_doubt=lambda: doubts.pop(0))
        assert (found.left, doubts) == ([], [])

    in_virtual_time(act)


def test_a_venue_that_cannot_be_asked_is_not_quiet() -> None:
    gateway = venue(showing())
    gateway.unreachable = OSError("no route")

    async def act(_: SimulatedClock) -> None:
        assert (await drain(gateway, within_s=5)).left == ["unknown: no route"]

    in_virtual_time(act)


def test_an_order_that_cannot_be_cancelled_keeps_no_other_one() -> None:
    gateway = venue(showing("A", "B", "C"))
    gateway.stuck = {"A": ValueError("never heard of it")}

    async def act(_: SimulatedClock) -> None:
        assert (await drain(gateway, within_s=1)).left == ["A", "B", "C"]

    in_virtual_time(act)
    assert gateway.log[:4] == ["picture", "cancel A", "cancel B", "cancel C"]


def test_a_picture_that_makes_no_sense_is_looked_at_again() -> None:
    gateway = venue(showing())
    gateway.unreachable = ValueError("no JSON")

    async def act(_: SimulatedClock) -> None:
        assert (await drain(gateway, within_s=5)).left == ["unknown: no JSON"]

    in_virtual_time(act)
    assert gateway.log.count("picture") > 2


def test_what_is_spared_is_neither_cancelled_nor_left() -> None:
    gateway = venue(showing("F", "A"), showing("F"), showing("F"))

    async def act(_: SimulatedClock) -> None:
        found = await drain(gateway, within_s=10, in_doubt=lambda: ["F2"], spares=lambda name: name.startswith("F"))
        assert found.left == []

    in_virtual_time(act)
    assert [word for word in gateway.log if word != "picture"] == ["cancel A"]


# A halt ---------------------------------------------------------------------------------------------------------------


class Desk:
    """Oms, sender, halts and drain on a bus, before one venue."""

    def __init__(self, clock: SimulatedClock, gateway: ScriptedGateway) -> None:
        self.bus = Bus()
        self.reports: list[HaltReport] = []
        self.oms = Oms(INSTRUMENTS, OmsSettings())
        self.sender = Sender(
            {"paper": gateway},
            Ledger(),
            Latch(),
            clock=clock,
            journal=self,
            publish=self.bus.publish,
            fail=self.fail,
        )
        self.halts = Halts(
            HaltSettings(),
            clock=clock,
            bus=self.bus,
            recall=self.sender.recall,
            reconcile=self.reconcile,
            durable=self.reconcile,
        )
        self.drain = Drain(
            {"paper": gateway},
            halts=self.halts,
            sender=self.sender,
            oms=self.oms,
            clock=clock,
            publish=self.bus.publish,
            within_s=3,
        )
        self.bus.fold(TradingHalted, self.halts.halt)
        self.bus.fold(TradingResumed, self.halts.resume)
        self.bus.fold(OrderApproved, self.oms.open)
        self.bus.fold(OrderUpdated, self.oms.update)
        self.bus.hand(TradingHalted, self.drain.begin)
        self.bus.hand(TradingResumed, self.drain.end)
        self.bus.hand(HaltReport, lambda _, event: self.reports.append(event))

    async def durable(self, seq: int) -> None:
        """Everything is."""

    async def reconcile(self) -> None:
        """The venue agrees."""

    def fail(self, error: BaseException) -> None:
        raise error


def test_a_halt_is_followed_until_it_is_quiet() -> None:
    gateway = venue(showing("A"), showing("A"), showing("A"), showing(), showing())

    async def act(clock: SimulatedClock) -> None:
        desk = Desk(clock, gateway)
        await desk.halts.kill("enough")
        await asyncio.sleep(60)
        assert [(report.left, report.left_count) for report in desk.reports] == [(("A",), 1), ((), 0)]
        assert desk.reports[1].quiet_us >= 0
        assert desk.drain.last is not None
        assert desk.drain.last.quiet_ns >= desk.drain.last.heard_ns

    in_virtual_time(act)


def test_an_order_in_doubt_keeps_a_halt_from_being_quiet() -> None:
    async def act(clock: SimulatedClock) -> None:
        desk = Desk(clock, venue(showing()))
        order = child(cl_ord_id="A")
        desk.bus.publish(approved(order))
        await desk.halts.kill("enough")
        await asyncio.sleep(5)
        assert [report.left for report in desk.reports] == [("A",)]
        desk.bus.publish(updated(order, OrdStatus.CANCELED))
        await asyncio.sleep(60)
        assert [report.left for report in desk.reports] == [("A",), ()]

    in_virtual_time(act)


def test_who_resumes_ends_the_search_and_what_works_from_then_on_is_not_taken_back() -> None:
    async def act(clock: SimulatedClock) -> None:
        gateway = venue(showing("A"))
        desk = Desk(clock, gateway)
        await desk.halts.kill("enough")
        await asyncio.sleep(1)
        await desk.halts.resume_trading("ann")
        before = list(gateway.log)
        await asyncio.sleep(60)
        assert gateway.log == before
        assert desk.reports == []

    in_virtual_time(act)


def test_a_pause_is_not_drained() -> None:
    async def act(clock: SimulatedClock) -> None:
        gateway = venue(showing("A"))
        desk = Desk(clock, gateway)
        desk.bus.publish(halted("redis", 0, text="silent"))
        await asyncio.sleep(60)
        assert (desk.reports, gateway.log) == ([], [])

    in_virtual_time(act)


def test_a_second_halt_is_followed_anew() -> None:
    async def act(clock: SimulatedClock) -> None:
        desk = Desk(clock, venue(showing("A")))
        await desk.halts.kill("enough")
        first = desk.drain._task
        await desk.halts.kill("I said enough")
        await asyncio.sleep(1)
        assert first is not None
        assert first.cancelled()
        desk.drain.close()
        await asyncio.sleep(0)

    in_virtual_time(act)
