"""Until nothing works: what was asked back is gone only when the venue shows nothing, twice, a while apart.

A cancel that was sent is no cancelled order, and what was on its way to a venue when the halt came may arrive behind
the first look. So the venue is asked until it shows no working order and none of ours is in doubt, twice in a row; what
still works in between is cancelled again, past everybody: also after trading has failed and the bus is dead. Spared is
what an operator sends meanwhile to close positions.
"""

import asyncio
import time
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import msgspec
import structlog

from adapters.clock import Clock
from adapters.gateway import Gateway
from core.causes import WorkingOrders
from core.events import HaltReport, TradingHalted, TradingResumed
from daemon.halts import Halts
from daemon.oms import Oms
from daemon.sender import Sender

LOOK_S = 0.25  # between two looks, where the venue does not need longer to settle
QUIET_LOOKS = 2  # in a row: the second is for what was travelling during the first
REPORTED = 20  # orders that a report names

_log = structlog.get_logger()


class Drained(NamedTuple):
    """What still works or is in doubt, or why that cannot be said; and when nothing did, of the monotonic clock."""

    left: list[str]
    quiet_ns: int = 0


def nobody(cl_ord_id: str) -> bool:
    """Everything is taken back."""
    del cl_ord_id
    return False


async def drain(
    gateway: Gateway,
    *,
    within_s: float,
    in_doubt: Callable[[], list[str]] = list,
    spares: Callable[[str], bool] = nobody,
) -> Drained:
    """Cancel until nothing works but what is spared, for `within_s` and a last look at the most."""
    now = asyncio.get_running_loop().time
    deadline = now() + within_s
    looks, quiet_ns = 0, 0
    while True:
        left = await _cancel_shown(gateway, spares) or [name for name in in_doubt() if not spares(name)]
        looks = 0 if left else looks + 1
        if looks == 1:
            quiet_ns = time.monotonic_ns()
        if looks == QUIET_LOOKS:
            return Drained([], quiet_ns)
        if left and now() >= deadline:
            return Drained(left)
        await asyncio.sleep(max(LOOK_S, gateway.capabilities.settle_s))


async def _cancel_shown(gateway: Gateway, spares: Callable[[str], bool]) -> list[str]:
    """Cancel what the venue shows; its ids, or why it could not be asked. One that fails keeps none of the others."""
    try:
        shown = (await gateway.picture()).orders
    except Exception as error:  # noqa: BLE001 - whatever it is, the next look may do better
        return [f"unknown: {error}"]
    working = sorted(name for name in shown if not spares(name))
    for name, result in zip(working, await _cancelled(gateway, working), strict=True):
        if isinstance(result, Exception):
            _log.error("cancel failed", cl_ord_id=name, error=str(result))
    return working


async def _cancelled(gateway: Gateway, working: list[str]) -> list[BaseException | None]:
    return await asyncio.gather(*(gateway.cancel(name) for name in working), return_exceptions=True)


class Halted(msgspec.Struct, frozen=True):
    """How far the last halt has come, in ns of the machine's monotonic clock: for drills, which share that clock."""

    cause: str
    heard_ns: int
    last_order_ns: int
    last_cancel_ns: int
    quiet_ns: int  # 0: not yet
    left: int


class Drain:
    """Follows each halt that takes everything back, and reports how far it has come."""

    def __init__(
        self,
        gateways: dict[str, Gateway],
        *,
        halts: Halts,
        sender: Sender,
        oms: Oms,
        clock: Clock,
        publish: Callable[[HaltReport], None],
        within_s: float,
        spares: Callable[[str], bool] = nobody,
    ) -> None:
        self._gateways = gateways
        self._halts = halts
        self._sender = sender
        self._oms = oms
        self._clock = clock
        self._publish = publish
        self._within_s = within_s
        self._spares = spares
        self._cause = ""  # of the halt that is followed
        self._task: asyncio.Task[None] | None = None
        self.last: Halted | None = None

    def begin(self, seq: int, event: TradingHalted) -> None:
        """Handed over by the bus."""
        del seq
        if event.working is WorkingOrders.CANCEL_ALL:
            self.follow(event.cause)

    def end(self, seq: int, event: TradingResumed) -> None:
        """Handed over by the bus: what works from here on was sent after the halt."""
        del seq
        if event.cause == self._cause:
            self.close()

    def follow(self, cause: str) -> None:
        """Follow a halt from now on; one that was followed before is followed anew."""
        self.close()
        self._cause = cause
        self.last = None
        self._task = asyncio.get_running_loop().create_task(self._follow(cause, self._halts.heard_ns))

    def close(self) -> None:
        """Follow nothing any more."""
        if self._task is not None:
            self._task.cancel()
            self._task = None

    async def _follow(self, cause: str, heard_ns: int) -> None:
        left = ["?"]
        while left and cause in self._halts.live:
            found = await asyncio.gather(*(self._drained(name) for name in self._gateways))
            left = [name for each in found for name in each.left]
            quiet_ns = 0 if left else max(each.quiet_ns for each in found)
            if left:
                _log.error("halted, and orders still work", cause=cause, left=left[:REPORTED], count=len(left))
            sender = self._sender
            self.last = Halted(cause, heard_ns, sender.last_order_ns, sender.last_cancel_ns, quiet_ns, len(left))
            self._publish(self._report(self.last, left))

    async def _drained(self, venue: str) -> Drained:
        gateway = self._gateways[venue]
        doubt = partial(self._oms.in_doubt, venue)
        return await drain(gateway, within_s=self._within_s, in_doubt=doubt, spares=self._spares)

    def _report(self, halted: Halted, left: list[str]) -> HaltReport:
        def since_us(ns: int) -> int:
            return max(ns - halted.heard_ns, 0) // 1_000

        return HaltReport(
            ts=self._clock.now(),
            cause=halted.cause,
            left=tuple(left[:REPORTED]),
            left_count=len(left),
            last_order_us=since_us(halted.last_order_ns),
            last_cancel_us=since_us(halted.last_cancel_ns),
            quiet_us=since_us(halted.quiet_ns),
        )
