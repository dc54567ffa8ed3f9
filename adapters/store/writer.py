"""When journal entries are written: at once and in the caller's time, or by a thread that commits what has gathered.

Both keep the same promise: entries are written in order, in batches of whole groups, each batch wholly or not at all,
and after the first failure nothing more is written. That the database is away is no failure to the thread: it tries the
same batch again until the database is back, and what comes meanwhile waits in line.
"""

import asyncio
import heapq
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from itertools import chain, count, repeat
from math import inf
from queue import Empty, SimpleQueue
from threading import Condition, Thread
from threading import Event as Signal
from time import monotonic, sleep
from typing import Protocol

from typing_extensions import override

from core.events import Event

MAX_BATCH = 512  # entries after which a transaction takes no further group: the commit no longer weighs, waiters wait
MAX_WOKEN = 16  # waiters that are answered in one turn of the loop: a halt must not wait for the orders of a commit
MAX_QUEUED = 100_000  # entries: some 100 MB, and minutes of a database that hangs
CROWDED_S = 0.05  # once an entry has waited for so long, who adds another makes way for the writer
HUNG_S = 0.2  # and no longer once one has waited for so long: it waits for the database, and nothing helps
WAY_S = 100e-6  # long enough for a thread that waits for the interpreter to get it
RETRY_S = (0.05, 0.1, 0.2, 0.5, 1.0)  # between attempts while the database is away; the last one again and again
BEAT_S = 1.0  # between two signs of life of a thread that has nothing to write
FLUSH_TIMEOUT_S = 10.0  # to write all that waits: a full queue takes half of it, and the loop stands still meanwhile

Entry = tuple[int, Event, bytes, bytes]
"""seq, event, payload, chain hash."""

WriteBatch = Callable[[list[Entry]], None]
"""Commits a batch or raises: AwayError where it shall be called again with the same one."""


class AwayError(Exception):
    """The database is away. It is not known whether the batch was committed, or it was not; the text says why."""


class JournalError(Exception):
    """The journal cannot be written, or does not verify."""


class JournalFullError(JournalError):
    """More events wait for the database than may wait."""


class Writer(Protocol):
    """Takes entries in order of seq. Every method raises JournalError once a write has failed."""

    durable_seq: int  # entries up to here are committed
    trouble: str  # why the last attempt to write did not succeed and is made again; empty where all is well
    beat: float  # monotonic time of the last sign of life; infinite where there is no thread that could die

    @property
    def depth(self) -> int:
        """Entries that wait."""
        ...

    @property
    def age_s(self) -> float:
        """How long the oldest entry has waited; 0.0 where none does."""
        ...

    def add(self, group: list[Entry]) -> None:
        """Take entries that belong together, one at least."""
        ...

    async def durable(self, seq: int) -> None:
        """Return once the entries added so far, up to `seq`, are committed."""
        ...

    def flush(self) -> None:
        """Commit all entries added so far; JournalError if they are not within FLUSH_TIMEOUT_S, and they wait on."""
        ...

    def close(self) -> None:
        """Commit what waits and stop; harmless when repeated. What takes longer than FLUSH_TIMEOUT_S is given up."""
        ...


def _failed(error: Exception) -> JournalError:
    if isinstance(error, JournalError):  # says all there is to say
        return JournalError(str(error))
    return JournalError(f"the journal stopped at a failed write ({error}): repair the database and restart")


class Synchronous(Writer):
    """Writes in the caller's time: when asked whether something is durable, and whenever a batch is full.

    Nothing waits for longer than the caller wants, and any failure is final.
    """

    __slots__ = ("_buffer", "_failure", "_write", "beat", "durable_seq", "trouble")

    def __init__(self, write: WriteBatch, durable_seq: int) -> None:
        self._write = write
        self._buffer: list[Entry] = []
        self._failure: Exception | None = None
        self.durable_seq = durable_seq
        self.trouble = ""
        self.beat = inf

    @property
    @override
    def depth(self) -> int:
        return len(self._buffer)

    @property
    @override
    def age_s(self) -> float:
        return 0.0

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

    `add`, `durable`, `age_s` and `close` belong to the event loop's thread.
    """

    __slots__ = (
        "_added",
        "_ages",
        "_closed",
        "_committed",
        "_failure",
        "_given_up",
        "_loop",
        "_queue",
        "_taken",
        "_thread",
        "_ticket",
        "_waiters",
        "_write",
        "_written",
        "beat",
        "durable_seq",
        "trouble",
    )

    def __init__(self, write: WriteBatch, durable_seq: int) -> None:
        self._write = write
        self._added = self.durable_seq = durable_seq
        self._ages: deque[tuple[int, float]] = deque()  # the last seq of a group, and when it came
        self._failure: Exception | None = None
        self._closed = False
        self._given_up = Signal()
        self._queue: SimpleQueue[list[Entry] | None] = SimpleQueue()
        self._taken = self._written = 0  # entries: counted by the loop's thread, and by the writer's
        self._committed = Condition()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ticket = count()
        self._waiters: list[tuple[int, int, asyncio.Future[None]]] = []  # a heap by seq
        self.trouble = ""
        self.beat = monotonic()
        self._thread = Thread(target=self._run, name="journal", daemon=True)
        self._thread.start()

    @property
    @override
    def depth(self) -> int:
        return self._taken - self._written

    @property
    @override
    def age_s(self) -> float:
        self._forget_ages()
        return monotonic() - self._ages[0][1] if self._ages else 0.0

    @override
    def add(self, group: list[Entry]) -> None:
        self._check()
        assert not self._closed, "the journal is closed"
        if self.depth >= MAX_QUEUED:
            raise JournalFullError(f"{MAX_QUEUED:,} events wait for the database: it hangs or is too slow")
        self._queue.put(group)
        self._taken += len(group)
        self._added = group[-1][0]
        self._forget_ages()
        now = monotonic()
        self._ages.append((self._added, now))
        if CROWDED_S < now - self._ages[0][1] < HUNG_S:
            sleep(WAY_S)  # one interpreter for two threads: the loop must not decide faster than it is written down

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
            self._committed.wait_for(self._is_settled, FLUSH_TIMEOUT_S)
        self._check()
        if not self._is_settled():
            raise self._late()

    @override
    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._queue.put(None)
            self._thread.join(FLUSH_TIMEOUT_S)
            if self._thread.is_alive():
                self._given_up.set()
                self._failure = self._late()
                self._wake()
        self._check()

    def _is_settled(self) -> bool:
        return self.durable_seq >= self._added or self._failure is not None

    def _late(self) -> JournalError:
        why = self.trouble or "the database does not answer"
        return JournalError(
            f"{self.depth:,} events could not be written within {FLUSH_TIMEOUT_S:.0f} s ({why}): see to the database "
            "and start again, recovery asks the venues for what is not on record"
        )

    def _check(self) -> None:
        if self._failure is not None:
            raise _failed(self._failure) from self._failure

    def _forget_ages(self) -> None:
        while self._ages and self._ages[0][0] <= self.durable_seq:
            self._ages.popleft()

    def _wake(self) -> None:
        """Answer the waiters that can be answered, a few at a time; in the loop's thread."""
        failure, durable_seq = self._failure, self.durable_seq
        for number in count():
            if not self._waiters or (failure is None and self._waiters[0][0] > durable_seq):
                return
            if number == MAX_WOKEN and self._loop is not None:
                with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                    self._loop.call_soon(self._wake)
                return
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
                if not self._persist(batch):
                    return
                self._written += len(batch)
                self._announce(durable_seq=batch[-1][0])
        except Exception as error:  # noqa: BLE001 - it is raised to whoever waits or adds next
            self._failure = error
            self._announce(durable_seq=self.durable_seq)

    def _gather(self) -> list[Entry]:
        """Wait for a group and take those behind it; empty when closed."""
        batch: list[Entry] = []
        group = self._next()
        with suppress(Empty):
            while group is not None:
                batch += group
                if len(batch) >= MAX_BATCH:
                    return batch
                group = self._queue.get_nowait()
        if group is None and batch:
            self._queue.put(None)  # to be found again once this batch is written
        return batch

    def _next(self) -> list[Entry] | None:
        while True:
            self.beat = monotonic()
            with suppress(Empty):
                return self._queue.get(timeout=BEAT_S)

    def _persist(self, batch: list[Entry]) -> bool:
        """Write a batch, as often as it takes; False if it was given up."""
        for delay_s in chain(RETRY_S, repeat(RETRY_S[-1])):
            try:
                self._write(batch)
            except AwayError as error:
                self.trouble = str(error)
                self.beat = monotonic()
            else:
                self.trouble = ""
                break
            if self._given_up.wait(delay_s):
                return False
        return True

    def _announce(self, *, durable_seq: int) -> None:
        with self._committed:
            self.durable_seq = durable_seq
            self._committed.notify_all()
        if self._waiters and self._loop is not None:
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                self._loop.call_soon_threadsafe(self._wake)
