"""How far positions may get with all that may still execute, and the sums over them, each kept by its differences.

Per symbol two signed values: the position if everything on the buy side executes and nothing on the sell side
(`longest`), and the other way round (`shortest`). A symbol's own reach is the larger of both in absolute value. All
sums are at marks, in the account's currency, and exact, so they need no re-summing.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import NamedTuple

from core.units import ZERO


class Span(NamedTuple):
    """The signed values that one position may reach; `shortest` is not above `longest`."""

    longest: Decimal
    shortest: Decimal
    worst: Decimal  # the larger of both without its sign

    def towards(self, direction: int) -> Decimal:
        """How far up, 1, or down, -1."""
        return self.longest if direction > 0 else -self.shortest


FLAT = Span(ZERO, ZERO, ZERO)


def span(longest: Decimal, shortest: Decimal) -> Span:
    """The span between two ends."""
    return Span(longest, shortest, max(longest, -shortest))


class Reach:
    """The spans of all symbols that are not flat, their gross sum by sector and in all, and both net sums."""

    __slots__ = ("gross", "longest", "sectors", "shortest", "spans")

    def __init__(self) -> None:
        self.spans: dict[str, Span] = {}
        self.sectors: dict[str, Decimal] = {}  # gross; a symbol without a sector is in that without a name
        self.gross = ZERO  # every symbol at its worse side
        self.longest = ZERO  # net, if all buys execute and no sale
        self.shortest = ZERO  # net, if all sales execute and no buy

    def of(self, symbol: str) -> Span:
        """Of one symbol."""
        return self.spans.get(symbol, FLAT)

    def ahead(self, signs: Mapping[str, int], direction: int, *, but: str = "") -> Decimal:
        """How far several symbols may get together, each up or down by its sign times `direction`."""
        total = ZERO
        for symbol in signs if len(signs) < len(self.spans) else self.spans:  # the shorter of both
            sign, span = signs.get(symbol), self.spans.get(symbol)
            if sign is not None and span is not None and symbol != but:
                total += span.towards(sign * direction)
        return total

    def put(self, symbol: str, sector: str, span: Span) -> None:
        """The span of a symbol is this from now on."""
        before = self.spans.get(symbol, FLAT)
        change = span.worst - before.worst
        self.gross += change
        self.sectors[sector] = self.sectors.get(sector, ZERO) + change
        self.longest += span.longest - before.longest
        self.shortest += span.shortest - before.shortest
        if span == FLAT:
            self.spans.pop(symbol, None)
        else:
            self.spans[symbol] = span
