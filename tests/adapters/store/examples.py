"""The story of one parent with two children, event by event, for tests that need a sensible one."""

from decimal import Decimal

from core.events import (
    EndReason,
    Event,
    ExecutionReport,
    FillBooked,
    FillBusted,
    Nearest,
    NewOrderSingle,
    OrderApproved,
    OrderDenied,
    OrderUpdated,
    Outcome,
    ParentAccepted,
    ParentEnded,
    ParentOrder,
    PositionUpdated,
    Reason,
    ShadowVerdict,
    SignalAccepted,
    SignalReceived,
    SubmitResult,
)
from core.orders import ExecType, OrdStatus, OrdType, Side, TimeInForce
from core.signals import Instruction, OrderSignal

QTY, PX, FEE = Decimal(100), Decimal("101.230"), Decimal("0.35")
SIGNAL = OrderSignal(signal_id="1", ts=5, strategy="s", symbol="AAPL", side=Side.BUY, qty=Decimal(200))
PARENT = ParentOrder(
    ts=12,
    parent_id="P1",
    signal_id="1",
    signal_ts=5,
    strategy="s",
    account="A",
    venue="paper",
    symbol="AAPL",
    side=Side.BUY,
    order_qty=Decimal(200),
    resizable=False,
    decision_px=PX,
    how=Instruction(price=Decimal("102.00")),
)


def child(ts: int, cl_ord_id: str) -> NewOrderSingle:
    """A child for half of the parent."""
    return NewOrderSingle(
        ts=ts,
        cl_ord_id=cl_ord_id,
        parent_id="P1",
        strategy="s",
        account="A",
        venue="paper",
        symbol="AAPL",
        side=Side.BUY,
        order_qty=QTY,
        ord_type=OrdType.LIMIT,
        price=PX,
        time_in_force=TimeInForce.DAY,
    )


def approved(ts: int, cl_ord_id: str) -> OrderApproved:
    """The gate lets a child go."""
    return OrderApproved(
        ts=ts,
        order=child(ts, cl_ord_id),
        not_after=ts + 500,
        collar_low=Decimal(96),
        collar_high=Decimal(106),
        bid=PX,
        ask=PX,
        limits_version="v1",
        nearest=Nearest(Reason.GROSS, Decimal("0.25"), Decimal(1)),
        checks=20,
        duration_ns=15_000,
    )


def denied(ts: int, cl_ord_id: str) -> OrderDenied:
    """The gate refuses a child, or with no id the parent."""
    return OrderDenied(
        ts=ts,
        parent_id="P1",
        cl_ord_id=cl_ord_id,
        strategy="s",
        symbol="AAPL",
        side=Side.BUY,
        order_qty=QTY,
        reason=Reason.ORDER_SIZE,
        value=Decimal(100),
        limit=Decimal(50),
        unit="shares",
        max_qty=Decimal(50),
        limits_version="v1",
        text="100 shares are more than 50",
    )


def beside(ts: int, cl_ord_id: str, *, in_force: int, shadow: int) -> ShadowVerdict:
    """The shadow limits would have let another quantity pass."""
    return ShadowVerdict(
        ts=ts,
        parent_id="P1",
        cl_ord_id=cl_ord_id,
        strategy="s",
        symbol="AAPL",
        side=Side.BUY,
        order_qty=QTY,
        in_force_qty=Decimal(in_force),
        shadow_qty=Decimal(shadow),
        reason=Reason.ORDER_SIZE,
        value=Decimal(100),
        limit=Decimal(50),
        unit="shares",
        max_qty=Decimal(50),
        limits_version="v1",
        shadow_version="v2",
        text="100 shares are more than 50",
    )


def updated(ts: int, cl_ord_id: str, status: OrdStatus, cum_qty: Decimal) -> OrderUpdated:
    """Where a child stands."""
    leaves = QTY - cum_qty
    return OrderUpdated(
        ts=ts,
        cl_ord_id=cl_ord_id,
        parent_id="P1",
        strategy="s",
        venue="paper",
        symbol="AAPL",
        side=Side.BUY,
        order_id="v1",
        ord_status=status,
        order_qty=QTY,
        cum_qty=cum_qty,
        leaves_qty=leaves,
        terminal=not leaves,
    )


def filled(ts: int, cl_ord_id: str, exec_id: str) -> FillBooked:
    """A whole child executes."""
    return FillBooked(
        ts=ts,
        exec_id=exec_id,
        cl_ord_id=cl_ord_id,
        parent_id="P1",
        strategy="s",
        venue="paper",
        symbol="AAPL",
        side=Side.BUY,
        last_qty=QTY,
        last_px=PX,
        fee=FEE,
    )


def busted(ts: int, cl_ord_id: str, exec_id: str) -> FillBusted:
    """The venue takes the child's execution back."""
    return FillBusted(
        ts=ts,
        exec_id=exec_id,
        cl_ord_id=cl_ord_id,
        parent_id="P1",
        strategy="s",
        venue="paper",
        symbol="AAPL",
        side=Side.BUY,
        last_qty=QTY,
        last_px=PX,
        fee=FEE,
    )


def accepted(ts: int) -> ParentAccepted:
    """The gate lets the parent in."""
    return ParentAccepted(
        ts=ts, parent=PARENT, order_qty=Decimal(200), bid=PX, ask=PX, arrival_px=PX, limits_version="v1"
    )


def ended(ts: int) -> ParentEnded:
    """The parent's time is over with half of it done."""
    return ParentEnded(
        ts=ts,
        parent_id="P1",
        strategy="s",
        symbol="AAPL",
        side=Side.BUY,
        order_qty=Decimal(200),
        cum_qty=QTY,
        avg_px=PX,
        leaves_qty=QTY,
        reason=EndReason.WINDOW,
    )


def position(ts: int) -> PositionUpdated:
    """The position after the fill."""
    return PositionUpdated(
        ts=ts,
        strategy="s",
        symbol="AAPL",
        qty=QTY,
        avg_px=PX,
        realized_pnl=Decimal(0),
        fees=FEE,
        cash=Decimal("989876.65"),
    )


_TRADE = ExecutionReport(
    ts=18, venue="paper", exec_type=ExecType.TRADE, cl_ord_id="P1C1A1", exec_id="e1", last_qty=QTY, last_px=PX
)

STORY: list[Event] = [
    SignalReceived(ts=10, source="redis", signal=SIGNAL),
    SignalAccepted(ts=11, signal_id="1", strategy="s", digest="d"),
    PARENT,
    accepted(13),
    child(14, "P1C1A1"),
    approved(15, "P1C1A1"),
    SubmitResult(ts=16, venue="paper", cl_ord_id="P1C1A1", outcome=Outcome.ACCEPTED, order_id="v1"),
    updated(17, "P1C1A1", OrdStatus.NEW, Decimal(0)),
    _TRADE,
    filled(18, "P1C1A1", "e1"),
    updated(18, "P1C1A1", OrdStatus.FILLED, QTY),
    position(18),
    child(19, "P1C2A1"),
    denied(20, "P1C2A1"),
    ended(21),
]
ENTRIES = list(enumerate(STORY, start=1))
