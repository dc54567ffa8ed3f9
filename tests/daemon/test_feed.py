"""Market data on its way in: merged where the reader is behind, and nothing of it lost."""

import asyncio
from collections.abc import Iterable
from decimal import Decimal

from hypothesis import example, given
from hypothesis import strategies as st

from core.events import Event, MarketData
from core.market import Bar, Depth, Quote, SecurityStatus, Trade, Update, Withdrawal
from core.orders import Side
from core.units import ZERO
from daemon import feed as feed_module
from daemon.feed import BURST, Feed
from tests.clocks import ManualClock

D = Decimal


def quote(ts: int, bid: int, symbol: str = "X") -> Quote:
    return Quote(ts=ts, symbol=symbol, bid=D(bid), bid_size=D(1), ask=D(bid + 1), ask_size=D(2))


def trade(ts: int, price: int, size: int = 1, symbol: str = "X") -> Trade:
    return Trade(ts=ts, symbol=symbol, price=D(price), size=D(size))


def market(
    ts: int, bid: int | None, *, symbol: str = "X", prices: Iterable[int] = (), last: int | None = None
) -> MarketData:
    """What a quote and trades of size 1 come to."""
    traded = list(prices)
    return MarketData(
        ts=ts,
        symbol=symbol,
        bid=None if bid is None else D(bid),
        bid_size=ZERO if bid is None else D(1),
        ask=None if bid is None else D(bid + 1),
        ask_size=ZERO if bid is None else D(2),
        last=D(traded[-1]) if traded else (None if last is None else D(last)),
        high=D(max(traded)) if traded else None,
        low=D(min(traded)) if traded else None,
        volume=D(len(traded)),
        notional=D(sum(traded)),
        trades=len(traded),
    )


class Bench:
    """A feed into a list; `lag` is how long the reader takes for each event."""

    def __init__(self, updates: Iterable[Update], *, now: int = 0, lag: int = 0) -> None:
        self.clock = ManualClock(now)
        self.lag = lag
        self.published: list[tuple[int, Event]] = []
        self.heard: list[Update] = []
        self.feed = Feed(updates, clock=self.clock, publish=self.publish, listeners=(self.heard.append,))

    def publish(self, event: Event) -> None:
        self.published.append((self.clock.now(), event))
        self.clock._now += self.lag

    async def run(self) -> list[tuple[int, Event]]:
        await self.clock.run(self.feed.run())
        return self.published


async def test_a_reader_that_keeps_up_gets_one_event_for_each_instant() -> None:
    bench = Bench([quote(1, 10), trade(1, 11), trade(1, 10), quote(2, 12), quote(4, 13, "Y"), quote(4, 14)])
    assert await bench.run() == [
        (1, market(1, 10, prices=[11, 10])),
        (2, market(2, 12, last=10)),
        (4, market(4, 13, symbol="Y")),
        (4, market(4, 14, last=10)),
    ]
    assert bench.feed.played == 4


async def test_a_reader_that_is_behind_gets_the_newest_quote_and_the_sum_of_the_trades() -> None:
    bench = Bench([quote(1, 10), trade(2, 11), quote(3, 12), trade(4, 9), trade(5, 13), quote(90, 14)], lag=50)
    assert await bench.run() == [
        (1, market(1, 10)),
        (51, market(5, 12, prices=[11, 9, 13])),
        (101, market(90, 14, last=13)),
    ]


async def test_listeners_hear_every_update_before_it_is_published() -> None:
    updates: list[Update] = [quote(1, 10), trade(2, 11), trade(3, 12)]
    heard_before: list[int] = []
    bench = Bench(updates, lag=50)
    bench.feed._publish = lambda event: heard_before.append(len(bench.heard))
    await bench.run()
    assert bench.heard == updates
    assert heard_before == [1, 2, 3]


UPDATES = st.lists(
    st.tuples(st.integers(0, 20), st.sampled_from("XY"), st.integers(1, 9), st.integers(0, 5)), max_size=60
)


@example([(0, "X", 1, 0)] * 60, 0, 1)
@given(UPDATES, st.integers(0, 50), st.integers(1, 10))
def test_volume_and_notional_are_exact_however_far_behind_the_reader_is(
    steps: list[tuple[int, str, int, int]], lag: int, burst: int
) -> None:
    updates: list[Update] = []
    ts = 1
    for pause, symbol, price, size in steps:
        ts += pause
        updates.append(trade(ts, price, size, symbol) if size else quote(ts, price, symbol))
    bench = Bench(updates, lag=lag)
    before, feed_module.BURST = feed_module.BURST, burst
    try:
        published = asyncio.run(bench.run())
    finally:
        feed_module.BURST = before
    events = [event for _, event in published if isinstance(event, MarketData)]
    for symbol in "XY":
        own = [event for event in events if event.symbol == symbol]
        trades = [update for update in updates if isinstance(update, Trade) and update.symbol == symbol]
        quotes = [update for update in updates if isinstance(update, Quote) and update.symbol == symbol]
        assert sum(event.volume for event in own) == sum(each.size for each in trades)
        assert sum(event.notional for event in own) == sum(each.size * each.price for each in trades)
        assert sum(event.trades for event in own) == len(trades)
        assert max((e.high for e in own if e.high is not None), default=None) == max(
            (t.price for t in trades), default=None
        )
        assert [event.ts for event in own] == sorted(event.ts for event in own)
        if quotes:
            assert own[-1].bid == quotes[-1].bid
    assert all(now >= event.ts for now, event in published)
    assert bench.heard == updates


async def test_a_restart_gets_the_last_quotes_of_the_past_and_none_of_its_trades() -> None:
    bench = Bench(
        [quote(1, 10), trade(2, 11), quote(3, 12), quote(4, 20, "Y"), trade(5, 21, symbol="Y"), quote(9, 13)], now=7
    )
    assert await bench.run() == [(7, market(3, 12)), (7, market(4, 20, symbol="Y")), (9, market(9, 13))]
    assert bench.heard == [quote(3, 12), quote(4, 20, "Y"), quote(9, 13)]


async def test_a_restart_hears_all_that_stands_of_the_past() -> None:
    depth, halted = Depth(2, "X", (), ()), SecurityStatus(3, "X", halted=True)
    bar = Bar(4, "X", 0, D(9), D(9), D(9), D(9), D(1))
    gone = Withdrawal(4, "X", Side.BUY, D(9), D(1), 0)
    tape: list[Update] = [
        Depth(1, "X", ((D(8), D(1)),), ()),
        depth,
        quote(2, 9),
        halted,
        gone,
        bar,
        trade(5, 9),
        quote(20, 10),
    ]
    bench = Bench(tape, now=10)
    assert await bench.run() == [(10, market(2, 9)), (20, market(20, 10))]
    assert bench.heard == [depth, quote(2, 9), halted, quote(20, 10)]


async def test_an_update_of_this_very_instant_is_not_the_past() -> None:
    bench = Bench([quote(1, 10), trade(7, 11)], now=7)
    assert await bench.run() == [(7, market(7, 10, prices=[11]))]


async def test_a_restart_behind_the_end_of_the_market_still_gets_its_last_quotes() -> None:
    bench = Bench([quote(1, 10), trade(2, 11), quote(3, 12)], now=100)
    assert await bench.run() == [(100, market(3, 12))]


async def test_no_updates_at_all_end_at_once() -> None:
    assert await Bench([]).run() == []


async def test_a_long_burst_lets_others_have_their_turn() -> None:
    turns: list[int] = []
    bench = Bench([trade(5, 1) for _ in range(3 * BURST)], now=1)

    async def other() -> None:
        while True:
            turns.append(len(bench.heard))
            await asyncio.sleep(0)

    task = asyncio.create_task(other())
    published = await bench.run()
    task.cancel()
    assert [event.volume for _, event in published if isinstance(event, MarketData)] == [BURST] * 3
    assert {BURST, 2 * BURST} <= set(turns)
