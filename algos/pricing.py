"""At which price a child is sent: join the queue while there is time, cross the spread when there is none.

Between the two are rungs that give up some of the spread for a better place: a tick, then half of it. Which one it is
follows from the time and from what is behind; whether a child that rests is taken back for it, from what that gains
against the place in the queue that it loses.
"""

from decimal import Decimal
from enum import IntEnum

from core.events import MarketData
from core.orders import Side
from core.signals import Urgency
from core.units import ceil_to, floor_to


class Rung(IntEnum):
    """Of the ladder, from patient to pressed."""

    JOIN = 0  # the queue at the touch of our own side
    IMPROVE = 1  # a tick before it
    MID = 2  # half the spread
    CROSS = 3  # all of it, and a tolerance


LADDER: dict[Urgency, tuple[float, float, float]] = {  # the part of its time from which each higher rung holds
    Urgency.LOW: (0.25, 0.5, 0.75),
    Urgency.NORMAL: (0.125, 0.25, 0.5),
    Urgency.HIGH: (0.0, 0.125, 0.25),
    Urgency.IMMEDIATE: (0.0, 0.0, 0.0),
}
LATE = 2.0  # slices; who is so far behind is a rung further


def rung_of(*, used: float, behind: float, urgency: Urgency) -> Rung:
    """The rung for one who has `used` that part of the time for a slice and is `behind` by so many slices."""
    climbed = sum(used >= edge for edge in LADDER[urgency])
    return Rung(min(climbed + (behind >= LATE), Rung.CROSS))


def price_at(rung: Rung, side: Side, market: MarketData, tick: Decimal, tolerance_bps: int) -> Decimal | None:
    """The price of a child on that rung; None where the side that it looks at is not quoted.

    Short of crossing it is never beyond the mid, so that in a spread of one tick all the lower rungs join.
    """
    if rung is Rung.CROSS:
        return cross(side, market, tick, tolerance_bps)
    joined = join(side, market, tick)
    if rung is Rung.JOIN or joined is None:
        return joined
    mid = _mid(side, market, tick, joined)
    return mid if rung is Rung.MID else _nearer(side, joined + side.sign * tick, mid)


def is_worth_its_place(
    side: Side, child: Decimal, wanted: Decimal, market: MarketData, *, rung: Rung, was: Rung, leaves_qty: Decimal
) -> bool:
    """Whether a child that rests at that price, sent on the rung `was`, gains by going to `wanted` on `rung`.

    It must be nearer to the other side. A higher rung is worth the place in the queue, but for a tick before a touch
    that shows no more than the child itself. On the same rung the place is kept until the touch has left it. Who is to
    cross and reaches the other side already stays.
    """
    near, far = (market.bid, market.ask) if side is Side.BUY else (market.ask, market.bid)
    if side.sign * (wanted - child) <= 0:
        return False
    if rung is Rung.CROSS:
        return far is not None and side.sign * (far - child) > 0
    if near is not None and side.sign * (near - child) > 0:
        return True
    is_first = near == child and leaves_qty >= (market.bid_size if side is Side.BUY else market.ask_size)
    return rung > was and not (is_first and rung is Rung.IMPROVE)


def join(side: Side, market: MarketData, tick: Decimal) -> Decimal | None:
    """The touch of our own side; None where nobody quotes it."""
    return _on_tick(side, market.bid if side is Side.BUY else market.ask, tick)


def cross(side: Side, market: MarketData, tick: Decimal, tolerance_bps: int) -> Decimal | None:
    """The other side's touch and a tolerance beyond it, so that the child executes now; None where nobody quotes it."""
    touch = market.ask if side is Side.BUY else market.bid
    if touch is None:
        return None
    return _on_tick(side, touch * (1 + side.sign * Decimal(tolerance_bps) / 10_000), tick)


def within(side: Side, price: Decimal | None, limit: Decimal | None, tick: Decimal) -> Decimal | None:
    """`price`, or the parent's own limit where that is less aggressive, on tick; None stays None."""
    if price is None or limit is None:
        return price
    return _on_tick(side, _nearer(side, price, limit), tick)


def above_bid(price: Decimal | None, market: MarketData, tick: Decimal) -> Decimal | None:
    """`price`, or the first tick above the bid where that is dearer; None stays None."""
    if price is None or market.bid is None:
        return price
    return max(price, floor_to(market.bid, tick) + tick)


def is_beyond(side: Side, market: MarketData, limit: Decimal | None) -> bool:
    """Whether the market trades beyond a parent's limit: crossing is impossible."""
    touch = market.ask if side is Side.BUY else market.bid
    return limit is not None and touch is not None and side.sign * (touch - limit) > 0


def is_behind(side: Side, market: MarketData, limit: Decimal | None) -> bool:
    """Whether the market's own side is beyond a parent's limit: what rests there waits behind others' better prices."""
    touch = market.bid if side is Side.BUY else market.ask
    return limit is not None and touch is not None and side.sign * (touch - limit) > 0


def _mid(side: Side, market: MarketData, tick: Decimal, joined: Decimal) -> Decimal:
    """The middle of the spread; the touch where there is none, or where the middle is not a tick nearer."""
    if market.bid is None or market.ask is None or market.bid >= market.ask:
        return joined
    return _on_tick(side, (market.bid + market.ask) / 2, tick) or joined


def _nearer(side: Side, one: Decimal, other: Decimal) -> Decimal:
    """The less aggressive of two prices."""
    return min(one, other) if side is Side.BUY else max(one, other)


def _on_tick(side: Side, price: Decimal | None, tick: Decimal) -> Decimal | None:
    """Round away from the other side for a buy down, for a sell up: never more aggressive than asked."""
    if price is None:
        return None
    rounded = floor_to(price, tick) if side is Side.BUY else ceil_to(price, tick)
    return rounded if rounded > 0 else None
