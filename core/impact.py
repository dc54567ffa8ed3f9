"""What an order is expected to cost before it trades: models with one interface, each with its origin.

A model is a function from a `Prospect` to an `Estimate`, and a line in `MODELS`. Costs are in basis points of the mid
at the arrival, positive when they hurt, for either side alike. With Q the quantity, V the average daily volume, sigma
the daily volatility, Theta the shares outstanding and T the part of a trading day that the order lasts:

    sqrt     Y sigma sqrt(Q / V)                                  the square-root law, whatever T is
    almgren  I / 2 + K, where I = gamma sigma (Q / V) (Theta / V)^(1/4)  and  K = eta sigma (Q / (V T))^(3/5)
    linear   min(c sqrt(Q / V), 100 bps): knows no sigma, and is flat from one percent of a day's volume on

The square-root law has the half spread on top: all of it where the order crosses, half of it where it rests first and
crosses later. Almgren, Thum, Hauptmann and Li (2005) fitted what orders paid against the mid before them, with whatever
spread was in it: no other is added. The linear model brings a spread of its own; it is kept for those who compare with
numbers that were made by it.

The interval is where the cost falls in 95 of 100 cases if both are normal and independent: the errors of a model's own
parameters as it states them (none, for the linear one), and the timing risk sigma sqrt(T / 3), which is what the mid
may do while an order is worked evenly. For one order the second is nearly all of it.

T is by the clock, not by volume. What a model lacks it says (`NoEstimateError`); nothing is assumed in its place.
"""

import math
from collections.abc import Callable
from decimal import Decimal

import msgspec

from core.calendar import Session
from core.instruments import Instrument
from core.units import NS_PER_S, exact

LEVEL = 95  # percent of cases that fall into the interval
_SIGMAS = 1.959963984540054  # of the normal distribution, to either side
_BPS = 10_000.0
GRAIN = Decimal("0.0001")  # bps, of an estimate on record

AT_ONCE_NS = 60 * NS_PER_S  # what an order that crosses at once lasts at least: until the book has filled again
RESTING = 0.5  # of the half spread, paid by who rests first and crosses later

COEFFICIENT = 1.0  # Y of the square-root law
COEFFICIENT_ERROR = 0.25  # with it 95 of 100 lie between 0.5 and 1.5, as in the literature

GAMMA, GAMMA_ERROR = 0.314, 0.041  # Almgren et al. 2005, table 3
ETA, ETA_ERROR = 0.142, 0.0062
BETA, BETA_ERROR = 0.6, 0.038
DELTA = 0.25  # of Theta / V, as the paper fixes it

BASE_SPREAD_BPS = 5.0  # the linear model's own numbers
LINEAR_COEFFICIENT = 0.1
LINEAR_BPS_MAX = 100.0
URGENCY = 1.5  # times the spread, for who crosses
DAYS_A_YEAR = 252


class NoEstimateError(ValueError):
    """A model lacks a number; the message says which, and where it is set."""


class Prospect(msgspec.Struct, frozen=True, kw_only=True):
    """An order before it trades, without its side: quantities in shares. None: not known.

    Raises ValueError for what is no number of its kind.
    """

    qty: float
    adv: float | None
    volatility: float | None  # daily, a fraction
    half_spread_bps: float | None
    lasting: float  # part of a trading day in which it is worked
    market: bool  # it crosses with all of it
    shares_outstanding: float | None = None

    def __post_init__(self) -> None:
        for name in ("qty", "adv", "shares_outstanding"):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value > 0):
                raise ValueError(f"{name} = {value}: a positive number of shares belongs here, or None")
        for name in ("volatility", "half_spread_bps"):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value >= 0):
                raise ValueError(f"{name} = {value}: zero or more belongs here, or None")
        if not 0 < self.lasting <= 1:
            raise ValueError(f"lasting = {self.lasting}: a part of a day between 0 and 1 belongs here")

    def known(self, name: str) -> float:
        """One of the numbers that may not be known; raises NoEstimateError where it is not."""
        value: float | None = getattr(self, name)
        if value is None:
            raise NoEstimateError(f"no estimate: {_LACKS[name]}")
        return value

    @property
    def share(self) -> float:
        """The quantity as a part of a day's volume; raises NoEstimateError."""
        return self.qty / self.known("adv")


_LACKS = {
    "adv": "adv is not set for the instrument",
    "volatility": "volatility is not set for the instrument",
    "half_spread_bps": "the market is not two-sided",
    "shares_outstanding": "shares_outstanding is not set for the instrument",
}


class Estimate(msgspec.Struct, frozen=True, kw_only=True):
    """A cost by its parts, bps; `risk_bps` and `error_bps` are standard deviations around it."""

    spread_bps: float
    impact_bps: float
    risk_bps: float  # of the market while the order is worked
    error_bps: float  # of the model's parameters

    @property
    def cost_bps(self) -> float:
        """What is expected."""
        return self.spread_bps + self.impact_bps

    @property
    def low_bps(self) -> float:
        """The interval's lower end."""
        return self.cost_bps - _SIGMAS * math.hypot(self.risk_bps, self.error_bps)

    @property
    def high_bps(self) -> float:
        """The interval's upper end."""
        return self.cost_bps + _SIGMAS * math.hypot(self.risk_bps, self.error_bps)


Model = Callable[[Prospect], Estimate]


# The laws -------------------------------------------------------------------------------------------------------------


def square_root(share: float, volatility: float) -> float:
    """The square-root law: a fraction of the price, for `share` of a day's volume."""
    return COEFFICIENT * volatility * math.sqrt(share)


def permanent(share: float, turnover: float, volatility: float) -> float:
    """I of Almgren et al., a fraction of the price; `turnover` is Theta / V, in days."""
    return GAMMA * volatility * share * math.pow(turnover, DELTA)


def temporary(rate: float, volatility: float) -> float:
    """K of Almgren et al., a fraction of the price; `rate` is Q / (V T)."""
    return ETA * volatility * math.pow(rate, BETA)


# The models -----------------------------------------------------------------------------------------------------------


def by_square_root(order: Prospect) -> Estimate:
    """The square-root law and the quoted spread."""
    volatility = order.known("volatility")
    impact = square_root(order.share, volatility) * _BPS
    return Estimate(
        spread_bps=order.known("half_spread_bps") * (1.0 if order.market else RESTING),
        impact_bps=impact,
        risk_bps=_timing_risk(order, volatility),
        error_bps=impact * COEFFICIENT_ERROR / COEFFICIENT,
    )


def by_almgren(order: Prospect) -> Estimate:
    """Almgren, Thum, Hauptmann and Li 2005; needs shares_outstanding."""
    volatility, share = order.known("volatility"), order.share
    turnover = order.known("shares_outstanding") / order.known("adv")
    rate = share / order.lasting
    half, fleeting = permanent(share, turnover, volatility) / 2 * _BPS, temporary(rate, volatility) * _BPS
    errors = (half * GAMMA_ERROR / GAMMA, fleeting * ETA_ERROR / ETA, fleeting * math.log(rate) * BETA_ERROR)
    return Estimate(
        spread_bps=0.0,
        impact_bps=half + fleeting,
        risk_bps=_timing_risk(order, volatility),
        error_bps=math.hypot(*errors),
    )


def by_line(order: Prospect) -> Estimate:
    """A spread of 5 bps that grows with volatility and haste, and an impact without volatility; for comparison."""
    volatility = order.known("volatility")
    annual = volatility * math.sqrt(DAYS_A_YEAR)
    spread = BASE_SPREAD_BPS * (1 + 2 * annual)
    haste = spread * (URGENCY - 1) if order.market else 0.0
    return Estimate(
        spread_bps=spread + haste + spread * annual,
        impact_bps=min(LINEAR_COEFFICIENT * math.sqrt(order.share) * _BPS, LINEAR_BPS_MAX),
        risk_bps=_timing_risk(order, volatility),
        error_bps=0.0,
    )


def _timing_risk(order: Prospect, volatility: float) -> float:
    return volatility * math.sqrt(order.lasting / 3) * _BPS


DEFAULT_MODEL = "sqrt"
MODELS: dict[str, Model] = {DEFAULT_MODEL: by_square_root, "almgren": by_almgren, "linear": by_line}


# From the books to a model, and back ----------------------------------------------------------------------------------


def prospect(  # noqa: PLR0917 - one for each thing that is known
    instrument: Instrument,
    qty: Decimal,
    bid: Decimal | None,
    ask: Decimal | None,
    session: Session,
    lasting_ns: int,
    *,
    market: bool,
) -> Prospect:
    """An order as models see it: `lasting_ns` of a session, in the market of `bid` and `ask`."""
    day = session.close - session.open
    half_spread = None
    if bid is not None and ask is not None and 0 < bid <= ask:
        half_spread = float((ask - bid) / (ask + bid)) * _BPS
    return Prospect(
        qty=float(qty),
        adv=_float(instrument.adv),
        volatility=instrument.volatility,
        half_spread_bps=half_spread,
        lasting=min(max(lasting_ns, AT_ONCE_NS) / day, 1.0),
        market=market,
        shares_outstanding=_float(instrument.shares_outstanding),
    )


def _float(value: Decimal | None) -> float | None:
    return None if value is None else float(value)


def recorded(bps: float) -> Decimal:
    """Basis points of a model as events keep them."""
    return exact(bps, GRAIN)
