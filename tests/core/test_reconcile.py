"""Two pictures of one account: every kind of difference, and that booking what is explained makes the books agree."""

from decimal import Decimal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.orders import TERMINAL, OrdStatus, Side
from core.reconcile import EXPLAINED, Break, BreakKind, ExecutionView, OrderView, Picture, diff
from core.units import ZERO

S = OrdStatus
KNOWN = frozenset({"o1", "o2", "o3"})


def order(cl_ord_id: str, status: OrdStatus = S.NEW) -> OrderView:
    return OrderView(
        cl_ord_id=cl_ord_id,
        order_id=f"v-{cl_ord_id}",
        symbol="AAPL",
        side=Side.BUY,
        order_qty=Decimal(100),
        cum_qty=ZERO,
        ord_status=status,
    )


def execution(exec_id: str, cl_ord_id: str, side: Side = Side.BUY, qty: int = 10, ts: int = 1) -> ExecutionView:
    return ExecutionView(
        exec_id=exec_id,
        cl_ord_id=cl_ord_id,
        symbol="AAPL",
        side=side,
        last_qty=Decimal(qty),
        last_px=Decimal(10),
        fee=ZERO,
        ts=ts,
    )


def picture(*views: OrderView | ExecutionView, held: int = 0) -> Picture:
    return Picture(
        orders={v.cl_ord_id: v for v in views if isinstance(v, OrderView)},
        executions={v.exec_id: v for v in views if isinstance(v, ExecutionView)},
        positions={"AAPL": Decimal(held)},
    )


def found(kind: BreakKind, cl_ord_id: str = "", exec_id: str = "", ours: str = "", theirs: str = "") -> Break:
    return Break(kind=kind, symbol="AAPL", cl_ord_id=cl_ord_id, exec_id=exec_id, ours=ours, theirs=theirs)


K = BreakKind

CASES = {
    "nothing anywhere": (picture(), picture(), []),
    "the same order": (picture(order("o1")), picture(order("o1")), []),
    "the same cancel in flight": (
        picture(order("o1", S.PENDING_CANCEL)),
        picture(order("o1", S.PENDING_CANCEL)),
        [],
    ),
    "a live order that moved on, its executions tell": (
        picture(order("o1")),
        picture(order("o1", S.PARTIALLY_FILLED)),
        [],
    ),
    "an execution that we missed": (
        picture(),
        picture(execution("e1", "o1"), held=10),
        [found(K.MISSED_EXECUTION, "o1", "e1")],
    ),
    "a missed sale": (
        picture(held=10),
        picture(execution("e1", "o1", Side.SELL)),
        [found(K.MISSED_EXECUTION, "o1", "e1")],
    ),
    "an execution of nobody's order": (
        picture(),
        picture(execution("e1", "x9"), held=10),
        [found(K.FOREIGN_EXECUTION, "x9", "e1"), found(K.POSITION, ours="0", theirs="10")],
    ),
    "an execution that the venue does not know": (
        picture(execution("e1", "o1"), held=10),
        picture(),
        [found(K.PHANTOM_EXECUTION, "o1", "e1"), found(K.POSITION, ours="10", theirs="0")],
    ),
    "an order that is gone": (picture(order("o1")), picture(), [found(K.GONE, "o1", ours="NEW")]),
    "an order that ended": (
        picture(order("o1")),
        picture(order("o1", S.CANCELED)),
        [found(K.GONE, "o1", ours="NEW", theirs="CANCELED")],
    ),
    "an unknown order that lives": (
        picture(order("o1", S.UNKNOWN)),
        picture(order("o1")),
        [found(K.STATUS, "o1", ours="UNKNOWN", theirs="NEW")],
    ),
    "an unknown order that ended": (
        picture(order("o1", S.UNKNOWN)),
        picture(order("o1", S.REJECTED)),
        [found(K.STATUS, "o1", ours="UNKNOWN", theirs="REJECTED")],
    ),
    "an order that the venue resized": (
        picture(order("o1")),
        picture(msgspec.structs.replace(order("o1"), order_qty=Decimal(400))),
        [found(K.QUANTITY, "o1", ours="100", theirs="400")],
    ),
    "an order without a row": (
        picture(),
        picture(order("x9")),
        [found(K.FOREIGN_ORDER, "x9", theirs="NEW")],
    ),
    "an ended order without a row is history": (picture(), picture(order("x9", S.FILLED)), []),
    "a split that nobody announced": (
        picture(held=10),
        picture(held=40),
        [found(K.POSITION, ours="10", theirs="40")],
    ),
}


@pytest.mark.parametrize("ours,theirs,breaks", CASES.values(), ids=CASES)
def test_each_difference_has_its_kind(ours: Picture, theirs: Picture, breaks: list[Break]) -> None:
    assert diff(ours, theirs, known=KNOWN) == breaks


def test_in_a_part_of_their_executions_ours_need_not_be_but_in_positions() -> None:
    ours = picture(execution("e1", "o1"), execution("e2", "o1"), held=20)
    assert diff(ours, picture(held=20), known=KNOWN, whole=False) == []
    assert diff(ours, picture(held=10), known=KNOWN, whole=False) == [found(K.POSITION, ours="20", theirs="10")]
    theirs = picture(execution("e0", "o1"), execution("e2", "o1"), held=30)
    assert diff(ours, theirs, known=KNOWN, whole=False) == [found(K.MISSED_EXECUTION, "o1", "e0")]


def test_the_cases_show_every_kind() -> None:
    assert {each.kind for _, _, breaks in CASES.values() for each in breaks} == set(BreakKind)


def test_executions_come_in_the_order_of_time_and_before_everything_else() -> None:
    theirs = picture(order("x9"), execution("e3", "o1", ts=1), execution("e1", "o1", ts=2), execution("e2", "x9", ts=1))
    kinds = [(each.kind, each.exec_id) for each in diff(picture(), theirs, known=KNOWN)]
    assert kinds == [
        (K.FOREIGN_EXECUTION, "e2"),
        (K.MISSED_EXECUTION, "e3"),
        (K.MISSED_EXECUTION, "e1"),
        (K.FOREIGN_ORDER, ""),
        (K.POSITION, ""),
    ]


def test_a_position_that_only_one_side_lists_is_compared_with_none() -> None:
    ours = Picture(orders={}, executions={}, positions={"B": Decimal(1), "C": ZERO})
    theirs = Picture(orders={}, executions={}, positions={"A": Decimal(2)})
    assert [(each.symbol, each.ours, each.theirs) for each in diff(ours, theirs, known=set())] == [
        ("A", "0", "2"),
        ("B", "1", "0"),
    ]


LIVE = sorted(set(OrdStatus) - TERMINAL)
IDS = ["o1", "o2", "o3", "x8", "x9"]
EXECUTIONS = st.dictionaries(
    st.sampled_from(["e1", "e2", "e3", "e4"]),
    st.tuples(st.sampled_from(IDS), st.sampled_from(Side), st.integers(1, 99), st.integers(1, 3)),
)


@st.composite
def pictures(draw: st.DrawFn, statuses: list[OrdStatus], ids: list[str]) -> Picture:
    orders = draw(st.dictionaries(st.sampled_from(ids), st.sampled_from(statuses)))
    executions = {e: execution(e, o, side, qty, ts) for e, (o, side, qty, ts) in draw(EXECUTIONS).items()}
    return Picture(
        orders={o: order(o, status) for o, status in orders.items()},
        executions=executions,
        positions={"AAPL": Decimal(draw(st.integers(-99, 99)))},
    )


OURS = pictures(LIVE, [*KNOWN])
THEIRS = pictures(list(OrdStatus), IDS)


@given(OURS)
def test_equal_pictures_have_no_difference(ours: Picture) -> None:
    assert diff(ours, ours, known=KNOWN) == []


def booked(ours: Picture, theirs: Picture, breaks: list[Break]) -> Picture:
    """Give our picture after booking what is explained, as the oms does it."""
    orders, executions, positions = dict(ours.orders), dict(ours.executions), dict(ours.positions)
    for each in breaks:
        if each.kind is K.MISSED_EXECUTION:
            new = executions[each.exec_id] = theirs.executions[each.exec_id]
            positions[new.symbol] = positions.get(new.symbol, ZERO) + new.side.sign * new.last_qty
        elif each.kind is K.STATUS:
            status = OrdStatus(each.theirs)
            orders[each.cl_ord_id] = msgspec.structs.replace(orders[each.cl_ord_id], ord_status=status)
        elif each.kind is K.GONE:
            del orders[each.cl_ord_id]
    live = {cl_ord_id: view for cl_ord_id, view in orders.items() if view.ord_status not in TERMINAL}
    return Picture(orders=live, executions=executions, positions=positions)


@given(OURS, THEIRS)
def test_booking_what_is_explained_leaves_only_what_is_not(ours: Picture, theirs: Picture) -> None:
    first = diff(ours, theirs, known=KNOWN)
    second = diff(booked(ours, theirs, first), theirs, known=KNOWN)
    assert second == [each for each in first if each.kind not in EXPLAINED]


@given(OURS, THEIRS)
def test_nothing_that_differs_is_passed_over(ours: Picture, theirs: Picture) -> None:
    breaks = diff(ours, theirs, known=KNOWN)
    by_kind = {kind: {b.exec_id or b.cl_ord_id or b.symbol for b in breaks if b.kind is kind} for kind in K}
    assert by_kind[K.MISSED_EXECUTION] | by_kind[K.FOREIGN_EXECUTION] == (
        theirs.executions.keys() - ours.executions.keys()
    )
    assert by_kind[K.PHANTOM_EXECUTION] == ours.executions.keys() - theirs.executions.keys()
    live = {o for o, view in theirs.orders.items() if view.ord_status not in TERMINAL}
    assert by_kind[K.FOREIGN_ORDER] == live - ours.orders.keys()
    assert by_kind[K.GONE] | by_kind[K.STATUS] >= ours.orders.keys() - live
