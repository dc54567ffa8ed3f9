"""The limits of an account: every number that a check compares with, under one version; and which are in force."""

import hashlib
from decimal import Decimal
from math import isfinite
from typing import Any

import msgspec

from core.events import LimitsSet, ShadowSet
from core.units import NS_PER_MS, NS_PER_S
from risk.strikes import Often

_MOST = {  # above them a limit limits nothing; all must be positive
    "quote_age_s_max": 86_400,  # s, one day
    "mark_age_s_max": 86_400,  # s, one day
    "mark_age_s_block": 86_400,  # s, one day
    "positions_max": 100_000,
    "orders_per_s": 100_000,
    "messages_per_s": 100_000,
    "parents_per_day": 10_000_000,
    "rejects_max": 10_000,
    "rejects_window_s": 86_400,  # s, one day
    "failures_max": 10_000,
    "failures_window_s": 86_400,  # s, one day
    "slips_max": 10_000,
    "slips_window_s": 86_400,  # s, one day
    "repeats_max": 10_000,
    "repeats_window_s": 86_400,  # s, one day
    "approval_ttl_ms": 3_600_000,  # ms, one hour
    "signal_horizon_s": 366 * 86_400,  # s, one year
}
WINDOW_MAX = 86_400  # s
_LEVERAGE = 4  # of equity, what brokers lend within a day
_FRACTIONS = {  # and the most of each; all must be positive
    "position_max": 1,
    "sector_max": _LEVERAGE,
    "cluster_max": _LEVERAGE,
    "gross_max": _LEVERAGE,
    "net_max": _LEVERAGE,
    "position_heat_max": 1,
    "heat_max": _LEVERAGE,
    "es_max": 1,
    "participation_max": 1,
    "daily_loss_max": 1,
    "drawdown_max": 1,
    "slippage_max": 1,
    "disagreement_max": 1,
    "mark_haircut": 1,
    "collar": 1,
    "strength_fraction": 1,
    "strength_min": 1,
    "risk_budget": 1,
}
_AMOUNTS = ("order_qty_max", "order_notional_max")


def _check_bounds(limits: msgspec.Struct) -> None:
    """Raise ValueError for a number that cannot be meant; what is unset is none."""
    for name in limits.__struct_fields__:
        value = getattr(limits, name)
        if value is None:
            continue
        if name in _FRACTIONS and not (isfinite(value) and 0 < value <= _FRACTIONS[name]):  # a Decimal NaN raises
            raise ValueError(f"{name} = {value}: a fraction between 0 and {_FRACTIONS[name]} belongs here (percent?)")
        if name in _MOST and not 0 < value <= _MOST[name]:
            raise ValueError(f"{name} = {value}: a positive number, {_MOST[name]:,} at most, belongs here")
        if name in _AMOUNTS and not (value.is_finite() and value >= 0):
            raise ValueError(f"{name} = {value}: a number that is zero or more belongs here")


NOT_AT_THE_GATE = frozenset(  # no check compares with them: the sizer, the guard, the gate itself and the last check do
    {
        "daily_loss_max",
        "drawdown_max",
        "disagreement_max",
        "rejects_max",
        "rejects_window_s",
        "failures_max",
        "failures_window_s",
        "slippage_max",
        "slips_max",
        "slips_window_s",
        "repeats_max",
        "repeats_window_s",
        "approval_ttl_ms",
        "strength_min",
        "strength_fraction",
        "strength_notional_min",
        "strength_notional_max",
        "risk_budget",
        "mark_age_s_max",
        "mark_haircut",
        "mark_age_s_block",
        "signal_horizon_s",
        "override",
    }
)


class SymbolLimits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Per order, in one instrument. Unset is refused, not unlimited (R6); an operator's flatten goes without."""

    order_qty_max: Decimal | None = None  # shares
    order_notional_max: Decimal | None = None  # money, in the instrument's currency

    def __post_init__(self) -> None:
        _check_bounds(self)


class VenueLimits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What goes to one venue. A rate that is unset is the account's."""

    order_notional_max: Decimal | None = None  # R6, money in one order, besides the symbol's; binds a flatten, too
    orders_per_s: int | None = None  # R12, in place of the account's
    messages_per_s: int | None = None  # R12, in place of the account's

    def __post_init__(self) -> None:
        _check_bounds(self)


class StrategyLimits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one strategy may do (R14). Empty: all that there is; unset: as much as the account, which always binds.

    An operator's flatten of what the strategy holds goes without.
    """

    symbols: tuple[str, ...] = ()
    venues: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()  # where its signals may come from, as `stream:execd:signals`; `*` at the end fits all
    position_max: Decimal | None = None  # R2, of equity, what it holds of one symbol itself, with its working orders
    order_notional_max: Decimal | None = None  # R6, money in one order, in the instrument's currency
    parents_per_day: int | None = None  # R12

    def __post_init__(self) -> None:
        _check_bounds(self)


class Limits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The limits of one account. Fractions are of its equity."""

    position_max: Decimal = Decimal("0.08")  # R2, of equity, worst case with working orders
    sector_max: Decimal = Decimal("0.25")  # R3, gross of one sector, of equity, worst case with working orders
    cluster_max: Decimal = Decimal("0.2")  # R4, of what moves with a symbol, longs less shorts, likewise
    gross_max: Decimal = Decimal(1)  # R9, gross of all positions, of equity, worst case with working orders
    net_max: Decimal = Decimal(1)  # R9, long less short or short less long, likewise
    positions_max: int = 10  # R9, symbols that are held or on their way
    position_heat_max: Decimal | None = None  # R22, from the marks to the stops, of one symbol; without a stop in whole
    heat_max: Decimal | None = None  # R22, of all positions, likewise; where stops are used 0.1, and 0.05 of one symbol
    es_max: Decimal = Decimal("0.0315")  # R5, expected shortfall of one day at 97.5 %, of equity; plain x the regime's
    participation_max: Decimal = Decimal("0.1")  # R15, of the average daily volume in one parent; 1: not looked at
    daily_loss_max: Decimal = Decimal("0.02")  # R10, of the equity at the day's roll; beyond it only reducing goes
    drawdown_max: Decimal = Decimal("0.1")  # R11, of the high-water mark; beyond it nothing goes
    disagreement_max: Decimal = Decimal("0.01")  # Z5, of our equity, between it and the broker's; then likewise
    mark_age_s_max: float = 60.0  # Z5, in its session; what is held at an older mark is taken to be worth less
    mark_haircut: Decimal = Decimal("0.02")  # Z5, of its value: how much less, long or short
    mark_age_s_block: float = 600.0  # Z5, likewise; beyond it strengths and targets open nothing
    rejects_max: int = 3  # R17, orders that one venue rejects within the window; with that many only reducing goes
    rejects_window_s: float = 60.0  # R17
    failures_max: int = 3  # R17, orders to one venue that were not sent or are in doubt, likewise
    failures_window_s: float = 60.0  # R17
    slippage_max: Decimal = Decimal("0.01")  # R17, of the quote at the approval; what executes farther beyond it slips
    slips_max: int = 3  # R17, orders that one venue executes with slippage within the window, likewise
    slips_window_s: float = 60.0  # R17
    collar: Decimal = Decimal("0.05")  # R7, of the reference price
    quote_age_s_max: float = 10.0  # R7
    orders_per_s: int = 50  # R12, children per venue; a tenth, one at least, is kept for what shrinks a position
    messages_per_s: int = 100  # R12, children and cancels per venue; cancels are counted, never denied
    parents_per_day: int = 100  # R12
    repeats_max: int = 20  # R12, parents of a strategy, symbol and side within the window; with that many it is stopped
    repeats_window_s: float = 60.0  # R12
    duplicate_window_s: float = 1.0  # R13, a parent like the one before it is an error; 0: it is not
    approval_ttl_ms: int = 500  # an approval that has not left by then lapses
    close_margin_s: int = 5  # A13, nothing is sent so shortly before the close
    strength_min: float = 0.1  # S9
    strength_fraction: float = 0.95  # Z1, of the position limit
    strength_notional_min: Decimal = Decimal(100)  # Z2, money
    strength_notional_max: Decimal = Decimal(10_000)  # Z2, money
    risk_budget: float = 0.02  # Z1, daily volatility at which a strength is not scaled down
    signal_horizon_s: int = 7 * 86_400  # S7
    override: bool = False  # R24, two supervisors may have one order let in that one check denies
    restricted: tuple[str, ...] = ()  # R14, symbols that nobody trades; an operator may still flatten them
    symbols_default: SymbolLimits = SymbolLimits()
    symbols: dict[str, SymbolLimits] = {}
    strategies: dict[str, StrategyLimits] = {}  # R14, once one is named here, those that are not may do nothing
    venues: dict[str, VenueLimits] = {}

    def __post_init__(self) -> None:
        _check_bounds(self)
        if not (isfinite(self.duplicate_window_s) and 0 <= self.duplicate_window_s <= WINDOW_MAX):
            raise ValueError(f"duplicate_window_s = {self.duplicate_window_s}: 0 to {WINDOW_MAX:,} s belong here")
        if self.mark_age_s_block < self.mark_age_s_max:
            raise ValueError(f"mark_age_s_block = {self.mark_age_s_block}: no less than mark_age_s_max belongs here")
        if self.close_margin_s < 0:
            raise ValueError(f"close_margin_s = {self.close_margin_s}: zero or more seconds belong here")
        bounds = self.strength_notional_min, self.strength_notional_max
        if not (all(map(isfinite, bounds)) and 0 <= bounds[0] <= bounds[1]):
            raise ValueError("strength_notional_min must lie between 0 and strength_notional_max")

    @property
    def looks_at_heat(self) -> bool:
        """Whether anything limits heat."""
        return (self.position_heat_max, self.heat_max) != (None, None)

    @property
    def quote_age_ns_max(self) -> int:
        """Bound on the age of a quote, ns."""
        return int(self.quote_age_s_max * NS_PER_S)

    @property
    def mark_age_ns_max(self) -> int:
        """Age from which on a mark is old, ns."""
        return int(self.mark_age_s_max * NS_PER_S)

    @property
    def mark_age_ns_block(self) -> int:
        """Age of a mark from which on nothing is sized up, ns."""
        return int(self.mark_age_s_block * NS_PER_S)

    @property
    def approval_ttl_ns(self) -> int:
        """How long an approval is good, ns."""
        return self.approval_ttl_ms * NS_PER_MS

    @property
    def close_margin_ns(self) -> int:
        """How long before the close the last order may leave, ns."""
        return self.close_margin_s * NS_PER_S

    @property
    def rejects(self) -> Often:
        """How often a venue may reject."""
        return Often(self.rejects_max, int(self.rejects_window_s * NS_PER_S))

    @property
    def failures(self) -> Often:
        """How often an order to a venue may fail."""
        return Often(self.failures_max, int(self.failures_window_s * NS_PER_S))

    @property
    def slips(self) -> Often:
        """How often a venue's executions may slip."""
        return Often(self.slips_max, int(self.slips_window_s * NS_PER_S))

    @property
    def repeats(self) -> Often:
        """How often a strategy may do the same."""
        return Often(self.repeats_max, int(self.repeats_window_s * NS_PER_S))

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

    def orders_per_s_at(self, venue: str) -> int:
        """Children per second of one venue."""
        own = self.venues.get(venue)
        return self.orders_per_s if own is None or own.orders_per_s is None else own.orders_per_s

    def messages_per_s_at(self, venue: str) -> int:
        """Children and cancels per second of one venue."""
        own = self.venues.get(venue)
        return self.messages_per_s if own is None or own.messages_per_s is None else own.messages_per_s

    def order_notional_max(self, symbol: str, venue: str, strategy: str | None) -> tuple[Decimal, str] | None:
        """The least money that anybody allows in one order, and whose limit that is; None where nobody says.

        `strategy` None: of a flatten, which no strategy's limit binds.
        """
        least, whose = self.of(symbol).order_notional_max, ""
        at, by = self.venues.get(venue), None if strategy is None else self.strategies.get(strategy)
        most = None if at is None else at.order_notional_max
        if most is not None and (least is None or most < least):
            least, whose = most, f" at {venue}"
        most = None if by is None else by.order_notional_max
        if most is not None and (least is None or most < least):
            least, whose = most, f" of {strategy}"
        return None if least is None else (least, whose)


def for_opening(per_s: int) -> int:
    """What opens may take of a rate: all but a tenth, one at least; a rate of one is not divided."""
    return per_s - max(per_s // 10, 1) if per_s > 1 else per_s


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
