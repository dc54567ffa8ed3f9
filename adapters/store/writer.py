"""When journal entries are written: at once and in the caller's time, or by a thread that commits what has gathered.

Both keep the same promise: entries are written in order, in batches of whole groups, each batch wholly or not at all,
and after the first failure nothing more is written.
"""

import asyncio
import heapq
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from queue import Empty, SimpleQueue
from threading import Condition, Thread
from typing import Protocol

from typing_extensions import override

from core.events import Event

MAX_BATCH = 512  # entries after which a transaction takes no further group: the commit no longer weighs, waiters wait
MAX_QUEUED = 100_000  # entries: some 100 MB, and minutes of a database that hangs

Entry = tuple[int, Event, bytes, bytes]
"""seq, event, payload, chain hash."""

WriteBatch = Callable[[list[Entry]], None]


class JournalError(Exception):
    """The journal cannot be written, or does not verify."""


class JournalFullError(JournalError):
    """More events wait for the database than may wait."""


class Writer(Protocol):
    """Takes entries in order of seq. Every method but `depth` raises JournalError once a write has failed."""

    durable_seq: int  # entries up to here are committed

    @property
    def depth(self) -> int:
        """Entries that wait."""
        ...

    def add(self, group: list[Entry]) -> None:
        """Take entries that belong together, one at least."""
        ...

    async def durable(self, seq: int) -> None:
        """Return once the entries added so far, up to `seq`, are committed."""
        ...

    def flush(self) -> None:
        """Commit all entries added so far."""
        ...

    def close(self) -> None:
        """Commit what waits and stop; harmless when repeated."""
        ...


def _failed(error: Exception) -> JournalError:
    return JournalError(f"the journal stopped at a failed write ({error}): repair the database and restart")


class Synchronous(Writer):
    """Writes in the caller's time: when asked whether something is durable, and whenever a batch is full."""

    __slots__ = ("_buffer", "_failure", "_write", "durable_seq")

    def __init__(self, write: WriteBatch, durable_seq: int) -> None:
        self._write = write
        self._buffer: list[Entry] = []
        self._failure: Exception | None = None
        self.durable_seq = durable_seq

    @property
    @override
    def depth(self) -> int:
        return len(self._buffer)

    @override
    def add(self, group: list[Entry]) -> None:
        self._check()
        self._buffer += group
        if len(self._buffer) >= MAX_BATCH:
            self.flush()

    @override
    async def durable(self, seq: int) -> None:
        if seq > self.durable_seq:
            self.flush()

    @override
    def flush(self) -> None:
        self._check()
        if not self._buffer:
            return
        try:
            self._write(self._buffer)
        except Exception as error:  # whatever it was, the chain has a gap from here on
            self._failure = error
            raise _failed(error) from error
        self.durable_seq = self._buffer[-1][0]
        self._buffer = []

    @override
    def close(self) -> None:
        self.flush()

    def _check(self) -> None:
        if self._failure is not None:
            raise _failed(self._failure) from self._failure


class Threaded(Writer):
    """Writes in a thread of its own, one transaction for all that has gathered during the last one (group commit).

    `add`, `durable` and `close` belong to the event loop's thread.
    """

    __slots__ = (
        "_added",
        "_closed",
        "_committed",
        "_failure",
        "_loop",
        "_queue",
        "_taken",
        "_thread",
        "_ticket",
        "_waiters",
        "_write",
        "_written",
        "durable_seq",
    )

    def __init__(self, write: WriteBatch, durable_seq: int) -> None:
        self._write = write
        self._added = self.durable_seq = durable_seq
        self._failure: Exception | None = None
        self._closed = False
        self._queue: SimpleQueue[list[Entry] | None] = SimpleQueue()
        self._taken = self._written = 0  # entries: counted by the loop's thread, and by the writer's
        self._committed = Condition()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ticket = count()
        self._waiters: list[tuple[int, int, asyncio.Future[None]]] = []  # a heap by seq
        self._thread = Thread(target=self._run, name="journal", daemon=True)
        self._thread.start()

    @property
    @override
    def depth(self) -> int:
        return self._taken - self._written

    @override
    def add(self, group: list[Entry]) -> None:
        self._check()
        assert not self._closed, "the journal is closed"
        if self.depth >= MAX_QUEUED:
            raise JournalFullError(f"{MAX_QUEUED:,} events wait for the database: it hangs or is too slow")
        self._queue.put(group)
        self._taken += len(group)
        self._added = group[-1][0]

    @override
    async def durable(self, seq: int) -> None:
        seq = min(seq, self._added)
        if self.durable_seq >= seq:
            return
        self._loop = asyncio.get_running_loop()
        future = self._loop.create_future()
        heapq.heappush(self._waiters, (seq, next(self._ticket), future))
        self._wake()  # the writer looks for waiters after each commit: one may have passed before it saw this one
        await future

    @override
    def flush(self) -> None:
        with self._committed:
            self._committed.wait_for(lambda: self.durable_seq >= self._added or self._failure is not None)
        self._check()

    @override
    def close(self) -> None:
        self._closed = True
        self._queue.put(None)
        self._thread.join()
        self._check()

    def _check(self) -> None:
        if self._failure is not None:
            raise _failed(self._failure) from self._failure

    def _wake(self) -> None:
        """Answer the waiters that can be answered; in the loop's thread."""
        failure, durable_seq = self._failure, self.durable_seq
        while self._waiters and (failure is not None or self._waiters[0][0] <= durable_seq):
            seq, _, future = heapq.heappop(self._waiters)
            if future.done():  # cancelled
                continue
            if seq <= durable_seq:
                future.set_result(None)
            elif failure is not None:
                future.set_exception(_failed(failure))

    # The writer's thread ----------------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while batch := self._gather():
                self._write(batch)
                self._written += len(batch)
                self._announce(durable_seq=batch[-1][0], failure=None)
        except Exception as error:  # noqa: BLE001 - it is raised to whoever waits or adds next
            self._announce(durable_seq=self.durable_seq, failure=error)

    def _gather(self) -> list[Entry]:
        """Wait for a group and take those behind it; empty when closed."""
        batch: list[Entry] = []
        group = self._queue.get()
        with suppress(Empty):
            while group is not None:
                batch += group
                if len(batch) >= MAX_BATCH:
                    return batch
                group = self._queue.get_nowait()
        if group is None and batch:
            self._queue.put(None)  # to be found again once this batch is written
        return batch

    def _announce(self, *, durable_seq: int, failure: Exception | None) -> None:
        with self._committed:
            self.durable_seq, self._failure = durable_seq, failure
            self._committed.notify_all()
        if self._waiters and self._loop is not None:
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                self._loop.call_soon_threadsafe(self._wake)
