"""A trajectory says how much of a parent should be done by when; two gaps to it say what to do now.

Every execution algorithm is a curve: a step function from time to cumulative quantity, in whole lots, ending at exactly
the parent's quantity. Nothing else distinguishes TWAP from VWAP or from an optimal schedule. What to do follows from
where the parent stands against its curve:

    to_send = target - cum - leaves     send so much; negative: take the newest excess back, never trade the other way
    behind  = target - cum              how urgent what rests has become: it drives pricing and escalation

Pending cancels, settling and unknown orders count as leaves. Rejects, partial fills, missed timers and restarts need no
code of their own: the gap *is* the state. A curve is built by cumulative rounding, `q_k = round(C_k) - round(C_{k-1})`:
the sum is exact and no step is ever more than one lot from its share; rounding slices one by one loses lots or lumps
them at the end.
"""

from array import array
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from decimal import Decimal

import msgspec
import numpy as np
from numpy.typing import NDArray

from core.units import ZERO

MAX_POINTS = 100_000  # of one curve
MAX_LOTS = 2**53  # of one curve: as far as shares of them are exact
ENOUGH = Decimal("1.25")  # times the least that a venue takes, for what is sent later: it may be worth less by then

Times = NDArray[np.int64]
Vector = NDArray[np.float64]


class Trajectory(msgspec.Struct, frozen=True, gc=False):
    """From `times[i]` (ns UTC, rising) on, `targets[i]` (rising, whole lots) should be done; before the first, nothing.

    Both are kept as 64-bit integers, 16 bytes a point: in tuples of `int` and `Decimal` it would be 150. Make
    one with `of` or `along`. A dump is for machines of the same byte order.
    """

    packed_times: bytes
    packed_lots: bytes
    lot: Decimal

    def __post_init__(self) -> None:
        times, lots = np.frombuffer(self.packed_times, np.int64), np.frombuffer(self.packed_lots, np.int64)
        if not 1 <= len(times) == len(lots) <= MAX_POINTS:
            raise ValueError(f"a trajectory has 1 to {MAX_POINTS:,} points, each with a target")
        if (times[1:] <= times[:-1]).any():
            raise ValueError("a trajectory's times must rise")
        if (lots[1:] < lots[:-1]).any():
            raise ValueError("a trajectory's targets must not fall")

    @classmethod
    def of(cls, times: Iterable[int], targets: Iterable[Decimal], lot: Decimal) -> "Trajectory":
        """The curve through these points; a part of a lot, which cannot be traded, is left out."""
        return cls(_packed(times), _packed(int(target // lot) for target in targets), lot)

    @property
    def times(self) -> tuple[int, ...]:
        """When each target is due."""
        return tuple(_unpacked(self.packed_times))

    @property
    def targets(self) -> tuple[Decimal, ...]:
        """What should be done in all from each time on."""
        return tuple(lots * self.lot for lots in _unpacked(self.packed_lots))

    def target(self, now: int) -> Decimal:
        """What should be done by `now`."""
        i = bisect_right(_unpacked(self.packed_times), now)
        return _unpacked(self.packed_lots)[i - 1] * self.lot if i else Decimal(0)

    def reached(self, now: int) -> int:
        """How many points are not after `now`."""
        return bisect_right(_unpacked(self.packed_times), now)

    def last_time(self, now: int) -> int | None:
        """The last point that is not after `now`, None before the first."""
        times = _unpacked(self.packed_times)
        i = bisect_right(times, now)
        return times[i - 1] if i else None

    def next_time(self, now: int) -> int | None:
        """The first point after `now`, None past the last."""
        times = _unpacked(self.packed_times)
        i = bisect_right(times, now)
        return times[i] if i < len(times) else None

    @property
    def largest_step(self) -> Decimal:
        """The most that one point adds."""
        lots = np.frombuffer(self.packed_lots, np.int64)
        return int(np.diff(lots, prepend=0).max()) * self.lot

    def most_within(self, span_ns: int, done: Decimal = ZERO) -> int:
        """The most lots that the curve adds in any time shorter than `span_ns`: at least its largest step.

        Of a curve that goes on from what is `done` that is no step.
        """
        times, lots = _unpacked(self.packed_times), _unpacked(self.packed_lots)
        most, first, before = 0, 0, int(done // self.lot)
        for time, reached in zip(times, lots, strict=True):
            while time - times[first] >= span_ns:
                first += 1
            most = max(most, reached - max(lots[first - 1] if first else 0, before))
        return most


def along(
    times: Sequence[int] | Times, weights: Sequence[float] | Vector, *, qty: Decimal, lot: Decimal, done: Decimal = ZERO
) -> Trajectory:
    """The curve that from `times[i]` on does `weights[i]` of `qty`, or of what is not `done` of it.

    Weights are non-negative and not all zero; they are normalised here. Points that add less than a lot are left out,
    so a parent of 3 lots over 10 slices has 3 points; but for the first one where something is done, as it keeps what
    works from being taken back. The last target is exactly `qty`, a multiple of `lot`; at most
    MAX_LOTS of them.
    """
    parts, before = np.asarray(weights, dtype=np.float64), int(done // lot)
    lots = int(qty // lot) - before
    shares = np.cumsum(parts)
    if not len(parts) or not (parts >= 0).all() or not shares[-1] > 0:
        raise ValueError("a curve needs weights that are not negative and not all zero")
    targets = np.rint(shares / shares[-1] * lots).astype(np.int64)
    targets[-1] = lots
    kept = np.diff(targets, prepend=0) > 0
    kept[0] |= before > 0
    return Trajectory(np.asarray(times, dtype=np.int64)[kept].tobytes(), (targets[kept] + before).tobytes(), lot)


def rising(times: Times) -> Times:
    """Times of which none is before the one before it: those that share a nanosecond are put one after the other."""
    places = np.arange(len(times))
    found: Times = np.maximum.accumulate(times - places) + places
    return found


def _packed(numbers: Iterable[int]) -> bytes:
    return array("q", numbers).tobytes()


def _unpacked(packed: bytes) -> Sequence[int]:
    return memoryview(packed).cast("q")
