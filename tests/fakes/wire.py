"""A venue in another process, and the gateway to it over a real socket: to measure when the last byte of an order left.

The protocol is lines of words: `O id symbol side qty price`, `C id`, `X` (everything back), `P` (what works) to the
venue; `A id`, `F id exec_id qty price`, `E id` (cancelled) and `W id id ...` back. The venue fills what `fills` says as
soon as it comes. Limits: no rejects, no faults, one client, no persistence; queries know only what works.
"""

import asyncio
import socket
import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from threading import Thread

from adapters.gateway import Accepted, Capabilities, Lapsed, LastCheck, NotSent, Report, Result, Unknown
from core.events import AccountReported, ExecutionReport, OrderApproved
from core.orders import ExecType, OrdStatus
from core.reconcile import ExecutionView, OrderView, Picture


class WireGateway:
    """Implements `adapters.gateway.Gateway` over a Unix socket."""

    def __init__(self, path: Path, report: Report, now: Callable[[], int]) -> None:
        self.name = "paper"
        self.capabilities = Capabilities(settle_s=0.0, bulk_cancel=True, in_flight_max=10_000)
        self._path = path
        self._report = report
        self._now = now
        self._answers: dict[str, asyncio.Future[Result]] = {}
        self._pictures: list[asyncio.Future[list[str]]] = []
        self._sent: dict[str, OrderApproved] = {}
        self._held: dict[str, Decimal] = {}
        self._executions: dict[str, ExecutionView] = {}
        self._writer: asyncio.StreamWriter | None = None
        self._listening: asyncio.Task[None] | None = None

    async def connect(self) -> None:
        reader, self._writer = await asyncio.open_unix_connection(str(self._path))
        self._listening = asyncio.create_task(self._listen(reader))

    async def submit(self, approved: OrderApproved, last_check: LastCheck) -> Result:
        if self._writer is None or self._writer.is_closing():
            return NotSent("not connected")
        order = approved.order
        answer: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        reason = last_check(approved)
        if reason is not None:
            return Lapsed(reason)
        self._writer.write(
            f"O {order.cl_ord_id} {order.symbol} {order.side} {order.order_qty} {order.price}\n".encode()
        )
        self._answers[order.cl_ord_id], self._sent[order.cl_ord_id] = answer, approved
        return await answer

    async def cancel(self, cl_ord_id: str) -> None:
        self._write(f"C {cl_ord_id}")

    async def cancel_all(self) -> None:
        self._write("X")

    async def query(self, cl_ord_id: str) -> list[ExecutionReport]:
        works = cl_ord_id in await self._working()
        kind = ExecType.STATUS if works else ExecType.NOT_FOUND
        status = OrdStatus.NEW if works else None
        return [
            ExecutionReport(ts=self._now(), venue=self.name, exec_type=kind, cl_ord_id=cl_ord_id, ord_status=status)
        ]

    async def picture(self, since: int = 0) -> Picture:
        del since  # it shows all of them
        views = {key: self._view(self._sent[key]) for key in await self._working() if key in self._sent}
        positions = {symbol: qty for symbol, qty in self._held.items() if qty}
        return Picture(orders=views, executions=dict(self._executions), positions=positions)

    async def account(self) -> AccountReported:
        now = self._now()
        return AccountReported(
            ts=now, venue=self.name, as_of=now, cash=Decimal(0), equity=None, buying_power=None, currency="USD"
        )

    async def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
        if self._listening is not None:
            self._listening.cancel()

    def _write(self, line: str) -> None:
        if self._writer is None:
            raise ConnectionError("not connected")
        self._writer.write(f"{line}\n".encode())

    async def _working(self) -> list[str]:
        answer: asyncio.Future[list[str]] = asyncio.get_running_loop().create_future()
        self._pictures.append(answer)
        self._write("P")
        return await answer

    def _view(self, approved: OrderApproved) -> OrderView:
        order = approved.order
        return OrderView(
            cl_ord_id=order.cl_ord_id,
            order_id=order.cl_ord_id,
            symbol=order.symbol,
            side=order.side,
            order_qty=order.order_qty,
            cum_qty=Decimal(0),
            ord_status=OrdStatus.NEW,
        )

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        while line := await reader.readline():
            await asyncio.sleep(0)  # a line that is there already is no turn of the loop
            word, *rest = line.decode().split()
            if word == "W":
                asked = self._pictures.pop(0)
                if not asked.done():  # who asked has gone
                    asked.set_result(rest)
            elif word == "A":
                self._answers.pop(rest[0]).set_result(Accepted(rest[0]))
            elif word == "E":
                self._say(rest[0], ExecType.CANCELED, OrdStatus.CANCELED)
            else:
                self._fill(*rest)
        for answer in self._answers.values():
            answer.set_result(Unknown("the venue is gone"))

    def _fill(self, cl_ord_id: str, exec_id: str, qty: str, price: str) -> None:
        order = self._sent.pop(cl_ord_id).order
        done = self._executions[exec_id] = ExecutionView(
            exec_id=exec_id,
            cl_ord_id=cl_ord_id,
            symbol=order.symbol,
            side=order.side,
            last_qty=Decimal(qty),
            last_px=Decimal(price),
            fee=Decimal(0),
            ts=self._now(),
        )
        self._held[order.symbol] = self._held.get(order.symbol, Decimal(0)) + order.side.sign * done.last_qty
        facts = {"exec_id": exec_id, "last_qty": done.last_qty, "last_px": done.last_px}
        self._say(cl_ord_id, ExecType.TRADE, OrdStatus.FILLED, **facts)

    def _say(self, cl_ord_id: str, kind: ExecType, status: OrdStatus, **facts: object) -> None:
        self._report(
            ExecutionReport(
                ts=self._now(),
                venue=self.name,
                exec_type=kind,
                cl_ord_id=cl_ord_id,
                order_id=cl_ord_id,
                ord_status=status,
                cum_qty=Decimal(0) if kind is ExecType.CANCELED else None,
                **facts,  # type: ignore[arg-type]
            )
        )


class WireVenue:
    """The venue: one connection, in a thread; knows when the newest order's bytes arrived, monotonic ns."""

    def __init__(self, path: Path, fills: Callable[[int], bool]) -> None:
        self._fills = fills
        self._working: dict[str, None] = {}
        self.orders = 0
        self.last_order_ns = 0
        self.last_cancel_ns = 0
        self._server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._server.bind(str(path))
        self._server.listen(1)
        self._thread = Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.close()

    @property
    def working(self) -> int:
        return len(self._working)

    def _serve(self) -> None:
        connection, _ = self._server.accept()
        rest = b""
        while chunk := connection.recv(1 << 20):
            arrived_ns = time.monotonic_ns()
            *lines, rest = (rest + chunk).split(b"\n")
            answers = [answer for line in lines for answer in self._answer(line.decode().split(), arrived_ns)]
            if answers:
                connection.sendall(("\n".join(answers) + "\n").encode())
        connection.close()

    def _answer(self, words: list[str], arrived_ns: int) -> list[str]:
        kind, *rest = words
        if kind == "O":
            self.orders += 1
            self.last_order_ns = arrived_ns
            cl_ord_id, _, _, qty, price = rest
            if self._fills(self.orders):
                return [f"A {cl_ord_id}", f"F {cl_ord_id} E{self.orders} {qty} {price}"]
            self._working[cl_ord_id] = None
            return [f"A {cl_ord_id}"]
        if kind == "P":
            return [" ".join(["W", *self._working])]
        self.last_cancel_ns = arrived_ns
        ended = list(self._working) if kind == "X" else [key for key in rest if key in self._working]
        for key in ended:
            del self._working[key]
        return [f"E {key}" for key in ended]
