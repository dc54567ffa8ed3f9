"""The journal: every event but market data, in order, chained by hash, with the tables that are drawn from it.

`h_n = SHA256(h_{n-1} || payload_n)`, from 32 zero bytes. Whoever changes, removes or reorders entries breaks the chain
at the first one concerned, unless he recomputes all hashes behind it; the last hash, kept elsewhere, shows even that.
Entries and their projections are one transaction: a crash leaves a prefix of the events, and tables that agree with it.

When a session with the database is lost, a COMMIT may be on its way, and its answer never comes. The next session holds
the writer's lock, so nothing can be committed any more but by it, and the chain says how things stand: a journal that
ends in a hash of ours holds exactly our entries up to that one. What it lacks is written again: the batch that was in
doubt, and what a server without power or a standby that lags behind has forgotten of the last commits. A journal that
ends in any other hash is not ours, and nothing more is written.
"""

from collections import deque
from collections.abc import Iterator
from hashlib import sha256
from time import monotonic
from typing import Any

import msgspec
from sqlalchemy import Connection, Engine, Row, select

from adapters.store import faults
from adapters.store.engine import WriterLock
from adapters.store.postgres import Copy
from adapters.store.projections import project, storable
from adapters.store.tables import journal
from adapters.store.upserts import apply, insertion
from adapters.store.writer import AwayError, Entry, JournalError, Synchronous, Threaded, Writer
from core.events import AnyEvent, Event, MarketData, decode, encode

GENESIS = bytes(32)
PAGE = 1_000  # entries of one query: short transactions, so that a reader never holds up the writer's checkpoints
KEPT_S = 2.0  # what was committed in this time is at hand to be written again; a server that dies forgets 0.6 s at most


class Journal:
    """The one writer of the journal, through the writer's lock.

    `threaded`: a thread of its own writes, for live runs. Otherwise it writes synchronously, when a batch is full or
    somebody asks for durability: the same rows, without a thread, for simulation.
    """

    __slots__ = ("_base", "_kept", "_kept_s", "_lock", "_rows", "_session", "_writer", "last_seq", "tail_hash")

    def __init__(self, lock: WriterLock, *, threaded: bool) -> None:
        self._lock = lock
        on_server = lock.engine.dialect.name == "postgresql"
        self._rows = Copy(journal) if on_server else insertion(journal, lock.engine.dialect.name)
        with lock.begin() as connection:
            self._base = _tail(connection)
        self._session = lock.session
        self._kept: deque[tuple[float, list[Entry]]] = deque()  # batches committed behind `_base`, and when
        self._kept_s = KEPT_S if on_server else 0.0
        self.last_seq, self.tail_hash = self._base  # of what was put, durable or not
        writer = Threaded if threaded else Synchronous
        self._writer: Writer = writer(self._write, self.last_seq)

    def put(self, *events: tuple[int, Event]) -> None:
        """Queue events that belong together: they are committed in one transaction or not at all.

        Seqs rise, and may leave gaps. Raises JournalError after a failed write, or when full.
        """
        group: list[Entry] = []
        for seq, event in events:
            assert seq > self.last_seq, f"seq {seq} comes after {self.last_seq}"
            assert type(event) is not MarketData, "market data belongs on the tape"
            payload = encode(event)
            digest = sha256(self.tail_hash + payload).digest()
            group.append((seq, event, payload, digest))
            self.last_seq, self.tail_hash = seq, digest
        if group:
            self._writer.add(group)

    @property
    def durable_seq(self) -> int:
        """The last entry that is committed."""
        return self._writer.durable_seq

    @property
    def depth(self) -> int:
        """Entries that wait to be written."""
        return self._writer.depth

    @property
    def age_s(self) -> float:
        """How long the oldest entry has waited to be committed; 0.0 where none does."""
        return self._writer.age_s

    @property
    def trouble(self) -> str:
        """Why the database does not take what waits, while it is tried again; empty where all is well."""
        return self._writer.trouble

    @property
    def beat(self) -> float:
        """Monotonic time of the writer's last sign of life.

        Some seconds old at most while the database answers or cannot be reached; where it takes a connection and then
        says nothing, older by CONNECT_TIMEOUT_S and ANSWER_TIMEOUT_S.
        """
        return self._writer.beat

    async def durable(self, seq: int) -> None:
        """Return once all that was put so far, up to `seq`, is committed; raises JournalError if it cannot be."""
        await self._writer.durable(seq)

    def flush(self) -> None:
        """Commit all that was put so far; blocks, FLUSH_TIMEOUT_S at most. Raises JournalError if it cannot."""
        self._writer.flush()

    def close(self) -> None:
        """Commit what waits and stop, as `flush`. Raises JournalError if some of it could not be written."""
        self._writer.close()

    def read(self, from_seq: int = 0) -> Iterator[tuple[int, AnyEvent]]:
        """The committed entries, as `read`."""
        return read(self._lock.engine, from_seq)

    def _write(self, batch: list[Entry]) -> None:
        try:
            with self._lock.begin() as connection:
                lacking = batch if self._lock.session == self._session else self._lacking(connection, batch)
                self._rows.run(
                    connection, [_row(seq, event, payload.decode(), h) for seq, event, payload, h in lacking]
                )
                apply(connection, [write for seq, event, _, _ in lacking for write in project(seq, event)])
        except faults.StoreLockedError as error:
            raise JournalError(f"the journal is no longer ours: {error}") from error
        except faults.RAISED as error:
            if faults.passes(error):
                raise AwayError(faults.describe(error)) from error
            said, remedy = faults.words(error), faults.remedy(error)
            raise JournalError(f"the journal stopped at a failed write ({said}): {remedy}") from error
        self._keep(batch)

    def _lacking(self, connection: Connection, batch: list[Entry]) -> list[Entry]:
        """What a new session does not find of the batch and of what was committed lately."""
        entries = [entry for _, kept in self._kept for entry in kept] + batch
        ends = [self._base, *((seq, digest) for seq, _, _, digest in entries)]
        found = _tail(connection)
        if found not in ends:
            committed = ends[-1 - len(batch)][0]
            raise JournalError(
                f"the journal ends at seq {found[0]} in a hash that is not ours, where {committed} was committed: "
                "somebody else wrote to it, or the server was put back; find out which before you start again"
            )
        return entries[ends.index(found) :]

    def _keep(self, batch: list[Entry]) -> None:
        """Remember what was just committed, and forget what was long ago."""
        now = monotonic()
        if self._session != self._lock.session:  # what is kept was committed just now, or found to be
            self._session = self._lock.session
            self._kept = deque((now, kept) for _, kept in self._kept)
        self._kept.append((now, batch))
        while self._kept and self._kept[0][0] <= now - self._kept_s:
            _, forgotten = self._kept.popleft()
            self._base = forgotten[-1][0], forgotten[-1][3]


def _row(
    seq: int, event: Event, payload: str, digest: bytes
) -> tuple[int, int, str, str | None, str | None, str, bytes]:
    """The entry's row, in the order of the table's columns."""
    parent_id: str = getattr(event, "parent_id", "")
    cl_ord_id: str = getattr(event, "cl_ord_id", "")
    names = storable(parent_id) or None, storable(cl_ord_id) or None
    return seq, event.ts, type(event).__name__, *names, payload, digest


def tail(engine: Engine, before: int | None = None) -> tuple[int, bytes]:
    """Seq and hash of the last entry (before a seq, where one is given); (0, GENESIS) where there is none."""
    with engine.connect() as connection:
        return _tail(connection, before)


def _tail(connection: Connection, before: int | None = None) -> tuple[int, bytes]:
    query = select(journal.c.seq, journal.c.hash).order_by(journal.c.seq.desc()).limit(1)
    if before is not None:
        query = query.where(journal.c.seq < before)
    row = connection.execute(query).first()
    return (0, GENESIS) if row is None else (row.seq, row.hash)


def read(engine: Engine, from_seq: int = 0) -> Iterator[tuple[int, AnyEvent]]:
    """The committed entries from a seq on, verified against the hash before them; JournalError names the first bad one.

    What was appended before the iteration ends is read too. Entries cut off at the end cannot be missed by any chain:
    compare `verify` with a hash kept elsewhere.
    """
    _, digest = tail(engine, before=from_seq)
    for row in _rows(engine, from_seq):
        digest = sha256(digest + row.payload.encode()).digest()
        if digest != row.hash:
            raise _broken(row.seq, "its hash does not follow from its payload and the entry before")
        yield row.seq, _event(row)


def verify(engine: Engine) -> tuple[int, bytes]:
    """Seq and hash of the last entry, after reading them all; JournalError names the first bad one."""
    last = 0
    for seq, _ in read(engine):
        last = seq
    return tail(engine, before=last + 1)


def _rows(engine: Engine, from_seq: int) -> Iterator[Row[Any]]:
    page = select(journal).order_by(journal.c.seq).limit(PAGE)
    while True:
        with engine.connect() as connection:
            rows = connection.execute(page.where(journal.c.seq >= from_seq)).all()
        yield from rows
        if len(rows) < PAGE:
            return
        from_seq = rows[-1].seq + 1


def _event(row: Row[Any]) -> AnyEvent:
    try:
        event = decode(row.payload)
    except msgspec.MsgspecError as error:
        raise _broken(row.seq, f"this version cannot read its payload ({error})") from error
    if tuple(row) != _row(row.seq, event, row.payload, row.hash):
        raise _broken(row.seq, "its columns say something else than its payload")
    return event


def _broken(seq: int, why: str) -> JournalError:
    return JournalError(f"the journal is broken at seq {seq}: {why}; restore a backup, and keep this one as evidence")
