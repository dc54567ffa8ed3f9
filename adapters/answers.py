"""Answers to publishers: what became of each signal, on a bounded stream in Redis; dead letters on another.

An entry names its `signal_id` and `strategy`, the `type` of the event and the event itself as JSON. It is added only
when the event is durable, under an id that ends in the event's place in the journal: whoever reads the stream sees
each event once, in order, also over restarts of either side, because what was added before is known from the last id.
What waits while Redis is away is bounded; beyond that it is read from the journal once Redis is back.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any, Protocol

import msgspec
from redis.asyncio import Redis
from redis.asyncio.client import Pipeline

from core.events import (
    CostReport,
    Event,
    FillBooked,
    FillBusted,
    OrderApproved,
    OrderDenied,
    OrderUpdated,
    ParentAccepted,
    ParentAmended,
    ParentEnded,
    ParentOrder,
    SignalAccepted,
    SignalDead,
    SignalIgnored,
    SignalRefused,
    encode,
)
from core.units import NS_PER_MS

FLUSH_S = 0.01  # between two additions: answers of one moment travel together
BATCH = 500  # entries of one round trip
WAITING_MAX = 20_000  # events in memory; with more the journal is read instead
PARENTS_MAX = 100_000  # parents whose signal is remembered; an older one's late fill has an empty signal_id
CATCH_UP_MAX = 200_000  # entries of the journal that are read to catch up: more would be trimmed at once

Fields = dict[Any, Any]

_OF_SIGNALS = (SignalAccepted, SignalIgnored, SignalRefused)
_OF_ORDERS = (
    ParentAccepted,
    ParentAmended,
    OrderDenied,
    OrderApproved,
    OrderUpdated,
    FillBooked,
    FillBusted,
    ParentEnded,
    CostReport,
)
TOLD = frozenset({*_OF_SIGNALS, *_OF_ORDERS, SignalDead})


class AnswersSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[answers] - what is told over Redis, where [redis] names a server."""

    stream: str = "execd:events"  # empty: no answers
    stream_max: int = 100_000  # entries kept, about
    dead: str = "execd:signals:dead"  # dead letters; empty: in the database only
    dead_max: int = 10_000
    mirror: str = "execd"  # beginning of the names of the mirrored hashes; empty: none

    def __post_init__(self) -> None:
        for name in ("stream_max", "dead_max"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} = {getattr(self, name)}: a positive number of entries belongs here")


class Journal(Protocol):
    """The part of the journal that answers need."""

    @property
    def durable_seq(self) -> int:
        """The last entry that is committed."""
        ...

    def read(self, from_seq: int = 0) -> Iterator[tuple[int, Event]]:
        """The committed entries from a seq on."""
        ...


class Answers:
    """Tells what is durable, from the first event behind `seq` on or from where an earlier run stopped.

    `signal_of` finds the signal and the strategy of a parent that began in an earlier run; it may block.
    """

    name = "answers"

    def __init__(
        self,
        client: Redis,
        settings: AnswersSettings,
        *,
        journal: Journal,
        seq: int,
        signal_of: Callable[[str], tuple[str, str]],
    ) -> None:
        self._client = client
        self._settings = settings
        self._journal = journal
        self._told = seq
        self._floor_ms = 0  # ids never fall, whatever the clock of another run was
        self._signal_of = signal_of
        self._parents: dict[str, tuple[str, str]] = {}
        self._waiting: deque[tuple[int, Event]] = deque()
        self._behind = False  # not all that is to be told waits in memory
        self._wake = asyncio.Event()
        self.handled = 0

    @property
    def depth(self) -> int:
        """Events that wait."""
        return len(self._waiting)

    def put(self, seq: int, event: Event) -> None:
        """Take one event; a tap of the bus."""
        kind = type(event)
        if kind is ParentOrder:
            self._note(event)  # type: ignore[arg-type]  # it is one
        elif kind in TOLD:
            if len(self._waiting) >= WAITING_MAX:
                self._waiting.clear()
                self._behind = True
            self._waiting.append((seq, event))
            self._wake.set()

    async def run(self) -> None:
        """Tell for ever; raises what the client raises."""
        async with self._client:
            await self._find_place()
            while True:
                await self._wake.wait()
                self._wake.clear()
                await self._tell_waiting()
                if self._waiting:  # not durable yet
                    self._wake.set()
                await asyncio.sleep(FLUSH_S)

    async def _find_place(self) -> None:
        """Where we, or an earlier run, stopped: the last id says so. A larger seq than ours is of another journal."""
        if self._settings.stream and await self._client.exists(self._settings.stream):
            facts: Any = await self._client.xinfo_stream(self._settings.stream)
            ms, seq = map(int, facts["last-generated-id"].split(b"-"))
            if seq > self._journal.durable_seq:
                self._floor_ms = ms + 1
            else:
                self._floor_ms = ms
                self._behind |= seq < self._told
                self._told = seq
        self._wake.set()

    async def _tell_waiting(self) -> None:
        while self._behind:
            self._behind = False  # unless memory overflows again meanwhile
            await self._catch_up()
        durable = self._journal.durable_seq
        while self._waiting and self._waiting[0][0] <= durable:
            batch = [item for item in islice(self._waiting, BATCH) if item[0] <= durable]
            await self._tell([item for item in batch if item[0] > self._told])
            while self._waiting and self._waiting[0][0] <= batch[-1][0]:
                self._waiting.popleft()

    async def _catch_up(self) -> None:
        until = self._journal.durable_seq
        self._told = max(self._told, until - CATCH_UP_MAX)
        while self._told < until:
            batch = await asyncio.to_thread(self._read, self._told + 1)
            if not batch:
                return
            await self._tell(batch)

    def _read(self, from_seq: int) -> list[tuple[int, Event]]:
        found: list[tuple[int, Event]] = []
        for seq, event in self._journal.read(from_seq):
            if isinstance(event, ParentOrder):
                self._note(event)
            elif type(event) in TOLD:
                found.append((seq, event))
                if len(found) == BATCH:
                    break
        return found

    async def _tell(self, batch: list[tuple[int, Event]]) -> None:
        if not batch:
            return
        unknown = {key for _, event in batch if (key := getattr(event, "parent_id", "")) and key not in self._parents}
        for parent_id in sorted(unknown):
            self._parents[parent_id] = await asyncio.to_thread(self._signal_of, parent_id)
        async with self._client.pipeline(transaction=True) as pipe:
            for seq, event in batch:
                self._add(pipe, seq, event)
            await pipe.execute()
        self._told = batch[-1][0]
        self.handled += len(batch)

    def _add(self, pipe: Pipeline, seq: int, event: Event) -> None:
        self._floor_ms = max(self._floor_ms, event.ts // NS_PER_MS)
        entry_id, settings = f"{self._floor_ms}-{seq}", self._settings
        if settings.stream and not isinstance(event, SignalDead):
            signal_id, strategy = self._keys(event)
            kind = type(event).__name__
            fields: Fields = {"signal_id": signal_id, "strategy": strategy, "type": kind, "event": encode(event)}
            pipe.xadd(settings.stream, fields, id=entry_id, maxlen=settings.stream_max)
        if settings.dead and isinstance(event, SignalDead | SignalRefused):
            kind, payload = type(event).__name__, encode(event)
            letter: Fields = {"type": kind, "reason": event.reason, "text": event.text, "event": payload}
            pipe.xadd(settings.dead, letter, id=entry_id, maxlen=settings.dead_max)

    def _keys(self, event: Event) -> tuple[str, str]:
        if isinstance(event, _OF_SIGNALS):
            return event.signal_id, event.strategy
        return self._parents.get(getattr(event, "parent_id", ""), ("", ""))

    def _note(self, event: ParentOrder) -> None:
        self._parents[event.parent_id] = (event.signal_id, event.strategy)
        if len(self._parents) > PARENTS_MAX:
            del self._parents[next(iter(self._parents))]
