"""The rules of the matching as transcripts, its laws as properties."""

import datetime as dt
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.brokers.facts import (
    Adjusted,
    CancelRefused,
    Ended,
    Entered,
    Executed,
    Fact,
    Moved,
    Refused,
    Repeated,
    VenueEvent,
)
from adapters.brokers.matching import Exchange, Fees
from adapters.brokers.queues import MINUTE_NS
from core.calendar import CALENDARS
from core.events import NewOrderSingle
from core.instruments import Instrument, Instruments
from core.market import Bar, Depth, Quote, SecurityStatus, Trade, Update, Withdrawal
from core.orders import OrdStatus, OrdType, Side, TimeInForce
from core.units import NS_PER_S

D = Decimal
SESSION = CALENDARS["XNYS"].session_on(dt.date(2025, 3, 3))
assert SESSION is not None
DAY_NS = 86_400 * NS_PER_S
T0 = SESSION.open + 3_600 * NS_PER_S
NO_FEES = Fees()


def instrument(symbol: str, lot: str = "1", calendar: str = "XNYS", **known: Any) -> Instrument:  # noqa: ANN401 - fields
    return Instrument(symbol=symbol, lot=D(lot), calendar=calendar, **known)


def venue(
    lot: str = "1",
    fees: Fees = NO_FEES,
    calendar: str = "XNYS",
    *,
    participation_max: Decimal | None = None,
    **known: Any,  # noqa: ANN401 - fields
) -> Exchange:
    instruments = Instruments([instrument("X", lot, calendar, **known)])
    return Exchange(name="paper", instruments=instruments, fees=fees, participation_max=participation_max)


def order(
    cl_ord_id: str,
    side: Side,
    qty: Decimal,
    price: Decimal | None = None,
    time_in_force: TimeInForce = TimeInForce.DAY,
    *,
    ord_type: OrdType | None = None,
    symbol: str = "X",
) -> NewOrderSingle:
    return NewOrderSingle(
        ts=T0,
        cl_ord_id=cl_ord_id,
        parent_id="P",
        strategy="s",
        account="a",
        venue="paper",
        symbol=symbol,
        side=side,
        order_qty=qty,
        ord_type=ord_type or (OrdType.MARKET if price is None else OrdType.LIMIT),
        price=price,
        time_in_force=time_in_force,
    )


# Transcripts: what is said to the venue, and indented below it what happens -----------------------------------------


class Transcript:
    """Plays the lines of a transcript against a venue."""

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange
        self.now = T0
        self.facts: list[Fact] = []

    def play(self, line: str) -> list[str]:
        words = line.replace("@", " ").split()
        events = getattr(self, f"_{words[0]}")(*words[1:])
        self.facts += [event for event in events if isinstance(event, Fact)]
        return [told for event in events if (told := tell(event))]

    def _quote(self, bid: str, ask: str) -> Sequence[VenueEvent]:
        bid_size, bid_px = half(bid)
        ask_size, ask_px = half(ask)
        return self.exchange.on_update(Quote(self.now, "X", bid_px, bid_size, ask_px, ask_size), self.now)

    def _depth(self, bids: str, asks: str) -> Sequence[VenueEvent]:
        return self.exchange.on_update(Depth(self.now, "X", levels(bids), levels(asks)), self.now)

    def _bar(self, low: str, high: str, volume: str) -> Sequence[VenueEvent]:
        """The minute up to now."""
        prices = (D(low), D(high), D(low), D(high))
        return self.exchange.on_update(Bar(self.now, "X", self.now - MINUTE_NS, *prices, D(volume)), self.now)

    def _halt(self) -> Sequence[VenueEvent]:
        return self.exchange.on_update(SecurityStatus(self.now, "X", halted=True), self.now)

    def _resume(self) -> Sequence[VenueEvent]:
        return self.exchange.on_update(SecurityStatus(self.now, "X", halted=False), self.now)

    def _withdraw(self, side: str, size: str, price: str, age: str) -> Sequence[VenueEvent]:
        """An order older than ours goes, or one that came later."""
        since = T0 - 1 if age == "older" else self.now
        return self.exchange.on_update(Withdrawal(self.now, "X", Side(side), D(price), D(size), since), self.now)

    def _print(self, size: str, price: str, aggressor: str = "") -> Sequence[VenueEvent]:
        side = Side(aggressor) if aggressor else None
        return self.exchange.on_update(Trade(self.now, "X", D(price), D(size), side), self.now)

    def _buy(self, *words: str) -> list[VenueEvent]:
        return self._enter(Side.BUY, *words)

    def _sell(self, *words: str) -> list[VenueEvent]:
        return self._enter(Side.SELL, *words)

    def _enter(self, side: Side, cl_ord_id: str, qty: str, price: str = "", tif: str = "DAY") -> list[VenueEvent]:
        limit = None if price in {"", "MARKET"} else D(price)
        return self.exchange.enter(order(cl_ord_id, side, D(qty), limit, TimeInForce(tif)), self.now)

    def _cancel(self, cl_ord_id: str) -> list[VenueEvent]:
        return self.exchange.cancel(cl_ord_id, self.now)

    def _closes(self) -> list[VenueEvent]:
        assert SESSION is not None
        self.now = SESSION.close
        return self.exchange.expire(self.now)

    def _passes(self, hours: str) -> list[VenueEvent]:
        self.now += int(D(hours) * 3_600) * NS_PER_S
        return []

    def _restarts(self) -> list[VenueEvent]:
        self.exchange = venue()
        for fact in self.facts:
            self.exchange.fold(fact)
        return []


def half(text: str) -> tuple[Decimal, Decimal | None]:
    if text == "-":
        return D(0), None
    size, price = text.split("x")
    return D(size), D(price)


def levels(text: str) -> tuple[tuple[Decimal, Decimal], ...]:
    return () if text == "-" else tuple((px or D(0), size) for size, px in map(half, text.split(",")))


def tell(event: VenueEvent) -> str:
    match event:
        case Executed():
            return f"{event.cl_ord_id} {event.last_qty} @ {event.last_px}"
        case Ended():
            return f"{event.cl_ord_id} {event.ord_status.lower()} {event.cum_qty}"
        case Refused() | CancelRefused():
            return f"{event.cl_ord_id} refused: {event.reason}"
        case Repeated():
            return f"{event.cl_ord_id} is {event.order_id}"
        case Entered() | Moved() | Adjusted():
            return ""


TRANSCRIPTS = {
    "a market order takes displayed size at the touch and waits for more": """
        quote 300x10.00 200x10.02
        buy A 500
            A 200 @ 10.02
        quote 300x10.00 200x10.02
        quote 300x10.00 250x10.02
            A 250 @ 10.02
        quote 300x10.01 250x10.02
        quote 300x10.01 80x10.05
            A 50 @ 10.05
    """,
    "size that was taken stays taken until that side changes": """
        quote 300x10.00 200x10.02
        buy A 150 @ 10.02
            A 150 @ 10.02
        buy B 150 @ 10.02 IOC
            B 50 @ 10.02
            B canceled 50
        quote 100x10.01 200x10.02
        buy C 10 @ 10.02 IOC
            C canceled 0
        quote 100x10.01 200x10.03
        buy D 10 @ 10.03 IOC
            D 10 @ 10.03
    """,
    "a limit through the touch pays the touch, and the touch again while it reaches it": """
        quote 300x10.00 200x10.02
        buy A 500 @ 10.05
            A 200 @ 10.02
        quote 300x10.00 100x10.03
            A 100 @ 10.03
        print 50 @ 10.03 BUY
        print 50 @ 10.03
        print 50 @ 10.00 SELL
    """,
    "a sell takes the bid": """
        quote 300x10.00 200x10.02
        sell A 400 @ 9.99
            A 300 @ 10.00
        quote 50x9.99 200x10.02
            A 50 @ 9.99
        cancel A
            A canceled 350
    """,
    "what took and no longer reaches rests at its own price": """
        quote 300x10.00 200x10.02
        buy A 300 @ 10.03
            A 200 @ 10.02
        quote 300x10.00 100x10.05
        quote 300x10.00 40x10.01
            A 40 @ 10.03
        print 20 @ 10.00 SELL
            A 20 @ 10.03
    """,
    "an order waits while the market is one-sided": """
        quote 300x10.00 -
        buy A 100
        buy B 100 @ 10.05
        buy C 100 @ 10.05 IOC
            C canceled 0
        quote 300x10.00 150x10.02
            A 100 @ 10.02
            B 50 @ 10.05
    """,
    "an order waits while the market is crossed": """
        quote 300x10.03 200x10.02
        buy A 100
        quote 300x10.02 200x10.02
            A 100 @ 10.02
    """,
    "a passive limit waits behind what is displayed, and a print eats that first": """
        quote 300x10.00 200x10.02
        buy A 100 @ 10.00
        print 250 @ 10.00 SELL
        print 80 @ 10.00 SELL
            A 30 @ 10.00
        print 80 @ 10.00
            A 70 @ 10.00
    """,
    "displayed size below the queue ahead shortens it": """
        quote 300x10.00 200x10.02
        buy A 100 @ 10.00
        quote 40x10.00 200x10.02
        quote 900x10.00 200x10.02
        print 50 @ 10.00
            A 10 @ 10.00
    """,
    "what was withdrawn by older orders shortens the queue ahead, what later ones withdrew does not": """
        quote 300x10.00 200x10.02
        buy A 100 @ 10.00
        withdraw BUY 120 @ 10.00 older
        quote 180x10.00 200x10.02
        quote 280x10.00 200x10.02
        withdraw BUY 60 @ 10.00 later
        quote 220x10.00 200x10.02
        withdraw BUY 50 @ 9.99 older
        withdraw SELL 50 @ 10.02 older
        print 190 @ 10.00 SELL
            A 10 @ 10.00
    """,
    "what vanishes unexplained vanishes from the whole queue in proportion": """
        quote 300x10.00 200x10.02
        buy A 100 @ 10.00
        quote 400x10.00 200x10.02
        quote 200x10.00 200x10.02
        print 160 @ 10.00 SELL
            A 10 @ 10.00
    """,
    "what prints explain vanishes from the front alone": """
        quote 300x10.00 200x10.02
        buy A 100 @ 10.00
        quote 400x10.00 200x10.02
        print 100 @ 10.00 SELL
        quote 300x10.00 200x10.02
        print 210 @ 10.00 SELL
            A 10 @ 10.00
    """,
    "a depth shows the queue of an order behind the touch": """
        depth 80x9.99,70x9.97 -
        quote 300x10.00 200x10.02
        buy A 100 @ 9.99
        buy B 100 @ 9.98
        buy C 100 @ 9.96
        withdraw BUY 30 @ 9.99 older
        print 60 @ 9.99 SELL
            A 10 @ 9.99
        print 20 @ 9.98 SELL
            A 20 @ 9.99
        print 90 @ 9.98 SELL
            A 70 @ 9.99
            B 20 @ 9.98
        print 90 @ 9.96 SELL
            B 80 @ 9.98
    """,
    "an order walks the displayed levels as far as it reaches": """
        depth - 50x10.03,60x10.05
        quote 300x10.00 200x10.02
        buy A 280 @ 10.04
            A 200 @ 10.02
            A 50 @ 10.03
        depth - 40x10.05
        quote 300x10.00 10x10.04
            A 10 @ 10.04
        buy B 100
            B 40 @ 10.05
        depth 5x9.99,0x9.98 -
        quote 300x10.00 70x10.05
            B 60 @ 10.05
    """,
    "levels count only behind the touch, and what was taken of them stays taken when it comes to them": """
        depth - 50x10.03,60x10.05
        quote 300x10.00 200x10.02
        buy A 240 @ 10.03
            A 200 @ 10.02
            A 40 @ 10.03
        quote 300x10.00 50x10.03
        buy B 100 @ 10.05 IOC
            B 10 @ 10.03
            B 60 @ 10.05
            B canceled 70
        depth - 61x10.05
        buy C 100 @ 10.05 IOC
            C 61 @ 10.05
            C canceled 61
        quote 300x10.00 70x10.05
        buy D 200 @ 10.05 IOC
            D 70 @ 10.05
            D canceled 70
    """,
    "fill or kill counts every level that it reaches": """
        depth 50x9.99,60x9.97 -
        quote 300x10.00 200x10.02
        sell A 351 @ 9.98 FOK
            A canceled 0
        sell B 350 @ 9.98 FOK
            B 300 @ 10.00
            B 50 @ 9.99
    """,
    "nothing is ahead of an order that improves the touch": """
        quote 300x10.00 200x10.02
        sell A 100 @ 10.01
        print 30 @ 10.01 BUY
            A 30 @ 10.01
        print 30 @ 10.02 BUY
            A 30 @ 10.01
    """,
    "the queue of an order behind the touch is what is displayed once the touch comes to it": """
        quote 300x10.00 200x10.02
        buy A 100 @ 9.99
        print 500 @ 9.99 SELL
        quote 80x9.99 200x10.02
        print 100 @ 9.99 SELL
            A 20 @ 9.99
    """,
    "a touch that falls behind an order leaves nothing ahead of it": """
        quote 300x10.00 200x10.02
        buy A 100 @ 10.00
        quote 300x9.99 200x10.02
        print 10 @ 10.00 SELL
            A 10 @ 10.00
    """,
    "a print through the price fills at the order's own price, up to its size": """
        quote 300x10.00 200x10.02
        buy A 100 @ 10.00
        print 60 @ 9.98 SELL
            A 60 @ 10.00
        print 10 @ 10.00 SELL
            A 10 @ 10.00
    """,
    "a quote that comes to a resting order fills it at the order's own price": """
        quote 300x10.00 200x10.02
        buy A 100 @ 10.00
        quote 500x9.97 70x9.98
            A 70 @ 10.00
        print 70 @ 9.98 BUY
        print 70 @ 9.98
    """,
    "an aggressor on the order's own side took the other side of the book": """
        quote 300x10.00 200x10.03
        buy A 100 @ 10.01
        print 50 @ 10.01 BUY
        print 50 @ 10.01
            A 50 @ 10.01
    """,
    "orders share a print by price and then by time": """
        quote 100x10.00 200x10.05
        buy A 50 @ 10.00
        buy B 50 @ 10.00
        buy C 50 @ 10.01
        print 210 @ 10.00 SELL
            C 50 @ 10.01
            A 50 @ 10.00
            B 10 @ 10.00
    """,
    "orders share displayed size by price and then by time": """
        quote 100x10.00 200x10.05
        buy A 50 @ 10.02
        buy B 50 @ 10.03
        buy C 50 @ 10.03
        quote 100x10.00 120x10.01
            B 50 @ 10.03
            C 50 @ 10.03
            A 20 @ 10.02
    """,
    "later size joins between two own orders at one price": """
        quote 100x10.00 200x10.05
        buy A 50 @ 10.00
        print 60 @ 10.00
        quote 140x10.00 200x10.05
        buy B 50 @ 10.00
        print 90 @ 10.00
            A 50 @ 10.00
        print 110 @ 10.00
            B 10 @ 10.00
    """,
    "while trading is halted orders come, wait and can be cancelled, and nothing executes": """
        quote 300x10.00 200x10.02
        buy A 100 @ 10.00
        buy B 100 @ 10.01
        halt
        print 900 @ 9.00 SELL
        quote 300x9.00 200x9.02
        buy C 100
        buy D 100 @ 10.00 IOC
            D canceled 0
        cancel A
            A canceled 0
        resume
        quote 300x9.50 150x9.52
            C 100 @ 9.52
            B 50 @ 10.01
    """,
    "a bar fills where it traded through the price by a tick, at most a tenth of its volume in all": """
        quote 300x10.00 200x10.02
        buy A 100 @ 10.00
        buy B 100 @ 9.99
        sell C 100 @ 10.05
        passes 0.1
        bar 10.00 10.05 9000
        bar 9.99 10.04 700
            A 70 @ 10.00
        bar 9.97 10.06 1000
            A 30 @ 10.00
            B 70 @ 9.99
        bar 10.01 10.06 500
            C 50 @ 10.05
    """,
    "an order gets no larger part of a bar than it was there for": """
        quote 300x10.00 200x10.02
        buy A 300 @ 10.00
        bar 9.00 10.05 2000
        passes 0.005
        buy B 300 @ 9.99
        bar 9.00 10.05 2000
            A 60 @ 10.00
        passes 0.01
        bar 9.00 10.05 2000
            A 180 @ 10.00
            B 20 @ 9.99
    """,
    "fill or kill takes all or nothing": """
        quote 300x10.00 200x10.02
        buy A 201 @ 10.02 FOK
            A canceled 0
        buy B 200 @ 10.02 FOK
            B 200 @ 10.02
        sell C 301 MARKET FOK
            C canceled 0
        buy D 10 @ 10.01 FOK
            D canceled 0
    """,
    "a day order ends at the close, a good-till-cancel order does not": """
        quote 300x10.00 200x10.02
        buy A 100 @ 10.00
        buy B 100 @ 10.00 GTC
        closes
            A expired 0
        print 900 @ 9.00
        cancel A
            A refused: too late: the order is EXPIRED
        passes 18
        print 20 @ 9.00
            B 20 @ 10.00
    """,
    "an update at the close ends the day first": """
        quote 300x10.00 200x10.02
        buy A 100 @ 10.00
        passes 5.5
        print 900 @ 9.00
            A expired 0
    """,
    "an update after the close ends the day first": """
        quote 300x10.00 200x10.02
        buy A 100 @ 10.00
        passes 7
        print 900 @ 9.00
            A expired 0
    """,
    "a shut market takes no order": """
        quote 300x10.00 200x10.02
        passes 7
        buy A 100 @ 10.00
            A refused: the market of X is shut
    """,
    "a market order needs a market that was quoted once": """
        print 100 @ 10.00
        buy A 100
            A refused: a MARKET order for X, which was never quoted
        quote - -
        buy A 100
    """,
    "what cannot be traded is refused, and its id stays free": """
        quote 300x10.00 200x10.02
        buy A 100 @ 10.005
            A refused: price 10.005 is not a positive multiple of the tick 0.01
        buy A 100 @ -1
            A refused: price -1 is not a positive multiple of the tick 0.01
        buy A 100 @ NaN
            A refused: price NaN is not a positive multiple of the tick 0.01
        buy A 0.5 @ 10
            A refused: quantity 0.5 is not a positive multiple of the lot 1
        buy A 0 @ 10
            A refused: quantity 0 is not a positive multiple of the lot 1
        buy A -5 @ 10
            A refused: quantity -5 is not a positive multiple of the lot 1
        buy A Infinity @ 10
            A refused: quantity Infinity is not a positive multiple of the lot 1
        buy A 100 @ 10.02
            A 100 @ 10.02
    """,
    "a repeated client id executes once, whatever it says": """
        quote 300x10.00 200x10.02
        buy A 100 @ 10.02
            A 100 @ 10.02
        buy A 100 @ 10.02
            A is paper-1
        sell A 5
            A is paper-1
    """,
    "only a working order can be cancelled, and only once": """
        quote 300x10.00 200x10.02
        buy A 100 @ 10.00
        cancel A
            A canceled 0
        cancel A
            A refused: too late: the order is CANCELED
        cancel Z
            Z refused: unknown order
        print 900 @ 9.00
    """,
    "own orders do not trade with each other": """
        quote 300x10.00 200x10.05
        buy A 100 @ 10.03
        sell B 100 @ 10.02
        print 150 @ 10.02
            A 100 @ 10.03
            B 50 @ 10.02
    """,
    "a restart loses the place in the queue and nothing else": """
        quote 300x10.00 200x10.02
        buy A 100 @ 10.00
        buy B 300
            B 200 @ 10.02
        print 250 @ 10.00
        restarts
        print 500 @ 10.00
        quote 120x10.00 60x10.02
            B 60 @ 10.02
        print 130 @ 10.00 SELL
            A 10 @ 10.00
        buy A 100 @ 10.00
            A is paper-1
        buy C 1
        cancel C
            C canceled 0
    """,
}


@pytest.mark.parametrize("name", TRANSCRIPTS)
def test_the_rules_hold(name: str) -> None:
    lines = [line for line in TRANSCRIPTS[name].splitlines() if line.strip()]
    transcript, told = Transcript(venue()), []
    for line in lines:
        indent = len(line) - len(line.lstrip())
        if indent == 8:
            told.append(line)
            told += [" " * 12 + said for said in transcript.play(line)]
    assert told == lines


def test_an_order_for_an_unknown_symbol_is_refused() -> None:
    asked = order("A", Side.BUY, D(1), D(10), symbol="Y")
    assert venue().enter(asked, T0) == [Refused("A", "unknown symbol Y")]
    assert venue().on_update(Trade(T0, "Y", D(1), D(1)), T0) == ()


@pytest.mark.parametrize(
    "price, told",
    [
        (D("9.99"), "50 shares at 9.99 are under 500 in money"),
        (D(10), None),
        (None, "50 shares at 9.995 are under 500 in money"),
    ],
)
def test_what_is_worth_too_little_is_refused(price: Decimal | None, told: str | None) -> None:
    exchange = venue(min_notional=D(500))
    exchange.on_update(Quote(T0, "X", D("9.98"), D(100), D("10.01"), D(100)), T0)
    (answer, *_) = exchange.enter(order("A", Side.BUY, D(50), price), T0)
    assert (answer.reason if isinstance(answer, Refused) else None) == told


@pytest.mark.parametrize("quoted", ["100 150", "150 150"])
def test_all_or_nothing_counts_whole_lots_of_each_level(quoted: str) -> None:
    first, second = quoted.split()
    exchange = venue("100")
    exchange.on_update(Depth(T0, "X", (), ((D("10.01"), D(second)),)), T0)
    exchange.on_update(Quote(T0, "X", D("9.99"), D(100), D("10.00"), D(first)), T0)
    events = exchange.enter(order("A", Side.BUY, D(300), D("10.05"), TimeInForce.FOK), T0)
    assert [type(event) for event in events] == [Entered, Ended]
    events = exchange.enter(order("B", Side.BUY, D(200), D("10.05"), TimeInForce.FOK), T0)
    assert [event.last_qty for event in events if isinstance(event, Executed)] == [100, 100]


def test_a_bar_and_the_quote_of_its_end_are_of_one_volume() -> None:
    exchange = venue()
    exchange.on_update(Quote(T0, "X", D("9.99"), D(100), D("10.01"), D(100)), T0)
    exchange.enter(order("A", Side.BUY, D(1_000), D("10.00")), T0)
    end = T0 + MINUTE_NS
    bar = Bar(end, "X", T0, D(10), D(10), D("9.90"), D("9.92"), D(1_000))
    later: list[Update] = [Quote(end + n, "X", D("9.91"), D(100), D("9.93"), D(100)) for n in (0, 1, 2)]
    executed = [event for update in [bar, *later] for event in exchange.on_update(update, update.ts)]
    assert [event.last_qty for event in executed if isinstance(event, Executed)] == [100]


def test_a_limit_order_needs_a_price() -> None:
    asked = order("A", Side.BUY, D(1), ord_type=OrdType.LIMIT)
    assert venue().enter(asked, T0) == [Refused("A", "a LIMIT order needs a price")]


@pytest.mark.parametrize(
    "behind, asked, told",
    [
        # 1 % of a day pays 2 % times its root, 20 bps, in all; less what 60 pay, 15.5 bps, the other 40 pay 26.8
        ("- -", "buy A 100", ["A 60 @ 10.00", "A 40 @ 10.03"]),
        # 9.87023, and a seller gets no part of a tick
        ("- -", "sell A 101", ["A 100 @ 9.90", "A 1 @ 9.87"]),
        # 10.0443
        ("- -", "buy A 400 @ 10.05", ["A 60 @ 10.00", "A 340 @ 10.05"]),
        ("- -", "buy A 400 @ 10.04", ["A 60 @ 10.00"]),
        ("- -", "buy A 400 @ 10.04 FOK", ["A canceled 0"]),
        ("- -", "buy A 400 @ 10.05 FOK", ["A 60 @ 10.00", "A 340 @ 10.05"]),
        ("- -", "buy A 60", ["A 60 @ 10.00"]),
        # no better than a tick behind the last level
        ("- 20x10.05", "buy A 100", ["A 60 @ 10.00", "A 20 @ 10.05", "A 20 @ 10.06"]),
        ("30x9.70 -", "sell A 140", ["A 100 @ 9.90", "A 30 @ 9.70", "A 10 @ 9.69"]),
    ],
)
def test_behind_the_book_an_order_pays_the_impact_of_all_of_it(behind: str, asked: str, told: list[str]) -> None:
    transcript = Transcript(venue(adv=D(10_000), volatility=0.02))
    transcript.play(f"depth {behind}")
    transcript.play("quote 100x9.90 60x10.00")
    assert transcript.play(asked) == told


def test_what_we_took_weighs_on_what_we_take_next_and_less_with_time() -> None:
    transcript = Transcript(venue(adv=D(10_000), volatility=0.02))
    assert transcript.play("quote 100x9.90 60x10.00") == []
    assert transcript.play("buy A 400") == ["A 60 @ 10.00", "A 340 @ 10.05"]
    assert transcript.play("buy B 400") == ["B 400 @ 10.08"]  # 10.0731: from 400 to 800
    assert transcript.play("sell C 101") == ["C 100 @ 9.90", "C 1 @ 9.87"]  # as if nobody had bought
    transcript.play("passes 0.5")
    transcript.play("quote 100x9.90 61x10.00")
    # of 800 half is left, and 61 are displayed: 10.0768, from 461 to 860
    assert transcript.play("buy D 460") == ["D 61 @ 10.00", "D 399 @ 10.08"]


@given(parts=st.lists(st.integers(1, 300), min_size=1, max_size=8), displayed=st.integers(0, 200))
def test_many_orders_cost_what_one_does_but_for_ticks(parts: list[int], displayed: int) -> None:
    def cost(quantities: list[int]) -> Decimal:
        exchange = venue(adv=D(10_000), volatility=0.02)
        exchange.on_update(Quote(T0, "X", D(9), D(5), D(10), D(displayed)), T0)
        events = [exchange.enter(order(f"{n}", Side.BUY, D(qty)), T0) for n, qty in enumerate(quantities)]
        return sum((each.last_qty * each.last_px for told in events for each in executions(told)), D(0))

    assert abs(cost(parts) - cost([sum(parts)])) <= D("0.01") * sum(parts)


@pytest.mark.parametrize("parts", [1, 50])
def test_what_may_execute_only_by_and_by_pays_the_impact_of_no_more_than_it_took(parts: int) -> None:
    exchange, paid, now = venue(participation_max=D("0.1"), adv=D(1_000_000), volatility=0.02), D(0), T0
    exchange.on_update(Quote(T0, "X", D(9), D(5), D(10), D(0)), T0)
    for number in range(parts):
        exchange.enter(order(f"{number}", Side.BUY, D(10_000 // parts)), T0)
    while list(exchange.working()):
        now += NS_PER_S // 10
        told = [*exchange.on_update(Trade(now, "X", D("9.5"), D(2_000), None), now)]
        told += exchange.on_update(Quote(now, "X", D(9), D(5), D(10), D(0)), now)
        paid += sum((each.last_qty * each.last_px for each in executions(told)), D(0))
    impact = paid / 10_000 / 10 - 1  # of a hundredth of a day: 20 bps, and half a tick
    assert D("0.0020") < impact < D("0.0026")


def test_a_resting_order_takes_what_comes_to_it_and_nothing_behind_that() -> None:
    transcript = Transcript(venue(adv=D(10_000), volatility=0.02))
    for line in ("quote 100x9.90 60x10.00", "sell A 100 @ 9.91"):
        assert transcript.play(line) == []
    assert transcript.play("quote 20x10.00 60x10.02") == ["A 20 @ 9.91"]


def test_within_a_minute_we_execute_at_most_our_part_of_what_was_printed() -> None:
    transcript = Transcript(venue(participation_max=D("0.1")))
    said = []
    for line in (
        "quote 300x10.00 200x10.02",
        "buy A 100",  # nothing was printed yet
        "buy F 20 MARKET FOK",
        "print 350 @ 10.01",
        "quote 300x10.00 199x10.02",
        "print 350 @ 10.01",
        "buy B 35 @ 10.02 FOK",
        "sell C 300 @ 10.01",
        "quote 300x10.00 198x10.02",
        "print 200 @ 9.00",  # what it leaves room for is gone with the minute
        "passes 0.02",
        "quote 300x10.00 197x10.02",
        "print 900 @ 10.01",
    ):
        said += [f"{line}: {told}" for told in transcript.play(line)]
    assert said == [
        "buy F 20 MARKET FOK: F canceled 0",
        "quote 300x10.00 199x10.02: A 35 @ 10.02",
        "buy B 35 @ 10.02 FOK: B 35 @ 10.02",
        "print 900 @ 10.01: C 90 @ 10.01",
    ]


def test_a_cap_of_zero_trades_nothing() -> None:
    transcript = Transcript(venue(participation_max=D(0), adv=D(10_000), volatility=0.02))
    for line in ("print 500 @ 10.01", "quote 300x10.00 200x10.02", "buy A 900", "print 500 @ 10.01"):
        assert transcript.play(line) == []


def test_executions_are_whole_lots() -> None:
    transcript = Transcript(venue(lot="100"))
    transcript.play("quote 250x10.00 199x10.02")
    assert transcript.play("buy A 300") == ["A 100 @ 10.02"]
    transcript.play("sell B 300 @ 10.01")
    assert transcript.play("print 250 @ 10.01") == ["B 200 @ 10.01"]


def test_ids_count_orders_and_their_executions() -> None:
    transcript = Transcript(venue())
    for line in ("quote 9x10.00 10x10.02", "buy A 15", "buy B 1 @ 9", "quote 9x10.00 20x10.02"):
        transcript.play(line)
    assert [fact.order_id for fact in transcript.facts if isinstance(fact, Entered)] == ["paper-1", "paper-2"]
    assert [fact.exec_id for fact in transcript.facts if isinstance(fact, Executed)] == ["paper-1-1", "paper-1-2"]


@pytest.mark.parametrize(
    "per_share,bps,fee",
    [
        ("0", "0", "0"),
        ("0.0035", "0", "0.3500"),  # 100 shares
        ("0", "1.5", "0.1503"),  # of 1,002
        ("0.0035", "1.5", "0.5003"),
        ("0", "0.00001", "0.000001"),  # 0.000001002
        ("-0.002", "0", "-0.2"),
    ],
)
def test_fees_are_per_share_and_per_notional(per_share: str, bps: str, fee: str) -> None:
    transcript = Transcript(venue(fees=Fees(per_share=D(per_share), bps=D(bps), maker_bps=D(9))))
    transcript.play("quote 100x10.00 100x10.02")
    transcript.play("buy A 100")
    (executed,) = (fact for fact in transcript.facts if isinstance(fact, Executed))
    assert executed.fee == D(fee)
    assert executed.fee.as_tuple().exponent == -6


def test_what_rested_pays_the_makers_fee_however_it_executes() -> None:
    transcript = Transcript(venue(fees=Fees(bps=D(100), maker_bps=D(-10))))
    for line in (
        "quote 100x9.00 50x10.00",
        "buy A 150 @ 10.00",  # 50 at once; of what is left, what comes next is taken by it, too
        "quote 100x9.00 60x10.00",
        "quote 100x9.00 50x10.01",  # now it rests
        "print 10 @ 9.00",
        "quote 100x9.00 70x9.90",
    ):
        transcript.play(line)
    fees = [(fact.last_qty, fact.last_px, fact.fee) for fact in transcript.facts if isinstance(fact, Executed)]
    expected = [("50", "10", "5"), ("60", "10", "6"), ("10", "10", "-0.1"), ("30", "10", "-0.3")]
    assert fees == [tuple(map(D, each)) for each in expected]


def test_each_market_has_its_own_close() -> None:
    instruments = Instruments([instrument("X"), instrument("Y", calendar="24x7")])
    exchange = Exchange(name="paper", instruments=instruments, fees=NO_FEES)
    for symbol in "XY":
        exchange.enter(order(symbol, Side.BUY, D(1), D(10), symbol=symbol), T0)
    assert SESSION is not None
    midnight = (T0 // DAY_NS + 1) * DAY_NS
    assert exchange.expire(SESSION.close) == [Ended(SESSION.close, "X", OrdStatus.EXPIRED, D(0))]
    through = Trade(midnight, "Y", D(9), D(1))
    assert exchange.on_update(through, midnight) == [Ended(midnight, "Y", OrdStatus.EXPIRED, D(0))]


def test_an_instrument_of_an_unknown_calendar_is_named() -> None:
    with pytest.raises(ValueError, match=r"instrument X: no calendar 'XMAS', use one of XNYS, "):
        venue(calendar="XMAS")


def test_facts_that_contradict_each_other_are_refused() -> None:
    entered = Entered(T0, order("A", Side.BUY, D(10)), "paper-1", None)
    executed = Executed(T0, "A", "paper-1-1", D(10), D(1), D(0), D(10))
    too_much = Executed(T0, "A", "paper-1-1", D(11), D(1), D(0), D(11))
    gap = Executed(T0, "A", "paper-1-1", D(2), D(1), D(0), D(3))
    ended = Ended(T0, "A", OrdStatus.CANCELED, D(0))
    skipped = Entered(T0, order("A", Side.BUY, D(10)), "paper-2", None)
    missed = Executed(T0, "A", "paper-1-2", D(1), D(1), D(0), D(1))
    foreign = Entered(T0, order("B", Side.BUY, D(10), symbol="Y"), "paper-1", None)
    cases: list[tuple[list[Fact], str]] = [
        ([entered, entered], "order A was entered before"),
        ([executed], "order A is not in the book"),
        ([entered, too_much], "execution paper-1-1 does not follow from cum_qty 0"),
        ([entered, gap], "execution paper-1-1 does not follow from cum_qty 0"),
        ([entered, ended, executed], "order A is not in the book"),
        ([skipped], "order paper-2 stands where paper-1 should"),
        ([entered, missed], "execution paper-1-2 stands where paper-1-1 should"),
        ([foreign], "order B is for Y, which is not among the instruments: add it"),
    ]
    for facts, error in cases:
        exchange = venue()
        for fact in facts[:-1]:
            exchange.fold(fact)
        with pytest.raises(ValueError, match=error):
            exchange.fold(facts[-1])


# Laws ---------------------------------------------------------------------------------------------------------------

PRICES = st.sampled_from([D(cents) / 100 for cents in range(997, 1004)])
SIZES = st.integers(0, 60).map(D)
SIDES = st.sampled_from(list(Side))
IDS = st.sampled_from("ABCDEFGHIJKL")
HALVES = st.one_of(st.just((None, D(0))), st.tuples(PRICES, SIZES), st.tuples(PRICES, SIZES), st.tuples(PRICES, SIZES))
QUOTES = st.builds(lambda bid, ask: Quote(T0, "X", *bid, *ask), HALVES, HALVES)
PRINTS = st.builds(
    lambda price, size, side: Trade(T0, "X", price, size, side), PRICES, SIZES, st.one_of(st.none(), SIDES)
)
ENTERS = st.builds(
    order,
    IDS,
    SIDES,
    st.integers(1, 90).map(D),
    st.one_of(st.none(), PRICES, PRICES),
    st.sampled_from(list(TimeInForce)),
)
FLOWS = st.integers(-900, 900).map(D)
STEPS = st.lists(st.one_of(QUOTES, PRINTS, ENTERS, ENTERS, IDS, FLOWS), max_size=50)
Step = Quote | Trade | NewOrderSingle | str | Decimal


def play(exchange: Exchange, step: Step) -> Sequence[VenueEvent]:
    if isinstance(step, Update):
        return exchange.on_update(step, T0)
    if isinstance(step, NewOrderSingle):
        return exchange.enter(step, T0)
    if isinstance(step, Decimal):
        return exchange.move(step, T0)
    return exchange.cancel(step, T0)


def executions(events: Sequence[VenueEvent]) -> list[Executed]:
    return [event for event in events if isinstance(event, Executed)]


@given(STEPS)
@settings(max_examples=400, deadline=None)
def test_no_execution_is_better_than_the_market_or_worse_than_its_limit(steps: list[Step]) -> None:
    exchange, quote = venue(), Quote(T0, "X", None, D(0), None, D(0))
    for step in steps:
        quote = step if isinstance(step, Quote) else quote
        for execution in executions(play(exchange, step)):
            asked = exchange.orders[execution.cl_ord_id].order
            sign, px = asked.side.sign, execution.last_px
            assert asked.ord_type is OrdType.MARKET or (asked.price is not None and sign * (asked.price - px) >= 0)
            if isinstance(step, Trade):
                assert px == asked.price
                assert sign * (px - step.price) >= 0
            else:
                touch = quote.ask if asked.side is Side.BUY else quote.bid
                assert touch is not None
                assert sign * (px - touch) >= 0
                assert quote.bid is not None
                assert quote.ask is not None
                assert quote.bid <= quote.ask


@given(STEPS)
@settings(max_examples=400, deadline=None)
def test_executions_never_exceed_what_is_displayed_or_printed(steps: list[Step]) -> None:
    exchange = venue()
    shown: dict[Side, tuple[Decimal | None, Decimal]] = dict.fromkeys(Side, (None, D(0)))
    used = dict.fromkeys(Side, D(0))  # of the displayed size on each side
    for step in steps:
        if isinstance(step, Quote):
            for side, now in ((Side.BUY, (step.bid, step.bid_size)), (Side.SELL, (step.ask, step.ask_size))):
                used[side] = used[side] if shown[side] == now else D(0)
                shown[side] = now
        done = executions(play(exchange, step))
        if isinstance(step, Trade):
            assert sum(execution.last_qty for execution in done) <= step.size
            continue
        for execution in done:
            opposite = exchange.orders[execution.cl_ord_id].order.side.opposite
            used[opposite] += execution.last_qty
            assert used[opposite] <= shown[opposite][1]


@given(STEPS, st.sampled_from([D("0.1"), D("0.5"), D(1)]))
@settings(max_examples=200, deadline=None)
def test_a_capped_venue_executes_no_more_than_its_part_of_the_prints(steps: list[Step], part: Decimal) -> None:
    exchange, printed, executed = venue(participation_max=part), D(0), D(0)
    for step in steps:
        printed += step.size if isinstance(step, Trade) else 0
        executed += sum((execution.last_qty for execution in executions(play(exchange, step))), D(0))
        assert executed <= part * printed


@given(STEPS)
@settings(max_examples=400, deadline=None)
def test_quantity_is_conserved_and_an_order_ends_once(steps: list[Step]) -> None:
    exchange = venue()
    cum: dict[str, Decimal] = {}
    over: set[str] = set()
    for step in steps:
        for event in play(exchange, step):
            if isinstance(event, Executed):
                assert event.last_qty > 0
                assert event.cl_ord_id not in over
                cum[event.cl_ord_id] = cum.get(event.cl_ord_id, D(0)) + event.last_qty
                assert event.cum_qty == cum[event.cl_ord_id] <= exchange.orders[event.cl_ord_id].order.order_qty
                if event.cum_qty == exchange.orders[event.cl_ord_id].order.order_qty:
                    over.add(event.cl_ord_id)
            elif isinstance(event, Ended):
                assert event.cl_ord_id not in over
                assert event.cum_qty == cum.get(event.cl_ord_id, D(0))
                over.add(event.cl_ord_id)
    working = {working.order.cl_ord_id for working in exchange.working()}
    assert working | over == set(exchange.orders)
    assert not working & over
    assert all(exchange.orders[cl].order.time_in_force in {TimeInForce.DAY, TimeInForce.GTC} for cl in working)
    signed = (exchange.orders[cl].order.side.sign * qty for cl, qty in cum.items())
    assert exchange.positions.get("X", D(0)) == sum(signed, start=D(0))


State = tuple[list[tuple[str, str, OrdStatus, Decimal, tuple[Executed, ...]]], list[str], Decimal, Decimal, bool]


def state(exchange: Exchange) -> State:
    rows = [
        (cl_ord_id, known.order_id, known.ord_status, known.cum_qty, tuple(known.executions))
        for cl_ord_id, known in exchange.orders.items()
    ]
    return (
        rows,
        [known.order.cl_ord_id for known in exchange.working()],
        exchange.positions.get("X", D(0)),
        exchange.cash,
        exchange.paid_in,
    )


def retold(facts: Sequence[Fact]) -> State:
    """The state after some facts, read off them without a book."""
    entered = [fact for fact in facts if isinstance(fact, Entered)]
    flows = [fact.amount for fact in facts if isinstance(fact, Moved)]
    rows, working, position, cash = [], [], D(0), sum(flows, start=D(0))
    for fact in entered:
        cl_ord_id, asked = fact.order.cl_ord_id, fact.order
        mine = tuple(e for e in facts if isinstance(e, Executed) and e.cl_ord_id == cl_ord_id)
        cum = sum((e.last_qty for e in mine), start=D(0))
        status = OrdStatus.PARTIALLY_FILLED if cum else OrdStatus.NEW
        status = OrdStatus.FILLED if cum == asked.order_qty else status
        ends = [e.ord_status for e in facts if isinstance(e, Ended) and e.cl_ord_id == cl_ord_id]
        status = ends[0] if ends else status
        rows.append((cl_ord_id, fact.order_id, status, cum, mine))
        working += [cl_ord_id] if status in {OrdStatus.NEW, OrdStatus.PARTIALLY_FILLED} else []
        position += asked.side.sign * cum
        cash -= sum((asked.side.sign * e.last_qty * e.last_px + e.fee for e in mine), start=D(0))
    return rows, working, position, cash, bool(flows)


@given(STEPS)
@settings(max_examples=150, deadline=None)
def test_the_fold_of_the_facts_is_the_state_at_every_prefix(steps: list[Step]) -> None:
    fees = Fees(per_share=D("0.01"), bps=D(5))
    exchange, restored, facts = venue(fees=fees), venue(fees=fees), []
    for step in steps:
        for event in play(exchange, step):
            if isinstance(event, Fact):
                facts.append(event)
                restored.fold(event)
                assert state(restored) == retold(facts)
        assert state(exchange) == retold(facts)


@given(STEPS)
def test_the_account_is_cash_and_positions_at_the_newest_mark_of_the_market(steps: list[Step]) -> None:
    exchange = venue()
    bid = ask = last = None
    for step in steps:
        play(exchange, step)
        if isinstance(step, Quote):
            bid, ask = step.bid, step.ask
        if isinstance(step, Trade):
            last = step.price
        mark = last if bid is None or ask is None or bid > ask else (bid + ask) / 2
        held = exchange.positions.get("X", D(0))
        buys, sales = (
            sum((each.leaves_qty for each in exchange.working() if each.order.side is side), start=D(0))
            for side in (Side.BUY, Side.SELL)
        )
        most = max(abs(held + buys), abs(held - sales))
        assert exchange.equity() == (
            exchange.cash if not held else None if mark is None else exchange.cash + held * mark
        )
        assert exchange.at_stake() == (0 if not most else None if mark is None else most * mark)


@given(
    displayed=st.integers(0, 50),
    moves=st.lists(
        st.one_of(st.tuples(st.just("buy"), st.integers(1, 30)), st.tuples(st.just("print"), st.integers(1, 60)))
    ),
)
@settings(max_examples=300, deadline=None)
def test_a_level_is_a_queue_of_shares(displayed: int, moves: list[tuple[str, int]]) -> None:
    """Against a queue that holds every share: the market's are "", what is displayed beyond them joins before us."""
    exchange, queue = venue(), [""] * displayed
    exchange.on_update(Quote(T0, "X", D(10), D(displayed), D(11), D(5)), T0)
    for number, (what, size) in enumerate(moves):
        if what == "buy":
            queue += [""] * (displayed - queue.count("")) + [f"{number}"] * size
            exchange.enter(order(f"{number}", Side.BUY, D(size), D(10)), T0)
            continue
        hit, queue = queue[:size], queue[size:]
        got = executions(exchange.on_update(Trade(T0, "X", D(10), D(size), Side.SELL), T0))
        expected = [(owner, D(hit.count(owner))) for owner in dict.fromkeys(hit) if owner]
        assert [(execution.cl_ord_id, execution.last_qty) for execution in got] == expected


ASKS = st.lists(st.tuples(st.integers(1_000, 1_030), st.integers(0, 40)), min_size=1, max_size=6)


@given(
    asks=ASKS,
    asked=st.lists(st.tuples(st.integers(1, 90), st.none() | st.integers(1_000, 1_040)), min_size=1, max_size=4),
    adv=st.integers(50, 10_000),
)
@settings(max_examples=400, deadline=None)
def test_marketable_orders_never_fill_better_than_the_book_allowed(
    asks: list[tuple[int, int]], asked: list[tuple[int, int | None]], adv: int
) -> None:
    """Against the displayed shares one by one, cheapest first: our n-th was no cheaper than the n-th of them."""
    exchange = venue(adv=D(adv), volatility=0.05)
    book = sorted(dict(asks).items())
    shares = [D(cents) / 100 for cents, size in book for _ in range(size)]
    (touch, first), *deeper = [(D(cents) / 100, D(size)) for cents, size in book]
    exchange.on_update(Depth(T0, "X", (), tuple(deeper)), T0)
    exchange.on_update(Quote(T0, "X", D(9), D(5), touch, first), T0)
    paid: list[Decimal] = []
    for number, (qty, cents) in enumerate(asked):
        limit = None if cents is None else D(cents) / 100
        mine = executions(exchange.enter(order(f"{number}", Side.BUY, D(qty), limit, TimeInForce.IOC), T0))
        assert limit is not None or sum(execution.last_qty for execution in mine) == qty
        assert all(limit is None or execution.last_px <= limit for execution in mine)
        paid += [execution.last_px for execution in mine for _ in range(int(execution.last_qty))]
    paid.sort()
    assert all(ours >= theirs for ours, theirs in zip(paid, shares, strict=False))
    last = max((D(cents) / 100 for cents, size in book if size), default=touch)
    assert all(ours > last for ours in paid[len(shares) :])


@given(
    before=st.lists(st.integers(1, 30), max_size=6),
    moves=st.lists(st.tuples(st.sampled_from(["join", "withdraw", "print"]), st.integers(1, 40), st.integers(0, 9))),
)
@settings(max_examples=300, deadline=None)
def test_with_every_message_the_queue_ahead_is_known_to_the_share(
    before: list[int], moves: list[tuple[str, int, int]]
) -> None:
    """Against a queue that holds every share, by who placed it and when; None is ours."""
    exchange = venue()
    queue: list[int | None] = [T0 - 1 - number for number, size in enumerate(before) for _ in range(size)]

    def show(now: int) -> Sequence[VenueEvent]:
        displayed = D(sum(share is not None for share in queue))
        return exchange.on_update(Quote(now, "X", D(10), displayed, D(11), D(5)), now)

    show(T0)
    queue += [None] * 10
    exchange.enter(order("A", Side.BUY, D(10), D(10)), T0)
    for now, (what, size, which) in enumerate(moves, start=T0 + 1):
        if what == "print":
            hit, queue = queue[:size], queue[size:]
            got = executions(exchange.on_update(Trade(now, "X", D(10), D(size), Side.SELL), now))
            assert sum(execution.last_qty for execution in got) == hit.count(None)
            if None in hit:
                return
        elif what == "join":
            queue += [now] * size
        elif resting := [share for share in queue if share is not None]:
            since = resting[which % len(resting)]
            going = min(size, resting.count(since))
            for _ in range(going):
                queue.remove(since)
            exchange.on_update(Withdrawal(now, "X", Side.BUY, D(10), D(going), since), now)
        show(now)


def test_an_update_of_a_symbol_without_orders_is_not_matched() -> None:
    class Idle(Exchange):
        def _match(self, book: object, update: Update, now: int) -> Sequence[VenueEvent]:
            raise AssertionError("matched")

    exchange = Idle(name="paper", instruments=Instruments(map(instrument, "XY")), fees=NO_FEES)
    assert exchange.on_update(Quote(T0, "X", D(10), D(6), D(11), D(5)), T0) == ()
    exchange.enter(order("A", Side.BUY, D(1), D(10), symbol="Y"), T0)
    assert exchange.on_update(Trade(T0, "X", D(9), D(5)), T0) == ()
    with pytest.raises(AssertionError, match="matched"):
        exchange.on_update(Trade(T0, "Y", D(9), D(5)), T0)
