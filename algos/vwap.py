"""VWAP: follow the share of the window's volume that the market is expected to have done.

With volume independent of volatility, the schedule that misses the market's VWAP least is the expected volume curve
itself (Konishi 2002): at first the profile's, then what the day so far makes of it.
"""

from decimal import Decimal

import numpy as np

from algos.profile import DEFAULT, Profile, shares
from algos.trajectory import Times, Trajectory, along
from core.units import NS_PER_S, ZERO

STEP_NS = 300 * NS_PER_S  # how finely the curve is cut where the user names no slices


def plan(
    *,
    start: int,
    end: int,
    qty: Decimal,
    lot: Decimal,
    slices: int | None,
    session: tuple[int, int],
    profile: Profile = DEFAULT,
) -> Trajectory:
    """The curve of a VWAP over [start, end), ns, in a session (open, close) that `profile` divides evenly."""
    edges = edges_of(start, end, slices)
    done = shares(profile, session, since=start, edges=edges, seen=0.0)
    return along(edges[:-1], np.diff(done, prepend=0.0), qty=qty, lot=lot)


def edges_of(start: int, end: int, slices: int | None) -> Times:
    """Where a window is cut (N + 1,), ns."""
    count = min(slices, end - start) if slices is not None else max(1, (end - start) // STEP_NS)
    return np.array([start + (end - start) * k // count for k in range(count + 1)], dtype=np.int64)


def again(
    *,
    start: int,
    end: int,
    now: int,
    seen: float,
    qty: Decimal,
    lot: Decimal,
    slices: int | None,
    session: tuple[int, int],
    profile: Profile,
    done: Decimal = ZERO,
) -> Trajectory | None:
    """The rest of the curve from the last edge up to `now`, once `seen` shares have traded since `start`.

    It is of what was not `done` at `start`.
    """
    edges = edges_of(start, end, slices)
    rest = edges[np.searchsorted(edges, now, side="right") - 1 :]
    if len(rest) < 2 or now < start:  # noqa: PLR2004 - from where, and to where
        return None
    expected = shares(profile, session, since=start, edges=rest, seen=seen)
    return along(rest[:-1], np.diff(expected, prepend=0.0), qty=qty, lot=lot, done=done)
