"""VWAP: follow the share of the day's volume that the market is expected to have done.

A static profile gives each bucket of the session its fraction of the day's volume; inside a bucket volume is taken as
even. With volume independent of volatility, the schedule that misses the market's VWAP least is the expected volume
curve itself (Konishi 2002). The default profile is the U of a US session in half hours.
"""

from collections.abc import Sequence
from decimal import Decimal
from itertools import pairwise

from algos.trajectory import Trajectory, along
from core.units import NS_PER_S

DEFAULT_PROFILE = (0.15, 0.12, *(0.5 / 9,) * 9, 0.12, 0.11)  # by half hour from 09:30
STEP_NS = 300 * NS_PER_S  # how finely the curve is cut where the user names no slices


def plan(
    *,
    start: int,
    end: int,
    qty: Decimal,
    lot: Decimal,
    slices: int | None,
    session: tuple[int, int],
    profile: Sequence[float] = DEFAULT_PROFILE,
) -> Trajectory:
    """The curve of a VWAP over [start, end), ns, in a session (open, close) that `profile` divides evenly."""
    count = min(slices, end - start) if slices is not None else max(1, (end - start) // STEP_NS)
    edges = [start + (end - start) * k // count for k in range(count + 1)]
    done = [cumulative(profile, session, edge) for edge in edges]
    weights = [after - before for before, after in pairwise(done)]
    if not sum(weights) > 0:  # a window outside the profile's session: even
        weights = [1.0] * count
    return along(edges[:-1], weights, qty=qty, lot=lot)


def cumulative(profile: Sequence[float], session: tuple[int, int], ts: int) -> float:
    """The fraction of the day's volume expected to be done by `ts`: 0 before the session, 1 after."""
    opened, closed = session
    position = min(max((ts - opened) / (closed - opened), 0.0), 1.0) * len(profile)
    whole = min(int(position), len(profile) - 1)
    return (sum(profile[:whole]) + profile[whole] * (position - whole)) / sum(profile)
