"""The limits of an account: every number that a check compares with, under one version; and which are in force."""

import hashlib
from decimal import Decimal
from math import isfinite
from typing import Any

import msgspec

from core.events import LimitsSet, ShadowSet
from core.units import NS_PER_MS, NS_PER_S

_MOST = {  # above them a limit limits nothing; all must be positive
    "quote_age_s_max": 86_400,  # s, one day
    "positions_max": 100_000,
    "orders_per_s": 100_000,
    "messages_per_s": 100_000,
    "parents_per_day": 10_000_000,
    "rejects_max": 10_000,
    "rejects_window_s": 86_400,  # s, one day
    "approval_ttl_ms": 3_600_000,  # ms, one hour
    "signal_horizon_s": 366 * 86_400,  # s, one year
}
_WINDOW_MAX = 86_400  # s
_LEVERAGE = 4  # of equity, what brokers lend within a day
_FRACTIONS = {  # and the most of each; all must be positive
    "position_max": 1,
    "sector_max": _LEVERAGE,
    "cluster_max": _LEVERAGE,
    "gross_max": _LEVERAGE,
    "net_max": _LEVERAGE,
    "es_max": 1,
    "participation_max": 1,
    "daily_loss_max": 1,
    "drawdown_max": 1,
    "collar": 1,
    "strength_fraction": 1,
    "strength_min": 1,
    "risk_budget": 1,
}

NOT_AT_THE_GATE = frozenset(  # no check compares with them: the sizer, the guard and the last check do
    {
        "daily_loss_max",
        "drawdown_max",
        "rejects_max",
        "rejects_window_s",
        "approval_ttl_ms",
        "strength_min",
        "strength_fraction",
        "strength_notional_min",
        "strength_notional_max",
        "risk_budget",
        "signal_horizon_s",
    }
)


class SymbolLimits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Per order, in one instrument. Unset is refused, not unlimited (R6); an operator's flatten goes without."""

    order_qty_max: Decimal | None = None  # shares
    order_notional_max: Decimal | None = None  # money, in the instrument's currency

    def __post_init__(self) -> None:
        for name in ("order_qty_max", "order_notional_max"):
            value: Decimal | None = getattr(self, name)
            if value is not None and not (value.is_finite() and value >= 0):
                raise ValueError(f"{name} = {value}: a number that is zero or more belongs here")


class StrategyLimits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one strategy may do (R14). Empty: all that there is."""

    symbols: tuple[str, ...] = ()
    venues: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()  # where its signals may come from, as `stream:execd:signals`; `*` at the end fits all


class Limits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The limits of one account. Fractions are of its equity."""

    position_max: Decimal = Decimal("0.08")  # R2, of equity, worst case with working orders
    sector_max: Decimal = Decimal("0.25")  # R3, gross of one sector, of equity, worst case with working orders
    cluster_max: Decimal = Decimal("0.2")  # R4, of what moves with a symbol, longs less shorts, likewise
    gross_max: Decimal = Decimal(1)  # R9, gross of all positions, of equity, worst case with working orders
    net_max: Decimal = Decimal(1)  # R9, long less short or short less long, likewise
    positions_max: int = 10  # R9, symbols that are held or on their way
    es_max: Decimal = Decimal("0.0315")  # R5, expected shortfall of one day at 97.5 %, of equity; plain x the regime's
    participation_max: Decimal = Decimal("0.1")  # R15, of the average daily volume in one parent; 1: not looked at
    daily_loss_max: Decimal = Decimal("0.02")  # R10, of the equity at the day's roll; beyond it only reducing goes
    drawdown_max: Decimal = Decimal("0.1")  # R11, of the high-water mark; beyond it nothing goes
    rejects_max: int = 3  # R17, orders that one venue rejects within the window; with that many only reducing goes
    rejects_window_s: float = 60.0  # R17
    collar: Decimal = Decimal("0.05")  # R7, of the reference price
    quote_age_s_max: float = 10.0  # R7
    orders_per_s: int = 50  # R12, children per venue
    messages_per_s: int = 100  # R12, children and cancels per venue; cancels are counted, never denied
    parents_per_day: int = 100  # R12
    duplicate_window_s: float = 1.0  # R13, a parent like the one before it is an error; 0: it is not
    approval_ttl_ms: int = 500  # an approval that has not left by then lapses
    close_margin_s: int = 5  # A13, nothing is sent so shortly before the close
    strength_min: float = 0.1  # S9
    strength_fraction: float = 0.95  # Z1, of the position limit
    strength_notional_min: Decimal = Decimal(100)  # Z2, money
    strength_notional_max: Decimal = Decimal(10_000)  # Z2, money
    risk_budget: float = 0.02  # Z1, daily volatility at which a strength is not scaled down
    signal_horizon_s: int = 7 * 86_400  # S7
    restricted: tuple[str, ...] = ()  # R14, symbols that nobody trades; an operator may still flatten them
    symbols_default: SymbolLimits = SymbolLimits()
    symbols: dict[str, SymbolLimits] = {}
    strategies: dict[str, StrategyLimits] = {}  # R14, once one is named here, those that are not may do nothing

    def __post_init__(self) -> None:
        for name, most in _FRACTIONS.items():
            value = getattr(self, name)
            if not (isfinite(value) and 0 < value <= most):  # a Decimal NaN does not compare, it raises
                raise ValueError(f"{name} = {value}: a fraction between 0 and {most} belongs here (percent?)")
        for name, most in _MOST.items():
            if not 0 < getattr(self, name) <= most:
                raise ValueError(f"{name} = {getattr(self, name)}: a positive number, {most:,} at most, belongs here")
        if not (isfinite(self.duplicate_window_s) and 0 <= self.duplicate_window_s <= _WINDOW_MAX):
            raise ValueError(f"duplicate_window_s = {self.duplicate_window_s}: 0 to {_WINDOW_MAX:,} s belong here")
        if self.close_margin_s < 0:
            raise ValueError(f"close_margin_s = {self.close_margin_s}: zero or more seconds belong here")
        bounds = self.strength_notional_min, self.strength_notional_max
        if not (all(map(isfinite, bounds)) and 0 <= bounds[0] <= bounds[1]):
            raise ValueError("strength_notional_min must lie between 0 and strength_notional_max")

    @property
    def quote_age_ns_max(self) -> int:
        """Bound on the age of a quote, ns."""
        return int(self.quote_age_s_max * NS_PER_S)

    @property
    def approval_ttl_ns(self) -> int:
        """How long an approval is good, ns."""
        return self.approval_ttl_ms * NS_PER_MS

    @property
    def close_margin_ns(self) -> int:
        """How long before the close the last order may leave, ns."""
        return self.close_margin_s * NS_PER_S

    @property
    def rejects_window_ns(self) -> int:
        """How long a venue's reject counts, ns."""
        return int(self.rejects_window_s * NS_PER_S)

    @property
    def duplicate_window_ns(self) -> int:
        """How long the same order is a duplicate, ns."""
        return int(self.duplicate_window_s * NS_PER_S)

    def may_speak(self, strategy: str, source: str) -> bool:
        """Whether signals of a strategy may come from there."""
        own = self.strategies.get(strategy)
        if own is None:
            return not self.strategies
        return not own.sources or any(_fits(source, pattern) for pattern in own.sources)

    def of(self, symbol: str) -> SymbolLimits:
        """The limits of one instrument."""
        return self.symbols.get(symbol, self.symbols_default)


def _fits(source: str, pattern: str) -> bool:
    return source.startswith(pattern[:-1]) if pattern.endswith("*") else source == pattern


def version_of(limits: Limits) -> str:
    """A name for exactly these numbers: it stands on every decision (R19)."""
    return hashlib.sha256(msgspec.json.encode(limits, order="deterministic")).hexdigest()[:12]


def plain(limits: Limits) -> dict[str, Any]:
    """The limits as JSON has them: what `LimitsSet` and `ShadowSet` carry."""
    found: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(limits, order="deterministic"))
    return found


class LimitsInForce:
    """The limits by which everybody judges now, and their version. Who needs a limit asks here each time.

    A verdict takes both in one step of the total order, and only an event changes them: no order is judged by the
    numbers of one version under the name of another. The shadow limits beside them are the gate's alone to ask.
    """

    __slots__ = ("current", "on_record", "shadow", "shadow_version", "version")

    def __init__(self, limits: Limits) -> None:
        self.current = limits
        self.version = version_of(limits)
        self.on_record = False  # whether an event has set them; before the first one they are an assumption
        self.shadow: Limits | None = None  # judge beside them, and bind nobody
        self.shadow_version = ""  # empty: there are none

    def take(self, event: LimitsSet) -> None:
        """These from now on, under the name that they had when they were set."""
        self._set(event.limits, event.version)

    def shade(self, event: ShadowSet) -> None:
        """These beside them from now on; none where it names none."""
        self._set_shadow(event.limits, event.version)

    def _set(self, limits: dict[str, Any], version: str) -> None:
        self.current, self.version, self.on_record = _known(limits), version, True

    def _set_shadow(self, limits: dict[str, Any], version: str) -> None:
        self.shadow, self.shadow_version = _known(limits) if version else None, version

    def dump(self) -> dict[str, object]:
        """State for a snapshot."""
        shadow = {} if self.shadow is None else plain(self.shadow)
        return {
            "version": self.version,
            "limits": plain(self.current),
            "shadow_version": self.shadow_version,
            "shadow": shadow,
        }

    def load(self, dumped: dict[str, object]) -> None:
        """State from a snapshot."""
        state = msgspec.convert(dumped, _Dump)
        self._set(state.limits, state.version)
        self._set_shadow(state.shadow, state.shadow_version)


def _known(limits: dict[str, Any]) -> Limits:
    """Limits from JSON; one that another version of the program had judges nothing in this one."""
    return msgspec.convert({name: value for name, value in limits.items() if name in Limits.__struct_fields__}, Limits)


class _Dump(msgspec.Struct):
    version: str
    limits: dict[str, Any]
    shadow_version: str
    shadow: dict[str, Any]
