"""The journal: every event but market data, in order, chained by hash, with the tables that are drawn from it.

`h_n = SHA256(h_{n-1} || payload_n)`, from 32 zero bytes. Whoever changes, removes or reorders entries breaks the chain
at the first one concerned, unless he recomputes all hashes behind it; the last hash, kept elsewhere, shows even that.
Entries and their projections are one transaction: a crash leaves a prefix of the events, and tables that agree with it.
"""

from collections.abc import Iterator
from hashlib import sha256
from typing import Any

import msgspec
from sqlalchemy import Engine, Row, select

from adapters.store.projections import project
from adapters.store.tables import journal
from adapters.store.upserts import apply, insertion
from adapters.store.writer import Entry, JournalError, Synchronous, Threaded, Writer
from core.events import AnyEvent, Event, MarketData, decode, encode

GENESIS = bytes(32)
PAGE = 1_000  # entries of one query: short transactions, so that a reader never holds up the writer's checkpoints


class Journal:
    """The one writer of the journal.

    `threaded`: a thread of its own writes, for live runs. Otherwise it writes synchronously, when a batch is full or
    somebody asks for durability: the same rows, without a thread, for simulation.
    """

    __slots__ = ("_engine", "_insertion", "_writer", "last_seq", "tail_hash")

    def __init__(self, engine: Engine, *, threaded: bool) -> None:
        self._engine = engine
        self._insertion = insertion(journal, engine.dialect.name)
        self.last_seq, self.tail_hash = tail(engine)  # of what was put, durable or not
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

    async def durable(self, seq: int) -> None:
        """Return once all that was put so far, up to `seq`, is committed; raises JournalError if it cannot be."""
        await self._writer.durable(seq)

    def flush(self) -> None:
        """Commit all that was put so far; blocks. Raises JournalError if it cannot."""
        self._writer.flush()

    def close(self) -> None:
        """Commit what waits and stop. Raises JournalError if some of it could not be written."""
        self._writer.close()

    def read(self, from_seq: int = 0) -> Iterator[tuple[int, AnyEvent]]:
        """The committed entries, as `read`."""
        return read(self._engine, from_seq)

    def _write(self, batch: list[Entry]) -> None:
        rows = [_row(seq, event, payload.decode(), digest) for seq, event, payload, digest in batch]
        with self._engine.begin() as connection:
            self._insertion.run(connection, rows)
            apply(connection, [write for seq, event, _, _ in batch for write in project(seq, event)])


def _row(
    seq: int, event: Event, payload: str, digest: bytes
) -> tuple[int, int, str, str | None, str | None, str, bytes]:
    """The entry's row, in the order of the table's columns."""
    parent_id: str | None = getattr(event, "parent_id", None) or None
    cl_ord_id: str | None = getattr(event, "cl_ord_id", None) or None
    return seq, event.ts, type(event).__name__, parent_id, cl_ord_id, payload, digest


def tail(engine: Engine, before: int | None = None) -> tuple[int, bytes]:
    """Seq and hash of the last entry (before a seq, where one is given); (0, GENESIS) where there is none."""
    query = select(journal.c.seq, journal.c.hash).order_by(journal.c.seq.desc()).limit(1)
    if before is not None:
        query = query.where(journal.c.seq < before)
    with engine.connect() as connection:
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
