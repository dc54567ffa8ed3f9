"""Market benchmarks of an interval against a slow recomputation from the whole list."""

from decimal import Decimal
from fractions import Fraction

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.events import MarketData
from tca.benchmarks import Sums, Tally, twap, vwap

D = Decimal
CLOSE_ENOUGH = Fraction(1, 10**20)  # a quotient keeps 28 digits


def market(
    ts: int, bid: str | None, ask: str | None = None, *, last: str | None = None, volume: str = "0", price: str = "0"
) -> MarketData:
    """A quote, and `volume` traded at `price` since the one before."""
    ask = bid if ask is None else ask
    return MarketData(
        ts=ts,
        symbol="X",
        bid=None if bid is None else D(bid),
        bid_size=D(1),
        ask=None if ask is None else D(ask),
        ask_size=D(1),
        last=None if last is None else D(last),
        high=None,
        low=None,
        volume=D(volume),
        notional=D(volume) * D(price),
        trades=1,
    )


def test_a_worked_interval() -> None:
    tally = Tally()
    tally.add(market(0, "10", "12", volume="100", price="11"))
    start = tally.read(5)
    tally.add(market(10, "12", "14", volume="30", price="13"))
    tally.add(market(20, "12", "14", volume="10", price="14"))
    end = tally.read(25)
    assert vwap(start, end) == D("13.25")
    assert twap(start, end) == D("12.5")  # 11 for 5, 13 for 15
    assert end.volume - start.volume == 40


def test_an_interval_without_a_print_has_no_vwap() -> None:
    tally = Tally()
    tally.add(market(0, "10", volume="5", price="10"))
    start = tally.read(0)
    tally.add(market(5, "11"))
    assert vwap(start, tally.read(9)) is None


def test_an_empty_interval_has_no_twap() -> None:
    tally = Tally()
    tally.add(market(0, "10"))
    assert twap(tally.read(7), tally.read(7)) is None


def test_an_interval_that_began_without_a_mid_has_no_twap() -> None:
    tally = Tally()
    start = tally.read(0)
    tally.add(market(5, "11"))
    assert twap(start, tally.read(9)) is None


@pytest.mark.parametrize(
    "event,mid",
    [
        (market(1, "10", "11"), "10.5"),
        (market(1, "11", "10", last="10.7"), "10.7"),  # crossed
        (market(1, "10", last=None), "10"),
        (market(1, None, None, last="9"), "9"),
        (market(1, None, None), None),
    ],
)
def test_the_mid_is_the_markets_own_and_the_last_price_of_a_one_sided_one(event: MarketData, mid: str | None) -> None:
    tally = Tally()
    tally.add(event)
    assert tally.mid == (None if mid is None else D(mid))


def test_a_market_that_disappears_leaves_its_last_mid_standing() -> None:
    tally = Tally()
    tally.add(market(0, "10"))
    start = tally.read(0)
    tally.add(market(5, None))
    tally.add(market(8, "20"))
    assert twap(start, tally.read(10)) == D(12)


PRICES = st.decimals("0.01", "999.99", places=2).map(str)
STEPS = st.lists(
    st.tuples(st.integers(0, 10), st.one_of(st.none(), PRICES), st.integers(0, 50).map(str), PRICES), max_size=30
)


@given(STEPS, st.integers(0, 300), st.integers(0, 300), st.integers(0, 30))
def test_any_interval_equals_the_slow_recomputation(
    steps: list[tuple[int, str | None, str, str]], first: int, length: int, snapshot_at: int
) -> None:
    events: list[MarketData] = []
    ts = 0
    for pause, bid, volume, price in steps:
        ts += pause
        events.append(market(ts, bid, volume=volume, price=price))
    tally, start, end = Tally(), None, None
    for number, event in enumerate(events):
        if start is None and event.ts > first:
            start = tally.read(first)
        if end is None and event.ts > first + length:
            end = tally.read(first + length)
        if number == snapshot_at:
            tally = Tally.of(msgspec.convert(msgspec.json.decode(msgspec.json.encode(tally.dump())), Sums))
        tally.add(event)
    start = start or tally.read(first)
    end = end or tally.read(first + length)
    inside = [event for event in events if first < event.ts <= first + length]
    traded = sum((event.volume for event in inside), D(0))
    notional = sum((event.notional for event in inside), D(0))
    assert vwap(start, end) == (notional / traded if traded else None)
    slow = slow_twap(events, first, first + length)
    fast = twap(start, end)
    assert (fast is None) == (slow is None)
    if fast is not None and slow is not None:
        assert abs(Fraction(fast) - slow) < CLOSE_ENOUGH


def slow_twap(events: list[MarketData], first: int, last: int) -> Fraction | None:
    """The mid of every single nanosecond, each the newest at that time."""

    def mid_at(ts: int) -> Fraction | None:
        mids = [event.mid for event in events if event.ts <= ts and event.mid is not None]
        return Fraction(mids[-1]) if mids else None

    if last <= first or mid_at(first) is None:
        return None
    mids = [mid for ts in range(first, last) if (mid := mid_at(ts)) is not None]
    return sum(mids, Fraction(0)) / (last - first)
