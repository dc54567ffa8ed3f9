"""The way out: approved orders to their venues, durable first, checked last, in order per symbol.

An order waits here for two things and is then sent once: its approval must be durable in the journal, and nothing of
the same symbol may be on its way before it. Right before the first byte the gateway asks `LastCheck`, which reads the
latch that any thread may close, and the state of trading: what was true when the gate approved may have ended since.
Cancels wait for nothing. Where everything is taken back, a venue that can do that with one request is asked at once
(`recall`), before the halt is even published: the cascade of a thousand cancels takes its time.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Coroutine
from decimal import Decimal
from typing import Protocol

import msgspec

from adapters.clock import Clock
from adapters.gateway import Accepted, Gateway, Lapsed, NotSent, Rejected, Result, Unknown
from adapters.latch import Latch
from core.causes import TradingState, WorkingOrders
from core.events import (
    Anomaly,
    Event,
    OrderApproved,
    OrderCancelRequest,
    OrderQueried,
    OrderUpdated,
    Outcome,
    ParentAccepted,
    ParentAmended,
    ParentEnded,
    SubmitResult,
    TradingHalted,
    TradingResumed,
)
from core.trading import Causes
from core.units import ZERO
from daemon.metrics import DURABLE, SEND, VENUE, Stages

MAX_WAITING = 10_000  # approved orders of one venue that may wait; more are handed back as not sent


class Durable(Protocol):
    """The part of the journal that a sender needs."""

    async def durable(self, seq: int) -> None:
        """Return once everything up to `seq` is durable."""
        ...


class Stake(msgspec.Struct):
    """A parent on the wire: its size, and what its children executed or may still execute."""

    size: Decimal
    used: Decimal = ZERO
    children: dict[str, Decimal] = {}


class Ledger:
    """R16 at the last moment: children against their parent, counted apart from gate and slicer."""

    __slots__ = ("_stakes",)

    def __init__(self) -> None:
        self._stakes: dict[str, Stake] = {}

    def is_kept(self, parent_id: str) -> bool:
        """Whether the parent is open and its children, this one included, keep within it."""
        stake = self._stakes.get(parent_id)
        return stake is not None and stake.used <= stake.size

    # folds

    def open(self, event: ParentAccepted) -> None:
        """A parent may put so much on the wire."""
        self._stakes[event.parent_id] = Stake(event.order_qty)

    def amend(self, event: ParentAmended) -> None:
        """A parent may put another quantity on the wire."""
        stake = self._stakes.get(event.parent_id)
        if stake is not None:
            stake.size = event.order_qty

    def count(self, event: OrderApproved) -> None:
        """Count a child in full."""
        stake = self._stakes.get(event.parent_id)
        if stake is not None and event.cl_ord_id not in stake.children:
            stake.children[event.cl_ord_id] = event.order.order_qty
            stake.used += event.order.order_qty

    def settle(self, event: OrderUpdated) -> None:
        """A terminal child counts for what it executed."""
        stake = self._stakes.get(event.parent_id)
        if stake is not None and event.terminal and event.cl_ord_id in stake.children:
            stake.used += event.cum_qty - stake.children[event.cl_ord_id]
            stake.children[event.cl_ord_id] = event.cum_qty

    def close(self, event: ParentEnded) -> None:
        """Nothing more of this parent may leave."""
        self._stakes.pop(event.parent_id, None)

    # snapshots

    def dump(self) -> dict[str, object]:
        """State for a snapshot."""
        return {parent_id: msgspec.to_builtins(stake) for parent_id, stake in self._stakes.items()}

    def load(self, dumped: dict[str, object]) -> None:
        """State from a snapshot."""
        self._stakes = msgspec.convert(dumped, dict[str, Stake])


class Sender:
    """All gateways, and the lanes of orders that wait for them."""

    def __init__(
        self,
        gateways: dict[str, Gateway],
        ledger: Ledger,
        latch: Latch,
        *,
        clock: Clock,
        journal: Durable,
        publish: Callable[[Event], None],
        fail: Callable[[BaseException], None],
        stages: Stages | None = None,
    ) -> None:
        self._gateways = gateways
        self._ledger = ledger
        self._latch = latch
        self._fail = fail
        self._stages = stages or Stages()
        self._clock = clock
        self._journal = journal
        self._publish = publish
        self._causes = Causes()
        self._is_stopped = False
        self._lanes: dict[tuple[str, str], deque[tuple[int, OrderApproved]]] = {}
        self._slots = {name: asyncio.Semaphore(g.capabilities.in_flight_max) for name, g in gateways.items()}
        self._waiting = dict.fromkeys(gateways, 0)
        self._unsent: set[str] = set()  # client ids whose write has not begun
        self._withdrawn: set[str] = set()  # of these, the ones that shall not leave
        self._recalling = False  # until the halt behind it is folded
        self._recalled_ts = 0  # of the last halt that takes everything back
        self.last_order_ns = 0  # of the machine's monotonic clock: when the last order left, but for a flatten's
        self.last_cancel_ns = 0
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def depth(self) -> int:
        """Orders that wait."""
        return sum(self._waiting.values())

    def keeps(self, cl_ord_id: str) -> bool:
        """Whether an order waits here and its write has not begun."""
        return cl_ord_id in self._unsent

    @property
    def state(self) -> TradingState:
        """What may leave, as of the last event; nothing once trading has failed."""
        return TradingState.HALTED if self._is_stopped else self._causes.state

    # folds

    def halt(self, event: TradingHalted) -> None:
        """A cause holds the way out shut from its first event on."""
        if event.working is WorkingOrders.CANCEL_ALL and self._recalling:
            self._recalling, self._recalled_ts = False, event.ts
        self._causes.halt(event)

    def resume(self, event: TradingResumed) -> None:
        """A cause has ended; the strictest that is left counts."""
        self._causes.resume(event)

    # snapshots

    def dump(self) -> dict[str, object]:
        """State for a snapshot: the causes; what waits in lanes is in doubt after a restart."""
        return {"causes": self._causes.dump()}

    def load(self, dumped: dict[str, object]) -> None:
        """State from a snapshot."""
        self._causes.load(msgspec.convert(dumped["causes"], dict[str, str]))

    def stop(self) -> None:
        """Nothing leaves any more, whatever was approved: trading has failed."""
        self._is_stopped = True

    def recall(self) -> None:
        """A halt is about to be published: nothing leaves any more, and what can be taken back at once is."""
        self._recalling = True
        for name, gateway in self._gateways.items():
            if gateway.capabilities.bulk_cancel:
                self._spawn(self._recall(name))

    # handed over by the bus

    def send(self, seq: int, approved: OrderApproved) -> None:
        """Queue an approved order in the lane of its symbol."""
        venue, key = approved.order.venue, (approved.order.venue, approved.order.symbol)
        if venue not in self._gateways:
            self._answer(approved, NotSent(f"no gateway is named {venue}"))
        elif self._waiting[venue] >= MAX_WAITING:
            self._answer(approved, NotSent(f"{MAX_WAITING:,} orders wait for {venue} already"))
        else:
            self._waiting[venue] += 1
            self._unsent.add(approved.cl_ord_id)
            lane = self._lanes.get(key)
            if lane is not None:
                lane.append((seq, approved))
            else:
                self._lanes[key] = deque([(seq, approved)])
                self._spawn(self._run_lane(key))

    def cancel(self, seq: int, request: OrderCancelRequest) -> None:
        """Ask the venue at once: a cancel is never gated and need not be durable. What has not left stays here."""
        del seq
        if request.cl_ord_id in self._unsent:
            self._withdrawn.add(request.cl_ord_id)
        elif not self._is_recalled(request):
            self._spawn(self._cancel(request))

    def query(self, seq: int, request: OrderQueried) -> None:
        """Ask the venue how an order stands."""
        del seq
        self._spawn(self._query(request))

    async def close(self) -> None:
        """Stop waiting: an order that was handed over and not answered is asked about at the next start."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # work

    async def _run_lane(self, key: tuple[str, str]) -> None:
        lane = self._lanes[key]
        while lane:
            seq, approved = lane[0]
            result = await self._submit(seq, approved)
            lane.popleft()
            self._waiting[key[0]] -= 1
            self._unsent.discard(approved.cl_ord_id)
            self._withdrawn.discard(approved.cl_ord_id)
            self._answer(approved, result)
        del self._lanes[key]

    async def _submit(self, seq: int, approved: OrderApproved) -> Result:
        """A gateway that fails when the write may have begun leaves the order in doubt, whatever it calls its error."""
        handed_ns = durable_ns = time.monotonic_ns()
        sent_ns = 0  # not yet: nothing of it can be out

        def last_check(approved: OrderApproved) -> str | None:
            nonlocal sent_ns
            reason = self._last_check(approved)
            if reason is None:
                sent_ns = time.monotonic_ns()
                if not approved.flatten:  # which is sent because trading is halted
                    self.last_order_ns = sent_ns
                self._stages.observe(SEND, sent_ns - durable_ns)
                self._unsent.discard(approved.cl_ord_id)
            return reason

        venue = approved.order.venue
        try:
            await self._journal.durable(seq)
            durable_ns = time.monotonic_ns()
            self._stages.observe(DURABLE, durable_ns - handed_ns)
            async with self._slots[venue]:
                result = await self._gateways[venue].submit(approved, last_check)
            if sent_ns:
                self._stages.observe(VENUE, time.monotonic_ns() - sent_ns)
            return result
        except OSError as error:
            return Unknown(str(error)) if sent_ns else NotSent(f"before it was sent: {error}")

    def _last_check(self, approved: OrderApproved) -> str | None:
        """Why the order must not leave now, or None."""
        order, state, now = approved.order, self.state, self._clock.now()
        if self._latch.is_closed or self._recalling:
            return "trading was stopped this moment"
        if not _permits(state, approved):
            return f"trading is {state}"
        if now > approved.not_after:
            return f"approved {(now - approved.ts) / 1e6:.1f} ms ago, which is too long"
        if order.price is not None and not approved.collar_low <= order.price <= approved.collar_high:
            return f"price {order.price} is outside {approved.collar_low} to {approved.collar_high}"
        if not self._ledger.is_kept(order.parent_id):
            return f"its parent {order.parent_id} is over, or its children exceed it"
        if order.cl_ord_id in self._withdrawn:
            return "it was cancelled before it left"
        return None

    def _is_recalled(self, request: OrderCancelRequest) -> bool:
        """Whether a halt asks for it, and one request for everything has left before."""
        gateway = self._gateways.get(request.venue)
        return gateway is not None and gateway.capabilities.bulk_cancel and request.ts == self._recalled_ts

    async def _recall(self, venue: str) -> None:
        self.last_cancel_ns = time.monotonic_ns()
        try:
            await self._gateways[venue].cancel_all()
        except OSError as error:  # the drain behind a halt looks what still works, and cancels that
            self._publish(
                Anomaly(ts=self._clock.now(), venue=venue, cl_ord_id="", text=f"bulk cancel not sent: {error}")
            )

    async def _cancel(self, request: OrderCancelRequest) -> None:
        self.last_cancel_ns = time.monotonic_ns()
        try:
            await self._gateway(request.venue).cancel(request.cl_ord_id)
        except OSError as error:  # the oms asks how the order stands, and the slicer cancels again
            self._alert(request, f"cancel not sent: {error}")

    async def _query(self, request: OrderQueried) -> None:
        try:
            reports = await self._gateway(request.venue).query(request.cl_ord_id)
        except OSError as error:  # the oms asks again, later and later
            self._alert(request, f"not answered: {error}")
            return
        for report in reports:
            self._publish(report)

    def _gateway(self, venue: str) -> Gateway:
        """Raises OSError where there is none: an order of an earlier run may name a venue that is gone."""
        if venue not in self._gateways:
            raise ConnectionError(f"no gateway is named {venue}")
        return self._gateways[venue]

    def _alert(self, request: OrderCancelRequest | OrderQueried, text: str) -> None:
        self._publish(Anomaly(ts=self._clock.now(), venue=request.venue, cl_ord_id=request.cl_ord_id, text=text))

    def _answer(self, approved: OrderApproved, result: Result) -> None:
        self._publish(
            SubmitResult(
                ts=self._clock.now(),
                venue=approved.order.venue,
                cl_ord_id=approved.order.cl_ord_id,
                outcome=_OUTCOMES[type(result)],
                order_id=result.order_id if isinstance(result, Accepted) else "",
                text="" if isinstance(result, Accepted) else result.reason,
            )
        )

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._fail(error)


def _permits(state: TradingState, approved: OrderApproved) -> bool:
    if state is TradingState.HALTED:
        return approved.flatten and approved.reducing
    return state is TradingState.ACTIVE or approved.reducing


_OUTCOMES: dict[type, Outcome] = {
    Accepted: Outcome.ACCEPTED,
    Rejected: Outcome.REJECTED,
    NotSent: Outcome.NOT_SENT,
    Unknown: Outcome.UNKNOWN,
    Lapsed: Outcome.LAPSED,
}
