"""How honest the paper venue is about passive orders: `python -m tests.trials.touch` tells for two recorded days.

A copy of ours stands in for one order of the tape at a time: sent at the same moment to the same price, at or inside
the touch, of the same size, and left as long. The share of copies that got a fill is held against the share of the
originals that did, which is in the messages. The rules were chosen on AAPL; AMZN is what they are reported on.

Orders of 100 that join the touch at moments of the clock, for as long as some order of the tape was left, fill far less
often: the tape's own orders are sent where there is trading, half of them or more inside the touch.
"""

import datetime as dt
import random
import sys
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from pathlib import Path
from typing import TypeVar

import msgspec
import pyarrow.parquet as pq

from adapters.brokers.matching import Exchange, Fees
from adapters.market.replay import TapeSpec, open_tape
from core.instruments import Instrument, Instruments
from core.market import Depth, Quote, Update, Withdrawal
from core.orders import Side
from tests.builders import child, clock

SHARED = Path(__file__).parents[3] / "shared" / "data"
DAY = dt.date(2012, 6, 21)
DAYS = {"AAPL": SHARED / "lobster_AAPL_20120621_L1.parquet", "AMZN": SHARED / "lobster_AMZN_20120621_L5.parquet"}
TYPICAL = Decimal(100)
NEW, CANCELLED, DELETED, EXECUTED, HIDDEN = 1, 2, 3, 4, 5

Kind = TypeVar("Kind", bound=Update)


class Passive(msgspec.Struct, frozen=True):
    """An order at or inside the touch from `begin` to `end` (ns UTC); without a price it joins the touch."""

    begin: int
    end: int
    side: Side
    price: Decimal | None
    size: Decimal
    filled: bool = False  # on the tape


class Shares(msgspec.Struct, frozen=True):
    """Of so many orders the parts that got a fill."""

    orders: int
    own: float  # the tape's own orders
    messages: float  # their copies, where the venue sees every message
    displayed: float  # where it sees quotes and prints
    random: float  # orders of a typical size at random moments


class Recorded:
    """A recorded day: its updates, and the fate of each order that was sent to or inside the touch."""

    def __init__(self, symbol: str) -> None:
        self.updates = list(open_tape(TapeSpec(symbol, DAY, DAYS[symbol])).updates())
        self.times = [update.ts for update in self.updates]
        self.quotes, self.depths = self._of(Quote), self._of(Depth)
        self.orders = _orders(DAYS[symbol])
        self._instruments = Instruments([Instrument(symbol=symbol)])

    def _of(self, kind: type[Kind]) -> list[Kind]:
        return [update for update in self.updates if isinstance(update, kind)]

    def standing(self, ts: int) -> tuple[Depth | None, Quote]:
        """What is displayed right before `ts`."""
        behind = bisect_left(self.depths, ts, key=lambda depth: depth.ts)
        touch = bisect_left(self.quotes, ts, key=lambda quote: quote.ts)
        return self.depths[behind - 1] if behind else None, self.quotes[touch - 1]

    def fills(self, passive: Passive, *, messages: bool) -> bool:
        """Whether the order gets a fill at the venue, be it in part."""
        exchange = Exchange(name="paper", instruments=self._instruments, fees=Fees())
        depth, quote = self.standing(passive.begin)
        if messages and depth is not None:
            exchange.on_update(depth, passive.begin)
        exchange.on_update(quote, passive.begin)
        price = passive.price or (quote.bid if passive.side is Side.BUY else quote.ask)
        asked = child(side=passive.side, qty=str(passive.size), price=price, ts=passive.begin)
        exchange.enter(msgspec.structs.replace(asked, symbol=quote.symbol), passive.begin)
        (order,) = exchange.orders.values()
        for place in range(bisect_left(self.times, passive.begin), bisect_right(self.times, passive.end)):
            update = self.updates[place]
            if messages or not isinstance(update, Depth | Withdrawal):
                exchange.on_update(update, update.ts)
            if order.cum_qty:
                return True
        return False


def _orders(file: Path) -> list[Passive]:
    """The tape's own orders at or inside the touch, read off the messages."""
    names = ["ts_ns", "type", "order_id", "size", "px", "dir", "bid1", "ask1"]
    rows = list(zip(*(pq.read_table(file, columns=[name]).column(0).to_pylist() for name in names), strict=True))
    midnight = clock(0, day=DAY)
    messages = defaultdict(list)
    for place, (_, kind, order_id, *_) in enumerate(rows):
        if kind != HIDDEN:
            messages[order_id].append(place)
    orders = []
    for place in range(1, len(rows)):
        ts, kind, order_id, size, price, sign, _, _ = rows[place]
        best = rows[place - 1][6 if sign == 1 else 7]
        if kind != NEW or sign * (price - best) < 0:
            continue
        own = messages[order_id]
        done = [rows[row][1] for row in own]
        gone = sum(rows[row][3] for row in own if rows[row][1] in {CANCELLED, EXECUTED})
        last = own[-1]
        if DELETED not in done and gone < size:  # its end is not in the file: the touch went away from it
            last = next((row for row in range(last, len(rows)) if rows[row][6 if sign == 1 else 7] != price), -1)
        side = Side.BUY if sign == 1 else Side.SELL
        end = midnight + rows[last][0]
        orders.append(Passive(midnight + ts, end, side, Decimal(price) / 10_000, Decimal(size), EXECUTED in done))
    return orders


def measure(recorded: Recorded, orders: int, seed: int) -> Shares:
    """The shares on a seeded sample of the day's orders."""
    dice = random.Random(seed)
    sample = dice.sample(recorded.orders, orders)
    first, last = recorded.times[0], recorded.times[-1]
    typical = []
    for like in sample:
        begin = dice.randrange(first + 1, last)
        side = dice.choice(list(Side))
        typical.append(Passive(begin, begin + like.end - like.begin, side, None, TYPICAL))
    return Shares(
        orders=orders,
        own=_share(sample, lambda order: order.filled),
        messages=_share(sample, lambda order: recorded.fills(order, messages=True)),
        displayed=_share(sample, lambda order: recorded.fills(order, messages=False)),
        random=_share(typical, lambda order: recorded.fills(order, messages=True)),
    )


def _share(orders: Sequence[Passive], filled: Callable[[Passive], bool]) -> float:
    return sum(map(filled, orders)) / len(orders)


def shown(found: Iterable[tuple[str, Shares]]) -> str:
    """A table for people."""
    head = f"{'':<6}{'orders':>8}{'own':>8}{'every message':>16}{'quotes, prints':>16}{'random moments':>16}"
    lines = (
        f"{symbol:<6}{s.orders:>8,}{s.own:>8.1%}{s.messages:>16.1%}{s.displayed:>16.1%}{s.random:>16.1%}"
        for symbol, s in found
    )
    return "\n".join((head, *lines))


def main(arguments: Sequence[str]) -> None:
    """Print the shares of both days; an argument says how many orders of each to copy."""
    orders = int(arguments[0]) if arguments else 5_000
    print(shown((symbol, measure(Recorded(symbol), orders, seed=1)) for symbol in DAYS))


if __name__ == "__main__":
    main(sys.argv[1:])
