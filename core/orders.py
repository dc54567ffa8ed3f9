"""The life of an order, as a literal table.

An order is a quantity that may execute. Three ideas carry this module:

1. **The table is the law.** `TRANSITIONS[status][trigger]` is every legal move; what is not in it is an anomaly of the
   venue: it is reported and changes nothing. The docs' diagram is drawn from this table.
2. **Quantity is not a status.** The truth about quantity is the sum of de-duplicated executions. A status never lowers
   `cum_qty`; a fill that arrives after a terminal report is booked all the same.
3. **Doubt keeps its quantity.** `leaves_qty` is what may still execute: an order that is Unknown, waiting for its
   cancel, or terminal with executions missing (Settling) keeps all of its remainder reserved. Only a status in
   `TERMINAL` frees it.

Words: *Denied* is us (the order never left the house), *Rejected* is the venue, *Lapsed* is an approval that grew too
old, *NotSent* certainly never reached the venue. Lineage: FIX 5.0 order state matrices; h11's state tables.
"""

from decimal import Decimal
from enum import StrEnum
from typing import Self

import msgspec

from core.units import ZERO


class FixEnum(StrEnum):
    """A StrEnum whose members read as words and carry their FIX code in `.fix` (empty for states of our own)."""

    fix: str

    def __new__(cls, value: str, fix: str = "") -> Self:
        """Make the member of a word and its code."""
        member = str.__new__(cls, value)
        member._value_ = value
        member.fix = fix
        return member

    __hash__ = str.__hash__  # as equality is; an enum's own is written in Python, and sides are keys of the hot path


class Side(FixEnum):  # 54
    """Whether an order buys or sells."""

    sign: int  # +1 for a buy, -1 for a sell
    opposite: "Side"

    BUY = "BUY", "1"
    SELL = "SELL", "2"


Side.BUY.sign, Side.BUY.opposite = 1, Side.SELL
Side.SELL.sign, Side.SELL.opposite = -1, Side.BUY


class OrdType(FixEnum):  # 40
    """Whether a price bounds the execution."""

    MARKET = "MARKET", "1"
    LIMIT = "LIMIT", "2"


class TimeInForce(FixEnum):  # 59
    """How long an order stays at the venue: the day, until cancelled, one moment in part, one moment in full."""

    DAY = "DAY", "0"
    GTC = "GTC", "1"
    IOC = "IOC", "3"
    FOK = "FOK", "4"


class ExecType(FixEnum):  # 150
    """What a report says."""

    NEW = "NEW", "0"
    TRADE = "TRADE", "F"
    CANCELED = "CANCELED", "4"
    REJECTED = "REJECTED", "8"
    EXPIRED = "EXPIRED", "C"
    TRADE_CANCEL = "TRADE_CANCEL", "H"
    CANCEL_REJECTED = "CANCEL_REJECTED", "9"  # message type 9 in FIX; one stream of reports is simpler to de-duplicate
    STATUS = "STATUS", "I"  # the answer to a query
    NOT_FOUND = "NOT_FOUND"  # proof of death: absent wherever the venue could show it, after its settle time


class OrdStatus(FixEnum):  # 39
    """Where an order stands; the rows of `TRANSITIONS`."""

    PENDING_SUBMIT = "PENDING_SUBMIT"
    SENT = "SENT", "A"
    NEW = "NEW", "0"
    PARTIALLY_FILLED = "PARTIALLY_FILLED", "1"
    FILLED = "FILLED", "2"
    PENDING_CANCEL = "PENDING_CANCEL", "6"
    CANCELED = "CANCELED", "4"
    EXPIRED = "EXPIRED", "C"
    REJECTED = "REJECTED", "8"
    UNKNOWN = "UNKNOWN"
    SETTLING = "SETTLING"
    LAPSED = "LAPSED"
    NOT_SENT = "NOT_SENT"


class Trigger(StrEnum):
    """What the oms heard about an order, after de-duplication."""

    SUBMITTED = "submitted"
    ACKNOWLEDGED = "acknowledged"
    TRADED = "traded"  # an execution that leaves quantity open
    COMPLETED = "completed"  # the execution that fills the order
    CANCEL_REQUESTED = "cancel requested"
    CANCEL_REJECTED = "cancel rejected"  # with nothing executed
    CANCEL_REJECTED_PART = "cancel rejected, part filled"
    CANCELED = "canceled"
    EXPIRED = "expired"
    REJECTED = "rejected"
    SHORT = "ended with executions missing"
    IN_DOUBT = "outcome unknown"
    LAPSED = "approval lapsed"
    NOT_SENT = "certainly not sent"


_S, _T = OrdStatus, Trigger

# A terminal order still books what arrives late; a late acknowledgement of it is stale and changes nothing.
_LATE_FILLS = {_T.COMPLETED: _S.FILLED}


def _ended(status: OrdStatus) -> dict[Trigger, OrdStatus]:
    stale = (_T.SUBMITTED, _T.ACKNOWLEDGED, _T.TRADED, _T.CANCEL_REJECTED, _T.CANCEL_REJECTED_PART, _T.IN_DOUBT)
    return dict.fromkeys(stale, status) | _LATE_FILLS


_ENDINGS = {
    _T.COMPLETED: _S.FILLED,
    _T.CANCELED: _S.CANCELED,
    _T.EXPIRED: _S.EXPIRED,
    _T.REJECTED: _S.REJECTED,
    _T.SHORT: _S.SETTLING,
}

TRANSITIONS: dict[OrdStatus, dict[Trigger, OrdStatus]] = {
    _S.PENDING_SUBMIT: {
        _T.SUBMITTED: _S.SENT,
        _T.ACKNOWLEDGED: _S.NEW,  # the stream may be faster than the answer to the request
        _T.TRADED: _S.PARTIALLY_FILLED,
        _T.CANCEL_REQUESTED: _S.PENDING_CANCEL,
        _T.IN_DOUBT: _S.UNKNOWN,
        _T.LAPSED: _S.LAPSED,
        _T.NOT_SENT: _S.NOT_SENT,
        **_ENDINGS,
    },
    _S.SENT: {
        _T.ACKNOWLEDGED: _S.NEW,
        _T.TRADED: _S.PARTIALLY_FILLED,
        _T.CANCEL_REQUESTED: _S.PENDING_CANCEL,
        _T.IN_DOUBT: _S.UNKNOWN,
        _T.NOT_SENT: _S.NOT_SENT,  # its acknowledgement never came, and the venue proved that it has no such order
        **_ENDINGS,
    },
    _S.NEW: {
        _T.SUBMITTED: _S.NEW,
        _T.ACKNOWLEDGED: _S.NEW,
        _T.TRADED: _S.PARTIALLY_FILLED,
        _T.CANCEL_REQUESTED: _S.PENDING_CANCEL,
        _T.CANCEL_REJECTED: _S.NEW,  # stale: a later answer was heard first
        _T.IN_DOUBT: _S.UNKNOWN,
        _T.NOT_SENT: _S.NOT_SENT,  # proof of death, of an order that was acknowledged: it is gone all the same
        **_ENDINGS,
    },
    _S.PARTIALLY_FILLED: {
        _T.SUBMITTED: _S.PARTIALLY_FILLED,
        _T.ACKNOWLEDGED: _S.PARTIALLY_FILLED,
        _T.TRADED: _S.PARTIALLY_FILLED,
        _T.CANCEL_REQUESTED: _S.PENDING_CANCEL,
        _T.CANCEL_REJECTED_PART: _S.PARTIALLY_FILLED,
        _T.IN_DOUBT: _S.UNKNOWN,
        _T.NOT_SENT: _S.NOT_SENT,
        **_ENDINGS,
    },
    _S.PENDING_CANCEL: {
        _T.SUBMITTED: _S.PENDING_CANCEL,
        _T.ACKNOWLEDGED: _S.PENDING_CANCEL,
        _T.TRADED: _S.PENDING_CANCEL,
        _T.CANCEL_REJECTED: _S.NEW,
        _T.CANCEL_REJECTED_PART: _S.PARTIALLY_FILLED,
        _T.CANCEL_REQUESTED: _S.PENDING_CANCEL,
        _T.IN_DOUBT: _S.UNKNOWN,
        _T.LAPSED: _S.LAPSED,
        _T.NOT_SENT: _S.NOT_SENT,
        **_ENDINGS,
    },
    _S.UNKNOWN: {
        _T.SUBMITTED: _S.SENT,
        _T.ACKNOWLEDGED: _S.NEW,
        _T.TRADED: _S.PARTIALLY_FILLED,
        _T.CANCEL_REQUESTED: _S.UNKNOWN,  # the request goes out; the doubt stays until the venue answers
        _T.CANCEL_REJECTED: _S.UNKNOWN,
        _T.CANCEL_REJECTED_PART: _S.UNKNOWN,
        _T.IN_DOUBT: _S.UNKNOWN,
        _T.NOT_SENT: _S.NOT_SENT,  # proof of death
        **_ENDINGS,
    },
    _S.SETTLING: {
        _T.TRADED: _S.SETTLING,
        _T.SHORT: _S.SETTLING,
        _T.ACKNOWLEDGED: _S.SETTLING,
        _T.SUBMITTED: _S.SETTLING,
        _T.CANCEL_REJECTED: _S.SETTLING,
        _T.CANCEL_REJECTED_PART: _S.SETTLING,
        _T.COMPLETED: _S.FILLED,
        _T.CANCELED: _S.CANCELED,
        _T.EXPIRED: _S.EXPIRED,
    },
    _S.FILLED: _ended(_S.FILLED),
    _S.CANCELED: _ended(_S.CANCELED) | {_T.CANCELED: _S.CANCELED},
    _S.EXPIRED: _ended(_S.EXPIRED) | {_T.EXPIRED: _S.EXPIRED},
    _S.REJECTED: _ended(_S.REJECTED) | {_T.REJECTED: _S.REJECTED},
    _S.LAPSED: _ended(_S.LAPSED),
    _S.NOT_SENT: _ended(_S.NOT_SENT),
}

TERMINAL = frozenset({_S.FILLED, _S.CANCELED, _S.EXPIRED, _S.REJECTED, _S.LAPSED, _S.NOT_SENT})


class Order(msgspec.Struct, kw_only=True):
    """One child order as the oms knows it: what was approved, where it stands, what was executed."""

    cl_ord_id: str  # 11, ours
    parent_id: str
    strategy: str
    venue: str
    symbol: str
    side: Side  # 54
    order_qty: Decimal  # 38
    price: Decimal | None  # 44
    last_change: int  # of its status, ns UTC
    order_id: str = ""  # 37, the venue's
    ord_status: OrdStatus = OrdStatus.PENDING_SUBMIT  # 39
    cum_qty: Decimal = ZERO  # 14
    busted_qty: Decimal = ZERO  # executed and taken back: the venue does not work it again
    notional: Decimal = ZERO  # sum of quantity times price
    queries: int = 0  # about its present status
    day_end: int | None = None  # of a DAY order: the end of its session, ns; None once it was found open after that
    exec_ids: dict[str, None] = {}  # 17, in order, the busted among them: remembered as long as the order

    @property
    def leaves_qty(self) -> Decimal:  # 151
        """What may still execute; zero once terminal."""
        if self.ord_status in TERMINAL:
            return ZERO
        return self.open_qty

    @property
    def open_qty(self) -> Decimal:
        """What has not been executed, whatever the status; never negative."""
        return max(self.order_qty - self.cum_qty - self.busted_qty, ZERO)

    @property
    def avg_px(self) -> Decimal | None:  # 6
        """Average execution price, None before the first execution."""
        return self.notional / self.cum_qty if self.cum_qty else None

    def after(self, trigger: Trigger) -> OrdStatus | None:
        """The status that `trigger` leads to from the present one; None where the table has no such move."""
        return TRANSITIONS[self.ord_status].get(trigger)

    def book(self, last_qty: Decimal, last_px: Decimal) -> None:
        """Add one execution."""
        self.cum_qty += last_qty
        self.notional += last_qty * last_px

    def bust(self, last_qty: Decimal, last_px: Decimal) -> None:
        """Take one execution back."""
        self.cum_qty -= last_qty
        self.busted_qty += last_qty
        self.notional -= last_qty * last_px
