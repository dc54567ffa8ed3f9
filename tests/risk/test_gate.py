"""The gate's verdicts as events, how long an approval is good, and that nobody else can approve."""

import ast
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.causes import TradingState
from core.events import (
    Event,
    Nearest,
    NewOrderSingle,
    OrderApproved,
    OrderDenied,
    ParentAccepted,
    ParentAmended,
    ParentAmendment,
    ParentOrder,
    Reason,
    ShadowVerdict,
    StrategyStopped,
    TradingHalted,
)
from core.instruments import Instrument, Instruments
from core.orders import OrdStatus, OrdType, Side
from core.signals import Action, Change, Instruction
from core.units import NS_PER_MS, NS_PER_S, ZERO
from risk.checks import CHECKS, parent_is_open
from risk.exposure import Exposure
from risk.gate import Gate
from risk.limits import Limits, LimitsInForce, SymbolLimits, for_opening, version_of
from tests.builders import (
    INSTRUMENTS,
    NOW,
    abilities,
    accepted,
    amended,
    amendment,
    approved,
    book,
    cancelled,
    child,
    clock,
    ended,
    filled,
    fold,
    held,
    limits,
    limits_set,
    modelled,
    opened,
    parent,
    quote,
    session,
    shadow_set,
    silent,
    updated,
    working,
)

BUY, SELL = Side.BUY, Side.SELL
TENTH = limits(position_max=Decimal("0.1"))  # 100 shares of 100,000
ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("core", "daemon", "adapters", "risk", "algos", "tca", "migrations")


def verdict(order: ParentOrder | NewOrderSingle, exposure: Exposure, bounds: Limits) -> Event:
    gate = Gate(exposure, LimitsInForce(bounds))
    effects = gate.on_parent_order(order) if isinstance(order, ParentOrder) else gate.on_new_order(order)
    (effect,) = effects
    return effect


# The one place --------------------------------------------------------------------------------------------------------


def approvals_made_in(source: str) -> int:
    calls = [node.func for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    names = [getattr(call, "attr", getattr(call, "id", "")) for call in calls]
    return names.count("OrderApproved")


def test_an_approval_is_made_in_the_gate_and_nowhere_else() -> None:
    makers = {
        str(path.relative_to(ROOT)): count
        for package in PACKAGES
        for path in sorted((ROOT / package).rglob("*.py"))
        if (count := approvals_made_in(path.read_text(encoding="utf-8")))
    }
    assert makers == {"risk/gate.py": 1}


# Children -------------------------------------------------------------------------------------------------------------


def test_an_approval_carries_the_quote_the_collar_and_the_version_of_its_decision() -> None:
    bounds = limits()
    order = child()
    assert verdict(order, book(accepted(parent())), bounds) == OrderApproved(
        ts=NOW,
        order=order,
        not_after=NOW + 500 * NS_PER_MS,
        collar_low=Decimal(95),
        collar_high=Decimal(105),
        bid=Decimal("99.99"),
        ask=Decimal("100.01"),
        limits_version=version_of(bounds),
        nearest=Nearest(Reason.POSITION, Decimal("0.1"), Decimal(1)),
        checks=len(CHECKS),
    )


def test_a_denial_carries_its_numbers() -> None:
    bounds = limits()
    order = child(qty="130")
    denial = verdict(order, book(accepted(parent())), bounds)
    assert isinstance(denial, OrderDenied)
    assert denial.text
    assert msgspec.structs.replace(denial, text="") == OrderDenied(
        ts=NOW,
        parent_id="P1",
        cl_ord_id="P1C1A1",
        strategy="alpha",
        symbol="AAPL",
        side=BUY,
        order_qty=Decimal(130),
        reason=Reason.OVER_PARENT,
        value=Decimal(130),
        limit=Decimal(100),
        unit="shares",
        max_qty=Decimal(100),
        limits_version=version_of(bounds),
        text="",
        checks=CHECKS.index(parent_is_open) + 1,
    )


def of_ours(held_qty: int, *, size_max: int = 1_000, doubt: bool = False) -> OrderDenied:
    """What becomes of a sale of 100 at 99.90 before three purchases of ours, two of which it would meet."""
    purchases = [
        child("SHRT", BUY, "10", parent_id="B", cl_ord_id=f"BC{number}A1", price=Decimal(price))
        for number, price in enumerate(("99.89", "99.90", "99.95"))
    ]
    exposure = book(
        held("SHRT", held_qty),
        *(accepted(parent("SHRT", side, parent_id=name)) for name, side in (("P1", SELL), ("B", BUY))),
        *map(approved, purchases),
        *([updated(purchases[1], OrdStatus.UNKNOWN)] if doubt else []),
    )
    bounds = limits(symbols_default=SymbolLimits(order_qty_max=Decimal(size_max), order_notional_max=Decimal(10**9)))
    denial = verdict(child("SHRT", SELL, "100", price=Decimal("99.90")), exposure, bounds)
    assert isinstance(denial, OrderDenied)
    return denial


def test_a_denial_says_whether_it_shrinks_and_which_orders_of_ours_it_would_meet() -> None:
    for qty, reducing in ((100, True), (99, False)):
        denial = of_ours(qty)
        assert denial.reason is Reason.SELF_MATCH
        assert denial.reducing == reducing
        assert denial.met == ("BC2A1", "BC1A1")  # the highest first, though it was last
        assert denial.text.endswith("BC2A1")


def test_what_is_denied_for_anything_else_or_waits_for_what_is_in_doubt_meets_nobody() -> None:
    """Nothing is taken back for an order that would not go then."""
    too_large = of_ours(100, size_max=99)
    assert (too_large.reason, too_large.reducing, too_large.met) == (Reason.ORDER_SIZE, True, ())
    doubtful = of_ours(100, doubt=True)
    assert (doubtful.reason, doubtful.reducing, doubtful.met) == (Reason.SELF_MATCH, True, ())
    assert doubtful.text.endswith("BC1A1")


@pytest.mark.parametrize(
    "bounds,events,expected",
    [
        (limits(gross_max=Decimal("0.25")), (held("SHRT", 100),), ("GROSS", "0.2", "0.25")),
        (limits(net_max=Decimal("0.3")), (held("SHRT", 100),), ("NET", "0.2", "0.3")),
        (limits(sector_max=Decimal("0.21")), (held("SHRT", 100),), ("SECTOR", "0.2", "0.21")),
        (limits(cluster_max=Decimal("0.21")), (modelled(), held("SHRT", 100)), ("CLUSTER", "0.2", "0.21")),
        (limits(es_max=Decimal("0.04")), (modelled(), held("SHRT", 100)), ("SHORTFALL", "0.03", "0.04")),
        (limits(), (held("AAPL", -200),), None),  # it shrinks: no such limit is looked at
    ],
)
def test_a_decision_names_the_limit_that_it_came_nearest_to(
    bounds: Limits, events: tuple[Event, ...], expected: tuple[str, str, str] | None
) -> None:
    accepted_as = verdict(parent(), book(*events), bounds)
    assert isinstance(accepted_as, ParentAccepted)
    near = accepted_as.nearest
    assert (None if near is None else (near.reason, near.value, near.limit)) == (
        None if expected is None else (Reason(expected[0]), Decimal(expected[1]), Decimal(expected[2]))
    )


def test_a_verdict_says_how_long_it_took_with_all_its_rounds() -> None:
    times = iter(range(100, 1_000, 7))
    gate = Gate(book(held("AAPL", 30)), LimitsInForce(TENTH), lambda: next(times))
    (cut,) = gate.on_parent_order(parent(qty="150", resizable=True))
    (no,) = gate.on_parent_order(parent(qty="150"))
    assert isinstance(cut, ParentAccepted)
    assert isinstance(no, OrderDenied)
    assert (cut.duration_ns, no.duration_ns) == (7, 7)


@given(
    left_ms=st.integers(1, 60_000),
    ttl_ms=st.integers(1, 10_000),
    margin_s=st.integers(0, 30),
    valid_ms=st.none() | st.integers(-1_000, 20_000),
)
def test_no_approval_outlives_its_time_or_its_signal_or_reaches_into_the_margin_before_the_close(
    left_ms: int, ttl_ms: int, margin_s: int, valid_ms: int | None
) -> None:
    now = session().close - left_ms * NS_PER_MS
    bounds = limits(approval_ttl_ms=ttl_ms, close_margin_s=margin_s)
    valid_until = None if valid_ms is None else now + valid_ms * NS_PER_MS
    exposure = book(accepted(parent(valid_until=valid_until)), quote(ts=now))
    effect = verdict(child(ts=now), exposure, bounds)
    ends = [now + ttl_ms * NS_PER_MS, session().close - margin_s * NS_PER_S]
    if valid_until is not None:
        ends.append(valid_until)
    if isinstance(effect, OrderDenied):
        assert effect.reason is (Reason.SESSION if left_ms <= margin_s * 1_000 else Reason.EXPIRED)
        assert min(ends) <= now
    else:
        assert isinstance(effect, OrderApproved)
        assert now < effect.not_after == min(ends)


@given(st.decimals(Decimal(90), Decimal(110), places=2))
def test_what_the_gate_lets_pass_lies_within_the_collar_that_it_states(price: Decimal) -> None:
    effect = verdict(child(price=price), book(accepted(parent())), limits())
    assert isinstance(effect, OrderApproved) == (Decimal(95) <= price <= Decimal(105))
    if isinstance(effect, OrderApproved):
        assert effect.collar_low <= price <= effect.collar_high


def test_deciding_changes_nothing() -> None:
    exposure = book(accepted(parent()))
    before = exposure.dump()
    for order in (child(), child(qty="1000"), parent(parent_id="P2"), parent(qty="99999999")):
        verdict(order, exposure, limits(position_max=Decimal("0.5")))
    assert exposure.dump() == before


# Parents --------------------------------------------------------------------------------------------------------------


def test_a_parent_is_accepted_with_the_market_of_that_moment() -> None:
    bounds, order = limits(), parent()
    assert verdict(order, book(), bounds) == ParentAccepted(
        ts=NOW,
        parent=order,
        order_qty=Decimal(100),
        bid=Decimal("99.99"),
        ask=Decimal("100.01"),
        arrival_px=Decimal(100),
        limits_version=version_of(bounds),
        nearest=Nearest(Reason.POSITION, Decimal("0.1"), Decimal(1)),
        checks=len(CHECKS),
    )


def test_a_parent_may_be_accepted_before_the_open_on_yesterdays_price() -> None:
    early = parent(ts=clock(7))
    assert isinstance(verdict(early, book(quote(ts=NOW - 86_400 * NS_PER_S)), limits()), ParentAccepted)


def test_a_resizable_parent_is_cut_to_what_the_limit_leaves() -> None:
    effect = verdict(parent(qty="150", resizable=True), book(held("AAPL", 30)), TENTH)
    assert isinstance(effect, ParentAccepted)
    assert effect.order_qty == 70
    assert effect.parent.order_qty == 150


def test_another_parent_is_denied_with_what_would_have_passed() -> None:
    effect = verdict(parent(qty="150"), book(held("AAPL", 30)), TENTH)
    assert isinstance(effect, OrderDenied)
    assert (effect.cl_ord_id, effect.order_qty, effect.max_qty) == ("", Decimal(150), Decimal(70))


def test_where_nothing_would_pass_a_resizable_parent_is_denied_too() -> None:
    effect = verdict(parent(qty="150", resizable=True), book(held("AAPL", 100)), TENTH)
    assert isinstance(effect, OrderDenied)
    assert effect.max_qty is None


def test_a_parent_that_hits_one_limit_after_another_is_cut_to_the_nearest() -> None:
    default = SymbolLimits(order_qty_max=Decimal(120), order_notional_max=Decimal(11_000))
    bounds = limits(position_max=Decimal("0.1"), symbols_default=default)
    effect = verdict(parent(qty="150", resizable=True), book(), bounds)
    assert isinstance(effect, ParentAccepted)
    assert effect.order_qty == 100


@pytest.mark.parametrize("held_qty,cut", [(94, 6), (95, 5), (96, None)])
def test_a_parent_that_a_limit_would_cut_below_the_venues_minimum_is_denied_by_that_limit(
    held_qty: int, cut: int | None
) -> None:
    exposure = silent(Instruments([Instrument(symbol="AAPL", min_notional=Decimal(500))]))
    fold(exposure, opened(), quote(), held("AAPL", held_qty))
    effect = verdict(parent(qty="50", resizable=True), exposure, TENTH)
    if cut is not None:
        assert isinstance(effect, ParentAccepted)
        assert effect.order_qty == cut
        return
    assert isinstance(effect, OrderDenied)
    assert (effect.order_qty, effect.reason, effect.unit) == (Decimal(50), Reason.POSITION, "of equity")
    assert (effect.value, effect.limit, effect.max_qty) == (Decimal("0.146"), Decimal("0.1"), Decimal(4))


def test_a_parent_in_a_broken_lot_without_a_price_is_denied_for_the_price() -> None:
    exposure = fold(silent(Instruments([Instrument(symbol="AAPL", min_notional=Decimal(500))])), opened())
    effect = verdict(parent(qty="10.5", resizable=True), exposure, limits())
    assert isinstance(effect, OrderDenied)
    assert effect.reason is Reason.NO_PRICE


@st.composite
def tight(draw: st.DrawFn) -> tuple[ParentOrder, Exposure, Limits]:
    symbol = draw(st.sampled_from(["AAPL", "SHRT", "LOTS", "FRAC"]))
    lot = INSTRUMENTS[symbol].lot
    events: list[Event] = []
    if position := draw(st.integers(-30, 30)):
        events.append(held(symbol, position * lot))
    for side in Side:
        if qty := draw(st.integers(0, 20)):
            events += working(symbol, side, qty * lot)
    default = SymbolLimits(
        order_qty_max=draw(st.integers(1, 60)) * lot + draw(st.sampled_from([Decimal(0), lot / 2])),
        order_notional_max=Decimal(draw(st.integers(1, 500_000))),
    )
    order = parent(
        symbol,
        draw(st.sampled_from(Side)),
        order_qty=draw(st.integers(1, 100)) * lot,
        resizable=True,
        how=Instruction(price=draw(st.none() | st.decimals(50, 200, places=2))),
    )
    fraction = draw(st.sampled_from([Decimal("0.01"), Decimal("0.08"), Decimal("0.5")]))
    return order, book(*events), limits(position_max=fraction, symbols_default=default)


@given(tight())
def test_resizing_ends_in_the_largest_quantity_that_passes_or_in_a_denial(
    situation: tuple[ParentOrder, Exposure, Limits],
) -> None:
    order, exposure, bounds = situation
    effect = verdict(order, exposure, bounds)
    lot = INSTRUMENTS[order.symbol].lot
    largest = effect.order_qty if isinstance(effect, ParentAccepted) else Decimal(0)
    if isinstance(effect, ParentAccepted):
        assert 0 < largest <= order.order_qty
        exactly = msgspec.structs.replace(order, order_qty=largest, resizable=False)
        assert isinstance(verdict(exactly, exposure, bounds), ParentAccepted)
    if largest + lot <= order.order_qty:
        more = msgspec.structs.replace(order, order_qty=largest + lot, resizable=False)
        assert isinstance(verdict(more, exposure, bounds), OrderDenied)


BOUNDS = st.builds(
    limits,
    position_max=st.sampled_from([Decimal("0.01"), Decimal("0.5")]),
    collar=st.sampled_from([Decimal("0.01"), Decimal("0.9")]),
    orders_per_s=st.sampled_from([1, 3, 100]),
    approval_ttl_ms=st.sampled_from([1, 500]),
)
ORDERS = st.builds(parent, st.sampled_from(["SHRT", "AAPL"]), st.sampled_from(Side), st.sampled_from(["40", "400"]))
CHILDREN = st.builds(
    child, st.just("SHRT"), st.sampled_from(Side), st.sampled_from(["1", "50"]), price=st.just(Decimal(95))
)


@given(st.lists(BOUNDS | ORDERS | CHILDREN, max_size=20))
def test_an_order_is_judged_by_the_limits_whose_version_its_verdict_names(
    steps: list[Limits | ParentOrder | NewOrderSingle],
) -> None:
    in_force, versions = LimitsInForce(TENTH), {version_of(TENTH): TENTH}
    exposure = fold(Exposure(INSTRUMENTS, in_force, abilities()), opened(), quote("SHRT"), quote("AAPL"))
    fold(exposure, accepted(parent("SHRT", BUY, "100000")))
    gate = Gate(exposure, in_force)
    for number, step in enumerate(steps):
        if isinstance(step, Limits):
            in_force.take(limits_set(step))
            versions[in_force.version] = step
            continue
        if isinstance(step, ParentOrder):
            order: ParentOrder | NewOrderSingle = msgspec.structs.replace(step, parent_id=f"Q{number}")
        else:
            order = msgspec.structs.replace(step, cl_ord_id=f"P1C{number}A1")
        (effect,) = gate.on_parent_order(order) if isinstance(order, ParentOrder) else gate.on_new_order(order)
        assert isinstance(effect, ParentAccepted | OrderApproved | OrderDenied)
        assert effect.limits_version == in_force.version
        assert effect == verdict(order, exposure, versions[effect.limits_version])
        if isinstance(effect, OrderDenied):
            if effect.reason is Reason.RATE:
                assert effect.limit == for_opening(in_force.current.orders_per_s)
        else:
            fold(exposure, effect)


def test_a_limit_that_is_lowered_under_live_orders_binds_whatever_comes_next_and_takes_nothing_back() -> None:
    wide, narrow = limits(position_max=Decimal("0.5")), limits(position_max=Decimal("0.05"))  # 500 and 50 shares
    in_force = LimitsInForce(wide)
    exposure = fold(Exposure(INSTRUMENTS, in_force, abilities()), opened(), quote("SHRT"))
    gate = Gate(exposure, in_force)
    fold(exposure, accepted(parent("SHRT", BUY, "400")))
    fold(exposure, *gate.on_new_order(child("SHRT", BUY, "100")))
    in_force.take(limits_set(narrow))
    assert exposure.working("SHRT", BUY) == 100
    (next_child,) = gate.on_new_order(child("SHRT", BUY, "1", cl_ord_id="P1C2A1"))
    assert isinstance(next_child, OrderDenied)
    assert (next_child.reason, next_child.limit, next_child.max_qty) == (Reason.POSITION, narrow.position_max, None)
    fold(exposure, held("SHRT", 300))
    (shrinking,) = gate.on_new_order(child("SHRT", SELL, "300", cl_ord_id="P1C3A1", price=Decimal(101)))
    assert isinstance(shrinking, OrderApproved)


def test_a_market_order_is_valued_at_the_mid() -> None:
    bounds = limits(symbols_default=SymbolLimits(order_qty_max=Decimal(200), order_notional_max=Decimal(10_000)))
    exposure = book(accepted(parent(qty="200")))
    assert isinstance(verdict(child(qty="100", ord_type=OrdType.MARKET, price=None), exposure, bounds), OrderApproved)
    assert isinstance(verdict(child(qty="101", ord_type=OrdType.MARKET, price=None), exposure, bounds), OrderDenied)


SENT = st.lists(st.tuples(st.integers(0, 400), st.sampled_from(["order", "cancel", "flatten"])), max_size=60)


@given(st.integers(1, 4), st.integers(1, 8), SENT)
def test_an_order_passes_exactly_where_orders_and_messages_of_the_last_second_leave_room(
    orders_per_s: int, messages_per_s: int, steps: list[tuple[int, str]]
) -> None:
    bounds = limits(orders_per_s=orders_per_s, messages_per_s=messages_per_s)
    exposure = book(
        accepted(parent(qty="1000")),
        accepted(parent(qty="1000", parent_id="P2", flatten=True)),
        orders_per_s=orders_per_s,
        messages_per_s=messages_per_s,
    )
    now, orders, messages = NOW, list[int](), list[int]()
    for number, (ms, what) in enumerate(steps):
        now += ms * NS_PER_MS
        fold(exposure, quote(ts=now))
        owner = "P2" if what == "flatten" else "P1"
        order = child(qty="1", ts=now, parent_id=owner, cl_ord_id=f"{owner}C{number}A1")
        if what == "cancel":
            fold(exposure, cancelled(order))
            messages.append(now)
            continue
        recent, said = (sum(now - ts < NS_PER_S for ts in times) for times in (orders, messages))
        effect = verdict(order, exposure, bounds)
        passes = (
            recent < orders_per_s
            if what == "flatten"
            else recent < for_opening(orders_per_s) and said < for_opening(messages_per_s)
        )
        assert isinstance(effect, OrderApproved) == passes
        if isinstance(effect, OrderApproved):
            fold(exposure, effect)
            orders.append(now)
            messages.append(now)
        if number % 7 == 0:
            dumped = msgspec.json.decode(msgspec.json.encode(exposure.dump()))
            exposure = silent(orders_per_s=orders_per_s, messages_per_s=messages_per_s)
            exposure.load(dumped)


def test_a_parent_that_was_made_smaller_is_a_duplicate_of_what_was_asked() -> None:
    exposure, bounds = book(), limits(duplicate_window_s=1.0)
    first = verdict(parent(qty="100.5", resizable=True), exposure, bounds)
    assert isinstance(first, ParentAccepted)
    assert first.order_qty == 100
    fold(exposure, first)
    again = verdict(parent(qty="100.5", resizable=True, parent_id="P2"), exposure, bounds)
    assert isinstance(again, OrderDenied)
    assert again.reason is Reason.DUPLICATE


def test_a_parent_that_sells_more_than_is_held_and_located_is_cut_to_that() -> None:
    effect = verdict(parent("HARD", SELL, "500", resizable=True), book(held("HARD", 30)), limits())
    assert isinstance(effect, ParentAccepted)
    assert effect.order_qty == 130


@pytest.mark.parametrize("side", Side)
def test_an_approval_reserves_before_the_next_order_is_looked_at(side: Side) -> None:
    exposure = book(accepted(parent("SHRT", side, "150")))
    first = verdict(child("SHRT", side, "60"), exposure, TENTH)
    fold(exposure, first)
    second = verdict(child("SHRT", side, "60", cl_ord_id="P1C2A1"), exposure, TENTH)
    assert isinstance(first, OrderApproved)
    assert isinstance(second, OrderDenied)
    assert (second.reason, second.max_qty) == (Reason.POSITION, Decimal(40))


# Beside the limits in force -------------------------------------------------------------------------------------------


def beside(order: ParentOrder | NewOrderSingle, exposure: Exposure, bounds: Limits, shadow: Limits) -> list[Event]:
    """All that the gate says, the exposure folding each effect when it is emitted, as on the bus."""
    in_force = LimitsInForce(bounds)
    in_force.shade(shadow_set(shadow))
    gate, said = Gate(exposure, in_force), list[Event]()
    for effect in gate.on_parent_order(order) if isinstance(order, ParentOrder) else gate.on_new_order(order):
        said.append(effect)
        if isinstance(effect, ParentAccepted | OrderApproved):
            fold(exposure, effect)
    return said


# Amendments -----------------------------------------------------------------------------------------------------------

HALTED = TradingHalted(ts=NOW, cause="drill", state=TradingState.HALTED)
STOPPED = StrategyStopped(ts=NOW, strategy="alpha", text="a loop")
LIVE = parent(qty="60")


def amending(asked: ParentAmendment, exposure: Exposure, bounds: Limits) -> Event:
    (effect,) = Gate(exposure, LimitsInForce(bounds)).on_amendment(asked)
    return effect


AMENDMENTS: list[tuple[str, Change, tuple[Event, ...], Limits, str]] = [
    ("larger, within the limits", Change(qty=Decimal(100)), (), TENTH, "100, 40 more"),
    ("larger than the limit leaves", Change(qty=Decimal(101)), (), TENTH, "POSITION of 41, 40 would pass"),
    ("as large", Change(qty=Decimal(60)), (HALTED,), TENTH, "60, 0 more"),
    ("smaller while halted", Change(qty=Decimal(20)), (HALTED,), TENTH, "20, 0 more"),
    ("larger while halted", Change(qty=Decimal(61)), (HALTED,), TENTH, "STATE of 1, None would pass"),
    (
        "larger of a strategy that is stopped",
        Change(qty=Decimal(61)),
        (STOPPED,),
        TENTH,
        "REPEATS of 1, None would pass",
    ),
    ("cancelled while halted", Change(action=Action.CANCEL), (HALTED, STOPPED), TENTH, "60, 0 more"),
    ("smaller in a book that is over", Change(qty=Decimal(50)), (held("AAPL", 500),), TENTH, "50, 0 more"),
    (
        "down to what is done or works",
        Change(qty=Decimal(30)),
        (approved(child(qty="30")),),
        TENTH,
        "30, 0 more",
    ),
    (
        "below it",
        Change(qty=Decimal(29)),
        (approved(child(qty="30")), filled(child(qty="30"), "10")),
        TENTH,
        "OVER_PARENT of 29, None would pass",
    ),
    (
        "as much again at once is no duplicate",
        Change(qty=Decimal(120)),
        (),
        limits(duplicate_window_s=1.0),
        "120, 60 more",
    ),
    (
        "bit by bit over the largest order",
        Change(qty=Decimal(90)),
        (),
        limits(symbols_default=SymbolLimits(order_qty_max=Decimal(80), order_notional_max=Decimal(10**9))),
        "ORDER_SIZE of 30, 20 would pass",
    ),
    (
        "bit by bit over the most money in one",
        Change(qty=Decimal(90)),
        (),
        limits(symbols_default=SymbolLimits(order_qty_max=Decimal(10**6), order_notional_max=Decimal(8_050))),
        "ORDER_NOTIONAL of 30, 20 would pass",
    ),
    (
        "bit by bit over its part of a day",
        Change(qty=Decimal(90)),
        (),
        limits(participation_max=Decimal("0.008")),
        "PARTICIPATION of 30, 20 would pass",
    ),
    (
        "dearer by its new price",
        Change(qty=Decimal(90), price=Decimal(200)),
        (),
        TENTH,
        "POSITION of 30, None would pass",
    ),
]


@pytest.mark.parametrize("case", AMENDMENTS, ids=lambda case: case[0])
def test_only_what_makes_a_parent_larger_is_judged(case: tuple[str, Change, tuple[Event, ...], Limits, str]) -> None:
    _, change, events, bounds, expected = case
    asked, exposure = amendment(LIVE, change), book(accepted(LIVE), *events)
    effect = amending(asked, exposure, bounds)
    if isinstance(effect, ParentAmended):
        assert effect.amendment is asked
        assert f"{effect.order_qty}, {effect.more_qty} more" == expected
    else:
        assert isinstance(effect, OrderDenied)
        assert (effect.amends, effect.parent_id, effect.cl_ord_id) == (True, "P1", "")
        assert f"{effect.reason} of {effect.order_qty}, {effect.max_qty} would pass" == expected


def test_one_that_has_ended_meanwhile_is_not_changed() -> None:
    exposure = book(accepted(LIVE), ended(LIVE))
    for change in (Change(qty=Decimal(100)), Change(action=Action.PAUSE)):
        effect = amending(amendment(LIVE, change), exposure, TENTH)
        assert isinstance(effect, OrderDenied)
        assert (effect.reason, effect.text) == (Reason.OVER_PARENT, "P1 is not open")


@given(st.integers(1, 100), st.lists(st.integers(1, 150), min_size=1, max_size=6))
def test_by_however_many_amendments_no_parent_becomes_larger_than_it_could_have_begun(
    qty: int, sizes: list[int]
) -> None:
    order = parent(qty=str(qty))
    exposure = book(accepted(order))
    for size in sizes:
        effect = amending(amendment(order, Change(qty=Decimal(size))), exposure, TENTH)
        assert isinstance(effect, ParentAmended) == (
            Decimal(size) <= max(Decimal(100), exposure.parents["P1"].order_qty)
        )
        if isinstance(effect, ParentAmended):
            fold(exposure, effect)
        assert exposure.committed("AAPL", BUY) == exposure.parents["P1"].order_qty <= 100


def test_shadow_limits_judge_by_how_much_it_is_larger_too() -> None:
    in_force = LimitsInForce(TENTH)
    in_force.shade(shadow_set(limits(position_max=Decimal("0.07"))))
    asked = amendment(LIVE, Change(qty=Decimal(100)))
    said, beside_it = Gate(book(accepted(LIVE)), in_force).on_amendment(asked)
    assert msgspec.structs.replace(said, nearest=None, checks=0) == msgspec.structs.replace(
        amended(asked, "100", "40"), limits_version=in_force.version
    )
    assert isinstance(beside_it, ShadowVerdict)
    assert (beside_it.in_force_qty, beside_it.shadow_qty, beside_it.max_qty) == (Decimal(40), ZERO, Decimal(10))


def passed(effect: Event) -> Decimal:
    """How much of the order; zero where it is denied."""
    if isinstance(effect, ParentAccepted):
        return effect.order_qty
    return effect.order.order_qty if isinstance(effect, OrderApproved) else Decimal(0)


def test_where_shadow_limits_would_have_let_less_pass_their_numbers_are_said() -> None:
    shadow = limits(position_max=Decimal("0.05"))  # 50 shares
    order = parent(qty="150", resizable=True)
    accepted_as, said = beside(order, book(held("AAPL", 30)), TENTH, shadow)
    assert accepted_as == verdict(order, book(held("AAPL", 30)), TENTH)
    assert isinstance(said, ShadowVerdict)
    assert said.text
    assert said.outcome == "tighter"
    assert msgspec.structs.replace(said, text="") == ShadowVerdict(
        ts=NOW,
        parent_id="P1",
        cl_ord_id="",
        strategy="alpha",
        symbol="AAPL",
        side=BUY,
        order_qty=Decimal(150),
        in_force_qty=Decimal(70),
        shadow_qty=Decimal(20),
        reason=Reason.POSITION,
        value=Decimal("0.18"),
        limit=Decimal("0.05"),
        unit="of equity",
        max_qty=Decimal(20),
        limits_version=version_of(TENTH),
        shadow_version=version_of(shadow),
        text="",
    )


def test_where_they_would_have_let_more_pass_the_numbers_are_those_of_the_limit_in_force() -> None:
    wide = limits(position_max=Decimal("0.5"))
    denial, said = beside(child("SHRT", qty="130"), book(accepted(parent("SHRT", qty="130"))), TENTH, wide)
    assert isinstance(denial, OrderDenied)
    assert isinstance(said, ShadowVerdict)
    assert (said.outcome, said.cl_ord_id) == ("wider", "P1C1A1")
    assert (said.in_force_qty, said.shadow_qty) == (Decimal(0), Decimal(130))
    assert (said.reason, said.value, said.limit, said.max_qty, said.text) == (
        denial.reason,
        denial.value,
        denial.limit,
        denial.max_qty,
        denial.text,
    )
    cut, said = beside(parent(qty="150", resizable=True), book(), TENTH, wide)
    assert isinstance(said, ShadowVerdict)
    assert passed(cut) == said.in_force_qty == 100
    assert (said.shadow_qty, said.reason) == (Decimal(150), Reason.POSITION)


def test_where_both_deny_whatever_the_reason_nothing_is_said() -> None:
    shadow = limits(symbols_default=SymbolLimits(order_qty_max=Decimal(10), order_notional_max=Decimal(10_000)))
    (denial,) = beside(parent(qty="150"), book(), TENTH, shadow)
    assert isinstance(denial, OrderDenied)
    assert denial.reason is Reason.POSITION


def test_shadow_limits_judge_the_book_before_what_is_in_force_has_reserved() -> None:
    exposure = book(accepted(parent("SHRT", qty="200")))
    assert [type(said) for said in beside(child("SHRT", qty="60"), exposure, limits(), TENTH)] == [OrderApproved]
    _, said = beside(child("SHRT", qty="60", cl_ord_id="P1C2A1"), exposure, limits(), TENTH)
    assert isinstance(said, ShadowVerdict)
    assert (said.reason, said.max_qty) == (Reason.POSITION, Decimal(40))


@pytest.mark.parametrize("in_force,shadow,outcome", [(1, 3, "wider"), (3, 1, "tighter")])
def test_shadow_limits_have_rates_of_their_own(in_force: int, shadow: int, outcome: str) -> None:
    exposure = book(accepted(parent()), orders_per_s=in_force)
    rates = limits(orders_per_s=in_force), limits(orders_per_s=shadow)
    assert len(beside(child(qty="1"), exposure, *rates)) == 1
    _, said = beside(child(qty="1", cl_ord_id="P1C2A1"), exposure, *rates)
    assert isinstance(said, ShadowVerdict)
    assert (said.outcome, said.reason, said.limit) == (outcome, Reason.RATE, Decimal(1))


def test_shadow_limits_are_held_to_the_shortfall_too() -> None:
    bounds, shadow = limits(es_max=Decimal("0.04")), limits(es_max=Decimal("0.02"))
    decided, said = beside(parent(), book(modelled(), held("SHRT", 100)), bounds, shadow)
    assert decided == verdict(parent(), book(modelled(), held("SHRT", 100)), bounds)
    assert isinstance(said, ShadowVerdict)
    assert (said.outcome, said.reason, said.limit) == ("tighter", Reason.SHORTFALL, Decimal("0.02"))


RESIZABLE = st.builds(msgspec.structs.replace, ORDERS, resizable=st.booleans())


@given(BOUNDS, BOUNDS, st.lists(RESIZABLE | CHILDREN, max_size=15))
def test_beside_shadow_limits_the_same_is_decided_and_they_decide_as_if_they_were_in_force(
    bounds: Limits, shadow: Limits, steps: list[ParentOrder | NewOrderSingle]
) -> None:
    in_force = LimitsInForce(bounds)
    alone, watched = (Exposure(INSTRUMENTS, in_force, abilities()) for _ in range(2))
    for exposure in (alone, watched):
        fold(exposure, opened(), quote("SHRT"), quote("AAPL"), accepted(parent("SHRT", BUY, "100000")))
    for number, step in enumerate(steps):
        if isinstance(step, ParentOrder):
            order: ParentOrder | NewOrderSingle = msgspec.structs.replace(step, parent_id=f"Q{number}")
        else:
            order = msgspec.structs.replace(step, cl_ord_id=f"P1C{number}A1")
        decided, would = verdict(order, alone, bounds), verdict(order, alone, shadow)
        if not isinstance(decided, OrderDenied):
            fold(alone, decided)
        first, *rest = beside(order, watched, bounds, shadow)
        assert first == decided
        assert watched.dump() == alone.dump()
        if passed(decided) == passed(would):
            assert rest == []
            continue
        (said,) = rest
        assert isinstance(said, ShadowVerdict)
        assert (said.in_force_qty, said.shadow_qty) == (passed(decided), passed(would))
        assert said.outcome == ("tighter" if passed(would) < passed(decided) else "wider")
        tighter = min(decided, would, key=passed)
        if isinstance(tighter, OrderDenied):
            assert (said.reason, said.value, said.limit, said.max_qty) == (
                tighter.reason,
                tighter.value,
                tighter.limit,
                tighter.max_qty,
            )
        else:
            assert said.max_qty == passed(tighter)  # what made it smaller
