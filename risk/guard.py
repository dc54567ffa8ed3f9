"""Limits that trip trading, not an order: on what was lost, of the day and from the highest equity, and on rejects.

Equity is cash and positions at their marks. A day's loss is measured from the equity at the day's roll (00:00 UTC, or
the first moment after it at which somebody looks), a drawdown from the high-water mark. A single quote that is wrong by
a factor of ten must neither halt trading nor set a mark, and it stays the mark of its symbol while others are quoted.
So what is seen counts once it was seen without a break for `CONFIRM_NS`, and every symbol that is held was quoted
`LOOKS` times meanwhile; where one is not quoted any more, after `LATEST_NS`. A new mark is the lowest equity of that
time.

A daily loss is REDUCING until the next roll. A drawdown is HALTED until somebody resets the mark by name. External
flows into the account are not known here yet: they count as gains and losses.

A venue that rejects `rejects_max` orders within `rejects_window_s` is told something wrong, or has gone wrong; brokers
count rejects, and parents try again. Trading is REDUCING until an operator has had a look and resumes; then the count
begins anew. What ended at home does not count: denied by the gate, lapsed, certainly not sent.
"""

import datetime as dt
from collections import deque
from collections.abc import Iterable
from decimal import Decimal

import msgspec

from core.causes import DAILY_LOSS, DRAWDOWN, REJECTS
from core.events import (
    AccountOpened,
    DayRolled,
    Event,
    HighWaterMarkReset,
    MarketData,
    OrderUpdated,
    TimeAdvanced,
    TradingResumed,
)
from core.orders import OrdStatus
from core.trading import halted
from core.units import NS_PER_DAY, NS_PER_S, ZERO
from risk.exposure import Exposure
from risk.limits import LimitsInForce

LOOKS = 3
CONFIRM_NS = 3 * NS_PER_S
LATEST_NS = 60 * NS_PER_S
NAMED = 3  # rejected orders that a halt names


class Sight(msgspec.Struct):
    """What every look since then has shown, with the lowest equity and how often each symbol was quoted meanwhile."""

    since: int = 0  # 0: the last look did not show it
    lowest: Decimal = ZERO
    quotes: dict[str, int] = {}

    def look(self, event: MarketData, exposure: Exposure, *, shown: bool) -> bool:
        """Take one more look; whether it is confirmed."""
        if not shown:
            self.since = 0
            return False
        if not self.since:
            self.since, self.lowest, self.quotes = event.ts, exposure.equity, {}
        self.lowest = min(self.lowest, exposure.equity)
        self.quotes[event.symbol] = self.quotes.get(event.symbol, 0) + 1
        age = event.ts - self.since
        if age < CONFIRM_NS:
            return False
        held = (symbol for symbol, qty in exposure.book.symbols() if qty)
        return age >= LATEST_NS or all(self.quotes.get(symbol, 0) >= LOOKS for symbol in held)


Reject = tuple[int, str]
"""When, ns, and the client id."""


class Guard:
    """Watches the equity of one account, and what venues reject, under the limits that are in force."""

    __slots__ = (
        "_exposure",
        "_fall",
        "_high",
        "_limits",
        "_loss",
        "_rejects",
        "_tripped",
        "day",
        "day_equity",
        "mark",
    )

    def __init__(self, exposure: Exposure, limits: LimitsInForce) -> None:
        self._exposure = exposure
        self._limits = limits
        self.day = 0  # number of the UTC day that `day_equity` began; 0: no account yet
        self.day_equity = ZERO
        self.mark = ZERO
        self._loss, self._fall, self._high = Sight(), Sight(), Sight()
        self._tripped: tuple[str, ...] = ()  # what the present look confirms
        self._rejects: dict[str, deque[Reject]] = {}  # by venue

    @property
    def day_loss(self) -> Decimal:
        """What the day has lost, of its first equity; negative: gained."""
        return _lost(self.day_equity, self._exposure.equity)

    @property
    def drawdown(self) -> Decimal:
        """How far equity is under the high-water mark, of that mark; negative before a new one is confirmed."""
        return _lost(self.mark, self._exposure.equity)

    def next_due(self) -> int | None:
        """When the day rolls."""
        return (self.day + 1) * NS_PER_DAY if self.day else None

    # folds

    def account(self, event: AccountOpened) -> None:
        """Measure from here on."""
        self.day, self.day_equity, self.mark = event.ts // NS_PER_DAY, event.cash, event.cash

    def look(self, event: MarketData) -> None:
        """Look at the equity with this quote in it; the exposure has heard it before."""
        if not self.day:
            return
        exposure, limits = self._exposure, self._limits.current
        lost = self._loss.look(event, exposure, shown=self.day_loss > limits.daily_loss_max)
        fallen = self._fall.look(event, exposure, shown=self.drawdown > limits.drawdown_max)
        self._tripped = (*((DAILY_LOSS,) if lost else ()), *((DRAWDOWN,) if fallen else ()))
        if self._high.look(event, exposure, shown=exposure.equity > self.mark):
            self.mark = self._high.lowest
            self._high = Sight()

    def roll(self, event: DayRolled) -> None:
        """A day begins."""
        self.day, self.day_equity, self._loss = event.ts // NS_PER_DAY, event.equity, Sight()

    def reset(self, event: HighWaterMarkReset) -> None:
        """Drawdowns are measured from this equity on."""
        self.mark, self._fall, self._high = event.equity, Sight(), Sight()

    def update(self, event: OrderUpdated) -> None:
        """Count what a venue rejects, each order once: the newest ones, as many as trip.

        Folded before the exposure forgets the order: what a venue says again of one that had ended is no news.
        """
        if event.ord_status is not OrdStatus.REJECTED or event.cl_ord_id not in self._exposure.children:
            return
        newest = self._rejects.setdefault(event.venue, deque())
        newest.append((event.ts, event.cl_ord_id))
        while len(newest) > self._limits.current.rejects_max:
            newest.popleft()

    def resume(self, event: TradingResumed) -> None:
        """Somebody had a look at what was rejected."""
        if event.cause == REJECTS:
            self._rejects.clear()

    # decisions

    def on_updated(self, event: OrderUpdated) -> Iterable[Event]:
        """Trip once a venue has rejected too many."""
        if event.ord_status is not OrdStatus.REJECTED or REJECTS in self._exposure.causes:
            return
        limits, newest = self._limits.current, list(self._rejects.get(event.venue, ()))  # none: somebody resumed
        if len(newest) >= limits.rejects_max and event.ts - newest[0][0] < limits.rejects_window_ns:
            names = ", ".join(cl_ord_id for _, cl_ord_id in newest[-NAMED:])
            took_s = (event.ts - newest[0][0]) / NS_PER_S
            text = f"{event.venue} rejected {limits.rejects_max} orders within {took_s:.1f} s, of late {names}"
            yield halted(REJECTS, event.ts, text=f"{text}: {event.text}" if event.text else text)

    def on_market(self, event: MarketData) -> Iterable[Event]:
        """Trip what is confirmed and not live yet."""
        for cause in self._tripped:
            if cause not in self._exposure.causes:
                yield halted(cause, event.ts, text=self._in_words(cause))

    def on_due(self, event: TimeAdvanced) -> Iterable[Event]:
        """Roll the day; its loss is over with it."""
        due = self.next_due()
        if due is None or event.ts < due:
            return
        day = dt.datetime.fromtimestamp(event.ts // NS_PER_S, dt.UTC).date()
        yield DayRolled(ts=event.ts, day=day.isoformat(), equity=self._exposure.equity)
        if DAILY_LOSS in self._exposure.causes:
            yield TradingResumed(ts=event.ts, cause=DAILY_LOSS, by="execd")

    def on_reset(self, event: HighWaterMarkReset) -> Iterable[Event]:
        """Who resets the mark lets trading go on."""
        if DRAWDOWN in self._exposure.causes:
            yield TradingResumed(ts=event.ts, cause=DRAWDOWN, by=event.by)

    def _in_words(self, cause: str) -> str:
        equity = self._exposure.equity
        if cause == DAILY_LOSS:
            return f"the day lost {self.day_loss:.2%} of {self.day_equity:,.0f}, equity is {equity:,.0f}"
        return f"equity {equity:,.0f} is {self.drawdown:.2%} under its mark of {self.mark:,.0f}"

    # snapshots

    def dump(self) -> dict[str, object]:
        """State for a snapshot."""
        sights = {"loss": self._loss, "fall": self._fall, "high": self._high}
        return {
            "day": self.day,
            "day_equity": self.day_equity,
            "mark": self.mark,
            "rejects": {venue: list(newest) for venue, newest in self._rejects.items()},
            **{name: msgspec.to_builtins(sight) for name, sight in sights.items()},
        }

    def load(self, dumped: dict[str, object]) -> None:
        """State from a snapshot."""
        state = msgspec.convert(dumped, _Dump)
        self.day, self.day_equity, self.mark = state.day, state.day_equity, state.mark
        self._loss, self._fall, self._high = state.loss, state.fall, state.high
        self._rejects = {venue: deque(newest) for venue, newest in state.rejects.items()}


class _Dump(msgspec.Struct):
    day: int
    day_equity: Decimal
    mark: Decimal
    rejects: dict[str, list[Reject]]
    loss: Sight
    fall: Sight
    high: Sight


def _lost(before: Decimal, now: Decimal) -> Decimal:
    return (before - now) / before if before > 0 else ZERO
