"""Implementation shortfall: fast at first and ever slower, as far as the risk of waiting is worth the cost of haste.

The curve is Almgren and Chriss's (`algos.optimal`): of it only `haste`, kappa times the horizon, is left to choose.
Either an urgency says it, or a risk aversion does, with the impact that the authors assume where nobody has measured
it: trading one per cent of a day's volume costs a spread, ten per cent move the price by one for good, and a trade of
any size costs half of one.

The optimum is consistent over time: solved again for what is left it goes on as it went, so a parent that fell behind
(a cap, a halt, a restart) is planned again from where it stands, and the optimum is kept for the rest.
"""

from decimal import Decimal

import numpy as np

from algos.optimal import LinearImpact, remaining
from algos.trajectory import Trajectory, along
from core.signals import Urgency
from core.units import NS_PER_S, ZERO

STEP_NS = 60 * NS_PER_S  # how finely the curve is cut where the user names no slices
HASTE = {Urgency.LOW: 1.0, Urgency.NORMAL: 2.0, Urgency.HIGH: 4.0, Urgency.IMMEDIATE: 8.0}
"""By urgency: in the first half of the time 56, 68, 87 and 98 % are done."""


def plan(  # of a parent, or of what is left of one
    *, start: int, end: int, qty: Decimal, lot: Decimal, slices: int | None, haste: float, done: Decimal = ZERO
) -> Trajectory:
    """The curve over [start, end), ns, from what is `done` to `qty`; no haste is the straight line."""
    count = slices_of(start, end, slices)
    sold = -np.diff(remaining(haste, 1.0, np.linspace(0.0, 1.0, count + 1)))
    times = start + np.arange(count) * (end - start) // count
    return along(times, sold, qty=qty, lot=lot, done=done)


def slices_of(start: int, end: int, slices: int | None) -> int:
    """Into how many a window is cut."""
    return min(slices, end - start) if slices is not None else max(1, (end - start) // STEP_NS)


def passed(start: int, end: int, slices: int | None, now: int) -> int:
    """How many of them are over at `now`."""
    return max(0, (now - start) * slices_of(start, end, slices) // (end - start))


def haste_of(*, risk_aversion: float, days: float, slices: int, adv: float, volatility: float, spread: float) -> float:
    """What a risk aversion (1 / money) makes of a window of so many days, cut into slices.

    `adv` in shares, `volatility` (of a day) and `spread` in money per share.
    """
    impact = LinearImpact(volatility=volatility, temporary=spread / (0.01 * adv), permanent=spread / (0.1 * adv))
    return impact.kappa(risk_aversion, days / slices) * days
