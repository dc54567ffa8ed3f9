"""The gate: every parent and every child passes here, and nothing reaches a venue that was not approved here.

The gate is a list of checks over one picture of the account (`risk.exposure`). A verdict is an event with its numbers:
`ParentAccepted` and `OrderApproved` reserve what they allow at the moment they are emitted, `OrderDenied` says which
limit was hit, by how much, and what would have passed. An approval is perishable: it names the last instant at which
its order may leave and the prices between which it may trade, and the gateway's last check holds it to both.

`OrderApproved` is constructed in this module only; gateways accept nothing else. Prior art: barter-rs's typed proof of
risk, SEC rule 15c3-5's "under the direct and exclusive control" of the one who sends.
"""

from collections.abc import Callable, Iterable
from decimal import Decimal

from core.calendar import CALENDARS
from core.events import Event, NewOrderSingle, OrderApproved, OrderDenied, ParentAccepted, ParentOrder
from core.orders import OrdType
from risk.checks import Ask, Case, Denial, judge
from risk.exposure import Exposure
from risk.limits import LimitsInForce

MAX_RESIZES = 4  # a smaller quantity may hit the next limit; each round can only shrink it


class Gate:
    """Decides over the exposure, each time under the limits that are in force."""

    __slots__ = ("_exposure", "_limits", "_ticks")

    def __init__(self, exposure: Exposure, limits: LimitsInForce, ticks: Callable[[], int] = lambda: 0) -> None:
        """`ticks`, ns, tell how long a verdict takes."""
        self._exposure = exposure
        self._limits = limits
        self._ticks = ticks

    def on_parent_order(self, order: ParentOrder) -> Iterable[Event]:
        """Accept a parent, smaller if it may be resized, or deny it."""
        qty, began, case, denial = order.order_qty, self._ticks(), None, None
        for _ in range(MAX_RESIZES):
            case = Case(_ask_of_parent(order, qty), self._exposure)
            denial = judge(case, self._limits.current)
            if denial is None:
                yield self._accept(order, case, began)
                return
            if not order.resizable or not denial.max_qty or self._is_small(order.symbol, denial.max_qty):
                break
            qty = denial.max_qty
        assert case is not None
        assert denial is not None
        yield self._deny(case, denial, began)

    def on_new_order(self, order: NewOrderSingle) -> Iterable[Event]:
        """Approve a child or deny it."""
        ask = Ask(
            ts=order.ts,
            parent_id=order.parent_id,
            cl_ord_id=order.cl_ord_id,
            strategy=order.strategy,
            venue=order.venue,
            symbol=order.symbol,
            side=order.side,
            qty=order.order_qty,
            ord_type=order.ord_type,
            price=order.price,
            time_in_force=order.time_in_force,
            flatten=self._is_flatten(order),
        )
        began, case = self._ticks(), Case(ask, self._exposure)
        denial = judge(case, self._limits.current)
        yield self._approve(order, case, began) if denial is None else self._deny(case, denial, began)

    def _is_flatten(self, order: NewOrderSingle) -> bool:
        parent = self._exposure.parents.get(order.parent_id)
        return parent is not None and parent.flatten

    def _is_small(self, symbol: str, qty: Decimal) -> bool:
        """Whether so little is under what the venue takes; without a price that cannot be said."""
        instrument, mark = self._exposure.instruments[symbol], self._exposure.mark(symbol)
        return mark is not None and instrument.notional(qty, mark) < instrument.min_notional

    def _accept(self, order: ParentOrder, case: Case, began: int) -> ParentAccepted:
        market = self._exposure.market[order.symbol]
        mark = self._exposure.mark(order.symbol)
        assert mark is not None
        return ParentAccepted(
            ts=order.ts,
            parent=order,
            order_qty=case.ask.qty,
            bid=market.bid,
            ask=market.ask,
            arrival_px=mark,
            limits_version=self._limits.version,
            nearest=case.nearest,
            checks=case.checks,
            duration_ns=self._ticks() - began,
        )

    def _approve(self, order: NewOrderSingle, case: Case, began: int) -> OrderApproved:
        market = self._exposure.market[order.symbol]
        mark, limits = self._exposure.mark(order.symbol), self._limits.current
        assert mark is not None
        return OrderApproved(
            ts=order.ts,
            order=order,
            not_after=self._not_after(order),
            collar_low=mark * (1 - limits.collar),
            collar_high=mark * (1 + limits.collar),
            bid=market.bid,
            ask=market.ask,
            limits_version=self._limits.version,
            reducing=case.shrinks,
            flatten=case.ask.flatten,
            nearest=case.nearest,
            checks=case.checks,
            duration_ns=self._ticks() - began,
        )

    def _not_after(self, order: NewOrderSingle) -> int:
        """The end of the approval's life, of the session less its margin, or of the signal, whichever is first."""
        limits = self._limits.current
        session = CALENDARS[self._exposure.instruments[order.symbol].calendar].session_at(order.ts)
        assert session is not None
        ends = [order.ts + limits.approval_ttl_ns, session.close - limits.close_margin_ns]
        valid_until = self._exposure.parents[order.parent_id].valid_until
        return min(ends if valid_until is None else [*ends, valid_until])

    def _deny(self, case: Case, denial: Denial, began: int) -> OrderDenied:
        ask = case.ask
        return OrderDenied(
            ts=ask.ts,
            parent_id=ask.parent_id,
            cl_ord_id=ask.cl_ord_id,
            strategy=ask.strategy,
            symbol=ask.symbol,
            side=ask.side,
            order_qty=ask.asked_qty or ask.qty,
            reason=denial.reason,
            value=denial.value,
            limit=denial.limit,
            unit=denial.unit,
            max_qty=denial.max_qty,
            limits_version=self._limits.version,
            text=denial.text,
            checks=case.checks,
            duration_ns=self._ticks() - began,
            reducing=case.shrinks,
            met=denial.met,
        )


def _ask_of_parent(order: ParentOrder, qty: Decimal) -> Ask:
    return Ask(
        ts=order.ts,
        parent_id=order.parent_id,
        cl_ord_id="",
        strategy=order.strategy,
        venue=order.venue,
        symbol=order.symbol,
        side=order.side,
        qty=qty,
        ord_type=OrdType.LIMIT if order.how.price is not None else OrdType.MARKET,
        price=order.how.price,
        time_in_force=None,
        asked_qty=order.order_qty,
        flatten=order.flatten,
    )
