"""What the broker says of the account, held against our own books (Z5, R8).

Our equity moves with each price and each fill, the broker's is as of its report and lags behind until the next one. So
what is carried from report to report is the difference, the broker's equity less ours at that moment, and

    equity = ours + min(0, difference).

Fills that one side has not booked yet, and prices that it has not seen, make differences of a moment; a moment must not
trip a loss. A difference therefore counts as far as two reports in a row have shown it. A report that states no equity
says nothing of it, and those before it stand, however old: silence is no reason to think better of an account. Nor does
one that was asked for before cash was last moved: the broker may not have known yet. Where the broker knew first, the
move explains a difference: what remains is the smaller one of those with it and without it.

What may be opened need not wait for a second report: it is judged by no more than the newest one states, with what the
market and our fills have moved since (`doubt`). What is paid in counts there once a report knows it, so that a mistyped
amount opens nothing at a broker that states an equity.

Buying power is the broker's figure less what we have reserved since. Orders that it had acknowledged when it was asked
are in its figure already, and are not counted again; every other one counts in full, in flight or in doubt, until it
has ended unexecuted or a later report covers it. What shrinks a position frees nothing before the next report.
"""

from decimal import Decimal

import msgspec

from core.events import AccountReported, CashMoved, OrderUpdated
from core.orders import OrdStatus
from core.units import ZERO

CONFIRMED = 2  # reports in a row
_ACKNOWLEDGED = frozenset({OrdStatus.NEW, OrdStatus.PARTIALLY_FILLED, OrdStatus.SETTLING})


class Reserved(msgspec.Struct):
    """What of a live order opens a position, and the broker's buying power may not know of."""

    unit: Decimal  # money a share
    qty: Decimal
    heard: int = 0  # ns: when the venue first said that it has the order; 0: not yet


class BrokerView:
    """The account by its broker's last reports. An account is at one broker, whose venues all speak of the same."""

    __slots__ = (
        "_moved_ts",
        "_newest",
        "_orders",
        "_spent",
        "_spent_ts",
        "buying_power",
        "gaps",
        "report",
        "reserved",
        "short",
    )

    def __init__(self) -> None:
        self.report: AccountReported | None = None
        self.gaps: tuple[Decimal, ...] = ()  # the broker's equity less ours, of the last reports; the newest last
        self.short = ZERO  # what is confirmed to be missing at the broker; negative
        self._newest = ZERO  # the equity of the newest report less ours, which has cash moves since in it
        self.buying_power: Decimal | None = None  # as it was stated last
        self.reserved = ZERO  # money for what opens, of which that does not know
        self._moved_ts = 0  # when cash was last moved
        self._orders: dict[str, Reserved] = {}
        self._spent = ZERO  # of it, by orders that have ended since
        self._spent_ts = 0  # the last of them

    @property
    def apart(self) -> Decimal:
        """How far apart the two equities are as far as that is confirmed, money."""
        return min(map(abs, self.gaps)) if len(self.gaps) == CONFIRMED else ZERO

    @property
    def doubt(self) -> Decimal:
        """What is missing at the broker, or may be by its newest report alone; negative."""
        return min(self.short, self._newest)

    def differs(self, most: Decimal) -> bool:
        """Whether it is confirmed that the two equities are more than so much money apart."""
        return self.apart > most

    def agrees(self, most: Decimal) -> bool:
        """Whether it is confirmed that they are not: none of the last reports was so far off."""
        return len(self.gaps) == CONFIRMED and all(abs(gap) <= most for gap in self.gaps)

    def hear(self, event: AccountReported, ours: Decimal) -> None:
        """Take a report over, while our own equity is `ours`."""
        self.report = event
        if event.equity is not None and event.as_of >= self._moved_ts:
            self._newest = event.equity - ours
            self._show((*self.gaps, self._newest)[-CONFIRMED:])
        if event.buying_power is not None:
            self.buying_power = event.buying_power
            self._cover(event.as_of)

    def move(self, event: CashMoved) -> None:
        """Cash is paid in, or out: by our books; by the broker's before or after."""
        self._moved_ts = event.ts
        if self.gaps:
            self._newest -= event.amount
        self._show(tuple(min(gap, gap - event.amount, key=abs) for gap in self.gaps))

    def reserve(self, cl_ord_id: str, unit: Decimal, qty: Decimal) -> None:
        """An order goes that opens so many shares at so much money each."""
        if qty:
            self._orders[cl_ord_id] = Reserved(unit, qty)
            self.reserved += unit * qty

    def update(self, event: OrderUpdated) -> None:
        """Where an order stands: what shrinks is taken to be executed first, and what ends unexecuted is free again."""
        order = self._orders.get(event.cl_ord_id)
        if order is None:
            return
        if event.ord_status in _ACKNOWLEDGED and not order.heard:
            order.heard = event.ts
        if event.terminal:
            del self._orders[event.cl_ord_id]
            unexecuted = min(order.qty, max(event.order_qty - event.cum_qty, ZERO))
            self.reserved -= order.unit * unexecuted
            if unexecuted < order.qty:
                self._spent += order.unit * (order.qty - unexecuted)
                self._spent_ts = max(self._spent_ts, event.ts)

    def _cover(self, as_of: int) -> None:
        """The broker's figure holds what it had acknowledged by then."""
        for cl_ord_id, order in list(self._orders.items()):
            if order.heard and order.heard <= as_of:
                del self._orders[cl_ord_id]
        if self._spent_ts <= as_of:
            self._spent = ZERO
        self._add_up()

    def _add_up(self) -> None:
        self.reserved = self._spent + sum((order.unit * order.qty for order in self._orders.values()), ZERO)

    def _show(self, gaps: tuple[Decimal, ...]) -> None:
        self.gaps = gaps
        self.short = min(ZERO, max(gaps)) if len(gaps) == CONFIRMED else ZERO

    def dump(self) -> dict[str, object]:
        """State for a snapshot."""
        return {
            "report": msgspec.to_builtins(self.report),
            "gaps": list(self.gaps),
            "newest": self._newest,
            "moved": self._moved_ts,
            "buying_power": self.buying_power,
            "orders": {key: msgspec.to_builtins(order) for key, order in self._orders.items()},
            "spent": [self._spent, self._spent_ts],
        }

    def load(self, dumped: dict[str, object]) -> None:
        """State from a snapshot."""
        state = msgspec.convert(dumped, _Dump)
        self.report = state.report
        self._show(state.gaps)
        self._newest = state.newest
        self._moved_ts = state.moved
        self.buying_power = state.buying_power
        self._orders = state.orders
        self._spent, self._spent_ts = state.spent
        self._add_up()


class _Dump(msgspec.Struct):
    report: AccountReported | None
    gaps: tuple[Decimal, ...]
    newest: Decimal
    moved: int
    buying_power: Decimal | None
    orders: dict[str, Reserved]
    spent: tuple[Decimal, int]
