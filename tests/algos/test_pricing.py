"""Prices: on tick, never more aggressive than asked, never beyond the parent's limit."""

from decimal import Decimal
from fractions import Fraction
from itertools import pairwise

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from algos.pricing import Rung, above_bid, cross, is_beyond, is_worth_its_place, join, price_at, rung_of, within
from core.orders import Side
from core.signals import Urgency
from tests.builders import quote

BUY, SELL = Side.BUY, Side.SELL
TICK = Decimal("0.01")
D = Decimal


@pytest.mark.parametrize(
    "side,bid,ask,joined,crossed",
    [
        (BUY, "100.00", "100.02", "100.00", "100.22"),
        (SELL, "100.00", "100.02", "100.02", "99.80"),
        (BUY, "100.005", "100.02", "100.00", "100.22"),
        (SELL, "100.00", "100.015", "100.02", "99.80"),
        (BUY, None, "100.02", None, "100.22"),
        (BUY, "100.00", None, "100.00", None),
        (SELL, None, "100.02", "100.02", None),
        (BUY, "0.004", "0.02", None, "0.02"),
    ],
)
def test_join_takes_our_touch_and_cross_the_other_side_with_a_tolerance(
    side: Side, bid: str | None, ask: str | None, joined: str | None, crossed: str | None
) -> None:
    market = quote(bid=bid, ask=ask)
    assert join(side, market, TICK) == (None if joined is None else D(joined))
    assert cross(side, market, TICK, 20) == (None if crossed is None else D(crossed))


PRICES = st.decimals(D("0.5"), D(1000), places=3)


@given(st.sampled_from(Side), PRICES, PRICES, PRICES, st.sampled_from([D("0.01"), D("0.05"), D("0.25")]))
def test_a_price_is_on_tick_and_no_more_aggressive_than_asked(
    side: Side, bid: Decimal, ask: Decimal, limit: Decimal, tick: Decimal
) -> None:
    market = quote(bid=str(bid), ask=str(ask))
    for wanted, touch in ((join(side, market, tick), (bid, ask)), (cross(side, market, tick, 20), (ask, bid))):
        price = within(side, wanted, limit, tick)
        worst = (touch[0] if side is BUY else touch[1]) * (1 + side.sign * D("0.002"))
        if price is None:
            continue
        assert price > 0
        assert price % tick == 0
        assert side.sign * (price - limit) <= 0
        assert side.sign * (price - worst) <= 0


JOIN, IMPROVE, MID, CROSS = Rung
LOW, NORMAL, HIGH, IMMEDIATE = Urgency


@pytest.mark.parametrize(
    "used,behind,urgency,expected",
    [
        (0.0, 1.0, LOW, JOIN),
        (0.2499, 1.0, LOW, JOIN),
        (0.25, 1.0, LOW, IMPROVE),
        (0.5, 1.0, LOW, MID),
        (0.7499, 1.0, LOW, MID),
        (0.75, 1.0, LOW, CROSS),
        (0.0, 1.0, NORMAL, JOIN),
        (0.1249, 1.0, NORMAL, JOIN),
        (0.125, 1.0, NORMAL, IMPROVE),
        (0.25, 1.0, NORMAL, MID),
        (0.4999, 1.0, NORMAL, MID),
        (0.5, 1.0, NORMAL, CROSS),
        (1.0, 0.1, NORMAL, CROSS),
        (0.0, 1.0, HIGH, IMPROVE),
        (0.125, 1.0, HIGH, MID),
        (0.25, 1.0, HIGH, CROSS),
        (0.0, 1.0, IMMEDIATE, CROSS),
        (0.0, 1.9999, NORMAL, JOIN),
        (0.0, 2.0, NORMAL, IMPROVE),
        (0.25, 2.0, NORMAL, CROSS),
        (1.0, 9.0, NORMAL, CROSS),
        (0.0, -3.0, LOW, JOIN),
    ],
)
def test_the_ladder_is_climbed_with_time_haste_and_what_is_behind(
    used: float, behind: float, urgency: Urgency, expected: Rung
) -> None:
    assert rung_of(used=used, behind=behind, urgency=urgency) is expected


TWO = (st.tuples(st.floats(0, 1), st.floats(0, 1)), st.tuples(st.floats(-5, 5), st.floats(-5, 5)))


@given(*TWO, st.tuples(st.sampled_from(Urgency), st.sampled_from(Urgency)))
def test_more_of_the_time_more_behind_or_more_haste_never_means_a_lower_rung(
    used: tuple[float, float], behind: tuple[float, float], urgency: tuple[Urgency, Urgency]
) -> None:
    calm, hasty = sorted(urgency, key=list(Urgency).index)
    low = rung_of(used=min(used), behind=min(behind), urgency=calm)
    assert low <= rung_of(used=max(used), behind=max(behind), urgency=hasty)


@pytest.mark.parametrize(
    "side,bid,ask,prices",
    [
        (BUY, "100.00", "100.10", ["100.00", "100.01", "100.05", "100.10"]),
        (SELL, "100.00", "100.10", ["100.10", "100.09", "100.05", "100.00"]),
        (BUY, "100.00", "100.05", ["100.00", "100.01", "100.02", "100.05"]),
        (SELL, "100.00", "100.05", ["100.05", "100.04", "100.03", "100.00"]),
        (BUY, "100.00", "100.02", ["100.00", "100.01", "100.01", "100.02"]),
        (BUY, "100.00", "100.01", ["100.00", "100.00", "100.00", "100.01"]),
        (SELL, "100.00", "100.01", ["100.01", "100.01", "100.01", "100.00"]),
        (BUY, "100.00", "100.00", ["100.00", "100.00", "100.00", "100.00"]),
        (BUY, "100.02", "100.00", ["100.02", "100.02", "100.02", "100.00"]),
        (BUY, "100.00", None, ["100.00", "100.00", "100.00", None]),
        (SELL, "100.00", None, [None, None, None, "100.00"]),
        (BUY, None, None, [None, None, None, None]),
    ],
)
def test_each_rung_gives_up_more_of_the_spread(
    side: Side, bid: str | None, ask: str | None, prices: list[str | None]
) -> None:
    found = [price_at(rung, side, quote(bid=bid, ask=ask), TICK, 0) for rung in Rung]
    assert found == [None if price is None else D(price) for price in prices]


def test_the_tolerance_is_the_parents_own() -> None:
    market = quote(bid="100.00", ask="100.02")
    assert [price_at(CROSS, BUY, market, TICK, bps) for bps in (0, 20, 50)] == [D("100.02"), D("100.22"), D("100.52")]


@given(st.sampled_from(Side), PRICES, PRICES, PRICES, st.sampled_from([D("0.01"), D("0.05"), D("0.25")]))
def test_a_rung_is_on_tick_short_of_the_mid_and_never_nearer_than_the_next(
    side: Side, one: Decimal, other: Decimal, limit: Decimal, tick: Decimal
) -> None:
    """Against exact fractions, in a market that is not crossed."""
    bid, ask = sorted((one, other))
    market = quote(bid=str(bid), ask=str(ask))
    climbed = [price_at(rung, side, market, tick, 20) for rung in Rung]
    if None in climbed:  # a price under one tick
        return
    prices = [price for price in climbed if price is not None]
    assert all(price % tick == 0 for price in prices)
    assert all(side.sign * (nearer - further) >= 0 for further, nearer in pairwise(prices[:3]))
    if ask - bid >= 2 * tick:
        assert side.sign * (prices[3] - prices[2]) >= 0
    middle = (Fraction(bid) + Fraction(ask)) / 2
    assert all(side.sign * (Fraction(price) - middle) <= 0 for price in prices[:3])
    assert side.sign * (prices[1] - prices[0]) <= tick
    for price in prices:
        bounded = within(side, price, limit, tick)
        assert bounded is None or side.sign * (bounded - limit) <= 0


@pytest.mark.parametrize(
    "child,wanted,rung,was,expected",
    [
        ("100.00", "100.00", JOIN, JOIN, False),  # at the touch
        ("99.99", "100.00", JOIN, JOIN, True),  # which left it by a tick
        ("100.01", "100.00", JOIN, JOIN, False),  # which came back to it: never away from the other side
        ("100.00", "100.01", IMPROVE, JOIN, True),
        ("100.01", "100.02", IMPROVE, IMPROVE, False),  # before the touch, or the touch itself
        ("99.99", "100.01", IMPROVE, IMPROVE, True),
        ("100.00", "100.05", MID, IMPROVE, True),
        ("100.04", "100.05", MID, MID, False),
        ("99.99", "100.05", MID, MID, True),
        ("100.05", "100.05", MID, IMPROVE, False),
        ("100.05", "100.30", CROSS, MID, True),
        ("100.05", "100.30", CROSS, CROSS, True),  # the market went away from it
        ("100.10", "100.30", CROSS, MID, False),  # it executes where it is
        ("100.05", "100.05", CROSS, MID, False),  # its limit
    ],
)
def test_a_place_in_the_queue_is_given_up_for_a_higher_rung_or_once_the_touch_has_left_it(
    child: str, wanted: str, rung: Rung, was: Rung, *, expected: bool
) -> None:
    market, mirrored = quote(bid="100.00", ask="100.10"), quote(bid="99.90", ask="100.00")
    rest = {"rung": rung, "was": was, "leaves_qty": D(1)}
    assert is_worth_its_place(BUY, D(child), D(wanted), market, **rest) is expected  # type: ignore[arg-type]
    assert is_worth_its_place(SELL, 200 - D(child), 200 - D(wanted), mirrored, **rest) is expected  # type: ignore[arg-type]


@pytest.mark.parametrize("size,rung,expected", [(101, IMPROVE, True), (100, IMPROVE, False), (100, MID, True)])
def test_who_is_the_queue_does_not_go_a_tick_before_itself(size: int, rung: Rung, *, expected: bool) -> None:
    market = msgspec.structs.replace(quote(bid="100.00", ask="100.10"), bid_size=D(size))
    wanted = price_at(rung, BUY, market, TICK, 0)
    assert wanted is not None
    assert is_worth_its_place(BUY, D(100), wanted, market, rung=rung, was=JOIN, leaves_qty=D(100)) is expected


@pytest.mark.parametrize(
    "side,price,limit,expected",
    [
        (BUY, "100", "99", "99"),
        (BUY, "100", "101", "100"),
        (BUY, "100", None, "100"),
        (BUY, "100", "99.999", "99.99"),
        (SELL, "100", "101", "101"),
        (SELL, "100", "99", "100"),
        (SELL, "100", "100.001", "100.01"),
        (SELL, None, "101", None),
        (BUY, "100", "0.001", None),
    ],
)
def test_the_parents_limit_bounds_every_price(
    side: Side, price: str | None, limit: str | None, expected: str | None
) -> None:
    found = within(side, None if price is None else D(price), None if limit is None else D(limit), TICK)
    assert found == (None if expected is None else D(expected))


@pytest.mark.parametrize(
    "price,bid,expected",
    [
        ("99.79", "99.99", "100.00"),
        ("99.99", "99.99", "100.00"),
        ("100.00", "99.99", "100.00"),
        ("100.05", "99.99", "100.05"),
        ("99.79", "99.995", "100.00"),
        ("99.79", "99.9", "99.91"),
        ("99.79", None, "99.79"),
        (None, "99.99", None),
    ],
)
def test_above_the_bid_is_the_first_tick_above_it_or_dearer(
    price: str | None, bid: str | None, expected: str | None
) -> None:
    found = above_bid(None if price is None else D(price), quote(bid=bid), TICK)
    assert found == (None if expected is None else D(expected))


@pytest.mark.parametrize(
    "side,limit,expected",
    [
        (BUY, "100.01", True),
        (BUY, "100.02", False),
        (SELL, "100.01", True),
        (SELL, "100.00", False),
        (BUY, None, False),
    ],
)
def test_a_market_is_beyond_a_limit_where_crossing_would_break_it(
    side: Side, limit: str | None, *, expected: bool
) -> None:
    assert is_beyond(side, quote(bid="100.00", ask="100.02"), None if limit is None else D(limit)) is expected


def test_a_side_that_nobody_quotes_is_beyond_no_limit() -> None:
    assert not is_beyond(BUY, quote(bid="100.00", ask=None), D(1))
