"""The slicer by its moments, and by laws on whole runs before venues that do what they like."""

import sys
from bisect import bisect_right
from collections.abc import Callable
from decimal import Decimal
from enum import Enum
from itertools import pairwise
from math import ceil
from types import FrameType
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from algos.conditions import SPAN_NS
from algos.parent import CANCELS_MAX, HOLD_NS_MAX, PATIENCE_NS, REPRICE_NS, RETRY_NS, Parent
from algos.participation import FREE, HARD_MAX, POLL_NS
from algos.planning import ALGOS
from algos.precedence import WAY_NS
from algos.pricing import LADDER, Rung
from algos.profile import Profile
from algos.slicer import MAX_DUE, STALE_MAX, Slicer
from core.causes import TradingState, WorkingOrders
from core.events import (
    EndReason,
    Event,
    FillBooked,
    FlattenRequested,
    MarketData,
    NewOrderSingle,
    OrderApproved,
    OrderCancelRequest,
    OrderDenied,
    OrderUnresolved,
    OrderUpdated,
    ParentAccepted,
    ParentAmended,
    ParentEnded,
    ParentOrder,
    ParentPaced,
    ParentScheduled,
    Reason,
    RegimeSet,
    SignalRefused,
    TimeAdvanced,
    TradingHalted,
    TradingResumed,
)
from core.ids import parent_id as named
from core.orders import OrdStatus, OrdType, Side, TimeInForce
from core.signals import AT_A_PRICE, Action, Algo, AmendSignal, Change, Instruction, Urgency
from core.trading import Causes
from core.units import NS_PER_MS, NS_PER_S, ZERO
from risk.limits import Limits
from tests.builders import (
    INSTRUMENTS,
    MINUTE,
    NOW,
    abilities,
    accepted,
    busted,
    child,
    clock,
    denied,
    ended,
    filled,
    given_up,
    held,
    limits,
    limits_set,
    parent,
    quote,
    received,
    updated,
)
from tests.pure_bus import PureBus, Reply, Verdict, obliging, scripted

BUY, SELL = Side.BUY, Side.SELL
PATIENT = limits(quote_age_s_max=86_400.0)
STEPS_MAX = 100_000  # four parents that are looked at once a second till the close: 23,400 times each
PAPER_NS = 20 * NS_PER_MS  # how fast the stub answers


def order(algo: Algo = Algo.TWAP, qty: str = "100", symbol: str = "AAPL", side: Side = BUY, **how: Any) -> ParentOrder:  # noqa: ANN401
    instruction = msgspec.structs.replace(Instruction(algo=algo), **how)
    return parent(symbol, side, qty, how=instruction)


def amending(of: ParentOrder, change: Change, signal_id: str = "a1", ts: int = NOW) -> AmendSignal:
    """A change of a parent, whose id is as the sizer would have made it."""
    return AmendSignal(
        signal_id=signal_id, ts=ts, strategy=of.strategy, symbol=of.symbol, amends=of.signal_id, change=change
    )


def start(
    *orders: ParentOrder,
    reply: Callable[[int], Reply] = obliging,
    bounds: Limits = PATIENT,
    cash: str = "100000000",
    prints_ours: bool = False,
) -> PureBus:
    """A bus that has heard one quote of everything, and then the orders."""
    world = PureBus(reply, limits=bounds, cash=cash, prints_ours=prints_ours)
    for instrument in INSTRUMENTS:
        world.bus.publish(quote(instrument.symbol))
    for wanted in orders:
        world.at(wanted.ts, wanted)
    return world


def of_kind(world: PureBus, kind: type[Event]) -> list[Any]:
    return [event for event in world.trace if type(event) is kind]


def children(world: PureBus) -> list[str]:
    """Every child in short."""
    return [
        f"{event.order_qty:f} at {'market' if event.price is None else event.price}"
        for event in of_kind(world, NewOrderSingle)
    ]


def end_of(world: PureBus) -> ParentEnded:
    (found,) = of_kind(world, ParentEnded)
    assert isinstance(found, ParentEnded)
    return found


# Moments --------------------------------------------------------------------------------------------------------------


def test_a_market_order_crosses_at_once_with_a_tolerance() -> None:
    world = start(order(Algo.MARKET))
    world.run()
    assert children(world) == ["100 at 100.21"]
    assert end_of(world).reason is EndReason.FILLED


def test_a_market_order_of_the_venue_goes_without_a_price() -> None:
    world = start(order(Algo.MARKET, ord_type=OrdType.MARKET))
    world.run()
    assert children(world) == ["100 at market"]


def test_a_limit_order_rests_at_its_price_rounded_to_the_harmless_side() -> None:
    world = start(order(Algo.LIMIT, price=Decimal("99.509"), duration_s=60), reply=scripted([Reply("touch")]))
    world.run()
    assert children(world) == ["100 at 99.50"]
    assert end_of(world).reason is EndReason.LIMIT_PRICE


def moments_of(world: PureBus) -> list[int]:
    """When the one slice of a parent improves, goes to the mid, and crosses."""
    (curve,) = of_kind(world, ParentScheduled)
    return [curve.times[0] + ceil((curve.end - curve.times[0]) * edge) for edge in LADDER[Urgency.NORMAL]]


def test_a_slice_joins_the_queue_first_then_improves_and_crosses_in_the_second_half() -> None:
    """The mid of two ticks is where it is already."""
    world = start(order(slices=1, duration_s=100, qty="10"), reply=scripted([Reply("touch")]))
    world.run()
    assert children(world) == ["10 at 99.99", "10 at 100.00", "10 at 100.21"]
    (curve,) = of_kind(world, ParentScheduled)
    improve, _, middle = moments_of(world)
    assert middle == curve.times[0] + ceil((curve.end - curve.times[0]) / 2)
    sent = [event.ts for event in of_kind(world, NewOrderSingle)]
    assert sent == [curve.times[0], improve + PAPER_NS, middle + PAPER_NS]  # the one before had to be cancelled
    assert end_of(world).reason is EndReason.FILLED


def test_in_a_wide_spread_it_takes_each_rung_within_its_limit() -> None:
    for price, prices in ((None, ["99.90", "99.91", "100.00", "100.30"]), ("99.95", ["99.90", "99.91", "99.95"])):
        limit = None if price is None else Decimal(price)
        wanted = order(slices=1, duration_s=100, qty="10", price=limit)
        world = start(reply=scripted([Reply("touch")]))
        world.bus.publish(quote(bid="99.90", ask="100.10"))
        world.at(NOW, wanted)
        world.run()
        assert children(world) == [f"10 at {price}" for price in prices]


def test_the_tolerance_of_what_crosses_is_the_signals() -> None:
    world = start(order(Algo.MARKET, tolerance_bps=5))
    world.run()
    assert children(world) == ["100 at 100.06"]


def following(*touches: str, slices: int = 1, every_s: int = 6) -> PureBus:
    """A slice of 400 s joins the bid, which goes elsewhere every few seconds in a spread of a tick."""
    world = start(reply=scripted([Reply("touch")]))
    for number, touch in enumerate(touches):
        ts = NOW + number * every_s * NS_PER_S
        at = quote(bid=touch, ask=str(Decimal(touch) + Decimal("0.01")), ts=ts)
        world.at(ts, at)
    world.at(NOW, order(slices=slices, duration_s=400, qty="10"))
    return world


def test_a_child_keeps_its_place_at_the_touch_and_when_it_comes_nearer_and_follows_it_when_it_leaves() -> None:
    world = following("100.00", "100.00", "99.99", "99.98", "100.00", "100.00", every_s=30)
    world.run()
    assert [event.price for event in of_kind(world, NewOrderSingle)][0::2] == [Decimal("100.00")]
    assert len(of_kind(world, OrderCancelRequest)) == 1  # to cross
    gone = following("100.00")
    while not of_kind(gone, NewOrderSingle):
        gone.step()
    away = gone.now + 2 * REPRICE_NS + 1
    gone.at(away, quote(bid="100.01", ask="100.02", ts=away))
    gone.run()
    assert away < moments_of(gone)[-1]
    first, second, _ = of_kind(gone, NewOrderSingle)
    assert (first.price, second.price) == (Decimal("100.00"), Decimal("100.01"))
    assert away <= second.ts <= away + REPRICE_NS + PAPER_NS


def test_however_the_touch_runs_few_children_of_a_slice_are_taken_back_before_they_cross() -> None:
    world = following(*(str(100 + Decimal(number) / 100) for number in range(70)), slices=2)
    world.run()
    (curve,) = of_kind(world, ParentScheduled)
    for point, following_ in pairwise((*curve.times, curve.end)):
        middle = point + (following_ - point) // 2
        asked = [event for event in of_kind(world, OrderCancelRequest) if point <= event.ts < middle]
        assert len(asked) == CANCELS_MAX
    assert end_of(world).reason is EndReason.FILLED


def test_a_child_keeps_its_place_for_a_while_although_it_is_a_rung_further_but_not_to_cross() -> None:
    slow, fast = (
        start(order(slices=1, duration_s=lasting, qty="10"), reply=scripted([Reply("touch")])) for lasting in (60, 8)
    )
    slow.run()
    improve, mid, middle = moments_of(slow)
    first, second, third = (event.ts for event in of_kind(slow, NewOrderSingle))
    assert improve < first + REPRICE_NS < mid
    assert (second, third) == (mid + PAPER_NS, middle + PAPER_NS)
    fast.run()
    first, second = (event.ts for event in of_kind(fast, NewOrderSingle))
    assert second == moments_of(fast)[-1] + PAPER_NS < first + REPRICE_NS


@pytest.mark.parametrize("status,expected", [(OrdStatus.CANCELED, Rung.CROSS), (OrdStatus.FILLED, Rung.JOIN)])
def test_who_follows_the_volume_goes_on_from_the_child_that_was_taken_back_unless_it_filled(
    status: OrdStatus, expected: Rung
) -> None:
    slicer = Slicer(INSTRUMENTS)
    slicer.quote(quote())
    slicer.open(accepted(parent(how=Instruction(algo=Algo.POV))))
    curve = ParentScheduled(ts=NOW, parent_id="P1", times=(NOW,), targets=(Decimal(500),), end=NOW + 60 * MINUTE)
    slicer.schedule(curve)
    sent = child(cl_ord_id="P1C1A1", ts=NOW)
    slicer.send(sent)
    slicer.cancel(
        OrderCancelRequest(ts=NOW, cl_ord_id="P1C1A1", parent_id="P1", venue=sent.venue, symbol="AAPL", text="")
    )
    if status is OrdStatus.FILLED:
        slicer.fill(filled(sent, f"{sent.order_qty:f}"))
    slicer.update(updated(sent, status))
    assert slicer.parents["P1"].rung_at(NOW + PATIENCE_NS // 2) is expected


def test_who_is_far_behind_is_a_rung_further_and_stays_there_until_the_next_point() -> None:
    slicer = Slicer(INSTRUMENTS)
    slicer.quote(quote(bid="99.90", ask="100.10"))
    slicer.open(accepted(parent(qty="80")))
    times = tuple(NOW + number * 8 * MINUTE for number in range(4))
    targets = tuple(Decimal(20) * number for number in range(1, 5))
    slicer.schedule(ParentScheduled(ts=NOW, parent_id="P1", times=times, targets=targets, end=NOW + 32 * MINUTE))
    late = slicer.parents["P1"]
    assert [late.rung_at(at) for at in times[:3]] == [Rung.JOIN, Rung.IMPROVE, Rung.IMPROVE]
    slicer.send(child(qty="40", cl_ord_id="P1C1A1", ts=times[1]))
    slicer.fill(filled(child(cl_ord_id="P1C1A1"), "39"))
    again = Slicer(INSTRUMENTS)
    again.load(msgspec.json.decode(msgspec.json.encode(slicer.dump(), enc_hook=str)))
    for parent_ in (late, again.parents["P1"]):
        assert parent_.rung_at(times[1] + 1) is Rung.IMPROVE
        assert parent_.rung_at(times[2]) is Rung.JOIN


def test_a_child_that_was_part_filled_is_followed_by_the_rest() -> None:
    world = start(
        order(slices=1, duration_s=100, qty="10"), reply=scripted([Reply("part", part=Decimal("0.4")), Reply()])
    )
    world.run()
    assert [text.split()[0] for text in children(world)] == ["10", "6"]
    assert end_of(world).cum_qty == 10


def test_a_largest_slice_is_kept() -> None:
    world = start(order(Algo.MARKET, qty="25", max_slice=Decimal(10)))
    world.run()
    assert [text.split()[0] for text in children(world)] == ["10", "10", "5"]


def test_refusals_in_a_row_make_longer_and_longer_pauses() -> None:
    world = start(order(Algo.MARKET, duration_s=400), reply=scripted([Reply("reject", delay_ns=1)]))
    world.run()
    sent = [event.ts for event in of_kind(world, NewOrderSingle)]
    pauses = [(later - earlier) // NS_PER_S for earlier, later in pairwise(sent)]
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60, 60, 60, 60]
    assert HOLD_NS_MAX == 60 * NS_PER_S
    assert end_of(world).reason is EndReason.DENIED


def test_an_execution_ends_the_pauses() -> None:
    replies = [Reply("reject", delay_ns=1)] * 3 + [Reply("expire", part=Decimal("0.5"), delay_ns=1)]
    world = start(order(Algo.MARKET, duration_s=60), reply=scripted([*replies, Reply("reject", delay_ns=1)]))
    world.run()
    sent = [event.ts - NOW for event in of_kind(world, NewOrderSingle)]
    assert [ts // NS_PER_S for ts in sent[:6]] == [0, 1, 3, 7, 8, 9]


def test_a_child_that_the_venue_ends_unasked_is_not_sent_again_at_once() -> None:
    world = start(
        order(slices=1, duration_s=20, time_in_force=TimeInForce.IOC),
        reply=scripted([Reply("expire", part=ZERO, delay_ns=1)]),
    )
    world.run()
    sent = [event.ts for event in of_kind(world, NewOrderSingle)]
    assert 1 < len(sent) <= 21
    assert all(later - earlier >= RETRY_NS for earlier, later in pairwise(sent))
    assert end_of(world).reason is EndReason.WINDOW


def test_a_denied_parent_never_reaches_the_slicer() -> None:
    world = start(order(qty="100"), bounds=limits(position_max=Decimal("0.0000001")))
    world.run()
    assert not world.slicer.parents
    assert not of_kind(world, ParentScheduled)


def test_a_parent_without_a_window_ends_infeasible() -> None:
    world = start(order(end=NOW - MINUTE))
    world.run()
    assert end_of(world).reason is EndReason.INFEASIBLE
    assert end_of(world).leaves_qty == 100
    assert "passed" in end_of(world).text


def test_a_parent_whose_slices_are_under_a_lot_ends_infeasible_at_once() -> None:
    world = start(order(qty="1000", symbol="LOTS", max_slice=Decimal(50)))
    world.run()
    assert (end_of(world).reason, end_of(world).ts) == (EndReason.INFEASIBLE, NOW)
    assert "under one lot" in end_of(world).text


def test_a_denial_for_the_rate_is_no_refusal_of_the_order() -> None:
    slicer = Slicer(INSTRUMENTS)
    slicer.quote(quote())
    wanted = accepted(parent(how=Instruction(algo=Algo.MARKET, duration_s=60)))
    slicer.open(wanted)
    (curve,) = slicer.on_accepted(wanted)
    assert isinstance(curve, ParentScheduled)
    slicer.schedule(curve)
    for number in range(1, 6):
        now = NOW + number * NS_PER_S
        sent = child(ts=now, cl_ord_id=f"P1C{number}A1")
        slicer.send(sent)
        slicer.deny(denied(sent, Reason.RATE))
        assert slicer.next_due() == now + RETRY_NS
    (over,) = over_of(slicer, curve.end)
    assert over.reason is EndReason.WINDOW


class Bare:
    """A slicer with one MARKET parent, whose children are denied by hand."""

    def __init__(self) -> None:
        self.slicer, self.count = Slicer(INSTRUMENTS), 0
        self.slicer.quote(quote())
        wanted = accepted(parent(how=Instruction(algo=Algo.MARKET, duration_s=600)))
        self.slicer.open(wanted)
        (curve,) = self.slicer.on_accepted(wanted)
        assert isinstance(curve, ParentScheduled)
        self.slicer.schedule(curve)
        self.curve = curve

    def deny(self, now: int, reason: Reason, met: tuple[str, ...] = ()) -> None:
        self.count += 1
        sent = child(ts=now, cl_ord_id=f"P1C{self.count}A1")
        self.slicer.send(sent)
        self.slicer.deny(denied(sent, reason, met=met))

    def works(self, now: int) -> bool:
        """Whether another child is sent at that moment."""
        self.slicer.advance(TimeAdvanced(ts=now))
        return [type(event) for event in self.slicer.on_due(TimeAdvanced(ts=now))] == [NewOrderSingle]


def test_under_another_model_regime_or_limit_a_parent_that_was_denied_asks_at_once() -> None:
    bare = Bare()
    for number, reason in enumerate((Reason.SHORTFALL, Reason.NO_SCENARIOS, Reason.POSITION)):
        bare.deny(NOW + number, reason)
        assert bare.slicer.parents["P1"].denied == reason
    assert bare.slicer.next_due() == NOW + 2 + 4 * RETRY_NS  # it doubled
    bare.slicer.halt(halt(NOW + 3))
    bare.slicer.resume(TradingResumed(ts=NOW + 4, cause="drill"))
    assert not bare.works(NOW + 4)  # that had nothing to do with it
    bare.slicer.reconsider(RegimeSet(ts=NOW + 5, regime="NORMAL", by="ann"))
    assert bare.slicer.next_due() == NOW + 5
    assert bare.works(NOW + 5)


def test_a_parent_that_is_paused_waits_for_another_state_and_its_end_says_so() -> None:
    bare = Bare()
    bare.deny(NOW, Reason.STATE)
    bare.slicer.reconsider(RegimeSet(ts=NOW + 1, regime="NORMAL", by="ann"))
    assert bare.slicer.next_due() == bare.curve.end
    (over,) = over_of(bare.slicer, bare.curve.end)
    assert (over.reason, over.text) == (EndReason.DENIED, "STATE")


def test_who_would_have_met_orders_of_ours_asks_each_second_and_once_they_have_ended() -> None:
    bare = Bare()
    for number in range(5):
        bare.deny(NOW + number, Reason.SELF_MATCH, met=("W", "X", "Y") if number < 4 else ("X", "Y"))
    assert bare.slicer.next_due() == NOW + 4 + RETRY_NS
    again = Slicer(INSTRUMENTS)
    again.load(msgspec.json.decode(msgspec.json.encode(bare.slicer.dump(), enc_hook=str)))
    for slicer in (bare.slicer, again):
        for number, name in enumerate(("W", "Z", "X"), 5):  # no longer in its way, never, and one of two
            slicer.update(updated(child("AAPL", SELL, cl_ord_id=name), OrdStatus.CANCELED, ts=NOW + number))
            assert slicer.next_due() == NOW + 4 + RETRY_NS
        slicer.update(updated(child("AAPL", SELL, cl_ord_id="Y"), OrdStatus.CANCELED, ts=NOW + 8))
        assert slicer.next_due() == NOW + 8
    assert bare.works(NOW + 8)
    (over,) = over_of(again, bare.curve.end)
    assert (over.reason, over.text) == (EndReason.DENIED, "SELF_MATCH")


def test_who_was_denied_for_something_else_since_waits_for_no_order() -> None:
    bare = Bare()
    bare.deny(NOW, Reason.SELF_MATCH, met=("X",))
    bare.deny(NOW + 1, Reason.POSITION)
    bare.slicer.update(updated(child("AAPL", SELL, cl_ord_id="X"), OrdStatus.CANCELED, ts=NOW + 2))
    assert bare.slicer.next_due() == NOW + 1 + RETRY_NS
    bare.deny(NOW + 3, Reason.SELF_MATCH, met=("X",))
    (over,) = over_of(bare.slicer, bare.curve.end)
    bare.slicer.end(over)
    bare.slicer.update(updated(child("AAPL", SELL, cl_ord_id="X"), OrdStatus.CANCELED, ts=bare.curve.end))
    assert bare.slicer.next_due() is None


def test_orders_that_end_in_nobodys_way_wake_nobody() -> None:
    """As many denials a second as parents wait, however many others trade meanwhile."""
    wait, others = 8, 40
    resting = bid("10", "SHRT", "REST")
    world = start(resting, reply=lambda number: Reply("fill" if number else "touch"))
    for number in range(wait):
        sale = way_out(0, "10", "SHRT", duration_s=60)
        world.at(NOW + 1 + number, msgspec.structs.replace(sale, parent_id=f"S{number}", ts=NOW + 1 + number))
    for number in range(others):
        ts = NOW + NS_PER_S // 2 + number * NS_PER_MS
        world.at(ts, msgspec.structs.replace(bid("1", "SHRT", f"T{number}", price=Decimal("99.50")), ts=ts))
    while world.now < NOW + NS_PER_S and world.step():
        pass
    refused = [event for event in of_kind(world, OrderDenied) if event.ts < NOW + NS_PER_S]
    assert {event.reason for event in refused} == {Reason.SELF_MATCH}
    assert len(refused) == wait
    assert len(of_kind(world, ParentEnded)) == others


def test_under_a_lower_limit_on_one_order_a_parent_goes_on_in_smaller_ones() -> None:
    bare = Bare()
    sent = child(ts=NOW, cl_ord_id="P1C1A1")
    bare.slicer.send(sent)
    bare.slicer.deny(msgspec.structs.replace(denied(sent, Reason.ORDER_SIZE), max_qty=Decimal(30)))
    due = bare.slicer.next_due()
    assert due is not None
    bare.slicer.advance(TimeAdvanced(ts=due))
    (smaller,) = bare.slicer.on_due(TimeAdvanced(ts=due))
    assert isinstance(smaller, NewOrderSingle)
    assert smaller.order_qty == 30


def test_once_the_limit_is_raised_again_it_goes_on_in_larger_ones() -> None:
    """Also over a restart, and never in larger ones than its own instruction says."""
    low, high = (
        msgspec.structs.replace(
            PATIENT, symbols_default=msgspec.structs.replace(PATIENT.symbols_default, order_qty_max=qty)
        )
        for qty in (Decimal(10), Decimal(1_000))
    )
    world = start(order(slices=4, duration_s=400, qty="240", max_slice=Decimal(50)))
    world.at(NOW + 50 * NS_PER_S, limits_set(low, NOW + 50 * NS_PER_S))
    world.at(NOW + 250 * NS_PER_S, limits_set(high, NOW + 250 * NS_PER_S))
    while world.now < NOW + 200 * NS_PER_S and world.step():
        pass
    world.restart()
    world.run()
    (curve,) = of_kind(world, ParentScheduled)
    sizes = [set[Decimal](), set[Decimal](), set[Decimal]()]
    for sent in of_kind(world, OrderApproved):
        sizes[bisect_right([NOW + 50 * NS_PER_S, NOW + 250 * NS_PER_S], sent.ts)].add(sent.order.order_qty)
    assert [max(seen) for seen in sizes] == [50, 10, 50], curve
    assert end_of(world).reason is EndReason.FILLED


@pytest.mark.parametrize(
    "algo,how,prices",
    [
        (Algo.MARKET, {"ord_type": OrdType.MARKET}, ["market", "100.00"]),
        (Algo.MARKET, {}, ["99.80", "100.00"]),
        (Algo.TWAP, {"slices": 1}, ["100.01", "100.00", "99.80", "100.00"]),
        (Algo.LIMIT, {"price": Decimal("99.90")}, ["99.90", "100.00"]),
        (Algo.LIMIT, {"price": Decimal("100.05")}, ["100.05"]),
    ],
)
def test_who_sells_short_under_a_price_restriction_is_denied_once_and_then_rests_a_tick_above_the_bid(
    algo: Algo, how: dict[str, Any], prices: list[str]
) -> None:
    """It is not taken back and sent again at the same price, however long it rests."""
    world = start(order(algo, "100", "HARD", SELL, duration_s=60, **how), reply=scripted([Reply("touch")]))
    world.run()
    assert children(world) == [f"100 at {price}" for price in prices]
    denials = [Reason.SHORT_PRICE] if len(prices) > 1 else []
    assert [event.reason for event in of_kind(world, OrderDenied)] == denials
    assert end_of(world).reason in {EndReason.WINDOW, EndReason.LIMIT_PRICE}


def test_a_short_sale_under_a_price_restriction_follows_the_bid_down() -> None:
    world = start(order(Algo.MARKET, "100", "HARD", SELL, duration_s=60), reply=scripted([Reply("touch")]))
    later = NOW + 10 * NS_PER_S
    world.at(later, quote("HARD", "98.99", "99.01", ts=later))
    world.run()
    assert children(world) == [f"100 at {price}" for price in ("99.80", "100.00", "99.00")]


def test_what_is_held_crosses_under_a_price_restriction() -> None:
    world = start(reply=scripted([Reply("touch")]))
    world.bus.publish(held("HARD", 100))
    world.at(NOW, order(Algo.MARKET, "100", "HARD", SELL))
    world.run()
    assert children(world) == ["100 at 99.80"]
    assert end_of(world).reason is EndReason.FILLED


def over_of(slicer: Slicer, end: int) -> list[ParentEnded]:
    """Which parents a slicer ends at the end of a window."""
    slicer.advance(TimeAdvanced(ts=end))
    return [event for event in slicer.on_due(TimeAdvanced(ts=end)) if isinstance(event, ParentEnded)]


@pytest.mark.parametrize("may_not_rest", [TimeInForce.IOC, TimeInForce.FOK])
def test_a_child_that_may_not_rest_crosses_at_once(may_not_rest: TimeInForce) -> None:
    world = start(order(slices=2, duration_s=100, qty="10", time_in_force=may_not_rest))
    world.run()
    assert {text.split()[-1] for text in children(world)} == {"100.21"}
    assert [event.ts for event in of_kind(world, NewOrderSingle)] == list(of_kind(world, ParentScheduled)[0].times)


@pytest.mark.parametrize(
    "price,reason", [("99.00", EndReason.LIMIT_PRICE), ("101.00", EndReason.FILLED), (None, EndReason.FILLED)]
)
def test_a_limit_that_the_market_is_beyond_is_the_reason_of_the_end(price: str | None, reason: EndReason) -> None:
    limit = None if price is None else Decimal(price)
    world = start(order(duration_s=60, slices=2, price=limit), reply=scripted([Reply("touch")]))
    world.run()
    assert end_of(world).reason is reason


@pytest.mark.parametrize("algo", ALGOS)
@pytest.mark.parametrize("ord_type", OrdType)
def test_under_a_limit_below_one_tick_nothing_is_sent(algo: Algo, ord_type: OrdType) -> None:
    asked = order(algo, duration_s=60, price=Decimal("0.009"), ord_type=ord_type, display_qty=Decimal(10))
    world = start(asked)
    for second in range(60):
        world.at(NOW + second * NS_PER_S, quote(volume=1_000, ts=NOW + second * NS_PER_S))
    world.run()
    assert children(world) == []
    assert end_of(world).reason is EndReason.LIMIT_PRICE


def test_without_a_price_it_waits_and_looks_again_each_second() -> None:
    world = start(order(Algo.MARKET, start=NOW + 2 * NS_PER_S, duration_s=10))
    world.at(NOW + NS_PER_S, quote(ask=None, bid=None))
    world.at(NOW + 5 * NS_PER_S + 1, quote())
    world.run()
    assert [event.ts - NOW for event in of_kind(world, NewOrderSingle)] == [6 * NS_PER_S]
    assert end_of(world).reason is EndReason.FILLED


def test_an_unknown_outcome_is_never_sent_again() -> None:
    world = start(order(slices=1, duration_s=30, qty="10"), reply=scripted([Reply("silence", "silence"), Reply()]))
    world.run()
    assert len(children(world)) == 1
    assert len(of_kind(world, OrderCancelRequest)) == 1
    assert end_of(world).reason is EndReason.UNRESOLVED
    assert world.exposure.working("AAPL", BUY) == 10


def test_a_parent_with_an_unknown_child_ends_only_when_its_other_children_have() -> None:
    replies = [Reply("silence", "silence"), Reply("touch", "refuse")]
    world = start(
        order(Algo.LIMIT, qty="20", price=Decimal("99.50"), max_slice=Decimal(10), duration_s=600),
        reply=scripted(replies),
    )
    world.run()
    lost, known = of_kind(world, NewOrderSingle)
    cancels = [event.cl_ord_id for event in of_kind(world, OrderCancelRequest)]
    assert cancels.count(known.cl_ord_id) == 2  # the first was refused
    over = end_of(world)
    assert over.reason is EndReason.UNRESOLVED
    assert of_kind(world, OrderUpdated)[-1].ts <= over.ts
    assert list(world.exposure.children) == [lost.cl_ord_id]


def test_one_refusal_long_ago_is_not_why_a_parent_ended() -> None:
    replies = [Reply("lapse"), Reply("touch")]
    world = start(order(Algo.LIMIT, price=Decimal("99.50"), duration_s=60), reply=scripted(replies))
    world.run()
    assert end_of(world).reason is EndReason.LIMIT_PRICE


def test_a_busted_execution_is_traded_again() -> None:
    world = start(order(slices=2, duration_s=100, qty="10"))
    while not of_kind(world, FillBooked):
        world.step()
    (fill,) = of_kind(world, FillBooked)
    world.at(world.now + NS_PER_S, busted(fill))
    world.run()
    assert end_of(world).cum_qty == 10
    assert sum(event.last_qty for event in of_kind(world, FillBooked)) == 15


def test_a_late_execution_is_not_bought_again_and_its_excess_is_taken_back() -> None:
    replies = [Reply("expire", part=ZERO, delay_ns=1), Reply("touch")]
    world = start(order(Algo.LIMIT, qty="10", price=Decimal("99.50"), duration_s=60), reply=scripted(replies))
    while len(of_kind(world, OrderApproved)) < 2:
        world.step()
    late = msgspec.structs.replace(filled(of_kind(world, OrderApproved)[0].order, "4", ts=world.now), late=True)
    world.at(world.now + 2 * NS_PER_S, late)
    world.run()
    taken_back = [event.text for event in of_kind(world, OrderCancelRequest)]
    assert taken_back[0] == "ahead of its curve"
    assert end_of(world).cum_qty == 4


def test_only_the_newest_children_that_are_too_much_are_taken_back() -> None:
    slicer = Slicer(INSTRUMENTS)
    slicer.open(accepted(parent(qty="100")))
    slicer.schedule(
        ParentScheduled(ts=NOW, parent_id="P1", times=(NOW,), targets=(Decimal(100),), end=NOW + 10 * MINUTE)
    )
    for number in (1, 2, 3):
        slicer.send(child(qty="30", cl_ord_id=f"P1C{number}A1"))
    late = child(cl_ord_id="P1C0A1")
    slicer.fill(filled(late, "50"))
    asked = slicer.on_updated(updated(late, OrdStatus.CANCELED))
    assert [event.cl_ord_id for event in asked if isinstance(event, OrderCancelRequest)] == ["P1C3A1", "P1C2A1"]


def test_a_parent_with_nothing_at_work_is_looked_at_when_its_curve_says_and_not_before() -> None:
    world = start(order(slices=4, duration_s=600, qty="40"))
    world.run()
    (curve,) = of_kind(world, ParentScheduled)
    assert [event.ts for event in of_kind(world, TimeAdvanced)] == list(curve.times)
    assert end_of(world).reason is EndReason.FILLED


# Halts ----------------------------------------------------------------------------------------------------------------


def halt(
    ts: int, state: str = "HALTED", *, working: WorkingOrders = WorkingOrders.CANCEL_ALL, cause: str = "drill"
) -> TradingHalted:
    return TradingHalted(ts=ts, cause=cause, state=TradingState(state), working=working)


def flatten(ts: int, symbol: str = "", number: int = 1) -> FlattenRequested:
    return FlattenRequested(ts=ts, request_id=f"flatten-{number}", by="somebody", symbol=symbol)


def test_halts_that_come_and_go_leave_a_few_entries_a_parent() -> None:
    each = order(slices=2, duration_s=600, qty="10")
    world = start(*(msgspec.structs.replace(each, parent_id=f"P{number}") for number in range(3)))
    for second in range(1, 300):
        world.at(NOW + second * NS_PER_S, halt(NOW + second * NS_PER_S, working=WorkingOrders.STAND))
        world.at(NOW + second * NS_PER_S + 1, TradingResumed(ts=NOW + second * NS_PER_S + 1, cause="drill"))
    while world.step():
        assert len(world.slicer._heap) <= STALE_MAX * 3
    assert [event.reason for event in of_kind(world, ParentEnded)] == [EndReason.FILLED] * 3


@pytest.mark.parametrize(
    "working,taken",
    [
        (WorkingOrders.STAND, []),
        (WorkingOrders.CANCEL_OPENING, ["P1"]),
        (WorkingOrders.CANCEL_ALL, ["P1", "P2"]),
    ],
)
def test_a_halt_takes_back_the_working_children_that_its_cause_names(working: WorkingOrders, taken: list[str]) -> None:
    buys = order(Algo.LIMIT, price=Decimal("99.50"), duration_s=60)
    sells = order(Algo.LIMIT, side=SELL, price=Decimal("100.50"), duration_s=60)
    world = start(
        buys, msgspec.structs.replace(sells, parent_id="P2"), reply=scripted([Reply("touch")])
    )  # P1 opens, P2 can only reduce what is held
    world.bus.publish(held("AAPL", 1_000))
    world.at(NOW + 5 * NS_PER_S, halt(NOW + 5 * NS_PER_S, working=working))
    world.run()
    asked = [event.parent_id for event in of_kind(world, OrderCancelRequest) if event.text == "halted: drill"]
    assert asked == taken
    assert len(children(world)) == 2


@pytest.mark.parametrize(
    "second,ends_at,taken",
    [
        (None, 60, []),
        ("50 at 99.50", 60, ["P1"]),  # executes: half of the first one would be short
        ("50 at 104", 60, ["P1", "P2"]),  # may execute yet, before its cancel comes
        ("50 at 104", 3, []),  # has ended without
    ],
)
def test_what_shrank_the_position_when_it_was_approved_is_taken_back_where_it_would_open_now(
    second: str | None, ends_at: int, taken: list[str]
) -> None:
    at, later = NOW + 5 * NS_PER_S, NOW + 7 * NS_PER_S
    world = start(
        order(Algo.LIMIT, symbol="SHRT", side=SELL, price=Decimal(103), duration_s=60), reply=scripted([Reply("touch")])
    )
    world.bus.publish(held("SHRT", 100))
    if second is not None:
        qty, price = second.split(" at ")
        beside = order(Algo.LIMIT, qty, "SHRT", SELL, price=Decimal(price), end=NOW + ends_at * NS_PER_S)
        world.at(NOW + 1, msgspec.structs.replace(beside, parent_id="P2", ts=NOW + 1))
    world.at(at, halt(at, "REDUCING", working=WorkingOrders.CANCEL_OPENING))
    world.at(later, quote("SHRT", "103.50", "103.52", ts=later))
    world.run()
    asked = [event.parent_id for event in of_kind(world, OrderCancelRequest) if event.text == "halted: drill"]
    assert asked == taken
    assert world.exposure.held("SHRT") >= 0


def test_after_a_halt_it_catches_up_with_its_curve() -> None:
    world = start(order(slices=10, duration_s=100))
    world.at(NOW + 10 * NS_PER_S, halt(NOW + 10 * NS_PER_S))
    world.at(NOW + 60 * NS_PER_S, TradingResumed(ts=NOW + 60 * NS_PER_S, cause="drill"))
    world.run()
    assert not [e for e in of_kind(world, NewOrderSingle) if 10 * NS_PER_S <= e.ts - NOW < 60 * NS_PER_S]
    assert any(event.ts == NOW + 60 * NS_PER_S for event in of_kind(world, NewOrderSingle))
    assert end_of(world).reason is EndReason.FILLED


def test_what_a_halt_held_back_is_worked_off_over_the_points_that_follow() -> None:
    world = start(order(slices=10, duration_s=1_000, qty="1000"))
    stop, go = NOW + 150 * NS_PER_S, NOW + 790 * NS_PER_S
    world.at(stop, halt(stop))
    world.at(go, TradingResumed(ts=go, cause="drill"))
    world.run()
    (curve,) = of_kind(world, ParentScheduled)
    late = [event for event in of_kind(world, NewOrderSingle) if event.ts >= go]
    assert [event.ts for event in late] == [go, *curve.times[8:], curve.times[-1] + RETRY_NS]
    assert [event.order_qty for event in late[:-1]] == [2 * largest_step(curve)] * 3
    assert end_of(world).reason is EndReason.FILLED


def test_of_many_parents_that_are_due_at_once_a_bounded_number_is_worked_at_a_time() -> None:
    """So that a halt, a cancel or a fill has its turn among a thousand parents that catch up."""
    many = 2 * MAX_DUE + 3
    orders = [msgspec.structs.replace(order(slices=10, duration_s=100), parent_id=f"P{i:02}") for i in range(many)]
    world = start(*orders)
    stop, go = NOW + 10 * NS_PER_S, NOW + 55 * NS_PER_S
    world.at(stop, halt(stop))
    world.at(go, TradingResumed(ts=go, cause="drill"))
    while not any(type(event) is TradingResumed for event in world.trace):
        world.step()
    worked = []
    for _ in range(3):
        before = len(world.trace)
        world.step()
        assert type(world.trace[before]) is TimeAdvanced
        worked.append([e.parent_id for e in world.trace[before:] if type(e) is NewOrderSingle])
    assert [len(parents) for parents in worked] == [MAX_DUE, MAX_DUE, 3]
    assert len({parent_id for parents in worked for parent_id in parents}) == many
    assert world.now == go
    world.run()
    assert {end.reason for end in of_kind(world, ParentEnded)} == {EndReason.FILLED}


def largest_step(curve: ParentScheduled) -> Decimal:
    return max(later - earlier for earlier, later in pairwise((ZERO, *curve.targets)))


@given(
    st.integers(1, 80),
    st.integers(1, 80),
    st.none() | st.integers(1, 50),
    st.sampled_from(["fill", "touch"]),
    st.sampled_from([Algo.TWAP, Algo.VWAP]),
)
@settings(max_examples=100)
def test_catching_up_is_bounded_and_completes(
    begin: int, length: int, max_slice: int | None, verdict: Verdict, algo: Algo
) -> None:
    limit = None if max_slice is None else Decimal(max_slice)
    world = start(
        order(algo, qty="500", slices=10, duration_s=100, max_slice=limit), reply=scripted([Reply(verdict, delay_ns=1)])
    )
    stop, go = NOW + begin * NS_PER_S, NOW + min(begin + length, 90) * NS_PER_S
    world.at(stop, halt(stop))
    world.at(go, TradingResumed(ts=go, cause="drill"))
    world.run()
    (curve,) = of_kind(world, ParentScheduled)
    net: dict[int, Decimal] = {}  # by point: what was sent, less what came back
    for event in world.trace:
        if isinstance(event, NewOrderSingle) and event.ts >= go and event.ts < curve.times[-1]:
            point = bisect_right(curve.times, event.ts)
            net[point] = net.get(point, ZERO) + event.order_qty
        elif isinstance(event, OrderUpdated) and event.ord_status is OrdStatus.CANCELED:
            point = bisect_right(curve.times, event.ts)
            net[point] = net.get(point, ZERO) - (event.order_qty - event.cum_qty)
    assert all(qty <= 2 * largest_step(curve) for qty in net.values())
    if max_slice is None or max_slice >= 5:
        assert end_of(world).reason is EndReason.FILLED


def test_during_a_halt_nobody_is_looked_at() -> None:
    world = start(order(slices=10, duration_s=100))
    world.at(NOW + 1, halt(NOW + 1))
    world.run()
    looked = [event.ts for event in of_kind(world, TimeAdvanced) if event.ts > NOW + 1]
    assert looked == [end_of(world).ts] == [NOW + 100 * NS_PER_S]
    assert end_of(world).reason is EndReason.HALTED


def test_while_reducing_the_gate_lets_only_shrinking_children_pass() -> None:
    sale, purchase = order(side=SELL, qty="50", duration_s=60), order(qty="50", duration_s=60)
    world = start(sale, msgspec.structs.replace(purchase, parent_id="P2"))
    world.bus.publish(held("AAPL", 50))
    world.at(NOW + 1, halt(NOW + 1, "REDUCING", working=WorkingOrders.STAND))
    world.run()
    ends = {event.parent_id: event for event in of_kind(world, ParentEnded)}
    assert ends["P1"].reason is EndReason.FILLED
    assert ends["P2"].reason is EndReason.DENIED
    assert world.exposure.held("AAPL") == ends["P2"].cum_qty
    refused = [event for event in of_kind(world, OrderDenied) if event.parent_id == "P2"]
    assert [event.reason for event in refused] == [Reason.STATE]  # it asks once, and waits for another state


def test_while_reducing_the_part_of_a_child_that_shrinks_goes_and_the_rest_waits() -> None:
    world = start(order(side=SELL, qty="150", symbol="SHRT", slices=2, duration_s=60))
    world.bus.publish(held("SHRT", 100))
    world.at(NOW + 1, halt(NOW + 1, "REDUCING", working=WorkingOrders.STAND))
    world.run()
    first, rest = (event.order.order_qty for event in of_kind(world, OrderApproved))
    assert [event.max_qty for event in of_kind(world, OrderDenied)] == [rest, None] == [100 - first, None]
    assert (end_of(world).reason, end_of(world).text) == (EndReason.DENIED, "STATE")
    assert world.exposure.held("SHRT") == 0


@pytest.mark.parametrize("change", ["none", "regime", "resume", "halt"])
def test_what_may_go_in_a_state_bounds_children_until_the_state_changes(change: str) -> None:
    bare = Bare()
    sent = child(ts=NOW, cl_ord_id="P1C1A1")
    bare.slicer.halt(halt(NOW, "REDUCING", cause="loss"))
    bare.slicer.send(sent)
    bare.slicer.deny(msgspec.structs.replace(denied(sent, Reason.STATE), max_qty=Decimal(30)))
    if change == "regime":
        bare.slicer.reconsider(RegimeSet(ts=NOW + 1, regime="NORMAL", by="ann"))
    elif change == "resume":
        bare.slicer.resume(TradingResumed(ts=NOW + 1, cause="loss"))
    elif change == "halt":
        bare.slicer.halt(halt(NOW + 1, "REDUCING", cause="venue"))
    now = NOW + RETRY_NS
    bare.slicer.advance(TimeAdvanced(ts=now))
    (again,) = bare.slicer.on_due(TimeAdvanced(ts=now))
    assert isinstance(again, NewOrderSingle)
    assert again.order_qty == (30 if change in {"none", "regime"} else 100)


def test_a_parent_that_was_paused_goes_on_when_the_state_changes() -> None:
    world = start(order(slices=10, duration_s=100))
    world.at(NOW + 1, halt(NOW + 1, "REDUCING", working=WorkingOrders.STAND))
    world.at(NOW + 60 * NS_PER_S, TradingResumed(ts=NOW + 60 * NS_PER_S, cause="drill"))
    world.run()
    assert end_of(world).reason is EndReason.FILLED


# Flatten --------------------------------------------------------------------------------------------------------------


def test_a_flatten_closes_what_is_held_while_everything_else_stands_still() -> None:
    world = start(order(slices=10, duration_s=100))
    world.bus.publish(held("AAPL", 50))
    world.bus.publish(held("SHRT", -7))
    world.at(NOW + 1, halt(NOW + 1))
    world.at(NOW + NS_PER_S, flatten(NOW + NS_PER_S))
    world.run()
    ends = {event.symbol: event.reason for event in of_kind(world, ParentEnded) if event.parent_id != "P1"}
    assert ends == {"AAPL": EndReason.FILLED, "SHRT": EndReason.FILLED}
    assert {symbol: qty for symbol, qty in world.exposure.book.symbols() if qty} == {}
    (stopped,) = (event for event in of_kind(world, ParentEnded) if event.parent_id == "P1")
    assert stopped.reason is EndReason.TAKEN_BACK


def test_a_flatten_of_one_symbol_leaves_the_others() -> None:
    world = start(order(Algo.LIMIT, price=Decimal("99.50"), duration_s=60, symbol="SHRT"), reply=scripted([Reply()]))
    world.bus.publish(held("AAPL", 50))
    world.at(NOW + 1, halt(NOW + 1, working=WorkingOrders.STAND))
    world.at(NOW + NS_PER_S, flatten(NOW + NS_PER_S, "AAPL"))
    world.at(NOW + 2 * NS_PER_S, TradingResumed(ts=NOW + 2 * NS_PER_S, cause="drill"))
    world.run()
    assert world.exposure.held("AAPL") == 0
    assert {event.symbol: event.reason for event in of_kind(world, ParentEnded)} == {
        "AAPL": EndReason.FILLED,
        "SHRT": EndReason.FILLED,
    }


def test_a_flatten_counts_what_works_already_and_never_flips() -> None:
    sale = order(Algo.LIMIT, side=SELL, price=Decimal("100.50"), duration_s=60, qty="30")
    world = start(sale, reply=scripted([Reply("touch", on_cancel="silence"), Reply()]))  # its cancel is never answered
    world.bus.publish(held("AAPL", 50))
    world.at(NOW + NS_PER_S, halt(NOW + NS_PER_S))
    world.at(NOW + 2 * NS_PER_S, flatten(NOW + 2 * NS_PER_S))
    while world.now < NOW + 10 * NS_PER_S and world.step():
        pass
    closing = [event for event in of_kind(world, ParentAccepted) if event.parent.flatten]
    assert [event.order_qty for event in closing] == [Decimal(20)]
    assert world.exposure.held("AAPL") == 30


def rests(part: str = "0") -> Reply:
    return Reply("part", part=Decimal(part))


def in_parts(qty: str) -> ParentOrder:
    """A sale that rests, 250 at a time, the first at once."""
    price, most = Decimal("100.50"), Decimal(250)
    return order(Algo.LIMIT, side=SELL, qty=qty, price=price, max_slice=most, duration_s=400)


def test_what_a_stopped_parent_has_not_sent_is_closed_at_once_and_its_children_once_they_are_back() -> None:
    world = start(in_parts("1000"), reply=scripted([rests(), *[Reply()] * 9]))
    world.bus.publish(held("AAPL", 1000))
    world.at(NOW + 1, halt(NOW + 1, "REDUCING", working=WorkingOrders.STAND))
    world.at(NOW + 2, flatten(NOW + 2))
    world.run()
    asked = [(event.ts - NOW, event.order_qty) for event in of_kind(world, ParentOrder) if event.flatten]
    assert asked == [(2, Decimal(750)), (2 + PAPER_NS, Decimal(250))]
    assert world.exposure.held("AAPL") == 0
    assert of_kind(world, OrderDenied) == []


@pytest.mark.parametrize("wait_ns", [0, 1, PAPER_NS // 2, PAPER_NS - 2, PAPER_NS, 2 * PAPER_NS])
def test_a_flatten_right_after_a_halt_closes_what_the_halt_takes_back(wait_ns: int) -> None:
    world = start(in_parts("900"), reply=scripted([rests(), *[Reply()] * 9]))
    world.bus.publish(held("AAPL", 1000))
    world.at(NOW + 1, halt(NOW + 1))
    world.at(NOW + 1 + wait_ns, flatten(NOW + 1 + wait_ns))
    world.run()
    assert world.exposure.held("AAPL") == 0
    assert of_kind(world, OrderDenied) == []  # nothing was asked for twice


def test_what_the_other_side_still_bought_while_it_was_taken_back_is_closed_too() -> None:
    purchase = order(Algo.LIMIT, price=Decimal("99.90"), qty="20", duration_s=60)
    world = start(purchase, reply=scripted([Reply("touch", on_cancel="execute"), *[Reply()] * 9]))
    world.bus.publish(held("AAPL", 50))
    world.at(NOW + NS_PER_S, halt(NOW + NS_PER_S, "REDUCING", working=WorkingOrders.STAND))
    world.at(NOW + NS_PER_S + 1, flatten(NOW + NS_PER_S + 1))
    world.run()
    assert [event.order_qty for event in of_kind(world, ParentOrder) if event.flatten] == [50, 20]
    assert world.exposure.held("AAPL") == 0


def test_a_second_flatten_closes_what_the_first_one_has_not() -> None:
    world = start(reply=scripted([rests("0.1"), *[Reply()] * 9]))
    world.bus.publish(held("AAPL", 1000))
    world.at(NOW + 1, halt(NOW + 1))
    for second in (1, 2):
        world.at(NOW + second * NS_PER_S, flatten(NOW + second * NS_PER_S, number=second))
    while world.now < NOW + 3 * NS_PER_S and world.step():
        pass
    assert world.exposure.held("AAPL") == 0
    assert [event.order_qty for event in of_kind(world, ParentOrder)] == [1000, 900]


def test_a_halt_after_a_flatten_leaves_held_what_it_takes_back() -> None:
    sale = order(Algo.LIMIT, side=SELL, price=Decimal("100.50"), qty="50", duration_s=60)
    world = start(sale, reply=scripted([rests()]))
    world.bus.publish(held("AAPL", 50))
    world.at(NOW + NS_PER_S, halt(NOW + NS_PER_S, "REDUCING", working=WorkingOrders.STAND))
    world.at(NOW + NS_PER_S + 1, flatten(NOW + NS_PER_S + 1), halt(NOW + NS_PER_S + 1, cause="again"))
    world.run()
    assert [event.parent_id for event in of_kind(world, ParentOrder)] == ["P1"]
    assert world.exposure.held("AAPL") == 50


def test_a_halt_that_takes_everything_back_ends_a_flatten() -> None:
    world = start(reply=scripted([Reply("part", part=ZERO)]))  # it rests
    world.bus.publish(held("AAPL", 50))
    world.at(NOW + 1, halt(NOW + 1))
    world.at(NOW + NS_PER_S, flatten(NOW + NS_PER_S))
    world.at(NOW + 2 * NS_PER_S, halt(NOW + 2 * NS_PER_S))
    world.run()
    (end,) = of_kind(world, ParentEnded)
    assert (end.reason, end.cum_qty) == (EndReason.TAKEN_BACK, ZERO)


# In each other's way --------------------------------------------------------------------------------------------------


def bid(qty: str = "20", symbol: str = "AAPL", parent_id: str = "B", **how: Any) -> ParentOrder:  # noqa: ANN401
    """Purchases that rest at 99.90: in the way of a sale that crosses, down to 99.79."""
    instruction: dict[str, Any] = {"price": Decimal("99.90"), "max_slice": Decimal(10), "duration_s": 60} | how
    wanted = order(Algo.LIMIT, qty, symbol, **instruction)
    return msgspec.structs.replace(wanted, parent_id=parent_id, strategy="beta")


def way_out(second: int, qty: str = "100", symbol: str = "AAPL", side: Side = SELL, **how: Any) -> ParentOrder:  # noqa: ANN401
    """Out at the market, so long after the start."""
    wanted = order(Algo.MARKET, qty, symbol, side, **how)
    return msgspec.structs.replace(wanted, parent_id="OUT", strategy="gamma", ts=NOW + second * NS_PER_S)


def ends_of(world: PureBus) -> dict[str, tuple[str, str]]:
    return {event.parent_id: (event.reason, event.text) for event in of_kind(world, ParentEnded)}


def taken_away(world: PureBus) -> list[tuple[str, str, int]]:
    """What was taken back for another order of ours: which one, for which, and when."""
    asked = of_kind(world, OrderCancelRequest)
    return [(e.cl_ord_id, e.text.split()[-1], e.ts - NOW) for e in asked if e.text.startswith("in the way of ")]


def test_what_shrinks_the_position_takes_back_all_that_is_in_its_way_at_once_and_goes_first() -> None:
    world = start(bid(), way_out(5), reply=scripted([Reply("touch")]))
    world.bus.publish(held("AAPL", 100))
    world.at(NOW + 30 * NS_PER_S, quote(bid="99.88", ask="99.90", ts=NOW + 30 * NS_PER_S))
    world.run()
    at = 5 * NS_PER_S
    assert taken_away(world) == [("BC1A1", "OUTC1A1", at), ("BC2A1", "OUTC1A1", at)]
    assert ends_of(world) == {"OUT": ("FILLED", ""), "B": ("FILLED", "")}
    (over,) = (event for event in of_kind(world, ParentEnded) if event.parent_id == "OUT")
    assert over.ts - NOW == at + 2 * PAPER_NS + 1  # a cancel, and an execution
    assert [event.ts - NOW for event in of_kind(world, NewOrderSingle) if event.parent_id == "B"] == [
        *(0, NS_PER_S + PAPER_NS),
        *(over.ts - NOW, over.ts - NOW + NS_PER_S + PAPER_NS),  # at once, as nobody is in haste any more
    ]


@pytest.mark.parametrize(
    "state,working", [("REDUCING", WorkingOrders.STAND), ("REDUCING", WorkingOrders.CANCEL_OPENING)]
)
def test_no_state_of_trading_holds_that_up(state: str, working: WorkingOrders) -> None:
    world = start(bid(), way_out(5), reply=scripted([Reply("touch", on_cancel="refuse")]))  # each is asked twice
    world.bus.publish(held("AAPL", 100))
    world.at(NOW + 4 * NS_PER_S, halt(NOW + 4 * NS_PER_S, state, working=working))
    world.run()
    assert ends_of(world) == {"OUT": ("FILLED", ""), "B": ("DENIED", "STATE")}
    assert world.exposure.held("AAPL") == 0


def test_what_opens_waits_until_nothing_is_in_its_way() -> None:
    world = start(bid(duration_s=30), way_out(5, qty="101", symbol="SHRT"), reply=scripted([Reply("touch")]))
    world.at(NOW, bid(symbol="SHRT", parent_id="C", duration_s=30))
    world.bus.publish(held("SHRT", 100))  # less than is to be sold
    world.run()
    assert taken_away(world) == []
    assert ends_of(world)["OUT"] == ("FILLED", "")
    assert world.exposure.held("SHRT") == -1
    (over,) = (event for event in of_kind(world, ParentEnded) if event.parent_id == "OUT")
    assert over.ts >= NOW + 30 * NS_PER_S


def test_a_cancel_that_the_venue_does_not_answer_is_asked_for_once_and_the_end_says_what_was_in_the_way() -> None:
    world = start(bid("10"), way_out(5, duration_s=20), reply=scripted([Reply("touch", on_cancel="silence")]))
    world.bus.publish(held("AAPL", 100))
    world.run()
    assert taken_away(world) == [("BC1A1", "OUTC1A1", 5 * NS_PER_S)]
    assert ends_of(world)["OUT"] == ("DENIED", "SELF_MATCH")


@pytest.mark.parametrize("ask,end", [(None, ("DENIED", "SELF_MATCH")), ("100.01", ("LIMIT_PRICE", ""))])
def test_who_stands_back_at_its_end_ends_denied_unless_the_market_was_beyond_its_limit(
    ask: str | None, end: tuple[str, str]
) -> None:
    slow = Reply("touch", delay_ns=2 * NS_PER_S)  # the way out is open for longer than the other has time
    world = start(bid("10", duration_s=6), way_out(5), reply=scripted([Reply("touch"), slow]))
    world.bus.publish(held("AAPL", 100))
    world.bus.publish(quote(ask=ask, last="100.00"))
    world.run()
    assert ends_of(world) == {"OUT": ("FILLED", ""), "B": end}


FACING = st.tuples(
    st.sampled_from([Algo.TWAP, Algo.VWAP, Algo.MARKET, Algo.LIMIT]), st.integers(1, 12), st.none() | st.integers(5, 20)
)


STATED = {("FILLED", ""), ("DENIED", "SELF_MATCH"), ("LIMIT_PRICE", "")}


def facing(parent_id: str, side: Side, qty: int, drawn: tuple[Algo, int, int | None], ts: int = NOW) -> ParentOrder:
    """One of two that want the opposite of each other, for a minute and a half."""
    algo, slices, most = drawn
    limit = Decimal("99.90" if side is BUY else "100.10") if algo is Algo.LIMIT else None
    largest = None if most is None else Decimal(most)
    wanted = order(algo, str(qty), "SHRT", side, slices=slices, max_slice=largest, price=limit, duration_s=90)
    return msgspec.structs.replace(wanted, parent_id=parent_id, strategy=parent_id, ts=ts)


@given(
    st.lists(FACING, min_size=1, max_size=3),
    st.tuples(st.integers(1, 100), st.sampled_from(Side)),
    st.integers(0, 60),
    st.sampled_from([NS_PER_MS, 20 * NS_PER_MS, 300 * NS_PER_MS]),
    st.sampled_from([8, 1_000]),
)
@settings(max_examples=100)
def test_whatever_the_other_side_wants_the_way_out_is_open_within_seconds(
    others: list[tuple[Algo, int, int | None]], size: tuple[int, Side], second: int, delay_ns: int, messages: int
) -> None:
    qty, side = size
    wanted = [facing(f"P{number}", side.opposite, 40, drawn) for number, drawn in enumerate(others)]
    bounds = msgspec.structs.replace(PATIENT, messages_per_s=messages)
    reply = scripted([Reply("touch", delay_ns=delay_ns)])
    world = start(*wanted, way_out(second, str(qty), "SHRT", side), reply=reply, bounds=bounds)
    world.bus.publish(held("SHRT", side.opposite.sign * 100))
    Watch(world)
    world.run()
    (over,) = (event for event in of_kind(world, ParentEnded) if event.parent_id == "OUT")
    assert over.reason is EndReason.FILLED
    assert over.ts - (NOW + second * NS_PER_S) < (3 if messages == 1_000 else 10) * NS_PER_S
    for number, (algo, _, most) in enumerate(others):
        end = ends_of(world)[f"P{number}"]
        assert end in STATED
        if algo is not Algo.LIMIT and most is None and second < 45 and messages == 1_000:
            assert end == ("FILLED", "")


@given(FACING, FACING, st.integers(-100, 100), st.sampled_from([NS_PER_MS, 300 * NS_PER_MS]))
@example((Algo.TWAP, 12, None), (Algo.TWAP, 10, 5), -20, 300 * NS_PER_MS)  # who went first ended a second before it
@settings(max_examples=100)
def test_of_two_that_face_each_other_on_their_way_out_nobody_keeps_the_other_from_getting_on(
    sale: tuple[Algo, int, int | None], purchase: tuple[Algo, int, int | None], net: int, delay_ns: int
) -> None:
    """One strategy is long and the other short: their sum decides who shrinks the account's position."""
    long, short = (100 + net, 100) if net > 0 else (100, 100 - net)
    world = start(
        facing("LONG", SELL, long, sale),
        facing("SHORT", BUY, short, purchase),
        reply=scripted([Reply("touch", delay_ns=delay_ns)]),
    )
    if net:
        world.bus.publish(held("SHRT", net))
    Watch(world)
    world.run()
    assert len(taken_away(world)) <= len(of_kind(world, OrderApproved))
    assert len(of_kind(world, NewOrderSingle)) < 1_000
    assert set(ends_of(world).values()) <= STATED
    if Algo.LIMIT not in {sale[0], purchase[0]}:
        assert set(ends_of(world).values()) == {("FILLED", "")}


class Facing:
    """A slicer with a purchase that rests and a sale; the sale's children are denied by hand."""

    def __init__(self, *, sale_flattens: bool = False, purchase_flattens: bool = False) -> None:
        self.slicer, self.count = Slicer(INSTRUMENTS), 0
        self.slicer.quote(quote())
        purchase, sale = bid(), msgspec.structs.replace(way_out(0, duration_s=60), flatten=sale_flattens)
        for wanted in (msgspec.structs.replace(purchase, flatten=purchase_flattens), sale):
            news = accepted(wanted)
            self.slicer.open(news)
            (curve,) = self.slicer.on_accepted(news)
            assert isinstance(curve, ParentScheduled)
            self.slicer.schedule(curve)
        self.resting = child(parent_id="B", cl_ord_id="BC1A1", qty="10", price=Decimal("99.90"))
        self.slicer.send(self.resting)

    def deny(self, now: int, reason: Reason = Reason.SELF_MATCH, **changes: Any) -> list[str]:  # noqa: ANN401
        """What is taken back then."""
        self.count += 1
        sent = child(side=SELL, ts=now, parent_id="OUT", cl_ord_id=f"OUTC{self.count}A1")
        self.slicer.send(sent)
        denial = denied(sent, reason, **changes)
        self.slicer.deny(denial)
        asked = [event for event in self.slicer.on_denied(denial) if isinstance(event, OrderCancelRequest)]
        for event in asked:
            self.slicer.cancel(event)
        return [event.cl_ord_id for event in asked]

    def buys(self, now: int) -> bool:
        """Whether the purchase sends another child at that moment."""
        return any(isinstance(event, NewOrderSingle) for event in self.slicer._work("B", now))


OURS = ("BC1A1",)


@pytest.mark.parametrize(
    "reducing,sale_flattens,purchase_flattens,met,taken",
    [
        (True, False, False, OURS, OURS),
        (False, False, False, OURS, ()),  # what opens waits
        (False, True, False, OURS, OURS),
        (True, False, True, OURS, ()),  # a flatten makes way for nobody
        (True, False, False, (), ()),  # something in doubt is in its way
        (True, False, False, ("GONEC1A1",), ()),  # an order that has outlived its parent
        (True, False, False, ("GONEC1A1", *OURS), OURS),
    ],
)
def test_who_makes_way_for_whom(
    *, reducing: bool, sale_flattens: bool, purchase_flattens: bool, met: tuple[str, ...], taken: tuple[str, ...]
) -> None:
    facing = Facing(sale_flattens=sale_flattens, purchase_flattens=purchase_flattens)
    assert facing.buys(NOW)
    assert facing.deny(NOW, reducing=reducing, met=met) == list(taken)
    assert facing.buys(NOW) == (not taken)


def test_an_operators_flatten_stands_back_for_nobody() -> None:
    facing = Facing()
    facing.deny(NOW, reducing=True, met=OURS)
    assert not facing.buys(NOW)
    facing.slicer.parents["B"].flatten = True
    assert facing.buys(NOW)


def test_what_is_on_its_way_back_is_not_asked_for_again_unless_the_venue_kept_it() -> None:
    facing = Facing()
    assert facing.deny(NOW, reducing=True, met=OURS) == ["BC1A1"]
    assert facing.deny(NOW + 1, reducing=True, met=OURS) == []
    facing.slicer.update(updated(facing.resting, OrdStatus.NEW, ts=NOW + 2))
    assert facing.deny(NOW + 3, reducing=True, met=OURS) == ["BC1A1"]


def test_who_went_first_goes_first_while_the_rate_holds_it_up_and_no_longer() -> None:
    facing = Facing()
    assert facing.deny(NOW, Reason.RATE, reducing=True) == []
    assert facing.buys(NOW)  # nothing was in its way
    facing.deny(NOW, reducing=True, met=OURS)
    for second in range(1, 6):
        now = NOW + second * NS_PER_S
        facing.deny(now, Reason.RATE, reducing=True)
        assert not facing.buys(now)
    again = Slicer(INSTRUMENTS)
    again.load(msgspec.json.decode(msgspec.json.encode(facing.slicer.dump(), enc_hook=str)))
    assert again.dump() == facing.slicer.dump()
    facing.deny(NOW + 6 * NS_PER_S, Reason.RATE)  # what opens has no claim to it
    last = NOW + 5 * NS_PER_S + WAY_NS
    assert not facing.buys(last - 1)
    assert facing.buys(last)


# By the volume -------------------------------------------------------------------------------------------------------


def trading(world: PureBus, *, until_s: int, every_s: int = 5, volume: int = 900, symbol: str = "AAPL") -> PureBus:
    """The market trades so much, again and again."""
    world.bus.publish(quote(symbol, volume=volume))  # so that it is known to tell volumes
    for second in range(every_s, until_s + 1, every_s):
        world.at(NOW + second * NS_PER_S, quote(symbol, volume=volume, ts=NOW + second * NS_PER_S))
    return world


def sent_by(world: PureBus) -> list[tuple[int, Decimal]]:
    """When, in seconds, and how much."""
    return [((event.ts - NOW) // NS_PER_S, event.order_qty) for event in of_kind(world, NewOrderSingle)]


def test_a_pov_is_a_ninth_of_what_others_trade_and_waits_for_them() -> None:
    world = trading(start(order(Algo.POV, qty="1000")), until_s=60)
    world.run()
    assert sent_by(world) == [(5 * k, Decimal(100)) for k in range(1, 11)]
    assert end_of(world).reason is EndReason.FILLED


def test_a_pov_that_rests_too_long_crosses_for_all_that_it_is_behind() -> None:
    world = trading(start(order(Algo.POV, qty="300"), reply=scripted([Reply("touch")])), until_s=60)
    world.run()
    assert children(world) == ["100 at 99.99", "200 at 100.00", "300 at 100.21"]
    first, second, third = (event.ts for event in of_kind(world, NewOrderSingle))
    assert second - first == PATIENCE_NS // 4 + PAPER_NS
    assert third - first == PATIENCE_NS // 2 + PAPER_NS
    assert end_of(world).reason is EndReason.FILLED


def test_a_pov_ends_with_its_window_where_nobody_trades() -> None:
    world = trading(start(order(Algo.POV, qty="300", duration_s=600)), until_s=20, volume=90)
    world.run()
    assert sum(qty for _, qty in sent_by(world)) == 40
    assert end_of(world).reason is EndReason.WINDOW
    assert end_of(world).leaves_qty == 260


@pytest.mark.parametrize("algo", [Algo.POV, Algo.ADAPTIVE])
@pytest.mark.parametrize("missed", ["halt", "limit"])
def test_who_follows_the_volume_makes_up_for_two_minutes_at_most(algo: Algo, missed: str) -> None:
    """A tenth is 100 in five seconds and 72,000 in the hour in which nothing is sent; who adapts may be thrice it."""
    limit = Decimal("100.05") if missed == "limit" else None
    wanted = order(algo, qty="900000", duration_s=7_200, price=limit)
    world = start(wanted, reply=scripted([Reply("touch")]))
    for second in range(0, 7_200, 5):
        dear = missed == "limit" and 600 <= second < 4_200
        bid, ask = ("101.00", "101.02") if dear else ("99.99", "100.01")
        world.at(NOW + second * NS_PER_S, quote(bid=bid, ask=ask, volume=900, ts=NOW + second * NS_PER_S))
    if missed == "halt":
        world.at(NOW + 600 * NS_PER_S, halt(NOW + 600 * NS_PER_S))
        world.at(NOW + 4_200 * NS_PER_S, TradingResumed(ts=NOW + 4_200 * NS_PER_S, cause="drill"))
    world.run()
    sizes = [qty for second, qty in sent_by(world) if second >= 4_200]
    most = (
        (24 + PATIENCE_NS // (5 * NS_PER_S)) * 100 * (3 if algo is Algo.ADAPTIVE else 1)
    )  # what trades on its way up, too
    assert 12 * 100 <= max(sizes) <= most


def test_what_must_be_large_to_be_sent_is_saved_for_however_long_it_takes() -> None:
    world = trading(start(order(Algo.POV, qty="5000", duration_s=3_600, min_slice=Decimal(4_000))), until_s=3_600)
    world.run()
    assert [qty for _, qty in sent_by(world)] == [4_000, 1_000]


def test_whoever_follows_a_curve_is_no_more_than_the_hard_bound_of_the_volume() -> None:
    world = trading(start(order(slices=1, qty="1000", duration_s=600)), until_s=600, volume=7)
    world.run()
    assert end_of(world).cum_qty == 7 * 600 // 5 * 3 // 7 - 6  # 3/7 of what it saw: it looks each 5 s
    world = trading(start(order(slices=1, qty="1000", duration_s=600, participation=0.05)), until_s=600, volume=95)
    world.run()
    assert end_of(world).cum_qty == 5 * 600 // 5 - 10


def crowded(*orders: ParentOrder, until_s: int, volume: int = 7, reply: Callable[[int], Reply] = obliging) -> PureBus:
    """These in a market that trades, under the eyes of who knows the laws."""
    world = trading(start(*orders, reply=reply), until_s=until_s, volume=volume)
    Watch(world)
    return world


def done_by(world: PureBus) -> dict[str, Decimal]:
    return {event.parent_id: event.cum_qty for event in of_kind(world, ParentEnded)}


@pytest.mark.parametrize("algo", [Algo.POV, Algo.TWAP])
@pytest.mark.parametrize("number", [1, 2, 4])
def test_all_who_follow_curves_in_a_symbol_are_together_no_more_than_the_hard_bound(algo: Algo, number: int) -> None:
    wanted = order(algo, qty="1000", slices=1, duration_s=300, participation=0.3)
    crowd = [msgspec.structs.replace(wanted, parent_id=f"P{n}", strategy=f"S{n}") for n in range(number)]
    market = order(Algo.MARKET, qty="5000", participation=0.5, duration_s=300)  # which is none of them
    last = msgspec.structs.replace(
        wanted, parent_id="L", ts=NOW + 400 * NS_PER_S
    )  # from nothing: the others have ended
    world = crowded(*crowd, msgspec.structs.replace(market, parent_id="M"), last, until_s=700)
    world.run()
    done = done_by(world)
    assert done.pop("M") == 7 * 300 // 5 - 7
    assert done.pop("L") == 3 * 300 // 5
    assert sum(done.values()) == 3 * 300 // 5 - 3
    assert not world.slicer._sharing.together


def test_what_few_did_not_use_is_not_used_up_by_many() -> None:
    few = order(qty="4", slices=4, duration_s=600)
    begin = NOW + 300 * NS_PER_S
    many = [
        msgspec.structs.replace(order(Algo.POV, qty="1000", participation=0.3, duration_s=200), parent_id=f"M{n}")
        for n in range(4)
    ]
    world = crowded(few, *[msgspec.structs.replace(one, ts=begin) for one in many], until_s=600)
    world.run()
    done = done_by(world)
    assert done.pop("P1") == 4
    assert 3 * 200 // 5 - 6 <= sum(done.values()) <= 3 * (200 + 2 * 60) // 5  # two minutes of the five before


def test_one_after_another_begins_and_none_of_them_starves() -> None:
    """In each second one that wants a share a second for ten: ten of the thirty a second that all may be."""
    crowd = [
        msgspec.structs.replace(order(qty="10", slices=10, duration_s=10), parent_id=f"P{n}", ts=NOW + n * NS_PER_S)
        for n in range(120)
    ]
    world = crowded(*crowd, until_s=200, volume=350)
    world.run()
    assert [event.reason for event in of_kind(world, ParentEnded)] == [EndReason.FILLED] * 120


@pytest.mark.parametrize("algo", [Algo.TWAP, Algo.POV])
@pytest.mark.parametrize("min_slice", [None, 1_500])
def test_who_saves_for_its_smallest_slice_starves_nobody_where_others_begin_all_the_time(
    algo: Algo, min_slice: int | None
) -> None:
    """Of what trades 514 a minute may be ours: that slice takes three of them, and each minute somebody begins."""
    least = None if min_slice is None else Decimal(min_slice)
    saver = order(algo, "12000", participation=0.3, slices=10, duration_s=7_200, min_slice=least)
    plain = order(algo, "12000", participation=0.3, slices=10, duration_s=7_200)
    small = order(Algo.POV, "40", participation=0.3, duration_s=600)
    begun = [msgspec.structs.replace(small, parent_id=f"J{n}", ts=NOW + n * MINUTE) for n in range(110)]
    both = [msgspec.structs.replace(one, parent_id=name) for name, one in (("A", saver), ("B", plain))]
    world = crowded(*both, *begun, until_s=7_200, volume=100)
    world.run(steps_max=100_000)
    assert {event.reason for event in of_kind(world, ParentEnded)} == {EndReason.FILLED}


@pytest.mark.parametrize("min_slice", [300, 500])
@pytest.mark.parametrize("others", [0, 3])
def test_a_smallest_slice_over_two_steps_of_the_curve_is_kept_and_waited_for(min_slice: int, others: int) -> None:
    wanted = order(qty="6000", slices=60, duration_s=3_600, min_slice=Decimal(min_slice))
    crowd = [
        msgspec.structs.replace(order(qty="40000", slices=60, duration_s=3_600), parent_id=f"B{n}")
        for n in range(others)
    ]
    world = crowded(wanted, *crowd, until_s=3_600, volume=100)
    world.run(steps_max=100_000)
    assert done_by(world)["P1"] >= 6_000 - min_slice
    sizes = [event.order_qty for event in of_kind(world, NewOrderSingle) if event.parent_id == "P1"]
    assert set(sizes[:-1]) == {Decimal(min_slice)}


@pytest.mark.parametrize("algo", [Algo.TWAP, Algo.POV])
def test_a_smallest_slice_that_the_gate_lets_go_in_parts_only_is_waited_for_all_the_same(algo: Algo) -> None:
    """Each child of 100 is one of a slice for which there is room."""
    wanted = order(algo, "6000", slices=10, duration_s=3_600, min_slice=Decimal(600), participation=0.1)
    world = trading(start(wanted), until_s=3_600, volume=100)
    lower = msgspec.structs.replace(PATIENT.symbols_default, order_qty_max=Decimal(100))
    then = NOW + 120 * NS_PER_S
    world.at(then, limits_set(msgspec.structs.replace(PATIENT, symbols_default=lower), then))
    world.run(steps_max=100_000)
    assert end_of(world).cum_qty >= 5_000


@pytest.mark.parametrize(
    "min_slice, max_slice, slices, sizes",
    [(250, None, 50, {300, 200}), (150, None, 50, {200}), (250, 299, 50, {200}), (250, 350, 5, {300, 200})],
)
def test_a_smallest_slice_is_of_whole_lots(min_slice: int, max_slice: int | None, slices: int, sizes: set[int]) -> None:
    """Of 5,000 the last one may be 200."""
    most = None if max_slice is None else Decimal(max_slice)
    wanted = order(
        qty="5000",
        symbol="LOTS",
        side=SELL,
        slices=slices,
        duration_s=600,
        min_slice=Decimal(min_slice),
        max_slice=most,
    )
    world = trading(start(wanted), until_s=620, volume=7_000, symbol="LOTS")
    world.run()
    sent = [int(qty) for _, qty in sent_by(world)]
    assert end_of(world).reason is EndReason.FILLED
    assert set(sent) == sizes
    assert set(sent[:-1]) == {max(sizes)}


def test_who_has_its_turn_and_cannot_send_does_not_keep_the_others_from_it() -> None:
    """No venue is there for one of them."""
    away = msgspec.structs.replace(order(qty="20000", slices=2, duration_s=3_600), parent_id="A")
    plain = msgspec.structs.replace(order(qty="20000", slices=60, duration_s=3_600), parent_id="B")
    world = crowded(away, plain, until_s=3_600, volume=100)
    world.slicer._place = lambda wanted, _: () if wanted.parent_id == "A" else (wanted,)
    world.run(steps_max=100_000)
    assert done_by(world) == {"A": 0, "B": 20_000}


def test_in_line_one_follows_the_other_at_once() -> None:
    """Volume comes in lumps, of each enough for all who wait."""
    crowd = [msgspec.structs.replace(order(qty="100", slices=1, duration_s=600), parent_id=f"P{n}") for n in range(40)]
    world = start(*crowd)
    Watch(world)
    for second in (0, 300, 301):
        traded = 1 if second == 0 else 4_000 * 7 // 3 + 3 if second == 300 else 0
        world.at(NOW + second * NS_PER_S, quote(volume=traded, ts=NOW + second * NS_PER_S))
    world.run(steps_max=100_000)
    moments = [event.ts for event in of_kind(world, NewOrderSingle)]
    assert len(moments) == 40
    assert max(moments) - NOW <= 300 * NS_PER_S + POLL_NS


@pytest.mark.parametrize("offset", [-1, 0, 1])
def test_an_amendment_in_the_moment_of_a_point_leaves_the_plan_that_is_made_there(offset: int) -> None:
    wanted = of_signal(Algo.IS, "30000", slices=20, duration_s=3_600, price=Decimal(105))
    world = trading(start(wanted, cash="1000000000"), until_s=3_600, volume=60)
    world.bus.publish(quote(volume=1_000))
    amended: set[int] = set()

    def tap(_: Event) -> None:
        live = next(iter(world.slicer.parents.values()), None)
        following = None if live is None or live.curve is None else live.curve.next_time(world.now)
        if following is not None and following > world.now + 2 and following not in amended:
            amended.add(following)
            ts, price = following + offset, Decimal(105) + len(amended) % 2
            world.at(ts, received(amending(wanted, Change(price=price), f"a{len(amended)}", ts=ts), ts))

    world.taps.append(tap)
    world.run(steps_max=100_000)
    assert len(of_kind(world, ParentScheduled)) > 20  # it is behind


@pytest.mark.parametrize("algo", [Algo.POV, Algo.ADAPTIVE])
def test_where_its_part_of_two_minutes_is_under_a_lot_one_waits_for_longer(algo: Algo) -> None:
    """47 a minute may be ours, in lots of 100, of which ADAPTIVE may take half as much or thrice."""
    world = start(order(algo, "5000", "LOTS", SELL, duration_s=4 * 3_600))
    Watch(world)
    trading(world, until_s=4 * 3_600, volume=35, symbol="LOTS").run(steps_max=100_000)
    assert end_of(world).cum_qty == 5_000


def test_lots_are_saved_for_by_who_waits_while_others_begin() -> None:
    """Of 96 a minute 41 may be ours."""
    small = order(qty="100", symbol="LOTS", side=SELL, duration_s=600)
    begun = [msgspec.structs.replace(small, parent_id=f"J{n}", ts=NOW + n * MINUTE) for n in range(230)]
    world = start(order(qty="2000", symbol="LOTS", side=SELL, duration_s=4 * 3_600), *begun)
    Watch(world)
    trading(world, until_s=4 * 3_600, volume=8, symbol="LOTS").run(steps_max=200_000)
    may = 8 * 720 * 4 * 3 // 7
    assert may - 400 <= sum(done_by(world).values()) <= may  # but what traded before anybody was in line


@pytest.mark.parametrize("number", [1, 8])
def test_who_cannot_trade_at_its_limit_takes_no_volume_from_those_who_can(number: int) -> None:
    far = order(qty="20000", slices=12, duration_s=3_600, price=Decimal(90))
    crowd = [msgspec.structs.replace(far, parent_id=f"H{n}") for n in range(number)]
    plain = msgspec.structs.replace(order(qty="8000", slices=12, duration_s=3_600), parent_id="C")
    bounds = limits(quote_age_s_max=86_400.0, collar=Decimal("0.5"))
    world = trading(
        start(*crowd, plain, reply=scripted([Reply("touch")]), bounds=bounds), until_s=3_600, volume=35 * (5 + number)
    )
    Watch(world)
    world.run(steps_max=100_000)
    found = {event.parent_id: event for event in of_kind(world, ParentEnded)}
    assert found.pop("C").reason is EndReason.FILLED
    assert {each.reason for each in found.values()} == {EndReason.LIMIT_PRICE}
    (end,) = (event.ts for event in of_kind(world, ParentEnded) if event.parent_id == "C")
    sent = [event.parent_id for event in of_kind(world, NewOrderSingle) if event.ts < end]
    assert [sent.count(name) for name in found] == [1] * number


def test_alone_at_its_limit_all_that_is_due_rests_there_for_a_moment_that_reaches_it() -> None:
    wanted = order(qty="6000", slices=60, duration_s=3_600, price=Decimal("99.50"))
    bounds = limits(quote_age_s_max=86_400.0, collar=Decimal("0.5"))
    world = start(wanted, reply=scripted([Reply("touch")]), bounds=bounds)
    for second in range(3_600):
        bid, ask = ("99.47", "99.49") if second == 3_598 else ("99.99", "100.01")
        world.at(NOW + second * NS_PER_S, quote(bid=bid, ask=ask, volume=400, ts=NOW + second * NS_PER_S))
    world.run(steps_max=100_000)
    assert end_of(world).cum_qty == 6_000


def test_at_its_limit_again_one_catches_up() -> None:
    wanted = order(qty="100", slices=10, duration_s=600, price=Decimal("100.05"))
    other = msgspec.structs.replace(order(qty="1", slices=1, duration_s=600, price=Decimal(90)), parent_id="P2")
    bounds = limits(quote_age_s_max=86_400.0, collar=Decimal("0.5"))
    world = start(wanted, other, reply=scripted([Reply("touch")]), bounds=bounds)
    for second in range(0, 600, 5):
        bid, ask = ("101.00", "101.02") if 60 <= second < 300 else ("99.99", "100.01")
        world.at(NOW + second * NS_PER_S, quote(bid=bid, ask=ask, volume=900, ts=NOW + second * NS_PER_S))
    world.run()
    assert done_by(world)["P1"] == 100
    away = [qty for second, qty in sent_by(world) if 60 <= second < 300]
    assert sum(away) <= 20  # a child, and one that took the place of what rested before


@pytest.mark.parametrize("parent_id, least_s, most_s", [("M", 5, 10), ("S", 75, 95)])
def test_a_late_execution_counts_where_its_parent_shared_the_volume(parent_id: str, least_s: int, most_s: int) -> None:
    """Of the 30 that may be ours every five seconds."""
    strangers = msgspec.structs.replace(order(Algo.MARKET, "500"), parent_id="M")
    sharers = msgspec.structs.replace(order(qty="10", slices=1, duration_s=30), parent_id="S")
    follower = msgspec.structs.replace(order(Algo.POV, "5000", participation=0.3, duration_s=900), parent_id="P")
    world = trading(start(strangers, sharers, follower), until_s=900, volume=70)
    ts = NOW + 61 * NS_PER_S
    late = filled(child(qty="500", parent_id=parent_id, cl_ord_id=f"{parent_id}C1A1", ts=ts), "500", exec_id="L1")
    world.at(ts, msgspec.structs.replace(late, late=True, ts=ts))
    world.run()
    seconds = sorted(event.ts for event in of_kind(world, NewOrderSingle) if event.parent_id == "P")
    pauses = [(after - before) // NS_PER_S for before, after in pairwise(seconds)]
    assert least_s <= max(pauses) <= most_s


@pytest.mark.parametrize("algo", [Algo.POV, Algo.ADAPTIVE, Algo.LIMIT, Algo.IS])
def test_one_that_is_paused_at_its_start_is_bounded_by_the_volume_from_its_resume_on(algo: Algo) -> None:
    price = Decimal("100.50") if algo is Algo.LIMIT else None
    begin = NOW + 60 * NS_PER_S
    wanted = of_signal(algo, "50000", participation=0.1, duration_s=600, start=begin, price=price)
    world = trading(start(wanted), until_s=700, volume=90)
    for second, action in ((30, Action.PAUSE), (100, Action.RESUME)):
        ts = NOW + second * NS_PER_S
        world.at(ts, received(amending(wanted, Change(action=action), f"a{second}", ts=ts), ts))
    world.run()
    most = 3 * 10 if algo is Algo.ADAPTIVE else 10  # in five seconds
    assert max(qty for _, qty in sent_by(world)) <= 2 * most
    assert 10 * (660 - 110) // 5 <= done_at(world, 660) <= most * (660 - 100) // 5


def test_an_amendment_at_its_start_comes_before_its_time_and_is_bounded_all_the_same() -> None:
    begin = NOW + 60 * NS_PER_S
    wanted = of_signal(Algo.POV, "50000", participation=0.1, duration_s=600, start=begin)
    world = trading(start(wanted), until_s=700, volume=90)
    world.at(begin, received(amending(wanted, Change(price=Decimal("100.50")), ts=begin), begin))
    world.run()
    assert {qty for _, qty in sent_by(world)} == {Decimal(10)}


def test_both_sides_share_it_and_who_finds_none_is_looked_at_as_one_that_waits_for_volume() -> None:
    sale = msgspec.structs.replace(
        order(Algo.POV, "1000", "SHRT", SELL, participation=0.3, duration_s=60), parent_id="S"
    )
    world = start(order(Algo.POV, "1000", "SHRT", participation=0.3, duration_s=60), sale)
    Watch(world)
    world = trading(world, until_s=60, symbol="SHRT", volume=70)
    while not of_kind(world, NewOrderSingle):
        world.step()
    (sent,) = of_kind(world, NewOrderSingle)
    (waits,) = (live for name, live in world.slicer.parents.items() if name != sent.parent_id)
    assert waits.pace is not None
    assert waits.pace.cap(Decimal(1)) == sent.order_qty == 30
    while world.now < sent.ts + RETRY_NS:
        world.step()
    assert waits.due == world.now + POLL_NS
    world.run()
    assert sum(done_by(world).values()) == 30 * 11


def test_what_is_taken_back_of_one_is_there_for_the_others() -> None:
    first = of_signal(Algo.POV, "1000", participation=0.3, duration_s=300)
    second = msgspec.structs.replace(order(Algo.POV, "1000", participation=0.3, duration_s=300), parent_id="P2")
    world = crowded(first, second, until_s=50, volume=70, reply=lambda n: Reply("fill" if n else "part", part=ZERO))
    world.at(NOW + 6 * NS_PER_S, received(amending(first, Change(action=Action.PAUSE)), NOW + 6 * NS_PER_S))
    world.run()
    assert done_by(world) == {first.parent_id: ZERO, "P2": Decimal(30 * 10)}


def test_one_that_was_made_larger_shares_as_before() -> None:
    first = of_signal(Algo.POV, "60", participation=0.3, duration_s=100)
    second = msgspec.structs.replace(order(Algo.POV, "1000", participation=0.3, duration_s=100), parent_id="P2")
    world = crowded(first, second, until_s=100, volume=70)
    world.at(NOW + 6 * NS_PER_S, received(amending(first, Change(qty=Decimal(500))), NOW + 6 * NS_PER_S))
    world.run()
    assert sum(done_by(world).values()) == 30 * 19


def test_a_smallest_slice_is_kept_where_others_leave_less_and_waited_for() -> None:
    """What trades leaves 30 each time."""
    wanted = order(Algo.POV, qty="5000", participation=0.3, duration_s=300)
    small = order(Algo.POV, qty="5000", participation=0.3, duration_s=300, min_slice=Decimal(40))
    world = crowded(wanted, msgspec.structs.replace(small, parent_id="P2"), until_s=300, volume=70)
    world.run()
    sizes = [event.order_qty for event in of_kind(world, NewOrderSingle) if event.parent_id == "P2"]
    assert min(sizes) >= 40
    assert sum(sizes) >= 30 * 60 // 2


@given(st.lists(st.integers(0, 4_999), min_size=2, max_size=6))
@settings(max_examples=30)
def test_who_wants_as_much_as_others_gets_as_much_whenever_they_are_looked_at(phases: list[int]) -> None:
    wanted = order(Algo.POV, qty="5000", participation=0.3, duration_s=300)
    crowd = [msgspec.structs.replace(wanted, parent_id=f"P{n}", ts=NOW + ms * NS_PER_MS) for n, ms in enumerate(phases)]
    world = crowded(*crowd, until_s=400, volume=70)
    world.run()
    done = done_by(world).values()
    assert max(done) - min(done) <= 2 * 30
    assert sum(done) >= 30 * (60 - 3)


def sharing(*names: str) -> Slicer:
    """A slicer whose POV parents have each sent 30 into a volume of 700."""
    slicer = Slicer(INSTRUMENTS)
    slicer.quote(quote(volume=1))
    for name in names:
        wanted = accepted(parent(parent_id=name, qty="1000", how=Instruction(algo=Algo.POV, participation=0.3)))
        slicer.open(wanted)
        (curve,) = slicer.on_accepted(wanted)
        assert isinstance(curve, ParentScheduled)
        slicer.schedule(curve)
    slicer.quote(quote(volume=700))
    slicer.advance(TimeAdvanced(ts=NOW + POLL_NS))
    for name in names:
        slicer.send(child(qty="30", parent_id=name, cl_ord_id=f"{name}C1A1", ts=NOW + POLL_NS))
    return slicer


def halting(slicer: Slicer) -> None:
    slicer.halt(halt(NOW + POLL_NS + 1))


def facing_a_way_out(slicer: Slicer) -> None:
    slicer._precedence._way["AAPL"] = (SELL, NOW + MINUTE)


def standing(**fields: Any) -> Callable[[Slicer], None]:  # noqa: ANN401 - whichever
    """The second parent is so."""

    def be_so(slicer: Slicer) -> None:
        for name, value in fields.items():
            setattr(slicer.parents["P2"], name, value)

    return be_so


@pytest.mark.parametrize(
    "happens,waits",
    [
        (standing(), True),
        (standing(stopped=True), False),
        (standing(held=True), False),
        (standing(hold_until=NOW + MINUTE), False),
        (halting, False),
        (facing_a_way_out, False),
    ],
)
def test_who_wants_more_than_there_is_and_could_send_it_stands_in_line_until_its_end(
    happens: Callable[[Slicer], None], *, waits: bool
) -> None:
    slicer = sharing("P1", "P2")
    two = child(parent_id="P2", cl_ord_id="P2C1A1")
    slicer.fill(filled(two, "30"))
    slicer.update(updated(two, OrdStatus.FILLED))
    slicer._sharing.together["AAPL"].used += 230  # others have it
    happens(slicer)
    slicer.parents["P2"].due = NOW + 2 * POLL_NS
    slicer._heap = [(NOW + 2 * POLL_NS, "P2")]
    slicer.advance(TimeAdvanced(ts=NOW + 2 * POLL_NS))
    assert list(slicer._sharing.together["AAPL"].line) == (["P2"] if waits else [])
    slicer.end(ended(parent(parent_id="P2")))
    assert not slicer._sharing.together["AAPL"].line


def test_what_ended_ones_took_counts_until_the_last_has_ended_late_executions_busts_and_what_is_in_doubt_too() -> None:
    slicer = sharing("P1", "P2", "P3")
    one, two, three = (child(qty="30", parent_id=name, cl_ord_id=f"{name}C1A1") for name in ("P1", "P2", "P3"))
    shared = slicer._sharing.together["AAPL"]

    def counts(live: int, used: int) -> None:
        assert [shared.live, shared.used] == [live, used]

    def over(of: NewOrderSingle) -> None:
        slicer.end(ended(parent(parent_id=of.parent_id)))

    counts(3, 90)
    assert shared.room("P1", Decimal(1)) == 300 - 90
    slicer.fill(filled(one, "20"))
    counts(3, 90)
    slicer.bust(busted(filled(one, "5")))
    slicer.update(updated(one, OrdStatus.PARTIALLY_FILLED, Decimal(15)))  # which may execute again
    counts(3, 90)
    slicer.update(updated(one, OrdStatus.CANCELED, Decimal(15)))
    counts(3, 75)
    slicer.bust(busted(filled(one, "5")))
    counts(3, 70)
    over(one)
    counts(2, 70)
    slicer.fill(msgspec.structs.replace(filled(one, "10", exec_id="E2"), late=True))  # it had been given back
    counts(2, 80)
    slicer.give_up(given_up(two))
    over(two)
    slicer.fill(filled(two, "30"))  # it was in doubt, and so counted
    counts(1, 80)
    again = Slicer(INSTRUMENTS)
    again.load(msgspec.json.decode(msgspec.json.encode(slicer.dump(), enc_hook=str)))
    assert again._sharing.together == slicer._sharing.together
    over(three)
    assert not slicer._sharing.together
    slicer.fill(msgspec.structs.replace(filled(three, "10"), late=True))
    assert not slicer._sharing.together


def printing(world: PureBus, lag_ns: int) -> PureBus:
    """An obliging venue prints each execution of ours so long after it is booked, or before."""

    def print_it(event: Event) -> None:
        if isinstance(event, OrderApproved):
            ts = event.ts + PAPER_NS + 1 + lag_ns
            world.at(ts, quote(event.order.symbol, volume=event.order.order_qty, ts=ts))

    world.taps.append(print_it)
    return world


LAGS = [-PAPER_NS // 2, 0, NS_PER_S, 12 * NS_PER_S]


@pytest.mark.parametrize("lag_ns", LAGS)
def test_a_pov_is_its_part_of_what_others_trade_whether_or_not_the_venue_prints_ours(lag_ns: int) -> None:
    """And whoever else of ours trades there, also once he has ended; by a tape that nobody knows of it is 11 %."""
    pov = order(Algo.POV, qty="5000", duration_s=600)
    others = [msgspec.structs.replace(order(Algo.MARKET, qty="500"), parent_id=f"M{n}", ts=NOW + n) for n in range(3)]
    done = {}
    for prints, is_told in ((False, False), (True, True), (True, False)):
        world = start(pov, prints_ours=is_told)
        for number, one in enumerate(others, 1):
            at = NOW + number * 100 * NS_PER_S
            world.at(at, msgspec.structs.replace(one, ts=at))
        trading(printing(world, lag_ns) if prints else world, until_s=600, volume=90)
        world.run()
        done[prints, is_told] = done_by(world)["P1"]
    traded = 119 * 90  # before its end
    assert done[False, False] == traded // 9
    assert traded // 9 - 2 * 90 // 9 <= done[True, True] <= traded // 9
    assert done[True, False] > (traded + 3 * 500) // 9


def test_what_is_busted_is_put_back() -> None:
    slicer = Slicer(INSTRUMENTS, abilities=abilities(prints_ours=True))
    slicer.quote(quote(volume=100))
    fill = filled(child(parent_id="OTHER", cl_ord_id="OTHERC1A1"), "40")
    volumes = []
    for event in (fill, None, busted(fill), None):
        if event is None:
            slicer.quote(quote(volume=100))
        else:
            (slicer.fill if isinstance(event, FillBooked) else slicer.bust)(event)  # type: ignore[arg-type]
        volumes.append(slicer._watches["AAPL"].volume)
    assert volumes == [100, 160, 160, 300]


def test_a_market_that_tells_no_volume_bounds_nobody() -> None:
    world = start(order(slices=1, qty="1000", duration_s=600))
    world.run()
    assert end_of(world).cum_qty == 1_000


@pytest.mark.parametrize("algo", [Algo.POV, Algo.ADAPTIVE])
def test_but_who_follows_the_volume_waits_for_one(algo: Algo) -> None:
    world = start(order(algo, qty="1000", duration_s=60))
    world.run()
    assert sent_by(world) == []
    assert end_of(world).reason is EndReason.WINDOW


def test_an_iceberg_shows_a_part_at_a_time() -> None:
    world = start(order(Algo.ICEBERG, qty="25", price=Decimal("100.50"), display_qty=Decimal(10)))
    world.run()
    assert children(world) == ["10 at 100.50", "10 at 100.50", "5 at 100.50"]
    sent, filled_ = of_kind(world, NewOrderSingle), of_kind(world, FillBooked)
    assert all(later.ts >= earlier.ts for earlier, later in zip(filled_, sent[1:], strict=False))
    assert end_of(world).reason is EndReason.FILLED


def test_a_smallest_slice_is_kept_but_for_the_rest() -> None:
    world = trading(start(order(Algo.POV, qty="500", min_slice=Decimal(200))), until_s=60)
    world.run()
    assert sent_by(world) == [(10, Decimal(200)), (20, Decimal(200)), (25, Decimal(100))]


def test_where_the_venue_takes_no_less_slices_wait_for_each_other_and_nothing_is_left() -> None:
    """It takes 500 in money: 5 shares at 100."""
    world = start(order(symbol="LEAST", qty="33", slices=33, duration_s=330))
    world.run()
    assert children(world) == ["6 at 99.99", "7 at 99.99", "6 at 99.99", "6 at 99.99", "8 at 99.99"]
    assert end_of(world).reason is EndReason.FILLED


def test_what_its_venue_would_not_take_is_dust() -> None:
    part = scripted([Reply("expire", part=Decimal("0.8"))])
    world = start(order(Algo.MARKET, symbol="LEAST", qty="20", time_in_force=TimeInForce.IOC), reply=part)
    world.run()
    end = end_of(world)
    assert (end.reason, end.cum_qty, end.leaves_qty) == (EndReason.DUST, Decimal(16), Decimal(4))
    assert end.ts < NOW + NS_PER_S  # it need not wait for its end


def test_of_which_nothing_was_done_it_is_tried_until_its_end() -> None:
    """It was worth enough when it was accepted, and is not any more when it is to begin."""
    world = start(order(symbol="LEAST", qty="5", start=NOW + 10 * NS_PER_S, duration_s=90))
    world.at(NOW + NS_PER_S, quote("LEAST", bid="98.99", ask="99.01", ts=NOW + NS_PER_S))
    world.run()
    end = end_of(world)
    assert (end.reason, end.leaves_qty, end.ts) == (EndReason.DUST, Decimal(5), NOW + 100 * NS_PER_S)
    assert not children(world)


def test_a_rest_that_its_venue_would_not_take_again_keeps_its_place() -> None:
    """10 are sent, 8 of them are executed while the child rests, and it is not taken back to cross."""
    world = start(
        order(symbol="LEAST", qty="10", slices=1, duration_s=100), reply=scripted([Reply("part", part=Decimal("0.8"))])
    )
    world.run()
    assert [text.split()[0] for text in children(world)] == ["10"]
    assert end_of(world).reason is EndReason.DUST


@pytest.mark.parametrize(
    "open_qty, most, max_slice, child",
    [
        ("100", "30", None, "30"),
        ("100", "4", None, "0"),  # the venue would not take it
        ("33", "30", None, "26"),  # leaves as much as the venue takes, and a little
        ("30", "30", None, "30"),
        ("11", "7", None, "0"),  # all of it later
        ("11", "7", "7", "7"),  # it never may
        ("4", "4", None, "0"),
    ],
)
def test_a_child_leaves_no_rest_that_its_venue_would_not_take(
    open_qty: str, most: str, max_slice: str | None, child: str
) -> None:
    bound = None if max_slice is None else Decimal(max_slice)
    found = Parent.of(accepted(order(symbol="LEAST", qty=open_qty, max_slice=bound)))
    assert found.child_of(Decimal(most), Decimal(5), Decimal(1)) == Decimal(child)


def test_a_last_effort_is_not_bounded_by_what_came_before() -> None:
    late = start(order(slices=10, qty="100", duration_s=100, must_complete=True))
    late.at(NOW + NS_PER_S, halt(NOW + NS_PER_S))
    late.at(NOW + 96 * NS_PER_S, TradingResumed(ts=NOW + 96 * NS_PER_S, cause="drill"))
    late.run()
    assert end_of(late).reason is EndReason.FILLED


# By the day ----------------------------------------------------------------------------------------------------------


def test_a_vwap_is_planned_again_where_the_day_is_another() -> None:
    world = start(order(Algo.VWAP, qty="10000", duration_s=3_600))
    world.slicer._profiles = {"AAPL": Profile((1.0,) * 390, 390_000.0)}  # a thousand a minute
    trading(world, until_s=3_600, every_s=60, volume=4_000)
    world.run()
    first, *later = of_kind(world, ParentScheduled)
    assert later
    assert all(event.end == first.end for event in later)
    assert all(event.targets[-1] == 10_000 for event in later)
    assert end_of(world).reason is EndReason.FILLED


def test_a_vwap_whose_day_is_as_expected_is_planned_once() -> None:
    world = start(order(Algo.VWAP, qty="10000", duration_s=3_600))
    world.slicer._profiles = {"AAPL": Profile((1.0,) * 390, 390_000.0)}
    trading(world, until_s=3_600, every_s=1, volume=17)
    world.run()
    assert len(of_kind(world, ParentScheduled)) == 1


def test_an_is_that_fell_behind_takes_the_optimum_of_what_is_left() -> None:
    world = start(order(Algo.IS, qty="10000", slices=60, duration_s=3_600))
    world.at(NOW + NS_PER_S, halt(NOW + NS_PER_S))
    world.at(NOW + 1_800 * NS_PER_S, TradingResumed(ts=NOW + 1_800 * NS_PER_S, cause="drill"))
    world.run()
    _, again, *_ = of_kind(world, ParentScheduled)
    done = sum(event.last_qty for event in of_kind(world, FillBooked) if event.ts < again.ts)
    assert done < again.targets[0] < Decimal(10_000) * Decimal("0.7")  # not all that it is behind at once
    assert again.targets[-1] == 10_000
    assert end_of(world).reason is EndReason.FILLED


def test_an_adaptive_slows_where_the_spread_is_wide_and_says_so() -> None:
    world = start(order(Algo.ADAPTIVE, qty="100000", duration_s=3_600))
    world.slicer._profiles = {"AAPL": Profile((1.0,) * 390, 390 * 1_080.0)}  # as much as it is
    world.bus.publish(quote(volume=90))
    for second in range(5, 3_600, 5):
        wide = second > 1_800
        bid, ask = ("99.90", "100.10") if wide else ("99.99", "100.01")
        world.at(NOW + second * NS_PER_S, quote("AAPL", bid, ask, volume=90, ts=NOW + second * NS_PER_S))
    world.run()
    paced = of_kind(world, ParentPaced)
    assert paced
    assert all(event.reasons for event in paced)
    wide = next(event for event in paced if event.ts > NOW + 1_800 * NS_PER_S)
    assert wide.participation < 0.1
    assert any("spread" in reason for reason in wide.reasons)


def test_an_adaptive_that_must_complete_hastens_as_far_as_the_hard_bound() -> None:
    world = trading(
        start(order(Algo.ADAPTIVE, qty="6000", duration_s=600, must_complete=True)), until_s=600, volume=120
    )
    world.slicer._profiles = {"AAPL": Profile((1.0,) * 390, 390 * 1_440.0)}
    world.run()
    assert max(event.participation for event in of_kind(world, ParentPaced)) > 0.29
    assert end_of(world).cum_qty < 120 * 120 * 3 / 7


# Amendments -----------------------------------------------------------------------------------------------------------


def amended(world: PureBus, second: int, of: ParentOrder, **change: Any) -> ParentOrder:  # noqa: ANN401 - one field, whichever
    """A change at that second; gives the parent back as the sizer names it."""
    ts = NOW + second * NS_PER_S
    world.at(ts, received(amending(of, Change(**change), f"a{ts}", ts=ts), ts))
    return of


def of_signal(algo: Algo = Algo.TWAP, qty: str = "100", symbol: str = "AAPL", **how: Any) -> ParentOrder:  # noqa: ANN401
    """As the sizer makes it of signal `s1`."""
    name = named(tag="T", account="main", strategy="alpha", signal_id="s1", leg=symbol)
    return msgspec.structs.replace(order(algo, qty, symbol, **how), parent_id=name)


def refusals(world: PureBus) -> list[str]:
    return [event.text.removeprefix(of_signal().parent_id).strip() for event in of_kind(world, SignalRefused)]


def done_at(world: PureBus, second: int) -> Decimal:
    fills = [event for event in of_kind(world, FillBooked) if event.ts <= NOW + second * NS_PER_S]
    return sum((event.last_qty for event in fills), ZERO)


@pytest.mark.parametrize("algo", [Algo.TWAP, Algo.VWAP, Algo.IS])
@pytest.mark.parametrize("qty", ["2000", "700"])
def test_what_is_not_done_of_another_quantity_is_spread_over_the_time_that_is_left(algo: Algo, qty: str) -> None:
    world = start(wanted := of_signal(algo, qty="1000", slices=20, duration_s=600))
    amended(world, 240, wanted, qty=Decimal(qty))
    world.run()
    _, again, *_ = of_kind(world, ParentScheduled)
    done = done_at(world, 240)
    assert 0 < done <= 600
    assert (again.ts, again.end) == (NOW + 240 * NS_PER_S, NOW + 600 * NS_PER_S)
    assert again.targets[-1] == Decimal(qty)
    first = again.targets[bisect_right(again.times, again.ts) - 1]
    assert done <= first < done + (Decimal(qty) - done) / 2, "all that it is larger by at once"
    assert (end_of(world).reason, end_of(world).order_qty) == (EndReason.FILLED, Decimal(qty))
    assert end_of(world).cum_qty == Decimal(qty)


def test_at_its_point_a_vwap_that_was_amended_is_planned_again_from_what_was_done_then() -> None:
    world = start(wanted := of_signal(Algo.VWAP, qty="10000", slices=20, duration_s=3_600))
    world.slicer._profiles = {"AAPL": Profile((1.0,) * 390, 390_000.0)}  # a thousand a minute
    trading(world, until_s=3_600, every_s=60, volume=4_000)
    amended(world, 1_800, wanted, qty=Decimal(20_000))
    world.run()
    curves = of_kind(world, ParentScheduled)
    done, later = done_at(world, 1_800), [curve for curve in curves if curve.ts > NOW + 1_800 * NS_PER_S]
    assert later
    for curve in later:
        part = (curve.ts - NOW - 1_800 * NS_PER_S) / (1_800 * NS_PER_S)
        target = curve.targets[bisect_right(curve.times, curve.ts) - 1]
        assert done < target <= done + (20_000 - done) * Decimal(str(min(4 * part, 1.0)))  # four times what is usual
    assert end_of(world).cum_qty == 20_000


def test_a_quantity_that_is_done_ends_it_and_a_smaller_one_is_refused() -> None:
    world = start(wanted := of_signal(slices=10, duration_s=100))
    amended(world, 51, wanted, qty=Decimal(10))
    world.step()
    while world.now < NOW + 52 * NS_PER_S and world.step():
        pass
    live = world.slicer.parents[wanted.parent_id]
    (refused,) = refusals(world)
    assert refused.endswith(" done or working: ask for no less, or pause it first, which takes back what works")
    amended(world, 53, wanted, qty=live.cum_qty + live.leaves_qty)
    world.run()
    assert (end_of(world).reason, end_of(world).leaves_qty) == (EndReason.FILLED, ZERO)
    assert end_of(world).order_qty < 100


def test_who_works_all_of_it_is_paused_before_it_is_made_smaller() -> None:
    world = start(
        wanted := of_signal(Algo.LIMIT, price=Decimal("99.50"), duration_s=60), reply=scripted([Reply("touch")])
    )
    amended(world, 5, wanted, qty=Decimal(40))
    amended(world, 6, wanted, action=Action.PAUSE)
    amended(world, 10, wanted, qty=Decimal(40))
    amended(world, 20, wanted, action=Action.RESUME)
    world.run()
    assert [text[:7] for text in refusals(world)] == ["has 100"]
    assert children(world) == ["100 at 99.50", "40 at 99.50"]
    assert [event.ts - NOW for event in of_kind(world, NewOrderSingle)] == [0, 20 * NS_PER_S]
    assert (end_of(world).order_qty, end_of(world).reason) == (Decimal(40), EndReason.LIMIT_PRICE)


def test_another_price_takes_back_what_rests_at_the_old_one() -> None:
    world = start(
        wanted := of_signal(Algo.LIMIT, price=Decimal("99.50"), duration_s=60), reply=scripted([Reply("touch")])
    )
    amended(world, 5, wanted, price=Decimal("99.70"))
    amended(world, 15, wanted, price=Decimal("100.004"))
    amended(world, 25, wanted, price=Decimal("100.00"))  # where it rests already
    world.run()
    assert children(world) == ["100 at 99.50", "100 at 99.70", "100 at 100.00"]
    assert len(of_kind(world, ParentScheduled)) == 1  # no other curve follows from a price
    assert {event.text for event in of_kind(world, OrderCancelRequest)[:-1]} == {"its parent has another price"}


@pytest.mark.parametrize("price,taken", [("99.98", 1), ("99.99", 0), ("100.50", 0)])
def test_of_a_curve_only_what_is_beyond_its_new_limit_is_taken_back(price: str, taken: int) -> None:
    world = start(wanted := of_signal(slices=1, duration_s=100, qty="10"), reply=scripted([Reply("touch")]))
    while not of_kind(world, NewOrderSingle):
        world.step()
    ts = world.now + NS_PER_S
    world.at(ts, received(amending(wanted, Change(price=Decimal(price)), ts=ts), ts))
    while world.now < ts + NS_PER_S and world.step():
        pass
    texts = [event.text for event in of_kind(world, OrderCancelRequest)]
    assert texts.count("its parent has another price") == taken


def test_another_end_is_cut_to_the_session_and_to_the_validity_and_must_lie_ahead() -> None:
    close = clock(16) - 10 * NS_PER_S
    world = start(wanted := of_signal(slices=10, duration_s=600))
    amended(world, 60, wanted, end=clock(18))
    amended(world, 70, wanted, end=NOW + 65 * NS_PER_S)
    world.run()
    first, again = of_kind(world, ParentScheduled)
    assert (first.end, again.end) == (NOW + 600 * NS_PER_S, close)
    assert again.start == first.start
    assert [text[:11] for text in refusals(world)] == ["would end b"]
    limited = msgspec.structs.replace(of_signal(slices=10, duration_s=600), valid_until=NOW + 900 * NS_PER_S)
    world = start(limited)
    amended(world, 60, limited, end=clock(15))
    world.run()
    assert of_kind(world, ParentScheduled)[-1].end == NOW + 900 * NS_PER_S


def test_another_urgency_is_followed_from_then_on_by_who_knows_one() -> None:
    done = []
    for urgency in (Urgency.LOW, Urgency.IMMEDIATE):
        world = start(wanted := of_signal(Algo.IS, qty="10000", slices=60, duration_s=3_600))
        amended(world, 600, wanted, urgency=urgency)
        world.run()
        assert end_of(world).reason is EndReason.FILLED
        done.append(done_at(world, 1_200))
    assert done[0] < done[1]
    world = start(wanted := of_signal(duration_s=600))
    amended(world, 60, wanted, urgency=Urgency.HIGH)
    world.run()
    assert refusals(world) == ["is a TWAP, which knows no urgency: IS and ADAPTIVE do"]


def test_a_pause_takes_everything_back_moves_no_end_and_is_worked_off_little_by_little() -> None:
    world = start(wanted := of_signal(qty="100", slices=20, duration_s=400), reply=scripted([Reply("touch")]))
    amended(world, 100, wanted, action=Action.PAUSE)
    amended(world, 101, wanted, action=Action.PAUSE)
    amended(world, 300, wanted, action=Action.RESUME)
    amended(world, 301, wanted, action=Action.RESUME)
    world.run()
    sent = [event.ts - NOW for event in of_kind(world, NewOrderSingle)]
    assert not [ts for ts in sent if 100 * NS_PER_S <= ts < 300 * NS_PER_S]
    assert {event.ts - NOW for event in of_kind(world, OrderCancelRequest) if event.text == "its parent is paused"} <= {
        100 * NS_PER_S
    }
    assert refusals(world) == ["is paused already", "is not paused"]
    (curve,) = of_kind(world, ParentScheduled)
    net = [event.order_qty for event in of_kind(world, NewOrderSingle) if event.ts >= NOW + 300 * NS_PER_S]
    assert max(net) <= 2 * largest_step(curve)
    assert end_of(world).ts <= curve.end


@pytest.mark.parametrize("algo", [Algo.TWAP, Algo.VWAP, Algo.IS])
def test_what_a_pause_held_back_of_one_that_was_amended_is_worked_off_by_steps_of_what_was_left(algo: Algo) -> None:
    world = start(wanted := of_signal(algo, qty="1000", slices=20, duration_s=600))
    amended(world, 240, wanted, qty=Decimal(1_200))
    amended(world, 250, wanted, action=Action.PAUSE)
    amended(world, 500, wanted, action=Action.RESUME)
    world.run()
    done = done_at(world, 240)
    assert done > 350
    again = of_kind(world, ParentScheduled)[1]
    step = max(after - before for before, after in pairwise([done, *again.targets]))
    late = [event.order_qty for event in of_kind(world, NewOrderSingle) if event.ts >= NOW + 500 * NS_PER_S]
    assert max(late) <= 2 * step < 350, "what was done before counts as a step"
    assert end_of(world).cum_qty > done


def test_one_that_is_paused_at_its_end_says_so() -> None:
    world = start(wanted := of_signal(slices=10, duration_s=100))
    amended(world, 50, wanted, action=Action.PAUSE)
    world.run()
    assert (end_of(world).reason, end_of(world).ts) == (EndReason.HELD, NOW + 100 * NS_PER_S)
    assert 0 < end_of(world).leaves_qty < 100


def test_what_a_venue_did_not_give_back_to_one_that_is_paused_is_asked_for_again() -> None:
    world = start(
        wanted := of_signal(Algo.LIMIT, price=Decimal("99.50"), duration_s=60),
        reply=scripted([Reply("touch", on_cancel="refuse")]),
    )
    amended(world, 5, wanted, action=Action.PAUSE)
    world.run()
    asked = [event.ts for event in of_kind(world, OrderCancelRequest)]
    assert asked == [NOW + 5 * NS_PER_S, NOW + 5 * NS_PER_S + PAPER_NS + REPRICE_NS]


@pytest.mark.parametrize("state", ["HALTED", "REDUCING", "ACTIVE"])
def test_one_is_cancelled_or_made_smaller_whatever_the_state_and_larger_only_where_the_gate_lets_it(state: str) -> None:
    world = start(wanted := of_signal(slices=10, duration_s=100))
    if state != "ACTIVE":
        world.at(NOW + 40 * NS_PER_S, halt(NOW + 40 * NS_PER_S, state))
    amended(world, 50, wanted, qty=Decimal(120))
    amended(world, 51, wanted, qty=Decimal(90))
    amended(world, 60, wanted, action=Action.CANCEL)
    world.run()
    sizes = [event.order_qty for event in of_kind(world, ParentAmended)]
    denials = [event for event in of_kind(world, OrderDenied) if event.amends]
    if state == "ACTIVE":
        assert (sizes, denials) == ([120, 90, 90], [])
    else:
        assert sizes == [90, 90]
        assert [(event.reason, event.order_qty, event.cl_ord_id) for event in denials] == [(Reason.STATE, 20, "")]
    over = end_of(world)
    assert (over.reason, over.ts, over.order_qty) == (EndReason.TAKEN_BACK, NOW + 60 * NS_PER_S, Decimal(90))
    assert over.cum_qty + over.leaves_qty == 90
    assert not world.exposure.committed("AAPL", BUY)


def test_a_flatten_may_be_cancelled_and_is_no_larger_than_what_was_held() -> None:
    world = start()
    world.bus.publish(held("AAPL", 50))
    world.bus.publish(halt(NOW + 1, "REDUCING"))
    world.venue._reply = scripted([Reply("touch", on_cancel="cancel", delay_ns=NS_PER_S)])
    world.bus.publish(flatten(NOW + 2))
    ((name, _),) = world.slicer.parents.items()
    refused = world.slicer.amendment(name, Change(qty=Decimal(60)), by="ann", now=NOW + 3)
    assert refused == f"{name} closes a position by an operator's will: cancel it, or flatten again"
    assert refused == world.slicer.amendment(name, Change(action=Action.PAUSE), by="ann", now=NOW + 3)
    assert not isinstance(world.slicer.amendment(name, Change(action=Action.CANCEL), by="ann", now=NOW + 3), str)


def test_what_cannot_be_followed_is_refused_with_words() -> None:
    world = start(wanted := of_signal(Algo.LIMIT, qty="1000", symbol="LOTS", price=Decimal("99.50"), duration_s=60))
    world.step()
    amendment = world.slicer.amendment
    for change, said in (
        (Change(qty=Decimal(1_050)), "cannot be of 1050: no multiple of the lot 100"),
        (Change(qty=Decimal(100) * 2**54), "cannot be so large: it has more than "),
        (Change(price=Decimal("0.004")), "cannot have a limit of 0.004: it is under one tick of 0.01"),
    ):
        assert str(amendment(wanted.parent_id, change, by="ann", now=NOW)).startswith(f"{wanted.parent_id} {said}")
    assert amendment("P9", Change(), by="ann", now=NOW) == "P9 is not live: `execd parents` lists what is"
    world.run()
    assert amendment(wanted.parent_id, Change(action=Action.CANCEL), by="ann", now=NOW).startswith(wanted.parent_id)  # type: ignore[union-attr]


def test_the_most_slices_leave_room_for_the_point_that_is_added() -> None:
    world = start(wanted := of_signal(qty="1000000", slices=100_000, duration_s=3_600))
    world.step()
    made = world.slicer.amendment(wanted.parent_id, Change(end=NOW + 1_800 * NS_PER_S), by="ann", now=NOW + NS_PER_S)
    assert not isinstance(made, str)
    world.now = NOW + NS_PER_S
    world.bus.publish(made)
    assert len(of_kind(world, ParentScheduled)[-1].times) == 100_000


# Laws on whole runs ---------------------------------------------------------------------------------------------------

REPLIES = st.lists(
    st.builds(
        Reply,
        verdict=st.sampled_from(
            ["fill", "fill", "part", "part", "touch", "touch", "reject", "not sent", "lapse", "expire", "silence"]
        ),
        on_cancel=st.sampled_from(["cancel", "cancel", "cancel", "refuse", "execute", "silence"]),
        part=st.sampled_from([ZERO, Decimal("0.3"), Decimal("0.7")]),
        delay_ns=st.sampled_from([NS_PER_MS, 300 * NS_PER_MS, 3 * NS_PER_S]),
    ),
    min_size=1,
    max_size=6,
)


class Scenario(msgspec.Struct, frozen=True):
    """Everything that happens from outside."""

    replies: list[Reply]
    limits: Limits
    cash: str
    events: list[Event]
    lag_ns: int | None  # after which the venue prints our executions

    def world(self) -> PureBus:
        prints = self.lag_ns is not None
        world = start(reply=scripted(self.replies), bounds=self.limits, cash=self.cash, prints_ours=prints)
        world.taps += [lambda event: self.tape(world, event)] if prints else []
        for event in self.events:
            world.at(event.ts, event)
        return world

    def tape(self, world: PureBus, event: Event) -> None:
        if isinstance(event, FillBooked):
            market, ts = world.slicer._market[event.symbol], event.ts + (self.lag_ns or 0)
            world.at(ts, msgspec.structs.replace(market, ts=ts, volume=event.last_qty))


@st.composite
def parents(draw: st.DrawFn, number: int) -> ParentOrder:
    symbol, side = draw(
        st.sampled_from(
            [
                *[("AAPL", BUY), ("SHRT", BUY), ("SHRT", SELL), ("LOTS", SELL), ("HARD", SELL), ("FRAC", BUY)],
                ("LEAST", BUY),
            ]
        )
    )
    lot = INSTRUMENTS[symbol].lot
    algo = draw(st.sampled_from(list(ALGOS)))
    prices = st.sampled_from([Decimal("99.90"), Decimal("100.004"), Decimal("100.10")])
    how = Instruction(
        algo=algo,
        ord_type=draw(st.sampled_from(OrdType)),
        price=draw(prices if algo in AT_A_PRICE else st.none() | prices),
        time_in_force=draw(st.sampled_from([TimeInForce.DAY, TimeInForce.IOC])),
        duration_s=draw(st.integers(1, 90)),
        slices=draw(st.none() | st.integers(1, 12)),
        max_slice=draw(st.none() | st.integers(1, 10).map(lambda lots: lots * lot)),
        min_slice=draw(st.none() | st.just(lot)),
        display_qty=draw((st.nothing() if algo is Algo.ICEBERG else st.none()) | st.integers(1, 9).map(lot.__mul__)),
        participation=draw(st.none() | st.sampled_from([0.05, 0.4])),
        start=draw(st.none() | st.integers(0, 60).map(lambda half: NOW + half * 500 * NS_PER_MS)),
        urgency=draw(st.sampled_from(Urgency)),
        must_complete=draw(st.booleans()),
    )
    return parent(
        symbol,
        side,
        order_qty=draw(st.integers(1, 40)) * lot,
        parent_id=named(tag="T", account="main", strategy="alpha", signal_id=f"s{number}", leg=symbol),
        signal_id=f"s{number}",
        ts=NOW + draw(st.integers(0, 20)) * NS_PER_S,
        resizable=draw(st.booleans()),
        how=how,
    )


@st.composite
def amendments(draw: st.DrawFn, number: int, of: ParentOrder) -> list[Event]:
    """What cannot be followed is refused and changes nothing; of those that are paused most go on later."""
    action, lot = draw(st.sampled_from([Action.AMEND, Action.AMEND, Action.PAUSE, *Action])), INSTRUMENTS[of.symbol].lot
    ts = of.ts + draw(st.integers(0, 40)) * 500 * NS_PER_MS
    hasty = ["urgency"] if of.how.algo in {Algo.IS, Algo.ADAPTIVE} else []
    given = draw(st.sets(st.sampled_from(["qty", "price", "end", *hasty]), min_size=1))
    drawn = {
        "qty": draw(st.integers(1, 60)) * lot,
        "price": draw(st.sampled_from([Decimal("99.90"), Decimal("100.004"), Decimal("100.10")])),
        "end": ts + draw(st.integers(1, 90)) * NS_PER_S,
        "urgency": draw(st.sampled_from(Urgency)),
    }
    wanted = drawn if action is Action.AMEND else {}
    changes = [(ts, Change(action=action, **{name: value for name, value in wanted.items() if name in given}))]
    if action is Action.PAUSE and draw(st.integers(0, 3)):
        changes.append((ts + draw(st.integers(1, 40)) * NS_PER_S, Change(action=Action.RESUME)))
    return [received(amending(of, change, f"a{number}-{at}", ts=at), at) for at, change in changes]


VOLUMES = st.tuples(*[st.sampled_from([0, 0, 3, 40, 10_000])] * 6)


@st.composite
def scenarios(draw: st.DrawFn) -> Scenario:
    orders = [draw(parents(number)) for number in range(draw(st.integers(1, 3)))]
    events: list[Event] = [*orders]
    for number in range(draw(st.integers(0, 4))):
        events += draw(amendments(number, draw(st.sampled_from(orders))))
    for second, move in enumerate(draw(st.lists(st.integers(-12, 12), max_size=20))):
        ts = NOW + second * 6 * NS_PER_S
        bid, ask = Decimal(100) + Decimal(move) / 50, Decimal(100) + Decimal(move + 1) / 50
        events += [
            quote(symbol, None if move == 12 else str(bid), None if move == -12 else str(ask), volume=volume, ts=ts)
            for symbol, volume in zip(("AAPL", "SHRT", "LOTS", "HARD", "FRAC", "LEAST"), draw(VOLUMES), strict=True)
        ]
    for cause in draw(st.lists(st.sampled_from(["drill", "loss"]), max_size=2, unique=True)):
        ts = NOW + draw(st.integers(1, 60)) * NS_PER_S + 1
        state = draw(st.sampled_from(["HALTED", "REDUCING"]))
        events.append(halt(ts, state, working=draw(st.sampled_from(WorkingOrders)), cause=cause))
        events.append(TradingResumed(ts=ts + draw(st.integers(1, 60)) * NS_PER_S, cause=cause))
        if draw(st.booleans()):
            events.append(
                flatten(
                    ts + draw(st.integers(0, 20)) * NS_PER_S, draw(st.sampled_from(["", "AAPL", "SHRT"])), len(events)
                )
            )
    if draw(st.booleans()):
        events += [held("AAPL", draw(st.integers(1, 60))), held("SHRT", draw(st.integers(-60, -1)))]
    return Scenario(
        replies=draw(REPLIES),
        limits=limits(
            quote_age_s_max=draw(st.sampled_from([10.0, 1000.0])),
            orders_per_s=draw(st.sampled_from([1, 1000])),
            messages_per_s=draw(st.sampled_from([2, 1000])),
            position_max=draw(st.sampled_from([Decimal("0.02"), Decimal(1)])),
        ),
        cash=draw(st.sampled_from(["100000", "100000000"])),
        events=events,
        lag_ns=draw(st.none() | st.sampled_from([NS_PER_MS, 2 * NS_PER_S])),
    )


class Watch:
    """Keeps its own books of every parent from the events alone, and objects to whatever breaks a law."""

    def __init__(self, world: PureBus) -> None:
        self.world = world
        self.causes = Causes()
        self.parents: dict[str, ParentAccepted] = {}
        self.size: dict[str, Decimal] = {}  # as amended, as all of these
        self.limit: dict[str, Decimal | None] = {}
        self.last: dict[str, int] = {}  # when it ends
        self.held: set[str] = set()
        self.over: set[str] = set()  # somebody has cancelled it
        self.ended: dict[str, ParentEnded] = {}
        self.done: dict[str, Decimal] = {}
        self.live: dict[str, dict[str, Decimal]] = {}
        self.lost: set[str] = set()
        self.working: dict[str, NewOrderSingle] = {}
        self.standing: dict[str, OrdStatus] = {}
        self.first: dict[str, tuple[Side, int]] = {}  # by symbol: for which side something was taken back, and when
        self.market: dict[str, MarketData] = {}
        self.mids: dict[str, Decimal] = {}
        self.ours: dict[str, Decimal] = {}  # executed, where the venue prints it
        self.tape: dict[str, Decimal] = {}
        self.volumes: dict[str, Decimal] = {}  # the most that others had traded, as far as that was known
        self.history: dict[str, list[tuple[int, Decimal]]] = {}  # and when that was so much
        self.begun: dict[str, Decimal] = {}  # the volume when a parent was accepted; of those alone that knew one
        # by symbol: who follows curves, since one lived at each moment; what had traded two minutes before its begin,
        # and by then, and what all had taken by then
        self.shared: dict[str, dict[str, tuple[Decimal | None, Decimal, Decimal]]] = {}
        world.taps += [self.look, self.see]

    def look(self, event: Event) -> None:
        """At the market, at the state of trading, at curves, and at how orders stand."""
        if isinstance(event, TradingHalted):
            self.causes.halt(event)
        elif isinstance(event, TradingResumed):
            self.causes.resume(event)
        elif isinstance(event, ParentScheduled):
            assert event.targets[-1] == self.size[event.parent_id], "a curve of another quantity"
            self.last[event.parent_id] = event.end
        elif isinstance(event, FillBooked) and self.world.prints_ours:
            self.ours[event.symbol] = self.ours.get(event.symbol, ZERO) + event.last_qty
        elif isinstance(event, OrderUpdated):
            self.standing[event.cl_ord_id] = event.ord_status
        elif isinstance(event, MarketData):
            self.market[event.symbol] = event
            tape = self.tape[event.symbol] = self.tape.get(event.symbol, ZERO) + event.volume
            others = tape - self.ours.get(event.symbol, ZERO)
            self.volumes[event.symbol] = max(self.volumes.get(event.symbol, ZERO), others)
            self.history.setdefault(event.symbol, []).append((event.ts, self.volumes[event.symbol]))
            self.mids[event.symbol] = event.mid if event.mid is not None else self.mids.get(event.symbol, ZERO)

    def see(self, event: Event) -> None:
        match event:
            case ParentAccepted():
                self.parents[event.parent_id] = event
                self.size[event.parent_id], self.limit[event.parent_id] = event.order_qty, event.parent.how.price
                self.done[event.parent_id], self.live[event.parent_id] = ZERO, {}
                if volume := self.volumes.get(event.parent.symbol):
                    self.begun[event.parent_id] = volume
            case ParentAmended():
                self.amend(event)
            case NewOrderSingle():
                self.sent(event)
                self.live[event.parent_id][event.cl_ord_id] = event.order_qty
            case OrderApproved():
                assert event.reducing or not event.flatten, "a flatten that could flip"
                assert not any(self.meet(event, other) for other in self.working.values()), "two of ours cross"
                self.working[event.cl_ord_id] = event.order
            case OrderDenied():
                self.live.get(event.parent_id, {}).pop(event.cl_ord_id, None)
            case OrderCancelRequest() if event.text.startswith("in the way of "):
                assert event.cl_ord_id in self.working, "what is not there is taken back"
                self.first[event.symbol] = (self.working[event.cl_ord_id].side.opposite, event.ts)
            case FillBooked() if event.parent_id in self.parents:
                self.done[event.parent_id] += event.last_qty
                self.live[event.parent_id][event.cl_ord_id] -= event.last_qty
            case OrderUpdated() if event.terminal:
                del self.live[event.parent_id][event.cl_ord_id]
                self.working.pop(event.cl_ord_id, None)
            case OrderUnresolved():
                self.lost.add(event.cl_ord_id)
                self.working.pop(event.cl_ord_id, None)
            case ParentEnded():
                self.end(event)
        self.agree()
        self.share()

    def meet(self, event: OrderApproved, other: NewOrderSingle) -> bool:
        """Whether a venue could match the two, as far as that is known; nobody knows of what is in doubt."""
        one, status = event.order, self.standing.get(other.cl_ord_id)
        if one.symbol != other.symbol or one.side is other.side or status is OrdStatus.SETTLING:
            return False
        if status is OrdStatus.UNKNOWN and (event.flatten or other.price is None):
            return False
        return other.price is None or one.side.sign * (self.reach(one) - other.price) >= 0

    def reach(self, order: NewOrderSingle) -> Decimal:
        """Half a percent through the touch without a price."""
        if order.price is not None:
            return order.price
        market = self.market[order.symbol]
        touch = market.ask if order.side is BUY else market.bid
        return (self.mids[order.symbol] if touch is None else touch) * (1 + order.side.sign * Decimal("0.005"))

    def amend(self, event: ParentAmended) -> None:
        wanted, parent_id = event.amendment, event.parent_id
        change, before = wanted.change, self.size[parent_id]
        assert event.order_qty == (before if change.qty is None else change.qty)
        assert event.more_qty == max(event.order_qty - before, ZERO)
        assert not event.more_qty or self.causes.state is not TradingState.HALTED, "larger while halted"
        self.size[parent_id] = event.order_qty
        self.limit[parent_id] = self.limit[parent_id] if change.price is None else change.price
        self.last[parent_id] = change.end or self.last[parent_id]
        (self.held.add if wanted.held else self.held.discard)(parent_id)
        self.over |= {parent_id} if change.action is Action.CANCEL else set()

    def sent(self, event: NewOrderSingle) -> None:
        owner, instrument = self.parents[event.parent_id].parent, INSTRUMENTS[event.symbol]
        assert event.parent_id not in self.ended, "a child after the end"
        assert event.parent_id not in self.held, "a child of one that is paused"
        assert event.parent_id not in self.over, "a child of one that was cancelled"
        assert event.ts < self.last[event.parent_id], "a child past the end"
        assert self.causes.state is not TradingState.HALTED or owner.flatten, "a child while halted"
        first, since = self.first.get(event.symbol, (event.side, 0))
        assert first is event.side or owner.flatten or event.ts - since >= WAY_NS, "nobody stands back"
        assert event.order_qty > 0
        assert event.order_qty % instrument.lot == 0
        assert (event.symbol, event.side) == (owner.symbol, owner.side)
        assert owner.how.max_slice is None or event.order_qty <= owner.how.max_slice
        self.bounded(event, owner.how)
        if event.ord_type is OrdType.LIMIT:
            assert event.price is not None
            assert event.price % instrument.tick == 0
            assert instrument.notional(event.order_qty, event.price) >= instrument.min_notional, (
                "too small for its venue"
            )
            limit = self.limit[event.parent_id]
            assert limit is None or owner.side.sign * (event.price - limit) <= 0
        else:
            assert event.price is None
            assert self.limit[event.parent_id] is None, "a market order knows no limit"

    def bounded(self, event: NewOrderSingle, how: Instruction) -> None:
        """No more than may be seen, and no more of the volume than may be."""
        live = sum(self.live[event.parent_id].values(), event.order_qty)
        assert how.display_qty is None or live <= how.display_qty
        rate = how.participation
        if how.algo not in FREE:
            rate = HARD_MAX if rate is None or how.algo is Algo.ADAPTIVE else min(rate, HARD_MAX)
        if rate is not None and event.parent_id in self.begun:
            traded = self.volumes[event.symbol] - self.begun[event.parent_id]
            assert float(self.done[event.parent_id] + live) <= rate / (1 - rate) * float(traded) + 1e-6
        if how.algo not in FREE:
            taken = self.taken(event.symbol) + event.order_qty
            assert event.parent_id in self.shared[event.symbol]
            volume, ours = self.volumes.get(event.symbol, ZERO), HARD_MAX / (1 - HARD_MAX)
            for earlier, begun, before in self.shared[event.symbol].values():
                if earlier is not None:
                    saved = max(ours * float(begun - earlier), float(self.enough(event.symbol)))
                    within = saved + ours * float(volume - begun) + 1e-6
                    assert float(taken - before) <= within, "too much of the volume together"

    def enough(self, symbol: str) -> Decimal:
        """The most that one of them may need for a child."""
        instrument = INSTRUMENTS[symbol]
        slices = [self.parents[one].parent.how.min_slice or ZERO for one in self.shared[symbol]]
        least = instrument.least_qty(Decimal(95)) if instrument.min_notional else ZERO
        return max(*slices, instrument.lot, 3 * least)

    def printed(self, symbol: str, until: int) -> Decimal:
        """The symbol's volume by then."""
        return next((volume for ts, volume in reversed(self.history.get(symbol, [])) if ts <= until), ZERO)

    def taken(self, symbol: str) -> Decimal:
        """What all who share the volume of a symbol have done or have working."""
        return sum((self.done[one] + sum(self.live[one].values()) for one in self.shared.get(symbol, ())), ZERO)

    def share(self) -> None:
        """Who has begun shares the volume; what has ended counts until none is left."""
        for parent_id, theirs in self.world.slicer.parents.items():
            group = self.shared.setdefault(theirs.symbol, {})
            if theirs.shares_volume and parent_id not in group:
                earlier = self.printed(theirs.symbol, self.world.now - 2 * SPAN_NS)
                begun = self.volumes.get(theirs.symbol, ZERO)
                group[parent_id] = (earlier if begun else None, begun, self.taken(theirs.symbol))
        for symbol, group in self.shared.items():
            if all(one in self.ended for one in group):
                group.clear()
            elif not self.lost:
                assert self.world.slicer._sharing.together[symbol].used == self.taken(symbol)

    def end(self, event: ParentEnded) -> None:
        size = self.size[event.parent_id]
        assert event.parent_id not in self.ended, "a second end"
        assert event.reason is not EndReason.HELD or event.parent_id in self.held
        assert event.order_qty == size
        assert event.cum_qty == self.done[event.parent_id]
        assert event.cum_qty + event.leaves_qty == size
        assert (event.reason is EndReason.FILLED) == (not event.leaves_qty)
        assert event.reason is not EndReason.DUST or event.leaves_qty < 6, "a rest that its venue would take"
        assert set(self.live[event.parent_id]) <= self.lost, "a child that may execute, and nobody looks after it"
        self.ended[event.parent_id] = event
        if self.first.get(event.symbol, (None, 0))[0] is event.side:
            del self.first[event.symbol]  # whoever else goes first takes something back for it anew

    def agree(self) -> None:
        """Never more than the parent, and the slicer's books are ours."""
        for parent_id, size in self.size.items():
            live = sum(self.live[parent_id].values(), ZERO)
            assert self.done[parent_id] + live <= size, "more than the parent"
            reserved = self.world.exposure.parents.get(parent_id)
            assert reserved is None or reserved.order_qty == size
            theirs = self.world.slicer.parents.get(parent_id)
            if theirs is not None:
                assert (theirs.cum_qty, theirs.leaves_qty) == (self.done[parent_id], live)


@given(scenarios())
@settings(max_examples=300)
def test_whole_runs_keep_the_laws(scenario: Scenario) -> None:
    world = scenario.world()
    watch = Watch(world)
    world.run(steps_max=STEPS_MAX)
    assert set(watch.ended) == set(watch.parents), "every parent ends"
    assert not world.slicer.parents
    left = {key for live in watch.live.values() for key in live}
    assert set(world.exposure.children) == left, "what nobody knows the outcome of stays reserved, and nothing else"


@given(scenarios())
@settings(max_examples=50)
def test_time_never_stands_still(scenario: Scenario) -> None:
    world = scenario.world()
    before = len(world.trace)
    while world.step():
        due = world.slicer.next_due()
        if before < len(world.trace) and type(world.trace[before]) is TimeAdvanced:
            assert due is None or due > world.now
        before = len(world.trace)


@given(scenarios(), st.integers(1, 9))
@settings(max_examples=50)
def test_new_actors_from_dumps_continue_as_if_nothing_had_happened(scenario: Scenario, every: int) -> None:
    straight, broken = scenario.world(), scenario.world()
    straight.run(steps_max=STEPS_MAX)
    count = 0
    while broken.step():
        count += 1
        if count % every == 0:
            broken.restart()
    assert broken.trace == straight.trace


@given(scenarios())
@settings(max_examples=50)
def test_a_run_is_a_function_of_its_outside_events(scenario: Scenario) -> None:
    assert scenario.world().run() == scenario.world().run()


@given(scenarios())
@settings(max_examples=30)
def test_decisions_change_nothing_but_by_what_they_emit(scenario: Scenario) -> None:
    world = scenario.world()

    def state() -> object:
        slicer = world.slicer
        return [slicer.dump(), sorted(slicer._heap), list(slicer._due), world.exposure.dump(), world.sizer.dump()]

    def decide_without_folding(event: Event) -> None:
        for decide in world.bus.routes()[type(event)].decisions:
            if getattr(decide, "__self__", None) is not world.venue:
                before = state()
                list(decide(event))
                assert state() == before, decide

    world.taps.append(decide_without_folding)
    world.run()


ACTIVE = st.sampled_from([Algo.TWAP, Algo.VWAP, Algo.IS, Algo.MARKET])


WHERE = st.sampled_from([("SHRT", BUY), ("SHRT", SELL), ("LEAST", BUY)])


@given(ACTIVE, st.integers(6, 500), st.integers(1, 50), st.integers(60, 7_200), WHERE)
@example(Algo.IS, 6, 9, 60, ("SHRT", BUY))  # more slices than shares are left
@settings(max_examples=60)
def test_before_an_obliging_venue_everything_is_filled_before_its_end(
    algo: Algo, qty: int, slices: int, duration_s: int, where: tuple[str, Side]
) -> None:
    for verdict in ("fill", "touch"):
        wanted = order(algo, str(qty), *where, slices=slices, duration_s=duration_s)
        world = start(wanted, reply=scripted([Reply(verdict)]))
        world.run()
        over = end_of(world)
        curve, *_ = of_kind(world, ParentScheduled)
        assert over.reason is EndReason.FILLED
        assert over.cum_qty == qty
        assert over.ts < curve.end <= NOW + duration_s * NS_PER_S


# Cost -----------------------------------------------------------------------------------------------------------------


def calls_of(work: Callable[[], object]) -> int:
    """How many Python and C functions are called: a cost that no other process can change."""
    count = 0

    def see(frame: FrameType, event: str, arg: object) -> None:
        nonlocal count
        count += event in {"call", "c_call"}

    sys.setprofile(see)
    try:
        work()
    finally:
        sys.setprofile(None)
    return count


def crowd(size: int) -> Slicer:
    """So many parents that rest until the afternoon, and one that is due in a second; there is volume for all."""
    slicer = Slicer(INSTRUMENTS)
    slicer.quote(quote(volume=1))
    for number in range(size):
        wanted = accepted(parent(parent_id=f"P{number}", how=Instruction(algo=Algo.TWAP, slices=10)))
        slicer.open(wanted)
        first = NOW + (NS_PER_S if not number else 60 * MINUTE + number)
        slicer.schedule(
            ParentScheduled(
                ts=NOW, parent_id=f"P{number}", times=(first,), targets=(Decimal(100),), end=NOW + 120 * MINUTE
            )
        )
    slicer.quote(quote(volume=10_000))
    return slicer


def test_the_cost_of_a_due_parent_a_quote_and_a_fill_does_not_grow_with_the_number_of_parents() -> None:
    costs = []
    for size in (2, 2_000):
        slicer = crowd(size)
        now = TimeAdvanced(ts=NOW + NS_PER_S)
        advance = calls_of(lambda slicer=slicer, now=now: (slicer.next_due(), slicer.advance(now)))  # type: ignore[misc]
        sent = list(slicer.on_due(now))
        assert len(sent) == 1
        send = calls_of(lambda slicer=slicer, sent=sent: slicer.send(sent[0]))  # type: ignore[misc]
        market = calls_of(lambda slicer=slicer: slicer.quote(quote()))  # type: ignore[misc]
        costs.append((advance, send, market))
    assert costs[0] == costs[1]


def bytes_of(value: object, seen: set[int]) -> int:
    """A struct with all that it holds and that was not seen elsewhere."""
    if id(value) in seen or isinstance(value, Enum | bool | None):
        return 0
    seen.add(id(value))
    parts = value if isinstance(value, tuple) else [getattr(value, f) for f in getattr(value, "__struct_fields__", ())]
    return sys.getsizeof(value) + sum(bytes_of(part, seen) for part in parts)


def worked(slicer: Slicer, parent_id: str) -> tuple[object, ...]:
    """A parent of sixteen slices that is done but for its end, with its due time; out of a journal, as it shares."""
    how = Instruction(algo=Algo.TWAP, slices=16)
    event = accepted(parent(parent_id=parent_id, how=how, qty="160000"))
    wanted = msgspec.json.decode(msgspec.json.encode(event), type=ParentAccepted)
    slicer.open(wanted)
    (curve,) = slicer.on_accepted(wanted)
    assert isinstance(curve, ParentScheduled)
    slicer.schedule(curve)
    for number, ts in enumerate(curve.times, 1):
        sent = child(parent_id=wanted.parent_id, cl_ord_id=f"{wanted.parent_id}C{number}A1", ts=ts)
        slicer.send(sent)
        slicer.fill(filled(sent, "100", "100.01"))
        slicer.update(updated(sent, OrdStatus.FILLED))
    live = slicer.parents[wanted.parent_id]
    assert len(curve.times) == 16
    assert not live.children
    return live, (live.due, live.parent_id)


def test_a_live_parent_of_sixteen_slices_takes_less_than_two_kib_more() -> None:
    slicer = Slicer(INSTRUMENTS)
    seen = {id(INSTRUMENTS["AAPL"].lot)}
    bytes_of(worked(slicer, "TAG202503050000000017"), seen)  # what all parents share
    assert bytes_of(worked(slicer, "TAG202503050000000018"), seen) < 2_048


def test_stale_entries_do_not_pile_up_in_the_heap() -> None:
    world = start(
        order(Algo.LIMIT, qty="1000", price=Decimal("99.50"), duration_s=3_600), reply=scripted([Reply("touch")])
    )
    world.step()
    (sent,) = of_kind(world, NewOrderSingle)
    for number in range(500):
        now = NOW + number * NS_PER_S
        world.bus.publish(quote(ts=now))
        world.bus.publish(updated(sent, OrdStatus.NEW, ts=now))
        world.slicer.next_due()
    assert len(world.slicer._heap) <= 10


def test_a_crossing_child_that_rests_is_looked_at_again() -> None:
    world = start(order(Algo.MARKET, duration_s=60), reply=scripted([Reply("touch")]))
    world.at(NOW + NS_PER_MS, quote(bid="101.00", ask="101.02", ts=NOW + NS_PER_MS))
    world.run()
    sent = of_kind(world, NewOrderSingle)
    assert [event.price for event in sent] == [Decimal("100.21")]  # it executed at once, before the market moved
    away = start(order(Algo.MARKET, duration_s=60), reply=scripted([Reply("part", part=ZERO), Reply("touch")]))
    away.at(NOW + NS_PER_MS, quote(bid="101.00", ask="101.02", ts=NOW + NS_PER_MS))
    away.run()
    assert [event.price for event in of_kind(away, NewOrderSingle)] == [Decimal("100.21"), Decimal("101.22")]
    assert of_kind(away, OrderCancelRequest)[0].ts == NOW + PAPER_NS + REPRICE_NS


def test_the_children_of_strangers_are_nobodys_business() -> None:
    slicer = Slicer(INSTRUMENTS)
    stranger = child(parent_id="OTHER", cl_ord_id="OTHERC1A1")
    before = slicer.dump()
    slicer.update(updated(stranger, OrdStatus.CANCELED))
    slicer.fill(filled(stranger, "5"))
    slicer.bust(busted(filled(stranger, "5")))
    assert slicer.dump() == before
    assert list(slicer.on_updated(updated(stranger, OrdStatus.CANCELED))) == []
