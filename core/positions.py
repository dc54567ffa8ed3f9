"""Positions, cash and profit from fills: average cost, by strategy and symbol; the account is the sum.

Signed quantity, positive long. Realised profit is booked when a fill shrinks or crosses a position; fees are kept
beside it, not inside prices. Cash falls by what is bought, rises by what is sold, falls by fees, and moves by what is
paid in or out. Beside that it is known what lies where: a venue keeps what was bought there until it is sold there.
"""

from collections.abc import Iterator
from decimal import Decimal

import msgspec

from core.events import AccountOpened, CashMoved, FillBooked, FillBusted, PositionAdjusted
from core.units import ZERO


class Position:
    """One strategy's position in one symbol."""

    __slots__ = ("avg_px", "fees", "multiplier", "qty", "realized_pnl")

    def __init__(self, multiplier: Decimal) -> None:
        self.qty = ZERO
        self.avg_px = ZERO
        self.realized_pnl = ZERO
        self.fees = ZERO
        self.multiplier = multiplier

    def trade(self, signed_qty: Decimal, price: Decimal) -> None:
        """Book `signed_qty` (positive: bought) at `price`."""
        held = self.qty
        after = held + signed_qty
        if held * signed_qty >= 0:  # grows, or starts from nothing
            self.avg_px = (held * self.avg_px + signed_qty * price) / after if after else ZERO
        else:
            closed = -signed_qty if abs(signed_qty) <= abs(held) else held
            self.realized_pnl += closed * (price - self.avg_px) * self.multiplier
            if after * held <= 0:  # closed, or crossed to the other side at this price
                self.avg_px = price if after else ZERO
        self.qty = after

    def unrealized_pnl(self, mark: Decimal) -> Decimal:
        """Profit if the position were closed at `mark`, before fees."""
        return self.qty * (mark - self.avg_px) * self.multiplier


class Book:
    """All positions and the cash of an account: a fold over fills, and what happens to cash and shares besides."""

    __slots__ = ("_at", "_by_key", "_by_symbol", "cash", "currency")

    def __init__(self) -> None:
        self.cash = ZERO
        self.currency = "USD"
        self._by_key: dict[tuple[str, str], Position] = {}
        self._by_symbol: dict[str, Decimal] = {}
        self._at: dict[str, dict[str, Decimal]] = {}  # by venue and symbol

    def open(self, event: AccountOpened) -> None:
        """Start from this cash."""
        self.cash = event.cash
        self.currency = event.currency

    def move(self, event: CashMoved) -> None:
        """Cash is paid in, or out."""
        self.cash += event.amount

    def fill(self, event: FillBooked | FillBusted) -> None:
        """Book an execution; a busted one is booked backwards."""
        sign = event.side.sign if type(event) is FillBooked else -event.side.sign
        fee = event.fee if type(event) is FillBooked else -event.fee
        key = (event.strategy, event.symbol)
        position = self._by_key.get(key)
        if position is None:
            position = self._by_key[key] = Position(event.multiplier)
        signed = sign * event.last_qty
        position.trade(signed, event.last_px)
        position.fees += fee
        self.cash -= signed * event.last_px * event.multiplier + fee
        self._by_symbol[event.symbol] = self._by_symbol.get(event.symbol, ZERO) + signed
        here = self._at.setdefault(event.venue, {})
        here[event.symbol] = here.get(event.symbol, ZERO) + signed

    def adjust(self, event: PositionAdjusted) -> None:
        """Shares have become others: what they have cost, and what they have gained, is as it was."""
        numerator, denominator = event.numerator, event.denominator
        for (_, symbol), position in self._by_key.items():
            if symbol == event.symbol:
                position.qty = position.qty * numerator / denominator
                position.avg_px = position.avg_px * denominator / numerator
        self._by_symbol[event.symbol] = self.qty(event.symbol) * numerator / denominator
        for here in self._at.values():
            if event.symbol in here:
                here[event.symbol] = here[event.symbol] * numerator / denominator

    def qty(self, symbol: str) -> Decimal:
        """The account's signed quantity over all strategies."""
        return self._by_symbol.get(symbol, ZERO)

    def qty_at(self, venue: str, symbol: str) -> Decimal:
        """What of it lies at one venue, signed."""
        return self._at.get(venue, {}).get(symbol, ZERO)

    def at(self, venue: str) -> dict[str, Decimal]:
        """What lies at one venue: signed quantities that are not zero, by symbol."""
        return {symbol: qty for symbol, qty in self._at.get(venue, {}).items() if qty}

    def opposed(self) -> dict[str, dict[str, Decimal]]:
        """What is long at one venue and short at another: signed quantities by symbol and venue."""
        lies = {
            symbol: {venue: here[symbol] for venue, here in self._at.items() if here.get(symbol)}
            for symbol in self._by_symbol
        }
        return {symbol: here for symbol, here in lies.items() if here and min(here.values()) < 0 < max(here.values())}

    def venues(self) -> list[str]:
        """Where anything was ever traded."""
        return list(self._at)

    def position(self, strategy: str, symbol: str) -> Position | None:
        """One strategy's position, None before its first fill."""
        return self._by_key.get((strategy, symbol))

    def symbols(self) -> Iterator[tuple[str, Decimal]]:
        """Symbols ever traded and their signed quantity."""
        return iter(self._by_symbol.items())

    def positions(self) -> Iterator[tuple[str, str, Position]]:
        """(strategy, symbol, position) of every position ever opened."""
        return ((strategy, symbol, position) for (strategy, symbol), position in self._by_key.items())

    def dump(self) -> dict[str, object]:
        """State for a snapshot."""
        rows = [
            [strategy, symbol, p.qty, p.avg_px, p.realized_pnl, p.fees, p.multiplier]
            for strategy, symbol, p in self.positions()
        ]
        at = [[venue, symbol, qty] for venue, here in self._at.items() for symbol, qty in here.items()]
        return {"cash": self.cash, "currency": self.currency, "positions": rows, "at": at}

    def load(self, dumped: dict[str, object]) -> None:
        """State from a snapshot."""
        state = msgspec.convert(dumped, _Dump)
        self.cash, self.currency = state.cash, state.currency
        self._by_key.clear()
        self._by_symbol.clear()
        for strategy, symbol, qty, avg_px, realized_pnl, fees, multiplier in state.positions:
            position = self._by_key[strategy, symbol] = Position(multiplier)
            position.qty, position.avg_px = qty, avg_px
            position.realized_pnl, position.fees = realized_pnl, fees
            self._by_symbol[symbol] = self._by_symbol.get(symbol, ZERO) + qty
        self._at.clear()
        for venue, symbol, qty in state.at:
            self._at.setdefault(venue, {})[symbol] = qty


class _Dump(msgspec.Struct):
    cash: Decimal
    currency: str
    positions: list[tuple[str, str, Decimal, Decimal, Decimal, Decimal, Decimal]]
    at: list[tuple[str, str, Decimal]]
