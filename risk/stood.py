"""What a value stood at of late: its lowest and highest of the last `CONFIRM_NS`, on event time.

A price that is wrong is wrong for a moment. Who must not follow it up takes the lowest, and who needs one that stands
waits until both are near each other.

Only what the value has left upwards can be its lowest, and of that only what nothing lower has followed; so the values
that are kept rise from the oldest to the newest, and each comes and goes once. With the highest it is the other way
round.
"""

from bisect import bisect_right
from collections import deque
from decimal import Decimal

import msgspec

from core.units import NS_PER_S

CONFIRM_NS = 3 * NS_PER_S  # what is seen so long, without a break, is no wrong price


class Left(msgspec.Struct, frozen=True):
    """A value that stood until `ts`."""

    ts: int
    value: Decimal


class Stood:
    """What one value stood at before it is what it is now."""

    __slots__ = ("_high", "_low")

    def __init__(self) -> None:
        self._low: deque[Left] = deque()
        self._high: deque[Left] = deque()

    def change(self, ts: int, before: Decimal, after: Decimal) -> None:
        """The value changes."""
        if before == after:
            return
        sign, left = (1, self._low) if before < after else (-1, self._high)
        while left and sign * left[-1].value >= sign * before:
            ts = max(ts, left.pop().ts)
        if left:
            ts = max(ts, left[-1].ts)  # time may go back
        left.append(Left(ts, before))
        while left[0].ts <= ts - CONFIRM_NS:
            left.popleft()

    def lowest(self, now: int, value: Decimal) -> Decimal:
        """The lowest that it stood at, where it is `value` now."""
        return min(value, _first(self._low, now, value))

    def highest(self, now: int, value: Decimal) -> Decimal:
        """The highest."""
        return max(value, _first(self._high, now, value))

    def dump(self) -> dict[str, object]:
        """State for a snapshot."""
        return {"low": msgspec.to_builtins(list(self._low)), "high": msgspec.to_builtins(list(self._high))}

    def load(self, dumped: object) -> None:
        """State from a snapshot."""
        state = msgspec.convert(dumped, _Dump)
        self._low, self._high = deque(state.low), deque(state.high)


class _Dump(msgspec.Struct):
    low: list[Left]
    high: list[Left]


def _first(left: deque[Left], now: int, value: Decimal) -> Decimal:
    """The first that is not too old."""
    number = bisect_right(left, now - CONFIRM_NS, key=lambda each: each.ts)
    return left[number].value if number < len(left) else value
