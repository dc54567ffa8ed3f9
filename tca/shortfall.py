"""Implementation shortfall and its parts: what the order cost against the price at which it was decided.

With s = +1 / -1 the side, S the quantity wanted, q_j at p_j the fills, F = sum q_j, P_d the decision price, P_0 the
arrival mid, m_j the mid when fill j was booked, P_n the mid at the end, all costs positive when they hurt:

    shortfall   = s (sum q_j p_j - F P_d) + s (S - F)(P_n - P_d) + fees      paper less actual (Perold 1988)
    delay       = s S (P_0 - P_d)                                            Wagner: before the order was worked
    spread      = s sum q_j (p_j - m_j)                                      paid to whoever was there; negative: earned
    impact      = Y sigma sqrt(F / ADV) P_0 F                                a model's share, the square-root law
    timing      = s sum q_j (m_j - P_0) - impact                             where the market went beside that
    opportunity = s (S - F)(P_n - P_0)                                       what was not done

Each part is computed on its own rule, and they sum to the shortfall exactly: `impact` is rounded once and enters twice
with opposite signs, everything else is decimal.
"""

from collections.abc import Iterable
from decimal import Decimal

import msgspec

from core.impact import square_root
from core.instruments import Instrument
from core.orders import Side
from core.units import ZERO, exact

_CENT = Decimal("0.000001")  # grain of a modelled cost, money


class Fills:
    """Sums over a parent's executions, each with the mid at its booking."""

    __slots__ = ("drift", "fees", "notional", "qty", "spread")

    def __init__(self) -> None:
        self.qty = ZERO
        self.notional = ZERO  # sum q p
        self.spread = ZERO  # s sum q (p - m)
        self.drift = ZERO  # s sum q (m - P_0)
        self.fees = ZERO

    def add(self, *, side: Side, qty: Decimal, price: Decimal, mid: Decimal, arrival: Decimal, fee: Decimal) -> None:
        """Count one execution; a busted one with a negative quantity and fee."""
        self.qty += qty
        self.notional += qty * price
        self.spread += side.sign * qty * (price - mid)
        self.drift += side.sign * qty * (mid - arrival)
        self.fees += fee

    def dump(self) -> list[str]:
        """State for a snapshot."""
        return [str(getattr(self, name)) for name in self.__slots__]

    def load(self, dumped: Iterable[Decimal]) -> None:
        """State from a snapshot."""
        for name, value in zip(self.__slots__, dumped, strict=True):
            setattr(self, name, value)


class Parts(msgspec.Struct, frozen=True, kw_only=True):
    """Money, positive when it hurts."""

    delay: Decimal
    spread: Decimal
    impact: Decimal
    timing: Decimal
    opportunity: Decimal
    fees: Decimal
    shortfall: Decimal


def parts(
    fills: Fills,
    *,
    side: Side,
    order_qty: Decimal,
    decision: Decimal,
    arrival: Decimal,
    end: Decimal,
    instrument: Instrument,
) -> Parts:
    """The shortfall of a parent and what it is made of."""
    unit = side.sign * instrument.multiplier
    left = order_qty - fills.qty
    impact = modelled_impact(fills.qty, arrival, instrument)
    return Parts(
        delay=unit * order_qty * (arrival - decision),
        spread=fills.spread * instrument.multiplier,
        impact=impact,
        timing=fills.drift * instrument.multiplier - impact,
        opportunity=unit * left * (end - arrival),
        fees=fills.fees,
        shortfall=unit * (fills.notional - fills.qty * decision) + unit * left * (end - decision) + fills.fees,
    )


def modelled_impact(qty: Decimal, price: Decimal, instrument: Instrument) -> Decimal:
    """Money by the square-root law; zero where the instrument has no volatility or volume to compute it from."""
    if not qty or not instrument.adv or not instrument.volatility:
        return ZERO
    fraction = square_root(float(qty / instrument.adv), instrument.volatility)
    return exact(fraction * float(instrument.notional(qty, price)), _CENT)
