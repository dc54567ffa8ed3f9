"""What works of ours by its price: against a search through all of it, and no two orders of ours ever cross."""

from decimal import Decimal
from typing import Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.events import Event, NewOrderSingle, OrderApproved, OrderDenied, Reason
from core.orders import OrdStatus, OrdType, Side
from core.units import ZERO
from risk import checks
from risk.checks import CHECKS
from risk.exposure import Exposure
from risk.gate import Gate
from risk.limits import LimitsInForce
from risk.resting import MET_MAX, Queue, RestingOrders
from tests.builders import (
    accepted,
    approved,
    book,
    child,
    ended,
    filled,
    fold,
    given_up,
    limits,
    parent,
    silent,
    updated,
)

BUY, SELL = Side.BUY, Side.SELL
PRICES = st.none() | st.integers(9_995, 10_005).map(lambda cents: Decimal(cents) / 100)


# The queue ------------------------------------------------------------------------------------------------------------


def first_of(side: Side, orders: dict[str, Decimal | None]) -> tuple[str, Decimal | None]:
    """The most aggressive one, found slowly."""
    any_price = sorted(name for name, price in orders.items() if price is None)
    if any_price:
        return any_price[0], None
    prices = {price for price in orders.values() if price is not None}
    best = max(prices) if side is BUY else min(prices)
    return min(name for name, price in orders.items() if price == best), best


def reached_by(side: Side, orders: dict[str, Decimal | None], price: Decimal) -> list[str]:
    """Whom an order of the other side at this price would meet, found slowly."""
    left = {name: own for name, own in orders.items() if own is None or side.sign * (own - price) >= 0}
    found: list[str] = []
    while left and len(found) < MET_MAX:
        found.append(first_of(side, left)[0])
        del left[found[-1]]
    return found


STEPS = st.lists(st.tuples(st.sampled_from(["put", "put", "drop"]), st.integers(0, 30)), max_size=120)


@given(st.sampled_from(Side), st.lists(PRICES, min_size=31, max_size=31), STEPS)
def test_the_first_is_the_most_aggressive_of_what_works_and_nothing_else_is_kept(
    side: Side, prices: list[Decimal | None], steps: list[tuple[str, int]]
) -> None:
    queue, orders = Queue(side), dict[str, Decimal | None]()
    for step, number in steps:
        name, price = f"C{number}", prices[number]
        if step == "put":
            queue.put(name, price)
            orders.setdefault(name, price)
        else:
            queue.drop(name)
            orders.pop(name, None)
        assert len(queue) == len(orders)
        assert len(queue._heap) <= 2 * len(orders)
        if orders:
            assert queue.first == first_of(side, orders)
            for cents in range(9_994, 10_007, 3):
                assert list(queue.reached(Decimal(cents) / 100)) == reached_by(side, orders, Decimal(cents) / 100)


def test_of_many_that_would_be_met_the_first_are_named() -> None:
    queue = Queue(BUY)
    for number in range(3 * MET_MAX):
        queue.put(f"C{number:02}", Decimal(100 + number))
    assert queue.reached(Decimal(100)) == tuple(f"C{3 * MET_MAX - 1 - number:02}" for number in range(MET_MAX))


def test_a_place_where_nothing_works_is_forgotten() -> None:
    resting, place = RestingOrders(), ("AAPL", BUY)
    resting.drop(place, "A")
    assert resting.best(place) is None
    resting.put(place, "A", Decimal(100))
    assert resting.best(place) == ("A", Decimal(100))
    assert resting.reached(place, Decimal(100)) == ("A",)
    assert resting.best(("MSFT", BUY)) is None
    assert resting.reached(("MSFT", BUY), Decimal(100)) == ()
    assert resting.best(("AAPL", SELL)) is None
    resting.drop(place, "A")
    assert not resting._queues


# In the gate ----------------------------------------------------------------------------------------------------------

Act = Literal["ask", "fill", "doubt", "cancel", "end", "give up", "end parent", "restart"]
ACTS: tuple[Act, ...] = ("ask", "ask", "ask", "fill", "doubt", "cancel", "end", "give up", "end parent", "restart")


class Step(msgspec.Struct, frozen=True):
    """Something happens: a child is asked for, or a child of those that live, whichever, gets on."""

    act: Act
    which: int
    side: Side
    price: Decimal | None
    venue: str
    symbol: str


STEP = st.builds(
    Step,
    act=st.sampled_from(ACTS),
    which=st.integers(0, 20),
    side=st.sampled_from(Side),
    price=PRICES,
    venue=st.sampled_from(["paper", "other"]),
    symbol=st.sampled_from(["SHRT", "SHRT", "LOTS"]),
)


def cross(new: NewOrderSingle, other: NewOrderSingle) -> bool:
    """Whether a venue could match them; a market order goes half a percent through the touch of 99.99 to 100.01."""
    if new.symbol != other.symbol or new.side is other.side:  # at whichever venue: both may come to one exchange
        return False
    if other.price is None:
        return True
    far = Decimal("100.51005") if new.side is BUY else Decimal("99.49005")
    return new.side.sign * ((far if new.price is None else new.price) - other.price) >= 0


class Flow:
    """A gate, and who remembers every order of its own that may execute and can be accounted for."""

    def __init__(self) -> None:
        self.exposure = book(cash="1000000000")
        self.working: dict[str, NewOrderSingle] = {}
        self.count = 0

    def take(self, step: Step) -> None:
        if step.act == "ask":
            self.ask(step)
        elif step.act == "restart":
            dumped = msgspec.json.decode(msgspec.json.encode(self.exposure.dump()))
            self.exposure = silent()
            self.exposure.load(dumped)
        elif self.working:
            order = list(self.working.values())[step.which % len(self.working)]
            fold(self.exposure, *self.happens(step.act, order))

    def ask(self, step: Step) -> None:
        self.count += 1
        name = f"P{self.count}"
        fold(self.exposure, accepted(parent(step.symbol, step.side, "200", parent_id=name)))
        order = child(
            step.symbol,
            step.side,
            "200",
            parent_id=name,
            cl_ord_id=f"{name}C1A1",
            venue=step.venue,
            ord_type=OrdType.MARKET if step.price is None else OrdType.LIMIT,
            price=step.price,
        )
        (verdict,) = Gate(self.exposure, LimitsInForce(limits())).on_new_order(order)
        assert isinstance(verdict, OrderApproved | OrderDenied)
        met = [other for other in self.working.values() if cross(order, other)]
        if isinstance(verdict, OrderDenied):
            assert met, verdict.text
            assert verdict.reason is Reason.SELF_MATCH
            assert any(verdict.text.endswith(other.cl_ord_id) for other in met)
            self.names(verdict, met)
            return
        assert not met
        fold(self.exposure, verdict)
        self.working[order.cl_ord_id] = order

    def names(self, denial: OrderDenied, met: list[NewOrderSingle]) -> None:
        """All that can be taken back; nobody where that would not help."""
        standing = {other.cl_ord_id: self.exposure.children[other.cl_ord_id].ord_status for other in met}
        helps = OrdStatus.UNKNOWN not in standing.values()
        assert set(denial.met) <= set(standing)
        assert len(denial.met) == (min(len(standing), MET_MAX) if helps else 0)

    def happens(self, act: Act, order: NewOrderSingle) -> list[Event]:
        done = self.exposure.children[order.cl_ord_id].cum_qty
        match act:
            case "fill":
                qty = min(Decimal(100), order.order_qty - done)
                fill = filled(order, qty, exec_id=f"{order.cl_ord_id}E{done}")
                if done + qty < order.order_qty:
                    return [fill, updated(order, OrdStatus.PARTIALLY_FILLED, done + qty)]
                del self.working[order.cl_ord_id]
                return [fill, updated(order, OrdStatus.FILLED, done + qty)]
            case "doubt":
                if order.price is None:  # it has traded by now, or never will
                    del self.working[order.cl_ord_id]
                return [updated(order, OrdStatus.UNKNOWN, done)]
            case "cancel":
                return [updated(order, OrdStatus.PENDING_CANCEL, done)]
            case "end":
                del self.working[order.cl_ord_id]
                return [updated(order, OrdStatus.CANCELED, done)]
            case "give up":
                del self.working[order.cl_ord_id]
                return [given_up(order)]
            case _:
                return [ended(parent(order.symbol, order.side, "200", parent_id=order.parent_id), done)]


@given(st.lists(STEP, max_size=60))
def test_no_two_working_orders_of_ours_cross_and_no_other_order_is_denied_for_it(steps: list[Step]) -> None:
    flow = Flow()
    for step in steps:
        flow.take(step)


def test_without_the_check_they_would_cross(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "CHECKS", tuple(c for c in CHECKS if c is not checks.order_meets_none_of_ours))
    flow = Flow()
    step = Step("ask", 0, BUY, Decimal(100), "paper", "SHRT")
    flow.take(step)
    with pytest.raises(AssertionError):
        flow.take(msgspec.structs.replace(step, side=SELL))


def test_one_that_was_given_up_stays_reserved_and_out_of_the_way_also_over_a_restart() -> None:
    order = child("SHRT", SELL, "100")
    lost = book(accepted(parent("SHRT", SELL)), approved(order), updated(order, OrdStatus.UNKNOWN), given_up(order))
    again = silent()
    again.load(msgspec.json.decode(msgspec.json.encode(lost.dump())))
    for exposure in (lost, again):
        assert exposure.working("SHRT", SELL) == 100
        assert exposure.resting.best(("SHRT", SELL)) is None
        fold(exposure, updated(order, OrdStatus.NEW))  # the venue has it after all
        assert exposure.resting.best(("SHRT", SELL)) == (order.cl_ord_id, order.price)


def test_an_order_that_the_exposure_does_not_know_is_given_up_without_effect() -> None:
    exposure: Exposure = book()
    before = exposure.dump()
    fold(exposure, given_up(child()))
    assert exposure.dump() == before
    assert exposure.working("AAPL", BUY) == ZERO
