"""The paper venue: a gateway to a matching of our own, with latency, fees and a book that survives the process.

An order travels for one latency, is matched by `adapters.brokers.matching` (whose rules and limits stand there), and
what happens to it travels back for another. One order's messages all take the same time either way, so they never
overtake each other; the answer to a submit and the first fill come at the same time, and the fill may be heard first.
Acceptance and refusal are told by the answer alone; everything later is a report.

The venue is the authority on its orders: it never answers Unknown while it runs, and a query reaches it behind the
order that it asks about, so NOT_FOUND proves that the order never arrived or was refused. With a log, each fact is
in the file before anybody hears of it, and a killed process (not a machine without power: nothing is fsynced) loses
none. Messages under way are lost with the process, as are places in queues; order and execution ids go on from
where they were. Without a log they begin anew with each run: for simulations only.

Under a profile of chaos (`adapters.brokers.chaos`) the line is worse than that: reports are lost, late and repeated,
answers to submits are lost (Unknown), orders are not taken in (NotSent), and for a while nothing gets through.
NOT_FOUND still proves what it says.
"""

import asyncio
import math
import os
from collections.abc import Callable, Iterable, Iterator
from decimal import Decimal
from functools import partial
from pathlib import Path
from statistics import NormalDist
from typing import Any, TypeVar

import msgspec

from adapters.brokers.chaos import PROFILES, Chaos, Faults, drawn
from adapters.brokers.facts import (
    CancelRefused,
    Ended,
    Entered,
    Executed,
    Fact,
    Refused,
    Repeated,
    VenueEvent,
)
from adapters.brokers.matching import Exchange, Fees
from adapters.brokers.queues import VenueOrder
from adapters.clock import Clock
from adapters.gateway import Accepted, Capabilities, Lapsed, LastCheck, NotSent, Rejected, Report, Result, Unknown
from core.events import AccountReported, ExecutionReport, NewOrderSingle, OrderApproved
from core.instruments import Instrument, Instruments
from core.market import Update, part_of
from core.orders import ExecType, OrdStatus
from core.reconcile import ExecutionView, OrderView, Picture
from core.units import NS_PER_MS, ZERO

FACTOR_MAX = 10.0  # of the jitter
TAIL = 1.0  # standard deviation of the factor's logarithm: one in six is above 2.7, one in a hundred at the bound
_NORMAL = NormalDist()
NO_LINE = "the line to the paper venue is down"
LATENCY_MS_MAX = 60_000.0  # ms one way; a slower venue is a mistyped unit
LEVERAGE_MAX = 4  # of equity, what brokers lend within a day

Answer = TypeVar("Answer")


class PaperSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How far away and how dear the venue is.

    An order's messages take `latency_ms` each way and `jitter_ms` times a factor, drawn once per order from `seed` and
    its client id: log-normal, half of the factors above 1, none above 10. Fees are money per share and bps of the
    notional, negative for a rebate. `leverage` is how many times the equity positions and working orders may be worth:
    what is left of it is the buying power that the venue states. It refuses no order for it. Where several venues watch
    one tape each has a part of what that displays and prints, its `depth_share`.
    """

    latency_ms: float = 5.0
    jitter_ms: float = 1.0
    fee_per_share: Decimal = ZERO
    fee_bps: Decimal = ZERO
    maker_fee_bps: Decimal | None = None  # of what rested; none: `fee_bps` of that, too
    leverage: Decimal = Decimal(LEVERAGE_MAX)
    depth_share: Decimal = Decimal(
        1
    )  # of the sizes that the tape displays and prints, what is displayed and printed here
    participation_max: Decimal | None = None  # part of a minute's prints that orders of ours may execute; none: no cap
    reject_probability: float = 0.0  # part of the orders that the venue rejects for no reason, drawn as the factors are
    chaos: Chaos = "none"  # what goes wrong on the way: lost, late and repeated reports, lost answers, no line
    seed: int = 0

    def __post_init__(self) -> None:
        for name, ms in (("latency_ms", self.latency_ms), ("jitter_ms", self.jitter_ms)):
            if not math.isfinite(ms) or not 0 <= ms <= LATENCY_MS_MAX:
                raise ValueError(f"paper venue: {name} must lie between 0 and {LATENCY_MS_MAX:.0f} ms, got {ms}")
        for name in ("fee_per_share", "fee_bps", "maker_fee_bps"):
            fee = getattr(self, name)
            if fee is not None and not fee.is_finite():
                raise ValueError(f"paper venue: {name} must be a number, got {fee}")
        if not (self.leverage.is_finite() and 0 < self.leverage <= LEVERAGE_MAX):
            raise ValueError(f"paper venue: leverage must lie between 0 and {LEVERAGE_MAX}, got {self.leverage}")
        if not (self.depth_share.is_finite() and 0 < self.depth_share <= 1):
            raise ValueError(f"paper venue: depth_share must lie above 0 and at most at 1, got {self.depth_share}")
        cap = self.participation_max
        if cap is not None and not (cap.is_finite() and 0 < cap <= 1):
            raise ValueError(f"paper venue: participation_max must lie above 0 and at most at 1, got {cap}")
        if not 0 <= self.reject_probability <= 1:
            raise ValueError(f"paper venue: reject_probability must lie between 0 and 1, got {self.reject_probability}")


class PaperGateway:
    """One paper venue (implements `adapters.gateway.Gateway`).

    With `log` given, its orders, executions and positions are those of the file, and `note` says whether a torn last
    line had to be cut off; raises ValueError, naming file and line, for a file that was damaged elsewhere. `cash` is
    paid in at the first connect of all.
    """

    __slots__ = (
        "_cash",
        "_clock",
        "_closed",
        "_closings",
        "_currency",
        "_exchange",
        "_faults",
        "_log",
        "_report",
        "_settings",
        "_waiting",
        "capabilities",
        "name",
        "note",
    )

    def __init__(
        self,
        *,
        name: str,
        instruments: Instruments,
        clock: Clock,
        report: Report,
        settings: PaperSettings | None = None,
        log: Path | None = None,
        cash: Decimal = ZERO,
        currency: str = "USD",
    ) -> None:
        self.name = name
        self._settings = settings or PaperSettings()
        profile = PROFILES[self._settings.chaos]
        self._faults = Faults(profile, self._settings.seed)
        self.capabilities = Capabilities(
            settle_s=profile.late_s,
            bulk_cancel=True,
            fee_per_share=self._settings.fee_per_share,
            fee_bps=self._settings.fee_bps,
            maker_fee_bps=self._settings.maker_fee_bps,
            depth_share=self._settings.depth_share,
        )
        self._clock = clock
        self._report = report
        self._cash = cash
        self._currency = currency
        taken, rested = self._settings.fee_bps, self._settings.maker_fee_bps
        fees = Fees(per_share=self._settings.fee_per_share, bps=taken, maker_bps=taken if rested is None else rested)
        cap = self._settings.participation_max
        here = Instruments(_part_of(each, self._settings.depth_share) for each in instruments)
        self._exchange = Exchange(name=name, instruments=here, fees=fees, participation_max=cap)
        self._closed = ""  # why, once it is
        self._closings: set[int] = set()  # ends of sessions that a timer waits for
        self._waiting: dict[asyncio.Future[Any], None] = {}  # answers of every kind; ordered
        self._log = VenueLog(log) if log is not None else None
        self.note = self._log.restore(self._exchange) if self._log is not None else ""

    async def connect(self) -> None:
        """End the orders whose session ended while nobody was here, and wait for the ends of the other sessions."""
        self._check_open()
        if self._cash and not self._exchange.paid_in:
            self.move(self._cash)
        self._happened(self._exchange.expire(self._clock.now()))
        for order in self._exchange.working():
            self._await_close(order.expires)

    def on_update(self, update: Update) -> None:
        """The market moved; called for every raw update of every symbol."""
        if self._closed:
            return
        if self._settings.depth_share != 1:
            update = part_of(update, self._settings.depth_share)
        events = self._exchange.on_update(update, self._clock.now())
        if events:
            self._happened(events)

    async def submit(self, approved: OrderApproved, last_check: LastCheck) -> Result:
        """Hand the order over, right after the last check, and wait for the venue's answer."""
        if self._closed or self._faults.is_down(self._clock.now()):
            return NotSent(self._closed or NO_LINE)
        if self._faults.refuses():
            return NotSent("over the venue's rate")
        is_unanswered = self._faults.unanswers()
        reason = last_check(approved)
        if reason is not None:
            return Lapsed(reason)
        order = approved.order
        try:
            answer = await self._ask(self._delay_ns(order.cl_ord_id), partial(self._enter, order))
        except ConnectionError as error:
            return Unknown(str(error))
        is_lost = is_unanswered or self._faults.is_down(self._clock.now())
        return Unknown("its answer was lost") if is_lost else answer

    async def cancel(self, cl_ord_id: str) -> None:
        """Ask for a cancel; returns when the request has left."""
        self._check_open()
        self._later(self._delay_ns(cl_ord_id), lambda: self._cancel(cl_ord_id))

    async def cancel_all(self) -> None:
        """Ask for a cancel of every order; the request travels behind all orders that left before it."""
        self._check_open()
        self._later(self._slowest_ns(), self._cancel_working)

    async def query(self, cl_ord_id: str) -> list[ExecutionReport]:
        """The venue's word on an order. It travels behind the order: one that is still under way is found."""
        self._check_open()
        reports = await self._ask(self._delay_ns(cl_ord_id), partial(self._look_up, cl_ord_id))
        now = self._clock.now()
        return [msgspec.structs.replace(report, ts=now) for report in reports]

    async def picture(self, since: int = 0) -> Picture:
        """Live orders, executions from `since` on, positions. What it shows has been reported before it is returned."""
        self._check_open()
        return await self._ask(self._slowest_ns(), partial(_picture, self._exchange, since))

    async def account(self) -> AccountReported:
        """The venue's own account of us. It travels behind all orders that left before: they are in it."""
        self._check_open()
        asked = self._clock.now()
        report = await self._ask(self._slowest_ns(), partial(self._state, asked))
        return msgspec.structs.replace(report, ts=self._clock.now())

    def move(self, amount: Decimal) -> None:
        """Cash is paid into the account here, or out of it where the amount is negative; raises ConnectionError."""
        self._check_open()
        self._happened(self._exchange.move(amount, self._clock.now()))

    def adjust(self, symbol: str, numerator: int, denominator: int) -> None:
        """Shares become others here; raises ConnectionError, and ValueError where orders work in the symbol."""
        self._check_open()
        self._happened(self._exchange.adjust(symbol, numerator, denominator, self._clock.now()))

    async def close(self) -> None:
        """Hang up: what is under way either way is lost, orders in the book stay. A closed venue does not reopen."""
        self._hang_up("the paper venue was closed")

    # At the venue ---------------------------------------------------------------------------------------------------

    def _enter(self, order: NewOrderSingle) -> Accepted | Rejected:
        if drawn(self._settings.seed, order.cl_ord_id, "reject") < self._settings.reject_probability:
            return Rejected("by chance: paper.reject_probability is above 0")
        events = self._exchange.enter(order, self._clock.now())
        self._happened(events)
        answer = events[0]
        if isinstance(answer, Refused):
            return Rejected(answer.reason)
        assert isinstance(answer, Entered | Repeated)
        self._await_close(self._exchange.orders[order.cl_ord_id].expires)
        return Accepted(answer.order_id)

    def _state(self, asked: int) -> AccountReported:
        exchange = self._exchange
        equity, at_stake = exchange.equity(), exchange.at_stake()
        buying_power = None
        if equity is not None and at_stake is not None:
            buying_power = max(self._settings.leverage * equity - at_stake, ZERO)
        return AccountReported(
            ts=self._clock.now(),
            venue=self.name,
            as_of=asked,
            cash=exchange.cash,
            equity=equity,
            buying_power=buying_power,
            currency=self._currency,
        )

    def _cancel(self, cl_ord_id: str) -> None:
        self._happened(self._exchange.cancel(cl_ord_id, self._clock.now()))

    def _cancel_working(self) -> None:
        for order in list(self._exchange.working()):
            self._cancel(order.order.cl_ord_id)

    def _await_close(self, close: int | None) -> None:
        if close is not None and close > self._clock.now() and close not in self._closings:
            self._closings.add(close)
            self._clock.call_at(close, lambda: self._session_over(close))

    def _session_over(self, close: int) -> None:
        self._closings.discard(close)
        if not self._closed:
            self._happened(self._exchange.expire(self._clock.now()))

    def _look_up(self, cl_ord_id: str) -> list[ExecutionReport]:
        order = self._exchange.orders.get(cl_ord_id)
        say = partial(ExecutionReport, ts=self._clock.now(), venue=self.name, cl_ord_id=cl_ord_id)
        if order is None:
            return [say(exec_type=ExecType.NOT_FOUND)]
        trades = [self._trade(order, execution) for execution in order.executions]
        status = say(
            exec_type=ExecType.STATUS, order_id=order.order_id, ord_status=order.ord_status, cum_qty=order.cum_qty
        )
        return [*trades, status]

    def _happened(self, events: Iterable[VenueEvent]) -> None:
        """Write the facts down, then send the reports off."""
        if self._log is not None:
            try:
                self._log.append([event for event in events if isinstance(event, Fact)])
            except OSError as error:
                self._hang_up(f"the paper venue cannot write its log: {error}")
                raise
        for event in events:
            if isinstance(event, Executed | Ended | CancelRefused):
                for late_ns in self._faults.report():
                    self._later(self._delay_ns(event.cl_ord_id) + late_ns, partial(self._tell, event))

    # On the way -----------------------------------------------------------------------------------------------------

    def _tell(self, event: Executed | Ended | CancelRefused) -> None:
        if self._faults.is_down(self._clock.now()):
            return
        order = self._exchange.orders.get(event.cl_ord_id)
        if isinstance(event, CancelRefused):
            report = ExecutionReport(
                ts=self._clock.now(),
                venue=self.name,
                exec_type=ExecType.CANCEL_REJECTED,
                cl_ord_id=event.cl_ord_id,
                order_id=order.order_id if order is not None else "",
                ord_status=order.ord_status if order is not None else None,
                cum_qty=order.cum_qty if order is not None else None,
                text=event.reason,
            )
        else:
            assert order is not None
            report = self._trade(order, event) if isinstance(event, Executed) else self._ended(order, event)
        self._report(report)

    def _trade(self, order: VenueOrder, event: Executed) -> ExecutionReport:
        filled = event.cum_qty == order.order.order_qty
        return ExecutionReport(
            ts=self._clock.now(),
            venue=self.name,
            exec_type=ExecType.TRADE,
            cl_ord_id=event.cl_ord_id,
            order_id=order.order_id,
            exec_id=event.exec_id,
            ord_status=OrdStatus.FILLED if filled else OrdStatus.PARTIALLY_FILLED,
            last_qty=event.last_qty,
            last_px=event.last_px,
            cum_qty=event.cum_qty,
            fee=event.fee,
        )

    def _ended(self, order: VenueOrder, event: Ended) -> ExecutionReport:
        expired = event.ord_status is OrdStatus.EXPIRED
        return ExecutionReport(
            ts=self._clock.now(),
            venue=self.name,
            exec_type=ExecType.EXPIRED if expired else ExecType.CANCELED,
            cl_ord_id=event.cl_ord_id,
            order_id=order.order_id,
            ord_status=event.ord_status,
            cum_qty=event.cum_qty,
        )

    def _delay_ns(self, cl_ord_id: str) -> int:
        """How long a message about this order travels, one way."""
        factor = min(math.exp(TAIL * _NORMAL.inv_cdf(drawn(self._settings.seed, cl_ord_id, "delay"))), FACTOR_MAX)
        return int((self._settings.latency_ms + factor * self._settings.jitter_ms) * NS_PER_MS)

    def _slowest_ns(self) -> int:
        return math.ceil((self._settings.latency_ms + FACTOR_MAX * self._settings.jitter_ms) * NS_PER_MS)

    def _later(self, delay_ns: int, action: Callable[[], None]) -> None:
        """Act when a message that leaves now arrives, unless the line is cut by then."""

        def arrive() -> None:
            if not self._closed:
                action()

        self._clock.call_at(self._clock.now() + delay_ns, arrive)

    async def _ask(self, delay_ns: int, look: Callable[[], Answer]) -> Answer:
        """Do `look` at the venue, and return its answer a round trip after now."""
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()

        def back(found: Answer) -> None:
            if not answer.done():
                answer.set_result(found)

        self._later(delay_ns, lambda: self._later(delay_ns, partial(back, look())))
        self._waiting[answer] = None
        try:
            return await answer
        finally:
            del self._waiting[answer]

    def _check_open(self) -> None:
        if self._closed:
            raise ConnectionError(f"{self._closed}: construct a new one")
        if self._faults.is_down(self._clock.now()):
            raise ConnectionError(NO_LINE)

    def _hang_up(self, reason: str) -> None:
        if self._closed:
            return
        self._closed = reason
        for answer in self._waiting:
            if not answer.done():
                answer.set_exception(ConnectionError(reason))
        if self._log is not None:
            self._log.close()


class VenueLog:
    """The venue's facts in a file, one line of JSON each, appended before anybody hears of them."""

    __slots__ = ("_fd", "_path")

    _ENCODER = msgspec.json.Encoder()
    _DECODER: msgspec.json.Decoder[Fact] = msgspec.json.Decoder(Fact)

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)

    def restore(self, exchange: Exchange) -> str:
        """Fold the file into an empty exchange; returns what was cut off, empty where nothing was.

        Raises ValueError for a line that cannot be read or does not follow from those before it.
        """
        content = self._path.read_bytes()
        whole = content.rfind(b"\n") + 1
        torn = len(content) - whole
        if torn:  # its write never returned: nobody has heard of it
            os.ftruncate(self._fd, whole)
        for number, line in enumerate(_lines(content[:whole]), start=1):
            try:
                exchange.fold(self._DECODER.decode(line))
            except ValueError as error:  # msgspec's errors are ValueErrors
                raise ValueError(
                    f"{self._path}:{number}: {error}; restore the file, or move it away to begin with an empty book"
                ) from error
        return f"cut {torn} bytes of a torn last line off {self._path}" if torn else ""

    def append(self, facts: Iterable[Fact]) -> None:
        """Write `facts`, in one write where the system takes it whole; raises OSError where it does not take it."""
        lines = b"".join(self._ENCODER.encode(fact) + b"\n" for fact in facts)
        while lines:
            lines = lines[os.write(self._fd, lines) :]

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._fd)


def _part_of(instrument: Instrument, share: Decimal) -> Instrument:
    """What trades of it at a venue that has that share of the market."""
    adv = instrument.adv
    return instrument if adv is None or share == 1 else msgspec.structs.replace(instrument, adv=adv * share)


def _lines(content: bytes) -> Iterator[bytes]:
    return iter(content.split(b"\n")[:-1])


def _picture(exchange: Exchange, since: int) -> Picture:
    return Picture(
        orders={order.order.cl_ord_id: _order_view(order) for order in exchange.working()},
        executions={
            execution.exec_id: _execution_view(exchange.orders[execution.cl_ord_id], execution)
            for execution in exchange.executed(since)
        },
        positions={symbol: qty for symbol, qty in exchange.positions.items() if qty},
    )


def _order_view(order: VenueOrder) -> OrderView:
    return OrderView(
        cl_ord_id=order.order.cl_ord_id,
        order_id=order.order_id,
        symbol=order.order.symbol,
        side=order.order.side,
        order_qty=order.order.order_qty,
        cum_qty=order.cum_qty,
        ord_status=order.ord_status,
    )


def _execution_view(order: VenueOrder, execution: Executed) -> ExecutionView:
    return ExecutionView(
        exec_id=execution.exec_id,
        cl_ord_id=execution.cl_ord_id,
        symbol=order.order.symbol,
        side=order.order.side,
        last_qty=execution.last_qty,
        last_px=execution.last_px,
        fee=execution.fee,
        ts=execution.ts,
    )
