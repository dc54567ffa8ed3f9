"""The router chooses the algorithm of a parent whose signal leaves it open (`AUTO`), before the gate looks at it.

Two policies. `size` goes by urgency, money and time of day:

    urgency IMMEDIATE                    MARKET
    urgency LOW, unless IOC or FOK       LIMIT, at its own price or at the touch of its side: it may never trade
    under `market_below`                 MARKET
    over `twap_up_to`                    VWAP
    between, at the session's edges      VWAP: volume is not even there
    between, at midday                   TWAP

`cost` takes the cheapest of `CANDIDATES` by the pre-trade estimate: the expected cost, or for urgency HIGH the upper
end of its interval, which has the risk of waiting in it; IMMEDIATE is MARKET there, too. A resting limit is no
candidate: what it costs where it does not trade is in no estimate. Where nothing can be estimated the size decides,
and the reason says so.

A MARKET that is chosen here has a limit price `tolerance_bps` beyond the touch. What a signal says besides stands: its
price, where that is stricter, its window, its slices. Either policy records every candidate with its estimate.
"""

from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from typing import Literal

import msgspec

from algos import pricing, twap
from algos.planning import CLOSE_MARGIN_NS
from core.calendar import CALENDARS, Phase, Session
from core.events import Alternative, Event, MarketData, ParentOrder, ParentRouted
from core.impact import DEFAULT_MODEL, MODELS, NoEstimateError, prospect, recorded
from core.instruments import Instrument, Instruments
from core.orders import TimeInForce
from core.signals import MAX_TOLERANCE_BPS, Algo, Instruction, Urgency
from core.units import NS_PER_S

EDGE_MIN_MAX = 720  # minutes


class RouterSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[router] - which algorithm a signal gets that asks for AUTO. Money is in the instrument's currency."""

    policy: Literal["size", "cost"] = "size"
    market_below: Decimal = Decimal(10_000)  # size: money, under it MARKET
    twap_up_to: Decimal = Decimal(100_000)  # size: money, over it VWAP
    edge_min: int = 30  # size: minutes after the open and before the close that favour VWAP; a half day has them too
    tolerance_bps: int = 50  # how far beyond the touch of its choice a MARKET may trade

    def __post_init__(self) -> None:
        bounds = self.market_below, self.twap_up_to
        if not (all(each.is_finite() for each in bounds) and 0 <= bounds[0] <= bounds[1]):
            raise ValueError("market_below must lie between 0 and twap_up_to")
        if not 0 <= self.edge_min <= EDGE_MIN_MAX:
            raise ValueError(f"edge_min = {self.edge_min}: 0 to {EDGE_MIN_MAX} minutes belong here")
        if not 0 < self.tolerance_bps <= MAX_TOLERANCE_BPS:
            raise ValueError(f"tolerance_bps = {self.tolerance_bps}: 1 to {MAX_TOLERANCE_BPS:,} bps belong here")


class Span(msgspec.Struct, frozen=True):
    """When a parent may be worked, start <= time < end, ns, inside one session; `asked`: its signal names the end."""

    start: int
    end: int
    session: Session
    asked: bool


# Candidates -----------------------------------------------------------------------------------------------------------


def at_once(_: Span) -> int:
    """As long as it takes to cross."""
    return 0


def an_hour(span: Span) -> int:
    """TWAP's own window, where the signal names none."""
    whole = span.end - span.start
    return whole if span.asked else min(whole, twap.DEFAULT_DURATION_S * NS_PER_S)


def to_the_end(span: Span) -> int:
    """All the time that there is."""
    return span.end - span.start


CANDIDATES: Mapping[Algo, Callable[[Span], int]] = {
    Algo.MARKET: at_once,
    Algo.TWAP: an_hour,
    Algo.VWAP: to_the_end,
}
"""What may be chosen for its cost, and how long each works a parent, ns. Of two that cost the same the first counts."""


# Policies -------------------------------------------------------------------------------------------------------------


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """What a policy looks at."""

    order: ParentOrder
    settings: RouterSettings
    notional: Decimal | None  # None: there is no price
    resting_px: Decimal | None  # of a LIMIT; None: there is none to rest at
    phase: Phase | None  # in which it begins; None: it cannot
    model: str
    alternatives: tuple[Alternative, ...]


Choice = tuple[Algo, str]
"""An algorithm and why."""


def by_size(case: Case) -> Choice:
    """Urgency, then money, then the time of day."""
    urgency, settings, notional = case.order.how.urgency, case.settings, case.notional
    if urgency is Urgency.IMMEDIATE:
        return Algo.MARKET, "urgency IMMEDIATE"
    if urgency is Urgency.LOW and case.resting_px is not None:
        return Algo.LIMIT, "urgency LOW"
    if notional is None:
        return Algo.TWAP, "there is no price: what it is worth is not known"
    worth = f"worth {notional:,.2f}"
    if notional < settings.market_below:
        return Algo.MARKET, f"{worth}, under {settings.market_below:,f}"
    if notional > settings.twap_up_to:
        return Algo.VWAP, f"{worth}, over {settings.twap_up_to:,f}"
    if case.phase is None:
        return Algo.TWAP, f"{worth}, with no session to work in"
    return Algo.TWAP if case.phase is Phase.MIDDAY else Algo.VWAP, f"{worth}, {case.phase}"


def by_cost(case: Case) -> Choice:
    """The cheapest estimate; by size where there is none."""
    if case.order.how.urgency is Urgency.IMMEDIATE:
        return Algo.MARKET, "urgency IMMEDIATE"
    costs = [(_compared(case, each), each) for each in case.alternatives]
    known = [(cost, each.algo) for cost, each in costs if cost is not None]
    if not known:
        algo, why = by_size(case)
        return algo, f"{case.alternatives[0].text}; by size: {why}"
    cost, algo = min(known, key=lambda pair: pair[0])
    what = "at the upper end of its interval (urgency HIGH)" if _is_high(case) else "expected"
    return algo, f"the cheapest by {case.model}: {cost[0]:z,.1f} bps {what}"


def _compared(case: Case, each: Alternative) -> tuple[Decimal, Decimal] | None:
    """By what candidates are compared: what is expected, and where that is the same, the risk."""
    if each.cost_bps is None or each.high_bps is None:
        return None
    return (each.high_bps, each.cost_bps) if _is_high(case) else (each.cost_bps, each.high_bps)


def _is_high(case: Case) -> bool:
    return case.order.how.urgency is Urgency.HIGH


POLICIES: Mapping[str, Callable[[Case], Choice]] = {"size": by_size, "cost": by_cost}


# The router -----------------------------------------------------------------------------------------------------------


class Router:
    """Chooses by its settings, from an order and the market of that moment alone; it keeps nothing."""

    __slots__ = ("_instruments", "_model", "_settings")

    def __init__(self, instruments: Instruments, settings: RouterSettings, model: str = DEFAULT_MODEL) -> None:
        self._instruments = instruments
        self._settings = settings
        self._model = model

    def route(self, order: ParentOrder, market: MarketData | None) -> Iterable[Event]:
        """The parent as it is asked for, or with the algorithm that is chosen, behind the reasons for it."""
        if order.how.algo is not Algo.AUTO:
            yield order
            return
        case = self._case(order, market)
        algo, reason = POLICIES[self._settings.policy](case)
        yield ParentRouted(
            ts=order.ts,
            parent_id=order.parent_id,
            strategy=order.strategy,
            symbol=order.symbol,
            policy=self._settings.policy,
            algo=algo,
            reason=reason,
            model=self._model,
            alternatives=case.alternatives,
        )
        yield msgspec.structs.replace(order, how=self._instruction(case, algo, market))

    def _case(self, order: ParentOrder, market: MarketData | None) -> Case:
        instrument, mark = self._instruments[order.symbol], order.decision_px
        span, edge_ns = _span(order, instrument), self._settings.edge_min * 60 * NS_PER_S
        return Case(
            order=order,
            settings=self._settings,
            notional=None if mark is None else instrument.notional(order.order_qty, mark),
            resting_px=_resting(order, market, instrument.tick),
            phase=None if span is None else CALENDARS[instrument.calendar].phase_at(span.start, edge_ns),
            model=self._model,
            alternatives=tuple(_alternative(algo, order, market, span, instrument, self._model) for algo in CANDIDATES),
        )

    def _instruction(self, case: Case, algo: Algo, market: MarketData | None) -> Instruction:
        order, price = case.order, case.order.how.price
        if algo is Algo.LIMIT:
            price = case.resting_px
        elif algo is Algo.MARKET and market is not None:
            tick = self._instruments[order.symbol].tick
            bound = pricing.cross(order.side, market, tick, self._settings.tolerance_bps)
            # a price below one tick is on no tick, and stays: it never trades, where none at all would at any price
            price = price if bound is None else pricing.within(order.side, bound, price, tick) or price
        return msgspec.structs.replace(order.how, algo=algo, price=price)


def _resting(order: ParentOrder, market: MarketData | None, tick: Decimal) -> Decimal | None:
    """Where a LIMIT would rest; None where it may not, or nobody says where."""
    if order.how.time_in_force in {TimeInForce.IOC, TimeInForce.FOK}:
        return None
    if order.how.price is not None or market is None:
        return order.how.price
    return pricing.join(order.side, market, tick)


def _span(order: ParentOrder, instrument: Instrument) -> Span | None:
    """As `algos.planning` will find it, for an order that is not accepted yet and has no algorithm; None: no time."""
    how, calendar = order.how, CALENDARS[instrument.calendar]
    start = max(order.ts, how.start or order.ts)
    session = calendar.session_on(calendar.date_of(start))
    if session is None:
        return None
    start = max(start, session.open)
    asked = how.end if how.duration_s is None else start + how.duration_s * NS_PER_S
    ends = (session.close - CLOSE_MARGIN_NS, order.valid_until, asked)
    end = min(each for each in ends if each is not None)
    return Span(start, end, session, asked is not None) if start < end else None


def _alternative(  # noqa: PLR0917 - one for each thing that is known
    algo: Algo, order: ParentOrder, market: MarketData | None, span: Span | None, instrument: Instrument, model: str
) -> Alternative:
    if span is None:
        return Alternative(algo, None, None, None, "no estimate: the market is shut, or its window or validity over")
    bid, ask = (None, None) if market is None else (market.bid, market.ask)
    lasting, is_market = CANDIDATES[algo](span), algo is Algo.MARKET
    asked = prospect(instrument, order.order_qty, bid, ask, span.session, lasting, market=is_market)
    try:
        found = MODELS[model](asked)
    except NoEstimateError as error:
        return Alternative(algo, None, None, None, str(error))
    return Alternative(algo, recorded(found.cost_bps), recorded(found.low_bps), recorded(found.high_bps))
