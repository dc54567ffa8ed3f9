"""A run with everything that a report must show, on a database and a tape; the analyst's own reports among it."""

from collections.abc import Iterable
from decimal import Decimal
from functools import cache
from pathlib import Path

from sqlalchemy import Engine

from adapters.store.tape import TapeWriter
from core.causes import TradingState
from core.events import (
    AccountOpened,
    Alternative,
    Anomaly,
    CostEstimated,
    CostReport,
    DaemonStarted,
    EndReason,
    Event,
    FillBooked,
    FillBusted,
    MarketData,
    OrderDenied,
    ParentAccepted,
    ParentEnded,
    ParentOrder,
    ParentRouted,
    ParentScheduled,
    PositionUpdated,
    Reason,
    SignalDead,
    SignalIgnored,
    SignalRefused,
    TradingHalted,
    TradingResumed,
)
from core.instruments import Instrument, Instruments
from core.orders import Side
from core.signals import Action, Algo, Change, Instruction
from core.units import NS_PER_S
from tca.analyst import Analyst
from tests.adapters.store.support import journaled
from tests.builders import amended, amendment

Entries = list[tuple[int, Event]]

BEGAN = 1_781_530_200 * NS_PER_S  # 2026-06-15 13:30:00 UTC
EVIL = "<script>alert('&')</script>"
_INSTRUMENTS = (
    Instrument(symbol="AAPL", adv=Decimal(1_000_000), volatility=0.02),
    Instrument(symbol="MSFT", adv=Decimal(500_000), volatility=0.015),
)


def at(second: float) -> int:
    """Time of the run, ns."""
    return BEGAN + round(second * NS_PER_S)


def market(second: float, symbol: str, bid: str, ask: str, *, volume: str = "0") -> MarketData:
    """A quote, with trades at the bid."""
    size = Decimal(volume)
    traded = Decimal(bid) if size else None
    return MarketData(
        ts=at(second),
        symbol=symbol,
        bid=Decimal(bid),
        bid_size=Decimal(300),
        ask=Decimal(ask),
        ask_size=Decimal(300),
        last=traded,
        high=traded,
        low=traded,
        volume=size,
        notional=size * Decimal(bid),
        trades=1 if size else 0,
    )


def accepted(
    second: float, parent_id: str, side: Side, qty: str, symbol: str, *, arrival: str, how: Algo, signal_id: str = "1"
) -> ParentAccepted:
    """A parent that was asked for in full."""
    order = ParentOrder(
        ts=at(second),
        parent_id=parent_id,
        signal_id=signal_id,
        signal_ts=at(second),
        strategy="mom",
        account="A1",
        venue="paper",
        symbol=symbol,
        side=side,
        order_qty=Decimal(qty),
        resizable=False,
        decision_px=Decimal(arrival) - Decimal("0.02"),
        how=Instruction(algo=how, price=Decimal(260) if how is Algo.TWAP else None),
    )
    px = Decimal(arrival)
    return ParentAccepted(
        ts=at(second),
        parent=order,
        order_qty=Decimal(qty),
        bid=px - Decimal("0.01"),
        ask=px + Decimal("0.01"),
        arrival_px=px,
        limits_version="v7",
    )


def fill(second: float, parent_id: str, side: Side, qty: str, symbol: str, *, px: str, exec_id: str) -> FillBooked:
    """An execution with a fee of a tenth."""
    return FillBooked(
        ts=at(second),
        exec_id=exec_id,
        cl_ord_id=f"{parent_id}C1A1",
        parent_id=parent_id,
        strategy="mom",
        venue="paper",
        symbol=symbol,
        side=side,
        last_qty=Decimal(qty),
        last_px=Decimal(px),
        fee=Decimal("0.1"),
    )


def busted(second: float, event: FillBooked) -> FillBusted:
    """The same execution, taken back."""
    names = ("exec_id", "cl_ord_id", "parent_id", "strategy", "venue", "symbol", "side", "last_qty", "last_px", "fee")
    return FillBusted(ts=at(second), **{name: getattr(event, name) for name in names})


def ended(second: float, of: ParentAccepted, cum_qty: str, avg_px: str | None, reason: EndReason) -> ParentEnded:
    """A parent's end."""
    return ParentEnded(
        ts=at(second),
        parent_id=of.parent_id,
        strategy=of.parent.strategy,
        symbol=of.parent.symbol,
        side=of.parent.side,
        order_qty=of.order_qty,
        cum_qty=Decimal(cum_qty),
        avg_px=None if avg_px is None else Decimal(avg_px),
        leaves_qty=of.order_qty - Decimal(cum_qty),
        reason=reason,
    )


def denied(second: float, parent_id: str, cl_ord_id: str, max_qty: str | None) -> OrderDenied:
    """The gate refuses an order for its size."""
    return OrderDenied(
        ts=at(second),
        parent_id=parent_id,
        cl_ord_id=cl_ord_id,
        strategy="mom",
        symbol="AAPL",
        side=Side.BUY,
        order_qty=Decimal(9_000),
        reason=Reason.ORDER_NOTIONAL,
        value=Decimal("2250090.5"),
        limit=Decimal(1_000_000),
        unit="USD",
        max_qty=None if max_qty is None else Decimal(max_qty),
        limits_version="v7",
        text=f"too much {EVIL}",
    )


def _position(second: float, symbol: str, qty: str, *, avg_px: str, realized: str, fees: str) -> PositionUpdated:
    return PositionUpdated(
        ts=at(second),
        strategy="mom",
        symbol=symbol,
        qty=Decimal(qty),
        avg_px=Decimal(avg_px),
        realized_pnl=Decimal(realized),
        fees=Decimal(fees),
        cash=Decimal("987654.321"),
    )


SLOW = accepted(2, "P1", Side.BUY, "200", "AAPL", arrival="250.00", signal_id=EVIL, how=Algo.TWAP)
QUICK = accepted(70, "P2", Side.SELL, "40", "MSFT", arrival="400.03", how=Algo.MARKET)
NEVER = accepted(71, "P3", Side.SELL, "7", "AAPL", arrival="250.30", how=Algo.LIMIT)
STILL = accepted(90, "P4", Side.BUY, "12.5", "MSFT", arrival="400.05", how=Algo.VWAP)
_TAKEN_BACK = fill(20, "P1", Side.BUY, "25", "AAPL", px="250.20", exec_id="e2")
_PLAN = ParentScheduled(
    ts=at(2),
    parent_id="P1",
    times=(at(10), at(30), at(50)),
    targets=(Decimal(50), Decimal(120), Decimal(200)),
    end=at(60),
)
_REPLAN = ParentScheduled(ts=at(40), parent_id="P1", times=(at(45),), targets=(Decimal(200),), end=at(60))

ROUTE = ParentRouted(
    ts=at(70),
    parent_id="P2",
    strategy="mom",
    symbol="MSFT",
    policy="cost",
    algo=Algo.MARKET,
    reason=f"the cheapest {EVIL}",
    model="sqrt",
    alternatives=(
        Alternative(Algo.MARKET, Decimal("3.25"), Decimal("-8.5"), Decimal("15.04")),
        Alternative(Algo.TWAP, None, None, None, f"no estimate: {EVIL}"),
    ),
)
_LACKING = CostEstimated(
    ts=at(70), parent_id="P2", strategy="mom", symbol="MSFT", model="sqrt", text=f"no estimate: {EVIL}"
)

_PAUSED = amended(amendment(SLOW.parent, Change(action=Action.PAUSE), by=EVIL, held=True, ts=at(47)), "200")
_AGAIN = amended(amendment(SLOW.parent, Change(action=Action.RESUME), by="ann", ts=at(48.5)), "200")
AMENDMENTS = (_PAUSED, _AGAIN)

_HAPPENED: list[Event] = [
    DaemonStarted(ts=BEGAN, version="0.1.0", config_hash="c0ffee", world="simulation", account="A1"),
    AccountOpened(ts=BEGAN, account="A1", cash=Decimal(1_000_000), currency="USD"),
    TradingHalted(ts=BEGAN, cause="startup", state=TradingState.HALTED, text="recovering"),
    TradingResumed(ts=BEGAN, cause="startup", by="recovery"),
    market(1, "AAPL", "249.99", "250.01"),
    market(1, "MSFT", "400.00", "400.06"),
    SLOW,
    _PLAN,
    fill(10, "P1", Side.BUY, "50", "AAPL", px="250.02", exec_id="e1"),
    market(15, "AAPL", "250.10", "250.15", volume="1000"),
    _TAKEN_BACK,
    busted(25, _TAKEN_BACK),
    fill(30, "P1", Side.BUY, "70", "AAPL", px="250.17", exec_id="e3"),
    market(35, "AAPL", "250.30", "250.31", volume="500"),
    _REPLAN,
    denied(45, "P1", "P1C4A1", None),
    fill(46, "P1", Side.BUY, "30", "AAPL", px="250.31", exec_id="e4"),
    _position(46, "AAPL", "150", avg_px="250.148", realized="0", fees="0.3"),
    *AMENDMENTS,
    market(58, "AAPL", "250.49", "250.51", volume="250"),
    ended(60, SLOW, "150", "250.148", EndReason.WINDOW),
    SignalIgnored(ts=at(61), signal_id="2", strategy="mom", reason="weak", text="0.01 is below 0.1"),
    SignalRefused(ts=at(62), signal_id=EVIL, strategy="mom", reason="expired", text="2 s too late"),
    SignalDead(ts=at(63), source="file", reason="JSON is malformed", text=f"{{bad\x1b[31m {EVIL}"),
    SignalIgnored(ts=at(64), signal_id="3", strategy="mom", reason="weak"),
    denied(65, "P5", "", "3996"),
    ROUTE,
    QUICK,
    _LACKING,
    fill(70.01, "P2", Side.SELL, "40", "MSFT", px="400.00", exec_id="e5"),
    _position(70.01, "MSFT", "-40", avg_px="400.00", realized="-12.345", fees="0.1"),
    ended(70.01, QUICK, "40", "400.00", EndReason.FILLED),
    NEVER,
    ended(80, NEVER, "0", None, EndReason.LIMIT_PRICE),
    STILL,
    fill(91, "P4", Side.BUY, "2.5", "MSFT", px="400.06", exec_id="e6"),
    Anomaly(ts=at(92), venue="paper", cl_ord_id="P4C1A1", text=f"odd {EVIL}"),
    market(93, "MSFT", "401.00", "401.10"),
]


@cache
def entries() -> tuple[tuple[int, Event], ...]:
    """All events in order, the analyst's cost reports behind what they follow from."""
    analyst = Analyst(Instruments(_INSTRUMENTS), {"AAPL": f"all prints {EVIL}"})
    events: list[Event] = []
    for event in _HAPPENED:
        events.append(event)
        events.extend(_heard(analyst, event))
    return tuple(enumerate(events, start=1))


def _heard(analyst: Analyst, event: Event) -> Iterable[Event]:
    if isinstance(event, MarketData):
        analyst.quote(event)
    elif isinstance(event, ParentAccepted):
        analyst.open(event)
    elif isinstance(event, FillBooked):
        analyst.fill(event)
    elif isinstance(event, FillBusted):
        analyst.bust(event)
    elif isinstance(event, ParentEnded):
        return analyst.on_ended(event)
    elif isinstance(event, ParentScheduled):
        estimates = list(analyst.on_scheduled(event))
        for estimate in estimates:
            assert isinstance(estimate, CostEstimated)
            analyst.expect(estimate)
        return estimates
    return ()


def costs() -> list[CostReport]:
    """What the analyst reported, in order of the parents' starts."""
    return [event for _, event in entries() if isinstance(event, CostReport)]


def estimates() -> dict[str, CostEstimated]:
    """What was expected of each parent beforehand."""
    return {event.parent_id: event for _, event in entries() if isinstance(event, CostEstimated)}


def record(happened: Iterable[tuple[int, Event]], tape_dir: Path) -> Engine:
    """A database and a tape of these events."""
    kept = list(happened)
    tape = TapeWriter(tape_dir)
    for seq, event in kept:
        if isinstance(event, MarketData):
            tape.put(seq, event)
    tape.close()
    return journaled((seq, event) for seq, event in kept if not isinstance(event, MarketData))
