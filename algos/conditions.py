"""What a symbol's market is like against what is usual in it, from its quotes alone; the same cost for every quote.

Its volume is what others trade, and never goes back. Where a venue prints our executions, each is taken out of what
trades once it is booked. Heard of before its print, it makes the volume too low until the print comes; heard of after
it, it lets the volume stand still for as much: that was too high for as long as the report took. A print that nobody
heard, as in a time without the daemon, leaves it too low.

Spread and variance are exponentially weighted over a minute for now and over half an hour for what is usual. An update
of age dt counts dt / (dt + the span): bursts of quotes weigh no more than the time that they take.
"""

import math
from decimal import Decimal

import msgspec

from core.events import MarketData
from core.units import NS_PER_S

NOW_S = 60.0
USUAL_S = 1_800.0
SPAN_NS = 60 * NS_PER_S  # of the clock; what traded of late is what did in this one and in the one before it
RATIO_MAX = 10.0  # what is usual may be next to nothing, as after one quiet quote


class Watch(msgspec.Struct):
    """One symbol: others' volume since the daemon looks, its newest mid, and what its spread and variance are."""

    volume: float = 0.0  # shares
    ours: float = 0.0  # shares of ours that are still to be taken out of it; negative: to be put back
    ts: int = 0
    mid: float = 0.0
    spread_now: float = 0.0  # of the mid
    spread_usual: float = 0.0
    variance_now: float = 0.0  # of returns, per second
    variance_usual: float = 0.0
    span_end: int = 0  # when the present span is over, ns
    span_volume: float = 0.0  # when it began
    last_volume: float = 0.0  # and when the one before it did

    def look(self, event: MarketData) -> None:
        """The market moved; one-sided and crossed ones say nothing of spread or price."""
        if event.ts >= self.span_end:
            self.last_volume = self.span_volume if event.ts < self.span_end + SPAN_NS else self.volume
            self.span_volume, self.span_end = self.volume, event.ts - event.ts % SPAN_NS + SPAN_NS
        traded = float(event.volume)
        ours = min(self.ours, traded)
        self.ours -= ours
        self.volume += traded - ours
        if event.bid is None or event.ask is None or event.bid > event.ask or event.bid <= 0:
            return
        bid, ask = float(event.bid), float(event.ask)
        mid, dt = (bid + ask) / 2, (event.ts - self.ts) / NS_PER_S
        spread = (ask - bid) / mid
        if not self.mid:
            self.spread_now = self.spread_usual = spread
        elif dt > 0.0:
            variance = (mid / self.mid - 1.0) ** 2 / dt
            now, usual = dt / (dt + NOW_S), dt / (dt + USUAL_S)
            self.spread_now += now * (spread - self.spread_now)
            self.spread_usual += usual * (spread - self.spread_usual)
            self.variance_now += now * (variance - self.variance_now)
            self.variance_usual += usual * (variance - self.variance_usual)
        self.ts, self.mid = event.ts, mid

    def print_ours(self, qty: Decimal) -> None:
        """The market prints so many shares of ours, or has; negative: they are ours no more."""
        self.ours += float(qty)

    def lately(self, now: int) -> float:
        """What others traded in the last one to two spans, in shares."""
        if now < self.span_end:
            return self.volume - self.last_volume
        return self.volume - self.span_volume if now < self.span_end + SPAN_NS else 0.0

    @property
    def spread(self) -> float:
        """Now, as a multiple of what is usual; 1 where that is not known."""
        return _ratio(self.spread_now, self.spread_usual)

    @property
    def volatility(self) -> float:
        """Now, as a multiple of what is usual; 1 where that is not known."""
        return math.sqrt(_ratio(self.variance_now, self.variance_usual))


def _ratio(now: float, usual: float) -> float:
    if usual <= 0.0:
        return 1.0
    return min(max(now / usual, 1.0 / RATIO_MAX), RATIO_MAX)
