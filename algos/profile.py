"""Volume profiles: how a symbol's volume spreads over its session, and what a day so far says of the rest of it.

A profile is the part of an average day's volume in each of equal spans of the session; inside a span volume is taken as
even. It is learned from the fractions of single days, so that a busy day counts no more than a quiet one.

What has traded so far tells how busy a day is. Of two opinions on the logarithm of the day's volume, that it is an
average day's and that what was seen is the part that the profile says, each counts by the inverse of its variance:
LEVEL squared for the first, NOISE (1 - p) / p for the second once a part p of the day should have been seen. Of the
values tried on one-minute bars of 26 US stocks (20 days of profile, 576 days) these lie in the middle: the variances
may be four times as large or small, and the tracking error moves by a twentieth.
"""

import math
from collections.abc import Sequence

import numpy as np

from algos.trajectory import Times, Vector

LEVEL = 0.35  # of the logarithm of a day's volume about its average
NOISE = 0.05  # of that of what half a day makes of the whole one
MAX_PARTS = 1_440  # a minute each, around the clock
ENDS = 10  # minutes at either end of a session, in which a day that was recorded in whole has volume
PART_MIN = 1e-9  # of a day: where less was to be expected by now, what was seen tells nothing of the rest


class ProfileError(ValueError):
    """No profile can be made of this; the message says why."""


class Profile:
    """`parts` of an average day's volume in equal spans of the session; `volume`, its shares, 0 where nobody knows."""

    __slots__ = ("_done", "_edges", "parts", "volume")

    def __init__(self, parts: Sequence[float], volume: float = 0.0) -> None:
        self.parts = tuple(parts)
        if not 1 <= len(self.parts) <= MAX_PARTS:
            raise ProfileError(f"{len(self.parts):,} parts: 1 to {MAX_PARTS:,} belong here")
        if not all(part >= 0 for part in self.parts) or not 0 < sum(self.parts) < math.inf:
            raise ProfileError("parts must be zero or more, finite in sum, and not all zero")
        if not (math.isfinite(volume) and volume >= 0):
            raise ProfileError(f"an average day of {volume} shares: zero or more belong here")
        self.volume = volume
        self._edges = np.linspace(0.0, 1.0, len(self.parts) + 1)
        self._done = np.concatenate(([0.0], np.cumsum(self.parts))) / sum(self.parts)

    def done(self, session: tuple[int, int], times: Times) -> Vector:
        """The part of the day's volume that is expected by each time (ns): 0 before the session, 1 after."""
        opened, closed = session
        found: Vector = np.interp((times - opened) / (closed - opened), self._edges, self._done)
        return found

    def day(self, seen: float, part: float) -> float:
        """The day's volume, in shares, once `seen` have traded where `part` of it was expected to; both above zero."""
        by_what_was_seen = seen / part
        if not self.volume or part >= 1.0:
            return by_what_was_seen
        before, now = 1 / LEVEL**2, part / (NOISE * (1.0 - part))
        level = (before * math.log(self.volume) + now * math.log(by_what_was_seen)) / (before + now)
        return math.exp(level)


# The U of a US session, by half hour from 09:30
DEFAULT = Profile((0.15, 0.12, *(0.5 / 9,) * 9, 0.12, 0.11))


def shares(profile: Profile, session: tuple[int, int], *, since: int, edges: Times, seen: float) -> Vector:
    """The part of the volume between `since` and the last edge that is expected by each edge but the first (N,).

    `edges` (N + 1,) rise from now on, ns; `seen` is what has traded from `since` to now, in shares. The best curve is
    this expectation: what strays is the price's next move times what is then done too much or too little (Konishi 2002;
    Bialkowski, Darolles and Le Fol 2008). Where nothing was seen the day is taken to be as expected: feeds of quotes
    tell no volume.
    """
    by_edge = profile.done(session, edges)
    part = float(by_edge[0] - profile.done(session, np.array([since], dtype=np.int64))[0])
    day, before = (profile.day(seen, part), seen) if seen > 0.0 and part > PART_MIN else (1.0, part)
    done: Vector = before + day * (by_edge[1:] - by_edge[0])
    if not done[-1] > 0.0:  # nothing is expected of the whole window: even, from its begin on
        done = (edges[1:] - since).astype(np.float64)
    part_done: Vector = done / done[-1]
    return part_done


def fault_of(minutes: Sequence[float]) -> str | None:
    """Why volumes by minute are no whole day's; None where nothing says so. An unfinished day would be all morning."""
    if not sum(minutes):
        return "without volume"
    if not sum(minutes[:ENDS]):
        return f"without volume in the first {ENDS} minutes (begun late?)"
    return None if sum(minutes[-ENDS:]) else f"without volume in the last {ENDS} minutes (unfinished?)"


def learn(days: Sequence[Sequence[float]]) -> Profile:
    """The profile of several days' volumes, each in the same equal spans; raises ProfileError.

    A day without volume says nothing and is left out; a span without volume counts as what it is.
    """
    traded = np.array([day for day in days if sum(day) > 0], dtype=np.float64)
    if not len(traded):
        raise ProfileError("none of the days has any volume")
    totals = traded.sum(axis=1)
    return Profile((traded / totals[:, None]).mean(axis=0).tolist(), float(totals.mean()))
