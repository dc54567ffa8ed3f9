"""Implementation shortfall: fast at first and ever slower, as far as the risk of waiting is worth the cost of haste.

The curve is Almgren and Chriss's (`algos.optimal`): of it only `haste`, kappa times the horizon, is left to choose.
Either an urgency says it, or a risk aversion does, with the impact that the authors assume where nobody has measured
it: trading one per cent of a day's volume costs a spread, ten per cent move the price by one for good, and a trade of
any size costs half of one.

It is cut into equal quantities, not into equal times: in haste its slices lie close together at first, none of them is
a large part of the parent, and how many messages it takes does not depend on how long it lasts.

The optimum is consistent over time: solved again for what is left it goes on as it went, so a parent that fell behind
(a cap, a halt, a restart) is planned again from where it stands, and the optimum is kept for the rest.
"""

from decimal import Decimal

import numpy as np

from algos.optimal import LinearImpact, times_of
from algos.trajectory import Trajectory, along, rising
from core.signals import Urgency
from core.units import ZERO

DEFAULT_SLICES = 20
FINE = 1_000  # steps of a horizon in which a risk aversion is looked at: with more its haste is the same
HASTE = {Urgency.LOW: 1.0, Urgency.NORMAL: 2.0, Urgency.HIGH: 4.0, Urgency.IMMEDIATE: 8.0}
"""By urgency: in the first half of the time 56, 68, 87 and 98 % are done."""


def plan(  # of a parent, or of what is left of one
    *, start: int, end: int, qty: Decimal, lot: Decimal, slices: int, haste: float, done: Decimal = ZERO
) -> Trajectory:
    """The curve over [start, end), ns, from what is `done` to `qty`; no haste is the straight line."""
    count = min(slices, end - start)  # a nanosecond for each, or more
    begins = times_of(haste, 1.0, 1.0 - np.arange(count) / count)
    times = start + (begins * (end - start)).astype(np.int64)
    return along(rising(times), np.ones(count), qty=qty, lot=lot, done=done)


def haste_of(*, risk_aversion: float, days: float, adv: float, volatility: float, spread: float) -> float:
    """What a risk aversion (1 / money) makes of a window of so many days.

    `adv` in shares, `volatility` (of a day) and `spread` in money per share.
    """
    impact = LinearImpact(volatility=volatility, temporary=spread / (0.01 * adv), permanent=spread / (0.1 * adv))
    return impact.kappa(risk_aversion, days / FINE) * days
