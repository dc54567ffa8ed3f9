"""Heat against a recount of everything that is held, on its way and guarded, by two strategies in two symbols."""

from decimal import Decimal
from itertools import pairwise
from typing import NamedTuple

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.events import MarketData, NewOrderSingle, ParentOrder, PositionAdjusted, StopEnd, StopEnded
from core.orders import OrdStatus, Side
from core.units import NS_PER_S, ZERO
from risk.exposure import Exposure
from risk.limits import LimitsInForce
from risk.stops import Stop
from risk.triggers import StopSettings, Triggers
from tests.builders import (
    INSTRUMENTS,
    NOW,
    accepted,
    approved,
    book,
    child,
    ended,
    filled,
    fold,
    held,
    limits,
    parent,
    quote,
    silent,
    stop_set,
    stop_suspended,
    updated,
)

BUY, SELL = Side.BUY, Side.SELL
SYMBOLS, STRATEGIES = ("SHRT", "FUTR"), ("alpha", "beta")


class Step(NamedTuple):
    """What happens next, and whom and what it concerns."""

    move: str
    strategy: str
    symbol: str
    side: Side
    size: int


class World:
    """An exposure and its triggers, beside lists of what there is."""

    def __init__(self) -> None:
        self.exposure = book()
        self.triggers = self.begin()
        self.held = {(name, symbol): ZERO for name in STRATEGIES for symbol in SYMBOLS}
        self.parents: dict[str, ParentOrder] = {}
        self.children: dict[str, NewOrderSingle] = {}
        self.mids = dict.fromkeys(SYMBOLS, Decimal(100))
        self.seen: dict[str, list[Decimal]] = {symbol: [] for symbol in SYMBOLS}  # bids, of one day
        self.stops: dict[tuple[str, str], tuple[Side, Decimal, int | None]] = {}  # its exit's side, and as `lost` says
        self.now = NOW

    def begin(self) -> Triggers:
        return Triggers(self.exposure, LimitsInForce(limits()), StopSettings())

    def play(self, number: int, step: Step) -> None:
        name, symbol, side, size = step.strategy, step.symbol, step.side, Decimal(step.size)
        key = (name, symbol)
        match step.move:
            case "fill":
                self.held[key] += side.sign * size
                fold(self.exposure, msgspec.structs.replace(held(symbol, int(side.sign * size)), strategy=name))
            case "parent":
                order = parent(symbol, side, str(size), strategy=name, parent_id=f"P{number}")
                self.parents[order.parent_id] = order
                fold(self.exposure, accepted(order))
            case "child" if self.parents:
                owner = list(self.parents.values())[step.size % len(self.parents)]
                if not any(each.parent_id == owner.parent_id for each in self.children.values()):
                    sent = child(
                        owner.symbol,
                        owner.side,
                        str(owner.order_qty),
                        strategy=owner.strategy,
                        parent_id=owner.parent_id,
                        cl_ord_id=f"C{number}",
                    )
                    self.children[sent.cl_ord_id] = sent
                    fold(self.exposure, approved(sent))
            case "done" if self.children:
                done = self.children.pop(list(self.children)[step.size % len(self.children)])
                qty = done.order_qty
                self.held[done.strategy, done.symbol] += done.side.sign * qty
                self.parents.pop(done.parent_id, None)
                whole = parent(done.symbol, done.side, str(qty), strategy=done.strategy, parent_id=done.parent_id)
                fold(self.exposure, filled(done, str(qty), exec_id=f"E{number}"))
                fold(self.exposure, updated(done, OrdStatus.FILLED, qty), ended(whole, qty))
            case "end" if self.parents:
                fold(self.exposure, ended(self.parents.pop(list(self.parents)[step.size % len(self.parents)])))
            case "price":
                self.tell(symbol, 100 + side.sign * size)
            case "one side":
                self.tell(symbol, 100 + side.sign * size, one_sided=True)
            case _:
                self.guard(step.move, key, side, size)

    def guard(self, move: str, key: tuple[str, str], side: Side, size: Decimal) -> None:
        name, symbol = key
        match move:
            case "stop":
                at = self.mids[symbol] - side.sign * (size - 5)
                self.stops[key] = side.opposite, at, None
                self.triggers.take(stop_set(symbol, side.opposite, str(at), strategy=name))
            case "trail":
                self.stops[key] = SELL, ZERO, len(self.seen[symbol])
                self.triggers.take(stop_set(symbol, SELL, None, trail=Decimal(6), strategy=name))
            case "suspend" if key in self.stops:
                del self.stops[key]
                self.triggers.suspend(stop_suspended(symbol, name))
            case "over" if key in self.stops:
                del self.stops[key]
                over = StopEnded(ts=NOW, stop_id="stop", strategy=name, symbol=symbol, reason=StopEnd.CANCELLED)
                self.triggers.end(over)
            case "restart":
                dumped = [
                    msgspec.json.decode(msgspec.json.encode(old.dump())) for old in (self.exposure, self.triggers)
                ]
                self.exposure = silent()
                self.triggers = self.begin()
                self.exposure.load(dumped[0])
                self.triggers.load(dumped[1])

    def tell(self, symbol: str, mid: Decimal, *, one_sided: bool = False) -> None:
        self.now += NS_PER_S
        if not one_sided:
            self.mids[symbol] = mid
        self.seen[symbol].append(mid - 1)
        market: MarketData = quote(symbol, str(mid - 1), None if one_sided else str(mid + 1), ts=self.now)
        fold(self.exposure, market)
        self.triggers.look(market)

    def heat(self, *, of_parents: bool) -> dict[tuple[str, str], Decimal]:
        """From the lists alone."""
        if of_parents:
            orders: list[ParentOrder | NewOrderSingle] = list(self.parents.values())
            orders += [each for each in self.children.values() if each.parent_id not in self.parents]
        else:
            orders = list(self.children.values())
        found = {}
        for key, at in self.held.items():
            own = [order for order in orders if (order.strategy, order.symbol) == key]
            longest = at + sum(order.order_qty for order in own if order.side is BUY)
            shortest = at - sum(order.order_qty for order in own if order.side is SELL)
            each = longest * self.lost(key, BUY), -shortest * self.lost(key, SELL)
            found[key] = max(*each, ZERO) * INSTRUMENTS[key[1]].multiplier
        return found

    def lost(self, key: tuple[str, str], side: Side) -> Decimal:
        """By one share: to the stop, which trails what was seen from one bid on where it names one."""
        mark = self.mids[key[1]]
        exit_, at, since = self.stops.get(key, (side, ZERO, None))
        if exit_ is side:
            return mark
        if since is not None:
            at = max([Decimal(100), *map(min, pairwise(self.seen[key[1]][since:]))]) - 6
        away = side.sign * (mark - at)
        return min(away, mark) if away > 0 else mark


MOVES = ["fill", "fill", "parent", "parent", "child", "done", "end", "price", "price", "one side", "stop", "trail"]
STEPS = st.builds(
    Step,
    st.sampled_from([*MOVES, "suspend", "over", "restart"]),
    st.sampled_from(STRATEGIES),
    st.sampled_from(SYMBOLS),
    st.sampled_from(Side),
    st.integers(1, 15),
)


@given(st.lists(STEPS, max_size=30))
@settings(max_examples=200, deadline=None)
def test_heat_is_what_a_recount_finds_whatever_happened(steps: list[Step]) -> None:
    world = World()
    for number, step in enumerate(steps):
        world.play(number, step)
        if step.size % 3 == 0:
            continue  # not asked each time: several things have changed by the next
        for of_parents in (True, False):
            expected, heat = world.heat(of_parents=of_parents), world.exposure.heat(of_parents=of_parents)
            assert {key: heat.of(*key) for key in expected} == expected
            for symbol in SYMBOLS:
                assert heat.symbols.get(symbol, ZERO) == sum(expected[name, symbol] for name in STRATEGIES)
            assert heat.total == sum(expected.values())


def hot(exposure: Exposure) -> Decimal:
    return exposure.heat(of_parents=True).total


def test_what_strategies_hold_against_each_other_counts_on_both_sides_and_moves_with_the_price() -> None:
    exposure = book(held("SHRT", 100), msgspec.structs.replace(held("SHRT", -100), strategy="beta"), stop_set("SHRT"))
    assert exposure.held("SHRT") == 0
    assert hot(exposure) == 100 * 5 + 100 * 100
    fold(exposure, quote("SHRT", "109.99", "110.01"))
    assert hot(exposure) == 100 * 15 + 100 * 110


def test_a_trail_moves_with_quotes_that_move_no_mark() -> None:
    world = World()
    world.play(0, Step("fill", "alpha", "SHRT", BUY, 10))
    world.play(1, Step("trail", "alpha", "SHRT", BUY, 6))
    assert hot(world.exposure) == 10 * 6
    for number in range(2):
        world.play(2 + number, Step("one side", "alpha", "SHRT", BUY, 5))  # bid at 104, nobody offers
    assert hot(world.exposure) == 10 * 2


def test_what_is_over_is_forgotten() -> None:
    exposure = book(held("SHRT", 100), held("SHRT", -100))
    assert hot(exposure) == 0
    heat = exposure.heat(of_parents=True)
    assert (heat.of("alpha", "SHRT"), heat.symbols) == (ZERO, {})


def test_a_split_leaves_what_a_position_is_worth_at_risk() -> None:
    exposure = book(held("SHRT", 100), stop_set("SHRT"))
    assert hot(exposure) == 500
    split = PositionAdjusted(ts=NOW, symbol="SHRT", numerator=2, denominator=1, by="ann", reason="a test")
    fold(exposure, split, stop_suspended("SHRT"))  # as the triggers say then
    assert hot(exposure) == 200 * 50


@pytest.mark.parametrize("side, expected", [(BUY, "5"), (SELL, "100")])
def test_a_stop_guards_the_side_that_it_closes(side: Side, expected: str) -> None:
    exposure = book(stop_set("SHRT"))
    assert isinstance(exposure.stops.get("alpha", "SHRT"), Stop)
    assert exposure.at_risk("alpha", "SHRT", side) == Decimal(expected)
