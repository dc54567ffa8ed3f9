"""The live picture in Redis hashes: orders, parents, positions and prices, for dashboards and scripts of the desk.

A field that changed is written within `FLUSH_S`; what changed several times since is written once. After each connect
the hashes are made anew from the actors, so nothing stale survives a restart of either side. Nobody in the daemon reads
them back.
"""

import asyncio
from collections.abc import Callable, Iterable
from itertools import islice
from typing import Any

import msgspec
from redis.asyncio import Redis

from core.events import (
    Event,
    FillBooked,
    FillBusted,
    MarketData,
    OrderApproved,
    OrderUpdated,
    ParentAccepted,
    ParentAmended,
    ParentEnded,
    PositionUpdated,
)
from daemon.rows import Row, Rows

FLUSH_S = 0.02  # between two writes: a reader is never more than 50 ms behind
BATCH = 1_000  # facts of one round trip, and as many prices
ORDERS, PARENTS, POSITIONS, PRICES = "orders", "parents", "positions", "prices"
HASHES = (ORDERS, PARENTS, POSITIONS, PRICES)

Key = tuple[str, ...]
"""A hash and a field of it, whose name may have parts."""


class Mirror:
    """Notes what changed, and writes it."""

    name = "mirror"

    def __init__(self, client: Redis, prefix: str, rows: Rows) -> None:
        self._client = client
        self._prefix = prefix
        self._rows = rows
        self._row_of: dict[str, Callable[..., Row | None]] = {
            ORDERS: rows.order,
            PARENTS: rows.parent,
            POSITIONS: rows.position,
            PRICES: rows.price,
        }
        self._facts: dict[Key, None] = {}  # that changed, oldest first
        self._prices: dict[Key, None] = {}  # likewise; they come second, or a busy market would hold the facts up
        self._wake = asyncio.Event()
        self._noting = False  # between connections nothing is noted: each makes everything anew
        self.handled = 0

    @property
    def depth(self) -> int:
        """Fields that are to be written."""
        return len(self._facts) + len(self._prices)

    def put(self, seq: int, event: Event) -> None:
        """Note what an event changes; a tap of the bus."""
        del seq
        touched = _TOUCHED.get(type(event)) if self._noting else None
        if touched is not None:
            for key in touched(event):
                self._change(key)

    async def run(self) -> None:
        """Write for ever; raises what the client raises."""
        async with self._client:
            try:
                await self._write_all()
                while True:
                    await self._wake.wait()
                    self._wake.clear()
                    await self._write([*islice(self._facts, BATCH), *islice(self._prices, BATCH)])
                    if self.depth:
                        self._wake.set()
                    await asyncio.sleep(FLUSH_S)
            finally:
                self._noting = False
                self._facts.clear()
                self._prices.clear()

    async def _write_all(self) -> None:
        """Everything anew: what the hashes hold is of another time."""
        async with self._client.pipeline(transaction=True) as pipe:
            pipe.delete(*(self._name(name) for name in HASHES))
            await pipe.execute()
        self._noting = True
        for key in self._all():
            self._change(key)

    def _change(self, key: Key) -> None:
        (self._prices if key[0] == PRICES else self._facts)[key] = None
        self._wake.set()

    def _all(self) -> Iterable[Key]:
        yield from ((ORDERS, key) for key in self._rows.orders())
        yield from ((PARENTS, key) for key in self._rows.parents())
        yield from ((POSITIONS, *key) for key in self._rows.positions())
        yield from ((PRICES, key) for key in self._rows.prices())

    async def _write(self, keys: list[Key]) -> None:
        """Write fields as they are now; those that are gone are removed."""
        there: dict[str, dict[Any, Any]] = {name: {} for name in HASHES}
        gone: dict[str, list[str]] = {name: [] for name in HASHES}
        for name, *parts in keys:
            row = self._row_of[name](*parts)
            if row is None:
                gone[name].append(":".join(parts))
            else:
                there[name][":".join(parts)] = msgspec.json.encode(row)
        async with self._client.pipeline(transaction=False) as pipe:
            for name in HASHES:
                if there[name]:
                    pipe.hset(self._name(name), mapping=there[name])
                if gone[name]:
                    pipe.hdel(self._name(name), *gone[name])
            for key in keys:  # what changes during the round trip is noted anew
                del (self._prices if key[0] == PRICES else self._facts)[key]
            await pipe.execute()
        self.handled += len(keys)

    def _name(self, name: str) -> str:
        return f"{self._prefix}:{name}"


def _of_order(event: OrderApproved | OrderUpdated | FillBooked | FillBusted) -> tuple[Key, ...]:
    return (ORDERS, event.cl_ord_id), (PARENTS, event.parent_id)


_TOUCHED: dict[type[Event], Callable[..., tuple[Key, ...]]] = {
    MarketData: lambda event: ((PRICES, event.symbol),),
    OrderApproved: _of_order,
    OrderUpdated: _of_order,
    FillBooked: _of_order,
    FillBusted: _of_order,
    ParentAccepted: lambda event: ((PARENTS, event.parent_id),),
    ParentAmended: lambda event: ((PARENTS, event.parent_id),),
    ParentEnded: lambda event: ((PARENTS, event.parent_id),),
    PositionUpdated: lambda event: ((POSITIONS, event.strategy, event.symbol),),
}
