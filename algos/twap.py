"""TWAP: equal shares in equal buckets of time, each sent at a random moment inside its own bucket.

Slice k of N is due at t0 + (k + u_k) tau with tau = T / N and u_k uniform in [0, spread): random inside its own
bucket, so slices can never change their order, unlike a jitter of fixed width on a grid. Sizes are (1 + e_k) / N, e_k
uniform in [-size, size], normalised. The last slice is not delayed past its bucket's middle, which leaves it time to
execute.
"""

from decimal import Decimal

import numpy as np

from algos.trajectory import Trajectory, along

DEFAULT_SLICES = 10
DEFAULT_DURATION_S = 3_600
TIME_SPREAD = 0.5  # of a bucket
SIZE_SPREAD = 0.2  # of an equal share


def plan(*, start: int, end: int, qty: Decimal, lot: Decimal, slices: int, seed: int) -> Trajectory:
    """The curve of a TWAP over [start, end), ns; the same seed gives the same curve."""
    slices = min(slices, end - start)  # a bucket is a nanosecond wide, or more
    rng = np.random.Generator(np.random.PCG64(seed))
    tau = (end - start) / slices
    offsets = rng.uniform(0.0, TIME_SPREAD, slices)
    weights = 1.0 + rng.uniform(-SIZE_SPREAD, SIZE_SPREAD, slices)
    times = [start + int((k + u) * tau) for k, u in enumerate(offsets.tolist())]
    return along(_rising(times), weights.tolist(), qty=qty, lot=lot)


def _rising(times: list[int]) -> list[int]:
    """Two buckets may share a nanosecond: keep the times strictly rising."""
    for i in range(1, len(times)):
        times[i] = max(times[i], times[i - 1] + 1)
    return times
