"""Conflation: however much is merged, no volume is lost and the newest quote wins."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.events import MarketData
from core.market import Bar, Conflator, Depth, Quote, SecurityStatus, Trade, Update, Withdrawal, part_of
from core.orders import Side
from core.units import ZERO

TAKE = None  # in a tape: the reader takes what waits
PRICES = st.decimals(1, 1_000, places=2)
SIZES = st.decimals(1, 10_000, places=1)
SYMBOLS = st.sampled_from("ABC")
QUOTES = st.builds(
    Quote, st.integers(1, 99), SYMBOLS, st.none() | PRICES, SIZES | st.just(ZERO), st.none() | PRICES, SIZES
)
TRADES = st.builds(Trade, st.integers(1, 99), SYMBOLS, PRICES, SIZES, st.none() | st.sampled_from(Side))
TAPES = st.lists(QUOTES | TRADES | st.just(TAKE), max_size=40)


def quote(ts: int, symbol: str, bid: str, ask: str) -> Quote:
    return Quote(ts, symbol, Decimal(bid), Decimal(100), Decimal(ask), Decimal(200))


def trade(ts: int, symbol: str, price: str, size: int) -> Trade:
    return Trade(ts, symbol, Decimal(price), Decimal(size))


def merged(heard: list[Update], since: int, symbol: str) -> MarketData:
    """Give the event that should be taken, from all that was ever heard; new is what came from `since` on."""
    quotes = [u for u in heard if isinstance(u, Quote) and u.symbol == symbol]
    trades = [u for u in heard if isinstance(u, Trade) and u.symbol == symbol]
    fresh = [u for u in heard[since:] if isinstance(u, Trade) and u.symbol == symbol]
    last_quote = quotes[-1] if quotes else Quote(0, symbol, None, ZERO, None, ZERO)
    return MarketData(
        ts=[u.ts for u in heard if u.symbol == symbol][-1],
        symbol=symbol,
        bid=last_quote.bid,
        bid_size=last_quote.bid_size,
        ask=last_quote.ask,
        ask_size=last_quote.ask_size,
        last=trades[-1].price if trades else None,
        high=max((t.price for t in fresh), default=None),
        low=min((t.price for t in fresh), default=None),
        volume=sum((t.size for t in fresh), ZERO),
        notional=sum((t.size * t.price for t in fresh), ZERO),
        trades=len(fresh),
    )


@pytest.mark.parametrize(
    "update",
    [
        Quote(2, "A", Decimal("NaN"), ZERO, Decimal(11), ZERO),
        Quote(2, "A", Decimal(10), ZERO, Decimal("NaN"), ZERO),
        Quote(2, "A", Decimal("sNaN"), ZERO, None, ZERO),
        Trade(2, "A", Decimal("NaN"), Decimal(1)),
        Trade(2, "A", Decimal(10), Decimal("Infinity")),
        Bar(2, "A", 1, Decimal(10), Decimal(10), Decimal("NaN"), Decimal(10), Decimal(1)),
        Bar(2, "A", 1, Decimal(10), Decimal(10), Decimal(10), Decimal(10), Decimal("NaN")),
    ],
)
def test_what_is_no_number_is_not_merged_so_that_no_listener_has_to_compare_it(update: Update) -> None:
    conflator = Conflator()
    conflator.add(quote(1, "A", "10", "11"))
    (before,) = conflator.take()
    conflator.add(update)
    assert conflator.take() == []
    conflator.add(trade(3, "A", "10", 5))
    (after,) = conflator.take()
    assert (after.bid, after.ask, after.volume, after.notional) == (before.bid, before.ask, Decimal(5), Decimal(50))


@given(TAPES)
def test_what_is_taken_is_what_was_heard_since_the_last_time(tape: list[Update | None]) -> None:
    conflator = Conflator()
    heard: list[Update] = []
    since = 0
    for update in [*tape, TAKE]:
        if update is not TAKE:
            conflator.add(update)
            heard.append(update)
            continue
        waiting = list(dict.fromkeys(u.symbol for u in heard[since:]))  # in the order of their first update
        assert len(conflator) == len(waiting)
        assert conflator.take() == [merged(heard, since, symbol) for symbol in waiting]
        assert len(conflator) == 0
        since = len(heard)


@given(TAPES)
def test_volume_and_notional_are_conserved_however_often_the_reader_comes(tape: list[Update | None]) -> None:
    conflator = Conflator()
    taken: list[MarketData] = []
    for update in [*tape, TAKE]:
        if update is TAKE:
            taken += conflator.take()
        else:
            conflator.add(update)
    for symbol in "ABC":
        prints = [u for u in tape if isinstance(u, Trade) and u.symbol == symbol]
        events = [event for event in taken if event.symbol == symbol]
        assert sum(event.volume for event in events) == sum(t.size for t in prints)
        assert sum(event.notional for event in events) == sum(t.size * t.price for t in prints)
        assert sum(event.trades for event in events) == len(prints)


def test_a_burst_becomes_one_event_with_its_extremes() -> None:
    conflator = Conflator()
    for update in (
        quote(1, "A", "9.99", "10.01"),
        trade(2, "A", "10.01", 300),
        trade(3, "A", "10.05", 100),
        quote(4, "A", "10.02", "10.04"),
        trade(5, "A", "10.02", 50),
    ):
        conflator.add(update)
    assert conflator.take() == [
        MarketData(
            ts=5,
            symbol="A",
            bid=Decimal("10.02"),
            bid_size=Decimal(100),
            ask=Decimal("10.04"),
            ask_size=Decimal(200),
            last=Decimal("10.02"),
            high=Decimal("10.05"),
            low=Decimal("10.01"),
            volume=Decimal(450),
            notional=Decimal("4509.00"),
            trades=3,
        )
    ]


def test_a_quote_alone_repeats_the_last_price_and_no_volume() -> None:
    conflator = Conflator()
    conflator.add(trade(1, "A", "10", 5))
    conflator.take()
    conflator.add(quote(2, "A", "9", "11"))
    (event,) = conflator.take()
    assert (event.last, event.high, event.low) == (Decimal(10), None, None)
    assert (event.volume, event.notional, event.trades) == (ZERO, ZERO, 0)


def test_symbols_leave_in_the_order_in_which_they_began_to_wait() -> None:
    conflator = Conflator()
    for ts, symbol in enumerate("CABCA", start=1):
        conflator.add(trade(ts, symbol, "10", 1))
    assert [(event.symbol, event.ts) for event in conflator.take()] == [("C", 4), ("A", 5), ("B", 3)]
    conflator.add(trade(6, "B", "10", 1))
    conflator.add(trade(7, "C", "10", 1))
    assert [event.symbol for event in conflator.take()] == ["B", "C"]


def test_nothing_heard_is_nothing_taken() -> None:
    assert Conflator().take() == []


@pytest.mark.parametrize(
    "bid,ask,last,mid",
    [
        ("10", "10.02", "9", "10.01"),
        ("10", "10", "9", "10"),  # locked is no harm
        ("10.02", "10", "9", "9"),  # crossed is not believed
        (None, "10", "9", "9"),
        ("10", None, "9", "9"),
        ("10", None, None, None),
        (None, None, None, None),
        ("10.02", "10", None, None),
    ],
)
def test_the_middle_needs_two_sides_that_do_not_cross(
    bid: str | None, ask: str | None, last: str | None, mid: str | None
) -> None:
    def price(text: str | None) -> Decimal | None:
        return None if text is None else Decimal(text)

    conflator = Conflator()
    if last is not None:
        conflator.add(Trade(1, "A", Decimal(last), Decimal(1)))
    conflator.add(Quote(2, "A", price(bid), ZERO, price(ask), ZERO))
    (event,) = conflator.take()
    assert event.mid == price(mid)


def test_a_bar_is_its_volume_at_the_mean_of_its_prices() -> None:
    conflator = Conflator()
    conflator.add(trade(1, "A", "10.00", 5))
    first, high, low, last = map(Decimal, ("10.10", "10.40", "9.90", "10.20"))
    conflator.add(Bar(2, "A", 0, first, high, low, last, Decimal(100)))
    conflator.add(trade(3, "A", "10.30", 5))
    (event,) = conflator.take()
    assert (event.last, event.high, event.low) == (Decimal("10.30"), Decimal("10.40"), Decimal("9.90"))
    assert (event.volume, event.notional, event.trades) == (Decimal(110), Decimal("1116.5"), 3)


def test_the_rest_of_the_book_and_halts_are_for_venues_alone() -> None:
    conflator = Conflator()
    conflator.add(Depth(1, "A", ((Decimal(9), Decimal(5)),), ()))
    conflator.add(Withdrawal(2, "A", Side.BUY, Decimal(10), Decimal(5), 1))
    assert conflator.take() == []
    conflator.add(trade(3, "A", "10", 5))
    conflator.add(Depth(4, "A", (), ()))
    conflator.add(SecurityStatus(5, "A", halted=True))
    assert [event.ts for event in conflator.take()] == [3]


LEVELS = st.lists(st.tuples(PRICES, SIZES), max_size=3).map(tuple)
BARS = st.builds(Bar, st.integers(1, 99), SYMBOLS, st.just(0), PRICES, PRICES, PRICES, PRICES, SIZES)
DEPTHS = st.builds(Depth, st.integers(1, 99), SYMBOLS, LEVELS, LEVELS)
WITHDRAWALS = st.builds(
    Withdrawal, st.integers(1, 99), SYMBOLS, st.sampled_from(Side), PRICES, SIZES, st.integers(1, 99)
)
STATUSES = st.builds(SecurityStatus, st.integers(1, 99), SYMBOLS, st.booleans())


def sizes(update: Update) -> list[Decimal]:
    match update:
        case Quote():
            return [update.bid_size, update.ask_size]
        case Bar():
            return [update.volume]
        case Depth():
            return [size for side in (update.bids, update.asks) for _, size in side]
        case SecurityStatus():
            return []
        case _:
            return [update.size]


@given(QUOTES | TRADES | BARS | DEPTHS | WITHDRAWALS | STATUSES, st.decimals("0.01", "0.99", places=2))
def test_two_venues_show_together_what_the_tape_shows_and_no_price_is_another(update: Update, share: Decimal) -> None:
    one, other = part_of(update, share), part_of(update, 1 - share)
    assert [a + b for a, b in zip(sizes(one), sizes(other), strict=True)] == sizes(update)
    assert sizes(one) == [size * share for size in sizes(update)]
    assert part_of(one, 1 / share).symbol == update.symbol
    assert type(one) is type(update)
    assert [a for a, b in facts(one, update) if a != b] == []


def facts(one: Update, other: Update) -> list[tuple[object, object]]:
    """What is no size, of both."""
    fields = set(one.__struct_fields__) - {"bid_size", "ask_size", "size", "volume", "bids", "asks"}
    return [(getattr(one, name), getattr(other, name)) for name in sorted(fields)]
