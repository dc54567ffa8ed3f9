"""How far a VWAP strays from the day's VWAP on recorded one-minute bars, its profile from the 20 days before.

No impact of its own: in each row of the recording (a minute, or an auction) the plan trades its share at the mean of
open, high, low and close. `python -m tests.algos.test_vwap_tracking` prints the figures.
"""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from algos.profile import Profile, learn, shares
from algos.trajectory import Vector

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"
BARS = [SHARED / f"bars1m_2018_part{part}.parquet" for part in (1, 2)]
ROWS = 391  # 09:30 and 16:00 are the auctions
DAYS = 20
BASELINE = {"static": (5.2, 10.6, 38.1), "twap": (8.9, 15.1, 47.7)}  # bp: median, mean, 95 %
NOT_WORSE = 0.5  # bp, of the upper bound of the difference
Z_90 = 1.6449  # of a 90 % interval

pytestmark = pytest.mark.skipif(not BARS[0].is_file(), reason="recorded market data (../shared/data) is not here")


class Day(NamedTuple):
    """One stock on one day, and the days before it."""

    number: int
    volume: Vector
    price: Vector
    before: list[Vector]


def days() -> Iterator[Day]:
    """Every stock and day that has 20 days before it."""
    pq = pytest.importorskip("pyarrow.parquet", reason="pyarrow reads the recorded bars")
    tables = [pq.read_table(file).to_pydict() for file in BARS]
    dates = sorted({date for table in tables for date in table["date"]})
    volume, price = {}, {}
    for table in tables:
        for sym, date, hhmm, volume_, *ohlc in zip(
            *(table[name] for name in ("sym", "date", "hhmm", "volume", "open", "high", "low", "close")), strict=True
        ):
            key, row = (sym, date), hhmm // 100 * 60 + hhmm % 100 - 570
            if key not in volume:
                volume[key], price[key] = np.zeros(ROWS), np.full(ROWS, np.nan)
            volume[key][row], price[key][row] = volume_, sum(ohlc) / 4
    for sym in sorted({sym for sym, _ in volume}):
        traded = [(n, volume[sym, date], price[sym, date]) for n, date in enumerate(dates) if (sym, date) in volume]
        for k in range(DAYS, len(traded)):
            number, today, prices = traded[k]
            yield Day(number, today, _carried(prices), [before for _, before, _ in traded[k - DAYS : k]])


def _carried(prices: Vector) -> Vector:
    """Each gap at the price before it."""
    known = np.maximum.accumulate(np.where(np.isnan(prices), 0, np.arange(len(prices))))
    carried = prices[known]
    first: float = prices[~np.isnan(prices)][0]
    return np.where(np.isnan(carried), first, carried)


EDGES = np.arange(ROWS + 1)
SESSION = (0, ROWS)


def static(day: Day, profile: Profile) -> Vector:
    """What the profile alone trades in each row."""
    del day
    return np.diff(shares(profile, SESSION, since=0, edges=EDGES, seen=0.0), prepend=0.0)


def updated(day: Day, profile: Profile) -> Vector:
    """What is traded by whom the day's volume is told row by row; it never trades back."""
    seen = np.concatenate(([0.0], np.cumsum(day.volume)))
    wanted = [shares(profile, SESSION, since=0, edges=EDGES[k:], seen=float(seen[k]))[0] for k in range(ROWS)]
    return np.diff(np.maximum.accumulate(wanted), prepend=0.0)


def even(day: Day, profile: Profile) -> Vector:
    """TWAP."""
    del day, profile
    return np.full(ROWS, 1 / ROWS)


def errors(recorded: list[Day], plan: Callable[[Day, Profile], Vector]) -> Vector:
    """Distance of each day's price from its VWAP, bp."""
    found = []
    for day in recorded:
        traded = plan(day, learn([before.tolist() for before in day.before]))
        vwap = float(day.volume @ day.price) / float(day.volume.sum())
        found.append(abs(float(traded @ day.price) / vwap - 1) * 1e4)
    return np.array(found)


def difference(own: Vector, other: Vector, clusters: Vector) -> tuple[float, float]:
    """The mean of `own` less `other`, and the upper bound of its 90 % interval, days being clusters."""
    each = own - other
    mean = float(each.mean())
    sums = np.array([(each[clusters == cluster] - mean).sum() for cluster in np.unique(clusters)])
    error = float(np.sqrt(len(sums) / (len(sums) - 1) * (sums**2).sum())) / len(each)
    return mean, mean + Z_90 * error


def figures(found: Vector) -> tuple[float, float, float]:
    """Median, mean and 95 %."""
    return float(np.median(found)), float(found.mean()), float(np.percentile(found, 95))


@pytest.fixture(scope="module")
def recorded() -> list[Day]:
    return list(days())


def test_tracking_is_no_worse_than_the_baseline_and_better_once_the_day_is_seen(recorded: list[Day]) -> None:
    assert len(recorded) == 576
    by_profile, by_day, by_time = (errors(recorded, plan) for plan in (static, updated, even))
    clusters = np.array([day.number for day in recorded])
    assert figures(by_time) == pytest.approx(BASELINE["twap"], abs=0.3)  # it is the same recording
    assert figures(by_profile)[:2] == pytest.approx(BASELINE["static"][:2], abs=0.3)
    _, at_most = difference(by_day, by_profile, clusters)
    assert at_most < 0.0
    for median, mean, _ in map(figures, (by_profile, by_day)):
        assert median < BASELINE["static"][0] + NOT_WORSE
        assert mean < BASELINE["static"][1] + NOT_WORSE


if __name__ == "__main__":
    everything = list(days())
    numbers = np.array([day.number for day in everything])
    base = errors(everything, static)
    for name, plan in (("TWAP", even), ("VWAP, profile", static), ("VWAP, updated", updated)):
        own = errors(everything, plan)
        median, mean, most = figures(own)
        more, bound = difference(own, base, numbers)
        sys.stdout.write(
            f"{name:<14} {len(own)} stock-days: median {median:.2f}, mean {mean:.2f}, 95 % {most:.1f} bp; "
            f"against the profile {more:+.2f}, upper bound {bound:+.2f} bp\n"
        )
