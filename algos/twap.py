"""TWAP: equal shares in equal buckets of time, each sent at a random moment inside its own bucket.

Slice k = 0 .. N-1 is due at t0 + (k + u_k) tau with tau = T / N and u_k uniform in [0, TIME_SPREAD): random inside its
own bucket, so slices can never change their order, unlike a jitter of fixed width on a grid. What is random about sizes
is how far the cumulative lags: after slice k, C_k = (k + 1 - r_k) / N is done, r_k uniform in [0, SIZE_SPREAD), and the
last lags by nothing. So a slice is (1 + r_{k-1} - r_k) / N, and errors cannot add up as they would were sizes drawn one
by one: in slices, the plan is ahead of the straight line by at most 1 - r_k - u_k and behind it by at most u_k +
r_{k-1}, never more than one. The last slice is not delayed past its bucket's middle, which leaves it time to execute.
"""

from decimal import Decimal

import numpy as np

from algos.trajectory import Trajectory, along, rising

DEFAULT_SLICES = 10
DEFAULT_DURATION_S = 3_600
TIME_SPREAD = 0.5  # of a bucket
SIZE_SPREAD = 0.2  # of an equal share; with TIME_SPREAD at most 1, or the plan strays by more than a slice


def plan(*, start: int, end: int, qty: Decimal, lot: Decimal, slices: int, seed: int) -> Trajectory:
    """The curve of a TWAP over [start, end), ns; the same seed gives the same curve."""
    slices = min(slices, end - start)  # a bucket is a nanosecond wide, or more
    rng = np.random.Generator(np.random.PCG64(seed))
    tau = (end - start) / slices
    offsets = rng.uniform(0.0, TIME_SPREAD, slices)
    lags = np.concatenate(([0.0], rng.uniform(0.0, SIZE_SPREAD, slices - 1), [0.0]))
    weights = 1.0 + lags[:-1] - lags[1:]
    times = start + ((np.arange(slices) + offsets) * tau).astype(np.int64)
    return along(rising(times), weights, qty=qty, lot=lot)
