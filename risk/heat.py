"""Heat (R22): what positions lose from the mark to their stops, each and in sum, with all that may still execute.

A stop is one of a strategy and symbol, and so is what it guards: where strategies hold a symbol against each other, the
stop of one leaves the other's position, so that they count side by side. What a symbol's strategies may lose is the
heat of its position, what all may lose that of the account.

A position without a stop counts in whole, as does one whose stop is suspended: who took stops away would have room
otherwise. So does one whose stop is reached: it is on its way out, or nothing let it out, and more of it would cost
nothing otherwise. A stop counts for no more than that. A gap beyond the stop is not in it; that is what the expected
shortfall is for. Sums are exact and kept by their differences, as in `risk.reach`.
"""

from decimal import Decimal

from core.orders import Side
from core.units import ZERO
from risk.stops import Stop


def at_risk(stop: Stop | None, side: Side, mark: Decimal, price: Decimal | None) -> Decimal:
    """What one share that `side` opens loses until the stop fires, from the mark or a price where that is worse."""
    ends = (mark,) if price is None else (mark, price)
    guards = stop is not None and not stop.suspended and stop.order.side is side.opposite
    if stop is None or not guards or side.sign * (mark - stop.stop_px) <= 0:
        return max(ends)
    entry = max(ends) if side is Side.BUY else min(ends)
    return min(side.sign * (entry - stop.stop_px), max(ends))


class Heat:
    """Money at risk of every strategy's positions, and the sums by symbol and in all."""

    __slots__ = ("_own", "symbols", "total")

    def __init__(self) -> None:
        self._own: dict[tuple[str, str], Decimal] = {}  # by strategy and symbol
        self.symbols: dict[str, Decimal] = {}
        self.total = ZERO

    def of(self, strategy: str, symbol: str) -> Decimal:
        """Of one strategy's position."""
        return self._own.get((strategy, symbol), ZERO)

    def put(self, strategy: str, symbol: str, value: Decimal) -> None:
        """A strategy's position may lose so much from now on."""
        change = value - self._own.pop((strategy, symbol), ZERO)
        if value:
            self._own[strategy, symbol] = value
        of_symbol = self.symbols.pop(symbol, ZERO) + change
        if of_symbol:
            self.symbols[symbol] = of_symbol
        self.total += change
