"""Limits that trip trading, not an order: on losses, on what venues and strategies do too often, on the broker's books.

Equity is here cash and positions at their marks, however old: the haircut of an old mark is no loss. A day's loss is
measured from the equity at the day's roll (00:00 UTC, or the first moment after it at which somebody looks; put off by
at most `ROLL_WAIT_NS` while the equity does not stand), a drawdown from the high-water mark. A single quote that is
wrong by a factor of ten must neither halt trading nor set a mark, and it stays the mark of its symbol while others are
quoted. So what is seen counts once it was seen without a break for `CONFIRM_NS`, and every symbol that is held was
quoted `LOOKS` times meanwhile; where one is not quoted any more, after `LATEST_NS`. A new mark is the lowest equity of
that time.

A daily loss is REDUCING until the next roll. A drawdown is HALTED until somebody resets the mark by name. What is paid
into the account, or out of it, moves the day's first equity and the mark as it moves the equity: it is no gain and no
loss. What was lost before is then a larger part of what is left after a withdrawal, and a smaller one after a deposit.

A venue trips trading by three things, each counted apart under its own limits, and each order once: with so many within
a window what we send is wrong, or the venue is, and parents try again. Trading is REDUCING until an operator has had a
look and resumes; then the count of that thing begins anew.

- *Rejects*: the venue refused an order. What the gate denied never left, and does not count.
- *Failures*: an order certainly did not get out (NOT_SENT: the line is down, or so much waits for the venue that it has
  to be slow; or the venue has proved that it has no such order), its outcome is not known (UNKNOWN), or it was given up
  before the venue had said a word of it. In doubt first and then not sent is one failure. What is caused at home does
  not count: LAPSED (our last check: an approval that grew too old, a halt, an order that was asked back before it
  left), an order that was asked back and turns out to be gone (PENDING_CANCEL), and one that an earlier run approved,
  since it may have ended before it sent it.
- *Slips*: an order that executes farther than `slippage_max` beyond the quote by which it was approved: a buy above
  the ask, a sale below the bid. What rests is no worse than that quote, and never slips. Without a quote on that side,
  and after the end of the order, there is nothing to compare with.

A strategy whose parents in one symbol and side were accepted `repeats_max` times within a window is in a loop, or looks
like it. It is stopped, in everything that it does, until a person lets it go on by its name; its live parents go on, as
each is as large as it was judged to be and can only end. An operator's flatten is nobody's repetition,
nor is a stop.

A broker whose equity and ours are more than `disagreement_max` of ours apart, in either direction and in two reports in
a row, makes trading REDUCING, as does an equity of which nothing is left. That ends by itself once two reports in a row
agree, and there is equity: who resumed while the numbers still differ would be stopped again by the next two reports.
"""

import datetime as dt
from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import NamedTuple

import msgspec

from core.causes import ACCOUNT, DAILY_LOSS, DRAWDOWN, FAILURES, REJECTS, SLIPPAGE
from core.events import (
    AccountOpened,
    AccountReported,
    CashMoved,
    DaemonStarted,
    DayRolled,
    Event,
    FillBooked,
    HighWaterMarkReset,
    MarketData,
    OrderUnresolved,
    OrderUpdated,
    ParentAccepted,
    ParentOrder,
    StrategyResumed,
    StrategyStopped,
    TimeAdvanced,
    TradingResumed,
)
from core.orders import OrdStatus
from core.trading import halted
from core.units import NS_PER_DAY, NS_PER_S, ZERO
from risk.exposure import ChildExposure, Exposure
from risk.limits import Limits, LimitsInForce
from risk.stood import CONFIRM_NS
from risk.strikes import Key, Often, Strike, Strikes

LOOKS = 3
LATEST_NS = 60 * NS_PER_S
ROLL_WAIT_NS = 60 * NS_PER_S  # how long a day's roll waits at most for an equity that stands
NAMED = 3  # orders that a halt names


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
            self.since, self.lowest, self.quotes = event.ts, exposure.at_marks, {}
        self.lowest = min(self.lowest, exposure.at_marks)
        self.quotes[event.symbol] = self.quotes.get(event.symbol, 0) + 1
        age = event.ts - self.since
        if age < CONFIRM_NS:
            return False
        held = (symbol for symbol, qty in exposure.book.symbols() if qty)
        return age >= LATEST_NS or all(self.quotes.get(symbol, 0) >= LOOKS for symbol in held)


class _Breaker(NamedTuple):
    """What a venue may not do too often."""

    often: Callable[[Limits], Often]
    words: str  # of what it did, and how many times


_BREAKERS = {
    REJECTS: _Breaker(lambda limits: limits.rejects, "rejected {} orders"),
    FAILURES: _Breaker(lambda limits: limits.failures, "did not get, or may not have got, {} orders"),
    SLIPPAGE: _Breaker(lambda limits: limits.slips, "executed {} orders far beyond the quote"),
}
_FAILED = frozenset({OrdStatus.NOT_SENT, OrdStatus.UNKNOWN})
_STRIKES = _FAILED | {OrdStatus.REJECTED}
_NO_NEWS = frozenset({OrdStatus.UNKNOWN, OrdStatus.PENDING_CANCEL, OrdStatus.SETTLING})  # before it: see above


_OfAnOrder = OrderUpdated | OrderUnresolved | FillBooked


class Guard:
    """Watches the equity of one account, its venues and its strategies, under the limits that are in force."""

    __slots__ = (
        "_earlier",
        "_exposure",
        "_fall",
        "_gone",
        "_high",
        "_later",
        "_limits",
        "_loss",
        "_repeats",
        "_strikes",
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
        self._later = 0  # when the roll that was put off is looked at again, ns
        self._loss, self._fall, self._high, self._gone = Sight(), Sight(), Sight(), Sight()
        self._tripped: tuple[str, ...] = ()  # what the present look confirms
        self._earlier: set[str] = set()  # children that may have executed when this run began
        self._strikes = {cause: Strikes() for cause in _BREAKERS}  # each by venue
        self._repeats = Strikes()  # by strategy, symbol and side

    @property
    def day_loss(self) -> Decimal:
        """What the day has lost, of its first equity; negative: gained."""
        return _lost(self.day_equity, self._exposure.at_marks)

    @property
    def drawdown(self) -> Decimal:
        """How far equity is under the high-water mark, of that mark; negative before a new one is confirmed."""
        return _lost(self.mark, self._exposure.at_marks)

    def next_due(self) -> int | None:
        """When the day rolls."""
        return max((self.day + 1) * NS_PER_DAY, self._later) if self.day else None

    # folds

    def advance(self, event: TimeAdvanced) -> None:
        """Put the roll off while the equity does not stand: a wrong price would be a loss, or hide one, for a day."""
        midnight = (self.day + 1) * NS_PER_DAY
        is_due = self.day and midnight <= event.ts < midnight + ROLL_WAIT_NS
        self._later = event.ts + NS_PER_S if is_due and self._exposure.is_moving(event.ts) else 0

    def start(self, event: DaemonStarted) -> None:
        """What was approved before may not have been sent because a run ended."""
        del event
        self._earlier = set(self._exposure.children)

    def account(self, event: AccountOpened) -> None:
        """Measure from here on."""
        self.day, self.day_equity, self.mark = event.ts // NS_PER_DAY, event.cash, event.cash

    def move(self, event: CashMoved) -> None:
        """Cash is paid in, or out: what is measured from moves with the equity."""
        self.day_equity += event.amount
        self.mark += event.amount
        self._high.lowest += event.amount

    def look(self, event: MarketData) -> None:
        """Look at the equity with this quote in it; the exposure has heard it before."""
        if not self.day:
            return
        exposure, limits = self._exposure, self._limits.current
        lost = self._loss.look(event, exposure, shown=self.day_loss > limits.daily_loss_max)
        fallen = self._fall.look(event, exposure, shown=self.drawdown > limits.drawdown_max)
        gone = self._gone.look(event, exposure, shown=exposure.at_marks <= 0)
        shown = ((DAILY_LOSS, lost), (DRAWDOWN, fallen), (ACCOUNT, gone))
        self._tripped = tuple(cause for cause, is_confirmed in shown if is_confirmed)
        if self._high.look(event, exposure, shown=exposure.at_marks > self.mark):
            self.mark = self._high.lowest
            self._high = Sight()

    def roll(self, event: DayRolled) -> None:
        """A day begins."""
        self.day, self.day_equity, self._loss = event.ts // NS_PER_DAY, event.equity, Sight()

    def reset(self, event: HighWaterMarkReset) -> None:
        """Drawdowns are measured from this equity on."""
        self.mark, self._fall, self._high = event.equity, Sight(), Sight()

    def update(self, event: OrderUpdated) -> None:
        """Count what a venue rejects, and what fails, each order once.

        Folded before the exposure hears of it: what a venue says again of an order that had ended is no news.
        """
        if event.ord_status not in _STRIKES:
            return
        child = self._exposure.children.get(event.cl_ord_id)
        if child is None:
            return
        if event.ord_status is OrdStatus.REJECTED:
            self._strike(REJECTS, event)
        elif self._may_fail(event.cl_ord_id, child):
            self._strike(FAILURES, event)

    def give_up(self, event: OrderUnresolved) -> None:
        """Count what no venue has said a word of; folded before the exposure hears of it."""
        child = self._exposure.children.get(event.cl_ord_id)
        if child is not None and self._may_fail(event.cl_ord_id, child):
            self._strike(FAILURES, event)

    def fill(self, event: FillBooked) -> None:
        """Count what slips."""
        child, most = self._exposure.children.get(event.cl_ord_id), self._limits.current.slippage_max
        if child is None or child.touch is None or child.touch <= 0:
            return
        if event.side.sign * (event.last_px - child.touch) > most * child.touch:
            self._strike(SLIPPAGE, event)

    def resume(self, event: TradingResumed) -> None:
        """Somebody had a look at what a venue did too often."""
        if event.cause in self._strikes:
            self._strikes[event.cause].clear()

    def accept(self, event: ParentAccepted) -> None:
        """Count what a strategy does, but for an operator's flatten and a stop that fired."""
        if not (event.parent.flatten or event.parent.protects):
            strike = Strike(event.ts, event.parent_id)
            self._repeats.add(_way(event.parent), strike, self._limits.current.repeats)

    def let_go_on(self, event: StrategyResumed) -> None:
        """Somebody had a look at a strategy."""
        self._repeats.clear((event.strategy,))

    # decisions

    def on_updated(self, event: OrderUpdated) -> Iterable[Event]:
        """Trip once a venue has rejected too many, or too many have failed."""
        if event.ord_status in _STRIKES:
            yield from self._trip(FAILURES if event.ord_status in _FAILED else REJECTS, event, event.text)

    def on_unresolved(self, event: OrderUnresolved) -> Iterable[Event]:
        """Trip once too many have failed."""
        return self._trip(FAILURES, event)

    def on_filled(self, event: FillBooked) -> Iterable[Event]:
        """Trip once too many slip."""
        return self._trip(SLIPPAGE, event)

    def on_accepted(self, event: ParentAccepted) -> Iterable[Event]:
        """Stop a strategy that has done the same too often."""
        parent, strike = event.parent, Strike(event.ts, event.parent_id)
        newest = self._repeats.too_many(_way(parent), strike, self._limits.current.repeats)
        if newest and parent.strategy not in self._exposure.stopped:
            text = f"{len(newest)} parents to {parent.side} {parent.symbol} {_of_late(newest)}"
            yield StrategyStopped(ts=event.ts, strategy=parent.strategy, text=text)

    def on_market(self, event: MarketData) -> Iterable[Event]:
        """Trip what is confirmed and not live yet."""
        for cause in self._tripped:
            if cause not in self._exposure.causes:
                yield halted(cause, event.ts, text=self._in_words(cause))

    def on_reported(self, event: AccountReported) -> Iterable[Event]:
        """Trip once two reports have confirmed a disagreement; let go once two agree."""
        exposure = self._exposure
        broker, ours = exposure.broker, exposure.marked
        most = self._limits.current.disagreement_max * max(ours, ZERO)
        if ACCOUNT not in exposure.causes:
            if broker.differs(most):
                theirs = ours + broker.gaps[-1]
                assert broker.report is not None  # it is what differs
                who = broker.report.venue
                text = f"{who} has an equity of {theirs:,.2f}, and our books {ours:,.2f}: in two reports in a row"
                yield halted(ACCOUNT, event.ts, text=text)
        elif broker.agrees(most) and exposure.at_marks > 0:
            yield TradingResumed(ts=event.ts, cause=ACCOUNT, by="execd")

    def on_due(self, event: TimeAdvanced) -> Iterable[Event]:
        """Roll the day; its loss is over with it."""
        due = self.next_due()
        if due is None or event.ts < due:
            return
        day = dt.datetime.fromtimestamp(event.ts // NS_PER_S, dt.UTC).date()
        yield DayRolled(ts=event.ts, day=day.isoformat(), equity=self._exposure.at_marks)
        if DAILY_LOSS in self._exposure.causes:
            yield TradingResumed(ts=event.ts, cause=DAILY_LOSS, by="execd")

    def on_reset(self, event: HighWaterMarkReset) -> Iterable[Event]:
        """Who resets the mark lets trading go on."""
        if DRAWDOWN in self._exposure.causes:
            yield TradingResumed(ts=event.ts, cause=DRAWDOWN, by=event.by)

    def _may_fail(self, cl_ord_id: str, child: ChildExposure) -> bool:
        """Whether it were a failure if nothing became of it."""
        return cl_ord_id not in self._earlier and not child.given_up and child.ord_status not in _NO_NEWS

    def _strike(self, cause: str, event: _OfAnOrder) -> None:
        often = _BREAKERS[cause].often(self._limits.current)
        self._strikes[cause].add((event.venue,), Strike(event.ts, event.cl_ord_id), often)

    def _trip(self, cause: str, event: _OfAnOrder, said: str = "") -> Iterable[Event]:
        """Trip if this is one that was counted, and one too many."""
        breaker, strike = _BREAKERS[cause], Strike(event.ts, event.cl_ord_id)
        newest = self._strikes[cause].too_many((event.venue,), strike, breaker.often(self._limits.current))
        if newest and cause not in self._exposure.causes:
            text = f"{event.venue} {breaker.words.format(len(newest))} {_of_late(newest)}"
            yield halted(cause, event.ts, text=f"{text}: {said}" if said else text)

    def _in_words(self, cause: str) -> str:
        equity = self._exposure.at_marks
        if cause == ACCOUNT:
            return f"nothing is left: equity is {equity:,.0f}"
        if cause == DAILY_LOSS:
            return f"the day lost {self.day_loss:.2%} of {self.day_equity:,.0f}, equity is {equity:,.0f}"
        return f"equity {equity:,.0f} is {self.drawdown:.2%} under its mark of {self.mark:,.0f}"

    # snapshots

    def dump(self) -> dict[str, object]:
        """State for a snapshot."""
        sights = {"loss": self._loss, "fall": self._fall, "high": self._high, "gone": self._gone}
        return {
            "day": self.day,
            "day_equity": self.day_equity,
            "mark": self.mark,
            "later": self._later,
            "earlier": sorted(self._earlier),
            "strikes": {cause: strikes.dump() for cause, strikes in self._strikes.items()},
            "repeats": self._repeats.dump(),
            **{name: msgspec.to_builtins(sight) for name, sight in sights.items()},
        }

    def load(self, dumped: dict[str, object]) -> None:
        """State from a snapshot."""
        state = msgspec.convert(dumped, _Dump)
        self.day, self.day_equity, self.mark = state.day, state.day_equity, state.mark
        self._later = state.later
        self._loss, self._fall, self._high, self._gone = state.loss, state.fall, state.high, state.gone
        self._earlier = state.earlier
        for cause, strikes in state.strikes.items():
            self._strikes[cause].load(strikes)
        self._repeats.load(state.repeats)


class _Dump(msgspec.Struct):
    day: int
    day_equity: Decimal
    mark: Decimal
    later: int
    earlier: set[str]
    strikes: dict[str, object]
    repeats: object
    loss: Sight
    fall: Sight
    high: Sight
    gone: Sight


def _way(parent: ParentOrder) -> Key:
    """What a strategy does the same with it."""
    return (parent.strategy, parent.symbol, parent.side.value)


def _of_late(newest: list[Strike]) -> str:
    took_s = (newest[-1].ts - newest[0].ts) / NS_PER_S
    return f"within {took_s:.1f} s, of late {', '.join(strike.order_id for strike in newest[-NAMED:])}"


def _lost(before: Decimal, now: Decimal) -> Decimal:
    return (before - now) / before if before > 0 else ZERO
