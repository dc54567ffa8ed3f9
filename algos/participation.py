"""Participation: no more of a market's volume than a part of it, and which part, as the market is.

A part r of the *total* volume is r / (1 - r) of what all others trade, which is what `algos.conditions` counts. What
may be done grows with every share that trades, also where the part falls; but who follows the volume, and could not
trade, makes up for the last minute or two only.
"""

from collections.abc import Iterator
from decimal import Decimal

import msgspec

from core.signals import Algo, Instruction, Urgency
from core.units import floor_to

HARD_MAX = 0.30  # of the volume, for all together who follow a curve in a symbol, and so for each
FREE = frozenset({Algo.MARKET, Algo.LIMIT, Algo.ICEBERG})
DEFAULT = {Algo.POV: 0.10, Algo.ADAPTIVE: 0.10}
POLL_NS = 5_000_000_000  # a parent that waits for volume looks so often
MOVED = 0.1  # of the pace: smaller moves are none


class Pace(msgspec.Struct, gc=False):
    """What a parent may have done by the volume that was seen: grows by rate / (1 - rate) of each share."""

    rate: float
    begun: float  # the symbol's volume when the parent began
    seen: float  # and up to where it was counted
    allowed: float = 0.0  # shares

    def move(self, volume: float) -> None:
        """The symbol has traded so much by now."""
        self.allowed += self.rate / (1 - self.rate) * (volume - self.seen)
        self.seen = volume

    def forget(self, taken: Decimal, lately: float, least: Decimal) -> None:
        """Beyond what is `taken` no more stays allowed than its part of what traded `lately`, or a child of `least`."""
        kept = max(self.rate / (1 - self.rate) * lately, float(least))
        self.allowed = min(self.allowed, float(taken) + kept)

    def cap(self, lot: Decimal) -> Decimal:
        """Shares in whole lots that may be done or working."""
        return floor_to(Decimal(repr(self.allowed)), lot)


def rate_of(how: Instruction) -> float | None:
    """The part of the volume that a parent may be; None for any: what it is to take or to rest is there at once."""
    if how.algo in FREE:
        return how.participation
    most = how.participation if how.participation is not None else DEFAULT.get(how.algo, HARD_MAX)
    return min(most, HARD_MAX)


class Conditions(msgspec.Struct, frozen=True, kw_only=True):
    """The market as it is against what is usual in it; ratios are 1 where they are as usual or not known."""

    spread: float = 1.0  # now / usual
    volatility: float = 1.0  # now / usual
    volume: float = 1.0  # seen / expected by now
    cost_bps: float = 0.0  # of what is done, against arrival; positive hurts
    liquidity: float = 1.0  # displayed on the side that is taken / a child
    needed: float = 0.0  # the part of the expected volume that would just do what is left by the end


class Move(msgspec.Struct, frozen=True):
    """Another pace, and what moved it."""

    rate: float
    reasons: tuple[str, ...]


COST_MAX_BPS = 20.0  # from here on a parent that costs is worked more slowly, but one in haste
_HASTY = {Urgency.LOW: 0.0, Urgency.NORMAL: 0.25, Urgency.HIGH: 0.5, Urgency.IMMEDIATE: 0.5}  # powers of volatility
_FASTER, _SLOWER = 1.5, 0.5  # the most that one condition may do


def adapt(base: float, most: float, urgency: Urgency, now: Conditions) -> Move:
    """The pace that suits the market, between half of `base` and `most`, with each condition that moved it.

    A wide spread and a thin book are waited out; volatility makes waiting dear, the more so in haste; volume that
    nobody expected is there to be used; what has cost much already is the price of haste, or of a trend: unless in
    haste it is not chased. What must be done by the end comes last, and outweighs them.
    """
    rate, reasons = base, []
    for name, factor in _factors(urgency, now):
        bounded = min(max(factor, _SLOWER), _FASTER)
        if abs(bounded - 1.0) >= MOVED / 2:
            rate *= bounded
            reasons.append(f"{name} x {bounded:.2f}")
    rate = min(max(rate, base / 2), most)
    if now.needed > rate:
        rate = min(now.needed, most)
        reasons.append(f"needs {now.needed:.2f} to be done by its end")
    return Move(round(rate, 4), tuple(reasons))


def _factors(urgency: Urgency, now: Conditions) -> Iterator[tuple[str, float]]:
    yield f"spread {now.spread:.2f} of usual", now.spread**-0.5
    yield f"volatility {now.volatility:.2f} of usual", now.volatility ** _HASTY[urgency]
    yield f"volume {now.volume:.2f} of expected", now.volume**0.25
    yield f"liquidity {now.liquidity:.2f} of a child", min(now.liquidity, 1.0) ** 0.25
    if now.cost_bps > COST_MAX_BPS and urgency in {Urgency.LOW, Urgency.NORMAL}:
        yield f"cost {now.cost_bps:.0f} bp", COST_MAX_BPS / now.cost_bps
