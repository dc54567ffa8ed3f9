"""Snapshots: the actors' applied state at one point of the journal, so that recovery folds only what came after it.

A snapshot is a short cut, never a source: one that is damaged, of another version, or not of this journal is passed
over with a note, and without any the whole journal is folded.
"""

from hashlib import sha256
from typing import Any

import msgspec
from sqlalchemy import Engine, delete, insert, select

from adapters.store.journal import tail
from adapters.store.tables import snapshots

SCHEMA_VERSION = 8  # of the actors' states; raise it whenever one of them changes its shape
KEPT = 2  # the newest, and one to fall back to

State = dict[str, Any]
"""An actor's name to its state in builtin types; a Decimal comes back as text (`msgspec.convert` takes it)."""


class Snapshot(msgspec.Struct, frozen=True):
    """State after the event `seq`, where the journal's hash was `chain_hash`."""

    seq: int
    ts: int
    chain_hash: bytes
    state: State


def save(engine: Engine, snapshot: Snapshot) -> None:
    """Keep a snapshot, and forget those older than the one before it. Save only what is durable in the journal."""
    payload = msgspec.msgpack.encode(snapshot.state)
    row = {
        "seq": snapshot.seq,
        "ts": snapshot.ts,
        "chain_hash": snapshot.chain_hash,
        "schema_version": SCHEMA_VERSION,
        "sha256": _digest(snapshot.seq, snapshot.ts, payload),
        "payload": payload,
    }
    kept = select(snapshots.c.seq).order_by(snapshots.c.seq.desc()).limit(KEPT)
    with engine.begin() as connection:
        connection.execute(delete(snapshots).where(snapshots.c.seq == snapshot.seq))
        connection.execute(insert(snapshots), row)
        connection.execute(delete(snapshots).where(snapshots.c.seq.not_in(kept)))


def load_latest(engine: Engine, before: int | None = None) -> tuple[Snapshot | None, list[str]]:
    """The newest snapshot, before a seq where one is given, that can be trusted; and a note for each that could not.

    None without one. Whether its state can be read is for the actors to say.
    """
    notes: list[str] = []
    query = select(snapshots.c.seq).order_by(snapshots.c.seq.desc())
    if before is not None:
        query = query.where(snapshots.c.seq < before)
    with engine.connect() as connection:
        seqs = connection.execute(query).scalars().all()
    for seq in seqs:
        try:
            return _trusted(engine, seq), notes
        except (ValueError, msgspec.MsgspecError) as error:
            notes.append(f"snapshot at seq {seq} is passed over: {error}")
    return None, notes


def _trusted(engine: Engine, seq: int) -> Snapshot:
    """The snapshot; raises ValueError or MsgspecError that says why it cannot be trusted."""
    try:
        with engine.connect() as connection:
            row = connection.execute(select(snapshots).where(snapshots.c.seq == seq)).one()
    except TypeError as error:  # of the driver: SQLite keeps text in a column of bytes, if somebody writes it there
        raise ValueError("it is damaged") from error
    if row.schema_version != SCHEMA_VERSION:
        raise ValueError(f"it has schema {row.schema_version}, this version reads {SCHEMA_VERSION}")
    if _digest(row.seq, row.ts, row.payload) != row.sha256:
        raise ValueError("it is damaged")
    if tail(engine, before=row.seq + 1)[1] != row.chain_hash:
        raise ValueError("the journal has another hash there")
    return Snapshot(row.seq, row.ts, row.chain_hash, msgspec.msgpack.decode(row.payload, type=State))


def _digest(seq: int, ts: int, payload: bytes) -> bytes:
    """Over what the journal's hash does not vouch for."""
    return sha256(msgspec.msgpack.encode((seq, ts, payload))).digest()
