"""What a venue's words mean for an order: raw reports and outcomes as triggers of the table in `core.orders`."""

from core.events import ExecutionReport, Outcome
from core.orders import ExecType, Order, OrdStatus, Trigger

OUTCOMES = {
    Outcome.ACCEPTED: Trigger.ACKNOWLEDGED,
    Outcome.REJECTED: Trigger.REJECTED,
    Outcome.NOT_SENT: Trigger.NOT_SENT,
    Outcome.UNKNOWN: Trigger.IN_DOUBT,
    Outcome.LAPSED: Trigger.LAPSED,
}

_REPORTS = {
    ExecType.NEW: Trigger.ACKNOWLEDGED,
    ExecType.CANCELED: Trigger.CANCELED,
    ExecType.REJECTED: Trigger.REJECTED,
    ExecType.EXPIRED: Trigger.EXPIRED,
    ExecType.NOT_FOUND: Trigger.NOT_SENT,
}

_STATUS: dict[OrdStatus | None, Trigger] = {
    OrdStatus.PENDING_CANCEL: Trigger.CANCEL_REQUESTED,
    OrdStatus.SENT: Trigger.SUBMITTED,
    OrdStatus.FILLED: Trigger.COMPLETED,
    OrdStatus.CANCELED: Trigger.CANCELED,
    OrdStatus.EXPIRED: Trigger.EXPIRED,
    OrdStatus.REJECTED: Trigger.REJECTED,
    OrdStatus.UNKNOWN: Trigger.IN_DOUBT,
}

_ENDINGS = frozenset({Trigger.COMPLETED, Trigger.CANCELED, Trigger.EXPIRED, Trigger.REJECTED})


def trigger_of(order: Order, event: ExecutionReport) -> Trigger | None:
    """What a report that is no execution means for the order; None where it makes no sense.

    A cancel is refused because the order has ended, or for another reason: the status that the venue states says which.
    """
    if event.exec_type is ExecType.CANCEL_REJECTED and event.ord_status is None:
        return Trigger.CANCEL_REQUESTED if order.ord_status is OrdStatus.PENDING_CANCEL else _cancel_rejected(order)
    if event.exec_type in {ExecType.STATUS, ExecType.CANCEL_REJECTED}:
        if event.ord_status in {OrdStatus.NEW, OrdStatus.PARTIALLY_FILLED}:
            return _works(order)
        trigger = _STATUS.get(event.ord_status)
    else:
        trigger = _REPORTS[event.exec_type]
    return Trigger.SHORT if trigger in _ENDINGS and _is_short(order, event, trigger) else trigger


def is_sound(event: ExecutionReport) -> bool:
    """Whether an execution has an id and numbers that can be booked."""
    numbers = (event.last_qty, event.last_px, event.fee)
    return bool(event.exec_id) and all(n.is_finite() for n in numbers) and event.last_qty > 0 and event.last_px > 0


def _works(order: Order) -> Trigger:
    if order.ord_status is OrdStatus.PENDING_CANCEL:  # our request never arrived
        return _cancel_rejected(order)
    return Trigger.TRADED if order.cum_qty else Trigger.ACKNOWLEDGED


def _is_short(order: Order, event: ExecutionReport, trigger: Trigger) -> bool:
    """Whether an order ended with executions that we have not booked, or may have."""
    if event.cum_qty is not None and event.cum_qty.is_finite():
        return event.cum_qty > order.cum_qty
    if trigger is Trigger.COMPLETED:
        return order.open_qty > 0
    # the answer to a query comes behind all executions, a refused order has none
    return event.exec_type is not ExecType.STATUS and trigger is not Trigger.REJECTED


def _cancel_rejected(order: Order) -> Trigger:
    return Trigger.CANCEL_REJECTED_PART if order.cum_qty else Trigger.CANCEL_REJECTED
