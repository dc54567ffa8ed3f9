"""Stops that the daemon holds: what fires one, what does not, and that its exit closes what is held and no more."""

import datetime as dt
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.causes import KILL, REDIS, TradingState
from core.events import (
    BreakFound,
    EndReason,
    Event,
    ExitRequested,
    FillBooked,
    FlattenRequested,
    MarketData,
    OrderApproved,
    OrderDenied,
    ParentAccepted,
    ParentEnded,
    ParentOrder,
    PositionAdjusted,
    Reason,
    SignalIgnored,
    SignalRefused,
    StopEnd,
    StopEnded,
    StopRearmed,
    StopSet,
    StopSuspended,
    StopTriggered,
    StrategyStopped,
    TradingHalted,
    TradingResumed,
)
from core.instruments import Instrument, Instruments
from core.orders import Side
from core.signals import Action, Algo, Change, Instruction, OrderSignal, StopSignal
from core.units import NS_PER_MS, NS_PER_S, ZERO
from risk.limits import StrategyLimits, SymbolLimits
from risk.stops import GAP_MAX
from risk.triggers import END_NS, PAUSE_NS, TRIES_MAX, WAIT_NS, Source
from tests.builders import DAY, MINUTE, NOW, busted, held, limits, limits_set, quote, received, session
from tests.pure_bus import Mercy, PureBus, Reply, scripted

BUY, SELL = Side.BUY, Side.SELL


def amount(text: str | None) -> Decimal | None:
    return None if text is None else Decimal(text)


def stop(
    at: str | None = None,
    *,
    trail: str | None = None,
    part: str | None = None,
    symbol: str = "SHRT",
    **changes: Any,  # noqa: ANN401
) -> StopSignal:
    signal = StopSignal(
        signal_id="s1",
        ts=NOW,
        strategy="alpha",
        symbol=symbol,
        stop_px=amount(at),
        trail=amount(trail),
        trail_fraction=amount(part),
    )
    return msgspec.structs.replace(signal, **changes)


def seen(price: str | Decimal, ts: int, symbol: str = "SHRT") -> MarketData:
    """A quote a cent wide: the long's price is the bid, the short's the ask."""
    bid = Decimal(price)
    return quote(symbol, str(bid), str(bid + Decimal("0.01")), last=str(bid), ts=ts)


class World:
    """A strategy with a position and a stop; prices come a second apart."""

    def __init__(self, qty: int = 100, *, cash: str = "1000000", source: Source = "quote", **options: Any) -> None:  # noqa: ANN401
        bounds = options.pop("bounds", {})
        self.bus = PureBus(limits=limits(quote_age_s_max=86_400.0, **bounds), cash=cash, source=source, **options)
        self.now = NOW
        self.tell(seen("99.99", NOW))
        if qty:
            self.tell(held("SHRT", qty))

    def tell(self, *events: Event) -> None:
        for event in events:
            self.bus.bus.publish(event)

    def signal(self, signal: StopSignal | OrderSignal) -> None:
        self.tell(received(signal, self.now))

    def prices(self, *prices: str | Decimal) -> None:
        """And whatever is due in between."""
        for price in prices:
            self.now += NS_PER_S
            self.bus.at(self.now, seen(price, self.now))
            self.run()

    def run(self) -> None:
        while self.bus._outside and self.bus._outside[0][0] <= self.now:
            self.bus.step()

    def all(self, kind: type[Event]) -> list[Any]:
        return [event for event in self.bus.trace if type(event) is kind]

    def fired(self) -> bool:
        return bool(self.all(StopTriggered))

    def held(self) -> Decimal:
        self.bus.run()
        return self.bus.exposure.own_held("alpha", "SHRT")


# What fires a stop ----------------------------------------------------------------------------------------------------

PATHS: list[tuple[str, int, StopSignal, list[str], bool]] = [
    ("one price beyond is not enough", 100, stop("95"), ["94", "96", "94", "96"], False),
    ("two in a row are", 100, stop("95"), ["96", "94", "93"], True),
    ("at the price is beyond", 100, stop("95"), ["95", "95"], True),
    ("a tick above is not", 100, stop("95"), ["95.01", "95.01", "95.01"], False),
    ("the other way it never does", 100, stop("95"), ["105", "150", "149"], False),
    ("a short's, by the ask", -100, stop("105"), ["104.98", "104.99", "104.99"], True),
    ("a short's, a tick below", -100, stop("105"), ["104.98", "104.98", "104.98"], False),
    ("a trail from the start", 100, stop(trail="2"), ["97.99", "97.99"], True),
    ("a trail that followed", 100, stop(trail="2"), ["104", "104", "102", "102"], True),
    ("a trail that followed, a tick above", 100, stop(trail="2"), ["104", "104", "102.01", "102.01"], False),
    ("a trail that one bad print did not move", 100, stop(trail="2"), ["100", "150", "100", "100"], False),
    ("a trail in a fraction", 100, stop(part="0.1"), ["120", "120", "108", "108"], True),
    ("a trail in a fraction, a tick above", 100, stop(part="0.1"), ["120", "120", "108.01", "108.01"], False),
    ("a short's trail", -100, stop(trail="2"), ["90", "90", "92", "92"], True),
    ("a short's trail, a tick below", -100, stop(trail="2"), ["90", "90", "91.99", "91.99"], False),
]


@pytest.mark.parametrize("case", PATHS, ids=lambda case: case[0])
def test_a_path_of_prices_fires_a_stop_or_does_not(case: tuple[str, int, StopSignal, list[str], bool]) -> None:
    _, qty, signal, prices, fires = case
    world = World(qty)
    world.signal(signal)
    world.prices(*prices)
    assert world.fired() is fires
    assert world.held() == (0 if fires else qty)
    assert len(world.bus.triggers) == (0 if fires else 1)


def test_what_fired_it_is_on_record() -> None:
    world = World()
    world.signal(stop(trail="2"))
    world.prices("104", "104", "101", "100.5")
    (fired,) = world.all(StopTriggered)
    assert (fired.stop_px, fired.prices, fired.source) == (Decimal(102), (Decimal(101), Decimal("100.5")), "quote")


def test_the_last_print_fires_where_that_is_the_source_and_a_quote_is_no_print() -> None:
    world = World(source="last")
    world.signal(stop("95"))
    world.tell(*(quote("SHRT", "90", "90.01", last="99", ts=NOW + second) for second in range(1, 5)))
    assert not world.fired()
    low = quote("SHRT", "98", "98.01", last="94", ts=NOW + 5)
    world.tell(msgspec.structs.replace(low, trades=1), low, low)  # which printed once
    assert not world.fired()
    world.tell(msgspec.structs.replace(low, trades=1))
    assert world.fired()


BAD: list[tuple[str, int, StopSignal, str]] = [
    ("a bid far below fires no stop", 100, stop("90"), "10"),
    ("a bid above drags no trail", 100, stop(trail="2"), "104"),
    ("an ask far above fires no stop", -100, stop("110"), "190"),
    ("an ask below drags no trail", -100, stop(trail="2"), "96"),
]


@pytest.mark.parametrize("case", BAD, ids=lambda case: case[0])
def test_prints_under_one_bad_quote_are_no_second_quote(case: tuple[str, int, StopSignal, str]) -> None:
    _, qty, signal, bad = case
    world = World(qty)
    world.signal(signal)
    world.prices("100", "100")
    (held_before,) = [each.stop_px for each in world.bus.triggers]
    world.prices(bad)
    printed = msgspec.structs.replace(seen(bad, world.now), last=Decimal(100), trades=1)
    world.tell(printed, printed)
    world.prices("100")
    world.tell(msgspec.structs.replace(seen("100", world.now), trades=1))
    assert not world.fired()
    assert [each.stop_px for each in world.bus.triggers] == [held_before]


@pytest.mark.parametrize(
    "then", [{}, {"trades": 1, "bid_size": Decimal(90)}, {"trades": 1, "ask": Decimal(95)}], ids=repr
)
def test_a_quote_that_is_told_again_or_changed_with_a_print_is_a_second_one(then: dict[str, Any]) -> None:
    world = World()
    world.signal(stop("95"))
    world.prices("94")
    world.tell(msgspec.structs.replace(seen("94", world.now), **then))
    assert world.fired()


def test_a_market_that_is_crossed_or_has_no_such_side_is_passed_over() -> None:
    world = World()
    world.signal(stop("95"))
    for second, (bid, ask) in enumerate([("94", "93"), (None, "94"), ("94", "93")], 1):
        world.tell(quote("SHRT", bid, ask, ts=NOW + second))
    assert not world.fired()
    assert [each.newest for each in world.bus.triggers] == [Decimal("99.99")]


def test_only_inside_the_session_and_not_in_its_last_seconds() -> None:
    world, day = World(), session()
    world.signal(stop("95"))
    for ts in (day.close - END_NS, day.close - 1, day.close, day.close + MINUTE):
        world.tell(seen("94", ts))
    assert not world.fired()
    tomorrow = session(DAY + dt.timedelta(days=1)).open
    world.tell(seen("94", tomorrow - 1), seen("94", tomorrow))
    assert not world.fired()  # two prices of one day
    world.tell(seen("94", tomorrow + 1))
    assert world.fired()


@pytest.mark.parametrize("state, fires", [(TradingState.HALTED, False), (TradingState.REDUCING, True)])
def test_in_halted_it_is_held_and_fires_after_the_resume(state: TradingState, *, fires: bool) -> None:
    world = World()
    world.signal(stop("95"))
    world.tell(TradingHalted(ts=NOW, cause=REDIS, state=state))
    world.prices("94", "93", "93")
    assert world.fired() is fires
    world.tell(TradingResumed(ts=world.now, cause=REDIS))
    world.prices("93")
    assert world.fired()
    assert world.held() == 0


def test_a_stop_that_is_no_longer_beyond_after_the_resume_stays() -> None:
    world = World()
    world.signal(stop("95"))
    world.tell(TradingHalted(ts=NOW, cause=REDIS, state=TradingState.HALTED))
    world.prices("94", "93")
    world.tell(TradingResumed(ts=world.now, cause=REDIS))
    world.prices("96", "96")
    assert not world.fired()


# What suspends one ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "prices, suspended",
    [
        (["50", "50"], True),  # a split of two for one
        (["200", "200"], True),
        (["50", "99"], False),  # the first was a bad print
        (["80", "80", "60", "60"], False),  # exactly the bound, and a fall within the day
    ],
)
def test_a_gap_over_night_suspends(prices: list[str], *, suspended: bool) -> None:
    assert Decimal("0.2") == GAP_MAX
    world = World()
    world.signal(stop("40"))
    world.prices("100", "100")
    world.now = session(DAY + dt.timedelta(days=1)).open
    world.prices(*prices)
    assert bool(world.all(StopSuspended)) is suspended
    world.prices("39", "39")
    assert world.fired() is not suspended


@pytest.mark.parametrize("when", ["in its last second", "at night", "before the first price of the next day"])
def test_a_gap_is_seen_by_a_stop_that_saw_no_price_of_the_day_before(when: str) -> None:
    world, tomorrow = World(), session(DAY + dt.timedelta(days=1)).open
    world.now = {"in its last second": session().close - 1, "at night": session().close + MINUTE}.get(when, tomorrow)
    world.signal(stop("90"))
    world.now = tomorrow
    world.prices("50", "50")
    (suspended,) = world.all(StopSuspended)
    assert suspended.text == "SHRT went from 99.99 to 50 over night: a split?"
    assert not world.fired()


@pytest.mark.parametrize("night", [0, MINUTE], ids=["in the session", "by a price of the night"])
def test_a_fall_from_the_price_that_a_stop_was_set_at_is_no_gap(night: int) -> None:
    world = World()
    if night:
        world.now = session().close + night
        world.tell(seen("52", world.now))
    world.signal(stop("51"))
    world.now = session(DAY + dt.timedelta(days=1)).open if night else world.now
    world.prices("50", "50")
    assert not world.all(StopSuspended)
    assert world.fired()


def test_a_new_stop_takes_the_place_of_a_suspended_one() -> None:
    world = World()
    world.signal(stop("40"))
    world.tell(BreakFound(ts=NOW, venue="paper", kind="POSITION", symbol="SHRT", text="200 held there"))
    (suspended,) = world.all(StopSuspended)
    assert "quarantine" in suspended.text
    world.prices("39", "39")
    world.signal(stop("30", signal_id="s2"))
    assert [(event.stop_id, event.reason) for event in world.all(StopEnded)] == [("s1", StopEnd.REPLACED)]
    assert [(each.order.stop_id, each.suspended) for each in world.bus.triggers] == [("s2", False)]
    world.prices("29", "29")
    assert not world.fired()  # the exit would be denied: it is held as in HALTED


def test_a_split_suspends_the_stops_of_the_symbol() -> None:
    world = World()
    world.signal(stop("40"))
    world.tell(PositionAdjusted(ts=NOW, symbol="SHRT", numerator=4, denominator=1, by="ann", reason="split"))
    (suspended,) = world.all(StopSuspended)
    assert suspended.text == "SHRT was split 4:1"
    world.prices("12", "12")
    assert not world.fired()


# The exit -------------------------------------------------------------------------------------------------------------


def test_the_quantity_follows_the_position_and_others_keep_theirs() -> None:
    world = World(100)
    world.signal(stop("95"))
    world.tell(held("SHRT", 50), msgspec.structs.replace(held("SHRT", 70), strategy="beta"))
    world.prices("94", "94")
    assert world.held() == 0
    assert world.bus.exposure.own_held("beta", "SHRT") == 70
    assert [(order.side, order.order_qty, order.protects) for order in world.all(ParentOrder)] == [(SELL, 150, True)]


def test_what_nets_out_with_another_strategy_is_closed_all_the_same() -> None:
    world = World(100)
    world.tell(msgspec.structs.replace(held("SHRT", -100), strategy="beta"))
    world.signal(stop("95"))
    world.prices("94", "94")
    assert world.held() == 0


def order(side: Side, price: str, qty: int = 100) -> OrderSignal:
    how = Instruction(algo=Algo.LIMIT, price=Decimal(price))
    return OrderSignal(
        signal_id=f"{side}{price}", ts=NOW, strategy="alpha", symbol="SHRT", side=side, qty=Decimal(qty), how=how
    )


@pytest.mark.parametrize("side, price", [(SELL, "102"), (BUY, "98")], ids=["a take-profit", "an entry"])
def test_what_the_strategy_works_is_taken_back_before_the_exit(side: Side, price: str) -> None:
    world = World(reply=lambda number: Reply("touch"))
    world.signal(stop("99"))
    world.signal(order(side, price))
    world.prices("98.5", "98.5")
    (fired,), (accepted,) = world.all(StopTriggered), world.all(ParentAccepted)
    assert fired.takes_back == (accepted.parent_id,)
    assert not world.all(ExitRequested)  # the venue has not answered yet
    world.prices("98.5")
    kinds = [type(event) for event in world.bus.trace]
    assert kinds.index(ParentEnded) < kinds.index(ExitRequested)
    assert world.held() == 0


def test_an_exit_does_not_wait_for_ever_and_sells_what_nothing_else_may_sell() -> None:
    world = World(reply=scripted([Reply("touch", on_cancel="silence"), Reply()]))
    world.signal(stop("95"))
    world.signal(order(SELL, "102", 30))
    world.prices("94", "94")
    world.prices(*["94"] * (WAIT_NS // NS_PER_S - 1))
    assert not world.all(ExitRequested)
    world.prices("94")
    (exit_,) = [order for order in world.all(ParentOrder) if order.protects]
    assert exit_.order_qty == 70


def test_an_exit_goes_in_parts_that_are_allowed_and_repeats_nothing() -> None:
    bounds = {
        "symbols_default": SymbolLimits(order_qty_max=Decimal(30), order_notional_max=Decimal(10_000_000)),
        "strategies": {"alpha": StrategyLimits(order_notional_max=Decimal(2_500), parents_per_day=1)},
        "duplicate_window_s": 60.0,
    }
    world = World(bounds=bounds)
    world.signal(stop("95"))
    world.prices("94", "94")
    sizes = [order.order_qty for order in world.all(ParentOrder)]
    assert sum(sizes) == 100
    assert max(sizes) == 23  # 0.9 of 2,500 at 94
    assert world.held() == 0


@pytest.mark.parametrize(
    "qty, signal, prices, limit",
    [
        (100, stop("95", limit_offset=Decimal("0.505")), ["94.99", "94.99"], "94.49"),
        (-100, stop("105", limit_offset=Decimal("0.505")), ["105", "105"], "105.51"),
        (100, stop(trail="2", limit_offset=Decimal(1)), ["110", "110", "108", "108"], "107.00"),
    ],
)
def test_a_stop_limit_exits_at_its_limit_on_tick_or_better(
    qty: int, signal: StopSignal, prices: list[str], limit: str
) -> None:
    world = World(qty)
    world.signal(signal)
    world.prices(*prices)
    (made,) = world.all(ParentOrder)
    assert (made.how.algo, made.how.price) == (Algo.MARKET, Decimal(limit))


@pytest.mark.parametrize(
    "offset, prices, sent",
    [
        ("10", ["94.5", "94.5"], ["94.32"]),  # a limit that is farther from the mid than the collar denies nothing
        ("1", ["94.1", "94.1"], ["94"]),
        ("1", ["93", "93", "92", "93.9"], ["94"]),  # beyond the limit it rests there
        ("1", ["88", "88"], []),  # too far beyond it to rest there
        ("1", ["88", "88", "92", "92", "92", "92"], ["94"]),  # no longer
    ],
)
def test_a_stop_limit_crosses_at_the_touch_and_goes_no_farther_than_its_limit(
    offset: str, prices: list[str], sent: list[str]
) -> None:
    world = World(reply=scripted([Reply("touch")]))
    world.signal(stop("95", limit_offset=Decimal(offset)))
    world.prices(*prices)
    assert [approved.order.price for approved in world.all(OrderApproved)] == [Decimal(price) for price in sent]
    assert {denied.reason for denied in world.all(OrderDenied)} <= {Reason.COLLAR}


def test_an_exit_is_worked_as_its_signal_says() -> None:
    world = World()
    how = Instruction(algo=Algo.TWAP, duration_s=60, slices=3)
    world.signal(stop("95", how=how, limit_offset=Decimal(1)))
    world.prices("94", "94")
    (made,) = world.all(ParentOrder)
    assert made.how == msgspec.structs.replace(how, price=Decimal(94))
    (fired,) = world.all(StopTriggered)
    assert (made.signal_id, made.signal_ts, made.valid_until) == ("s1", fired.ts, None)


def test_a_strategy_that_was_stopped_keeps_its_stop_and_may_get_no_other_parent() -> None:
    world = World()
    world.signal(stop("95"))
    world.bus.exposure.stop(StrategyStopped(ts=NOW, strategy="alpha", text="it repeated itself"))
    world.signal(order(SELL, "102"))
    assert [denied.reason for denied in world.all(OrderDenied)] == [Reason.REPEATS]
    world.prices("94", "94")
    assert world.held() == 0


def test_a_kill_between_firing_and_exit_holds_the_stop_which_fires_anew_after_the_resume() -> None:
    world = World(reply=lambda number: Reply("touch"))
    world.signal(stop("95"))
    world.signal(order(SELL, "102"))
    world.prices("94", "94")
    world.tell(TradingHalted(ts=world.now, cause=KILL, state=TradingState.HALTED))
    world.prices("94", "94")
    assert not world.all(ExitRequested)
    (again,) = world.all(StopRearmed)
    assert (again.attempt, again.left_qty, again.not_before) == (0, 100, again.ts)
    world.tell(TradingResumed(ts=world.now, cause=KILL))
    world.prices("94")
    assert len(world.all(StopTriggered)) == 2
    assert len(world.all(ExitRequested)) == 1
    assert world.held() == 0


def waiting(now: int = NOW) -> World:
    """A stop at 95 that has fired a second after `now`, and whose take-profit's cancel the venue does not answer."""
    world = World(reply=scripted([Reply("touch", on_cancel="silence"), Reply()]))
    world.signal(stop("95"))
    world.signal(order(SELL, "102"))
    world.now = now - NS_PER_S
    world.prices("94", "94")
    assert world.fired()
    assert not world.all(ExitRequested)
    return world


@pytest.mark.parametrize("price, exits", [("96", 0), ("94", 1)])
@pytest.mark.parametrize("seen_in_it", [True, False], ids=["prices in the halt", "none"])
def test_after_a_halt_what_had_fired_exits_by_the_price_of_then(price: str, exits: int, *, seen_in_it: bool) -> None:
    world = waiting()
    world.tell(TradingHalted(ts=world.now, cause=KILL, state=TradingState.HALTED))
    if seen_in_it:
        world.prices("96", "96")
    world.tell(TradingResumed(ts=world.now, cause=KILL))
    world.prices(price, price, *[price] * (WAIT_NS // NS_PER_S))
    assert len(world.all(ExitRequested)) == exits
    assert len(world.all(StopTriggered)) == 1 + exits


def test_a_reducing_halt_leaves_what_has_fired_to_its_exit() -> None:
    world = waiting()
    world.tell(TradingHalted(ts=world.now, cause=REDIS, state=TradingState.REDUCING))
    world.prices(*["96"] * (WAIT_NS // NS_PER_S))
    assert len(world.all(ExitRequested)) == 1


@pytest.mark.parametrize("late", [0, 3], ids=["no price in its last seconds", "some"])
def test_what_had_fired_at_the_end_of_a_session_exits_by_a_price_of_the_next_one(late: int) -> None:
    world = waiting(session().close - END_NS - 2 * NS_PER_S)
    world.prices(*["94"] * late)
    world.now = session(DAY + dt.timedelta(days=1)).open
    world.prices("96", "96", "96")
    assert not world.all(ExitRequested)
    (again,) = world.all(StopRearmed)
    assert again.text == "a halt or the session's end came before its exit"
    world.prices("94", "94")
    assert len(world.all(ExitRequested)) == 1


@pytest.mark.parametrize("changed, stops", [(stop(signal_id="s2"), []), (stop("90", signal_id="s2"), ["s2"])])
@pytest.mark.parametrize("when", ["in a halt", "at night", "the next day"])
def test_a_stop_that_has_fired_can_be_changed_once_it_may_not_exit(
    when: str, changed: StopSignal, stops: list[str]
) -> None:
    world = waiting()
    if when == "in a halt":
        world.tell(TradingHalted(ts=world.now, cause=KILL, state=TradingState.HALTED))
    elif when == "at night":
        world.now = session().close
    else:
        world.now = session(DAY + dt.timedelta(days=1)).open
    world.tell(received(msgspec.structs.replace(changed, ts=world.now), world.now))
    assert not world.all(SignalRefused)
    assert [each.order.stop_id for each in world.bus.triggers] == stops


# What an exit leaves --------------------------------------------------------------------------------------------------

OPEN = limits(quote_age_s_max=86_400.0)
SHUT = msgspec.structs.replace(OPEN, restricted=("SHRT",))  # the gate denies whatever is asked in it


def test_an_exit_that_is_denied_comes_again_later_and_later_and_at_last_the_stop_is_suspended() -> None:
    assert (PAUSE_NS, TRIES_MAX) == (30 * NS_PER_S, 8)
    world = World(bounds={"restricted": ("SHRT",)})
    world.signal(stop("95"))
    for _ in range(2 * 3_600):
        world.prices("94")
    asked, again = world.all(ExitRequested), world.all(StopRearmed)
    assert [event.attempt for event in asked] == list(range(1, 9))
    assert [event.not_before - event.ts for event in again] == [30 * 2**number * NS_PER_S for number in range(7)]
    assert all(later.ts >= each.not_before for each, later in zip(again, asked[1:], strict=True))
    assert {(event.left_qty, event.text) for event in again} == {(100, "RESTRICTED: SHRT is on the restricted list")}
    (suspended,) = world.all(StopSuspended)
    assert suspended.text.startswith("8 exits have left 100, the last by RESTRICTED")
    world.tell(limits_set(OPEN, world.now))
    world.prices("94", "94")
    assert len(world.all(ExitRequested)) == 8
    world.signal(stop("93", signal_id="s2"))
    world.prices("92", "92")
    assert world.held() == 0


def test_an_exit_of_less_than_its_venue_takes_is_denied_and_does_not_wait_for_the_end() -> None:
    world = World(0)
    world.tell(seen("101", NOW, "LEAST"), held("LEAST", 3))
    world.signal(stop("95", symbol="LEAST"))
    for ts in (NOW + NS_PER_S, NOW + 2 * NS_PER_S, NOW + 3 * NS_PER_S):
        world.tell(seen("94", ts, "LEAST"))
    (again,) = world.all(StopRearmed)
    assert again.text.startswith("INVALID: 3 LEAST are worth 282.02, under the min_notional of 500: order more")


def test_what_was_in_the_way_is_gone_and_the_next_exit_closes_it() -> None:
    world = World(bounds={"restricted": ("SHRT",)})
    world.signal(stop("95"))
    world.prices("94", "94", "94")
    world.tell(limits_set(OPEN, world.now))
    world.prices("94")
    assert len(world.all(ExitRequested)) == 1  # in its pause
    world.now += PAUSE_NS
    world.prices("94")
    assert world.held() == 0
    assert [event.reason for event in world.all(StopEnded)] == [StopEnd.FLAT]


def test_a_stop_that_is_held_again_fires_by_its_price_and_by_nothing_else() -> None:
    world = World(bounds={"restricted": ("SHRT",)})
    world.signal(stop("95"))
    world.prices("94", "94", "96", "96")
    world.tell(limits_set(OPEN, world.now))
    world.now += PAUSE_NS
    world.prices("96", "97")
    assert world.held() == 100
    world.prices("94", "94")
    assert world.held() == 0


def test_a_limit_that_was_jumped_is_tried_again_the_next_day() -> None:
    world = World(reply=lambda number: Reply("touch"))
    world.signal(stop("95", limit_offset=Decimal(1)))
    world.prices("90", "90")  # the exit rests at 94
    assert len(world.bus.triggers) == 1
    world.bus.run()
    (again,), (over,) = world.all(StopRearmed), world.all(ParentEnded)
    assert (again.attempt, again.left_qty, again.text, again.ts) == (1, 100, "LIMIT_PRICE", over.ts)
    assert over.ts < session().close
    world.now = session(DAY + dt.timedelta(days=1)).open
    world.prices("90", "90")
    first, second = world.all(ParentAccepted)
    assert first.parent_id != second.parent_id
    assert first.parent.signal_id == second.parent.signal_id == "s1"
    world.prices("94", "94")
    assert world.held() == 0


def test_an_exit_that_a_person_takes_back_does_not_come_again_by_itself() -> None:
    world = World(reply=lambda number: Reply("touch"))
    world.signal(stop("95", limit_offset=Decimal(1)))
    world.prices("90", "90")
    (accepted,) = world.all(ParentAccepted)
    asked = world.bus.slicer.amendment(accepted.parent_id, Change(action=Action.CANCEL), by="ann", now=world.now)
    assert not isinstance(asked, str)
    world.tell(asked)
    world.prices("90", "90")
    (suspended,) = world.all(StopSuspended)
    assert suspended.text == "its exit was taken back and left 100: close it, or send a new stop"
    assert not world.all(StopRearmed)


def test_a_newer_stop_takes_the_place_of_one_whose_exit_works() -> None:
    world = World(reply=lambda number: Reply("touch"))
    world.signal(stop("95", limit_offset=Decimal(1)))
    world.prices("90", "90")
    world.signal(stop("85", signal_id="s2"))
    world.bus.run()  # the exit ends with its session
    assert not world.all(StopRearmed)
    assert [(each.order.stop_id, each.fired) for each in world.bus.triggers] == [("s2", None)]


def test_what_an_exit_cannot_close_as_it_is_no_lot_ends_the_stop() -> None:
    world = World(0)
    world.tell(msgspec.structs.replace(held("SHRT", 100), last_qty=Decimal("100.5")))
    world.signal(stop("95"))
    world.prices("94", "94", "94")
    assert world.held() == Decimal("0.5")
    world.prices("94")
    assert [event.reason for event in world.all(StopEnded)] == [StopEnd.FLAT]


@pytest.mark.parametrize("mercy, again", [("silence", 0), ("cancel", 1)])
def test_what_is_in_doubt_may_close_it_yet(mercy: Mercy, again: int) -> None:
    world = World(reply=lambda number: Reply("silence", on_cancel=mercy))
    world.signal(stop("95"))
    world.prices("94", "94")
    world.bus.run()
    world.now = max(world.now, world.bus.now)
    world.prices("94", "94")
    assert [event.reason for event in world.all(ParentEnded)] == [EndReason.UNRESOLVED]
    assert len(world.bus.triggers) == 1
    assert (len(world.all(StopRearmed)), world.all(StopEnded)) == (again, [])


def test_an_exit_on_record_by_an_earlier_version_left_no_stop() -> None:
    world = World()
    world.signal(stop("95"))
    old = ExitRequested(
        ts=world.now, stop_id="s1", signal_ts=NOW, strategy="alpha", symbol="SHRT", side=SELL, how=Instruction()
    )
    world.bus.triggers.ask(old)
    assert len(world.bus.triggers) == 0


@given(st.lists(st.tuples(st.integers(90, 100), st.booleans(), st.integers(1, 400)), max_size=25), st.integers(0, 25))
@settings(max_examples=80, deadline=None)
def test_while_something_is_held_its_stop_is_there_whatever_becomes_of_its_exits(
    steps: list[tuple[int, bool, int]], restart: int
) -> None:
    """Prices, limits that shut the symbol or open it, and some time; a restart changes nothing."""
    traces = []
    for at in (restart, None):
        world = World(reply=scripted([Reply("part"), Reply("reject")]))
        world.signal(stop("95", limit_offset=Decimal(1)))
        for number, (price, is_shut, seconds) in enumerate(steps):
            if number == at:
                world.bus.restart()
            world.tell(limits_set(SHUT if is_shut else OPEN, world.now))
            world.now += seconds * NS_PER_S
            world.prices(str(price))
            holds = world.bus.exposure.own_held("alpha", "SHRT")
            assert holds >= 0
            assert bool(holds) == (len(world.bus.triggers) == 1)
        asked, again = world.all(ExitRequested), world.all(StopRearmed)
        assert len(asked) <= TRIES_MAX
        for each, later in zip(again, asked[1:], strict=False):
            assert later.ts >= each.not_before
        traces.append(world.bus.trace)
    assert traces[0] == traces[1]


# What is refused, and what ends one -----------------------------------------------------------------------------------

REFUSED: list[tuple[str, int, StopSignal, str]] = [
    ("a long's stop at the price", 100, stop("99.99"), "WRONG_SIDE"),
    ("a long's stop above", 100, stop("101"), "WRONG_SIDE"),
    ("a short's stop below", -100, stop("99"), "WRONG_SIDE"),
    ("a trail larger than the price", 100, stop(trail="100"), "WRONG_SIDE"),
    ("a limit below zero", 100, stop("5", limit_offset=Decimal(5)), "WRONG_SIDE"),
    ("nothing held", 0, stop("95"), "NO_POSITION"),
    ("no such symbol", 100, stop("95", symbol="NONE"), "UNKNOWN_SYMBOL"),
    ("over", 100, stop("95", valid_until=NOW), "EXPIRED"),
]


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case[0])
def test_a_stop_that_cannot_be_held_is_refused(case: tuple[str, int, StopSignal, str]) -> None:
    _, qty, signal, reason = case
    world = World(qty)
    world.signal(signal)
    (refused,) = world.all(SignalRefused)
    assert (refused.reason, len(world.bus.triggers)) == (reason, 0)
    assert refused.text


def test_a_stop_without_a_market_is_refused() -> None:
    world = World(source="last")
    world.tell(quote("FRAC", last=None), held("FRAC", 5))
    world.signal(stop("95", symbol="FRAC"))
    (refused,) = world.all(SignalRefused)
    assert refused.reason == "NO_PRICE"


def test_one_that_has_fired_or_is_suspended_is_no_longer_held() -> None:
    world = World(reply=lambda number: Reply("touch"))
    world.signal(stop("95"))
    assert [each.is_held for each in world.bus.triggers] == [True]
    world.signal(order(SELL, "102"))
    world.prices("94", "94")
    assert [each.is_held for each in world.bus.triggers] == [False]
    other = World()
    other.signal(stop("95"))
    other.tell(BreakFound(ts=NOW, venue="paper", kind="POSITION", symbol="SHRT", text="200 held there"))
    assert [each.is_held for each in other.bus.triggers] == [False]


def test_a_stop_that_has_fired_cannot_be_changed() -> None:
    world = World(reply=lambda number: Reply("touch"))
    world.signal(stop("95"))
    world.signal(order(SELL, "102"))
    world.prices("94", "94")
    world.signal(stop("90", signal_id="s2"))
    world.signal(stop(signal_id="s3"))
    assert [event.reason for event in world.all(SignalRefused)] == ["TRIGGERED", "TRIGGERED"]


def test_an_entry_that_is_on_its_way_may_have_its_stop_which_ends_with_it() -> None:
    world = World(0, reply=lambda number: Reply("touch"))
    world.signal(order(BUY, "99"))
    world.signal(stop("95"))
    (taken,) = world.all(StopSet)
    assert taken.side is SELL
    world.tell(FlattenRequested(ts=world.now, request_id="f", by="ann"))
    world.bus.run()
    assert [event.reason for event in world.all(StopEnded)] == [StopEnd.FLAT]


def test_a_stop_ends_once_its_position_is_closed_or_crossed() -> None:
    for qty in (-100, -150):
        world = World()
        world.signal(stop("95"))
        world.tell(held("SHRT", -99))
        assert not world.all(StopEnded)
        world.tell(held("SHRT", qty + 99))
        assert [event.reason for event in world.all(StopEnded)] == [StopEnd.FLAT]


def test_a_bust_of_what_it_protects_ends_it() -> None:
    world = World(0)
    fill = held("SHRT", 100)
    world.tell(fill)
    world.signal(stop("95"))
    world.tell(busted(fill))
    assert [event.reason for event in world.all(StopEnded)] == [StopEnd.FLAT]


def test_a_signal_without_a_price_cancels_and_one_after_its_time_is_over() -> None:
    world = World()
    world.signal(stop("95"))
    world.signal(stop(signal_id="s2"))
    world.signal(stop(signal_id="s3"))
    (nothing,) = world.all(SignalIgnored)
    assert nothing.reason == "NO_STOP"
    world.signal(stop("95", signal_id="s4", valid_until=NOW + 2 * NS_PER_S))
    world.prices("94", "94")
    assert [(event.stop_id, event.reason) for event in world.all(StopEnded)] == [
        ("s1", StopEnd.CANCELLED),
        ("s4", StopEnd.EXPIRED),
    ]
    assert not world.fired()


def test_a_stop_in_what_is_no_instrument_any_more_is_kept_and_fires_nothing() -> None:
    world, other = World(), PureBus(instruments=Instruments([Instrument(symbol="AAPL")]))
    world.signal(stop("95"))
    other.triggers.load(world.bus.triggers.dump())
    for event in (held("SHRT", 100), seen("94", NOW + 1), seen("94", NOW + 2), held("SHRT", -50)):
        other.bus.publish(event)
    assert not [event for event in other.trace if isinstance(event, StopTriggered)]
    assert len(other.triggers) == 1
    other.bus.publish(held("SHRT", -50))
    assert len(other.triggers) == 0


# Laws -----------------------------------------------------------------------------------------------------------------

PRICES = st.lists(st.decimals(80, 125, places=0), max_size=12)
STOPS = st.sampled_from(["fixed", "trail", "fraction"])


def placed(kind: str, sign: int) -> StopSignal:
    return {"fixed": stop(str(100 - 5 * sign)), "trail": stop(trail="6"), "fraction": stop(part="0.08")}[kind]


def fires_at(signal: StopSignal, sign: int, prices: list[Decimal]) -> int | None:
    """From the beginning again for each price: the number of the price that fires."""
    shown = [price if sign > 0 else price + Decimal("0.01") for price in prices]
    for number in range(1, len(shown)):
        best, worse = (max, min) if sign > 0 else (min, max)
        pairs = [worse(shown[at - 1], shown[at]) for at in range(1, number + 1)]
        top = best([Decimal("99.99") if sign > 0 else Decimal("100.00"), *pairs])
        part = signal.trail_fraction
        trail = signal.trail if part is None else top * part
        level = signal.stop_px if signal.stop_px is not None else top - sign * (trail or ZERO)
        if sign * (shown[number] - level) <= 0 and sign * (shown[number - 1] - level) <= 0:
            return number
    return None


@given(PRICES, STOPS, st.sampled_from([1, -1]), st.sampled_from([Decimal("0.2"), Decimal(1)]), st.integers(0, 12))
@settings(max_examples=150, deadline=None)
def test_it_fires_as_an_obvious_reading_says_once_closes_what_is_held_and_a_restart_changes_nothing(
    prices: list[Decimal], kind: str, sign: int, part: Decimal, restart: int
) -> None:
    traces = []
    signal = placed(kind, sign)
    for at in (restart, None):
        world = World(100 * sign, reply=lambda number: Reply("part", part=part, delay_ns=NS_PER_MS))
        world.signal(signal)
        extremes = []
        for number, price in enumerate(prices):
            if number == at:
                world.bus.restart()
            world.prices(price)
            extremes += [sign * each.extreme for each in world.bus.triggers]
            assert sign * world.bus.exposure.held("SHRT") >= 0  # never more than is held
        assert extremes == sorted(extremes)
        fired = fires_at(signal, sign, prices)
        when = [(event.ts - NOW) // NS_PER_S - 1 for event in world.all(StopTriggered)]
        assert when == ([] if fired is None else [fired])
        assert len(world.all(ExitRequested)) == len(when)
        traces.append(world.bus.trace)
        sold = sum((fill.last_qty for fill in world.all(FillBooked)[1:]), ZERO)
        assert sold <= 100
    assert traces[0] == traces[1]
