"""Prices: on tick, never more aggressive than asked, never beyond the parent's limit."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from algos.pricing import above_bid, cross, is_beyond, join, within
from core.orders import Side
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
    assert cross(side, market, TICK) == (None if crossed is None else D(crossed))


PRICES = st.decimals(D("0.5"), D(1000), places=3)


@given(st.sampled_from(Side), PRICES, PRICES, PRICES, st.sampled_from([D("0.01"), D("0.05"), D("0.25")]))
def test_a_price_is_on_tick_and_no_more_aggressive_than_asked(
    side: Side, bid: Decimal, ask: Decimal, limit: Decimal, tick: Decimal
) -> None:
    market = quote(bid=str(bid), ask=str(ask))
    for rule, touch in ((join, (bid, ask)), (cross, (ask, bid))):
        price = within(side, rule(side, market, tick), limit, tick)
        worst = (touch[0] if side is BUY else touch[1]) * (1 + side.sign * D("0.002"))
        if price is None:
            continue
        assert price > 0
        assert price % tick == 0
        assert side.sign * (price - limit) <= 0
        assert side.sign * (price - worst) <= 0


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
