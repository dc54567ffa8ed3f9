"""The gate: every parent and every child passes here, and nothing reaches a venue that was not approved here.

The gate is a list of checks over one picture of the account (`risk.exposure`). A verdict is an event with its numbers:
`ParentAccepted` and `OrderApproved` reserve what they allow at the moment they are emitted, `OrderDenied` says which
limit was hit, by how much, and what would have passed. An approval is perishable: it names the last instant at which
its order may leave and the prices between which it may trade, and the gateway's last check holds it to both.

Beside the limits in force others may judge, the shadow limits: the same checks over the same picture, before the
verdict in force reserves anything. Where they would have let another quantity pass, `ShadowVerdict` says so.

`OrderApproved` is constructed in this module only; gateways accept nothing else. Prior art: barter-rs's typed proof of
risk, SEC rule 15c3-5's "under the direct and exclusive control" of the one who sends.
"""

from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import NamedTuple

from core.calendar import CALENDARS
from core.events import (
    Event,
    NewOrderSingle,
    OrderApproved,
    OrderDenied,
    OverrideUsed,
    ParentAccepted,
    ParentAmended,
    ParentAmendment,
    ParentOrder,
    Reason,
    ShadowVerdict,
)
from core.orders import OrdType
from core.units import ZERO
from risk.checks import Ask, Case, Denial, judge
from risk.exposure import Exposure
from risk.limits import Limits, LimitsInForce
from risk.overrides import Override, Overrides

MAX_RESIZES = 4  # a smaller quantity may hit the next limit; each round can only shrink it


class Verdict(NamedTuple):
    """What limits say to an order."""

    case: Case  # the last one that was judged
    denial: Denial | None
    cut: Denial | None = None  # what made a parent smaller

    @property
    def qty(self) -> Decimal:
        """That passes; zero where it is denied."""
        return self.case.ask.qty if self.denial is None else ZERO


class Gate:
    """Decides over the exposure, each time under the limits that are in force."""

    __slots__ = ("_exposure", "_limits", "_overrides", "_ticks")

    def __init__(
        self,
        exposure: Exposure,
        limits: LimitsInForce,
        ticks: Callable[[], int] = lambda: 0,
        *,
        overrides: Overrides | None = None,
    ) -> None:
        """`ticks`, ns, tell how long a verdict takes; without `overrides` there are none."""
        self._exposure = exposure
        self._limits = limits
        self._overrides = overrides if overrides is not None else Overrides()
        self._ticks = ticks

    def on_parent_order(self, order: ParentOrder) -> Iterable[Event]:
        """Accept a parent, by an override or smaller if it may be resized, or deny it."""
        limits, began = self._limits, self._ticks()
        first = self._judged(_ask_of_parent(order, order.order_qty), limits.current)
        override, waived = self._overridden(order, first)
        case, denial, _ = verdict = waived or self._cut(order, first, limits.current)
        said = self._accept(order, case, began, override) if denial is None else self._deny(case, denial, began)
        shadow = None if limits.shadow is None else self._of_parent(order, limits.shadow, waives=case.ask.waives)
        if override is not None:
            yield _used(order, override)
        yield said  # which reserves: the shadow limits have judged before it
        if shadow is not None and shadow.qty != verdict.qty:
            yield self._differ(verdict, shadow)

    def on_amendment(self, asked: ParentAmendment) -> Iterable[Event]:
        """Let a live parent be changed; one that is to be larger is judged like a parent of the difference.

        Whatever does not make it larger passes, also while trading is halted: down to what is done or works.
        """
        began, limits, wanted = self._ticks(), self._limits, asked.change.qty
        parent = self._exposure.parents.get(asked.parent_id)
        before, least = (ZERO, ZERO) if parent is None else (parent.order_qty, parent.cum_qty + parent.live_qty)
        qty = before if wanted is None else wanted
        if parent is None or (wanted is not None and wanted < least):  # it was not when the slicer looked
            case = Case(_ask_of_amendment(asked, qty, ZERO), self._exposure)
            yield self._deny(case, _too_late(asked, qty, least, is_open=parent is not None), began, amends=True)
            return
        if qty <= before:
            yield ParentAmended(
                ts=asked.ts, amendment=asked, order_qty=qty, more_qty=ZERO, limits_version=limits.version
            )
            return
        ask = _ask_of_amendment(asked, qty - before, before)
        verdict = self._judged(ask, limits.current)
        shadow = None if limits.shadow is None else self._judged(ask, limits.shadow)
        if verdict.denial is None:
            yield self._amend(asked, verdict.case, qty, began)
        else:
            yield self._deny(verdict.case, verdict.denial, began, amends=True)
        if shadow is not None and shadow.qty != verdict.qty:
            yield self._differ(verdict, shadow)

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
            waives=self._waived(order),
        )
        limits, began = self._limits, self._ticks()
        case, denial, _ = verdict = self._judged(ask, limits.current)
        said = self._approve(order, case, began) if denial is None else self._deny(case, denial, began)
        shadow = None if limits.shadow is None else self._judged(ask, limits.shadow)
        yield said  # which reserves, as above
        if shadow is not None and shadow.qty != verdict.qty:
            yield self._differ(verdict, shadow)

    def _of_parent(self, order: ParentOrder, limits: Limits, *, waives: Reason | None) -> Verdict:
        """Of a parent, smaller where it may be resized."""
        return self._cut(order, self._judged(_ask_of_parent(order, order.order_qty, waives), limits), limits)

    def _cut(self, order: ParentOrder, verdict: Verdict, limits: Limits) -> Verdict:
        """Of a parent that was judged as a whole, smaller where it may be resized."""
        for _ in range(MAX_RESIZES - 1):
            denial = verdict.denial
            if denial is None or not order.resizable or not denial.max_qty:
                break
            if self._is_small(order.symbol, denial.max_qty):
                break
            ask = _ask_of_parent(order, denial.max_qty, verdict.case.ask.waives)
            verdict = self._judged(ask, limits, cut=denial)
        return verdict

    def _judged(self, ask: Ask, limits: Limits, cut: Denial | None = None) -> Verdict:
        case = Case(ask, self._exposure)
        return Verdict(case, judge(case, limits), cut)

    def _differ(self, in_force: Verdict, shadow: Verdict) -> ShadowVerdict:
        ask, tighter = in_force.case.ask, shadow if shadow.qty < in_force.qty else in_force
        denial = tighter.denial or tighter.cut
        assert denial is not None  # what lets less pass than was asked for has met a limit
        return ShadowVerdict(
            ts=ask.ts,
            parent_id=ask.parent_id,
            cl_ord_id=ask.cl_ord_id,
            strategy=ask.strategy,
            symbol=ask.symbol,
            side=ask.side,
            order_qty=ask.asked_qty or ask.qty,
            in_force_qty=in_force.qty,
            shadow_qty=shadow.qty,
            reason=denial.reason,
            value=denial.value,
            limit=denial.limit,
            unit=denial.unit,
            max_qty=denial.max_qty,
            limits_version=self._limits.version,
            shadow_version=self._limits.shadow_version,
            text=denial.text,
        )

    def _overridden(self, order: ParentOrder, verdict: Verdict) -> tuple[Override, Verdict] | tuple[None, None]:
        """The oldest override that was granted for an order that is denied, where no other check denies it."""
        limits, denial = self._limits.current, verdict.denial
        if denial is None or not limits.override:
            return None, None
        found = next((each for each in self._overrides.open(order.ts) if each.fits(order, denial.reason)), None)
        if found is None:
            return None, None
        waived = self._judged(_ask_of_parent(order, order.order_qty, waives=denial.reason), limits)
        return (found, waived) if waived.denial is None else (None, None)

    def _is_flatten(self, order: NewOrderSingle) -> bool:
        parent = self._exposure.parents.get(order.parent_id)
        return parent is not None and parent.flatten

    def _waived(self, order: NewOrderSingle) -> Reason | None:
        """What a child is not denied for, as its parent was not; only as long as overrides are allowed."""
        parent = self._exposure.parents.get(order.parent_id)
        return parent.waives if parent is not None and self._limits.current.override else None

    def _is_small(self, symbol: str, qty: Decimal) -> bool:
        """Whether so little is under what the venue takes; without a price that cannot be said."""
        instrument, mark = self._exposure.instruments[symbol], self._exposure.mark(symbol)
        return mark is not None and instrument.notional(qty, mark) < instrument.min_notional

    def _accept(self, order: ParentOrder, case: Case, began: int, override: Override | None = None) -> ParentAccepted:
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
            override_id=override.proposed.override_id if override is not None else "",
            waives=case.ask.waives,
        )

    def _amend(self, asked: ParentAmendment, case: Case, qty: Decimal, began: int) -> ParentAmended:
        return ParentAmended(
            ts=asked.ts,
            amendment=asked,
            order_qty=qty,
            more_qty=case.ask.qty,
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

    def _deny(self, case: Case, denial: Denial, began: int, *, amends: bool = False) -> OrderDenied:
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
            amends=amends,
        )


def _used(order: ParentOrder, override: Override) -> OverrideUsed:
    proposed = override.proposed
    return OverrideUsed(
        ts=order.ts,
        override_id=proposed.override_id,
        parent_id=order.parent_id,
        reason=proposed.reason,
        proposed_by=proposed.by,
        granted_by=override.granted_by,
    )


def _ask_of_amendment(asked: ParentAmendment, more: Decimal, before: Decimal) -> Ask:
    return Ask(
        ts=asked.ts,
        parent_id=asked.parent_id,
        cl_ord_id="",
        strategy=asked.strategy,
        venue=asked.venue,
        symbol=asked.symbol,
        side=asked.side,
        qty=more,
        ord_type=OrdType.LIMIT if asked.price is not None else OrdType.MARKET,
        price=asked.price,
        time_in_force=None,
        beside=before,
    )


def _too_late(asked: ParentAmendment, qty: Decimal, least: Decimal, *, is_open: bool) -> Denial:
    """R16: what was sent or ended since it was asked for does not let it be so small."""
    text = f"{asked.parent_id} has {least} done or working" if is_open else f"{asked.parent_id} is not open"
    return Denial(reason=Reason.OVER_PARENT, value=least, limit=qty, unit="shares", text=text)


def _ask_of_parent(order: ParentOrder, qty: Decimal, waives: Reason | None = None) -> Ask:
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
        protects=order.protects,
        waives=waives,
    )
