"""A gateway that does what a test tells it: answers are scripted, and everything asked of it is on record."""

import asyncio
from collections.abc import Mapping
from decimal import Decimal

from adapters.gateway import Accepted, Capabilities, Lapsed, LastCheck, Result
from core.events import AccountReported, ExecutionReport, OrderApproved
from core.reconcile import ExecutionView, OrderView, Picture

Scripted = Result | Exception


class ScriptedGateway:
    """Implements `adapters.gateway.Gateway`.

    `held` names orders whose submit waits until `release`; `answers` and `before` say how a submit ends: after the last
    check has passed, and before it is asked. Without a script every order is accepted.
    """

    def __init__(self, name: str = "paper", *, in_flight_max: int = 32, bulk_cancel: bool = False) -> None:
        self.name = name
        self.capabilities = Capabilities(in_flight_max=in_flight_max, bulk_cancel=bulk_cancel)
        self.log: list[str] = []  # "submit X", "wire X", "cancel X", "query X" in the order of their coming
        self.sent: list[OrderApproved] = []  # whose bytes left
        self.answers: dict[str, Scripted] = {}
        self.before: dict[str, Exception] = {}
        self.reports: dict[str, list[ExecutionReport]] = {}
        self.stuck: dict[str, Exception] = {}  # what the cancels of these raise
        self.unreachable: Exception | None = None  # what cancel, query and picture raise
        self.pictures: list[Picture] = []  # one for each time that somebody looks; the last one stays
        self._held: dict[str, asyncio.Event] = {}

    def hold(self, *cl_ord_ids: str) -> None:
        """Let the submits of these orders wait, bytes sent, for their answers."""
        for cl_ord_id in cl_ord_ids:
            self._held[cl_ord_id] = asyncio.Event()

    def release(self, cl_ord_id: str) -> None:
        """Let a held submit end."""
        self._held[cl_ord_id].set()

    async def connect(self) -> None:
        self.log.append("connect")

    async def submit(self, approved: OrderApproved, last_check: LastCheck) -> Result:
        cl_ord_id = approved.cl_ord_id
        self.log.append(f"submit {cl_ord_id}")
        if cl_ord_id in self.before:
            raise self.before[cl_ord_id]
        reason = last_check(approved)
        if reason is not None:
            return Lapsed(reason)
        self.log.append(f"wire {cl_ord_id}")
        self.sent.append(approved)
        if cl_ord_id in self._held:
            await self._held[cl_ord_id].wait()
        answer = self.answers.get(cl_ord_id, Accepted(f"v{cl_ord_id}"))
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def cancel(self, cl_ord_id: str) -> None:
        self.log.append(f"cancel {cl_ord_id}")
        if cl_ord_id in self.stuck:
            raise self.stuck[cl_ord_id]
        if self.unreachable is not None:
            raise self.unreachable

    async def cancel_all(self) -> None:
        self.log.append("cancel all")
        if self.unreachable is not None:
            raise self.unreachable

    async def query(self, cl_ord_id: str) -> list[ExecutionReport]:
        self.log.append(f"query {cl_ord_id}")
        if self.unreachable is not None:
            raise self.unreachable
        return self.reports.get(cl_ord_id, [])

    async def picture(self, since: int = 0) -> Picture:
        del since  # it shows all of them
        self.log.append("picture")
        if self.unreachable is not None:
            raise self.unreachable
        return self.pictures.pop(0) if len(self.pictures) > 1 else self.pictures[0]

    async def account(self) -> AccountReported:
        if self.unreachable is not None:
            raise self.unreachable
        return AccountReported(
            ts=0, venue=self.name, as_of=0, cash=Decimal(0), equity=None, buying_power=None, currency="USD"
        )

    async def close(self) -> None:
        self.log.append("close")


def picture(
    *,
    orders: Mapping[str, OrderView] | None = None,
    executions: Mapping[str, ExecutionView] | None = None,
    positions: Mapping[str, Decimal] | None = None,
) -> Picture:
    """What a venue shows; nothing unless it is given."""
    return Picture(orders=orders or {}, executions=executions or {}, positions=positions or {})
