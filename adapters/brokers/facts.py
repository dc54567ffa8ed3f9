"""What happens at the venue: the facts that change its state, as its log keeps them, and its other answers."""

from decimal import Decimal

import msgspec

from core.events import NewOrderSingle
from core.orders import OrdStatus


class Entered(msgspec.Struct, frozen=True, tag=True):
    """An order is in the venue's book. It ends at `expires`, None for never; an immediate one as it comes."""

    ts: int
    order: NewOrderSingle
    order_id: str
    expires: int | None


class Executed(msgspec.Struct, frozen=True, tag=True):
    """An execution; `cum_qty` includes it. The fee is positive when paid."""

    ts: int
    cl_ord_id: str
    exec_id: str
    last_qty: Decimal
    last_px: Decimal
    fee: Decimal
    cum_qty: Decimal


class Ended(msgspec.Struct, frozen=True, tag=True):
    """An order ended before it was filled, as CANCELED or EXPIRED."""

    ts: int
    cl_ord_id: str
    ord_status: OrdStatus
    cum_qty: Decimal


class Moved(msgspec.Struct, frozen=True, tag=True):
    """Cash was paid into the account, or out of it where the amount is negative."""

    ts: int
    amount: Decimal


class Adjusted(msgspec.Struct, frozen=True, tag=True):
    """`denominator` shares of a symbol have become `numerator`."""

    ts: int
    symbol: str
    numerator: int
    denominator: int


class Refused(msgspec.Struct, frozen=True):
    """The venue refused an order, and forgets it."""

    cl_ord_id: str
    reason: str


class Repeated(msgspec.Struct, frozen=True):
    """The client id was used before; `order_id` is the order that it stands for."""

    cl_ord_id: str
    order_id: str


class CancelRefused(msgspec.Struct, frozen=True):
    """There is nothing to cancel: the order ended or never was."""

    cl_ord_id: str
    reason: str


Fact = Entered | Executed | Ended | Moved | Adjusted
"""What changes the venue's state."""

VenueEvent = Fact | Refused | Repeated | CancelRefused
