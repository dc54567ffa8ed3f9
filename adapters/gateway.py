"""The seam to a venue, typed by what the venue may have done.

    outcome of a submit
    |-- Accepted   the venue has the order
    |-- Rejected   the venue refused it: it is dead
    |-- NotSent    certainly not done: may be retried under the same client id
    |-- Unknown    may be done: keeps its quantity reserved, blocks a resend, is resolved by asking
    `-- Lapsed     our own last check refused before the first byte

A gateway turns time-outs, resets after the write, 5xx answers and anything unlisted into Unknown, never into a default.
What happens to an order afterwards arrives as `ExecutionReport`s through the `report` callable given to the gateway.
"""

from collections.abc import Callable
from typing import Protocol

import msgspec

from core.events import AccountReported, ExecutionReport, OrderApproved
from core.instruments import VenueAbility
from core.reconcile import Picture


class Accepted(msgspec.Struct, frozen=True):
    """The venue has the order, under its own id."""

    order_id: str


class Rejected(msgspec.Struct, frozen=True):
    """The venue refused the order."""

    reason: str


class NotSent(msgspec.Struct, frozen=True):
    """Nothing left, or the venue said that it did nothing."""

    reason: str


class Unknown(msgspec.Struct, frozen=True):
    """The order may be live."""

    reason: str


class Lapsed(msgspec.Struct, frozen=True):
    """The last check refused; nothing left."""

    reason: str


Result = Accepted | Rejected | NotSent | Unknown | Lapsed

LastCheck = Callable[[OrderApproved], str | None]
"""Why the order must not leave now, or None. Called right before the write with no await in between."""

Report = Callable[[ExecutionReport], None]


class Capabilities(VenueAbility, frozen=True, kw_only=True):
    """What a venue can do: the orders it takes, whether it prints ours, and how it is to be asked."""

    settle_s: float = 2.0  # how long after a loss of contact an order may still appear in queries
    in_flight_max: int = 32  # submits that may wait for their answers at once
    bulk_cancel: bool = False  # one request takes back everything: `cancel_all`


class Gateway(Protocol):
    """One venue. Every method may raise OSError where the venue cannot be reached, except `submit`, which says so."""

    name: str
    capabilities: Capabilities

    async def connect(self) -> None:
        """Be ready to send and to hear reports."""
        ...

    async def submit(self, approved: OrderApproved, last_check: LastCheck) -> Result:
        """Send one order, once. The same client id is sent again only by the caller's decision."""
        ...

    async def cancel(self, cl_ord_id: str) -> None:
        """Ask for a cancel; the answer arrives as a report (CANCELED, or CANCEL_REJECTED).

        A refusal states the order's status, or none where the venue does not say it: then the order is asked about.
        """
        ...

    async def cancel_all(self) -> None:
        """Ask for a cancel of all that works in the account; called only where `capabilities.bulk_cancel` says so."""
        ...

    async def query(self, cl_ord_id: str) -> list[ExecutionReport]:
        """All executions of the order, then one STATUS report; or one NOT_FOUND, only with proof of death."""
        ...

    async def picture(self, since: int = 0) -> Picture:
        """The venue's live orders, executions from `since` on (ns), more where it cannot choose, and positions."""
        ...

    async def account(self) -> AccountReported:
        """How the account stands by the venue's books, as of the asking or later; what it does not state is None."""
        ...

    async def close(self) -> None:
        """Let go of the connection; working orders stay as they are."""
        ...
