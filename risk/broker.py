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

An account may lie at several brokers: then our books are held against the sum of the newest report of each, once all
of them have reported since the last sum; until then the last one stands. Buying power is each broker's own: a child is
held to that of its venue, a parent, of which nobody knows yet where its children go, to the sum.

Buying power is the broker's figure less what we have reserved since. Orders that it had acknowledged when it was asked
are in its figure already, and are not counted again; every other one counts in full, in flight or in doubt, until it
has ended unexecuted or a later report covers it. What shrinks a position frees nothing before the next report.
"""

from collections.abc import Collection
from decimal import Decimal

import msgspec

from core.events import AccountReported, CashMoved, OrderUpdated
from core.orders import OrdStatus
from core.units import ZERO

CONFIRMED = 2  # reports in a row
_ALL = ""  # the one broker of an account that is not at several
_ACKNOWLEDGED = frozenset({OrdStatus.NEW, OrdStatus.PARTIALLY_FILLED, OrdStatus.SETTLING})


class Reserved(msgspec.Struct):
    """What of a live order opens a position, and the broker's buying power may not know of."""

    unit: Decimal  # money a share
    qty: Decimal
    heard: int = 0  # ns: when the venue first said that it has the order; 0: not yet


class BuyingPower:
    """What one broker lends, and what of it our orders have taken since it said so, money."""

    __slots__ = ("_orders", "_spent", "_spent_ts", "reserved", "stated")

    def __init__(self) -> None:
        self.stated: Decimal | None = None  # the last time that it was
        self.reserved = ZERO  # for what opens, of which that does not know
        self._orders: dict[str, Reserved] = {}
        self._spent = ZERO  # of it, by orders that have ended since
        self._spent_ts = 0  # the last of them

    def hear(self, event: AccountReported) -> None:
        """Take a report over: the figure holds what the broker had acknowledged by then."""
        if event.buying_power is None:
            return
        self.stated, as_of = event.buying_power, event.as_of
        for cl_ord_id, order in list(self._orders.items()):
            if order.heard and order.heard <= as_of:
                del self._orders[cl_ord_id]
        if self._spent_ts <= as_of:
            self._spent = ZERO
        self._add_up()

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

    def _add_up(self) -> None:
        self.reserved = self._spent + sum((order.unit * order.qty for order in self._orders.values()), ZERO)

    def dump(self) -> dict[str, object]:
        """State for a snapshot."""
        return {
            "stated": self.stated,
            "orders": {key: msgspec.to_builtins(order) for key, order in self._orders.items()},
            "spent": [self._spent, self._spent_ts],
        }

    def load(self, dumped: dict[str, object]) -> None:
        """State from a snapshot."""
        state = msgspec.convert(dumped, _Power)
        self.stated, self._orders = state.stated, state.orders
        self._spent, self._spent_ts = state.spent
        self._add_up()


class _Power(msgspec.Struct):
    stated: Decimal | None
    orders: dict[str, Reserved]
    spent: tuple[Decimal, int]


class BrokerView:
    """The account by its brokers' last reports. `brokers`: the venues that each keep a part of it, and speak of that.

    Without any the account is at one broker, and whatever venue speaks says how all of it stands.
    """

    __slots__ = (
        "_brokers",
        "_heard",
        "_moved_ts",
        "_newest",
        "_powers",
        "gaps",
        "report",
        "short",
    )

    def __init__(self, brokers: Collection[str] = ()) -> None:
        self._brokers = frozenset(brokers)
        self._heard: dict[str, AccountReported] = {}  # by venue, since the last sum
        self._powers = {broker: BuyingPower() for broker in sorted(brokers) or (_ALL,)}
        self.report: AccountReported | None = None  # the last sum of one of each
        self.gaps: tuple[Decimal, ...] = ()  # the broker's equity less ours, of the last reports; the newest last
        self.short = ZERO  # what is confirmed to be missing at the broker; negative
        self._newest = ZERO  # the equity of the newest report less ours, which has cash moves since in it
        self._moved_ts = 0  # when cash was last moved

    @property
    def buying_power(self) -> Decimal | None:
        """As it was stated last, of all brokers; None where one of them states none."""
        stated = [power.stated for power in self._powers.values() if power.stated is not None]
        return sum(stated, ZERO) if len(stated) == len(self._powers) else None

    @property
    def reserved(self) -> Decimal:
        """Money for what opens, of which that does not know."""
        return sum((power.reserved for power in self._powers.values()), ZERO)

    def power_at(self, venue: str) -> BuyingPower:
        """What the broker behind a venue lends."""
        key = venue if self._brokers else _ALL
        power = self._powers.get(key)
        if power is None:  # of an order of an earlier run, whose venue is gone
            power = self._powers[key] = BuyingPower()
        return power

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
        self.power_at(event.venue).hear(event)
        self._heard[event.venue] = event
        if self._brokers <= self._heard.keys():
            self._compare(_sum_of(self._heard), ours)
            self._heard = {}

    def _compare(self, event: AccountReported, ours: Decimal) -> None:
        self.report = event
        if event.equity is not None and event.as_of >= self._moved_ts:
            self._newest = event.equity - ours
            self._show((*self.gaps, self._newest)[-CONFIRMED:])

    def move(self, event: CashMoved) -> None:
        """Cash is paid in, or out: by our books; by the broker's before or after."""
        self._moved_ts = event.ts
        if self.gaps:
            self._newest -= event.amount
        self._show(tuple(min(gap, gap - event.amount, key=abs) for gap in self.gaps))

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
            "heard": [msgspec.to_builtins(event) for event in self._heard.values()],
            "powers": {broker: power.dump() for broker, power in self._powers.items()},
        }

    def load(self, dumped: dict[str, object]) -> None:
        """State from a snapshot."""
        state = msgspec.convert(dumped, _Dump)
        self.report = state.report
        self._show(state.gaps)
        self._newest = state.newest
        self._moved_ts = state.moved
        self._heard = {event.venue: event for event in state.heard}
        for broker, power in state.powers.items():
            self._powers.setdefault(broker, BuyingPower()).load(power)


class _Dump(msgspec.Struct):
    report: AccountReported | None
    gaps: tuple[Decimal, ...]
    newest: Decimal
    moved: int
    heard: list[AccountReported]
    powers: dict[str, dict[str, object]]


def _sum_of(heard: dict[str, AccountReported]) -> AccountReported:
    """One report of all of them, as old as the oldest; what one does not state the sum does not either."""
    reports = [heard[venue] for venue in sorted(heard)]
    equities = [each.equity for each in reports if each.equity is not None]
    powers = [each.buying_power for each in reports if each.buying_power is not None]
    return AccountReported(
        ts=max(each.ts for each in reports),
        venue=", ".join(each.venue for each in reports),
        as_of=min(each.as_of for each in reports),
        cash=sum((each.cash for each in reports), ZERO),
        equity=sum(equities, ZERO) if len(equities) == len(reports) else None,
        buying_power=sum(powers, ZERO) if len(powers) == len(reports) else None,
        currency=reports[0].currency,
    )
