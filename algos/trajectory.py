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

from bisect import bisect_right
from collections.abc import Sequence
from decimal import Decimal

import msgspec

from core.units import nearest

MAX_POINTS = 100_000  # of one curve


class Trajectory(msgspec.Struct, frozen=True):
    """From `times[i]` (ns UTC, rising) on, `targets[i]` (rising, in lots) should be done; before the first, nothing."""

    times: tuple[int, ...]
    targets: tuple[Decimal, ...]

    def __post_init__(self) -> None:
        if not 1 <= len(self.times) == len(self.targets) <= MAX_POINTS:
            raise ValueError(f"a trajectory has 1 to {MAX_POINTS:,} points, each with a target")
        if any(later <= earlier for earlier, later in zip(self.times, self.times[1:], strict=False)):
            raise ValueError("a trajectory's times must rise")
        if any(later < earlier for earlier, later in zip(self.targets, self.targets[1:], strict=False)):
            raise ValueError("a trajectory's targets must not fall")

    def target(self, now: int) -> Decimal:
        """What should be done by `now`."""
        i = bisect_right(self.times, now)
        return self.targets[i - 1] if i else Decimal(0)

    def next_time(self, now: int) -> int | None:
        """The first point after `now`, None past the last."""
        i = bisect_right(self.times, now)
        return self.times[i] if i < len(self.times) else None


def along(times: Sequence[int], weights: Sequence[float], *, qty: Decimal, lot: Decimal) -> Trajectory:
    """The curve that does `weights[i]` of `qty` from `times[i]` on.

    Weights are non-negative and not all zero; they are normalised here. Points that add less than a lot are left out,
    so a parent of 3 lots over 10 slices has 3 points. The last target is exactly `qty`, a multiple of `lot`.
    """
    total = sum(weights)
    if not total > 0 or any(not weight >= 0 for weight in weights):
        raise ValueError("a curve needs weights that are not negative and not all zero")
    kept_times: list[int] = []
    kept_targets: list[Decimal] = []
    done, share = Decimal(0), 0.0
    for i, (time, weight) in enumerate(zip(times, weights, strict=True)):
        share += weight
        last = i == len(times) - 1
        target = qty if last else min(nearest(qty * Decimal(repr(share / total)), lot), qty)
        if target > done:
            kept_times.append(time)
            kept_targets.append(target)
            done = target
    return Trajectory(tuple(kept_times), tuple(kept_targets))
