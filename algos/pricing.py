"""At which price a child is sent: join the queue while there is time, cross the spread when there is none."""

from decimal import Decimal

from core.events import MarketData
from core.orders import Side
from core.units import ceil_to, floor_to

TOLERANCE_BPS = 20  # how far beyond the touch a crossing child may execute


def join(side: Side, market: MarketData, tick: Decimal) -> Decimal | None:
    """The touch of our own side; None where nobody quotes it."""
    return _on_tick(side, market.bid if side is Side.BUY else market.ask, tick)


def cross(side: Side, market: MarketData, tick: Decimal, tolerance_bps: int = TOLERANCE_BPS) -> Decimal | None:
    """The other side's touch and a tolerance beyond it, so that the child executes now; None where nobody quotes it."""
    touch = market.ask if side is Side.BUY else market.bid
    if touch is None:
        return None
    return _on_tick(side, touch * (1 + side.sign * Decimal(tolerance_bps) / 10_000), tick)


def within(side: Side, price: Decimal | None, limit: Decimal | None, tick: Decimal) -> Decimal | None:
    """`price`, or the parent's own limit where that is less aggressive, on tick; None stays None."""
    if price is None or limit is None:
        return price
    return _on_tick(side, min(price, limit) if side is Side.BUY else max(price, limit), tick)


def above_bid(price: Decimal | None, market: MarketData, tick: Decimal) -> Decimal | None:
    """`price`, or the first tick above the bid where that is dearer; None stays None."""
    if price is None or market.bid is None:
        return price
    return max(price, floor_to(market.bid, tick) + tick)


def is_beyond(side: Side, market: MarketData, limit: Decimal | None) -> bool:
    """Whether the market trades beyond a parent's limit: crossing is impossible."""
    touch = market.ask if side is Side.BUY else market.bid
    return limit is not None and touch is not None and side.sign * (touch - limit) > 0


def _on_tick(side: Side, price: Decimal | None, tick: Decimal) -> Decimal | None:
    """Round away from the other side for a buy down, for a sell up: never more aggressive than asked."""
    if price is None:
        return None
    rounded = floor_to(price, tick) if side is Side.BUY else ceil_to(price, tick)
    return rounded if rounded > 0 else None
