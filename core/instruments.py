"""Instruments: what can be traded, in which steps, on which venue and in which session; and what a venue takes."""

from collections.abc import Iterable, Iterator
from decimal import Decimal
from typing import Literal

import msgspec

from core.orders import OrdType, TimeInForce
from core.units import ceil_to


class Instrument(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Reference data of one symbol.

    `adv` is the average daily volume in shares, `volatility` the daily standard deviation of returns as a fraction;
    both are optional, as `shares_outstanding` is, and a model that needs an absent one says so instead of assuming it.
    """

    symbol: str
    venue: str = "paper"
    venues: tuple[str, ...] = ()  # where its children may go, venue among them, the preferred one first; none: there
    currency: str = "USD"
    tick: Decimal = Decimal("0.01")
    lot: Decimal = Decimal(1)
    multiplier: Decimal = Decimal(1)
    min_notional: Decimal = Decimal(0)
    sector: str = ""
    calendar: str = "XNYS"
    shortable: bool = False
    locate_qty: Decimal | None = None  # R21, shares that a locate reserves: no short goes beyond; none: none is needed
    short_sale_rule: Literal["none", "above_bid"] = "none"  # R21, above_bid: short sales at limits above the best bid
    adv: Decimal | None = None
    volatility: float | None = None
    shares_outstanding: Decimal | None = None
    venue_symbols: dict[str, str] = {}

    def __post_init__(self) -> None:
        for name in ("tick", "lot", "multiplier", "adv", "shares_outstanding"):
            value: Decimal | None = getattr(self, name)
            if value is not None and not (value.is_finite() and value > 0):
                raise ValueError(f"instrument {self.symbol}: {name} must be a positive number, got {value}")
        if self.locate_qty is not None and not (self.locate_qty.is_finite() and self.locate_qty >= 0):
            raise ValueError(f"instrument {self.symbol}: locate_qty must be zero or more, got {self.locate_qty}")
        if self.locate_qty is not None and not self.shortable:
            raise ValueError(f"instrument {self.symbol}: a locate_qty needs shortable = true")
        if not self.min_notional.is_finite() or self.min_notional < 0:
            raise ValueError(f"instrument {self.symbol}: min_notional must be zero or more, got {self.min_notional}")
        if self.venues and (self.venue not in self.venues or len(set(self.venues)) < len(self.venues)):
            raise ValueError(f"instrument {self.symbol}: venues must name each once, and {self.venue}, its venue")
        if not self.symbol:
            raise ValueError("an instrument needs a symbol")
        if self.volatility is not None and not 0 < self.volatility < 1:
            raise ValueError(
                f"instrument {self.symbol}: volatility is a daily fraction between 0 and 1, "
                f"got {self.volatility} (percent?)"
            )

    @property
    def places(self) -> tuple[str, ...]:
        """The venues where its children may go, the preferred one first."""
        return self.venues or (self.venue,)

    def least_qty(self, price: Decimal) -> Decimal:
        """The fewest shares that are worth `min_notional` at a price, in whole lots; zero where any lot is."""
        least = ceil_to(self.min_notional / (price * self.multiplier), self.lot)
        return least if least > self.lot else Decimal(0)

    def notional(self, qty: Decimal, price: Decimal) -> Decimal:
        """Money value of `qty` at `price`, in the instrument's currency."""
        return qty * price * self.multiplier


class VenueAbility(msgspec.Struct, frozen=True, kw_only=True):
    """Which orders a venue takes, the gate refuses any other (R0); what one costs there; whether it prints ours.

    A fee is money per share and bps of the notional, negative for a rebate; `maker_fee_bps` of what rested, None: as
    for what took. `depth_share` is the part of the sizes that the market displays which is displayed there.
    """

    ord_types: frozenset[OrdType] = frozenset(OrdType)
    times_in_force: frozenset[TimeInForce] = frozenset(TimeInForce)
    fee_per_share: Decimal = Decimal(0)
    fee_bps: Decimal = Decimal(0)
    maker_fee_bps: Decimal | None = None
    depth_share: Decimal = Decimal(1)
    prints_ours: bool = False  # A6, our executions are on the tape of the market data that we hear


class Instruments:
    """The instruments of a run by symbol; asking for an unknown one gives None, never a default."""

    __slots__ = ("_by_symbol",)

    def __init__(self, instruments: Iterable[Instrument]) -> None:
        self._by_symbol: dict[str, Instrument] = {}
        for instrument in instruments:
            if instrument.symbol in self._by_symbol:
                raise ValueError(f"instrument {instrument.symbol} is defined twice: remove one definition")
            self._by_symbol[instrument.symbol] = instrument

    def get(self, symbol: str) -> Instrument | None:
        """The instrument, or None where the symbol is unknown."""
        return self._by_symbol.get(symbol)

    def __getitem__(self, symbol: str) -> Instrument:
        return self._by_symbol[symbol]

    def __contains__(self, symbol: str) -> bool:
        return symbol in self._by_symbol

    def __iter__(self) -> Iterator[Instrument]:
        return iter(self._by_symbol.values())

    def __len__(self) -> int:
        return len(self._by_symbol)
