"""What differs between our books and a venue's, as a pure function from two pictures to a list of breaks.

A break that a report explains carries that report: booking it makes the books equal. One that nothing explains is for
people: the symbol is quarantined, and no fill is ever invented to paper over it.
"""

from collections.abc import Iterator, Mapping
from decimal import Decimal
from enum import StrEnum

import msgspec

from core.orders import TERMINAL, OrdStatus, Side
from core.units import ZERO


class OrderView(msgspec.Struct, frozen=True, kw_only=True):
    """An order as one of the two sides sees it."""

    cl_ord_id: str
    order_id: str
    symbol: str
    side: Side
    order_qty: Decimal
    cum_qty: Decimal
    ord_status: OrdStatus


class ExecutionView(msgspec.Struct, frozen=True, kw_only=True):
    """An execution as the venue lists it."""

    exec_id: str
    cl_ord_id: str
    symbol: str
    side: Side
    last_qty: Decimal
    last_px: Decimal
    fee: Decimal
    ts: int


class Picture(msgspec.Struct, frozen=True, kw_only=True):
    """Orders that may be live, executions since the horizon, signed positions."""

    orders: Mapping[str, OrderView]  # by cl_ord_id
    executions: Mapping[str, ExecutionView]  # by exec_id; of ours only the keys matter
    positions: Mapping[str, Decimal]  # by symbol


class BreakKind(StrEnum):
    """What differs, and what to do about it."""

    MISSED_EXECUTION = "MISSED_EXECUTION"  # theirs, not booked by us: book it
    GONE = "GONE"  # we think it may live, the venue has no such order or it ended: ask by id
    STATUS = "STATUS"  # both have it, we do not know how it stands: take theirs
    FOREIGN_ORDER = "FOREIGN_ORDER"  # live at the venue, without a row here
    FOREIGN_EXECUTION = "FOREIGN_EXECUTION"  # an execution of an order that we never sent
    PHANTOM_EXECUTION = "PHANTOM_EXECUTION"  # booked here, unknown to the venue
    QUANTITY = "QUANTITY"  # the venue works another size than we sent: it changed the order, as after a split
    POSITION = "POSITION"  # quantities differ after everything else is explained


class Break(msgspec.Struct, frozen=True, kw_only=True):
    """One difference. `cl_ord_id` or `exec_id` name what it is about."""

    kind: BreakKind
    symbol: str
    cl_ord_id: str = ""
    exec_id: str = ""
    ours: str = ""
    theirs: str = ""


EXPLAINED = frozenset({BreakKind.MISSED_EXECUTION, BreakKind.GONE, BreakKind.STATUS})

PAST = frozenset({BreakKind.FOREIGN_EXECUTION, BreakKind.PHANTOM_EXECUTION})  # no more can be done about these
IN_DOUBT = frozenset(
    {OrdStatus.PENDING_SUBMIT, OrdStatus.SENT, OrdStatus.UNKNOWN, OrdStatus.PENDING_CANCEL, OrdStatus.SETTLING}
)


def diff(ours: Picture, theirs: Picture, *, known: frozenset[str] | set[str], whole: bool = True) -> list[Break]:
    """Every difference, executions first, in a stable order.

    `known` holds every cl_ord_id that we ever sent: an execution of one of those is ours although its order has ended.
    Positions are compared as they will be once the missed executions are booked. Where their picture has not the
    `whole` of executions, what we booked and they do not know shows in the positions alone.
    """
    unseen = [e for e in theirs.executions.values() if e.exec_id not in ours.executions]
    unseen.sort(key=lambda e: (e.ts, e.exec_id))
    missed = [e for e in unseen if e.cl_ord_id in known]
    return [
        *(_unseen(e, is_ours=e.cl_ord_id in known) for e in unseen),
        *(_phantoms(ours, theirs) if whole else ()),
        *_our_orders(ours, theirs),
        *_foreign_orders(ours, theirs),
        *_positions(ours, theirs, missed),
    ]


def _unseen(execution: ExecutionView, *, is_ours: bool) -> Break:
    kind = BreakKind.MISSED_EXECUTION if is_ours else BreakKind.FOREIGN_EXECUTION
    return Break(kind=kind, symbol=execution.symbol, cl_ord_id=execution.cl_ord_id, exec_id=execution.exec_id)


def _phantoms(ours: Picture, theirs: Picture) -> Iterator[Break]:
    kind = BreakKind.PHANTOM_EXECUTION
    for exec_id, execution in sorted(ours.executions.items()):
        if exec_id not in theirs.executions:
            yield Break(kind=kind, symbol=execution.symbol, cl_ord_id=execution.cl_ord_id, exec_id=exec_id)


def _our_orders(ours: Picture, theirs: Picture) -> Iterator[Break]:
    for cl_ord_id, order in sorted(ours.orders.items()):
        seen = theirs.orders.get(cl_ord_id)
        have, should = order.ord_status, seen.ord_status if seen is not None else ""
        if seen is not None and have in IN_DOUBT:
            if have is not should:
                yield Break(kind=BreakKind.STATUS, symbol=order.symbol, cl_ord_id=cl_ord_id, ours=have, theirs=should)
        elif seen is None or seen.ord_status in TERMINAL:
            yield Break(kind=BreakKind.GONE, symbol=order.symbol, cl_ord_id=cl_ord_id, ours=have, theirs=should)
        if seen is not None and seen.order_qty != order.order_qty:
            kind, sizes = BreakKind.QUANTITY, (str(order.order_qty), str(seen.order_qty))
            yield Break(kind=kind, symbol=order.symbol, cl_ord_id=cl_ord_id, ours=sizes[0], theirs=sizes[1])


def _foreign_orders(ours: Picture, theirs: Picture) -> Iterator[Break]:
    kind = BreakKind.FOREIGN_ORDER
    for cl_ord_id, order in sorted(theirs.orders.items()):
        if cl_ord_id not in ours.orders and order.ord_status not in TERMINAL:
            yield Break(kind=kind, symbol=order.symbol, cl_ord_id=cl_ord_id, theirs=order.ord_status)


def _positions(ours: Picture, theirs: Picture, missed: list[ExecutionView]) -> Iterator[Break]:
    expected = dict(ours.positions)
    for execution in missed:
        signed = execution.side.sign * execution.last_qty
        expected[execution.symbol] = expected.get(execution.symbol, ZERO) + signed
    for symbol in sorted(expected.keys() | theirs.positions.keys()):
        have, should = expected.get(symbol, ZERO), theirs.positions.get(symbol, ZERO)
        if have != should:
            yield Break(kind=BreakKind.POSITION, symbol=symbol, ours=str(have), theirs=str(should))
