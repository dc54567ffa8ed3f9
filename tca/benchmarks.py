"""Market benchmarks of an interval, from running sums over the tape: a difference of two readings, exact and O(1).

VWAP is notional over volume of the prints that the feed counts (its filter is named in the report), own prints are not
among them in paper and simulation. TWAP holds each mid until the next one, weighted by time (LOCF, forward weights).
"""

from decimal import Decimal
from typing import Self

import msgspec

from core.events import MarketData
from core.units import ZERO


class Reading(msgspec.Struct, frozen=True):
    """Running sums of one symbol's tape at one moment."""

    ts: int
    volume: Decimal
    notional: Decimal
    area: Decimal  # of mid over time, price x ns
    mid: Decimal | None


class Sums(msgspec.Struct, frozen=True):
    """A tally's state."""

    volume: Decimal
    notional: Decimal
    area: Decimal
    mid: Decimal | None
    mid_since: int


class Tally:
    """The running sums of one symbol."""

    __slots__ = ("_area", "_mid", "_mid_since", "_notional", "_volume")

    def __init__(self) -> None:
        self._volume = self._notional = self._area = ZERO
        self._mid: Decimal | None = None
        self._mid_since = 0

    @property
    def mid(self) -> Decimal | None:
        """The newest mid."""
        return self._mid

    def add(self, event: MarketData) -> None:
        """Add one event of the tape."""
        self._volume += event.volume
        self._notional += event.notional
        mid = event.mid
        if mid is not None and mid != self._mid:
            self._area = self._area_at(event.ts)
            self._mid, self._mid_since = mid, event.ts

    def read(self, ts: int) -> Reading:
        """The sums at `ts`, which is not before the newest event."""
        return Reading(ts, self._volume, self._notional, self._area_at(ts), self._mid)

    def dump(self) -> object:
        """State for a snapshot."""
        return msgspec.to_builtins(Sums(self._volume, self._notional, self._area, self._mid, self._mid_since))

    @classmethod
    def of(cls, sums: Sums) -> Self:
        """A tally that goes on from a snapshot."""
        tally = cls()
        tally._volume, tally._notional, tally._area = sums.volume, sums.notional, sums.area
        tally._mid, tally._mid_since = sums.mid, sums.mid_since
        return tally

    def _area_at(self, ts: int) -> Decimal:
        return self._area if self._mid is None else self._area + self._mid * (ts - self._mid_since)


def vwap(start: Reading, end: Reading) -> Decimal | None:
    """Volume-weighted average price between two readings; None where nothing traded."""
    volume = end.volume - start.volume
    return (end.notional - start.notional) / volume if volume else None


def twap(start: Reading, end: Reading) -> Decimal | None:
    """Time-weighted average mid between two readings; None for an empty interval or without a mid at its start."""
    if end.ts <= start.ts or start.mid is None:
        return None
    return (end.area - start.area) / (end.ts - start.ts)
