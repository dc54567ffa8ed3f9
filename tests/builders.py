"""Events, instruments and limits with sensible defaults: a test names only what it is about.

Everything happens on one Wednesday in New York, at half past ten, unless the test says otherwise.
"""

import datetime as dt
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import numpy as np

from core.calendar import CALENDARS, Session
from core.events import (
    AccountOpened,
    AccountReported,
    BreakFound,
    CashMoved,
    EndReason,
    Event,
    FillBooked,
    FillBusted,
    FlattenRequested,
    LimitsSet,
    MarketData,
    NewOrderSingle,
    OrderApproved,
    OrderCancelRequest,
    OrderDenied,
    OrderUnresolved,
    OrderUpdated,
    ParentAccepted,
    ParentAmended,
    ParentAmendment,
    ParentEnded,
    ParentOrder,
    PositionAdjusted,
    Reason,
    RegimeSet,
    RiskModelSet,
    ShadowSet,
    SignalReceived,
    StopSet,
    StopSuspended,
    StrategyResumed,
    StrategyStopped,
    TimeAdvanced,
    TradingHalted,
    TradingResumed,
)
from core.instruments import Instrument, Instruments, VenueAbility
from core.orders import TERMINAL, OrdStatus, OrdType, Side, TimeInForce
from core.signals import Change, Instruction, Signal
from core.units import NS_PER_S, ZERO
from risk.exposure import Exposure
from risk.limits import Limits, LimitsInForce, SymbolLimits, plain, version_of
from risk.regime import RegimeState
from risk.scenarios import ScenarioModel
from risk.shortfall import Matrix, PortfolioShortfall
from risk.stops import Stop
from risk.tail import Kind, Prepared, TailRisk, clusters

DAY = dt.date(2025, 3, 5)
MINUTE = 60 * NS_PER_S


def clock(hour: int, minute: int = 0, second: int = 0, *, day: dt.date = DAY) -> int:
    """A New York wall clock as ns UTC."""
    moment = dt.datetime.combine(day, dt.time(hour, minute, second), ZoneInfo("America/New_York"))
    return int(moment.timestamp()) * NS_PER_S


def session(day: dt.date = DAY) -> Session:
    """The New York session of a day that has one."""
    found = CALENDARS["XNYS"].session_on(day)
    assert found is not None
    return found


NOW = clock(10, 30)

# What the account may trade: a plain share, one that may be sold short, one in large lots, one in fractions,
# one that is hard to borrow.
INSTRUMENTS = Instruments(
    [
        Instrument(symbol="AAPL", sector="Tech", adv=Decimal(10_000)),
        Instrument(symbol="SHRT", sector="Tech", shortable=True),
        Instrument(symbol="LOTS", lot=Decimal(100), shortable=True),
        Instrument(symbol="LEAST", min_notional=Decimal(500)),
        Instrument(symbol="FRAC", lot=Decimal("0.001"), tick=Decimal("0.05"), shortable=True, calendar="24x7"),
        Instrument(symbol="HARD", shortable=True, locate_qty=Decimal(100), short_sale_rule="above_bid"),
        Instrument(symbol="FUTR", multiplier=Decimal(50), shortable=True, venue="other"),
    ]
)


def abilities(instruments: Instruments = INSTRUMENTS, *, prints_ours: bool = False) -> dict[str, VenueAbility]:
    """The venues of these instruments, all of which take every order."""
    return {instrument.venue: VenueAbility(prints_ours=prints_ours) for instrument in instruments}


OPEN_LIMITS = Limits(
    position_max=Decimal(1),
    sector_max=Decimal(4),
    cluster_max=Decimal(4),
    gross_max=Decimal(4),
    net_max=Decimal(4),
    positions_max=1_000,
    es_max=Decimal(1),
    participation_max=Decimal(1),
    daily_loss_max=Decimal(1),
    drawdown_max=Decimal(1),
    disagreement_max=Decimal(1),
    mark_age_s_max=86_400,
    mark_age_s_block=86_400,
    parents_per_day=1_000,
    rejects_max=10_000,
    failures_max=10_000,
    slips_max=10_000,
    repeats_max=10_000,
    duplicate_window_s=0.0,
    orders_per_s=1_000,
    messages_per_s=1_000,
    symbols_default=SymbolLimits(order_qty_max=Decimal(1_000_000), order_notional_max=Decimal(1_000_000_000)),
)


def limits(**changes: Any) -> Limits:  # noqa: ANN401 - one field, whichever
    """Limits that stand in nobody's way, but for the changes."""
    return msgspec.structs.replace(OPEN_LIMITS, **changes)


def limits_set(bounds: Limits, ts: int = NOW) -> LimitsSet:
    """Orders are judged by these from then on."""
    return LimitsSet(ts=ts, version=version_of(bounds), limits=plain(bounds), by="desk")


def shadow_set(bounds: Limits | None, ts: int = NOW) -> ShadowSet:
    """These judge beside the limits in force from then on, or none do."""
    version, shadow = ("", {}) if bounds is None else (version_of(bounds), plain(bounds))
    return ShadowSet(ts=ts, version=version, limits=shadow, by="desk")


def opened(cash: str = "100000") -> AccountOpened:
    """The account's first cash."""
    return AccountOpened(ts=NOW, account="main", cash=Decimal(cash), currency="USD")


def reported(
    equity: str | Decimal | None, *, buying_power: str | Decimal | None = None, ts: int = NOW, as_of: int | None = None
) -> AccountReported:
    """How the account stands by the broker's books; asked for when it is heard, unless said otherwise."""
    return AccountReported(
        ts=ts,
        venue="paper",
        as_of=ts if as_of is None else as_of,
        cash=ZERO,
        equity=None if equity is None else Decimal(equity),
        buying_power=None if buying_power is None else Decimal(buying_power),
        currency="USD",
    )


def moved(amount: str | Decimal, ts: int = NOW) -> CashMoved:
    """Cash is paid in, or out."""
    return CashMoved(ts=ts, amount=Decimal(amount), cash=ZERO, by="ann", reason="a test")


def split(symbol: str, numerator: int, denominator: int, ts: int = NOW) -> PositionAdjusted:
    """Shares become others."""
    return PositionAdjusted(
        ts=ts, symbol=symbol, numerator=numerator, denominator=denominator, by="ann", reason="a test"
    )


def quote(
    symbol: str = "AAPL",
    bid: str | None = "99.99",
    ask: str | None = "100.01",
    *,
    last: str | None = None,
    volume: int | Decimal = 0,
    ts: int = NOW,
) -> MarketData:
    """A market in which nothing but a volume traded."""
    return MarketData(
        ts=ts,
        symbol=symbol,
        bid=None if bid is None else Decimal(bid),
        bid_size=Decimal(100),
        ask=None if ask is None else Decimal(ask),
        ask_size=Decimal(100),
        last=None if last is None else Decimal(last),
        high=None,
        low=None,
        volume=Decimal(volume),
        notional=ZERO,
        trades=0,
    )


def received(signal: Signal, ts: int = NOW) -> SignalReceived:
    """A signal from its source."""
    return SignalReceived(ts=ts, source="file", signal=signal)


def parent(symbol: str = "AAPL", side: Side = Side.BUY, qty: str = "100", **changes: Any) -> ParentOrder:  # noqa: ANN401
    """What the sizer wants."""
    order = ParentOrder(
        ts=NOW,
        parent_id="P1",
        signal_id="s1",
        signal_ts=NOW,
        strategy="alpha",
        account="main",
        venue=INSTRUMENTS[symbol].venue,
        symbol=symbol,
        side=side,
        order_qty=Decimal(qty),
        resizable=False,
        decision_px=Decimal(100),
        how=Instruction(),
    )
    return msgspec.structs.replace(order, **changes)


def accepted(order: ParentOrder, qty: Decimal | None = None) -> ParentAccepted:
    """The gate let a parent in."""
    return ParentAccepted(
        ts=order.ts,
        parent=order,
        order_qty=order.order_qty if qty is None else qty,
        bid=Decimal("99.99"),
        ask=Decimal("100.01"),
        arrival_px=Decimal(100),
        limits_version="test",
    )


def amendment(order: ParentOrder, change: Change, **changes: Any) -> ParentAmendment:  # noqa: ANN401 - one field, whichever
    """Somebody wants a live parent changed, and it could be worked so."""
    wanted = ParentAmendment(
        ts=order.ts,
        parent_id=order.parent_id,
        strategy=order.strategy,
        venue=order.venue,
        symbol=order.symbol,
        side=order.side,
        by="ann",
        change=change,
        price=change.price or order.how.price,
        held=False,
    )
    return msgspec.structs.replace(wanted, **changes)


def amended(asked: ParentAmendment, qty: str | Decimal, more: str | Decimal = ZERO) -> ParentAmended:
    """The gate let a live parent be of that quantity, by `more` larger than it was."""
    return ParentAmended(
        ts=asked.ts, amendment=asked, order_qty=Decimal(qty), more_qty=Decimal(more), limits_version="test"
    )


def ended(order: ParentOrder, cum_qty: Decimal = ZERO, reason: EndReason = EndReason.WINDOW) -> ParentEnded:
    """A parent is over."""
    return ParentEnded(
        ts=order.ts,
        parent_id=order.parent_id,
        strategy=order.strategy,
        symbol=order.symbol,
        side=order.side,
        order_qty=order.order_qty,
        cum_qty=cum_qty,
        avg_px=None,
        leaves_qty=max(order.order_qty - cum_qty, ZERO),
        reason=reason,
    )


def child(symbol: str = "AAPL", side: Side = Side.BUY, qty: str = "100", **changes: Any) -> NewOrderSingle:  # noqa: ANN401
    """What the slicer wants sent: a limit order of `P1` at 100."""
    order = NewOrderSingle(
        ts=NOW,
        cl_ord_id="P1C1A1",
        parent_id="P1",
        strategy="alpha",
        account="main",
        venue=INSTRUMENTS[symbol].venue,
        symbol=symbol,
        side=side,
        order_qty=Decimal(qty),
        ord_type=OrdType.LIMIT,
        price=Decimal(100),
        time_in_force=TimeInForce.DAY,
    )
    return msgspec.structs.replace(order, **changes)


def approved(order: NewOrderSingle) -> OrderApproved:
    """The gate let a child go."""
    return OrderApproved(
        ts=order.ts,
        order=order,
        not_after=order.ts + NS_PER_S,
        collar_low=Decimal(95),
        collar_high=Decimal(105),
        bid=Decimal("99.99"),
        ask=Decimal("100.01"),
        limits_version="test",
    )


def denied(order: NewOrderSingle, reason: Reason = Reason.RATE, **changes: Any) -> OrderDenied:  # noqa: ANN401
    """The gate refused a child."""
    denial = OrderDenied(
        ts=order.ts,
        parent_id=order.parent_id,
        cl_ord_id=order.cl_ord_id,
        strategy=order.strategy,
        symbol=order.symbol,
        side=order.side,
        order_qty=order.order_qty,
        reason=reason,
        value=ZERO,
        limit=ZERO,
        unit="",
        max_qty=None,
        limits_version="test",
        text="",
    )
    return msgspec.structs.replace(denial, **changes)


def updated(order: NewOrderSingle, status: OrdStatus, cum_qty: Decimal = ZERO, ts: int | None = None) -> OrderUpdated:
    """Where a child stands."""
    return OrderUpdated(
        ts=order.ts if ts is None else ts,
        cl_ord_id=order.cl_ord_id,
        parent_id=order.parent_id,
        strategy=order.strategy,
        venue=order.venue,
        symbol=order.symbol,
        side=order.side,
        order_id=f"v{order.cl_ord_id}",
        ord_status=status,
        order_qty=order.order_qty,
        cum_qty=cum_qty,
        leaves_qty=ZERO if status in TERMINAL else order.order_qty - cum_qty,
        terminal=status in TERMINAL,
    )


def cancelled(order: NewOrderSingle, ts: int | None = None) -> OrderCancelRequest:
    """The slicer wants a child back."""
    return OrderCancelRequest(
        ts=order.ts if ts is None else ts,
        cl_ord_id=order.cl_ord_id,
        parent_id=order.parent_id,
        venue=order.venue,
        symbol=order.symbol,
        text="",
    )


def given_up(order: NewOrderSingle) -> OrderUnresolved:
    """Nobody could learn what became of a child."""
    return OrderUnresolved(
        ts=order.ts,
        cl_ord_id=order.cl_ord_id,
        parent_id=order.parent_id,
        venue=order.venue,
        symbol=order.symbol,
        leaves_qty=order.order_qty,
    )


def filled(
    order: NewOrderSingle, qty: str | Decimal, px: str | Decimal = "100", *, exec_id: str = "E1", ts: int | None = None
) -> FillBooked:
    """An execution of a child."""
    return FillBooked(
        ts=order.ts if ts is None else ts,
        exec_id=exec_id,
        cl_ord_id=order.cl_ord_id,
        parent_id=order.parent_id,
        strategy=order.strategy,
        venue=order.venue,
        symbol=order.symbol,
        side=order.side,
        last_qty=Decimal(qty),
        last_px=Decimal(px),
        fee=ZERO,
        multiplier=INSTRUMENTS[order.symbol].multiplier,
    )


def busted(fill: FillBooked) -> FillBusted:
    """The venue takes an execution back."""
    facts = msgspec.structs.asdict(fill)
    del facts["late"]
    return FillBusted(**facts)


def stop_set(symbol: str = "AAPL", side: Side = Side.SELL, at: str | None = "95", **changes: Any) -> StopSet:  # noqa: ANN401
    """The daemon holds a stop."""
    event = StopSet(
        ts=NOW,
        stop_id="stop",
        signal_ts=NOW,
        strategy="alpha",
        symbol=symbol,
        side=side,
        stop_px=None if at is None else Decimal(at),
        trail=None,
        trail_fraction=None,
        limit_offset=None,
        how=Instruction(),
        price=Decimal(100),
    )
    return msgspec.structs.replace(event, **changes)


def stop_suspended(symbol: str = "AAPL", strategy: str = "alpha") -> StopSuspended:
    """A stop no longer fires."""
    return StopSuspended(ts=NOW, stop_id="stop", strategy=strategy, symbol=symbol, text="a test")


def fold(exposure: Exposure, *events: Event) -> Exposure:
    """Let an exposure hear of events, each as the wiring says."""
    folds: dict[type[Event], Any] = {
        AccountOpened: exposure.account,
        AccountReported: exposure.hear,
        CashMoved: exposure.move,
        PositionAdjusted: exposure.adjust,
        MarketData: exposure.quote,
        TimeAdvanced: exposure.advance,
        SignalReceived: exposure.advance,
        ParentAccepted: exposure.accept,
        ParentAmended: exposure.amend,
        OrderApproved: exposure.approve,
        OrderCancelRequest: exposure.cancel,
        OrderUpdated: exposure.update,
        OrderUnresolved: exposure.give_up,
        FillBooked: exposure.fill,
        FillBusted: exposure.bust,
        ParentEnded: exposure.end,
        FlattenRequested: exposure.flatten,
        TradingHalted: exposure.halt,
        TradingResumed: exposure.resume,
        BreakFound: exposure.quarantine,
        StrategyStopped: exposure.stop,
        StrategyResumed: exposure.let_go_on,
        RiskModelSet: exposure.model,
        RegimeSet: exposure.regime,
        StopSet: lambda event: exposure.stops.put(Stop(event, event.price)),
        StopSuspended: lambda event: exposure.stops.suspend(event.strategy, event.symbol),
    }
    for event in events:
        folds[type(event)](event)
    return exposure


def silent(
    instruments: Instruments = INSTRUMENTS,
    orders_per_s: int = 1_000,
    messages_per_s: int = 1_000,
    tail: TailRisk | None = None,
) -> Exposure:
    """An exposure that has not heard of anything yet."""
    in_force = LimitsInForce(limits(orders_per_s=orders_per_s, messages_per_s=messages_per_s))
    return Exposure(instruments, in_force, abilities(instruments), tail)


def book(*events: Event, cash: str = "100000", orders_per_s: int = 1_000, messages_per_s: int = 1_000) -> Exposure:
    """An account with cash and a market of 99.99 to 100.01 in everything, and what happened then.

    It has a risk model to be where its events speak of one.
    """
    quotes = [quote(instrument.symbol) for instrument in INSTRUMENTS]
    tail: TailRisk | None = None
    if any(isinstance(event, RiskModelSet | RegimeSet) for event in events):
        tail = TailRisk()
        for model in (steps(), waves()):
            tail.offer(model)
    exposure = silent(INSTRUMENTS, orders_per_s, messages_per_s, tail)
    return fold(exposure, opened(cash), *quotes, *events)


def steps() -> Prepared:
    """Of 250 days AAPL fell by a tenth on seven and SHRT with it, LOTS on seven others; filtered, by half as much more.

    So the ES of AAPL is a tenth of what is held. FRAC and FUTR have no scenarios. What moves together is said apart:
    SHRT with AAPL, LOTS against it, and nothing else.
    """
    plain = np.zeros((3, 250))
    plain[:2, :7], plain[2, 7:14] = -0.1, -0.1
    return _prepared("steps", plain)


def waves() -> Prepared:
    """The same three, each of which gains as often as it loses: AAPL and SHRT nearly together, LOTS against them."""
    rng = np.random.Generator(np.random.PCG64(1))
    together, own = rng.normal(0, 0.03, 250), rng.normal(0, 0.003, (3, 250))
    return _prepared("waves", np.array([[1.0], [1.0], [-1.0]]) * together + own)


def _prepared(version: str, plain: Matrix) -> Prepared:
    model = ScenarioModel(
        date=DAY - dt.timedelta(days=1),
        version=version,
        symbols=("AAPL", "SHRT", "LOTS"),
        plain=plain,
        filtered=1.5 * plain,
        correlation=np.array([[1.0, 0.9, -0.8], [0.9, 1.0, -0.7], [-0.8, -0.7, 1.0]]),
        shrinkage=0.0,
        proxies=(),
    )
    portfolios = {Kind.FILTERED: PortfolioShortfall(model.filtered), Kind.PLAIN: PortfolioShortfall(model.plain)}
    return Prepared(model, RegimeState(), portfolios, clusters(model))


def modelled(regime: str = "NORMAL", version: str = "steps") -> RiskModelSet:
    """The model of `steps` or `waves`, in a market like this."""
    date = (DAY - dt.timedelta(days=1)).isoformat()
    return RiskModelSet(ts=NOW, version=version, date=date, symbols=3, scenarios=250, recent=(regime,))


def held(symbol: str, qty: int | Decimal) -> FillBooked:
    """An old execution that nobody remembers the parent of: a position of `qty` (signed) at 100."""
    side = Side.BUY if Decimal(qty) > 0 else Side.SELL
    order = child(symbol, side, parent_id="OLD", cl_ord_id="OLDC1A1")
    return filled(order, abs(Decimal(qty)))


def working(symbol: str, side: Side, qty: int | Decimal, *, number: int = 1) -> tuple[Event, ...]:
    """A parent all of which was sent."""
    name = f"W{symbol}{side}{number}"
    order = child(symbol, side, parent_id=name, cl_ord_id=f"{name}C1A1", order_qty=Decimal(qty))
    return accepted(parent(symbol, side, parent_id=name, order_qty=Decimal(qty))), approved(order)
